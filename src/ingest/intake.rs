//! One request's batches on their way: identity, outcome, journal record, acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ingest::acknowledge::{Acknowledgement, Weighed};
use crate::ingest::dedup::{self, Identity};
use crate::ingest::error::IngestError;
use crate::ingest::keys::{self, Key, LookedUp};
use crate::ingest::request_time::RequestTime;
use crate::ingest::respond::Report;
use crate::ingest::routes::Ingest;
use crate::ingest::trace::{Stage, Trace};
use crate::ingest::validate::{self, Writer};
use crate::ingest::weight;
use crate::journal::{Completion, Payloads};
use crate::model::{FirstResult, KeyId, Outcomes, QueueKey, Reason};
use crate::wire::terminal_v1::{Batch, Field, Request};

/// How long a request waits for the disk before it is told to come again.
pub(super) const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(30);
/// How often a batch that another request has under way is asked for again.
const ROUNDS_MAX: usize = 8;

/// What came of a request.
pub(super) struct Taken {
    /// Its samples.
    pub(super) outcomes: Outcomes,
    /// What was wrong with some.
    pub(super) report: Report,
    /// Whether it was answered before, and is answered the same.
    pub(super) is_replayed: bool,
}

/// One request's batches on their way.
pub(super) struct Intake<'a, 't> {
    ingest: &'a Ingest,
    trace: &'a mut Trace<'t>,
    batches: &'a [Batch<'a>],
    is_many: bool,
    time: RequestTime,
    key: Option<Key<'a>>,
    /// Values a histogram may stand for, for each second of its span: one number for all of the request.
    values_per_s: u64,
    outcomes: Outcomes,
    /// Samples that have met an outcome, be it deferral.
    counted: u64,
    /// Batches answered as the first of their key was, and batches written.
    replayed: usize,
    written: usize,
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
    /// What each of those holds.
    contents: Vec<u64>,
    keyed: Vec<(KeyId, FirstResult)>,
    weighed: Weighed,
    /// What will be answered once this is durable: a batch beside it could not be taken.
    refused: Option<IngestError>,
}

/// What a batch waits for before it can be decided about.
enum Wait {
    /// Another request has it under way.
    InFlight(oneshot::Receiver<()>),
    /// Its key has to be looked up.
    LookUp,
}

impl<'a, 't> Intake<'a, 't> {
    pub(super) fn new(
        ingest: &'a Ingest,
        request: &'a Request<'a>,
        (time, key): (RequestTime, Option<Key<'a>>),
        trace: &'a mut Trace<'t>,
    ) -> Self {
        Self {
            ingest,
            trace,
            batches: &request.batches,
            is_many: request.is_many,
            time,
            key,
            values_per_s: ingest.settings.load().histogram_values_per_s,
            outcomes: Outcomes::default(),
            counted: 0,
            replayed: 0,
            written: 0,
            report: Report::default(),
            refused: None,
        }
    }

    /// Takes the batches in, unless there is a reason to put all of them off.
    ///
    /// # Errors
    /// When some of them are to be sent again, or the only one is refused.
    pub(super) async fn run(mut self, put_off: Option<IngestError>) -> Result<Taken, IngestError> {
        let result = match put_off {
            None => self.take().await,
            Some(error) => Err(error),
        };
        if let Err(error) = result {
            // What has met no other outcome on its way.
            let weight: u64 = self.batches.iter().map(|batch| self.weight(batch)).sum();
            let counters = &self.ingest.counters;
            counters.defer(weight.saturating_sub(self.counted));
            return Err(error);
        }
        match self.refused {
            Some(reason) if !self.is_many => Err(IngestError::Refused(reason)),
            _ => Ok(Taken {
                outcomes: self.outcomes,
                report: self.report,
                is_replayed: self.replayed > 0 && self.written == 0,
            }),
        }
    }

    async fn take(&mut self) -> Result<(), IngestError> {
        self.check_rates()?;
        let mut open: Vec<usize> = (0..self.batches.len()).collect();
        for _ in 0..ROUNDS_MAX {
            let looked_up = self.look_up(&open).await?;
            let mut append = Append::default();
            let (mut in_flight, mut again) = (Vec::new(), Vec::new());
            for index in open.drain(..) {
                match self.reserve(index, &looked_up, &mut append) {
                    Some(Wait::InFlight(receiver)) => in_flight.push((index, receiver)),
                    Some(Wait::LookUp) => again.push(index),
                    None => {}
                }
            }
            let refused = append.refused.take();
            self.append(append).await?;
            if let Some(error) = refused {
                return Err(error);
            }
            open = again;
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

    /// What the disk knows of the keys of these batches.
    async fn look_up(&self, open: &[usize]) -> Result<LookedUp, IngestError> {
        if self.key.is_none() {
            return Ok(LookedUp::default());
        }
        let identities = open.iter().filter_map(|index| self.identify(*index).ok());
        let keyed = identities.filter(|identity| identity.is_keyed);
        let ids = keyed.map(|identity| identity.queue).collect();
        self.ingest.keys.look_up(ids).await
    }

    fn identify(&self, index: usize) -> Result<Identity<'a>, Reason> {
        validate::identify(&self.batches[index], (self.key, index))
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

    /// Decides about one batch; a fresh one is written to `append`. Gives back what it has to wait for.
    fn reserve(&mut self, index: usize, looked_up: &LookedUp, append: &mut Append) -> Option<Wait> {
        let batch = &self.batches[index];
        let identity = match self.identify(index) {
            Ok(identity) => identity,
            Err(reason) => {
                self.refuse(index, reason);
                return None;
            }
        };
        if identity.is_keyed {
            return self.reserve_key(index, identity, (looked_up, append));
        }
        match self.ingest.dedup.reserve(identity) {
            dedup::Reserve::Fresh => self.write(index, identity, append),
            dedup::Reserve::Duplicate => self.duplicate(batch),
            dedup::Reserve::Conflicting => self.conflict(batch, identity),
            dedup::Reserve::Refused(reason) => self.refuse(index, reason),
            dedup::Reserve::InFlight(receiver) => {
                let (key, seq) = identity.to_owned();
                let is_it = |other: &(QueueKey, u64)| other.1 == seq && other.0 == key;
                let twin = append.reserved.iter().position(is_it);
                match twin.map(|at| append.contents[at] == identity.content) {
                    None => return Some(Wait::InFlight(receiver)),
                    // The same batch twice in one request: the first copy is on its way with us.
                    Some(true) => self.duplicate(batch),
                    Some(false) => self.conflict(batch, identity),
                }
            }
            dedup::Reserve::Full => append.refused = Some(IngestError::Busy),
            dedup::Reserve::StoreFull => append.refused = Some(IngestError::TerminalsFull),
        }
        None
    }

    fn reserve_key(
        &mut self,
        index: usize,
        identity: Identity<'_>,
        (looked_up, append): (&LookedUp, &mut Append),
    ) -> Option<Wait> {
        let keys = &self.ingest.keys;
        match keys.reserve(&identity.queue, looked_up) {
            keys::Reserve::Fresh => match validate::refusal(&self.batches[index], &self.time) {
                None => self.write(index, identity, append),
                Some(reason) => {
                    // There is no number that would be missed (ADR 4): nothing of it is written.
                    keys.settle(&identity.queue, None);
                    self.refuse(index, reason);
                }
            },
            keys::Reserve::Known(first) => self.replay(index, first),
            keys::Reserve::InFlight(receiver) => return Some(Wait::InFlight(receiver)),
            keys::Reserve::LookUp => return Some(Wait::LookUp),
            keys::Reserve::Full => append.refused = Some(IngestError::KeysFull),
        }
        None
    }

    /// Answers what the first post of the key was answered. Its own samples, whatever they are, are not
    /// counted again.
    fn replay(&mut self, index: usize, first: FirstResult) {
        let samples = self.weight(&self.batches[index]);
        self.ingest.counters.duplicate(samples);
        self.ingest.counters.replayed.increment(1);
        self.counted += samples;
        self.outcomes.accepted += first.accepted;
        self.outcomes.rejected += first.rejected;
        self.replayed += 1;
    }

    /// Gives up a reservation.
    fn release(&self, identity: Identity<'_>) {
        if identity.is_keyed {
            self.ingest.keys.settle(&identity.queue, None);
        } else {
            self.ingest.dedup.settle(&identity.to_owned(), None);
        }
    }

    fn weight(&self, batch: &Batch<'_>) -> u64 {
        weight::of_batch(batch, self.values_per_s)
    }

    fn duplicate(&mut self, batch: &Batch<'_>) {
        let samples = self.weight(batch);
        self.outcomes.duplicate += samples;
        self.ingest.counters.duplicate(samples);
        self.counted += samples;
    }

    /// Counts a duplicate whose content is lost: its number was used before, for something else.
    fn conflict(&mut self, batch: &Batch<'_>, identity: Identity<'_>) {
        self.duplicate(batch);
        self.report.conflict();
        self.ingest.counters.conflict(identity);
    }

    fn refuse(&mut self, index: usize, reason: Reason) {
        let samples = self.weight(&self.batches[index]);
        self.outcomes.rejected += samples;
        self.ingest.counters.reject(reason, samples);
        self.counted += samples;
        self.report.whole_batch(index, reason);
        self.refused = Some(reason);
    }

    fn write(&mut self, index: usize, identity: Identity<'_>, append: &mut Append) {
        let batch = &self.batches[index];
        let time = self.time.of(&identity);
        let refusal = validate::refusal(batch, &time);
        let session = match &batch.session_id {
            Field::Is(session_id) if refusal.is_none() && !session_id.is_empty() => {
                let day = validate::session_day(batch, &time);
                let Some(pseudonym) = self.ingest.pseudonyms.of(session_id, day) else {
                    // Without the day's key nothing of the session may be written.
                    self.release(identity);
                    append.refused = Some(IngestError::Internal);
                    return;
                };
                Some(pseudonym)
            }
            _ => None,
        };
        let writer = Writer {
            catalogue: &self.ingest.catalogue,
            time,
            values_per_s: self.values_per_s,
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
        if identity.is_keyed {
            let first = FirstResult {
                received_at_ms: time.received_at_ms,
                accepted: written.accepted,
                rejected: written.rejected.iter().sum(),
            };
            append.keyed.push((identity.queue, first));
        } else {
            append.reserved.push(identity.to_owned());
            append.contents.push(identity.content);
        }
        self.written += 1;
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
        self.ingest.counters.ignore(&written.ignored);
        self.refused = refusal.or(self.refused);
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
            keys: Arc::clone(&self.ingest.keys),
            counters: Arc::clone(&self.ingest.counters),
            weighed: append.weighed,
            reserved: append.reserved,
            keyed: append.keyed,
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
        // Counted under what became of them, by the acknowledgement.
        self.counted += weighed.total();
        let (position, times) = result.and_then(|result| Ok(result?))?;
        self.trace.durable(position, times);
        self.outcomes.accepted += weighed.accepted;
        self.outcomes.rejected += weighed.rejected();
        Ok(())
    }
}
