//! Takes one request's offers through rates and identity to an outcome and a journal record.

use std::sync::atomic::Ordering;

use tillwatch_model::{Browser, FirstResult, Reason};
use tokio::time::{Instant, timeout_at};

use crate::auth::Who;
use crate::intake::append::Append;
use crate::intake::charge::{self, Claimed};
use crate::intake::dedup;
use crate::intake::identity::{Identity, Keyed, Numbered};
use crate::intake::keys::{self, LookedUp};
use crate::intake::laps::{Laps, Stage};
use crate::intake::offer::{Field, Offer, Offers};
use crate::intake::pending::{Pending, Way};
use crate::intake::refusal::Refusal;
use crate::intake::report::Place;
use crate::intake::request_time::RequestTime;
use crate::intake::service::Intake;
use crate::intake::under_way::Waiter;
use crate::intake::validate::{self, Writer};
use crate::intake::watched::Shown;
use crate::intake::weight;
use crate::intake::who::{names, source, voter};
use crate::room::Held;

/// How often a batch that another request has under way is asked for again.
const ROUNDS_MAX: usize = 8;
/// How long a request of many batches waits at the most because one of them makes too many rows. Unit: ms.
const WAIT_OF_MANY_MS: u64 = 60_000;

impl Intake {
    /// Takes in what one request offers. When this returns, all is decided and the offers are not needed
    /// any more, so that a door can free the body before it waits: nothing is durable, and nothing may be
    /// acknowledged, before [`Pending::durable`] has returned. `held` is the memory that the request has.
    ///
    /// # Errors
    /// When all that has met no outcome on the way is to be sent again.
    pub async fn submit(
        &self,
        who: &Who,
        offers: &Offers<'_>,
        held: Held,
        laps: &mut Laps,
    ) -> Result<Pending<'_>, Refusal> {
        self.books
            .counters
            .batches
            .increment(offers.batches.len() as u64);
        let time = RequestTime::new(offers);
        self.hear(who, offers, &time);
        let settings = self.settings.load();
        let deadline = Instant::now() + settings.acknowledge_max;
        let values_per_s = settings.histogram_values_per_s;
        drop(settings);
        let submission = Submission {
            way: Way::new(self, offers.received_at_ms, deadline),
            who,
            shown: Shown::new(who, offers),
            batches: offers.batches,
            class: self.claimed(offers, &time),
            time,
            values_per_s,
            browser: offers.browser,
            held,
        };
        submission.decide(laps).await
    }

    /// Takes what the terminal's clock says as a witness of this machine's.
    fn hear(&self, who: &Who, offers: &Offers<'_>, time: &RequestTime) {
        if let (Some(sent_at_ms), Some(batch)) = (time.sent_at_ms(), offers.batches.first())
            && let Ok(names) = names(who, batch)
            && let Some((store_id, terminal_id)) = voter(who, names)
        {
            let number = self.rates.number(store_id, terminal_id);
            self.clock.heard(number, sent_at_ms);
        }
    }
}

/// One request's offers on their way.
struct Submission<'i, 'o> {
    way: Way<'i>,
    who: &'o Who,
    shown: Shown<'o>,
    batches: &'o [Offer<'o>],
    class: Claimed,
    time: RequestTime,
    /// How many values a histogram may stand for, for each second of its span: one limit for the request.
    values_per_s: u64,
    browser: Option<Browser>,
    held: Held,
}

/// A batch and its number in the request.
#[derive(Clone, Copy)]
struct Placed<'o> {
    index: usize,
    batch: &'o Offer<'o>,
}

/// What a batch waits for before it can be decided about.
enum Wait {
    /// Another request has the batch under way.
    InFlight(Waiter),
    /// The batch's key has to be looked up.
    LookUp,
    /// The key of the day of the batch's session has to be fetched.
    SessionKey(i32),
}

impl<'i, 'o> Submission<'i, 'o> {
    /// Decides about the batches, unless there is a reason to put all of them off.
    async fn decide(mut self, laps: &mut Laps) -> Result<Pending<'i>, Refusal> {
        // The samples are counted by now, so each of them has an outcome even here: it is deferred.
        let decided = if self.way.intake.is_outbox_full.load(Ordering::Relaxed) {
            Err(Refusal::OutboxFull)
        } else {
            self.take(laps).await
        };
        let on_their_way = match &decided {
            Ok(append) if append.refused.is_none() => None,
            Ok(append) => Some(append.weighed.total()),
            Err(_) => Some(0),
        };
        if let Some(on_their_way) = on_their_way {
            let weight: u64 = self.batches.iter().map(|batch| self.weight(batch)).sum();
            let deferred = weight.saturating_sub(self.way.counted + on_their_way);
            self.way.intake.books.counters.defer(deferred);
        }
        Ok(Pending {
            append: decided?,
            way: self.way,
            held: self.held,
        })
    }

    async fn take(&mut self, laps: &mut Laps) -> Result<Append, Refusal> {
        charge::charge(self.way.intake, self.who, self.batches, self.class)?;
        let mut open: Vec<usize> = (0..self.batches.len()).collect();
        let mut put_off = None;
        for _ in 0..ROUNDS_MAX {
            let are_keyed = matches!(self.who, Who::App(_));
            let looked_up = if are_keyed || self.batches.iter().any(Offer::has_key) {
                let looked_up = timeout_at(self.way.deadline, self.look_up(&open)).await;
                looked_up.unwrap_or(Err(Refusal::Busy))?
            } else {
                LookedUp::default()
            };
            let mut append = Append::default();
            let mut waiting = Vec::new();
            let before = self.held.bytes();
            for index in open.drain(..) {
                let placed = Placed {
                    index,
                    batch: &self.batches[index],
                };
                if let Some(wait) = self.reserve(placed, &looked_up, &mut append) {
                    waiting.push((index, wait));
                }
                if self.held.set(before + append.bytes()).is_err() {
                    append.refused = Some(Refusal::Busy);
                    waiting.clear();
                    break;
                }
            }
            append.finish();
            // One batch that is put off does not keep the others from what they wait for.
            put_off = append.refused.take().or(put_off);
            if waiting.is_empty() {
                append.refused = put_off;
                return Ok(append);
            }
            let its_own = self.held.split(append.bytes());
            self.way.append(append, its_own, laps).await?;
            for (index, wait) in waiting {
                match wait {
                    Wait::InFlight(waiter) => {
                        waiter.over(self.way.deadline).await?;
                        laps.lap(Stage::DedupWait);
                    }
                    Wait::LookUp => {}
                    Wait::SessionKey(day) => self.fetch_session_key(day).await?,
                }
                open.push(index);
            }
        }
        Err(Refusal::Busy)
    }

    /// Looks up what the disk knows of the keys of these batches.
    async fn look_up(&self, open: &[usize]) -> Result<LookedUp, Refusal> {
        let batches = open.iter().map(|index| &self.batches[*index]);
        let keyed = batches.filter_map(|batch| Identity::of(self.who, batch).ok()?.key_id());
        let ids = keyed.collect();
        self.way.intake.books.keys.look_up(ids).await
    }

    /// Without the day's key nothing of a session may be written.
    async fn fetch_session_key(&self, day: i32) -> Result<(), Refusal> {
        let fetched = self.way.intake.pseudonyms.fetch(day);
        match timeout_at(self.way.deadline, fetched).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Internal),
            Err(_elapsed) => Err(Refusal::Busy),
        }
    }

    /// Decides about one batch; a fresh one is written to `append`. Gives back what it has to wait for.
    fn reserve(
        &mut self,
        placed: Placed<'o>,
        looked_up: &LookedUp,
        append: &mut Append,
    ) -> Option<Wait> {
        match Identity::of(self.who, placed.batch) {
            Ok(Identity::Numbered(numbered)) => self.reserve_number(placed, numbered, append),
            Ok(Identity::Keyed(keyed)) => self.reserve_key(placed, keyed, looked_up, append),
            Err(reason) => {
                self.refuse(placed, reason);
                None
            }
        }
    }

    fn reserve_number(
        &mut self,
        placed: Placed<'o>,
        numbered: Numbered<'o>,
        append: &mut Append,
    ) -> Option<Wait> {
        match self.way.intake.books.dedup.reserve(numbered) {
            dedup::Reserve::Fresh => {
                return self.write(placed, Identity::Numbered(numbered), append);
            }
            dedup::Reserve::Duplicate => self.duplicate(placed.batch, "duplicate"),
            dedup::Reserve::Conflicting => self.conflict(placed.batch, numbered),
            dedup::Reserve::Refused(reason) => self.refuse(placed, reason),
            dedup::Reserve::InFlight(waiter) => match append.holds(numbered) {
                None => return Some(Wait::InFlight(waiter)),
                // One request holds this batch twice: the first copy is on its way with us.
                Some(true) => self.duplicate(placed.batch, "duplicate"),
                Some(false) => self.conflict(placed.batch, numbered),
            },
            dedup::Reserve::QueuesFull => append.refused = Some(Refusal::QueuesFull),
            dedup::Reserve::TerminalQueuesFull => {
                append.refused = Some(Refusal::TerminalQueuesFull);
            }
            dedup::Reserve::GapsFull => append.refused = Some(Refusal::GapsFull),
            dedup::Reserve::StoreFull => append.refused = Some(Refusal::TerminalsFull),
        }
        None
    }

    fn reserve_key(
        &mut self,
        placed: Placed<'o>,
        keyed: Keyed<'o>,
        looked_up: &LookedUp,
        append: &mut Append,
    ) -> Option<Wait> {
        let keys = &self.way.intake.books.keys;
        // An application's keys take no place of its store's senders.
        let owner = match self.who {
            Who::App(key) => &*key.name,
            _ => keyed.store_id,
        };
        match keys.reserve(&keyed.id, owner, looked_up) {
            keys::Reserve::Fresh => match validate::refusal(placed.batch, &self.time) {
                None => return self.write(placed, Identity::Keyed(keyed), append),
                Some(reason) => {
                    // A keyed batch has no number that would be missed (ADR 4), so nothing of it is written.
                    keys.settle(&keyed.id, None);
                    self.refuse(placed, reason);
                }
            },
            keys::Reserve::Known(first) => self.replay(placed.batch, first),
            keys::Reserve::InFlight(waiter) => return Some(Wait::InFlight(waiter)),
            keys::Reserve::LookUp => return Some(Wait::LookUp),
            keys::Reserve::Full => append.refused = Some(Refusal::KeysFull),
        }
        None
    }

    /// Answers what the first post of the key was answered. Its own samples, whatever they are, are not
    /// counted again.
    fn replay(&mut self, batch: &Offer<'_>, first: FirstResult) {
        let samples = self.weight(batch);
        let counters = &self.way.intake.books.counters;
        counters.duplicate(samples);
        counters.replayed.increment(1);
        self.way.counted += samples;
        self.way.outcomes.accepted += first.accepted;
        self.way.outcomes.rejected += first.rejected;
        self.way.replayed += 1;
        self.shown.repeated(batch, samples, "duplicate");
    }

    /// Gives up a reservation.
    fn release(&self, identity: Identity<'_>) {
        let books = &self.way.intake.books;
        match identity {
            Identity::Numbered(numbered) => books.dedup.settle(&numbered.to_owned(), None),
            Identity::Keyed(keyed) => books.keys.settle(&keyed.id, None),
        }
    }

    fn weight(&self, batch: &Offer<'_>) -> u64 {
        weight::of_batch(batch, self.values_per_s)
    }

    fn duplicate(&mut self, batch: &Offer<'_>, outcome: &'static str) {
        let samples = self.weight(batch);
        self.way.outcomes.duplicate += samples;
        self.way.intake.books.counters.duplicate(samples);
        self.way.counted += samples;
        self.shown.repeated(batch, samples, outcome);
    }

    /// Counts a duplicate whose content is lost: its number was used before, for something else.
    fn conflict(&mut self, batch: &Offer<'_>, numbered: Numbered<'_>) {
        self.duplicate(batch, "conflicting");
        self.way.report.conflict();
        self.way.intake.books.counters.conflict(numbered);
    }

    fn refuse(&mut self, placed: Placed<'_>, reason: Reason) {
        let samples = self.weight(placed.batch);
        self.way.outcomes.rejected += samples;
        self.way.intake.books.counters.reject(reason, samples);
        self.way.counted += samples;
        let place = Place::batch(placed.index);
        self.way.report.reject(place, reason);
        self.way.refused = Some(reason);
        self.shown.refused(placed.batch, reason, samples);
    }

    /// Writes a fresh batch, or gives back what that has to wait for; the batch is not reserved then.
    fn write(
        &mut self,
        placed: Placed<'_>,
        identity: Identity<'_>,
        append: &mut Append,
    ) -> Option<Wait> {
        let batch = placed.batch;
        let intake = self.way.intake;
        let (store_id, terminal_id) = identity.sender();
        let now_ms = self.time.received_at_ms;
        let held_back = &intake.books.held_back;
        if let Some(wait_ms) = held_back.wait_ms(store_id, terminal_id, now_ms)
            && !validate::is_recent(batch, &self.time)
        {
            held_back.refuse();
            self.release(identity);
            // A request with others in it comes again soon: they must not wait for an hour.
            let is_alone = self.batches.len() == 1;
            let wait_ms = wait_ms.min(if is_alone { u64::MAX } else { WAIT_OF_MANY_MS });
            append.refused.get_or_insert(Refusal::RowsFull { wait_ms });
            return None;
        }
        let time = self.time.of(&identity);
        let refusal = validate::refusal(batch, &time);
        let session = match batch.session_id {
            Field::Is(session_id) if refusal.is_none() && !session_id.is_empty() => {
                let day = validate::session_day(batch, &time);
                let Some(pseudonym) = intake.pseudonyms.of(session_id, day) else {
                    self.release(identity);
                    return Some(Wait::SessionKey(day));
                };
                Some(pseudonym)
            }
            _ => None,
        };
        let writer = Writer {
            identity,
            source: source(self.who, batch),
            place: Place::batch(placed.index),
            browser: self.browser,
            catalogue: &intake.catalogue,
            time,
            values_per_s: self.values_per_s,
        };
        let report = &mut self.way.report;
        let written = append.write(identity, time.received_at_ms, |record| {
            // A sample takes about eleven bytes; the rest of a record about a hundred.
            record.reserve(128 + 16 * batch.samples.len());
            writer.write(record, batch, session, report)
        });
        self.way.written += 1;
        if written.has_invalid_release {
            intake.books.counters.invalid_releases.increment(1);
        }
        intake.books.counters.ignore(&written.ignored);
        self.shown.written(batch, &written);
        self.way.refused = refusal.or(self.way.refused);
        None
    }
}
