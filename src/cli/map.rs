//! `map test`: what the rules of the settings make of a payload.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::payload::{Options, standard_input};
use crate::cli::{Failure, Outcome};
use crate::config::{Config, Flags};

#[derive(Debug, Subcommand)]
pub(super) enum Map {
    /// Show what becomes of each number of a payload on standard input, and why not.
    Test(Box<Test>),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// File with the settings (TOML): [[metrics]], [[map]] and map_sets.
    #[arg(value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    flags: Flags,
}

impl Map {
    pub(super) fn run(self) -> Outcome {
        let Self::Test(test) = self;
        let config = Config::load(test.flags, Some(&test.config));
        let config = config.map_err(|error| Failure::of(&error))?;
        test.options.try_out(&standard_input(), &config, true)
    }
}
