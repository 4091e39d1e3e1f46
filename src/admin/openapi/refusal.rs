//! Why a request can be refused, each with its status and its code.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A refusal, as every route says it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Error {
    /// Why the request was refused.
    error: Why,
}

/// Why a request was refused.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErrorWhy")]
struct Why {
    /// The reason for programs.
    code: String,
    /// The reason for people, with the way out.
    message: String,
}

/// A way in which a request can be refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    /// What it means, as the end of a sentence.
    pub(super) meaning: &'static str,
}

const fn refusal(status: u16, code: &'static str, meaning: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        meaning,
    }
}

/// What a request to any route can meet with.
pub(super) const ANYWHERE: [Refusal; 4] = [
    refusal(
        400,
        "bad_parameter",
        "a parameter is unknown, missing, empty, given twice, or cannot be read",
    ),
    refusal(
        400,
        "invalid_host",
        "the request has no `Host`, or more than one",
    ),
    refusal(403, "foreign_origin", "a page of another origin asks"),
    refusal(
        421,
        "unknown_host",
        "the name in `Host` is not among `admin_hosts`",
    ),
];

/// What a request to a route that asks for a key can meet with, if `admin_auth` is `required`.
pub(super) const WITH_KEY: [Refusal; 3] = [
    refusal(401, "no_credential", "no key is shown"),
    refusal(401, "invalid_token", "the key is not known, or has ended"),
    refusal(
        403,
        "scope",
        "the key has not the scope that the route asks for",
    ),
];

/// What a question can meet with.
pub(super) const QUESTION: [Refusal; 2] = [
    refusal(500, "internal", "the answer could not be written"),
    refusal(
        503,
        "too_many_queries",
        "too many questions at once; come again after `Retry-After`",
    ),
];

/// What a question can meet with that reads what is at rest.
pub(super) const AT_REST: [Refusal; 2] = [
    refusal(503, "database_unavailable", "ClickHouse does not answer"),
    refusal(
        503,
        "state_unavailable",
        "the outbox cannot be read, or has lost rows",
    ),
];

/// What an act can meet with.
pub(super) const ACT: Refusal = refusal(
    415,
    "unsupported_media_type",
    "the request has no JSON, so a page of another site could have sent it",
);

pub(super) const UNKNOWN_METRIC: Refusal =
    refusal(404, "unknown_metric", "the metric is not in the catalogue");
pub(super) const UNKNOWN_STORE: Refusal =
    refusal(404, "unknown_store", "nothing is known of the store");
pub(super) const UNKNOWN_TERMINAL: Refusal =
    refusal(404, "unknown_terminal", "nothing is known of the terminal");
pub(super) const UNKNOWN_SESSION: Refusal =
    refusal(404, "unknown_session", "nothing is known of the session");
pub(super) const UNKNOWN_ERROR: Refusal =
    refusal(404, "unknown_error", "no row of the group is kept");
pub(super) const CLOCK_IMPOSSIBLE: Refusal = refusal(
    409,
    "clock_impossible",
    "the clock has to be set right first",
);
pub(super) const NOT_A_PSEUDONYM: Refusal = refusal(
    422,
    "not_a_pseudonym",
    "a pseudonym has 32 hexadecimal digits",
);
pub(super) const TOO_LARGE: Refusal = refusal(422, "too_large", "the answer would be too large");
pub(super) const JOURNAL_UNAVAILABLE: Refusal =
    refusal(503, "journal_unavailable", "the journal does not answer");
pub(super) const SEAL_UNAVAILABLE: Refusal =
    refusal(503, "seal_unavailable", "the seal did not end in time");
pub(super) const TOO_MANY_TAPS: Refusal =
    refusal(503, "too_many_taps", "as many watch as may at once");

pub(super) const TOO_MANY_STREAMS: Refusal =
    refusal(503, "too_many_streams", "as many read as may at once");
/// What a key can meet with that somebody wants to sign in with.
pub(super) const KEY_REFUSED: [Refusal; 2] = [
    refusal(401, "invalid_token", "the key is not known, or has ended"),
    refusal(403, "scope", "the key has not the scope `read`"),
];
pub(super) const NO_SESSIONS: Refusal = refusal(
    503,
    "state_unavailable",
    "the secret behind cookies can be neither read nor made",
);

/// Refusals that several routes have, by their names in the document.
#[derive(Debug)]
pub(super) struct Responses {
    /// The schema of a refusal.
    error: Value,
    pub(super) all: Map<String, Value>,
}

impl Responses {
    pub(super) fn new(error: Value) -> Self {
        let all = Map::new();
        Self { error, all }
    }

    /// Refers to these refusals, which have one status.
    pub(super) fn named(&mut self, status: u16, refusals: &[Refusal]) -> Value {
        let codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code).collect();
        let name = format!("{status}.{}", codes.join("."));
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        let lines = refusals
            .iter()
            .map(|refusal| format!("`{}`: {}.", refusal.code, refusal.meaning));
        let one_of = json!({"properties": {"error": {"properties": {"code": {"enum": codes}}}}});
        let described = json!({
            "description": lines.collect::<Vec<_>>().join(" "),
            "content": {"application/json": {"schema": {"allOf": [self.error, one_of]}}},
        });
        self.all.insert(name, described);
        reference
    }
}
