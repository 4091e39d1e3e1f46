//! Answers `POST /pdc_pos_offline/metrics`: the steps of this door, in order.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use serde::Serialize;
use tillwatch_model::Outcomes;
use tracing::Instrument;

use super::read::{Report, report};
use crate::clock::InDoubt;
use crate::doors::answer;
use crate::doors::codings;
use crate::doors::foreign::{Arriving, Batch, Loose, json, meant_for_another, open};
use crate::doors::hall::Hall;
use crate::doors::limits::Limits;
use crate::doors::refusal::Refusal;
use crate::doors::terminal_v1::{Envelope, open_envelope};
use crate::doors::trace::Trace;
use crate::intake::Receipt;
use crate::intake::offer::Field;
use crate::intake::report::{Part, Remark};
use crate::mapping::{Door, Lookup};

/// Where this door is.
const PATH: &str = "/pdc_pos_offline/metrics";
/// The terminal of reports that name none.
const NAMELESS: &str = "legacy";

/// What every answer says, because nobody reads a manual before a graph is wrong.
const NOTE: &str = "Percentiles of a report are kept as they were sent and never merged with others. Post histograms (docs/doors.md) for percentiles of a store or of the fleet.";

/// The paths of this door.
pub(in crate::doors) fn routes() -> Router<Arc<Hall>> {
    Router::new().route(PATH, post(post_report))
}

async fn post_report(State(hall): State<Arc<Hall>>, request: Request) -> Response {
    let mut arriving = Arriving::note(&hall, Door::Legacy, &request);
    let (span, arrived_at_ms) = (arriving.span(), arriving.arrived_at_ms);
    let taking = take(&hall, arrived_at_ms, request, &mut arriving.trace);
    let taken = taking.instrument(span).await;
    arriving.answered(taken, |refusal| answer::refused(refusal, &hall.chance))
}

async fn take(
    hall: &Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    request: Request,
    trace: &mut Trace<'_>,
) -> Result<(Response, Outcomes), Refusal> {
    let (parts, body) = request.into_parts();
    let opened = open(hall, arrived_at_ms, &parts, body, is_json, trace).await?;
    let body = opened.body.clone();
    let mut inner = None;
    let received_at_ms = opened.received_at_ms();
    let (lookup, limits) = (hall.lookup(Door::Legacy), **hall.limits());
    let reading = opened.read(|| batches(&body, &mut inner, lookup, received_at_ms, limits));
    let batches = reading.await?;
    let names = batches.iter().flat_map(names).collect::<Vec<_>>();
    let rule = &hall.rules.legacy;
    let submitted = opened.submit(batches, Field::Absent, rule, NAMELESS, trace);
    let receipt = submitted.await?;
    Ok((accepted(&receipt, &names), receipt.outcomes))
}

/// Whether the body can be JSON. Old pages call it whatever they like.
fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let of_body = codings::listed(headers, &CONTENT_TYPE, ';').next();
    match of_body.unwrap_or("") {
        "" | "application/octet-stream" | "text/plain" => Ok(()),
        name if name.ends_with("json") => Ok(()),
        _ => Err(Refusal::ContentType("application/json")),
    }
}

/// The batches of a body. A report in an envelope is taken out of it, once.
pub(in crate::doors) fn batches<'b>(
    body: &'b [u8],
    inner: &'b mut Option<Bytes>,
    lookup: Lookup<'_>,
    received_at_ms: i64,
    limits: Limits,
) -> Result<Vec<Batch<'b>>, Refusal> {
    let mut report = meant(body)?;
    if let Some(envelope) = envelope(&mut report) {
        let opened = open_envelope(&envelope, limits.decoded_bytes_max)?;
        report = self::report(inner.insert(opened.body))?;
    }
    let batch = report.batch(lookup, received_at_ms, limits.samples_max)?;
    Ok(vec![batch])
}

/// Reads a report, unless the body shows that it was meant for another door.
fn meant(body: &[u8]) -> Result<Report<'_>, Refusal> {
    let report = report(body)?;
    if report.is_none() {
        let text = json::text_of(body)?;
        return meant_for_another(text, PATH).map_or(Ok(report), Err);
    }
    Ok(report)
}

/// What the report is wrapped in, if it is.
fn envelope<'b>(report: &mut Report<'b>) -> Option<Envelope<'b>> {
    let Loose::Text(data) = std::mem::take(&mut report.data) else {
        return None;
    };
    Some(Envelope {
        is_compressed: report.compressed != Loose::Bool(false),
        format: std::mem::take(&mut report.format)
            .text()
            .unwrap_or_default(),
        data,
    })
}

/// The metrics' names, in the order in which the intake counts them.
fn names(batch: &Batch<'_>) -> Vec<String> {
    let samples = batch.samples.iter();
    let summaries = batch.summaries.iter().map(|summary| &summary.sample);
    let names = samples.chain(summaries).map(|sample| sample.metric.value());
    names
        .map(|name| name.map(|name| name.to_string()).unwrap_or_default())
        .collect()
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    reasons: Vec<Line<'a>>,
    note: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    metric: Option<&'a str>,
    reason: &'static str,
}

/// 202: every accepted metric of the report is on stable storage.
fn accepted(receipt: &Receipt, names: &[String]) -> Response {
    let line = |remark: &Remark| Line {
        metric: match remark.place.part {
            Part::Sample(number) => names.get(number).map(String::as_str),
            Part::Whole | Part::Event(_) | Part::Drop(_) => None,
        },
        reason: remark.reason,
    };
    let body = Accepted {
        accepted: receipt.outcomes.accepted,
        duplicate: receipt.outcomes.duplicate,
        rejected: receipt.outcomes.rejected,
        reasons: receipt.report.remarks().iter().map(line).collect(),
        note: NOTE,
    };
    answer::json(StatusCode::ACCEPTED, &body)
}
