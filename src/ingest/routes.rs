//! `POST /v1/batches`: the steps in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use tillwatch_journal::Journal;
use tillwatch_model::{Catalogue, Outcomes};
use tracing::Instrument;

use crate::chance::Chance;
use crate::clock::{Clock, InDoubt};
use crate::ingest::acknowledge::Acknowledgement;
use crate::ingest::admission::Admission;
use crate::ingest::body;
use crate::ingest::counters::Counters;
use crate::ingest::decode::{self, Opened, Packing};
use crate::ingest::dedup::Dedup;
use crate::ingest::error::IngestError;
use crate::ingest::intake::{Intake, Taken};
use crate::ingest::keys::{Key, Keys};
use crate::ingest::request_time::RequestTime;
use crate::ingest::respond;
use crate::ingest::room::{Held, REQUEST_BYTES};
use crate::ingest::session::Pseudonyms;
use crate::ingest::settings::Settings;
use crate::ingest::trace::{Stage, Trace};
use crate::request_id::RequestId;
use crate::wire::terminal_v1::{self, Format, Limits, ParseError, Parsed, Request};

/// A body up to this long, as sent, is unpacked where it was received; a longer one must not hold up the
/// connections of its thread.
const UNPACK_INLINE_BYTES_MAX: usize = 16 * 1024;
/// The same for taking apart what was unpacked.
const PARSE_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Everything a request needs.
#[derive(Debug)]
pub struct Ingest {
    /// What batches are judged by.
    pub clock: Clock,
    /// Names of requests, and when a client comes back.
    pub chance: Chance,
    /// Limits; a reload replaces them.
    pub settings: ArcSwap<Settings>,
    /// The metrics that are known.
    pub catalogue: Arc<Catalogue>,
    /// Bytes in flight and rates.
    pub admission: Admission,
    /// Batches taken in.
    pub dedup: Arc<Dedup>,
    /// Idempotency keys of batches taken in.
    pub keys: Arc<Keys>,
    /// The journal.
    pub journal: Journal<Acknowledgement>,
    /// Session pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// Outcomes.
    pub counters: Arc<Counters>,
    /// Set while the outbox is over its budget.
    pub is_outbox_full: Arc<AtomicBool>,
    /// Set once the process is stopping.
    pub is_stopping: Arc<AtomicBool>,
}

/// The public routes of ingest.
pub fn router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route("/v1/batches", post(post_batches))
        .method_not_allowed_fallback(async |State(ingest): State<Arc<Ingest>>, request| {
            ingest.misses(&request, respond::wrong_method())
        })
        .fallback(async |State(ingest): State<Arc<Ingest>>, request| {
            ingest.misses(&request, respond::no_such_path())
        })
        .with_state(ingest)
}

async fn post_batches(
    State(ingest): State<Arc<Ingest>>,
    request: axum::extract::Request,
) -> Response {
    let received_at_ms = ingest.clock.received_at_ms();
    let mut trace = ingest.trace(&request);
    let span = tracing::debug_span!("request", request_id = %trace.id());
    let taking = ingest.take(received_at_ms, request, &mut trace);
    let (response, code, outcomes) = match taking.instrument(span).await {
        Ok(taken) => {
            let response = respond::accepted(taken.outcomes, &taken.report, taken.is_replayed);
            (response, None, taken.outcomes)
        }
        Err(error) => {
            let (response, code) = respond::refused(&error, &ingest.chance);
            (response, Some(code), Outcomes::default())
        }
    };
    trace.finish(response.status(), code, outcomes);
    response
}

impl Ingest {
    /// Takes other limits from now on; requests under way end under the old ones or the new.
    pub fn reload(&self, settings: Settings) {
        self.admission.set_rates(settings.admission);
        self.settings.store(Arc::new(settings));
    }

    fn trace(&self, request: &axum::extract::Request) -> Trace<'_> {
        let id = request.extensions().get::<RequestId>().cloned();
        let id = id.unwrap_or_else(|| RequestId::make(&self.chance));
        Trace::begin(&self.counters, id, self.settings.load().slow)
    }

    /// Counts a request that is not for this router.
    fn misses(
        &self,
        request: &axum::extract::Request,
        (response, code): (Response, &'static str),
    ) -> Response {
        let trace = self.trace(request);
        trace.finish(response.status(), Some(code), Outcomes::default());
        response
    }

    async fn take(
        &self,
        received_at_ms: Result<i64, InDoubt>,
        request: axum::extract::Request,
        trace: &mut Trace<'_>,
    ) -> Result<Taken, IngestError> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err(IngestError::Stopping);
        }
        let (parts, body) = request.into_parts();
        let key = Key::of(&parts.headers);
        let head = received_at_ms
            .map_err(|InDoubt| IngestError::ClockUnsure)
            .and_then(|at_ms| Ok((at_ms, Packing::of(&parts.headers)?)))
            .and_then(|(at_ms, packing)| {
                Ok((at_ms, packing, key?, self.announced(&parts.headers)?))
            });
        let (received_at_ms, packing, key, announced) = match head {
            Ok(head) => head,
            Err(error) => {
                body::discard(&parts.headers, body).await;
                return Err(error);
            }
        };
        let (body, mut held) = self.read(body, announced).await?;
        trace.read(body.len());
        self.counters.body_bytes.increment(body.len() as u64);
        let is_long = body.len() > UNPACK_INLINE_BYTES_MAX;
        let unpack = || self.unpack(&mut held, body, packing);
        let body = self.admission.aside(is_long, unpack).await?;
        let mut opened = None;
        let is_long = body.0.len() > PARSE_INLINE_BYTES_MAX;
        let parsed = self
            .admission
            .aside(is_long, || self.parse(&mut held, &body, &mut opened));
        let request = parsed.await?;
        trace.lap(Stage::Decode);
        self.counters
            .batches
            .increment(request.batches.len() as u64);
        if request.unknown_keys > 0 {
            self.counters.unknown_keys.increment(request.unknown_keys);
        }
        trace.note(&request.batches);
        let time = RequestTime::new(received_at_ms, &request);
        self.hear(&request, &time);
        let mut intake = Intake::new(self, request.is_many, (time, key), trace);
        // Not before the samples are counted: each has an outcome, this one is deferred.
        let is_full = self.is_outbox_full.load(Ordering::Relaxed);
        let put_off = is_full.then_some(IngestError::OutboxFull);
        let append = intake.decide(&request.batches, put_off, &mut held).await?;
        // What waits for the disk is no more than what is written: the rest is given back before.
        drop(request);
        drop((body, opened));
        intake.finish(append, held).await
    }

    /// Takes what the terminal's clock says as a witness of this machine's.
    fn hear(&self, request: &Request<'_>, time: &RequestTime) {
        if let (Some(sent_at_ms), Some(batch)) = (time.sent_at_ms(), request.batches.first())
            && let (Some(store_id), Some(terminal_id)) =
                (batch.store_id.value(), batch.terminal_id.value())
        {
            let terminal = self.admission.number((store_id, terminal_id));
            self.clock.heard(terminal, sent_at_ms);
        }
    }

    fn unpack(
        &self,
        held: &mut Held,
        body: Bytes,
        packing: Packing,
    ) -> Result<(Bytes, Format), IngestError> {
        let opened = packing.open(body, self.settings.load().decoded_bytes_max)?;
        self.count_mislabelled(&opened);
        let Opened { body, format, .. } = opened;
        // Texts with escapes are copied out of it: as much again.
        held.set(REQUEST_BYTES + 2 * body.len())?;
        Ok((body, format))
    }

    fn count_mislabelled(&self, opened: &Opened) {
        if opened.is_mislabelled {
            self.counters.mislabelled.increment(1);
        }
    }

    /// Takes a body apart; one that is an envelope is opened, once.
    fn parse<'b>(
        &self,
        held: &mut Held,
        (body, format): &'b (Bytes, Format),
        opened: &'b mut Option<Bytes>,
    ) -> Result<Request<'b>, IngestError> {
        let limits = Limits {
            batches_max: self.settings.load().batches_max,
            samples_max: self.settings.load().samples_max,
        };
        let envelope = match parse_within(body, *format, limits, held)? {
            Parsed::Request(request) => return Ok(request),
            Parsed::Envelope(envelope) => envelope,
        };
        let inner = decode::open_envelope(&envelope, self.settings.load().decoded_bytes_max)?;
        self.count_mislabelled(&inner);
        let inner = inner.body;
        held.add(2 * inner.len())?;
        match parse_within(opened.insert(inner), Format::Json, limits, held)? {
            Parsed::Request(request) => Ok(request),
            Parsed::Envelope(_) => Err(IngestError::Parse(ParseError::Malformed(
                "it is an envelope in an envelope".to_owned(),
            ))),
        }
    }
}

fn parse_within<'b>(
    body: &'b [u8],
    format: Format,
    limits: Limits,
    held: &mut Held,
) -> Result<Parsed<'b>, ParseError> {
    terminal_v1::parse_within(body, format, limits, &mut |bytes| held.add(bytes).is_ok())
}
