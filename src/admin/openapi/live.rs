//! Describes the fleet while it happens.

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, limit, text};
use crate::admin::openapi::refusal::{TOO_MANY_STREAMS, UNKNOWN_STORE};
use crate::live::{CHANGES_MAX, ChangesAnswer, Detail, FleetAnswer, LiveEvent, PipelineAnswer};

/// `GET /api/v1/fleet`.
pub(super) fn fleet() -> Operation {
    let summary = "All stores as rows for a person, the worst first.";
    Operation::get("/api/v1/fleet", "fleet", summary)
        .answers::<FleetAnswer<'_>>("The rows, and the fleet as a whole.")
}

/// `GET /api/v1/stores/{store_id}/now`.
pub(super) fn store() -> Operation {
    let store = Parameter::path("store_id", text(), "store-001", "The store.");
    let summary = "One store with its terminals, as it is now.";
    Operation::get("/api/v1/stores/{store_id}/now", "storeNow", summary)
        .with([store])
        .answers::<Detail>("The store.")
        .refuses(&[UNKNOWN_STORE])
}

/// `GET /api/v1/live`.
pub(super) fn live() -> Operation {
    let topics = "Any of fleet, pipeline and one store:STORE, with commas between them.";
    let since = "The last seq that the client has. Without it the stream begins with a snapshot.";
    let frame = serde_json::json!({"type": "integer", "format": "int64"});
    let summary = "Tells what changes while it happens, as server-sent events.";
    Operation::get("/api/v1/live", "live", summary)
        .with([
            Parameter::query("topics", text(), topics).required("fleet"),
            Parameter::query("since", frame, since),
        ])
        .answers_as::<LiveEvent>(
            "text/event-stream",
            "Events until the client leaves; the schema is that of the data of one.",
        )
        .refuses(&[TOO_MANY_STREAMS])
}

/// `GET /api/v1/changes`.
pub(super) fn changes() -> Operation {
    let summary =
        "What changed last: stores that came into trouble or out of it, words on rollouts.";
    Operation::get("/api/v1/changes", "changes", summary)
        .with([limit(CHANGES_MAX, CHANGES_MAX, "changes")])
        .answers::<ChangesAnswer>("The changes, the latest first.")
}

/// `GET /api/v1/pipeline`.
pub(super) fn pipeline() -> Operation {
    let summary = "The path of batches, second by second, and what the collector says of itself.";
    Operation::get("/api/v1/pipeline", "pipeline", summary)
        .answers::<PipelineAnswer<'_>>("The path of batches.")
}
