//! Leads each path to its door.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tillwatch_model::Outcomes;

use crate::doors::answer;
use crate::doors::faro;
use crate::doors::hall::Hall;
use crate::doors::legacy;
use crate::doors::library;
use crate::doors::otlp;
use crate::doors::refusal::{Code, Verdict};
use crate::doors::renewal;
use crate::doors::terminal_v1;

/// The public routes: one line for each door.
pub fn router(hall: Arc<Hall>) -> Router {
    Router::new()
        .merge(terminal_v1::routes())
        .merge(legacy::routes())
        .merge(otlp::routes())
        .merge(faro::routes())
        .merge(renewal::routes())
        .merge(library::routes())
        .method_not_allowed_fallback(async |State(hall): State<Arc<Hall>>, request: Request| {
            let verdict = Verdict::of(Code::MethodNotAllowed);
            misses(&hall, &request, &verdict, "Only POST is understood here.")
        })
        .fallback(async |State(hall): State<Arc<Hall>>, request: Request| {
            let verdict = Verdict::of(Code::NotFound);
            let message = "There is nothing here; batches are posted to /v1/batches, OTLP metrics to /v1/metrics.";
            misses(&hall, &request, &verdict, message)
        })
        .with_state(hall)
}

/// Counts and answers a request that found no door.
fn misses(hall: &Hall, request: &Request, verdict: &Verdict, message: &str) -> Response {
    let trace = hall.trace("other", request);
    let (response, code) = match hall.pass_address(request.extensions(), request.headers()) {
        Ok(()) => (answer::error(verdict, message, &hall.chance), verdict.code),
        Err(refusal) => {
            let code = refusal.verdict().code;
            (answer::refused(&refusal, &hall.chance), code)
        }
    };
    trace.finish(response.status(), Some(code), Outcomes::default());
    response
}
