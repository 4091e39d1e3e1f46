//! `journal inspect`, `journal verify`; `journal replay` is in `replay.rs`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::backup::PLAIN_EVERY;
use crate::cli::replay::Replay;
use crate::cli::{Failure, Outcome, say};
use crate::journal::{RealDisk, inspect, verify_with};
use crate::progress::Progress;

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// List the segments and what is in them.
    Inspect(Folder),
    /// Read every record; fails when acknowledged records are damaged.
    Verify(Folder),
    /// Replay a journal that is not in use into a new database, to look at what it holds.
    Replay(Box<Replay>),
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// Data folder of the collector, which may be running.
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
}

impl Journal {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Replay(replay) => replay.run().await,
            Self::Inspect(folder) => {
                let dir = folder.data_dir.join("journal");
                for segment in inspect(&RealDisk, &dir).map_err(|error| Failure::of(&error))? {
                    say(&format!(
                        "{:?}",
                        segment.map_err(|error| Failure::of(&error))?
                    ));
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify(folder) => {
                let dir = folder.data_dir.join("journal");
                let mut progress = Progress::new(false, PLAIN_EVERY);
                let verification = verify_with(&RealDisk, &dir, None, &mut |done, all| {
                    progress.step("verify", (done, all), "segments");
                })
                .map_err(|error| Failure::of(&error))?;
                progress.finish();
                say(&format!("{verification:?}"));
                Ok(if verification.is_intact() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
        }
    }
}
