//! The only place where an outcome becomes a status, a header and a body.

use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tillwatch_model::{Outcomes, Reason};

use crate::chance::Chance;
use crate::ingest::decode::ACCEPTED_CODINGS;
use crate::ingest::error::IngestError;
use crate::ingest::keys::REPLAYED;
use crate::wire::terminal_v1::ParseError;

/// Rejections named in one answer; the counts are always complete.
const REASONS_MAX: usize = 100;

/// What was wrong, for the answer.
#[derive(Debug, Default)]
pub struct Report {
    reasons: Vec<Line>,
    /// Batches of a number that was taken in before with other content.
    conflicting: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    batch: usize,
    sample: Option<usize>,
    reason: &'static str,
}

impl Report {
    /// A sample was rejected. Histograms are numbered after the batch's samples.
    pub fn sample(&mut self, batch: usize, sample: usize, reason: Reason) {
        self.push(batch, Some(sample), reason.name());
    }

    /// A whole batch was refused.
    pub fn whole_batch(&mut self, batch: usize, reason: Reason) {
        self.push(batch, None, reason.name());
    }

    /// A value of the wrong type was passed over; what it belongs to was taken in.
    pub fn ignored(&mut self, batch: usize, sample: Option<usize>, what: &'static str) {
        self.push(batch, sample, what);
    }

    /// A batch is a duplicate by its number, and not by its content.
    pub fn conflict(&mut self) {
        self.conflicting += 1;
    }

    fn push(&mut self, batch: usize, sample: Option<usize>, reason: &'static str) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(Line {
                batch,
                sample,
                reason,
            });
        }
    }
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    /// Left out while there are none.
    #[serde(skip_serializing_if = "is_none")]
    conflicting: u64,
    reasons: &'a [Line],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// 202: every accepted sample is on stable storage. A replayed answer says what the first post of its
/// key was told.
#[must_use]
pub fn accepted(outcomes: Outcomes, report: &Report, is_replayed: bool) -> Response {
    let body = Accepted {
        accepted: outcomes.accepted,
        duplicate: outcomes.duplicate,
        rejected: outcomes.rejected,
        conflicting: report.conflicting,
        reasons: &report.reasons,
    };
    let mut response = json(StatusCode::ACCEPTED, &body);
    if is_replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Numbers and known strings always serialize.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = (status, body).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorText<'a>,
}

#[derive(Serialize)]
struct ErrorText<'a> {
    code: &'a str,
    message: String,
}

/// 405: batches are posted.
#[must_use]
pub fn wrong_method() -> (Response, &'static str) {
    let message = "Only POST is understood here.";
    elsewhere(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

/// 404: nothing is here.
#[must_use]
pub fn no_such_path() -> (Response, &'static str) {
    let message = "There is nothing here; batches are posted to /v1/batches.";
    elsewhere(StatusCode::NOT_FOUND, "not_found", message)
}

fn elsewhere(status: StatusCode, code: &'static str, message: &str) -> (Response, &'static str) {
    let message = message.to_owned();
    let error = ErrorText { code, message };
    (json(status, &ErrorBody { error }), code)
}

/// Every code that an answer may carry, the reasons for refusing a batch among them.
pub fn codes() -> impl Iterator<Item = &'static str> {
    /// Codes below are of single samples.
    const FIRST_OF_BATCHES: u8 = 32;
    const CODES: [&str; 20] = [
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
        "rate_limited",
        "busy",
        "terminals_full",
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

/// Any answer but 202, and its code. Waits are drawn at random, so that terminals do not come back all at once.
#[must_use]
pub fn refused(error: &IngestError, chance: &Chance) -> (Response, &'static str) {
    let (status, code, wait_s) = classify(error);
    let body = ErrorBody {
        error: ErrorText {
            code,
            message: sentence(&error.to_string()),
        },
    };
    let mut response = json(status, &body);
    if matches!(error, IngestError::ContentEncoding) {
        let codings = HeaderValue::from_static(ACCEPTED_CODINGS);
        response.headers_mut().insert(ACCEPT_ENCODING, codings);
    }
    if let Some((least, most)) = wait_s {
        let wait = HeaderValue::from(chance.between(least..=most));
        response.headers_mut().insert(RETRY_AFTER, wait);
    }
    (response, code)
}

type Wait = Option<(u64, u64)>;

/// Status, stable code, and the seconds between which a `Retry-After` is drawn.
fn classify(error: &IngestError) -> (StatusCode, &'static str, Wait) {
    /// Soon: what is under way will be done.
    const SOON: Wait = Some((1, 5));
    /// Later: a disk has to be freed, or a database to come back.
    const LATER: Wait = Some((30, 120));
    match error {
        IngestError::Parse(ParseError::Malformed(_)) => {
            (StatusCode::BAD_REQUEST, "malformed_body", None)
        }
        IngestError::Parse(ParseError::TooManyBatches(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too_many_batches", None)
        }
        IngestError::Parse(ParseError::TooManySamples(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too_many_samples", None)
        }
        IngestError::Damaged(_) => (StatusCode::BAD_REQUEST, "damaged_compression", None),
        IngestError::Incomplete => (StatusCode::BAD_REQUEST, "incomplete_body", None),
        IngestError::TooSlow(_) | IngestError::BelowRate(_) | IngestError::Slowest => {
            (StatusCode::SERVICE_UNAVAILABLE, "body_timeout", SOON)
        }
        IngestError::TooLarge(..) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", None),
        IngestError::ContentType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_type",
            None,
        ),
        IngestError::ContentEncoding | IngestError::EnvelopeFormat => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            None,
        ),
        IngestError::IdempotencyKey => (StatusCode::BAD_REQUEST, "invalid_idempotency_key", None),
        IngestError::KeysFull => (
            StatusCode::SERVICE_UNAVAILABLE,
            "idempotency_keys_full",
            LATER,
        ),
        IngestError::TerminalsFull => (StatusCode::SERVICE_UNAVAILABLE, "terminals_full", LATER),
        IngestError::Refused(reason) => (StatusCode::UNPROCESSABLE_ENTITY, reason.name(), None),
        IngestError::RateLimited { wait_ms } => {
            let wait_s = wait_ms.div_ceil(1_000).clamp(1, 60);
            (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                Some((wait_s, 2 * wait_s + 1)),
            )
        }
        IngestError::Parse(ParseError::NoRoom) | IngestError::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, "busy", SOON)
        }
        IngestError::Journal(error) => match error {
            tillwatch_journal::AppendError::QueueFull { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", SOON)
            }
            tillwatch_journal::AppendError::Full { .. }
            | tillwatch_journal::AppendError::DiskFull => {
                (StatusCode::SERVICE_UNAVAILABLE, "storage_full", LATER)
            }
            tillwatch_journal::AppendError::TooLarge { .. }
            | tillwatch_journal::AppendError::Empty => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", None)
            }
            tillwatch_journal::AppendError::Closed => {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping", SOON)
            }
            tillwatch_journal::AppendError::Halted => {
                (StatusCode::SERVICE_UNAVAILABLE, "halted", SOON)
            }
        },
        IngestError::OutboxFull => (StatusCode::SERVICE_UNAVAILABLE, "outbox_full", LATER),
        IngestError::ClockUnsure => (StatusCode::SERVICE_UNAVAILABLE, "clock_unsure", LATER),
        IngestError::Internal => (StatusCode::SERVICE_UNAVAILABLE, "internal", SOON),
        IngestError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", SOON),
    }
}

/// Capital letter and full stop, for people.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(characters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use tillwatch_journal::AppendError;

    use super::*;

    /// What is not in the list is counted only from its second time on, and shares its log lines.
    #[test]
    fn every_code_is_in_the_list_once() {
        let journal = [
            AppendError::QueueFull {
                queued_appends: 1,
                queued_bytes: 1,
            },
            AppendError::DiskFull,
            AppendError::Empty,
            AppendError::Closed,
            AppendError::Halted,
        ];
        let mut errors = vec![
            IngestError::Parse(ParseError::Malformed(String::new())),
            IngestError::Parse(ParseError::TooManyBatches(1)),
            IngestError::Parse(ParseError::TooManySamples(1)),
            IngestError::Parse(ParseError::NoRoom),
            IngestError::Damaged("gzip"),
            IngestError::Incomplete,
            IngestError::TooSlow(1),
            IngestError::BelowRate(1),
            IngestError::Slowest,
            IngestError::TooLarge(1, ""),
            IngestError::ContentType,
            IngestError::ContentEncoding,
            IngestError::Refused(Reason::NoConsent),
            IngestError::Refused(Reason::MalformedBatch),
            IngestError::RateLimited { wait_ms: 1 },
            IngestError::Busy,
            IngestError::TerminalsFull,
            IngestError::OutboxFull,
            IngestError::ClockUnsure,
            IngestError::Internal,
            IngestError::Stopping,
        ];
        errors.extend(journal.map(IngestError::Journal));
        let listed: Vec<&str> = codes().collect();
        for error in &errors {
            let (_, code) = refused(error, &Chance::seeded(1));
            assert!(listed.contains(&code), "{code} of {error:?}");
        }
        let once: std::collections::BTreeSet<&str> = codes().collect();
        assert_eq!(once.len(), listed.len());
    }
}
