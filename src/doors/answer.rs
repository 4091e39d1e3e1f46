//! Makes the parts of an answer that are the same at every door.

use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::chance::Chance;
use crate::doors::refusal::{Refusal, Verdict};

/// A body in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
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
    message: &'a str,
}

/// An error with its code, and a sentence for people. Waits are drawn at random, so that terminals do not
/// come back all at once.
pub(super) fn error(verdict: &Verdict, message: &str, chance: &Chance) -> Response {
    let error = ErrorText {
        code: verdict.code,
        message,
    };
    let mut response = json(verdict.status, &ErrorBody { error });
    if verdict.status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    if let Some((least, most)) = verdict.wait_s {
        let wait = HeaderValue::from(chance.between(least..=most));
        response.headers_mut().insert(RETRY_AFTER, wait);
    }
    response
}

/// Says which codings may be asked for, to who has sent another one.
pub(super) fn name_codings(response: &mut Response, refusal: &Refusal) {
    if let Refusal::ContentEncoding(codings) = refusal {
        let codings = HeaderValue::from_static(codings);
        response.headers_mut().insert(ACCEPT_ENCODING, codings);
    }
}
