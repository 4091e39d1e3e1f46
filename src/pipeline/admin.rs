//! What an operator's commands ask of a running collector: `POST` on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tillwatch_model::journal_act_v1::Act;
use tokio::sync::Notify;

use crate::aggregate::terminals::StoreTerminals;
use crate::clock::Clock;
use crate::holdings::Holdings;
use crate::intake::Desk;
use crate::pipeline::clock::words;
use crate::pipeline::seal::Sealer;

/// How long an act waits for the aggregate, or a seal for the disk.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the acts need.
pub(super) struct Admin {
    pub(super) desk: Desk,
    pub(super) holdings: Arc<Holdings>,
    pub(super) clock: Clock,
    pub(super) sealer: Arc<Sealer>,
    pub(super) seal_wanted: Arc<Notify>,
}

/// The routes.
pub(super) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/api/v1/stores/{store_id}/retire", post(retire))
        .route("/api/v1/seal", post(seal))
        .route("/api/v1/clock", get(clock_status))
        .route("/api/v1/clock/accept", post(accept_clock))
        .with_state(admin)
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message}});
    (status, Json(body)).into_response()
}

/// Refuses what a page of another site could send without asking first: such a request has no JSON.
fn without_json(headers: &HeaderMap) -> Option<Response> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|text| text.starts_with("application/json")) {
        return None;
    }
    Some(refused(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send Content-Type: application/json",
    ))
}

/// Ends a store's series; durable when answered.
async fn retire(
    State(admin): State<Arc<Admin>>,
    Path(store_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    // What was acknowledged before belongs to the series that end.
    let is_applied = admin.wait_applied(admin.desk.durable().0).await;
    let (is_known, terminals) = admin.holdings.read(|aggregator| {
        let of_store = aggregator.terminals().of_store(&store_id);
        (
            aggregator.names().0.find(&store_id).is_some(),
            of_store.map_or(0, StoreTerminals::active),
        )
    });
    if is_applied && !is_known && terminals == 0 {
        return refused(
            StatusCode::NOT_FOUND,
            "unknown_store",
            "no store of this name has series; GET /api/v1/stores lists those that have",
        );
    }
    let act = Act::RetireStore {
        store_id: &store_id,
        at_ms: admin.clock.now_ms(),
    };
    match admin.desk.act(&act).await {
        Ok(position) => {
            tracing::info!(store_id, terminals, "retired a store");
            // The next scrape is without it.
            let _is_late = admin.wait_applied(position.0).await;
            Json(json!({"store_id": store_id, "retired": true, "terminals": terminals}))
                .into_response()
        }
        Err(error) => {
            tracing::warn!(store_id, %error, "a store could not be retired");
            refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "journal_unavailable",
                "the journal did not take it; look at the collector's log, and try again",
            )
        }
    }
}

/// Seals what is open now, so that a backup holds it.
async fn seal(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    let sealed = async {
        admin.holdings.wait_applied(admin.desk.durable().0).await;
        let position = admin.holdings.read(|aggregator| aggregator.applied());
        let mut sealed = admin.sealer.sealed_position.subscribe();
        admin.seal_wanted.notify_one();
        // The sender lives as long as the sealer, which `admin` holds.
        drop(sealed.wait_for(|sealed| *sealed >= position).await);
        position
    };
    match tokio::time::timeout(WAIT_MAX, sealed).await {
        Ok(position) => Json(json!({"sealed_position": position})).into_response(),
        Err(_elapsed) => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "seal_unavailable",
            "the seal did not end in time; look at the collector's log",
        ),
    }
}

/// How things stand with the clock.
async fn clock_status(State(admin): State<Arc<Admin>>) -> Response {
    let status = admin.clock.status();
    let doubt = status.doubt.map(|doubt| words(doubt).0);
    let fleet = status
        .fleet
        .map(|(ahead_ms, terminals)| json!({"ahead_ms": ahead_ms, "terminals": terminals}));
    let body = json!({
        "clock_ms": status.wall_ms,
        "now_ms": status.now_ms,
        "doubt": doubt,
        "is_settled": status.is_settled,
        "fleet": fleet,
    });
    Json(body).into_response()
}

/// An operator says that the clock is right.
async fn accept_clock(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    match admin.clock.accept() {
        Ok(()) => clock_status(State(admin)).await,
        Err(doubt) => {
            let message = format!("{}: set the clock right first", words(doubt).0);
            refused(StatusCode::CONFLICT, "clock_impossible", &message)
        }
    }
}

impl Admin {
    /// Whether everything up to `position` was applied in time.
    async fn wait_applied(&self, position: u64) -> bool {
        let applied = self.holdings.wait_applied(position);
        tokio::time::timeout(WAIT_MAX, applied).await.is_ok()
    }
}
