//! Outcomes of ingest, as metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use tillwatch_model::Reason;

use crate::ingest::dedup::Identity;
use crate::ingest::respond;
use crate::ingest::trace::Stage;
use crate::self_metrics as names;
use crate::throttle::Throttle;

static CONFLICTS: Throttle = Throttle::new("batches with the queue and number of another one");

/// What was passed over although the sample, or the batch, was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// A connection that is no text.
    ConnectionType,
    /// A connection that is none of those known.
    ConnectionUnknown,
    /// A session id that is neither text nor digits.
    SessionIdType,
}

impl Ignored {
    /// All of them, in the order of their numbers.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::ConnectionType, "connection_type"),
        (Self::ConnectionUnknown, "connection_unknown"),
        (Self::SessionIdType, "session_id_type"),
    ];
}

/// Handles to ingest's counters; looking one up by name for every batch would cost more than counting.
#[derive(Debug)]
pub struct Counters {
    /// Samples whose outcome is known; counted together with it, so that the two always agree.
    received: Counter,
    accepted: Counter,
    duplicate: Counter,
    deferred: Counter,
    /// Batches of requests that could be split into them.
    pub batches: Counter,
    /// Bytes of bodies as they came.
    pub body_bytes: Counter,
    /// Keys that mean nothing in this version.
    pub unknown_keys: Counter,
    /// Batches answered as the first of their idempotency key was.
    pub replayed: Counter,
    /// Releases that are not written as releases are.
    pub invalid_releases: Counter,
    /// Bodies that were marked as packed and were not.
    pub mislabelled: Counter,
    conflicting: Counter,
    ignored: [Counter; Ignored::ALL.len()],
    /// Requests that took long.
    pub slow: Counter,
    /// Requests whose client went away.
    pub abandoned: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    rejected: Vec<Option<Counter>>,
    requests: Vec<(u16, Counter)>,
    refused: BTreeMap<&'static str, Counter>,
    /// By the first digit of the status, from 2.
    request_seconds: [Histogram; 4],
    stage_seconds: [Histogram; Stage::ALL.len()],
}

/// Every status that `respond.rs` gives.
const STATUSES: [u16; 10] = [202, 400, 404, 405, 413, 415, 422, 429, 500, 503];

impl Default for Counters {
    fn default() -> Self {
        let outcome =
            |outcome: &'static str| metrics::counter!(names::SAMPLES, "outcome" => outcome);
        let mut rejected = Vec::new();
        for reason in Reason::ALL {
            let code = usize::from(reason.code());
            if rejected.len() <= code {
                rejected.resize(code + 1, None);
            }
            rejected[code] = Some(metrics::counter!(names::REJECTED, "reason" => reason.name()));
        }
        Self {
            received: metrics::counter!(names::RECEIVED),
            accepted: outcome("accepted"),
            duplicate: outcome("duplicate"),
            deferred: outcome("deferred"),
            batches: metrics::counter!(names::BATCHES),
            body_bytes: metrics::counter!(names::BODY_BYTES),
            unknown_keys: metrics::counter!(names::UNKNOWN_KEYS),
            replayed: metrics::counter!(names::KEYS_REPLAYED),
            invalid_releases: metrics::counter!(names::INVALID_RELEASES),
            mislabelled: metrics::counter!(names::MISLABELLED),
            conflicting: metrics::counter!(names::CONFLICTING),
            ignored: Ignored::ALL
                .map(|(_, value)| metrics::counter!(names::IGNORED_VALUES, "value" => value)),
            slow: metrics::counter!(names::SLOW),
            abandoned: metrics::counter!(names::ABANDONED),
            in_flight: metrics::gauge!(names::IN_FLIGHT),
            refused: respond::codes()
                .map(|code| (code, metrics::counter!(names::REFUSED, "code" => code)))
                .collect(),
            request_seconds: ["2xx", "3xx", "4xx", "5xx"]
                .map(|class| metrics::histogram!(names::REQUEST_SECONDS, "class" => class)),
            stage_seconds: Stage::ALL
                .map(|(_, stage)| metrics::histogram!(names::STAGE_SECONDS, "stage" => stage)),
            rejected,
            requests: STATUSES
                .iter()
                .map(|status| {
                    (
                        *status,
                        metrics::counter!(names::REQUESTS, "status" => status.to_string()),
                    )
                })
                .collect(),
        }
    }
}

impl Counters {
    /// Counts a request by its status, and what it took.
    pub fn answer(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).saturating_sub(2);
        if let Some(seconds) = self.request_seconds.get(class) {
            seconds.record(duration);
        }
        if let Some((_, counter)) = self.requests.iter().find(|(known, _)| *known == status) {
            counter.increment(1);
        }
    }

    /// Counts what a stage took, by its number.
    pub fn stage(&self, stage: usize, spent: Duration) {
        if let Some(seconds) = self.stage_seconds.get(stage) {
            seconds.record(spent);
        }
    }

    /// Counts an answer with an error.
    pub fn refuse(&self, code: &'static str) {
        match self.refused.get(code) {
            Some(counter) => counter.increment(1),
            None => metrics::counter!(names::REFUSED, "code" => code).increment(1),
        }
    }

    /// Counts a batch of a number that was taken in before with other content, and says whose: its
    /// terminal loses data.
    pub fn conflict(&self, identity: Identity<'_>) {
        self.conflicting.increment(1);
        if let Some(suppressed) = CONFLICTS.pass() {
            tracing::warn!(
                store_id = identity.store_id,
                terminal_id = identity.terminal_id,
                seq = identity.seq,
                suppressed,
                "a batch has the queue and number of another one, and is lost: do two pages use one queue?"
            );
        }
    }

    /// Counts values that were passed over, by [`Ignored`].
    pub fn ignore(&self, ignored: &[u64; Ignored::ALL.len()]) {
        for (counter, values) in self.ignored.iter().zip(ignored) {
            if *values > 0 {
                counter.increment(*values);
            }
        }
    }

    /// Counts samples that are durable now.
    pub fn accept(&self, samples: u64) {
        self.one_outcome(&self.accepted, samples);
    }

    /// Counts samples of batches seen before.
    pub fn duplicate(&self, samples: u64) {
        self.one_outcome(&self.duplicate, samples);
    }

    /// Counts samples that were answered 429 or 503, to be sent again.
    pub fn defer(&self, samples: u64) {
        self.one_outcome(&self.deferred, samples);
    }

    /// Counts rejected samples.
    pub fn reject(&self, reason: Reason, samples: u64) {
        if let Some(Some(counter)) = self.rejected.get(usize::from(reason.code())) {
            self.one_outcome(counter, samples);
        }
    }

    fn one_outcome(&self, outcome: &Counter, samples: u64) {
        if samples > 0 {
            self.received.increment(samples);
            outcome.increment(samples);
        }
    }
}
