//! Counts the outcomes of the intake, as metrics.

use metrics::Counter;
use tillwatch_model::Reason;

use crate::intake::identity::Numbered;
use crate::listed::listed;
use crate::self_metrics as names;
use crate::throttle::Throttle;

static CONFLICTS: Throttle = Throttle::new("batches with the queue and number of another one");

listed! {
    /// What was passed over although the sample, or the batch, was taken in.
    pub enum Ignored {
        /// The connection is no text.
        ConnectionType = "connection_type",
        /// The connection is none of those known.
        ConnectionUnknown = "connection_unknown",
        /// The session id is neither text nor digits.
        SessionIdType = "session_id_type",
    }
}

/// Handles to the intake's counters; looking one up by name for every batch would cost more than counting.
#[derive(Debug)]
pub struct Counters {
    /// Samples whose outcome is known; counted together with it, so that the two always agree.
    received: Counter,
    accepted: Counter,
    duplicate: Counter,
    deferred: Counter,
    /// Samples rejected, by the code of their reason.
    rejected: Vec<Option<Counter>>,
    conflicting: Counter,
    ignored: [Counter; Ignored::ALL.len()],
    /// Batches of requests that could be split into them.
    pub(super) batches: Counter,
    /// Batches answered as the first of their idempotency key was.
    pub(super) replayed: Counter,
    /// Requests that claimed to bring a backlog and did not.
    pub(super) false_backlog: Counter,
    /// Releases that are not written as releases are.
    pub(super) invalid_releases: Counter,
}

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
            rejected,
            conflicting: metrics::counter!(names::CONFLICTING),
            ignored: Ignored::ALL
                .map(|value| metrics::counter!(names::IGNORED_VALUES, "value" => value.name())),
            batches: metrics::counter!(names::BATCHES),
            replayed: metrics::counter!(names::KEYS_REPLAYED),
            false_backlog: metrics::counter!(names::FALSE_BACKLOG),
            invalid_releases: metrics::counter!(names::INVALID_RELEASES),
        }
    }
}

impl Counters {
    /// Counts a batch of a number that was taken in before with other content, and says whose: its
    /// terminal loses data.
    pub fn conflict(&self, batch: Numbered<'_>) {
        self.conflicting.increment(1);
        if let Some(suppressed) = CONFLICTS.pass() {
            tracing::warn!(
                store_id = batch.store_id,
                terminal_id = batch.terminal_id,
                seq = batch.seq,
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
