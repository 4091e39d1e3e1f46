//! Holds what the collector claims against what really happened: which claims are right, which are false, and what
//! was missed.
//!
//! A claim is what a person would be told: a line of `tillwatch silent`, of `tillwatch losses` or of `tillwatch errors`,
//! and the series that the alerts on stuck sales stand on. What cannot be claimed yet is not judged, and said so: a
//! terminal has no habit in its first week, for example.
//!
//! | file | what |
//! |---|---|
//! | `ask.rs` | what the collector claims, asked over its admin listener |
//! | `silent.rs` | terminals that are called silent |
//! | `stuck.rs` | stores in which sales pile up or were given up |
//! | `losses.rs` | lines of the ledger of losses |
//! | `errors.rs` | groups of errors |

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::Options;
use crate::query::QueryError;
use crate::report::grouped;
use crate::truth::Truth;

mod ask;
mod errors;
mod losses;
mod silent;
mod stuck;

use ask::{Answers, Asker};

/// How often is asked again while something is missed.
const POLL: Duration = Duration::from_millis(500);

/// Claims of one kind that are named.
const NAMED_MAX: usize = 5;

/// When the run was, simulated Unix ms.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Its beginning.
    pub begin_ms: i64,
    /// Its end.
    pub end_ms: i64,
}

/// Claims of one kind, judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The trouble that the claims are about.
    pub kind: &'static str,
    /// Claims that are right.
    pub right: u64,
    /// Claims of what did not happen.
    #[serde(rename = "false")]
    pub wrong: u64,
    /// What happened and is not claimed.
    pub missed: u64,
    /// What happened and cannot be claimed yet.
    pub not_judged: u64,
    /// Why it cannot, or what was not looked at.
    pub notes: Vec<String>,
    /// The first of the false claims.
    pub false_ones: Vec<String>,
    /// The first of what was missed.
    pub missed_ones: Vec<String>,
}

impl Judged {
    fn of(kind: &'static str) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    fn is_false(&mut self, what: String) {
        self.wrong += 1;
        if self.false_ones.len() < NAMED_MAX {
            self.false_ones.push(what);
        }
    }

    fn misses(&mut self, what: String) {
        self.missed += 1;
        if self.missed_ones.len() < NAMED_MAX {
            self.missed_ones.push(what);
        }
    }

    fn cannot_judge(&mut self, why: &str) {
        self.not_judged += 1;
        self.note(why);
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// All claims, judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// By kind of trouble.
    pub kinds: Vec<Judged>,
}

impl Claims {
    fn judge(answers: &Answers, truth: &Truth, options: &Options, span: Span) -> Self {
        Self {
            kinds: vec![
                silent::judge(answers, truth, options, span),
                stuck::judge(answers, truth, options),
                losses::judge(answers, truth),
                errors::judge(answers, truth, span),
            ],
        }
    }

    /// What of them speaks against the collector.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for judged in &self.kinds {
            for (count, what, ones) in [
                (judged.wrong, "false claims", &judged.false_ones),
                (judged.missed, "missed", &judged.missed_ones),
            ] {
                if count > 0 {
                    let kind = judged.kind;
                    let first = ones.first().map_or("", String::as_str);
                    faults.push(format!("{kind}: {} {what} ({first})", grouped(count)));
                }
            }
        }
        faults
    }

    fn has_missed(&self) -> bool {
        self.kinds.iter().any(|judged| judged.missed > 0)
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for judged in &self.kinds {
            writeln!(
                formatter,
                "  {:<13} {} right, {} false, {} missed, {} not judged",
                judged.kind,
                grouped(judged.right),
                grouped(judged.wrong),
                grouped(judged.missed),
                grouped(judged.not_judged)
            )?;
            for one in &judged.false_ones {
                writeln!(formatter, "    false: {one}")?;
            }
            for one in &judged.missed_ones {
                writeln!(formatter, "    missed: {one}")?;
            }
            for note in &judged.notes {
                writeln!(formatter, "    note: {note}")?;
            }
        }
        Ok(())
    }
}

/// Asks a collector what it claims.
#[derive(Debug)]
pub struct Judge {
    asker: Asker,
    wait: Duration,
}

impl Judge {
    /// Asks what the collector claims before the run, so that it is not taken for a claim about the run.
    ///
    /// # Errors
    /// When the admin listener does not answer as it should.
    pub async fn start(url: &str, options: &Options, span: Span) -> Result<Self, QueryError> {
        Ok(Self {
            asker: Asker::start(url, options, span).await?,
            wait: options.compare_wait,
        })
    }

    /// Asks what the collector claims now, and again while something is missed, and judges it.
    ///
    /// # Errors
    /// When the admin listener does not answer as it should.
    pub async fn finish(
        self,
        truth: &Truth,
        options: &Options,
        span: Span,
    ) -> Result<Claims, QueryError> {
        let deadline = tokio::time::Instant::now() + self.wait;
        loop {
            let answers = self.asker.ask(truth).await?;
            let claims = Claims::judge(&answers, truth, options, span);
            if !claims.has_missed() || tokio::time::Instant::now() >= deadline {
                return Ok(claims);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests;
