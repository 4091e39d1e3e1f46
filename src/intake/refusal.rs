//! Lists the reasons for which the intake puts a request off.

use tillwatch_journal::AppendError;

use crate::intake::limits::Limited;

/// Why a request's batches are to be sent again. A batch that can never be taken is no refusal: it has an
/// outcome and a reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An address, a terminal or a store posts faster than it may.
    #[error("this {} posts faster than it may; wait and send it again", .limited.name())]
    RateLimited {
        /// Which of them.
        limited: Limited,
        /// When a place will be free. Unit: ms.
        wait_ms: u64,
    },
    /// The terminal, or its store, has made as many rows as it may in an hour.
    #[error(
        "this terminal or its store has made as many rows as it may in an hour (store_rows_per_hour); keep the batch and send it again when the hour is over"
    )]
    RowsFull {
        /// When the hour is over. Unit: ms.
        wait_ms: u64,
    },
    /// Too much is under way.
    #[error("too much is under way; wait and send it again")]
    Busy,
    /// As many keys are kept of the store, or of all, as may be.
    #[error(
        "of this store or of all, as many idempotency keys are kept as may be (idempotency_keys_max); wait and send it again"
    )]
    KeysFull,
    /// The store has as many queues as it may while others need room, and this is a new one.
    #[error(
        "this store has as many queues as it may (queues_max); let each till keep one queue, or have the setting raised, and send it again"
    )]
    QueuesFull,
    /// The terminal has begun too many queues within nine days, and this is a new one.
    #[error(
        "this terminal has begun over a thousand queues within nine days; let it keep one, or give each till a terminal_id of its own, and send it again"
    )]
    TerminalQueuesFull,
    /// The store's queues have as many gaps as they may while others need room, and this batch leaves another.
    #[error(
        "the queues of this store leave out more numbers than they may; send the missing batches first, and then this one again"
    )]
    GapsFull,
    /// The store has as many terminals as it may, and this is a new one.
    #[error(
        "this store has as many terminals as it may (store_terminals_max); give each till one lasting terminal_id, or have the setting raised, and send it again"
    )]
    TerminalsFull,
    /// The outbox has used up its disk budget because ClickHouse is away.
    #[error("the database has been away for too long; wait and send it again")]
    OutboxFull,
    /// The journal cannot take the record now.
    #[error("it cannot be stored now; wait and send it again")]
    NotStored(NotStored),
    /// The journal has ended.
    #[error("the collector is stopping; send it again")]
    Stopping,
    /// Something inside failed; the log says what.
    #[error("it cannot be stored now; wait and send it again")]
    Internal,
}

/// Why the journal did not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// As much waits for the disk already as is allowed.
    QueueFull,
    /// The journal's budget or the disk is used up.
    DiskFull,
    /// The record is longer than a record may be.
    TooLarge,
    /// The journal is closed.
    Closed,
    /// A sync has failed: what is on disk is not known.
    Halted,
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::NotStored(match error {
            AppendError::QueueFull { .. } => NotStored::QueueFull,
            AppendError::Full { .. } | AppendError::DiskFull => NotStored::DiskFull,
            AppendError::TooLarge { .. } | AppendError::Empty => NotStored::TooLarge,
            AppendError::Closed => NotStored::Closed,
            AppendError::Halted => NotStored::Halted,
        })
    }
}
