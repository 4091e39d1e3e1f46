//! Lists why a request is not taken, whatever its format, and what HTTP calls that.

use axum::http::StatusCode;
use tillwatch_model::Reason;

use crate::intake::{self, NotStored};
use crate::room::NoRoom;

/// Why a request was answered with something else than 202.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
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
/// The wait until a disk has been freed, or a database comes back. Unit: s.
const LATER: (u64, u64) = (30, 120);

impl Verdict {
    /// A refusal that no wait helps: the same request would be refused again.
    pub(super) const fn of(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            code,
            wait_s: None,
        }
    }

    const fn again(wait_s: (u64, u64), code: &'static str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code,
            wait_s: Some(wait_s),
        }
    }
}

impl Refusal {
    /// Gives the status, the stable code, and when to come again.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let bad = |code| Verdict::of(StatusCode::BAD_REQUEST, code);
        let large = |code| Verdict::of(StatusCode::PAYLOAD_TOO_LARGE, code);
        let unsupported = |code| Verdict::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, code);
        match self {
            Self::Malformed(_) => bad("malformed_body"),
            Self::TooManyBatches(_) => large("too_many_batches"),
            Self::TooManySamples(_) => large("too_many_samples"),
            Self::Damaged(_) => bad("damaged_compression"),
            Self::Incomplete => bad("incomplete_body"),
            Self::TooSlow(_) | Self::BelowRate(_) | Self::Slowest => {
                Verdict::again(SOON, "body_timeout")
            }
            Self::TooLarge(..) => large("body_too_large"),
            Self::ContentType(_) => unsupported("unsupported_content_type"),
            Self::ContentEncoding(_) | Self::Envelope(_) => {
                unsupported("unsupported_content_encoding")
            }
            Self::IdempotencyKey => bad("invalid_idempotency_key"),
            Self::Batch(reason) => Verdict::of(StatusCode::UNPROCESSABLE_ENTITY, reason.name()),
            Self::Busy => Verdict::again(SOON, "busy"),
            Self::ClockUnsure => Verdict::again(LATER, "clock_unsure"),
            Self::Stopping => Verdict::again(SOON, "stopping"),
            Self::Intake(refusal) => of_intake(refusal),
        }
    }
}

fn of_intake(refusal: &intake::Refusal) -> Verdict {
    match refusal {
        intake::Refusal::RateLimited { wait_ms } => {
            let wait_s = wait_ms.div_ceil(1_000).clamp(1, 60);
            Verdict {
                wait_s: Some((wait_s, 2 * wait_s + 1)),
                ..Verdict::of(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
            }
        }
        intake::Refusal::Busy => Verdict::again(SOON, "busy"),
        intake::Refusal::KeysFull => Verdict::again(LATER, "idempotency_keys_full"),
        intake::Refusal::TerminalsFull => Verdict::again(LATER, "terminals_full"),
        intake::Refusal::QueuesFull | intake::Refusal::TerminalQueuesFull => {
            Verdict::again(LATER, "queues_full")
        }
        intake::Refusal::GapsFull => Verdict::again(LATER, "gaps_full"),
        intake::Refusal::OutboxFull => Verdict::again(LATER, "outbox_full"),
        intake::Refusal::NotStored(why) => match why {
            NotStored::QueueFull => Verdict::again(SOON, "busy"),
            NotStored::DiskFull => Verdict::again(LATER, "storage_full"),
            NotStored::TooLarge => Verdict::of(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            NotStored::Closed => Verdict::again(SOON, "stopping"),
            NotStored::Halted => Verdict::again(SOON, "halted"),
        },
        intake::Refusal::Stopping => Verdict::again(SOON, "stopping"),
        intake::Refusal::Internal => Verdict::again(SOON, "internal"),
    }
}

/// Every code that an answer may carry, the reasons for refusing a batch among them.
pub fn codes() -> impl Iterator<Item = &'static str> {
    /// The codes below this one are of single samples.
    const FIRST_OF_BATCHES: u8 = 32;
    const CODES: [&str; 24] = [
        "not_found",
        "method_not_allowed",
        "malformed_body",
        "too_many_batches",
        "too_many_samples",
        "damaged_compression",
        "incomplete_body",
        "body_timeout",
        "body_too_large",
        "unsupported_content_type",
        "unsupported_content_encoding",
        "invalid_idempotency_key",
        "idempotency_keys_full",
        "rate_limited",
        "busy",
        "terminals_full",
        "queues_full",
        "gaps_full",
        "storage_full",
        "stopping",
        "halted",
        "clock_unsure",
        "outbox_full",
        "internal",
    ];
    let reasons = Reason::ALL.iter();
    let reasons = reasons.filter(|reason| reason.code() >= FIRST_OF_BATCHES);
    CODES.into_iter().chain(reasons.map(|reason| reason.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not in the list is counted only from its second time on, and shares its log lines.
    #[test]
    fn every_code_is_in_the_list_once() {
        let not_stored = [
            NotStored::QueueFull,
            NotStored::DiskFull,
            NotStored::TooLarge,
            NotStored::Closed,
            NotStored::Halted,
        ];
        let intake = [
            intake::Refusal::RateLimited { wait_ms: 1 },
            intake::Refusal::Busy,
            intake::Refusal::TerminalsFull,
            intake::Refusal::QueuesFull,
            intake::Refusal::TerminalQueuesFull,
            intake::Refusal::GapsFull,
            intake::Refusal::KeysFull,
            intake::Refusal::OutboxFull,
            intake::Refusal::Internal,
            intake::Refusal::Stopping,
        ];
        let mut refusals = vec![
            Refusal::Malformed(String::new()),
            Refusal::TooManyBatches(1),
            Refusal::TooManySamples(1),
            Refusal::Damaged("gzip"),
            Refusal::Incomplete,
            Refusal::TooSlow(1),
            Refusal::BelowRate(1),
            Refusal::Slowest,
            Refusal::TooLarge(1, ""),
            Refusal::ContentType(""),
            Refusal::ContentEncoding(""),
            Refusal::Envelope(""),
            Refusal::IdempotencyKey,
            Refusal::Batch(Reason::NoConsent),
            Refusal::Batch(Reason::MalformedBatch),
            Refusal::Busy,
            Refusal::ClockUnsure,
            Refusal::Stopping,
        ];
        refusals.extend(intake.map(Refusal::Intake));
        let not_stored = not_stored.map(intake::Refusal::NotStored);
        refusals.extend(not_stored.map(Refusal::Intake));
        let listed: Vec<&str> = codes().collect();
        for refusal in &refusals {
            let code = refusal.verdict().code;
            assert!(listed.contains(&code), "{code} of {refusal:?}");
        }
        let once: std::collections::BTreeSet<&str> = codes().collect();
        assert_eq!(once.len(), listed.len());
    }
}
