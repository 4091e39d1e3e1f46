//! Why a request was not taken.

use tillwatch_journal::AppendError;
use tillwatch_model::Reason;

use crate::wire::terminal_v1::ParseError;

/// Why a request was answered with something else than 202.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The body cannot be split into batches.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The compressed body is damaged, or would take too much memory to read.
    #[error("the {0} body is damaged or ends early, or its window is too large")]
    Damaged(&'static str),
    /// The body ended early, or the connection broke.
    #[error("the body did not arrive whole")]
    Incomplete,
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0} s; send fewer batches at once, or compressed")]
    TooSlow(u64),
    /// The body came slower than a body may.
    #[error(
        "the body came at less than {0} bytes a second; send it again, with fewer batches at once or compressed"
    )]
    BelowRate(u64),
    /// The body had to make room for others.
    #[error(
        "memory is short and this body came slowest; wait and send it again, with fewer batches at once or compressed"
    )]
    Slowest,
    /// The body, as sent or decoded, is over the limit.
    #[error("the body is over {0} bytes {1}; send fewer batches at once")]
    TooLarge(usize, &'static str),
    /// `Content-Type` is not one that is understood.
    #[error("send application/json or application/msgpack")]
    ContentType,
    /// `Content-Encoding` is not one that is understood.
    #[error(
        "Content-Encoding may name one of {}",
        crate::ingest::decode::ACCEPTED_CODINGS
    )]
    ContentEncoding,
    /// The `format` of an envelope is not the one that is understood.
    #[error("only gzip-base64 is understood as format of an envelope")]
    EnvelopeFormat,
    /// `Idempotency-Key` is not one that can be kept.
    #[error("Idempotency-Key must be 1 to 255 visible ASCII characters, once")]
    IdempotencyKey,
    /// As many keys are kept as may be.
    #[error("as many idempotency keys are kept as may be; wait and send it again")]
    KeysFull,
    /// The single batch is refused as a whole.
    #[error("{}", .0.message())]
    Refused(Reason),
    /// The store posts faster than it may.
    #[error("this store posts faster than it may; wait and send it again")]
    RateLimited {
        /// When a place will be free. Unit: ms.
        wait_ms: u64,
    },
    /// Too much is under way, or memory for sequence numbers is used up.
    #[error("too much is under way; wait and send it again")]
    Busy,
    /// The store has as many terminals as it may, and this is a new one.
    #[error(
        "this store has as many terminals as it may (store_terminals_max); give each till one lasting terminal_id, or have the setting raised, and send it again"
    )]
    TerminalsFull,
    /// The journal cannot take it now.
    #[error("it cannot be stored now; wait and send it again")]
    Journal(#[from] AppendError),
    /// The outbox has used up its disk budget because ClickHouse is away.
    #[error("the database has been away for too long; wait and send it again")]
    OutboxFull,
    /// Something inside failed; the log says what.
    #[error("it cannot be stored now; wait and send it again")]
    Internal,
    /// The collector does not know what time it is.
    #[error(
        "the collector's clock cannot be trusted now, so nothing is judged by it; keep the batch and send it again"
    )]
    ClockUnsure,
    /// The process is stopping.
    #[error("the collector is stopping; send it again")]
    Stopping,
}
