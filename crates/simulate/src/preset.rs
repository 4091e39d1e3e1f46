//! The options that a scenario sets, unless the command line does.

use std::ffi::OsString;

use clap::Parser;

use crate::Options;
use crate::scenario;

/// A command line of nothing but these options.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
pub struct Line {
    #[command(flatten)]
    pub options: Options,
}

impl Options {
    /// These options with those that their scenario sets, as far as the words they were read from do not
    /// set them.
    ///
    /// # Errors
    /// When the words are no options.
    pub fn with_preset(
        self,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let Some(scenario) = self.scenario.as_deref().and_then(scenario::find) else {
            return Ok(self);
        };
        // The last word on an option counts.
        let preset = scenario.preset.iter().map(OsString::from);
        let line = std::iter::once(OsString::from("simulate"))
            .chain(preset)
            .chain(words);
        Line::try_parse_from(line).map(|line| line.options)
    }
}
