//! Declares every setting once: its name in the file, its flag, its variable, its default and its help.
//!
//! A flag wins over a variable, a variable over the file, and the file over the default.
//!
//! `values.rs` reads and writes durations, bytes and lists; `check.rs` says which values are allowed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::logging::Format;

mod check;
mod values;

use values::Written;
pub use values::{Bytes, List, Span};

/// One setting, for the reference and for finding typos.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in the file.
    pub name: &'static str,
    /// Its variable.
    pub variable: &'static str,
    /// Its default; empty: none.
    pub default: &'static str,
    /// What it does, and what happens when it is too small or too large.
    pub help: &'static str,
    /// Whether `serve` takes a new value on SIGHUP.
    pub is_reloadable: bool,
}

macro_rules! settings {
    ($($variable:literal $name:ident: $type:ty = $default:literal, $help:literal $(, $when:ident)?;)*) => {
        /// All settings with their values.
        #[derive(Debug, Clone)]
        pub struct Config { $(#[doc = concat!("See `", stringify!($name), "` in [`SETTINGS`].")] pub $name: Option<$type>,)* }

        /// The settings as flags, each also as a variable.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct Flags {
            $(#[doc = concat!("See `", stringify!($name), "` in [`SETTINGS`].")] #[arg(long, env = $variable, help = help_of($help, $default), value_name = <$type as Written>::NAME, hide_env_values = true)]
            pub $name: Option<$type>,)*
        }

        /// Every setting.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name), variable: $variable, default: $default, help: $help,
            is_reloadable: !concat!($(stringify!($when))?).is_empty(),
        }),*];

        impl Config {
            /// Takes one setting's value from `other`.
            pub fn take(&mut self, name: &str, other: &Self) {
                $(if name == stringify!($name) { self.$name.clone_from(&other.$name); })*
            }

            /// The value of a setting as it would be written.
            #[must_use]
            pub fn text_of(&self, name: &str) -> Option<String> {
                $(if name == stringify!($name) { return self.$name.as_ref().map(Written::written); })*
                None
            }
        }

        impl Flags {
            /// Names of the settings given as flags or variables.
            fn given(&self) -> Vec<&'static str> {
                let all = [$(self.$name.is_some().then_some(stringify!($name))),*];
                all.into_iter().flatten().collect()
            }
        }

        fn merge(flags: Flags, table: &toml::Table) -> Result<Config, (String, String)> {
            Ok(Config { $($name: match flags.$name {
                Some(value) => Some(value),
                None => read::<$type>(table, stringify!($name), $default)?,
            },)* })
        }
    };
}

settings! {
    "TILLWATCH_DATA_DIR" data_dir: PathBuf = "tillwatch-data", "Where tillwatch keeps the journal, the state file and the embedded engine's data. No other program may use this folder";
    "TILLWATCH_LISTEN" listen: SocketAddr = "127.0.0.1:8080", "The address to which terminals post. With port 0 the system chooses a free port";
    "TILLWATCH_ADMIN_LISTEN" admin_listen: SocketAddr = "127.0.0.1:9090", "The address that serves metrics, the query API and health. Whoever reaches it can read everything";
    "TILLWATCH_ADMIN_HOSTS" admin_hosts: List = "", "Host names by which the admin listener may be asked, beside IP addresses and localhost: a container's service name, a proxy's name. Separate the names by commas and leave out ports. Requests that name another host are refused, because any web page could send them through a browser", reload;
    "TILLWATCH_ALLOW_UNAUTHENTICATED" allow_unauthenticated: bool = "false", "Allows tillwatch to listen on addresses other than loopback, although tillwatch authenticates nobody. Use this setting only behind a proxy that authenticates";
    "TILLWATCH_CORS_ORIGINS" cors_origins: List = "", "Web origins whose pages may post, written with commas and exactly as browsers send them (https://pos.example.com)", reload;
    "TILLWATCH_CLICKHOUSE_URL" clickhouse_url: String = "", "The address of a ClickHouse server, as in http://host:8123. Without this setting tillwatch starts the embedded engine";
    "TILLWATCH_CLICKHOUSE_USER" clickhouse_user: String = "default", "The user on the ClickHouse server. The password comes from TILLWATCH_CLICKHOUSE_PASSWORD or clickhouse_password_file";
    "TILLWATCH_CLICKHOUSE_PASSWORD_FILE" clickhouse_password_file: PathBuf = "", "The file that holds the password for the ClickHouse server";
    "TILLWATCH_CLICKHOUSE_TIMEOUT" clickhouse_timeout: Span = "60s", "How long one statement to ClickHouse may take. If the time is too short, large inserts are sent again and again";
    "TILLWATCH_LIBCHDB" libchdb: PathBuf = "", "The file of the embedded engine's library. Without this setting tillwatch uses the library that npm installed";
    "TILLWATCH_ENGINE_MEMORY" engine_memory: Bytes = "2GiB", "How much memory the embedded engine may use";
    "TILLWATCH_SEAL_INTERVAL" seal_interval: Span = "5m", "How often tillwatch seals the open windows into an epoch and ships it. A shorter interval gives fresher tables with more rows, a longer one a longer replay after a crash", reload;
    "TILLWATCH_SEAL_JOURNAL_BYTES" seal_journal_bytes: Bytes = "64MiB", "How much the journal may grow before tillwatch seals early. The limit bounds the replay at a start", reload;
    "TILLWATCH_SEAL_ROWS" seal_rows: usize = "200000", "How many open rows there may be before tillwatch seals early. The limit bounds the memory of open windows";
    "TILLWATCH_REBUILD_QUIET" rebuild_quiet: Span = "10m", "How long a finished hour of a store must receive no data before it is summed up in rollup_1h. If the time is too short, hours with late data are summed up again and again; if it is too long, queries over long ranges read more minutes";
    "TILLWATCH_JOURNAL_BUDGET" journal_budget: Bytes = "4GiB", "How much disk the journal may take. When the budget is used up, terminals are answered 503";
    "TILLWATCH_JOURNAL_SEGMENT" journal_segment: Bytes = "16MiB", "How long one file of the journal is";
    "TILLWATCH_OUTBOX_BUDGET" outbox_budget: Bytes = "16GiB", "How much disk the epochs that wait for ClickHouse may take. When the budget is used up, terminals are answered 503", reload;
    "TILLWATCH_STORES_MAX" stores_max: usize = "5000", "How many stores may have series of their own. Further stores are counted under the name __overflow__";
    "TILLWATCH_RELEASES_MAX" releases_max: usize = "32", "How many releases may have series of their own. Further releases are counted under the name __overflow__ until another release has been silent for 9 days";
    "TILLWATCH_NATIVE_HISTOGRAMS" native_histograms: bool = "false", "Whether /metrics/fleet serves native histograms to a Prometheus that asks for protobuf. Turning native histograms on starts the histograms at 0, as the restart of a counter does";
    "TILLWATCH_WINDOW_MEMORY" window_memory: Bytes = "128MiB", "How much memory the minutes behind the window gauges may take for all stores together. Beyond the limit, the store that takes most loses its oldest minutes";
    "TILLWATCH_QUEUES_MAX" queues_max: usize = "400000", "How many terminal queues tillwatch remembers sequence numbers of. Beyond the limit, batches of a new queue are answered 503, and new terminals without a queue are counted under the name __overflow__";
    "TILLWATCH_STORE_TERMINALS_MAX" store_terminals_max: usize = "10000", "How many terminals one store may have. Beyond the limit, batches of a new terminal with a queue are answered 503, and new terminals without a queue are counted under the name __overflow__. If the limit is too large, one store with invented terminals takes the room of all stores";
    "TILLWATCH_IDEMPOTENCY_KEYS_MAX" idempotency_keys_max: usize = "5000000", "How many idempotency keys tillwatch remembers. Each key is kept for 25 hours and takes about 80 bytes of the state file. Beyond the limit, batches with a new key are answered 503";
    "TILLWATCH_IDEMPOTENCY_KEYS_CACHED" idempotency_keys_cached: usize = "100000", "How many idempotency keys tillwatch holds in memory, about 350 bytes each. tillwatch looks the other keys up in the state file";
    "TILLWATCH_CONNECTIONS_MAX" connections_max: usize = "25000", "How many connections may be open at once, within the system's limit of open files. Beyond the limit, tillwatch closes the longest idle connection, then the slowest";
    "TILLWATCH_HEAD_TIMEOUT" head_timeout: Span = "5s", "How long the head of a request may take from its first byte. A slower request is answered 408";
    "TILLWATCH_IDLE_TIMEOUT" idle_timeout: Span = "120s", "How long a connection may be idle. Terminals post about once a minute";
    "TILLWATCH_BODY_TIMEOUT" body_timeout: Span = "120s", "How long the body of a request may take from the end of the head. A slower request is answered 503", reload;
    "TILLWATCH_BODY_BYTES_PER_S_MIN" body_bytes_per_s_min: Bytes = "1KiB", "How many bytes a second a body must bring on average after its first 10 s. A slower request is answered 503", reload;
    "TILLWATCH_BODY_BYTES_MAX" body_bytes_max: Bytes = "2MiB", "How large the body of a request may be as it is sent. A larger request is answered 413", reload;
    "TILLWATCH_DECODED_BYTES_MAX" decoded_bytes_max: Bytes = "2MiB", "How large the body of a request may be after decompression. A larger request is answered 413", reload;
    "TILLWATCH_BATCHES_MAX" batches_max: usize = "500", "How many batches a request may hold. A larger request is answered 413", reload;
    "TILLWATCH_SAMPLES_MAX" samples_max: usize = "50000", "How many samples and histograms a request may hold. A larger request is answered 413", reload;
    "TILLWATCH_HISTOGRAM_VALUES_PER_S" histogram_values_per_s: usize = "1000", "How many values a terminal's histogram may stand for, for each second of its span. A heavier histogram is rejected. If the limit is too large, one mistaken histogram outweighs a whole fleet", reload;
    "TILLWATCH_IN_FLIGHT_BYTES_MAX" in_flight_bytes_max: Bytes = "256MiB", "How much memory all requests under way may take together: received bodies, what is parsed from them, and what waits for the disk. Beyond the limit, requests with the slowest bodies are answered 503 first, then every request";
    "TILLWATCH_STORE_REQUESTS_PER_S" store_requests_per_s: u32 = "1000", "How many requests a second one store may send in the long run. Further requests are answered 429", reload;
    "TILLWATCH_STORE_BURST" store_burst: u32 = "5000", "How many requests one store may send at once after a quiet time. Further requests are answered 429", reload;
    "TILLWATCH_LOG_SLOW_REQUEST" log_slow_request: Span = "1s", "How long a request may take before it is logged with the time of each stage. A failed request is always logged", reload;
    "TILLWATCH_LOG_FORMAT" log_format: Format = "text", "Whether the log on standard error is written as text or as json";
    "TILLWATCH_LOG_LEVEL" log_level: String = "info", "How much is logged: error, warn, info, debug, or a filter as RUST_LOG has it", reload;
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A setting does not exist.
    #[error("{}, line {line}: there is no setting \"{name}\"; did you mean \"{nearest}\"?", .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Where.
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
        /// Where.
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
        /// Its default.
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
        let table = toml::Table::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.clone(),
            line: error.span().map_or(1, |span| line_at(&text, span.start)),
            message: error.message().to_owned(),
        })?;
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
        let config = merge(flags, &table).map_err(|(name, message)| ConfigError::Value {
            line: line_of(&text, &name),
            path: path.clone(),
            name,
            message,
        })?;
        match config.check() {
            Ok(()) => Ok(config),
            Err((name, message)) => Err(if given.contains(&name) {
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

fn variable_of(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or("", |setting| setting.variable)
}

fn help_of(help: &str, default: &str) -> String {
    if default.is_empty() {
        format!("{help} [default: none]")
    } else {
        format!("{help} [default: {default}]")
    }
}

/// Reads a setting from the file, else from its default. An empty default is none.
fn read<T: FromStr>(
    table: &toml::Table,
    name: &str,
    default: &str,
) -> Result<Option<T>, (String, String)>
where
    T::Err: std::fmt::Display,
{
    let text = match table.get(name) {
        None => default.to_owned(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(toml::Value::Array(parts)) => {
            let texts = parts.iter().filter_map(toml::Value::as_str);
            texts.collect::<Vec<_>>().join(",")
        }
        Some(toml::Value::Integer(number)) => number.to_string(),
        Some(toml::Value::Boolean(flag)) => flag.to_string(),
        Some(other) => {
            let kind = other.type_str();
            return Err((
                name.to_owned(),
                format!("a {kind} cannot stand here; write a string"),
            ));
        }
    };
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse::<T>();
    parsed
        .map(Some)
        .map_err(|error| (name.to_owned(), error.to_string()))
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
    text.lines().position(is_there).map_or(1, |index| index + 1)
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
        assert_eq!(config.seal_interval, Some(Span(Duration::from_secs(300))));
        assert_eq!(config.journal_budget, Some(Bytes(4 << 30)));
        assert_eq!(config.clickhouse_url, None);
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
        assert_eq!((config.seal_rows, config.stores_max), (Some(7), Some(6)));
        assert_eq!(config.cors_origins.unwrap().0, ["https://a", "https://b"]);
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
