//! Describes what an operator tells a running collector to do, the clock, and this document.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::admin::acts_answer::{ClockAnswer, Sealed, StoreRetired, TerminalRetired};
use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, text};
use crate::admin::openapi::refusal::{
    CLOCK_IMPOSSIBLE, JOURNAL_UNAVAILABLE, SEAL_UNAVAILABLE, UNKNOWN_STORE, UNKNOWN_TERMINAL,
};

fn store() -> Parameter {
    Parameter::path("store_id", text(), "store-001", "The store.")
}

/// `GET /api/v1/clock`.
pub(super) fn clock() -> Operation {
    Operation::get("/api/v1/clock", "clock", "How things stand with the clock.")
        .answers::<ClockAnswer>("How they stand.")
}

/// `POST /api/v1/clock/accept`.
pub(super) fn accept_clock() -> Operation {
    let summary = "Notes that the operator says the clock is right.";
    Operation::post("/api/v1/clock/accept", "acceptClock", summary)
        .answers::<ClockAnswer>("How things stand with the clock now.")
        .refuses(&[CLOCK_IMPOSSIBLE])
}

/// `POST /api/v1/stores/{store_id}/retire`.
pub(super) fn retire_store() -> Operation {
    let summary = "Ends a store's series. The act is durable when it is answered.";
    Operation::post("/api/v1/stores/{store_id}/retire", "retireStore", summary)
        .with([store()])
        .answers::<StoreRetired>("The store is retired.")
        .refuses(&[UNKNOWN_STORE, JOURNAL_UNAVAILABLE])
}

/// `POST /api/v1/stores/{store_id}/terminals/{terminal_id}/retire`.
pub(super) fn retire_terminal() -> Operation {
    let path = "/api/v1/stores/{store_id}/terminals/{terminal_id}/retire";
    let summary =
        "Says that a terminal was taken away: nothing is expected of it until it posts again.";
    let terminal = Parameter::path("terminal_id", text(), "till-1", "The terminal.");
    Operation::post(path, "retireTerminal", summary)
        .with([store(), terminal])
        .answers::<TerminalRetired>("The terminal is retired.")
        .refuses(&[UNKNOWN_TERMINAL, JOURNAL_UNAVAILABLE])
}

/// `POST /api/v1/seal`.
pub(super) fn seal() -> Operation {
    let summary = "Seals what is open now, so that a backup holds it.";
    Operation::post("/api/v1/seal", "seal", summary)
        .answers::<Sealed>("It is sealed.")
        .refuses(&[SEAL_UNAVAILABLE])
}

/// `GET /api/v1/openapi.json`.
pub(super) fn openapi() -> Operation {
    Operation::get("/api/v1/openapi.json", "openapi", "This document.")
        .answers::<BTreeMap<String, Value>>("An OpenAPI 3.1 document.")
}
