//! `journal inspect`, `journal verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{Failure, Outcome, say};
use crate::journal::{RealDisk, inspect, verify};

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// List the segments and what is in them.
    Inspect(Folder),
    /// Read every record; fails when acknowledged records are damaged.
    Verify(Folder),
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
    pub(super) fn run(self) -> Outcome {
        match self {
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
                let verification =
                    verify(&RealDisk, &dir, None).map_err(|error| Failure::of(&error))?;
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
