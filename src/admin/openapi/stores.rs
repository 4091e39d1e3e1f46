//! Describes the questions about stores, terminals and sessions.

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, identifier, limit, number, store_id};
use crate::admin::openapi::refusal::{
    AT_REST, NOT_A_PSEUDONYM, QUESTION, TOO_LARGE, UNKNOWN_SESSION, UNKNOWN_STORE, UNKNOWN_TERMINAL,
};
use crate::query::sessions::SessionAnswer;
use crate::query::silent::{self, SilentAnswer};
use crate::query::stores::{STORES_MAX, StoresAnswer};
use crate::query::terminals::TerminalsAnswer;
use crate::query::terminals_request::{HOURS_DEFAULT, HOURS_MAX, TERMINALS_DEFAULT, TERMINALS_MAX};

/// `GET /api/v1/stores`.
pub(super) fn stores() -> Operation {
    let name = serde_json::json!({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{0,64}$"});
    Operation::get(
        "/api/v1/stores",
        "stores",
        "The stores that are known, by name.",
    )
    .with([
        limit(STORES_MAX, STORES_MAX, "stores"),
        Parameter::query(
            "after",
            name,
            "Only stores that follow this name. Default: from the first.",
        ),
    ])
    .answers::<StoresAnswer>("The stores.")
    .refuses(&QUESTION)
}

/// `GET /api/v1/terminals`.
pub(super) fn terminals() -> Operation {
    let hours =
        "How many hours of metrics to add; with 0 the answer has none and needs no ClickHouse.";
    Operation::get(
        "/api/v1/terminals",
        "terminals",
        "The terminals of a store, the worst first.",
    )
    .with([
        Parameter::query("store_id", identifier(), "Which store.").required("store-001"),
        Parameter::query(
            "terminal_id",
            identifier(),
            "Only this terminal. Default: all.",
        ),
        Parameter::query("hours", number(0, HOURS_MAX, Some(HOURS_DEFAULT)), hours),
        limit(TERMINALS_MAX, TERMINALS_DEFAULT, "terminals"),
    ])
    .answers::<TerminalsAnswer>("The terminals.")
    .refuses(&[UNKNOWN_STORE, UNKNOWN_TERMINAL, TOO_LARGE])
    .refuses(&QUESTION)
    .refuses(&AT_REST)
}

/// `GET /api/v1/terminals/silent`.
pub(super) fn silent() -> Operation {
    let summary = "Terminals that should report and do not, those that hold transactions first.";
    Operation::get("/api/v1/terminals/silent", "silentTerminals", summary)
        .with([
            store_id(),
            limit(
                silent::TERMINALS_MAX,
                silent::TERMINALS_DEFAULT,
                "terminals",
            ),
        ])
        .answers::<SilentAnswer>("The terminals.")
        .refuses(&[UNKNOWN_STORE])
        .refuses(&QUESTION)
}

/// `GET /api/v1/sessions/{pseudonym}`.
pub(super) fn session() -> Operation {
    let pseudonym = serde_json::json!({"type": "string", "pattern": "^[0-9a-fA-F]{32}$"});
    let example = "0123456789abcdef0123456789abcdef";
    let about = "The pseudonym that `tillwatch pseudonym` makes of a session id and a day.";
    Operation::get(
        "/api/v1/sessions/{pseudonym}",
        "session",
        "One session, by store and day.",
    )
    .with([Parameter::path("pseudonym", pseudonym, example, about)])
    .answers::<SessionAnswer>("The session.")
    .refuses(&[UNKNOWN_SESSION, NOT_A_PSEUDONYM, TOO_LARGE])
    .refuses(&QUESTION)
    .refuses(&AT_REST)
}
