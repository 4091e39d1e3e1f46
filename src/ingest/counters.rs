//! Outcomes of ingest, as metrics.

use metrics::Counter;

use crate::model::Reason;
use crate::self_metrics as names;

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
    rejected: Vec<Option<Counter>>,
    requests: Vec<(u16, Counter)>,
}

/// Every status that `respond.rs` gives.
const STATUSES: [u16; 8] = [202, 400, 413, 415, 422, 429, 500, 503];

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
    /// Counts a request by its status.
    pub fn answer(&self, status: u16) {
        if let Some((_, counter)) = self.requests.iter().find(|(known, _)| *known == status) {
            counter.increment(1);
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
