//! What to tell: a table for people, JSON for machines.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::Options;
use crate::claims::Claims;
use crate::compare::Comparison;
use crate::compare_text::write_comparison;
use crate::scenario::Finding;
use crate::table::Table;
use crate::tally::{AnswerTimes, Counts, Tally};
use crate::truth::Truth;

/// What a run did, and whether the collector did what it promises.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The scenario, if the run was one.
    pub scenario: Option<String>,
    /// The run's name: with the seed, what its queues were made from.
    pub run_id: String,
    /// The seed.
    pub seed: u64,
    /// Stores in the fleet.
    pub stores: u32,
    /// Terminals in the fleet.
    pub terminals: u32,
    /// How long the run took, without the comparison, in seconds.
    pub elapsed_secs: f64,
    /// What happened.
    pub counts: Counts,
    /// Batches the terminals still hold: not acknowledged, not lost.
    pub batches_held: u64,
    /// How long answers took.
    pub answer_times: AnswerTimes,
    /// How long it took from the moment a batch was due to its acknowledgement, retries included.
    pub intended_times: AnswerTimes,
    /// How long terminals that came back waited for their first answer.
    pub first_answer_times: AnswerTimes,
    /// How long they took to deliver everything.
    pub caught_up_times: AnswerTimes,
    /// What really happened: dead tills, stuck ones, losses and new errors.
    pub truth: Truth,
    /// What the collector claims of that, if it was asked.
    pub claims: Option<Claims>,
    /// What a scenario expected, and what was found.
    pub findings: Vec<Finding>,
    /// What else a scenario measured: name, and value as text.
    pub measured: Vec<(String, String)>,
    /// Measurements that are tables.
    pub tables: Vec<Table>,
    /// What the collector made of the run, if it was asked.
    pub comparison: Option<Comparison>,
    /// Whether nothing speaks against the collector.
    pub is_good: bool,
    /// What does.
    pub faults: Vec<String>,
}

impl Report {
    /// The report of a run that was not compared yet.
    pub(super) fn new(
        options: &Options,
        run_id: String,
        elapsed: Duration,
        batches_held: u64,
        tally: &mut Tally,
    ) -> Self {
        let faults = faults(&tally.counts);
        Self {
            run_id,
            seed: options.seed,
            stores: options.stores,
            terminals: options.terminals,
            elapsed_secs: elapsed.as_secs_f64(),
            counts: tally.counts.clone(),
            batches_held,
            answer_times: tally.earlier.times(),
            intended_times: tally.waits.intended.times(),
            first_answer_times: tally.waits.first_answer.times(),
            caught_up_times: tally.waits.caught_up.times(),
            is_good: faults.is_empty(),
            faults,
            ..Self::default()
        }
    }

    /// Adds something that speaks against the collector.
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
        self.is_good = false;
    }

    /// Adds what a scenario expected, and what was found.
    pub(super) fn found(&mut self, findings: Vec<Finding>) {
        for finding in findings.iter().filter(|finding| !finding.is_met) {
            self.fault(format!("not met: {}", finding.expected));
        }
        self.findings = findings;
    }

    /// Adds what the collector claims.
    pub(super) fn claimed(&mut self, claims: Claims) {
        for fault in claims.faults() {
            self.fault(fault);
        }
        self.claims = Some(claims);
    }

    /// Adds what the collector made of the run.
    pub(super) fn compared(&mut self, comparison: Comparison) {
        let before = self.faults.len();
        if comparison.lost > 0 {
            self.faults
                .push(format!("{} samples lost", grouped(comparison.lost)));
        }
        if comparison.doubled > 0 {
            self.faults.push(format!(
                "{} samples counted twice",
                grouped(comparison.doubled)
            ));
        }
        let unequal = comparison.rows.iter().filter(|row| !row.is_sum_equal);
        for row in unequal {
            self.faults
                .push(format!("the sum of {} differs", row.metric));
        }
        if !comparison.is_good() && self.faults.len() == before {
            self.faults
                .push("a percentile is off by more than 0.1 %".to_owned());
        }
        self.is_good = self.faults.is_empty();
        self.comparison = Some(comparison);
    }

    /// Adds that the collector could not be asked, and why.
    pub(super) fn not_compared(&mut self, error: &dyn Error, cause: Option<&dyn Error>) {
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        self.faults.push(format!("not compared, {error}{cause}"));
        self.is_good = false;
    }

    /// What the counts say, line by line.
    fn lines(&self) -> [(&'static str, String); 8] {
        let counts = &self.counts;
        let per_minute = if self.elapsed_secs > 0.0 {
            tillwatch_model::metric::to_float(counts.batches_acknowledged) * 60.0
                / self.elapsed_secs
        } else {
            0.0
        };
        [
            (
                "made",
                format!(
                    "{} batches, {} samples",
                    grouped(counts.batches_made),
                    grouped(counts.samples_made)
                ),
            ),
            (
                "sent",
                format!(
                    "{} batches in {} requests ({} retries, {} sent again on purpose)",
                    grouped(counts.attempts),
                    grouped(counts.requests),
                    grouped(counts.retries),
                    grouped(counts.echoes)
                ),
            ),
            (
                "acknowledged",
                format!(
                    "{} batches, {} samples; {per_minute:.0} batches a minute",
                    grouped(counts.batches_acknowledged),
                    grouped(counts.samples_acknowledged)
                ),
            ),
            (
                "answered",
                format!(
                    "{} accepted, {} duplicate, {} rejected",
                    grouped(counts.answered_accepted),
                    grouped(counts.answered_duplicate),
                    grouped(counts.answered_rejected)
                ),
            ),
            (
                "deferred",
                format!(
                    "{} (429: {}, 503: {})",
                    grouped(counts.deferred()),
                    counts.too_many_requests,
                    counts.unavailable
                ),
            ),
            (
                "errors",
                format!(
                    "{} (no connection {}, no answer in time {}, broken {}, not understood {}); hung up on purpose {}",
                    grouped(counts.errors()),
                    counts.errors_connect,
                    counts.errors_timeout,
                    counts.errors_broken,
                    counts.errors_answer,
                    counts.hung_up
                ),
            ),
            (
                "kept",
                format!(
                    "{} batches not acknowledged, {} refused for good, {} not made for want of room",
                    grouped(self.batches_held),
                    grouped(counts.batches_refused),
                    grouped(counts.batches_skipped)
                ),
            ),
            ("answer time", self.answer_times.to_string()),
        ]
    }

    /// The report as a line of JSON.
    ///
    /// # Errors
    /// Never in practice: everything in it is a number or a text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// What the counts alone say against the collector.
fn faults(counts: &Counts) -> Vec<String> {
    let faults = [
        (
            counts.batches_made > 0 && counts.batches_acknowledged == 0,
            "no batch was acknowledged".to_owned(),
        ),
        (
            counts.wrongly_rejected > 0,
            format!(
                "{} valid samples rejected",
                grouped(counts.wrongly_rejected)
            ),
        ),
        (
            counts.wrongly_accepted > 0,
            format!(
                "{} samples with an impossible time accepted",
                grouped(counts.wrongly_accepted)
            ),
        ),
        (
            counts.batches_refused > 0,
            format!(
                "{} valid batches refused for good",
                grouped(counts.batches_refused)
            ),
        ),
        (
            counts.echo_accepted > 0,
            format!(
                "{} samples accepted a second time",
                grouped(counts.echo_accepted)
            ),
        ),
        (
            counts.unbalanced_answers > 0,
            format!(
                "{} answers whose counts do not sum up",
                grouped(counts.unbalanced_answers)
            ),
        ),
    ];
    let told = faults.into_iter().filter(|(is_so, _)| *is_so);
    told.map(|(_, fault)| fault).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(
            formatter,
            "{} terminals in {} stores, {:.1} s, seed {}, run {}",
            grouped(self.terminals.into()),
            grouped(self.stores.into()),
            self.elapsed_secs,
            self.seed,
            self.run_id
        )?;
        let lines = self.lines();
        for (name, text) in lines {
            writeln!(formatter, "  {name:<13} {text}")?;
        }
        for (reason, times) in &counts.reasons {
            writeln!(
                formatter,
                "  {:<13} {reason}: {}",
                "reason",
                grouped(*times)
            )?;
        }
        if !self.truth.is_calm() {
            write!(formatter, "truth\n{}", self.truth)?;
        }
        if let Some(claims) = &self.claims {
            write!(formatter, "claims\n{claims}")?;
        }
        if let Some(comparison) = &self.comparison {
            write_comparison(formatter, comparison)?;
        }
        for (name, value) in &self.measured {
            writeln!(formatter, "  {name:<38} {value}")?;
        }
        for table in &self.tables {
            write!(formatter, "\n{table}")?;
        }
        for finding in &self.findings {
            let mark = if finding.is_met { "met    " } else { "NOT MET" };
            writeln!(formatter, "{mark}  {}: {}", finding.expected, finding.found)?;
        }
        if self.is_good {
            write!(formatter, "good")
        } else {
            write!(formatter, "NOT GOOD: {}", self.faults.join("; "))
        }
    }
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        // Writing to memory cannot fail.
        let _ = text.write_char(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn valid_samples_that_are_rejected_are_a_fault() {
        let good = Counts {
            batches_made: 2,
            batches_acknowledged: 2,
            answered_duplicate: 40,
            unavailable: 3,
            ..Counts::default()
        };
        assert!(faults(&good).is_empty());
        let faulty: [fn(&mut Counts); 6] = [
            |counts| counts.batches_acknowledged = 0,
            |counts| counts.wrongly_rejected = 1,
            |counts| counts.wrongly_accepted = 1,
            |counts| counts.batches_refused = 1,
            |counts| counts.echo_accepted = 1,
            |counts| counts.unbalanced_answers = 1,
        ];
        for make_faulty in faulty {
            let mut counts = good.clone();
            make_faulty(&mut counts);
            assert_eq!(faults(&counts).len(), 1, "{counts:?}");
        }
    }
}
