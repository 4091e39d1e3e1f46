//! Answers `POST /v1/batches`: the steps of this door, in order.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use tillwatch_model::Outcomes;
use tracing::Instrument;

use super::answer;
use super::offers::offer;
use super::parse::parse_within;
use super::request::{self, Batch, Format, Limits, ParseError, Parsed};
use super::wrapping::{Opened, Wrapping, open_envelope};
use crate::auth::Who;
use crate::clock::InDoubt;
use crate::doors;
use crate::doors::foreign::meant_for_another;
use crate::doors::hall::Hall;
use crate::doors::receive::{Received, receive};
use crate::doors::refusal::Refusal;
use crate::doors::trace::{Sender, Trace};
use crate::intake::laps::Stage;
use crate::intake::offer::{Event, Field};
use crate::intake::{Offers, Receipt};
use crate::room::{Held, REQUEST_BYTES};

/// A body up to this long, as sent, is decompressed on the thread that received it. A longer body is
/// decompressed aside, because the other connections of the thread would wait for it. Unit: bytes.
const UNPACK_INLINE_BYTES_MAX: usize = 16 * 1024;
/// A decompressed body up to this long is parsed on the thread that received it, and a longer one aside,
/// for the same reason. Unit: bytes.
const PARSE_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Where this door is.
const PATH: &str = "/v1/batches";

/// The paths of this door.
pub(in crate::doors) fn routes() -> Router<Arc<Hall>> {
    Router::new().route(PATH, post(post_batches))
}

async fn post_batches(State(hall): State<Arc<Hall>>, request: Request) -> Response {
    let arrived_at_ms = hall.clock.received_at_ms();
    let mut trace = hall.trace("terminal", &request);
    let span = tracing::debug_span!("request", request_id = %trace.id());
    let taking = take(&hall, arrived_at_ms, request, &mut trace);
    match taking.instrument(span).await {
        Ok(receipt) => {
            let response = answer::accepted(&receipt);
            trace.finish(response.status(), None, receipt.outcomes);
            response
        }
        Err(refusal) => {
            let response = doors::answer::refused(&refusal, &hall.chance);
            let code = refusal.verdict().code;
            trace.finish(response.status(), Some(code), Outcomes::default());
            response
        }
    }
}

async fn take(
    hall: &Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    request: Request,
    trace: &mut Trace<'_>,
) -> Result<Receipt, Refusal> {
    let (parts, body) = request.into_parts();
    let received = receive(hall, arrived_at_ms, &parts, body, Wrapping::of, trace).await?;
    let Received {
        received_at_ms,
        browser,
        who,
        class,
        key,
        wrapping,
        body,
        mut held,
        turn: _turn,
    } = received;
    let is_long = body.len() > UNPACK_INLINE_BYTES_MAX;
    let unpacking = hall
        .turns
        .aside(is_long, || unpack(hall, wrapping, body, &mut held));
    let body = unpacking.await?;
    let mut inner = None;
    let is_long = body.body.len() > PARSE_INLINE_BYTES_MAX;
    let parsing = hall.turns.aside(is_long, || {
        let mut request = parse(hall, &body, &mut inner, &mut held)?;
        for batch in &mut request.batches {
            batch.events.iter_mut().for_each(Event::scrub);
        }
        Ok::<_, Refusal>(request)
    });
    let request = parsing.await?;
    trace.lap(Stage::Decode);
    if request.unknown_keys > 0 {
        // A batch with a version is a terminal's, whatever else it says.
        let is_native = request.batches.iter().any(|batch| batch.v != Field::Absent);
        if !is_native && is_otlp(&body) {
            let elsewhere = "this is a request of OTLP, whose metrics are posted to /v1/metrics";
            return Err(Refusal::Malformed(elsewhere.to_owned()));
        }
        hall.counters.unknown_keys.increment(request.unknown_keys);
    }
    let first = request.batches.first().map(|batch| sender(batch, &who));
    trace.note(request.batches.len(), first);
    let is_many = request.is_many;
    let batches = request.batches.iter().enumerate();
    let batches: Vec<_> = batches
        .map(|(place, batch)| offer(batch, key, place))
        .collect();
    let offers = Offers {
        received_at_ms,
        sent_at_ms: request.sent_at_ms,
        class,
        browser,
        batches: &batches,
        watched: trace.watched(),
    };
    let submitted = hall.intake.submit(&who, &offers, held, trace.laps()).await;
    let pending = submitted?;
    // What waits for the disk is no more than what is written: the rest is given back before.
    drop(batches);
    drop(request);
    drop((body, inner));
    let receipt = pending.durable(trace.laps()).await?;
    match receipt.refused {
        Some(reason) if !is_many => Err(Refusal::Batch(reason)),
        _ => Ok(receipt),
    }
}

/// Whether a body that holds unknown keys begins as OTLP's JSON does.
fn is_otlp(opened: &Opened) -> bool {
    let text = opened.body.trim_ascii_start().strip_prefix(b"{");
    let key = text.map_or(&[][..], |text| text.trim_ascii_start());
    opened.format == Format::Json && key.starts_with(b"\"resource")
}

/// Who sent a batch, as its token says it, else the batch.
fn sender<'r>(batch: &'r Batch<'_>, who: &'r Who) -> Sender<'r> {
    let (store_id, terminal_id) = match who {
        Who::Anybody | Who::Server(_) => (None, None),
        Who::Bearer(bearer) => (Some(&*bearer.store_id), bearer.terminal_id.as_deref()),
        Who::App(key) => (None, Some(&*key.name)),
    };
    Sender {
        store_id: store_id.or_else(|| batch.store_id.value().map(AsRef::as_ref)),
        terminal_id: terminal_id.or_else(|| batch.terminal_id.value().map(AsRef::as_ref)),
        release: batch.release.value().map(AsRef::as_ref),
        seq: batch.seq.value().and_then(|number| number.whole()),
    }
}

fn unpack(
    hall: &Hall,
    wrapping: Wrapping,
    body: Bytes,
    held: &mut Held,
) -> Result<Opened, Refusal> {
    let opened = wrapping.open(body, hall.limits().decoded_bytes_max)?;
    count_mislabelled(hall, &opened);
    // Texts with escapes are copied out of the body: as much memory again.
    held.set(REQUEST_BYTES + 2 * opened.body.len())?;
    Ok(opened)
}

fn count_mislabelled(hall: &Hall, opened: &Opened) {
    if opened.is_mislabelled {
        hall.counters.mislabelled.increment(1);
    }
}

/// Takes a body apart. One that is in an envelope is taken out of it, once.
fn parse<'b>(
    hall: &Hall,
    opened: &'b Opened,
    inner: &'b mut Option<Bytes>,
    held: &mut Held,
) -> Result<request::Request<'b>, Refusal> {
    let limits = hall.limits();
    let decoded_bytes_max = limits.decoded_bytes_max;
    let limits = Limits {
        batches_max: limits.batches_max,
        samples_max: limits.samples_max,
    };
    let body: &'b [u8] = match parse_holding(&opened.body, opened.format, limits, held)? {
        Parsed::Request(request) => return ours(request, opened),
        Parsed::Plain(body) => body,
        Parsed::Envelope(envelope) => {
            let unwrapped = open_envelope(&envelope, decoded_bytes_max)?;
            count_mislabelled(hall, &unwrapped);
            held.add(2 * unwrapped.body.len())?;
            inner.insert(unwrapped.body)
        }
    };
    match parse_holding(body, Format::Json, limits, held)? {
        Parsed::Request(request) => Ok(request),
        Parsed::Envelope(_) | Parsed::Plain(_) => {
            let nested = "it is an envelope in an envelope".to_owned();
            Err(ParseError::Malformed(nested).into())
        }
    }
}

/// Tells a sender of another format where its door is: such a body looks like a batch without a version.
fn ours<'b>(
    request: request::Request<'b>,
    opened: &Opened,
) -> Result<request::Request<'b>, Refusal> {
    if let ([batch], Format::Json) = (&*request.batches, opened.format)
        && batch.v == Field::Absent
        && request.unknown_keys > 0
        && let Ok(text) = std::str::from_utf8(&opened.body)
        && let Some(refusal) = meant_for_another(text, PATH)
    {
        return Err(refusal);
    }
    Ok(request)
}

fn parse_holding<'b>(
    body: &'b [u8],
    format: Format,
    limits: Limits,
    held: &mut Held,
) -> Result<Parsed<'b>, ParseError> {
    parse_within(body, format, limits, &mut |bytes| held.add(bytes).is_ok())
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Malformed(_) => Self::Malformed(error.to_string()),
            ParseError::TooManyBatches(most) => Self::TooManyBatches(most),
            ParseError::TooManySamples(most) => Self::TooManySamples(most),
            ParseError::NoRoom => Self::Busy,
        }
    }
}
