//! Answers `GET /sdk/<version>/tillwatch.js`: the terminal's library, for pages that do not bundle it.
//!
//! A version's bytes never change, so browsers keep them for good and pages can name their hash. `v1` is whatever
//! version of the first line this program has; it is for trying, and a page cannot name its hash.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;
use tillwatch_model::Outcomes;

use crate::doors::answer;
use crate::doors::hall::Hall;
use crate::doors::refusal::{Code, Refusal, Verdict};
use crate::sdk;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// The name under which the newest of a line is found.
const LINE: &str = "v1";

/// The path of the door.
pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new().route("/sdk/{version}/tillwatch.js", get(serve))
}

async fn serve(
    State(hall): State<Arc<Hall>>,
    Path(version): Path<String>,
    request: Request,
) -> Response {
    let trace = hall.trace("other", &request);
    let (response, code) = match hall.pass_address(request.extensions(), request.headers()) {
        Ok(()) => found(&version, request.headers(), &hall),
        Err(refusal) => refused(&refusal, &hall),
    };
    trace.finish(response.status(), code, Outcomes::default());
    response
}

type Answered = (Response, Option<&'static str>);

fn refused(refusal: &Refusal, hall: &Hall) -> Answered {
    let code = refusal.verdict().code;
    (answer::refused(refusal, &hall.chance), Some(code))
}

fn found(version: &str, asked: &HeaderMap, hall: &Hall) -> Answered {
    let kept = if version == *sdk::VERSION {
        "public, max-age=31536000, immutable"
    } else if version == LINE {
        "public, max-age=300"
    } else {
        let verdict = Verdict::of(Code::NotFound);
        let message = format!(
            "This collector has version {} of the library.",
            *sdk::VERSION
        );
        return (
            answer::error(&verdict, &message, &hall.chance),
            Some(verdict.code),
        );
    };
    let codings = asked.get_all(ACCEPT_ENCODING).iter();
    let is_gzipped = codings
        .filter_map(|codings| codings.to_str().ok())
        .flat_map(|codings| codings.split(','))
        .any(|coding| coding.trim() == "gzip" || coding.trim().starts_with("gzip;"));
    let body = if is_gzipped {
        Body::from(sdk::GZIPPED.clone())
    } else {
        Body::from(sdk::SCRIPT)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(CONTENT_TYPE, "text/javascript; charset=utf-8");
    put(CACHE_CONTROL, kept);
    put(VARY, "accept-encoding");
    // Whoever may read this program may read the library: a page of any origin needs both to check its hash.
    put(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    put(CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin");
    if is_gzipped {
        put(CONTENT_ENCODING, "gzip");
    }
    (response, None)
}
