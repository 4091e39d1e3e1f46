//! Makes a [`Config`] of flags, variables, the file and the defaults: a group of checked values for each topic.
//!
//! A flag wins over a variable, a variable over the file, and the file over the default.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | declares every setting once |
//! | `tables.rs` | what a file declares in tables |
//! | `own_metrics.rs` | `[[metrics]]`: a metric of the shop's own |
//! | `map.rs` | `[[map]]`: what the names of foreign clients mean |
//! | `layers.rs` | finds the value of one setting in its layers |
//! | `links.rs` | whether what the console links to can be a page |
//! | `values.rs` | reads and writes durations, bytes and lists |
//! | `check.rs` | says which values are allowed |
//! | `backup.rs` | the same, of scheduled backups |
//! | `reach.rs` | what an address that others reach needs |

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod backup;
mod check;
mod layers;
mod links;
mod map;
mod own_metrics;
mod reach;
mod settings;
mod tables;
mod values;

use crate::auth::Mode;
use layers::Fault;
pub use settings::{
    Auth, Backup, ClickHouse, Config, Connections, Data, Doors, Engine, Flags, IdempotencyKeys,
    Journal, Limits, Listen, Log, Outbox, Rebuild, Requests, SETTINGS, Seal, Series, Setting,
    StoreRate, Terminals, Tls,
};
pub use tables::{Declarations, DeclaredMetric};
pub use values::{Bytes, Consent, Jwks, List, MapSets, Networks, Rate, Span, StoreRates};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why the file cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line of the fault.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A setting does not exist.
    #[error("{}, line {line}: there is no setting \"{name}\"; did you mean \"{nearest}\"?", .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line of the fault.
        line: usize,
        /// What stands there.
        name: String,
        /// The nearest setting.
        nearest: &'static str,
    },
    /// A value cannot be used.
    #[error("{}, line {line}: {name}: {message}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line of the fault.
        line: usize,
        /// The setting.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A setting that was not given does not fit one that was.
    #[error("{name} (not given, so {default}): {message}")]
    Default {
        /// The setting.
        name: &'static str,
        /// The setting's default.
        default: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A flag or a variable cannot be used.
    #[error("--{flag} ({variable}): {message}")]
    Given {
        /// The flag.
        flag: String,
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl Config {
    /// Whether terminals must show a token: as it was set, else only where others than this machine can post.
    #[must_use]
    pub fn auth_mode(&self) -> Mode {
        self.auth
            .mode
            .unwrap_or_else(|| self.mode_of(&self.listen.ingest))
    }

    /// Whether whoever asks the admin listener must show a key: as it was set, else only where others than this machine
    /// can ask.
    #[must_use]
    pub fn admin_auth_mode(&self) -> Mode {
        self.auth
            .admin_mode
            .unwrap_or_else(|| self.mode_of(&self.listen.admin))
    }

    fn mode_of(&self, address: &SocketAddr) -> Mode {
        if address.ip().is_loopback() || self.listen.allow_unauthenticated {
            Mode::Off
        } else {
            Mode::Required
        }
    }

    /// Gathers the settings.
    ///
    /// # Errors
    /// Names the file, the line, and what would be right.
    pub fn load(flags: Flags, file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?,
        };
        let path = file.unwrap_or(Path::new("")).to_owned();
        let mut table = toml::Table::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.clone(),
            line: error.span().map_or(1, |span| line_at(&text, span.start)),
            message: error.message().to_owned(),
        })?;
        flatten_doors(&mut table);
        let mut has_tables = false;
        for name in Declarations::TABLES {
            has_tables |= table.remove(name).is_some();
        }
        let declared = if has_tables {
            tables::read(&path, &text)?
        } else {
            Declarations::default()
        };
        for name in table.keys() {
            if !SETTINGS.iter().any(|setting| setting.name == name) {
                return Err(ConfigError::Unknown {
                    line: line_of(&text, name),
                    nearest: nearest(name),
                    name: name.clone(),
                    path,
                });
            }
        }
        // Whatever is neither in the file nor a default was given as a flag or a variable.
        let given = flags.given();
        let laid = Config::laid(flags, &table).map_err(|fault| ConfigError::Value {
            line: line_of(&text, fault.name),
            path: path.clone(),
            name: fault.name.to_owned(),
            message: fault.message,
        })?;
        let config = Config { declared, ..laid };
        match config.check() {
            Ok(()) => Ok(config),
            Err(Fault { name, message }) => Err(if given.contains(&name) {
                ConfigError::Given {
                    flag: name.replace('_', "-"),
                    variable: variable_of(name),
                    message,
                }
            } else if !table.contains_key(name) {
                let setting = SETTINGS.iter().find(|setting| setting.name == name);
                ConfigError::Default {
                    name,
                    default: setting.map_or("", |setting| setting.default),
                    message,
                }
            } else {
                ConfigError::Value {
                    line: line_of(&text, name),
                    path,
                    name: name.to_owned(),
                    message,
                }
            }),
        }
    }
}

/// Names the settings under `[doors.NAME]` as they are named elsewhere: `doors_NAME_consent`.
fn flatten_doors(table: &mut toml::Table) {
    let Some(toml::Value::Table(doors)) = table.remove("doors") else {
        return;
    };
    for (door, settings) in doors {
        let toml::Value::Table(settings) = settings else {
            table.insert(format!("doors.{door}"), settings);
            continue;
        };
        let settings = settings.into_iter();
        table.extend(settings.map(|(name, value)| (format!("doors_{door}_{name}"), value)));
    }
}

fn variable_of(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or("", |setting| setting.variable)
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn line_of(text: &str, name: &str) -> usize {
    let is_there = |line: &str| {
        line.trim_start()
            .trim_start_matches(['"', '\'', '['])
            .starts_with(name)
    };
    let whole = text.lines().position(is_there);
    // What stands under `[doors.NAME]`.
    let in_table = || {
        let (door, rest) = name.strip_prefix("doors_")?.split_once('_')?;
        let mut lines = text.lines().enumerate();
        lines.find(|(_, line)| line.trim() == format!("[doors.{door}]"))?;
        let (index, _) = lines.find(|(_, line)| line.trim_start().starts_with(rest))?;
        Some(index)
    };
    whole.or_else(in_table).map_or(1, |index| index + 1)
}

/// The setting whose name takes the fewest changed letters.
fn nearest(name: &str) -> &'static str {
    let names = SETTINGS.iter().map(|setting| setting.name);
    names
        .min_by_key(|known| strsim::levenshtein(name, known))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tillwatch.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Flags::default(), Some(&path))
    }

    #[test]
    fn defaults_are_whole() {
        let config = Config::load(Flags::default(), None).unwrap();
        assert_eq!(config.seal.interval, Span(Duration::from_secs(300)));
        assert_eq!(config.journal.budget, Bytes(4 << 30));
        assert_eq!(config.clickhouse.url, None);
    }

    #[test]
    fn an_empty_text_in_the_file_is_as_if_its_line_were_not_there() {
        let defaults = Config::load(Flags::default(), None).unwrap();
        for setting in SETTINGS {
            let config = load(&format!("{} = \"\"\n", setting.name)).unwrap();
            assert_eq!(config.text_of(setting.name), defaults.text_of(setting.name));
        }
    }

    #[test]
    fn a_door_may_have_a_table_of_its_own() {
        let text = "\n[doors.faro]\nconsent = \"assumed\"\nstore = \"store-1\"\nlogs = true\n";
        let doors = load(text).unwrap().doors;
        assert_eq!(doors.faro_consent, Consent::Assumed);
        assert_eq!(doors.faro_store.as_deref(), Some("store-1"));
        assert!(doors.are_faro_logs_counted && doors.otlp_consent == Consent::Required);
        for (text, expected) in [
            (
                "[doors.otlp]\nstore = \"s\"\nconsent = \"maybe\"\n",
                "line 3",
            ),
            ("[doors.otlp]\nconsnt = \"assumed\"\n", "doors_otlp_consent"),
        ] {
            let said = load(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_typo_is_named_with_its_line_and_the_nearest_setting() {
        let error =
            load("# mine\nlisten = \"127.0.0.1:0\"\nseal_intervall = \"10s\"\n").unwrap_err();
        assert!(
            matches!(
                &error,
                ConfigError::Unknown {
                    line: 3,
                    nearest: "seal_interval",
                    ..
                }
            ),
            "{error}"
        );
        let error = load("\nseal_interval = \"often\"\n").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 2: seal_interval: \"often\" is not a duration"),
            "{error}"
        );
        let error = load("seal_interval = \n").unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { line: 1, .. }));
    }

    #[test]
    fn the_file_gives_way_to_a_flag() {
        let flags = Flags {
            seal_rows: Some(7),
            ..Flags::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(
            &path,
            "seal_rows = 5\nstores_max = 6\ncors_origins = [\"https://a\", \"https://b\"]\n",
        )
        .unwrap();
        let config = Config::load(flags, Some(&path)).unwrap();
        assert_eq!((config.seal.rows, config.series.stores_max), (7, 6));
        assert_eq!(config.listen.cors_origins.0, ["https://a", "https://b"]);
    }

    #[test]
    fn nobody_listens_to_the_world_by_accident() {
        assert!(matches!(
            load("listen = \"0.0.0.0:1\"\n"),
            Err(ConfigError::Value { line: 1, .. })
        ));
        assert!(load("listen = \"0.0.0.0:1\"\nallow_unauthenticated = true\n").is_ok());
    }
}
