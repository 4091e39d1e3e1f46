//! `POST /v1/batches`: the steps in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;
use axum::routing::post;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::ingest::acknowledge::{Acknowledgement, Weighed};
use crate::ingest::admission::Admission;
use crate::ingest::counters::Counters;
use crate::ingest::decode::{self, Encoding};
use crate::ingest::dedup::{Dedup, Reserve};
use crate::ingest::error::IngestError;
use crate::ingest::respond::{self, Report};
use crate::ingest::session::Pseudonyms;
use crate::ingest::settings::Settings;
use crate::ingest::trace::{Stage, Trace};
use crate::ingest::validate::{self, RequestTime, Writer};
use crate::journal::{Completion, Journal, Payloads};
use crate::model::time::now_ms;
use crate::model::{Catalogue, Outcomes, QueueKey, Reason};
use crate::request_id::RequestId;
use crate::wire::terminal_v1::{self, Batch, Field, Limits};

/// How long a request waits for the disk before it is told to come again.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(30);
/// How often a batch that another request has under way is asked for again.
const ROUNDS_MAX: usize = 8;

/// Everything a request needs.
#[derive(Debug)]
pub struct Ingest {
    /// Limits.
    pub settings: Settings,
    /// The metrics that are known.
    pub catalogue: Arc<Catalogue>,
    /// Bytes in flight and rates.
    pub admission: Admission,
    /// Batches taken in.
    pub dedup: Arc<Dedup>,
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
    let received_at_ms = now_ms();
    let mut trace = ingest.trace(&request);
    let span = tracing::debug_span!("request", request_id = %trace.id());
    let taking = ingest.take(received_at_ms, request, &mut trace);
    let (response, code, outcomes) = match taking.instrument(span).await {
        Ok((outcomes, report)) => (respond::accepted(outcomes, &report), None, outcomes),
        Err(error) => {
            let (response, code) = respond::refused(&error);
            (response, Some(code), Outcomes::default())
        }
    };
    trace.finish(response.status(), code, outcomes);
    response
}

impl Ingest {
    fn trace(&self, request: &axum::extract::Request) -> Trace<'_> {
        let id = request.extensions().get::<RequestId>().cloned();
        let id = id.unwrap_or_else(RequestId::make);
        Trace::begin(&self.counters, id, self.settings.slow)
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
        received_at_ms: i64,
        request: axum::extract::Request,
        trace: &mut Trace<'_>,
    ) -> Result<(Outcomes, Report), IngestError> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err(IngestError::Stopping);
        }
        let (parts, body) = request.into_parts();
        let text = |name| {
            parts
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap_or("?"))
        };
        if !decode::is_json(text(CONTENT_TYPE)) {
            return Err(IngestError::ContentType);
        }
        let encoding = Encoding::parse(text(CONTENT_ENCODING))?;
        let announced = self.announced(&parts.headers)?;
        let (body, mut held) = self.read(body, announced).await?;
        trace.read(body.len());
        self.counters.body_bytes.increment(body.len() as u64);
        let sent_bytes = body.len();
        let body = decode::decode(body, encoding, self.settings.decoded_bytes_max)?;
        // What is made of a decoded body takes about twice its length while it is under way.
        held.grow(&self.admission, sent_bytes + 2 * body.len())?;
        let limits = Limits {
            batches_max: self.settings.batches_max,
            samples_max: self.settings.samples_max,
        };
        let request = terminal_v1::parse(&body, limits)?;
        trace.lap(Stage::Decode);
        self.counters
            .batches
            .increment(request.batches.len() as u64);
        if request.unknown_keys > 0 {
            self.counters.unknown_keys.increment(request.unknown_keys);
        }
        let mut intake = Intake {
            ingest: self,
            trace: &mut *trace,
            batches: &request.batches,
            time: RequestTime::new(received_at_ms, &request.sent_at_ms),
            outcomes: Outcomes::default(),
            deferred: 0,
            report: Report::default(),
            refused: None,
        };
        // Not before the samples are counted: each has an outcome, this one is deferred.
        let result = if self.is_outbox_full.load(Ordering::Relaxed) {
            Err(IngestError::OutboxFull)
        } else {
            intake.run().await
        };
        let Intake {
            outcomes,
            deferred,
            report,
            refused,
            ..
        } = intake;
        trace.note(&request.batches, result.is_err() || refused.is_some());
        if let Err(error) = result {
            // What has met no other outcome on its way.
            let weight: u64 = request.batches.iter().map(validate::weight).sum();
            let known = outcomes.accepted + outcomes.duplicate + outcomes.rejected + deferred;
            self.counters.defer(weight.saturating_sub(known));
            return Err(error);
        }
        match refused {
            Some(reason) if !request.is_many => Err(IngestError::Refused(reason)),
            _ => Ok((outcomes, report)),
        }
    }
}

/// One request's batches on their way.
struct Intake<'a, 't> {
    ingest: &'a Ingest,
    trace: &'a mut Trace<'t>,
    batches: &'a [Batch<'a>],
    time: RequestTime,
    outcomes: Outcomes,
    /// Samples of appends that failed.
    deferred: u64,
    report: Report,
    /// Why the last refused batch was refused: what a single one is answered with.
    refused: Option<Reason>,
}

/// What waits for the journal.
#[derive(Default)]
struct Append {
    payloads: Payloads,
    /// Where one record is written before it is framed.
    scratch: Vec<u8>,
    reserved: Vec<(QueueKey, u64)>,
    weighed: Weighed,
    has_failed: bool,
}

impl Intake<'_, '_> {
    async fn run(&mut self) -> Result<(), IngestError> {
        self.check_rates()?;
        let mut open: Vec<usize> = (0..self.batches.len()).collect();
        for _ in 0..ROUNDS_MAX {
            let mut append = Append::default();
            let mut in_flight = Vec::new();
            let mut is_full = false;
            for index in open.drain(..) {
                match self.reserve(index, &mut append) {
                    Some(Reserve::InFlight(receiver)) => in_flight.push((index, receiver)),
                    Some(Reserve::Full) => is_full = true,
                    _ => {}
                }
            }
            let has_failed = append.has_failed;
            self.append(append).await?;
            if has_failed {
                return Err(IngestError::Internal);
            }
            if is_full {
                return Err(IngestError::Busy);
            }
            for (index, receiver) in in_flight {
                // Closed when the other request's append is over, however it went.
                let _closed = receiver.await;
                self.trace.lap(Stage::DedupWait);
                open.push(index);
            }
            if open.is_empty() {
                return Ok(());
            }
        }
        Err(IngestError::Busy)
    }

    /// Takes one request from the bucket of every store in it.
    fn check_rates(&self) -> Result<(), IngestError> {
        let mut last = None;
        for batch in self.batches {
            let store_id = batch.store_id.value().map(AsRef::as_ref);
            if let Some(store_id) = store_id
                && last != Some(store_id)
            {
                self.ingest.admission.pass(store_id)?;
                last = Some(store_id);
            }
        }
        Ok(())
    }

    /// Decides about one batch; a fresh one is written to `append`. Gives back what needs more.
    fn reserve(&mut self, index: usize, append: &mut Append) -> Option<Reserve> {
        let batch = &self.batches[index];
        let identity = match validate::identify(batch) {
            Ok(identity) => identity,
            Err(reason) => {
                self.refuse(index, reason);
                return None;
            }
        };
        match self.ingest.dedup.reserve(identity) {
            Reserve::Fresh => self.write(index, identity, append),
            Reserve::Duplicate => self.duplicate(batch),
            Reserve::Refused(reason) => self.refuse(index, reason),
            Reserve::InFlight(receiver) => {
                let (key, seq) = identity.to_owned();
                if append.reserved.contains(&(key, seq)) {
                    // The same batch twice in one request: the first copy is on its way with us.
                    self.duplicate(batch);
                    return None;
                }
                return Some(Reserve::InFlight(receiver));
            }
            Reserve::Full => return Some(Reserve::Full),
        }
        None
    }

    fn duplicate(&mut self, batch: &Batch<'_>) {
        let samples = validate::weight(batch);
        self.outcomes.duplicate += samples;
        self.ingest.counters.duplicate(samples);
    }

    fn refuse(&mut self, index: usize, reason: Reason) {
        let samples = validate::weight(&self.batches[index]);
        self.outcomes.rejected += samples;
        self.ingest.counters.reject(reason, samples);
        self.report.whole_batch(index, reason);
        self.refused = Some(reason);
    }

    fn write(
        &mut self,
        index: usize,
        identity: crate::ingest::dedup::Identity<'_>,
        append: &mut Append,
    ) {
        let batch = &self.batches[index];
        let has_consent = batch.consent.value() == Some(&true);
        let session = match &batch.session_id {
            Field::Is(session_id) if has_consent && !session_id.is_empty() => {
                let day = validate::session_day(batch, &self.time);
                let Some(pseudonym) = self.ingest.pseudonyms.of(session_id, day) else {
                    // Without the day's key nothing of the session may be written.
                    self.ingest.dedup.settle(&identity.to_owned(), None);
                    append.has_failed = true;
                    return;
                };
                Some(pseudonym)
            }
            _ => None,
        };
        let writer = Writer {
            catalogue: &self.ingest.catalogue,
            time: self.time,
        };
        let report = (&mut self.report, index);
        append.scratch.clear();
        // A sample takes about eleven bytes; the rest of a record about a hundred.
        append.scratch.reserve(128 + 16 * batch.samples.len());
        let written = writer.write(&mut append.scratch, (batch, identity), session, report);
        if append.payloads.is_empty() {
            append.payloads = Payloads::with_capacity(append.scratch.len());
        }
        append.payloads.push(&append.scratch);
        append.reserved.push(identity.to_owned());
        append.weighed.accepted += written.accepted;
        let rejected = (0_u8..).zip(written.rejected);
        let rejected = rejected.filter(|(_, samples)| *samples > 0);
        append.weighed.rejected.extend(
            rejected.filter_map(|(code, samples)| {
                Reason::from_code(code).map(|reason| (reason, samples))
            }),
        );
        if written.has_invalid_release {
            self.ingest.counters.invalid_releases.increment(1);
        }
        if !has_consent {
            self.refused = Some(Reason::NoConsent);
        }
    }

    /// Makes what was written durable. Only then do its samples count.
    async fn append(&mut self, append: Append) -> Result<(), IngestError> {
        self.trace.lap(Stage::Check);
        if append.payloads.is_empty() {
            return Ok(());
        }
        let (reply, durable) = oneshot::channel();
        let weighed = append.weighed.clone();
        let acknowledgement = Acknowledgement {
            dedup: Arc::clone(&self.ingest.dedup),
            counters: Arc::clone(&self.ingest.counters),
            weighed: append.weighed,
            reserved: append.reserved,
            received_at_ms: self.time.received_at_ms,
            reply,
        };
        if let Err((error, acknowledgement)) =
            self.ingest.journal.append(append.payloads, acknowledgement)
        {
            acknowledgement.complete(Err(error));
        }
        // The journal completes every append; a closed channel means that it is gone.
        let result = match tokio::time::timeout(ACKNOWLEDGE_MAX, durable).await {
            Ok(answer) => answer.map_err(|_closed| IngestError::Stopping),
            // It may still become durable: then a resend is a duplicate.
            Err(_elapsed) => Err(IngestError::Busy),
        };
        match result.and_then(|result| Ok(result?)) {
            Ok((position, times)) => {
                self.trace.durable(position, times);
                self.outcomes.accepted += weighed.accepted;
                self.outcomes.rejected += weighed.rejected();
                Ok(())
            }
            Err(error) => {
                self.deferred += weighed.total();
                Err(error)
            }
        }
    }
}
