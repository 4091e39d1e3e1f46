//! Answers `POST /collect`: the steps of this door, in order.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use tillwatch_model::Outcomes;
use tracing::Instrument;

use super::answer::{self, Places, SESSION_STATUS};
use super::read::{Limits, read};
use crate::clock::InDoubt;
use crate::doors;
use crate::doors::codings;
use crate::doors::foreign::{Arriving, open};
use crate::doors::hall::Hall;
use crate::doors::refusal::Refusal;
use crate::doors::trace::Trace;
use crate::intake::offer::Field;
use crate::mapping::Door;

/// The header that names the page's session.
pub const SESSION_ID: HeaderName = HeaderName::from_static("x-faro-session-id");
/// The terminal of a payload that names none.
const NAMELESS: &str = "faro";
/// The types that a body may have: no browser sends a beacon as JSON.
const TYPES: [&str; 3] = ["application/json", "text/plain", ""];

/// The paths of this door. The application in the second is a name of Grafana's, and means nothing here.
pub(in crate::doors) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/collect", post(collect))
        .route("/collect/{app}", post(collect))
}

async fn collect(State(hall): State<Arc<Hall>>, request: Request) -> Response {
    let mut arriving = Arriving::note(&hall, Door::Faro, &request);
    let (span, arrived_at_ms) = (arriving.span(), arriving.arrived_at_ms);
    let taking = take(&hall, arrived_at_ms, request, &mut arriving.trace);
    let taken = taking.instrument(span).await;
    arriving.answered(taken, |refusal| {
        doors::answer::refused(refusal, &hall.chance)
    })
}

async fn take(
    hall: &Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    request: Request,
    trace: &mut Trace<'_>,
) -> Result<(Response, Outcomes), Refusal> {
    let (parts, body) = request.into_parts();
    let mut opened = open(hall, arrived_at_ms, &parts, body, is_json, trace).await?;
    let rule = &hall.rules.faro;
    let limits = Limits {
        samples_max: hall.limits().samples_max,
        are_logs_counted: hall.rules.are_faro_logs_counted,
        received_at_ms: opened.received_at_ms(),
        lookup: hall.lookup(Door::Faro),
    };
    let body = opened.body.clone();
    let reading = opened.read_within(|space| read(&body, limits, &mut |bytes| space.take(bytes)));
    let mut payload = reading.await?;
    let visitor = opened.visitor(&payload.batch, rule, NAMELESS);
    let sifted = hall.visits.sift(&payload, visitor, &body);
    let first = payload.keep(sifted);
    let (places, ignored) = (Places::of(&payload), payload.ignored);
    let batches = payload.into_batches();
    let submitted = opened
        .submit(batches, Field::Absent, rule, NAMELESS, trace)
        .await;
    // All batches are of one terminal, so what refuses one of them refuses all.
    let receipt = submitted.and_then(|receipt| match receipt.refused {
        Some(reason) if receipt.outcomes.accepted + receipt.outcomes.duplicate == 0 => {
            Err(Refusal::Batch(reason))
        }
        _ => Ok(receipt),
    });
    hall.visits.settle(first, receipt.as_ref().ok());
    let receipt = receipt?;
    let mut response = answer::accepted(&receipt, &places, ignored);
    if parts.headers.contains_key(SESSION_ID) {
        let valid = HeaderValue::from_static("valid");
        response.headers_mut().insert(SESSION_STATUS, valid);
    }
    Ok((response, receipt.outcomes))
}

/// Whether a body is JSON, by what its request says.
fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let wanted = Refusal::ContentType("application/json");
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(wanted);
    }
    let content_type = codings::listed(headers, &CONTENT_TYPE, ';').next();
    let content_type = content_type.unwrap_or("");
    let mut types = TYPES.iter();
    if types.any(|known| known.eq_ignore_ascii_case(content_type)) {
        Ok(())
    } else {
        Err(wanted)
    }
}
