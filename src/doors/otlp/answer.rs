//! Tells an exporter what came of its request, in the encoding that it came in.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tillwatch_model::Reason;

use super::door::Encoding;
use super::gather::Tally;
use super::wire::{put_bytes, put_varint};
use crate::chance::Chance;
use crate::doors::answer;
use crate::doors::refusal::{Refusal, Verdict};
use crate::intake::Receipt;

/// Reasons that a message explains. The others are only counted.
const REASONS_NAMED_MAX: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_success: Option<Partial>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial {
    /// Integers of 64 bits are texts in protobuf's JSON.
    rejected_data_points: String,
    error_message: String,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

/// 200. Who sent what was rejected must not send it again, so that the message says what to change.
pub(super) fn accepted(receipt: Option<&Receipt>, tally: &Tally, encoding: Encoding) -> Response {
    let rejected = receipt.map(|receipt| Rejected::new(receipt, tally));
    let rejected = rejected.filter(|rejected| rejected.points > 0);
    let message = rejected.as_ref().map(|rejected| rejected.message(tally));
    match (encoding, rejected.zip(message)) {
        (Encoding::Json, partial) => {
            let partial_success = partial.map(|(rejected, error_message)| Partial {
                rejected_data_points: rejected.points.to_string(),
                error_message,
            });
            answer::json(StatusCode::OK, &Accepted { partial_success })
        }
        (Encoding::Protobuf, None) => protobuf(StatusCode::OK, Vec::new()),
        (Encoding::Protobuf, Some((rejected, message))) => {
            let mut partial = Vec::new();
            put_varint(&mut partial, 1, rejected.points);
            put_bytes(&mut partial, 2, message.as_bytes());
            let mut response = Vec::new();
            put_bytes(&mut response, 1, &partial);
            protobuf(StatusCode::OK, response)
        }
    }
}

/// What was rejected of a request, in data points.
struct Rejected {
    points: u64,
    reasons: Vec<(Reason, u64)>,
}

impl Rejected {
    fn new(receipt: &Receipt, tally: &Tally) -> Self {
        let mut reasons = receipt.report.rejected().to_vec();
        for (batch, reason) in receipt.report.refused() {
            let points = tally.points_of.get(*batch).copied().unwrap_or(0);
            match reasons.iter_mut().find(|(of, _)| of == reason) {
                Some((_, counted)) => *counted += points,
                None => reasons.push((*reason, points)),
            }
        }
        reasons.sort_by_key(|(_, points)| std::cmp::Reverse(*points));
        Self {
            points: reasons.iter().map(|(_, points)| points).sum(),
            reasons,
        }
    }

    fn message(&self, tally: &Tally) -> String {
        let mut message = format!(
            "{} of {} data points were rejected.",
            self.points, tally.points
        );
        for (number, (reason, points)) in self.reasons.iter().enumerate() {
            message.push_str(&format!(" {}: {points}.", reason.name()));
            if number < REASONS_NAMED_MAX {
                message.push(' ');
                message.push_str(reason.message());
            }
            if let (Reason::UnknownMetric, Some(name)) = (reason, &tally.unknown) {
                message.push_str(&format!(" The first is \"{name}\"."));
            }
        }
        message
    }
}

/// A status other than 200, with a `google.rpc.Status`.
pub(super) fn refused(refusal: &Refusal, encoding: Encoding, chance: &Chance) -> Response {
    let mut response = answer::refused(refusal, chance);
    let Verdict { mut status, .. } = refusal.verdict();
    // What is wrong with a batch is wrong with the request. OTLP knows one status for that.
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        status = StatusCode::BAD_REQUEST;
    }
    let message = answer::sentence(&refusal.to_string());
    let told = told(status, &message, encoding);
    *response.status_mut() = status;
    *response.body_mut() = told.into_body();
    let content_type = HeaderValue::from_static(encoding.name());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn told(status: StatusCode, message: &str, encoding: Encoding) -> Response {
    let code = code_of(status);
    match encoding {
        Encoding::Json => answer::json(status, &Status { code, message }),
        Encoding::Protobuf => {
            let mut body = Vec::new();
            put_varint(&mut body, 1, u64::from(code));
            put_bytes(&mut body, 2, message.as_bytes());
            protobuf(status, body)
        }
    }
}

/// The code of `google.rpc.Code` that goes with a status.
fn code_of(status: StatusCode) -> u8 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    }
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(Encoding::Protobuf.name());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
