//! One request's batches on their way: identity, outcome, journal record, acknowledgement.

use tillwatch_model::{FirstResult, Outcomes, Reason};
use tokio::time::{Instant, timeout_at};

use crate::ingest::append::Append;
use crate::ingest::dedup::{self, Identity};
use crate::ingest::error::IngestError;
use crate::ingest::keys::{self, Key, LookedUp};
use crate::ingest::request_time::RequestTime;
use crate::ingest::respond::Report;
use crate::ingest::room::{Held, REQUEST_BYTES};
use crate::ingest::routes::Ingest;
use crate::ingest::trace::{Stage, Trace};
use crate::ingest::under_way::Waiter;
use crate::ingest::validate::{self, Writer};
use crate::ingest::weight;
use crate::wire::terminal_v1::{Batch, Field};

/// A batch and its place in the request.
type Placed<'r, 'b> = (usize, &'b Batch<'r>);

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
    is_many: bool,
    time: RequestTime,
    key: Option<Key<'a>>,
    /// Values a histogram may stand for, for each second of its span: one number for all of the request.
    values_per_s: u64,
    /// When it is told to come again, whatever it waits for.
    deadline: Instant,
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

/// What a batch waits for before it can be decided about.
enum Wait {
    /// Another request has it under way.
    InFlight(Waiter),
    /// Its key has to be looked up.
    LookUp,
}

impl<'a, 't> Intake<'a, 't> {
    pub(super) fn new(
        ingest: &'a Ingest,
        is_many: bool,
        (time, key): (RequestTime, Option<Key<'a>>),
        trace: &'a mut Trace<'t>,
    ) -> Self {
        Self {
            ingest,
            trace,
            is_many,
            time,
            key,
            values_per_s: ingest.settings.load().histogram_values_per_s,
            deadline: Instant::now() + ingest.settings.load().acknowledge_max,
            outcomes: Outcomes::default(),
            counted: 0,
            replayed: 0,
            written: 0,
            report: Report::default(),
            refused: None,
        }
    }

    /// Decides about the batches, unless there is a reason to put all of them off. What it gives back has
    /// to become durable; the batches are not needed for that any more.
    ///
    /// # Errors
    /// When all that has met no outcome on the way is to be sent again.
    pub(super) async fn decide(
        &mut self,
        batches: &[Batch<'_>],
        put_off: Option<IngestError>,
        held: &mut Held,
    ) -> Result<Append, IngestError> {
        let decided = match put_off {
            None => self.take(batches, held).await,
            Some(error) => Err(error),
        };
        let on_their_way = match &decided {
            Ok(append) if append.refused.is_none() => return decided,
            Ok(append) => append.weighed.total(),
            Err(_) => 0,
        };
        let weight: u64 = batches.iter().map(|batch| self.weight(batch)).sum();
        let counters = &self.ingest.counters;
        counters.defer(weight.saturating_sub(self.counted + on_their_way));
        decided
    }

    async fn take(
        &mut self,
        batches: &[Batch<'_>],
        held: &mut Held,
    ) -> Result<Append, IngestError> {
        self.check_rates(batches)?;
        let mut open: Vec<usize> = (0..batches.len()).collect();
        for _ in 0..ROUNDS_MAX {
            let looked_up = match self.key {
                None => LookedUp::default(),
                Some(_) => timeout_at(self.deadline, self.look_up(batches, &open))
                    .await
                    .unwrap_or(Err(IngestError::Busy))?,
            };
            let mut append = Append::default();
            let mut waiting = Vec::new();
            let before = held.bytes();
            for index in open.drain(..) {
                let place = (index, &batches[index]);
                if let Some(wait) = self.reserve(place, &looked_up, &mut append) {
                    waiting.push((index, wait));
                }
                if held.set(before + append.bytes()).is_err() {
                    append.refused = Some(IngestError::Busy);
                    break;
                }
            }
            append.finish();
            if waiting.is_empty() || append.refused.is_some() {
                return Ok(append);
            }
            let its_own = held.split(append.bytes());
            self.append(append, its_own).await?;
            for (index, wait) in waiting {
                if let Wait::InFlight(waiter) = wait {
                    waiter.over(self.deadline).await?;
                    self.trace.lap(Stage::DedupWait);
                }
                open.push(index);
            }
        }
        Err(IngestError::Busy)
    }

    /// Waits until what was written is durable.
    ///
    /// # Errors
    /// When some batches are to be sent again, or the only one is refused.
    pub(super) async fn finish(
        mut self,
        mut append: Append,
        mut held: Held,
    ) -> Result<Taken, IngestError> {
        let put_off = append.refused.take();
        let its_own = held.split(REQUEST_BYTES + append.bytes());
        drop(held);
        self.append(append, its_own).await?;
        if let Some(error) = put_off {
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

    /// What the disk knows of the keys of these batches.
    async fn look_up(
        &self,
        batches: &[Batch<'_>],
        open: &[usize],
    ) -> Result<LookedUp, IngestError> {
        let identities = open.iter();
        let identities = identities.filter_map(|at| self.identify((*at, &batches[*at])).ok());
        let keyed = identities.filter(|identity| identity.is_keyed);
        let ids = keyed.map(|identity| identity.queue).collect();
        self.ingest.keys.look_up(ids).await
    }

    fn identify<'b>(&self, (index, batch): Placed<'_, 'b>) -> Result<Identity<'b>, Reason> {
        validate::identify(batch, (self.key, index))
    }

    /// Takes one request from the bucket of every store in it.
    fn check_rates(&self, batches: &[Batch<'_>]) -> Result<(), IngestError> {
        let mut last = None;
        for batch in batches {
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
    fn reserve(
        &mut self,
        placed: Placed<'_, '_>,
        looked_up: &LookedUp,
        append: &mut Append,
    ) -> Option<Wait> {
        let identity = match self.identify(placed) {
            Ok(identity) => identity,
            Err(reason) => {
                self.refuse(placed, reason);
                return None;
            }
        };
        if identity.is_keyed {
            return self.reserve_key(placed, identity, (looked_up, append));
        }
        match self.ingest.dedup.reserve(identity) {
            dedup::Reserve::Fresh => self.write(placed, identity, append),
            dedup::Reserve::Duplicate => self.duplicate(placed.1),
            dedup::Reserve::Conflicting => self.conflict(placed.1, identity),
            dedup::Reserve::Refused(reason) => self.refuse(placed, reason),
            dedup::Reserve::InFlight(waiter) => match append.holds(identity) {
                None => return Some(Wait::InFlight(waiter)),
                // The same batch twice in one request: the first copy is on its way with us.
                Some(true) => self.duplicate(placed.1),
                Some(false) => self.conflict(placed.1, identity),
            },
            dedup::Reserve::Full => append.refused = Some(IngestError::Busy),
            dedup::Reserve::StoreFull => append.refused = Some(IngestError::TerminalsFull),
        }
        None
    }

    fn reserve_key(
        &mut self,
        placed: Placed<'_, '_>,
        identity: Identity<'_>,
        (looked_up, append): (&LookedUp, &mut Append),
    ) -> Option<Wait> {
        let keys = &self.ingest.keys;
        match keys.reserve(&identity.queue, looked_up) {
            keys::Reserve::Fresh => match validate::refusal(placed.1, &self.time) {
                None => self.write(placed, identity, append),
                Some(reason) => {
                    // There is no number that would be missed (ADR 4): nothing of it is written.
                    keys.settle(&identity.queue, None);
                    self.refuse(placed, reason);
                }
            },
            keys::Reserve::Known(first) => self.replay(placed.1, first),
            keys::Reserve::InFlight(waiter) => return Some(Wait::InFlight(waiter)),
            keys::Reserve::LookUp => return Some(Wait::LookUp),
            keys::Reserve::Full => append.refused = Some(IngestError::KeysFull),
        }
        None
    }

    /// Answers what the first post of the key was answered. Its own samples, whatever they are, are not
    /// counted again.
    fn replay(&mut self, batch: &Batch<'_>, first: FirstResult) {
        let samples = self.weight(batch);
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

    fn refuse(&mut self, (index, batch): Placed<'_, '_>, reason: Reason) {
        let samples = self.weight(batch);
        self.outcomes.rejected += samples;
        self.ingest.counters.reject(reason, samples);
        self.counted += samples;
        self.report.whole_batch(index, reason);
        self.refused = Some(reason);
    }

    fn write(
        &mut self,
        (index, batch): Placed<'_, '_>,
        identity: Identity<'_>,
        append: &mut Append,
    ) {
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
        let written = append.write(identity, time.received_at_ms, |record| {
            // A sample takes about eleven bytes; the rest of a record about a hundred.
            record.reserve(128 + 16 * batch.samples.len());
            writer.write(record, (batch, identity), session, report)
        });
        self.written += 1;
        if written.has_invalid_release {
            self.ingest.counters.invalid_releases.increment(1);
        }
        self.ingest.counters.ignore(&written.ignored);
        self.refused = refusal.or(self.refused);
    }

    /// Makes what was written durable. Only then do its samples count.
    async fn append(&mut self, append: Append, held: Held) -> Result<(), IngestError> {
        self.trace.lap(Stage::Check);
        if append.is_empty() {
            return Ok(());
        }
        let weighed = append.weighed.clone();
        let received_at_ms = self.time.received_at_ms;
        let result = append
            .send(self.ingest, (received_at_ms, held), self.deadline)
            .await;
        // Counted under what became of them, by the acknowledgement.
        self.counted += weighed.total();
        let (position, times) = result?;
        self.trace.durable(position, times);
        self.outcomes.accepted += weighed.accepted;
        self.outcomes.rejected += weighed.rejected();
        Ok(())
    }
}
