//! What was seen of a run, and what was found there.

use serde::Serialize;

use crate::driver::Fleet;
use crate::query::Query;
use crate::scenario::exposition::Pages;
use crate::scenario::hostile::Harmed;
use crate::scenario::vitals::Health;
use crate::{Options, Report};

/// An expectation and what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Whether it is so.
    pub is_met: bool,
}

/// Everything that was seen of a run.
pub struct Scene<'a> {
    /// The run's options.
    pub options: &'a Options,
    /// The run's report so far.
    pub report: &'a Report,
    /// The run's fleet.
    pub fleet: &'a Fleet,
    /// The query API.
    pub query: &'a Query,
    /// The metrics pages before the run.
    pub before: &'a Pages,
    /// The metrics pages after the run.
    pub after: &'a Pages,
    /// What was measured of the processes, if the collector is the scenario's own.
    pub health: Option<&'a Health>,
    /// What the hostile terminal did.
    pub harmed: Option<&'a Harmed>,
    /// The most epochs that waited in the outbox while ClickHouse was in trouble, and the last number.
    pub outbox_epochs: [f64; 2],
    /// When the run was over, Unix ms.
    pub ended_ms: i64,
}

pub(super) fn finding(
    expected: impl Into<String>,
    found: impl Into<String>,
    is_met: bool,
) -> Finding {
    Finding {
        expected: expected.into(),
        found: found.into(),
        is_met,
    }
}

impl Scene<'_> {
    /// How much a counter of the collector grew.
    pub(super) fn increase(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let grown = self.after.own.sum(name, labels) - self.before.own.sum(name, labels);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a counter, below 2^53"
        )]
        let grown = grown.max(0.0).round() as u64;
        grown
    }
}
