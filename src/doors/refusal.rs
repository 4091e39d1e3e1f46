//! Lists why a request is not taken, whatever its format, and what HTTP calls that.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use tillwatch_model::Reason;

use crate::auth::Denied;
use crate::intake::{self, NotStored};
use crate::listed::listed;
use crate::room::NoRoom;

/// Why a request was answered with something else than 202.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The credential is not good enough.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The body is not of its format.
    #[error("{0}")]
    Malformed(String),
    /// More batches than one request may hold.
    #[error("the request holds more than {0} batches; send fewer at once")]
    TooManyBatches(usize),
    /// More samples than one request may hold.
    #[error("the request holds more than {0} samples; send fewer at once")]
    TooManySamples(usize),
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
    /// `Content-Type` is not one that this door understands; the error names those that are.
    #[error("send {0}")]
    ContentType(&'static str),
    /// `Content-Encoding` is not one that is understood; the error names those that are.
    #[error("Content-Encoding may name one of {0}")]
    ContentEncoding(&'static str),
    /// A body is wrapped in another way than the one that this door understands.
    #[error("only {0} is understood as format of an envelope")]
    Envelope(&'static str),
    /// `Idempotency-Key` is not one that can be kept.
    #[error("Idempotency-Key must be 1 to 255 visible ASCII characters, once")]
    IdempotencyKey,
    /// The address names another store than the credential.
    #[error("the credential is for another store than the address (?store=)")]
    StoreMismatch,
    /// Too much is under way, and what was kept while a terminal was offline waits for what is measured now.
    #[error("live requests go first; wait and send the backlog again")]
    BacklogWaits {
        /// When that may be over. Unit: s.
        wait_s: u64,
    },
    /// The single batch is refused as a whole.
    #[error("{}", .0.message())]
    Batch(Reason),
    /// Too much is under way.
    #[error("too much is under way; wait and send it again")]
    Busy,
    /// The collector does not know what time it is.
    #[error(
        "the collector's clock cannot be trusted now, so nothing is judged by it; keep the batch and send it again"
    )]
    ClockUnsure,
    /// The process is stopping.
    #[error("the collector is stopping; send it again")]
    Stopping,
    /// The intake put the request off.
    #[error(transparent)]
    Intake(#[from] intake::Refusal),
}

impl From<NoRoom> for Refusal {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Full => Self::Busy,
            NoRoom::Slowest => Self::Slowest,
        }
    }
}

listed! {
    /// Every code that an answer may carry, but for the reasons for refusing a batch.
    pub enum Code {
        /// There is no door at this path.
        NotFound = "not_found",
        /// The door is not asked in this way.
        MethodNotAllowed = "method_not_allowed",
        /// The request shows no credential.
        NoCredential = "no_credential",
        /// The token is none, or not one that counts here.
        InvalidToken = "invalid_token",
        /// The token is not valid any more.
        TokenExpired = "token_expired",
        /// The token was ended before its time.
        TokenRevoked = "token_revoked",
        /// The credential is good for other things.
        Scope = "scope",
        /// The page's origin is not among those that may post.
        OriginNotAllowed = "origin_not_allowed",
        /// There is no key that signs tokens.
        NoSigningKey = "no_signing_key",
        /// The body is not of its format.
        MalformedBody = "malformed_body",
        /// More batches than one request may hold.
        TooManyBatches = "too_many_batches",
        /// More samples than one request may hold.
        TooManySamples = "too_many_samples",
        /// The compressed body cannot be unpacked.
        DamagedCompression = "damaged_compression",
        /// The body did not arrive whole.
        IncompleteBody = "incomplete_body",
        /// The body came too slowly.
        BodyTimeout = "body_timeout",
        /// The body is over the limit.
        BodyTooLarge = "body_too_large",
        /// `Content-Type` is not understood.
        UnsupportedContentType = "unsupported_content_type",
        /// The way in which the body is packed is not understood.
        UnsupportedContentEncoding = "unsupported_content_encoding",
        /// `Idempotency-Key` cannot be kept.
        InvalidIdempotencyKey = "invalid_idempotency_key",
        /// As many keys are kept as may be.
        IdempotencyKeysFull = "idempotency_keys_full",
        /// The store posts faster than it may.
        RateLimited = "rate_limited",
        /// The terminal or its store has made as many rows as it may in an hour.
        RowsFull = "rows_full",
        /// Too much is under way.
        Busy = "busy",
        /// The store has as many terminals as it may.
        TerminalsFull = "terminals_full",
        /// The store, or the terminal, has as many queues as it may.
        QueuesFull = "queues_full",
        /// The store has as many gaps as it may.
        GapsFull = "gaps_full",
        /// The journal's budget or the disk is used up.
        StorageFull = "storage_full",
        /// The process is stopping.
        Stopping = "stopping",
        /// A sync has failed: what is on disk is not known.
        Halted = "halted",
        /// The collector does not know what time it is.
        ClockUnsure = "clock_unsure",
        /// The outbox has used up its disk budget.
        OutboxFull = "outbox_full",
        /// Something inside failed.
        Internal = "internal",
    }
}

impl Code {
    /// The status that goes with this code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCredential | Self::InvalidToken | Self::TokenExpired | Self::TokenRevoked => {
                StatusCode::UNAUTHORIZED
            }
            Self::Scope | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::MalformedBody
            | Self::DamagedCompression
            | Self::IncompleteBody
            | Self::InvalidIdempotencyKey => StatusCode::BAD_REQUEST,
            Self::TooManyBatches | Self::TooManySamples | Self::BodyTooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BodyTimeout
            | Self::IdempotencyKeysFull
            | Self::Busy
            | Self::TerminalsFull
            | Self::QueuesFull
            | Self::GapsFull
            | Self::StorageFull
            | Self::Stopping
            | Self::Halted
            | Self::ClockUnsure
            | Self::NoSigningKey
            | Self::OutboxFull
            | Self::Internal => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnsupportedContentType | Self::UnsupportedContentEncoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::RateLimited | Self::RowsFull => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// The status of a request whose only batch is refused, with the reason as its code.
const BATCH_REFUSED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
/// The same, if the batch is not of whoever posts it.
const BATCH_OF_ANOTHER: StatusCode = StatusCode::FORBIDDEN;

/// What HTTP calls a refusal. A door's answer says the same in the words of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: StatusCode,
    /// A stable code.
    pub code: &'static str,
    /// The seconds between which a `Retry-After` is drawn.
    pub wait_s: Option<(u64, u64)>,
}

/// The wait while work is under way that will be done soon. Unit: s.
const SOON: (u64, u64) = (1, 5);
/// Those who wait for the next hour do not all come with its first second. Unit: s.
const ROWS_SPREAD_S: u64 = 120;
/// The wait until a disk has been freed, or a database comes back. Unit: s.
const LATER: (u64, u64) = (30, 120);

impl Verdict {
    /// A refusal that no wait helps: the same request would be refused again.
    pub(super) fn of(code: Code) -> Self {
        Self {
            status: code.status(),
            code: code.name(),
            wait_s: None,
        }
    }

    fn again(wait_s: (u64, u64), code: Code) -> Self {
        Self {
            wait_s: Some(wait_s),
            ..Self::of(code)
        }
    }

    fn of_batch(reason: Reason) -> Self {
        Self {
            status: match reason {
                Reason::StoreMismatch | Reason::TerminalMismatch => BATCH_OF_ANOTHER,
                _ => BATCH_REFUSED,
            },
            code: reason.name(),
            wait_s: None,
        }
    }
}

impl Refusal {
    /// Gives the status, the stable code, and when to come again.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Denied(Denied::NoSigner) => Verdict::again(LATER, Code::NoSigningKey),
            Self::Denied(denied) => Verdict::of(of_denied(*denied)),
            Self::StoreMismatch => Verdict::of_batch(Reason::StoreMismatch),
            Self::BacklogWaits { wait_s } => Verdict::again((*wait_s, 2 * *wait_s + 1), Code::Busy),
            Self::Malformed(_) => Verdict::of(Code::MalformedBody),
            Self::TooManyBatches(_) => Verdict::of(Code::TooManyBatches),
            Self::TooManySamples(_) => Verdict::of(Code::TooManySamples),
            Self::Damaged(_) => Verdict::of(Code::DamagedCompression),
            Self::Incomplete => Verdict::of(Code::IncompleteBody),
            Self::TooSlow(_) | Self::BelowRate(_) | Self::Slowest => {
                Verdict::again(SOON, Code::BodyTimeout)
            }
            Self::TooLarge(..) => Verdict::of(Code::BodyTooLarge),
            Self::ContentType(_) => Verdict::of(Code::UnsupportedContentType),
            Self::ContentEncoding(_) | Self::Envelope(_) => {
                Verdict::of(Code::UnsupportedContentEncoding)
            }
            Self::IdempotencyKey => Verdict::of(Code::InvalidIdempotencyKey),
            Self::Batch(reason) => Verdict::of_batch(*reason),
            Self::Busy => Verdict::again(SOON, Code::Busy),
            Self::ClockUnsure => Verdict::again(LATER, Code::ClockUnsure),
            Self::Stopping => Verdict::again(SOON, Code::Stopping),
            Self::Intake(refusal) => of_intake(refusal),
        }
    }
}

fn of_denied(denied: Denied) -> Code {
    match denied {
        Denied::NoCredential => Code::NoCredential,
        Denied::Expired | Denied::NotRenewed(_) => Code::TokenExpired,
        Denied::Revoked => Code::TokenRevoked,
        Denied::Header
        | Denied::Invalid(_)
        | Denied::NotYet
        | Denied::NotOurs
        | Denied::UnknownStaticKey => Code::InvalidToken,
        Denied::Scope(_) | Denied::NoApps => Code::Scope,
        Denied::Origin => Code::OriginNotAllowed,
        Denied::NoSigner => Code::NoSigningKey,
    }
}

fn of_intake(refusal: &intake::Refusal) -> Verdict {
    match refusal {
        intake::Refusal::RateLimited { wait_ms, .. } => {
            let wait_s = wait_ms.div_ceil(1_000).clamp(1, 60);
            Verdict {
                wait_s: Some((wait_s, 2 * wait_s + 1)),
                ..Verdict::of(Code::RateLimited)
            }
        }
        intake::Refusal::RowsFull { wait_ms } => {
            let wait_s = wait_ms.div_ceil(1_000);
            Verdict::again((wait_s, wait_s + ROWS_SPREAD_S), Code::RowsFull)
        }
        intake::Refusal::Busy => Verdict::again(SOON, Code::Busy),
        intake::Refusal::KeysFull => Verdict::again(LATER, Code::IdempotencyKeysFull),
        intake::Refusal::TerminalsFull => Verdict::again(LATER, Code::TerminalsFull),
        intake::Refusal::QueuesFull | intake::Refusal::TerminalQueuesFull => {
            Verdict::again(LATER, Code::QueuesFull)
        }
        intake::Refusal::GapsFull => Verdict::again(LATER, Code::GapsFull),
        intake::Refusal::OutboxFull => Verdict::again(LATER, Code::OutboxFull),
        intake::Refusal::NotStored(why) => match why {
            NotStored::QueueFull => Verdict::again(SOON, Code::Busy),
            NotStored::DiskFull => Verdict::again(LATER, Code::StorageFull),
            NotStored::TooLarge => Verdict::of(Code::BodyTooLarge),
            NotStored::Closed => Verdict::again(SOON, Code::Stopping),
            NotStored::Halted => Verdict::again(SOON, Code::Halted),
        },
        intake::Refusal::Stopping => Verdict::again(SOON, Code::Stopping),
        intake::Refusal::Internal => Verdict::again(SOON, Code::Internal),
    }
}

/// The codes of reasons below this one are of single samples, and no answer bears them.
const FIRST_OF_BATCHES: u8 = 32;

/// Every code that an answer may carry, the reasons for refusing a batch among them.
pub fn codes() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter();
    let reasons = reasons.filter(|reason| reason.code() >= FIRST_OF_BATCHES);
    let reasons = reasons.map(|reason| reason.name());
    Code::ALL.into_iter().map(Code::name).chain(reasons)
}

/// Every status that an answer may have, each once.
pub fn statuses() -> BTreeSet<u16> {
    let refused = Code::ALL.into_iter().map(Code::status);
    let statuses = refused.chain([
        StatusCode::OK,
        StatusCode::ACCEPTED,
        BATCH_REFUSED,
        BATCH_OF_ANOTHER,
    ]);
    statuses.map(|status| status.as_u16()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not in the list is counted only from its second time on, and shares its log lines. A
    /// verdict is made of a `Code` or of a reason, so only reasons could be outside.
    #[test]
    fn every_code_is_in_the_list_once() {
        let listed: Vec<&str> = codes().collect();
        let once: BTreeSet<&str> = codes().collect();
        assert_eq!(once.len(), listed.len());
        for reason in Reason::ALL {
            let is_of_batch = reason.code() >= FIRST_OF_BATCHES;
            assert_eq!(once.contains(reason.name()), is_of_batch, "{reason:?}");
        }
        let verdict = Refusal::Batch(Reason::NoConsent).verdict();
        assert!(once.contains(verdict.code) && statuses().contains(&verdict.status.as_u16()));
    }
}
