//! Makes the parts of an answer that are the same at every door.

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::chance::Chance;
use crate::doors::refusal::{Refusal, Verdict};

/// Headers that an answer has at most.
const HEADERS: usize = 12;

/// A body in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Numbers and known strings always serialize.
    let body = serde_json::to_vec(body).unwrap_or_default();
    // Room for all that is put on it on its way out, at once.
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
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
fn name_codings(response: &mut Response, refusal: &Refusal) {
    if let Refusal::ContentEncoding(codings) = refusal {
        let codings = HeaderValue::from_static(codings);
        response.headers_mut().insert(ACCEPT_ENCODING, codings);
    }
}

/// An answer to a request that was refused, in JSON.
pub(super) fn refused(refusal: &Refusal, chance: &Chance) -> Response {
    let message = sentence(&refusal.to_string());
    let mut response = error(&refusal.verdict(), &message, chance);
    name_codings(&mut response, refusal);
    response
}

/// Makes a sentence for people: a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(characters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}
