//! `journal replay`: a journal's records into a database made for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::{Failure, Outcome, say, table};
use crate::config::{Config, Flags};
use crate::logging::{self, Format};
use crate::pipeline::{self, ReplaySummary};
use crate::progress::Progress;
use crate::world::World;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Folder with journal segments, instead of the one in the data folder: a copy, or quarantine.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Database to make and fill; it must not exist yet.
    #[arg(long, value_name = "DATABASE")]
    into: Option<String>,
    /// Without a ClickHouse server: folder for an engine of its own.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// File with settings (TOML).
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl Replay {
    pub(super) async fn run(self) -> Outcome {
        logging::init(Format::Text, "warn");
        let mut config = Config::load(self.flags, self.config.as_deref())
            .map_err(|error| Failure::of(&error))?;
        let data_dir = config.data.dir.clone();
        let journal = self
            .journal
            .unwrap_or_else(|| pipeline::journal_dir(&data_dir));
        let world = World::of_machine();
        let number = world.chance.uuid().simple().to_string();
        let into = self
            .into
            .unwrap_or_else(|| format!("tillwatch_replay_{number}"));
        // The engine of the data folder is that of the collector: never touched.
        let scratch = self
            .scratch
            .unwrap_or_else(|| std::env::temp_dir().join(&into));
        config.data.dir.clone_from(&scratch);
        let is_own_engine = config.clickhouse.url.is_none();
        let mut progress = Progress::new();
        let summary = pipeline::replay(&config, &journal, &into, &world, &mut |done, all| {
            progress.step("replay", done, all, "segments");
        })
        .await
        .map_err(|error| Failure::of(&error))?;
        progress.finish();
        print(&summary, &into);
        say("");
        if is_own_engine {
            let path = scratch.join("clickhouse");
            say(&format!(
                "Look into it:  tillwatch clickhouse --path {} --listen 127.0.0.1:18123\n               \
                 curl 'http://127.0.0.1:18123/?database={into}' -d 'SELECT metric, sum(count) FROM v_rollup_1m GROUP BY metric'\n\
                 Drop it:       rm -r {}",
                path.display(),
                scratch.display()
            ));
        } else {
            say(&format!(
                "Look into it:  SELECT metric, sum(count) FROM {into}.v_rollup_1m GROUP BY metric\n\
                 Drop it:       DROP DATABASE {into}"
            ));
        }
        Ok(if summary.unreadable == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn print(summary: &ReplaySummary, into: &str) {
    let rows: Vec<Vec<String>> = summary
        .metrics
        .iter()
        .map(|(metric, rows, samples)| vec![metric.clone(), rows.to_string(), samples.to_string()])
        .collect();
    if !rows.is_empty() {
        say(&table(&["metric", "rows", "samples"], &rows));
    }
    let range = summary.range.map_or_else(
        || "no records".to_owned(),
        |(first, last)| format!("records {first} to {last}"),
    );
    say(&format!(
        "{range}: {} read, {} unreadable, {} repeated; {} samples in database {into}, {} s",
        summary.records,
        summary.unreadable,
        summary.repeated,
        summary.samples,
        Duration::as_secs(&summary.took)
    ));
}
