//! Describes the questions about errors and losses.

use tillwatch_model::EventKind;

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, limit, one_of, release, store_id, time};
use crate::admin::openapi::refusal::{AT_REST, QUESTION, UNKNOWN_ERROR, UNKNOWN_STORE};
use crate::query::errors::{ErrorAnswer, ErrorsAnswer};
use crate::query::errors_request::{GROUPS_DEFAULT, GROUPS_MAX};
use crate::query::losses::LossesAnswer;
use crate::query::losses_request::{LINES_DEFAULT, LINES_MAX, states};

fn since() -> Parameter {
    let about = "Count from the beginning of this hour, Unix ms. Default: a day ago.";
    Parameter::query("since", time(), about)
}

fn of_release() -> Parameter {
    Parameter::query(
        "release",
        release(),
        "Only errors of this release. Default: all.",
    )
}

/// `GET /api/v1/errors`.
pub(super) fn errors() -> Operation {
    let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let order = one_of(["count", "first_seen", "stores"]);
    let order_by = "What comes first: what happened most often, what is new, or what is seen in most stores. Default: `count`.";
    Operation::get(
        "/api/v1/errors",
        "errors",
        "Groups of errors, or of other events.",
    )
    .with([
        Parameter::query(
            "kind",
            one_of(kinds),
            "Which kind of event. Default: `error`.",
        ),
        of_release(),
        store_id(),
        since(),
        Parameter::query("order_by", order, order_by),
        limit(GROUPS_MAX, GROUPS_DEFAULT, "groups"),
    ])
    .answers::<ErrorsAnswer>("The groups.")
    .refuses(&QUESTION)
    .refuses(&AT_REST)
}

/// `GET /api/v1/errors/{fingerprint}`.
pub(super) fn error() -> Operation {
    let digits = serde_json::json!({"type": "string", "pattern": "^[0-9a-f]{16}$"});
    let about = "What tells the group from others, as `/api/v1/errors` says it.";
    Operation::get(
        "/api/v1/errors/{fingerprint}",
        "error",
        "One group of errors.",
    )
    .with([
        Parameter::path("fingerprint", digits, "0123456789abcdef", about),
        of_release(),
        store_id(),
        since(),
    ])
    .answers::<ErrorAnswer>("The group, with its frames and its parts.")
    .refuses(&[UNKNOWN_ERROR])
    .refuses(&QUESTION)
    .refuses(&AT_REST)
}

/// `GET /api/v1/losses`.
pub(super) fn losses() -> Operation {
    let summary = "The ledger of losses: gaps in the numbers of queues, and what terminals said they had to drop.";
    let from = "When a gap ended at the earliest, Unix ms; what is open is listed however old it is. Default: a week before `to`.";
    Operation::get("/api/v1/losses", "losses", summary)
        .with([
            store_id(),
            Parameter::query(
                "state",
                one_of(states()),
                "Only what is in this state. Default: all.",
            ),
            Parameter::query("from", time(), from),
            Parameter::query(
                "to",
                time(),
                "The first millisecond after the range, Unix ms. Default: now.",
            ),
            limit(LINES_MAX, LINES_DEFAULT, "lines"),
        ])
        .answers::<LossesAnswer>("The totals, the days and the lines.")
        .refuses(&[UNKNOWN_STORE])
        .refuses(&QUESTION)
        .refuses(&AT_REST)
}
