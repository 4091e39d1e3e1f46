//! `serve`, `clickhouse`, `migrate`, `check-config`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tillwatch_engine::{Confinement, EngineSettings, FrontSettings};
use tillwatch_model::Catalogue;

use crate::cli::backup::new_collector_id;
use crate::cli::{Failure, Outcome, say, table};
use crate::config::{Config, Flags, SETTINGS};
use crate::fleet::Inventory;
use crate::hosts::{self, Schemes};
use crate::logging::{self, Format};
use crate::persist::migrate::migrate;
use crate::pipeline::{self, ENGINE_NAMES};
use crate::world::World;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// File with settings (TOML). Flags and TILLWATCH_… variables win over it.
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

fn load(flags: Flags, file: Option<&PathBuf>) -> Result<Config, Failure> {
    Config::load(flags, file.map(PathBuf::as_path)).map_err(|error| Failure::of(&error))
}

fn start_logging(config: &Config) {
    logging::init(config.log.format, &config.log.level);
}

impl Serve {
    pub(super) async fn run(self) -> Outcome {
        let config = load(self.flags.clone(), self.config.as_ref())?;
        start_logging(&config);
        for doubt in config.doubts() {
            tracing::warn!("{doubt}");
        }
        let (flags, file) = (self.flags, self.config);
        let again = move || Config::load(flags.clone(), file.as_deref());
        let served = Box::pin(pipeline::serve(config, Box::new(again))).await;
        served
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::of(&error))
    }
}

#[derive(Debug, Args)]
pub(super) struct Clickhouse {
    /// Folder of the engine's data. One process at a time.
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Where to listen. Port 0 takes a free one and prints it. Other addresses than loopback need a password.
    #[arg(long, default_value = "127.0.0.1:8123", value_name = "ADDR")]
    listen: SocketAddr,
    /// The engine's library; by default the one that npm installed is found.
    #[arg(long, env = "TILLWATCH_LIBCHDB", value_name = "FILE")]
    libchdb: Option<PathBuf>,
    /// The most memory the engine may use, in bytes.
    #[arg(long, default_value_t = 2 << 30, value_name = "BYTES")]
    memory: u64,
    /// End when standard input ends: how `serve` makes sure that no engine outlives it.
    #[arg(long, hide = true)]
    exit_on_stdin_eof: bool,
    /// text or json, on standard error, which `serve` shares with its engine.
    #[arg(long, hide = true, default_value = "text")]
    log_format: Format,
    /// Time-out of heads and bodies.
    #[arg(long, hide = true, default_value_t = 30_000)]
    timeout_ms: u64,
}

impl Clickhouse {
    /// Confines the process, while it has one thread.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        logging::init(self.log_format, "info");
        let library = tillwatch_engine::locate(self.libchdb.as_deref(), ENGINE_NAMES).ok();
        let confined =
            tillwatch_engine::confine(&self.path, library.as_deref()).map_err(|error| {
                let (path, error) = (self.path.display(), logging::chain(&error));
                Failure(format!("cannot use {path}: {error}"))
            })?;
        match confined {
            Confinement::Full => {}
            Confinement::Files => tracing::warn!(
                "this kernel cannot keep the engine from connecting elsewhere; its user has no right to"
            ),
            Confinement::None => tracing::warn!(
                "this system cannot confine the engine (Landlock): SQL can read this user's files with the \
                 function file()"
            ),
        }
        Ok(())
    }

    pub(super) async fn run(self) -> Outcome {
        let mut engine = EngineSettings::new(ENGINE_NAMES, self.path);
        engine.libchdb = self.libchdb;
        engine.memory_bytes_max = self.memory;
        let mut settings = FrontSettings::new(engine, self.listen, |asked| {
            hosts::check(
                asked.version,
                &asked.uri,
                &asked.headers,
                &[],
                Schemes::HTTP,
            )
            .is_ok()
        });
        settings.password = std::env::var(ENGINE_NAMES.password_variable)
            .ok()
            .filter(|password| !password.is_empty());
        settings.header_timeout = Duration::from_millis(self.timeout_ms);
        settings.body_timeout = Duration::from_millis(self.timeout_ms);
        let shutdown = async {
            if let Err(error) = tillwatch_engine::until_told_to_stop(self.exit_on_stdin_eof).await {
                tracing::error!(%error, "cannot wait for signals");
            }
        };
        let run = tillwatch_engine::run(settings, shutdown).await;
        run.map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::of(&error))
    }
}

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// File with settings (TOML).
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    /// Give the state file in --data-dir a new collector id: after a restore from an older copy, so
    /// that its epochs cannot meet those it has forgotten. Stop `serve` first; ClickHouse must answer.
    #[arg(long)]
    new_collector_id: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Migrate {
    pub(super) async fn run(self) -> Outcome {
        let config = load(self.flags, self.config.as_ref())?;
        start_logging(&config);
        let world = World::of_machine();
        if self.new_collector_id {
            // Said before anything is touched.
            let data_dir = config.data.dir.clone();
            drop(pipeline::lock_data_dir(&data_dir, &world).map_err(|error| Failure::of(&error))?);
        }
        let database = pipeline::open_database(&config, &world.tasks)
            .await
            .map_err(|error| Failure::of(&error))?;
        let migrated = migrate(database.clickhouse())
            .await
            .map_err(|error| Failure::of(&error));
        database.close().await;
        let migrated = migrated?;
        if self.new_collector_id {
            let (id, moved) = new_collector_id(&config).await?;
            say(&format!(
                "the collector id is now {id}; {moved} epochs that wait moved to it"
            ));
        }
        for name in &migrated.made_again {
            say(&format!("{name} was gone and is made again, empty"));
        }
        say(&format!(
            "{} applied before, {} applied now{}",
            migrated.before,
            migrated.applied.len(),
            migrated
                .applied
                .iter()
                .map(|name| format!("\n  {name}"))
                .collect::<String>()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// File with settings (TOML).
    #[arg(value_name = "FILE", env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Bytes of outbox that a store of ten terminals costs in a day: 577 kB in a seal of 290 s from 50
/// simulated stores that report every metric, 93 kB of it by terminal and session.
const OUTBOX_BYTES_STORE_DAY: u64 = 3_500_000;

/// Bytes of tables that a store costs in a day: 83 MB in a day of 50 simulated stores that report every metric.
const TABLE_BYTES_STORE_DAY: u64 = 1_700_000;

impl CheckConfig {
    pub(super) fn run(self) -> Outcome {
        let config = load(self.flags, self.config.as_ref())?;
        if let Some(path) = &config.terminals.inventory {
            let read = Inventory::read(path);
            read.map_err(|error| Failure(format!("terminal_inventory: {error}")))?;
        }
        let own = config.declared.own_metrics().cloned().collect();
        let catalogue = Catalogue::with_own(own, Vec::new());
        pipeline::plan_of(&config, &catalogue).map_err(|error| Failure::of(&error))?;
        let rows: Vec<Vec<String>> = SETTINGS
            .iter()
            .map(|setting| {
                let value = match config.text_of(setting.name) {
                    none if none.is_empty() => "(none)".to_owned(),
                    value => value,
                };
                vec![setting.name.to_owned(), value, setting.default.to_owned()]
            })
            .collect();
        say(&table(&["setting", "value", "default"], &rows));
        for doubt in config.doubts() {
            say(&format!("\nNote: {doubt}."));
        }
        if let Some(dir) = config.backup.dir.as_ref().filter(|dir| !dir.is_dir()) {
            say(&format!(
                "\nNote: backup_dir, {}, is no folder here: make it, or mount its disk; until then serve makes no backups.",
                dir.display()
            ));
        }
        let outbox = config.outbox.budget.0;
        let days = |stores: u64| outbox / (stores * OUTBOX_BYTES_STORE_DAY);
        say(&format!(
            "\nWhile ClickHouse is away, the outbox lasts about {} days with 50 stores and {} with 500.",
            days(50),
            days(500)
        ));
        let tables = config.clickhouse.budget.0;
        let days = |stores: u64| (tables / (stores * TABLE_BYTES_STORE_DAY)).min(90);
        say(&format!(
            "Within clickhouse_budget, ClickHouse keeps the minutes of about {} days with 500 stores and {} with 5,000; \
             older ones give way, the last ten days never do.",
            days(500),
            days(5_000)
        ));
        Ok(ExitCode::SUCCESS)
    }
}
