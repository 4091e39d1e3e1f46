//! Answers `POST /v1/metrics`: the steps of this door, in order.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::post;
use tillwatch_model::Outcomes;
use tracing::Instrument;

use super::gather::{Gather, Gathered, Limits, Take};
use super::{answer, json, protobuf};
use crate::clock::InDoubt;
use crate::doors::codings::listed;
use crate::doors::foreign::{self, Arriving, Batch, meant_for_another, open};
use crate::doors::hall::Hall;
use crate::doors::refusal::Refusal;
use crate::doors::trace::Trace;
use crate::intake::offer::Field;
use crate::mapping::{Door, Lookup};

/// Where this door is.
const PATH: &str = "/v1/metrics";
/// The terminal of a payload that names none.
const NAMELESS: &str = "otlp";
/// The types that may be sent, for whoever has sent something else.
const TYPES_WANTED: &str = "application/x-protobuf or application/json";

/// How a request is written, and its answer with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf, in its binary form.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

impl Encoding {
    /// The content type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
            return Err(Refusal::ContentType(TYPES_WANTED));
        }
        let content_type = listed(headers, &CONTENT_TYPE, ';').next().unwrap_or("");
        let is = |name: &str| content_type.eq_ignore_ascii_case(name);
        if is("application/x-protobuf") || is("application/protobuf") {
            Ok(Self::Protobuf)
        } else if is("application/json") {
            Ok(Self::Json)
        } else {
            Err(Refusal::ContentType(TYPES_WANTED))
        }
    }
}

/// The paths of this door.
pub(in crate::doors) fn routes() -> Router<Arc<Hall>> {
    Router::new().route(PATH, post(post_metrics))
}

async fn post_metrics(State(hall): State<Arc<Hall>>, request: Request) -> Response {
    let encoding = Encoding::of(request.headers()).unwrap_or(Encoding::Json);
    let mut arriving = Arriving::note(&hall, Door::Otlp, &request);
    let (span, arrived_at_ms) = (arriving.span(), arriving.arrived_at_ms);
    let taking = take(&hall, arrived_at_ms, request, &mut arriving.trace);
    let taken = taking.instrument(span).await;
    arriving.answered(taken, |refusal| {
        answer::refused(refusal, encoding, &hall.chance)
    })
}

async fn take(
    hall: &Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    request: Request,
    trace: &mut Trace<'_>,
) -> Result<(Response, Outcomes), Refusal> {
    let (parts, body) = request.into_parts();
    let mut opened = open(hall, arrived_at_ms, &parts, body, Encoding::of, trace).await?;
    let limits = **hall.limits();
    let limits = Limits {
        batches_max: limits.batches_max,
        points_max: limits.samples_max,
    };
    let encoding = opened.kind;
    let body = opened.body.clone();
    let lookup = hall.lookup(Door::Otlp);
    let reading = opened.read_within(|space| {
        read(&body, encoding, lookup, limits, &mut |bytes| {
            space.take(bytes)
        })
    });
    let Gathered { batches, tally } = reading.await?;
    if batches.is_empty() {
        // Nothing was sent, or only points without a value.
        let response = answer::accepted(None, &tally, encoding);
        return Ok((response, Outcomes::default()));
    }
    let rule = &hall.rules.otlp;
    let submitted = opened.submit(batches, Field::Absent, rule, NAMELESS, trace);
    let receipt = submitted.await?;
    let response = answer::accepted(Some(&receipt), &tally, encoding);
    Ok((response, receipt.outcomes))
}

/// Reads a body of this encoding.
pub(super) fn read<'b>(
    body: &'b [u8],
    encoding: Encoding,
    lookup: Lookup<'_>,
    limits: Limits,
    space: &mut Take<'_>,
) -> Result<Gathered<'b>, Refusal> {
    let mut gather = Gather::new(lookup, limits, space);
    match encoding {
        Encoding::Protobuf => protobuf::read(body, &mut gather)?,
        Encoding::Json => json::read(body, &mut gather)?,
    }
    let gathered = gather.gathered();
    if encoding == Encoding::Json && gathered.tally.points == 0 {
        let text = foreign::json::text_of(body)?;
        return meant_for_another(text, PATH).map_or(Ok(gathered), Err);
    }
    Ok(gathered)
}

/// The batches of a body.
pub(in crate::doors) fn batches<'b>(
    body: &'b [u8],
    encoding: Encoding,
    lookup: Lookup<'_>,
) -> Result<Vec<Batch<'b>>, Refusal> {
    let limits = Limits {
        batches_max: usize::MAX,
        points_max: usize::MAX,
    };
    let gathered = read(body, encoding, lookup, limits, &mut |_| Ok(()))?;
    Ok(gathered.batches)
}

/// How many data points a body holds, if it is a request: what the fuzzer reads bodies by.
#[must_use]
pub fn points(body: &[u8], encoding: Encoding, lookup: Lookup<'_>) -> Option<usize> {
    let limits = Limits {
        batches_max: 20,
        points_max: 1_000,
    };
    let gathered = read(body, encoding, lookup, limits, &mut |_| Ok(())).ok()?;
    Some(gathered.tally.points)
}
