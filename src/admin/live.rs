//! The fleet while it happens: as an answer, and as a stream of server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tillwatch_model::dimension::is_identifier;

use crate::admin::queries::{Asked, parameters};
use crate::admin::refused;
use crate::export::negotiate::{self, takes_gzip};
use crate::live::{CHANGES_MAX, Live, Topics};
use crate::query::{Parameters, QueryError};

const JSON: &str = "application/json";
/// Proxies must not gather what is sent as it happens.
const AT_ONCE: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");
/// When a reader may try again that found no place. Unit: s.
const PLACE_WAIT_S: u64 = 30;

/// All stores, the worst first.
pub(super) async fn fleet(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    packed(live.fleet().await, &headers).await
}

/// One store, with its terminals.
pub(super) async fn store(
    State(live): State<Arc<Live>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let store_id = path.map_or_else(|_rejected| String::new(), |Path(text)| text);
    match live.detail(&store_id).await {
        Some(body) => packed(body, &headers).await,
        None => {
            let message = format!("no store {store_id:?} is known");
            refused(StatusCode::NOT_FOUND, "unknown_store", &message)
        }
    }
}

/// The path of batches.
pub(super) async fn pipeline(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    packed(live.pipeline().await, &headers).await
}

/// The last changes.
pub(super) async fn changes(State(live): State<Arc<Live>>, asked: Asked) -> Response {
    let limit = parameters(asked).and_then(|asked| {
        let given = asked.check(&["limit"])?;
        given.number("limit", 1, CHANGES_MAX)
    });
    match limit {
        Ok(limit) => Json(live.changes(limit.unwrap_or(CHANGES_MAX)).await).into_response(),
        Err(error) => bad(&error.to_string()),
    }
}

/// Tells what changes until the reader leaves, or the collector stops.
pub(super) async fn live(
    State(live): State<Arc<Live>>,
    asked: Asked,
    headers: HeaderMap,
) -> Response {
    let (topics, since) = match parameters(asked).and_then(|asked| read(&asked)) {
        Ok(read) => read,
        Err(error) => return bad(&error.to_string()),
    };
    let is_gzip = takes_gzip(accepted(&headers));
    let Some(reader) = live.read(topics, since, is_gzip) else {
        let message = "as many read as may at once; close another page first";
        let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", message);
        let seconds = HeaderValue::from(PLACE_WAIT_S);
        response.headers_mut().insert(RETRY_AFTER, seconds);
        return response;
    };
    let events = stream::unfold(reader, async |mut reader| {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(bytes), reader))
    });
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let not_kept = HeaderValue::from_static("no-store, no-transform");
    headers.insert(CACHE_CONTROL, not_kept);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(AT_ONCE.0, HeaderValue::from_static(AT_ONCE.1));
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Reads which topics are asked for, and since which frame.
fn read(asked: &Parameters) -> Result<(Topics, Option<u64>), QueryError> {
    let given = asked.check(&["topics", "since"])?;
    let topics = parse(given.get("topics")?).map_err(QueryError::BadParameter)?;
    let since = given.get("since")?.map(str::parse::<u64>).transpose();
    let since = since.map_err(|_no_number| {
        QueryError::BadParameter("since must be the seq of a frame, a whole number".to_owned())
    })?;
    Ok((topics, since))
}

fn parse(text: Option<&str>) -> Result<Topics, String> {
    let mut topics = Topics::default();
    let known = "topics: any of fleet, pipeline and store:STORE, with commas between them";
    for topic in text.ok_or(known)?.split(',') {
        match topic.split_once(':') {
            None if topic == "fleet" => topics.has_fleet = true,
            None if topic == "pipeline" => topics.has_pipeline = true,
            Some(("store", id)) if is_identifier(id) && topics.store_id.is_none() => {
                topics.store_id = Some(id.to_owned());
            }
            Some(("store", _)) => {
                return Err(
                    "topics: one store, whose name matches [A-Za-z0-9_.:-]{1,64}".to_owned(),
                );
            }
            _ => return Err(known.to_owned()),
        }
    }
    Ok(topics)
}

fn bad(message: &str) -> Response {
    refused(StatusCode::BAD_REQUEST, "bad_parameter", message)
}

fn accepted(headers: &HeaderMap) -> Option<&str> {
    headers.get(ACCEPT_ENCODING)?.to_str().ok()
}

/// An answer, compressed if that is accepted and worth it.
async fn packed(body: Vec<u8>, headers: &HeaderMap) -> Response {
    let is_gzip = takes_gzip(accepted(headers)) && body.len() > 1_000;
    let types = [(CONTENT_TYPE, JSON), (VARY, "accept-encoding")];
    if !is_gzip {
        return (types, body).into_response();
    }
    let compressing = tokio::task::spawn_blocking(move || negotiate::gzip(&body));
    match compressing.await {
        Ok(body) => (types, [(CONTENT_ENCODING, "gzip")], body).into_response(),
        Err(_panicked) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_others_refused() {
        let all = parse(Some("fleet,pipeline,store:s:1")).unwrap();
        assert!(all.has_fleet && all.has_pipeline);
        assert_eq!(all.store_id.as_deref(), Some("s:1"));
        for wrong in [
            "",
            "fleets",
            "store:",
            "store:a b",
            "store:a,store:b",
            "fleet:1",
        ] {
            parse(Some(wrong)).expect_err(wrong);
        }
        parse(None).expect_err("topics are required");
    }
}
