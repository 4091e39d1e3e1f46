//! One terminal's queue: what to send, what an answer means, when to try again.
//!
//! Knows no clock and does no I/O: the time comes in, the requests go out.
//!
//! | file | what |
//! |---|---|
//! | `keeping.rs` | what becomes of a batch that was measured, and of one that was acknowledged |
//! | `mishaps.rs` | which batches a terminal loses that has this trouble |
//! | `sending.rs` | when to try again, and what of the history becomes batches |
//! | `story.rs` | what is true of the terminal |
//! | `trip.rs` | a request under way, and its answer |

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use tillwatch_model::Connection;

use crate::batch::{Batch, request_body};
use crate::client::Answer;
use crate::fleet::Profile;
use crate::history::History;
use crate::measure::Meter;
use crate::queues::Place;
use crate::random::derive_seed;
use crate::tally::Counts;
use crate::world::World;

mod keeping;
mod mishaps;
mod sending;
mod story;
mod trip;

use mishaps::Mishaps;
#[cfg(test)]
pub use story::Happened;
pub use story::{Fate, Range, Story};
use trip::{Back, Load, Trip, count_failure};
pub use trip::{Books, Outgoing, Phase, Rules};

/// Batches in one request, at most; the format allows 500.
const REQUEST_BATCHES_MAX: usize = 100;
/// Bytes in one request before compression, at most (one batch may be longer); the format allows 2 MiB.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// The pause between two requests of history, at most, ms: a terminal has other things to do.
const HISTORY_PAUSE_MS: i64 = 200;
/// How long history waits when the fleet holds as much as it may, ms.
const NO_ROOM_PAUSE_MS: i64 = 1_000;
/// The longest time after which a terminal hangs up on purpose.
const HANG_UP_MAX_US: u64 = 20_000;
/// Batches a terminal without a fixed rate queues while it is offline.
const UNPACED_QUEUE_MAX: usize = 16;

/// One terminal.
#[derive(Debug)]
pub struct Terminal {
    meter: Meter,
    /// Chance of its network. Its own, because what happens there must not change what is measured.
    rng: Rng,
    rules: Rules,
    /// Measured while running, oldest first.
    live: VecDeque<Batch>,
    /// Made from history, sent when nothing live waits.
    backlog: VecDeque<Batch>,
    history: History,
    /// Acknowledged, to be sent once more.
    echo: VecDeque<Batch>,
    trip: Option<Trip>,
    request_batches_max: usize,
    failures: u32,
    send_at_ms: i64,
    /// Simulated time.
    measure_at_ms: i64,
    returns_at_ms: Option<i64>,
    back: Option<Back>,
    /// What it loses, if it loses some.
    mishaps: Mishaps,
    /// What is true of it.
    story: Story,
}

impl Terminal {
    /// A terminal that measures first at one simulated time and, if it is stranded, comes back at a real
    /// one.
    pub fn new(
        meter: Meter,
        rules: Rules,
        history: History,
        measure_at_ms: i64,
        returns_at_ms: Option<i64>,
    ) -> Self {
        Self {
            rng: Rng::with_seed(derive_seed(meter.profile.seed, "network")),
            mishaps: Mishaps::new(meter.profile.seed),
            story: Story::default(),
            meter,
            rules,
            live: VecDeque::new(),
            backlog: VecDeque::new(),
            history,
            echo: VecDeque::new(),
            trip: None,
            request_batches_max: REQUEST_BATCHES_MAX,
            failures: 0,
            send_at_ms: 0,
            measure_at_ms,
            returns_at_ms,
            back: None,
        }
    }

    /// Where its queue stands. What it still holds may have been sent, so those numbers are not used
    /// again: it begins a new queue.
    pub fn place(&self, mut place: Place) -> Place {
        place.next_seq = self.meter.next_seq();
        if self.held().next().is_some() {
            place.begin_anew();
        }
        place
    }

    /// What stays the same about the terminal.
    pub fn profile(&self) -> &Profile {
        &self.meter.profile
    }

    /// Batches the terminal keeps until they are acknowledged.
    pub fn held(&self) -> impl Iterator<Item = &Batch> {
        self.live
            .iter()
            .chain(&self.backlog)
            .chain(self.mishaps.held())
    }

    /// What is true of the terminal; what it still holds is unsettled.
    pub fn story(&self) -> Story {
        let mut story = self.story.clone();
        for batch in self.held() {
            story.doubt(batch);
        }
        story
    }

    /// Whether the terminal has nothing left to send.
    pub fn is_idle(&self) -> bool {
        self.trip.is_none()
            && self.live.is_empty()
            && self.backlog.is_empty()
            && self.echo.is_empty()
            && self.history.is_over()
    }

    /// When something is to be done next, if nothing happens before.
    pub fn due_ms(&self, phase: Phase) -> i64 {
        let send_ms = if self.has_something_to_send() && self.is_connected() {
            self.send_at_ms
        } else {
            i64::MAX
        };
        self.measure_due_ms(phase).min(send_ms)
    }

    /// When something other than sending is to be done next.
    pub fn measure_due_ms(&self, phase: Phase) -> i64 {
        let measure_ms = match (phase, self.rules.interval_ms) {
            (Phase::Drain, _) => i64::MAX,
            (Phase::Trade, Some(_)) => self.rules.pace.real_ms(self.measure_at_ms),
            (Phase::Trade, None) if self.may_measure_unpaced() => self.measure_at_ms,
            (Phase::Trade, None) => i64::MAX,
        };
        measure_ms.min(self.returns_at_ms.unwrap_or(i64::MAX))
    }

    /// Whether a request could go now.
    pub fn wants_to_send(&self, now_ms: i64) -> bool {
        self.has_something_to_send() && self.is_connected() && self.send_at_ms <= now_ms
    }

    /// Measures and changes connections as far as they are due. Counts what was made.
    pub fn tick(&mut self, world: &World, now_ms: i64, counts: &mut Counts) {
        if let Some(at_ms) = self.returns_at_ms.filter(|at_ms| *at_ms <= now_ms) {
            self.come_back(at_ms);
        }
        if self.meter.is_silent(self.measure_at_ms) {
            // Nothing is heard of its store any more, whatever it still does.
            self.story.falls_silent(self.measure_at_ms);
            self.measure_at_ms = i64::MAX;
            return;
        }
        let due_ms = self.rules.pace.real_ms(self.measure_at_ms);
        let is_paced = self.rules.interval_ms.is_some();
        if due_ms > now_ms || !(is_paced || self.may_measure_unpaced()) {
            return;
        }
        const UNPACED_SPAN_MS: u64 = 1_000;
        let span_ms = self.rules.interval_ms.unwrap_or(UNPACED_SPAN_MS);
        let measured_ms = if is_paced { self.measure_at_ms } else { now_ms };
        if is_paced {
            // Every minute has its batch, also when the run is behind: a machine that is too slow shows
            // as waiting, and not as fewer batches.
            let next_ms = measured_ms.saturating_add(i64::try_from(span_ms).unwrap_or(i64::MAX));
            let store = self.meter.profile.store;
            self.measure_at_ms = world
                .hours
                .map_or(next_ms, |hours| hours.next_open_ms(next_ms, store));
        }
        if counts.has_room() {
            if self.mishaps.must_tell() {
                self.meter.tell(self.story.last_lost());
            }
            let mut batch = self.meter.measure(world, measured_ms, span_ms);
            batch.is_live = true;
            batch.intended_ms = (is_paced && self.is_connected()).then_some(due_ms);
            counts.batches_traded += 1;
            self.keep_or_lose(batch, measured_ms, counts);
        } else {
            counts.batches_skipped += 1;
        }
    }

    /// The network is back, if it was away.
    pub fn come_back(&mut self, now_ms: i64) {
        if self.returns_at_ms.take().is_some() {
            self.back = Some(Back {
                at_ms: now_ms,
                is_answered: false,
            });
        }
        self.meter.come_back();
    }

    /// The next request, if there is one to send.
    pub fn start_trip(
        &mut self,
        world: &World,
        now_ms: i64,
        counts: &mut Counts,
    ) -> Option<Outgoing> {
        if !self.wants_to_send(now_ms) {
            return None;
        }
        let load = if !self.echo.is_empty() {
            Load::Echo
        } else if !self.live.is_empty() {
            Load::Live
        } else {
            self.fill_backlog(world, counts);
            Load::Backlog
        };
        let batches_max = self.request_batches_max;
        let profile = &self.meter.profile;
        let sent_at_ms = profile
            .is_stamped
            .then_some(now_ms + profile.clock_ahead_ms);
        let queue = self.queue_mut(load);
        let mut bytes = 0;
        let mut batches = 0;
        for batch in queue.iter_mut().take(batches_max) {
            bytes += batch.bytes();
            if batches > 0 && bytes > REQUEST_BYTES_MAX {
                break;
            }
            batches += 1;
            batch.attempts += 1;
            counts.attempts += 1;
            match load {
                Load::Echo => counts.echoes += 1,
                Load::Live | Load::Backlog if batch.attempts > 1 => counts.retries += 1,
                Load::Live | Load::Backlog => {}
            }
        }
        let carried: Vec<&Batch> = queue.iter().take(batches).collect();
        if carried.is_empty() {
            // No room for history now.
            self.send_at_ms = now_ms + NO_ROOM_PAUSE_MS;
            return None;
        }
        let body = request_body(&carried, sent_at_ms);
        counts.requests += 1;
        let is_sent_twice = load != Load::Echo && self.rng.f64() < self.rules.resend_share;
        let hangs_up = is_sent_twice && self.rng.bool();
        let hang_up_after =
            hangs_up.then(|| Duration::from_micros(self.rng.u64(0..HANG_UP_MAX_US)));
        self.trip = Some(Trip {
            load,
            batches,
            is_echoed: is_sent_twice && !hangs_up,
        });
        Some(Outgoing {
            body,
            is_backlog: load == Load::Backlog,
            hang_up_after,
        })
    }

    /// What came back for the request under way.
    pub fn end_trip(&mut self, now_ms: i64, answer: Answer, books: &mut Books<'_>) {
        let Some(trip) = self.trip.take() else {
            return;
        };
        match answer {
            Answer::Acknowledged(acknowledgement) => {
                self.failures = 0;
                self.send_at_ms = now_ms;
                self.acknowledged(now_ms, &trip, &acknowledgement, books);
            }
            // An echo matters to nobody but the collector.
            Answer::Deferred { .. } | Answer::Refused { .. } | Answer::Failed(_)
                if trip.load == Load::Echo =>
            {
                self.echo.clear();
            }
            Answer::Deferred {
                status,
                retry_after,
            } => {
                if status == 429 {
                    books.counts.too_many_requests += 1;
                } else {
                    books.counts.unavailable += 1;
                }
                self.wait(now_ms, retry_after);
            }
            Answer::Failed(failure) => {
                count_failure(books.counts, failure);
                self.wait(now_ms, None);
            }
            Answer::Refused { status: 413, .. } if trip.batches > 1 => {
                self.request_batches_max = trip.batches.div_ceil(2);
                self.wait(now_ms, None);
            }
            Answer::Refused { code, .. } => {
                books.counts.add_reason(&code, 1);
                books.counts.batches_refused += trip.batches as u64;
                let refused: Vec<Batch> = self.queue_mut(trip.load).drain(..trip.batches).collect();
                for batch in refused {
                    self.story.doubt(&batch);
                    books.counts.release(&batch);
                    // An earlier attempt whose answer was lost may have been taken.
                    if batch.attempts > 1 {
                        books.ledger.doubt(&batch);
                    }
                }
            }
        }
    }

    fn queue_mut(&mut self, load: Load) -> &mut VecDeque<Batch> {
        match load {
            Load::Live => &mut self.live,
            Load::Backlog => &mut self.backlog,
            Load::Echo => &mut self.echo,
        }
    }

    fn has_something_to_send(&self) -> bool {
        self.trip.is_none()
            && !(self.live.is_empty()
                && self.backlog.is_empty()
                && self.echo.is_empty()
                && self.history.is_over())
    }

    fn is_connected(&self) -> bool {
        self.meter.connection() != Connection::Offline
    }

    fn may_measure_unpaced(&self) -> bool {
        let offline_may = !self.is_connected() && self.returns_at_ms.is_none();
        (self.trip.is_none() && self.live.is_empty() && self.is_connected())
            || (offline_may && self.live.len() < UNPACED_QUEUE_MAX)
    }
}

#[cfg(test)]
mod tests;
