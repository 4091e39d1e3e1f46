//! Says what happens when an append is durable, and what happens when it fails.

use std::sync::Arc;

use tillwatch_journal::{AppendError, CommitTimes, Completion, Position};
use tillwatch_model::{FirstResult, KeyId, QueueKey, Reason};
use tokio::sync::oneshot;

use crate::intake::books::Books;
use crate::room::Held;

/// The samples of an append: outcomes once it is durable; deferred, all of them, if it fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Weighed {
    pub(super) accepted: u64,
    /// Samples that were rejected, by reason.
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

/// An append is on disk.
#[derive(Debug)]
pub(super) struct Durable {
    /// The position of the append's last record.
    pub(super) position: Position,
    /// When the journal's thread took the append and had it on disk, if that was measured.
    pub(super) times: Option<CommitTimes>,
}

/// What a request is told of its append.
pub(super) type Told = Result<Durable, AppendError>;

/// The completion that the journal calls with what became of an append.
#[derive(Debug)]
pub struct Acknowledgement(pub(super) Waiting);

/// What waited for an append. Whoever asked may have left meanwhile: that ends the request, not this.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Batches, which are settled and counted before their request is told.
    Batches(Batches),
    /// An operator's act.
    Act(oneshot::Sender<Told>),
}

/// The batches of an append.
#[derive(Debug)]
pub(super) struct Batches {
    pub(super) books: Arc<Books>,
    pub(super) weighed: Weighed,
    pub(super) reserved: Vec<(QueueKey, u64)>,
    pub(super) keyed: Vec<(KeyId, FirstResult)>,
    pub(super) received_at_ms: i64,
    /// The memory of all these batches, if much, also after the request has ended without waiting for it.
    pub(super) _held: Held,
    pub(super) reply: oneshot::Sender<Told>,
}

impl Completion for Acknowledgement {
    fn complete(self, result: Result<Position, AppendError>) {
        self.settle(result.map(|position| Durable {
            position,
            times: None,
        }));
    }

    fn durable(self, position: Position, times: CommitTimes) {
        self.settle(Ok(Durable {
            position,
            times: Some(times),
        }));
    }
}

impl Acknowledgement {
    fn settle(self, told: Told) {
        let reply = match self.0 {
            Waiting::Batches(batches) => batches.settle(&told),
            Waiting::Act(reply) => reply,
        };
        // A client that went away needs no answer.
        let _unsent = reply.send(told);
    }
}

impl Batches {
    /// Settles the batches, and gives back whom to tell.
    fn settle(self, told: &Told) -> oneshot::Sender<Told> {
        let Books {
            dedup,
            keys,
            counters,
            ..
        } = &*self.books;
        let is_durable = told.is_ok();
        let durable_at_ms = is_durable.then_some(self.received_at_ms);
        for reserved in &self.reserved {
            dedup.settle(reserved, durable_at_ms);
        }
        for (id, first) in &self.keyed {
            keys.settle(id, is_durable.then_some(*first));
        }
        if is_durable {
            counters.accept(self.weighed.accepted);
            for (reason, samples) in &self.weighed.rejected {
                counters.reject(*reason, *samples);
            }
        } else {
            counters.defer(self.weighed.total());
        }
        self.reply
    }
}
