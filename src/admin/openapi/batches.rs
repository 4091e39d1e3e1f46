//! Describes the questions about batches: what became of one, and what arrives.

use serde_json::json;

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, identifier, one_of, text};
use crate::admin::openapi::refusal::{JOURNAL_UNAVAILABLE, QUESTION, TOO_MANY_TAPS};
use crate::query::explain_answer::ExplainAnswer;
use crate::tap::{DOORS, Event, OUTCOMES};

fn explained(operation: Operation) -> Operation {
    operation
        .answers::<ExplainAnswer>("What became of it.")
        .refuses(&QUESTION)
        .refuses(&[JOURNAL_UNAVAILABLE])
}

fn of_terminal() -> [Parameter; 2] {
    [
        Parameter::path("store_id", text(), "store-001", "The store."),
        Parameter::path("terminal_id", text(), "till-1", "The terminal."),
    ]
}

/// `GET /api/v1/explain/{store_id}/{terminal_id}/{queue}/{seq}`.
pub(super) fn by_number() -> Operation {
    let path = "/api/v1/explain/{store_id}/{terminal_id}/{queue}/{seq}";
    let queue = json!({"type": "string", "format": "uuid"});
    let seq = json!({"type": "integer", "format": "uint64", "minimum": 0});
    let example = "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10";
    let summary = "What became of the batch that its terminal gave this number.";
    explained(Operation::get(path, "explainBatch", summary))
        .with(of_terminal())
        .with([
            Parameter::path("queue", queue, example, "The terminal's queue."),
            Parameter::path("seq", seq, "1", "The number in the queue."),
        ])
}

/// `GET /api/v1/explain/{store_id}/{terminal_id}/{key}`.
pub(super) fn by_key() -> Operation {
    let key = json!({"type": "string", "pattern": "^[!-~]{1,255}$"});
    let path = "/api/v1/explain/{store_id}/{terminal_id}/{key}";
    let summary =
        "What became of the batches of a request with this `Idempotency-Key`, at most 20.";
    explained(Operation::get(path, "explainKey", summary))
        .with(of_terminal())
        .with([Parameter::path(
            "key",
            key,
            "key-1",
            "The `Idempotency-Key`.",
        )])
}

/// `GET /api/v1/explain/{request_id}`.
pub(super) fn by_request() -> Operation {
    let summary = "What became of the last batch of a request.";
    let about = "The `X-Request-Id` of the request's answer.";
    explained(Operation::get(
        "/api/v1/explain/{request_id}",
        "explainRequest",
        summary,
    ))
    .with([Parameter::path(
        "request_id",
        text(),
        "0000000000000001",
        about,
    )])
}

/// `GET /api/v1/tap`.
pub(super) fn tap() -> Operation {
    let summary = "What arrives and what becomes of it, line by line until the client leaves.";
    let outcome = "Only batches of which something has met this outcome, and requests that were refused (`rejected`) or put off (`deferred`).";
    Operation::get("/api/v1/tap", "tap", summary)
        .with([
            Parameter::query("store_id", identifier(), "Only of this store."),
            Parameter::query("terminal_id", identifier(), "Only of this terminal."),
            Parameter::query("door", one_of(DOORS), "Only what comes to this door."),
            Parameter::query("outcome", one_of(OUTCOMES), outcome),
        ])
        .answers_as::<Event>(
            "application/x-ndjson",
            "Lines; an empty one says that the tap is alive.",
        )
        .refuses(&[TOO_MANY_TAPS])
}
