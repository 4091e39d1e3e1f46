//! Answers `POST /v1/token`: the next token of a family, for a terminal whose token has ended or soon will.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::json;
use tillwatch_model::Outcomes;

use crate::audit_log::{Entry, Outcome};
use crate::clock::InDoubt;
use crate::doors::answer;
use crate::doors::body;
use crate::doors::hall::Hall;
use crate::doors::refusal::Refusal;
use crate::intake::limits::Class;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// The path of the door.
pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new().route("/v1/token", post(renew))
}

async fn renew(State(hall): State<Arc<Hall>>, request: Request) -> Response {
    let trace = hall.trace("other", &request);
    let (parts, body) = request.into_parts();
    let renewed = take(&hall, &parts);
    // Nothing is read of it; a connection that is closed with bytes unread would be reset.
    body::discard(&parts.headers, body).await;
    let (response, code) = match renewed {
        Ok(mut response) => {
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, no_store);
            (response, None)
        }
        Err(refusal) => {
            let verdict = refusal.verdict();
            let response = answer::refused(&refusal, &hall.chance);
            (response, Some(verdict.code))
        }
    };
    trace.finish(response.status(), code, Outcomes::default());
    response
}

static RENEWALS: Throttle = Throttle::new("renewals in the audit log");

fn take(hall: &Hall, parts: &Parts) -> Result<Response, Refusal> {
    hall.pass_address(&parts.extensions, &parts.headers)?;
    // A token that was made by a wrong clock would be wrong for as long as it lives.
    let now_ms = hall.clock.received_at_ms();
    let now_ms = now_ms.map_err(|InDoubt| Refusal::ClockUnsure)?;
    let shown = parts.headers.get_all(AUTHORIZATION).iter();
    let jti = hall.chance.uuid().simple().to_string();
    let renewed = hall
        .gate
        .renew(shown.map(HeaderValue::as_bytes), now_ms, jti)
        .map_err(|denied| hall.deny(denied))?;
    let bearer = &renewed.bearer;
    let terminal_id = bearer.terminal_id.as_deref();
    hall.intake
        .pass(&bearer.store_id, terminal_id, Class::Live)?;
    metrics::counter!(names::RENEWED).increment(1);
    if let Some(suppressed) = RENEWALS.pass() {
        hall.audit_log.note(&Entry {
            act: "token.renew",
            by: "terminal",
            about: json!({
                "store": bearer.store_id, "terminal": terminal_id, "family": bearer.family(),
                "suppressed": suppressed,
            }),
            outcome: Outcome::Done,
        });
    }
    let body = json!({"token": renewed.token, "expires_at_ms": renewed.expires_at_ms});
    Ok(answer::json(StatusCode::OK, &body))
}
