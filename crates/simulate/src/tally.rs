//! Counts and answer times of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tillwatch_model::histogram::values_at;
use tillwatch_model::{Quantile, SparseHistogram};

use crate::batch::Batch;

/// The most different reasons that are counted apart; a collector that makes up more is summed.
const REASONS_MAX: usize = 64;

/// Memory for the batches of the whole fleet that are not acknowledged. Past it terminals skip their
/// minute, counted, and history waits.
const HELD_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What happened so far. A sample inside a histogram counts like any other.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Batches made, also history.
    pub batches_made: u64,
    /// Batches of the normal trade among them.
    pub batches_traded: u64,
    /// Samples made.
    pub samples_made: u64,
    /// Requests sent.
    pub requests: u64,
    /// Batches sent, each attempt counted.
    pub attempts: u64,
    /// Attempts of batches that had been sent before and were not acknowledged.
    pub retries: u64,
    /// Batches sent once more although they were acknowledged.
    pub echoes: u64,
    /// Batches acknowledged.
    pub batches_acknowledged: u64,
    /// Samples in them, without those of batches in which something was rejected.
    pub samples_acknowledged: u64,
    /// Samples that answers called accepted.
    pub answered_accepted: u64,
    /// Samples that answers called duplicate.
    pub answered_duplicate: u64,
    /// Samples that answers called rejected.
    pub answered_rejected: u64,
    /// Samples of an echo that were called accepted: counted twice.
    pub echo_accepted: u64,
    /// Samples rejected that were right.
    pub wrongly_rejected: u64,
    /// Samples accepted whose time was too wrong to be corrected.
    pub wrongly_accepted: u64,
    /// Samples that had to be rejected and were, by reason.
    pub expected_rejections: BTreeMap<&'static str, u64>,
    /// Answers whose counts do not sum to the samples of the request.
    pub unbalanced_answers: u64,
    /// Reasons given for rejected samples and refused requests.
    pub reasons: BTreeMap<String, u64>,
    /// Requests answered 429.
    pub too_many_requests: u64,
    /// Requests answered 503.
    pub unavailable: u64,
    /// Requests the terminal itself gave up before the answer, on purpose.
    pub hung_up: u64,
    /// Requests that could not connect.
    pub errors_connect: u64,
    /// Requests without an answer in time.
    pub errors_timeout: u64,
    /// Requests whose connection broke.
    pub errors_broken: u64,
    /// Requests answered with another status, or with something that is no answer.
    pub errors_answer: u64,
    /// Batches dropped after a final refusal.
    pub batches_refused: u64,
    /// Batches not made because too many were queued.
    pub batches_skipped: u64,
    /// Batches that terminals lost on purpose before they were sent; not among those made.
    pub batches_lost: u64,
    /// Memory that batches take which are neither acknowledged nor refused.
    #[serde(skip)]
    pub held_bytes: u64,
}

impl Counts {
    /// Everything that went wrong on the way and was not wanted.
    pub fn errors(&self) -> u64 {
        self.errors_connect + self.errors_timeout + self.errors_broken + self.errors_answer
    }

    /// Requests to be sent again later, as the collector asked.
    pub fn deferred(&self) -> u64 {
        self.too_many_requests + self.unavailable
    }

    /// Counts a batch that a terminal has made and keeps.
    pub fn add_made(&mut self, batch: &Batch) {
        self.batches_made += 1;
        self.samples_made += batch.samples();
        self.held_bytes += batch.held_bytes();
    }

    /// A terminal lets go of a batch.
    pub fn release(&mut self, batch: &Batch) {
        self.held_bytes = self.held_bytes.saturating_sub(batch.held_bytes());
    }

    /// Whether the fleet may keep another batch.
    pub fn has_room(&self) -> bool {
        self.held_bytes < HELD_BYTES_MAX
    }

    /// Counts a reason.
    pub fn add_reason(&mut self, reason: &str, times: u64) {
        let key = if self.reasons.contains_key(reason) || self.reasons.len() < REASONS_MAX {
            reason
        } else {
            "other"
        };
        *self.reasons.entry(key.to_owned()).or_default() += times;
    }
}

/// How long answers took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AnswerTimes {
    /// Requests that were answered.
    pub count: u64,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// 95 % took at most this.
    pub p95_ms: f64,
    /// 99 % took at most this.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl fmt::Display for AnswerTimes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms
        )
    }
}

/// Gathers answer times; bounded, because a histogram is.
#[derive(Debug, Default)]
pub struct Stopwatch {
    histogram: SparseHistogram,
    count: u64,
    max_us: u64,
}

impl Stopwatch {
    /// Adds one answer.
    pub fn record(&mut self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.histogram.record(us);
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Adds a time in microseconds; a negative one is none.
    pub fn record_us(&mut self, us: i64) {
        self.record(Duration::from_micros(u64::try_from(us).unwrap_or(0)));
    }

    /// Adds what another one gathered, and empties that.
    pub fn take(&mut self, other: &mut Self) {
        let other = std::mem::take(other);
        let (indices, counts) = other.histogram.into_parts();
        self.histogram.merge(&indices, &counts);
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// What it shows.
    pub fn times(&mut self) -> AnswerTimes {
        let quantiles: Vec<Quantile> = ["0.5", "0.95", "0.99"]
            .iter()
            .filter_map(|text| Quantile::parse(text))
            .collect();
        let (indices, counts) = self.histogram.parts();
        let ms = |us: u64| tillwatch_model::metric::to_float(us) / 1_000.0;
        match values_at(indices, counts, &quantiles).as_deref() {
            Some([p50, p95, p99]) => AnswerTimes {
                count: self.count,
                p50_ms: ms(*p50.min(&self.max_us)),
                p95_ms: ms(*p95.min(&self.max_us)),
                p99_ms: ms(*p99.min(&self.max_us)),
                max_ms: ms(self.max_us),
            },
            _ => AnswerTimes::default(),
        }
    }
}

/// How long terminals waited.
#[derive(Debug, Default)]
pub struct Waits {
    /// From the moment a batch was to be sent to its acknowledgement, retries included: what a queue
    /// before the server or in the simulator costs is in it.
    pub intended: Stopwatch,
    /// The time from coming back to the first answer.
    pub first_answer: Stopwatch,
    /// The time from coming back until all was delivered.
    pub caught_up: Stopwatch,
}

/// Counts and answer times of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long terminals waited.
    pub waits: Waits,
    /// What happened.
    pub counts: Counts,
    /// Answer times since the last line of progress.
    pub recent: Stopwatch,
    /// Answer times before.
    pub earlier: Stopwatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_times_survive_being_moved() {
        let (mut recent, mut earlier) = (Stopwatch::default(), Stopwatch::default());
        for ms in 1..=100 {
            recent.record(Duration::from_millis(ms));
            if ms == 40 {
                earlier.take(&mut recent);
                assert_eq!(recent.times(), AnswerTimes::default());
            }
        }
        earlier.take(&mut recent);
        let times = earlier.times();
        assert_eq!((times.count, times.max_ms), (100, 100.0));
        assert!((50.0..50.05).contains(&times.p50_ms) && (99.0..99.1).contains(&times.p99_ms));
    }

    #[test]
    fn reasons_are_bounded() {
        let mut counts = Counts::default();
        for number in 0..1_000 {
            counts.add_reason(&format!("reason_{number}"), 1);
        }
        assert_eq!(counts.reasons.len(), REASONS_MAX + 1);
        assert_eq!(counts.reasons.values().sum::<u64>(), 1_000);
    }
}
