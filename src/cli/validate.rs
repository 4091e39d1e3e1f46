//! `validate`: whether a payload would be taken, and what is wrong with it, without a collector.

use std::path::PathBuf;

use clap::Args;

use crate::cli::payload::Options;
use crate::cli::{Failure, Outcome};
use crate::config::{Config, Flags};

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// File with the payload, as it would be posted; `-` is standard input. It may be packed with gzip.
    #[arg(value_name = "FILE")]
    payload: PathBuf,
    /// Show what would be accepted, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    options: Options,
    /// File with the settings of the collector (TOML): its own metrics, and what its doors take for granted.
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl Validate {
    pub(super) fn run(self) -> Outcome {
        let config = Config::load(self.flags, self.config.as_deref());
        let config = config.map_err(|error| Failure::of(&error))?;
        self.options.try_out(&self.payload, &config, self.all)
    }
}
