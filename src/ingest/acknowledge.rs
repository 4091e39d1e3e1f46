//! Says what happens when an append is durable, and what happens when it fails.

use std::sync::Arc;

use tillwatch_journal::{AppendError, CommitTimes, Completion, Position};
use tillwatch_model::{FirstResult, KeyId, QueueKey, Reason};
use tokio::sync::oneshot;

use crate::ingest::counters::Counters;
use crate::ingest::dedup::Dedup;
use crate::ingest::keys::Keys;
use crate::ingest::room::Held;

/// The samples of an append: outcomes once it is durable; deferred, all of them, if it fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Weighed {
    pub(super) accepted: u64,
    /// By reason.
    pub(super) rejected: Vec<(Reason, u64)>,
}

impl Weighed {
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.iter().map(|(_, samples)| samples).sum()
    }

    pub(super) fn total(&self) -> u64 {
        self.accepted + self.rejected()
    }
}

/// What a request is told of its append.
pub(super) type Told = Result<(Position, Option<CommitTimes>), AppendError>;

/// Told by the journal what became of an append: settles and counts its batches, then tells the
/// request. A client that goes away ends its request, but not this.
#[derive(Debug)]
pub struct Acknowledgement {
    pub(super) dedup: Arc<Dedup>,
    pub(super) keys: Arc<Keys>,
    pub(super) counters: Arc<Counters>,
    pub(super) weighed: Weighed,
    pub(super) reserved: Vec<(QueueKey, u64)>,
    pub(super) keyed: Vec<(KeyId, FirstResult)>,
    pub(super) received_at_ms: i64,
    /// The memory of all this, if it is much, also after the request has ended without waiting for it.
    pub(super) _held: Option<Held>,
    pub(super) reply: oneshot::Sender<Told>,
}

impl Completion for Acknowledgement {
    fn complete(self, result: Result<Position, AppendError>) {
        self.settle(result.map(|position| (position, None)));
    }

    fn durable(self, position: Position, times: CommitTimes) {
        self.settle(Ok((position, Some(times))));
    }
}

impl Acknowledgement {
    fn settle(self, result: Told) {
        let durable_at_ms = result.is_ok().then_some(self.received_at_ms);
        for reserved in &self.reserved {
            self.dedup.settle(reserved, durable_at_ms);
        }
        for (id, first) in &self.keyed {
            self.keys.settle(id, result.is_ok().then_some(*first));
        }
        if result.is_ok() {
            self.counters.accept(self.weighed.accepted);
            for (reason, samples) in &self.weighed.rejected {
                self.counters.reject(*reason, *samples);
            }
        } else {
            self.counters.defer(self.weighed.total());
        }
        // A client that went away needs no answer.
        let _unsent = self.reply.send(result);
    }
}
