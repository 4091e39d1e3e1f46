//! Describes the questions about rollouts.

use serde_json::{Value, json};

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{Parameter, number, time};
use crate::admin::openapi::refusal::{AT_REST, QUESTION};
use crate::query::rollout::answer::RolloutAnswer;
use crate::query::rollout::check::CheckAnswer;

fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64})
}

/// `GET /api/v1/rollouts/{release}`.
pub(super) fn rollout() -> Operation {
    let against = "The release it is held against. Default: what the plan says, else the one that most terminals ran in the week before.";
    let step = "The step that the verdict must be about, or a later one, percent. Default: the one that was judged last.";
    let since = "When the step began, Unix ms; it counts from the next full hour. Default: when the plan's share was reached.";
    let summary = "Whether the rollout of a release may go on.";
    Operation::get("/api/v1/rollouts/{release}", "rollout", summary)
        .with([
            Parameter::path("release", name(), "2.5.0", "The release."),
            Parameter::query("against", name(), against),
            Parameter::query("since", time(), since),
            Parameter::query("step", number(1, 100, None), step),
        ])
        .answers::<RolloutAnswer>("What stands, and every word that was said.")
        .refuses(&QUESTION)
        .refuses(&AT_REST)
}

/// `GET /api/v1/rollout_check`.
pub(super) fn rollout_check() -> Operation {
    let against = "The release that one would be held against. Default: the one that most terminals ran in the last week.";
    let summary = "What a release would meet with on this fleet, before it comes.";
    Operation::get("/api/v1/rollout_check", "rolloutCheck", summary)
        .with([Parameter::query("against", name(), against)])
        .answers::<CheckAnswer>("What it would meet with.")
        .refuses(&QUESTION)
        .refuses(&AT_REST)
}
