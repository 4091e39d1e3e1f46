//! The loop of a run: who is due, who waits for a connection, when it ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::time::Duration;

use tillwatch_model::time::{millis, wall_ms};
use tokio::task::{JoinError, JoinSet};

use crate::claims::Span;
use crate::client::{Answer, Client};
use crate::clock::RunClock;
use crate::ledger::Ledger;
use crate::muster::muster;
use crate::options::End;
use crate::progress::Progress;
use crate::queues::{Place, Queues};
use crate::tally::Tally;
use crate::terminal::{Books, Phase, Rules, Terminal};
use crate::truth::Truth;
use crate::world::World;
use crate::{Options, Report};

/// The longest sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(1);

/// Terminals that are looked after between two looks at the answers.
const DUE_AT_ONCE_MAX: usize = 512;

/// What a compressed run may hold before it waits for the collector.
const COMPRESSED_HELD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long it waits, ms.
const STALL_MS: i64 = 2;

type Trip = (usize, Answer, Duration);

/// All terminals, and what they share.
pub struct Fleet {
    /// What there is to measure.
    pub world: World,
    /// What was acknowledged.
    pub ledger: Ledger,
    /// The run's time.
    pub clock: RunClock,
    tally: Tally,
    rules: Rules,
    queues: Queues,
    terminals: Vec<Terminal>,
    /// When each terminal is due. An entry that is not what `scheduled_ms` says is out of date.
    due: BinaryHeap<Reverse<(i64, usize)>>,
    scheduled_ms: Vec<i64>,
    /// Terminals that wait for a connection, first come first served.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    trips: JoinSet<Trip>,
    phase: Phase,
}

/// What the run waits for.
enum Event {
    Trip(Result<Trip, JoinError>),
    Due,
    Tick,
    Stop,
}

impl Fleet {
    /// A fleet that begins now.
    pub fn new(options: &Options, queues: Queues, world: World, ledger: Ledger) -> Self {
        let started_ms = wall_ms();
        let (rules, terminals) = muster(options, &queues, &world, started_ms);
        let mut fleet = Self {
            world,
            ledger,
            tally: Tally::default(),
            rules,
            queues,
            clock: RunClock::starting_at(started_ms),
            due: BinaryHeap::with_capacity(terminals.len() * 2),
            scheduled_ms: vec![i64::MAX; terminals.len()],
            ready: VecDeque::new(),
            is_ready: vec![false; terminals.len()],
            terminals,
            trips: JoinSet::new(),
            phase: Phase::Trade,
        };
        for index in 0..fleet.terminals.len() {
            fleet.schedule(index);
        }
        fleet
    }

    /// Lets the fleet trade until its end, and send what it has.
    ///
    /// # Errors
    /// When a request's task panicked.
    pub async fn go<F: Future<Output = ()>>(
        &mut self,
        options: &Options,
        client: &Client,
        stop: &impl Fn() -> F,
    ) -> Result<(), JoinError> {
        let mut stopped = Box::pin(stop());
        let mut progress = Progress::new(options.display.map(|display| display()));
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let end_at_ms = match options.end() {
            End::After(duration) => {
                let real = duration / options.speed;
                self.clock.started_ms().saturating_add(millis(real))
            }
            End::Batches(_) | End::Never => i64::MAX,
        };
        let batches_max = match options.end() {
            End::Batches(batches) => batches,
            End::After(_) | End::Never => u64::MAX,
        };
        let mut drain_until_ms = i64::MAX;
        loop {
            let now_ms = self.clock.now_ms();
            // Whoever is behind still makes what belongs before the end.
            let is_made = self.rules.interval_ms.is_none() || self.next_wake_ms() > end_at_ms;
            let is_over =
                (now_ms >= end_at_ms && is_made) || self.tally.counts.batches_traded >= batches_max;
            if self.phase == Phase::Trade && is_over {
                self.start_drain();
            }
            if self.phase == Phase::Drain {
                if drain_until_ms == i64::MAX {
                    drain_until_ms = now_ms.saturating_add(millis(options.drain));
                }
                if now_ms >= drain_until_ms || self.is_idle() {
                    break;
                }
            }
            let until_ms = match self.phase {
                Phase::Trade => now_ms.min(end_at_ms),
                Phase::Drain => now_ms,
            };
            self.work_off_due(now_ms, until_ms, batches_max);
            self.send_ready(client, options.connections as usize);
            let wake_ms = if self.must_wait_for_room() {
                now_ms + STALL_MS
            } else {
                self.next_wake_ms()
            };
            let wake_ms = wake_ms.min(end_at_ms.max(now_ms + 1)).min(drain_until_ms);
            let wait =
                u64::try_from(wake_ms - now_ms).map_or(Duration::ZERO, Duration::from_millis);
            // Every branch may be dropped half-way: joining takes a trip only when it is ready, the others
            // only wait.
            let event = tokio::select! {
                Some(trip) = self.trips.join_next() => Event::Trip(trip),
                () = tokio::time::sleep(wait.min(IDLE)) => Event::Due,
                _ = ticks.tick() => Event::Tick,
                () = &mut stopped => Event::Stop,
            };
            match event {
                Event::Trip(trip) => {
                    self.end_trip(trip?);
                    while let Some(trip) = self.trips.try_join_next() {
                        self.end_trip(trip?);
                    }
                }
                Event::Due => {}
                Event::Tick => {
                    progress.show(self.clock.elapsed(), &mut self.tally, self.trips.len())
                }
                Event::Stop if self.phase == Phase::Drain => break,
                Event::Stop => {
                    self.start_drain();
                    stopped = Box::pin(stop());
                }
            }
        }
        self.trips.abort_all();
        progress.finish();
        Ok(())
    }

    /// Terminals stop measuring, come back if they were away, and send what they have.
    fn start_drain(&mut self) {
        self.phase = Phase::Drain;
        let now_ms = self.clock.now_ms();
        for index in 0..self.terminals.len() {
            if let Some(terminal) = self.terminals.get_mut(index) {
                terminal.come_back(now_ms);
                terminal.let_go(u64::MAX);
            }
            self.schedule(index);
        }
    }

    fn is_idle(&self) -> bool {
        self.trips.is_empty()
            && self.ready.is_empty()
            && self.terminals.iter().all(Terminal::is_idle)
    }

    /// Lets every terminal that is due do what it has to, and queues it for a connection if it must.
    /// Up to a moment, and not so many at once that answers would wait.
    fn work_off_due(&mut self, now_ms: i64, until_ms: i64, batches_max: u64) {
        for _ in 0..DUE_AT_ONCE_MAX {
            let Some(Reverse((at_ms, index))) = self.due.peek().copied() else {
                break;
            };
            if at_ms > until_ms || self.must_wait_for_room() {
                break;
            }
            self.due.pop();
            if self.scheduled_ms.get(index) != Some(&at_ms) {
                continue;
            }
            if let Some(scheduled_ms) = self.scheduled_ms.get_mut(index) {
                *scheduled_ms = i64::MAX;
            }
            let counts = &mut self.tally.counts;
            let may_measure = self.phase == Phase::Trade && counts.batches_traded < batches_max;
            if let Some(terminal) = self.terminals.get_mut(index) {
                if may_measure {
                    terminal.tick(&self.world, now_ms, counts);
                }
                if terminal.wants_to_send(now_ms) {
                    self.make_ready(index);
                }
            }
            self.schedule(index);
            if self.tally.counts.batches_traded >= batches_max && self.phase == Phase::Trade {
                break;
            }
        }
    }

    fn make_ready(&mut self, index: usize) {
        if let Some(is_ready) = self.is_ready.get_mut(index)
            && !*is_ready
        {
            *is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Gives free connections to those that wait longest.
    fn send_ready(&mut self, client: &Client, connections_max: usize) {
        while self.trips.len() < connections_max
            && let Some(index) = self.ready.pop_front()
        {
            if let Some(is_ready) = self.is_ready.get_mut(index) {
                *is_ready = false;
            }
            // Stamped now, and not when the terminal joined the queue.
            let now_ms = self.clock.now_ms();
            let outgoing = self.terminals.get_mut(index).and_then(|terminal| {
                terminal.start_trip(&self.world, now_ms, &mut self.tally.counts)
            });
            if let Some(outgoing) = outgoing {
                let (store, token) = self.terminals.get(index).map_or_else(
                    || (String::new(), None),
                    |terminal| {
                        let profile = terminal.profile();
                        let token = client.token_of(&profile.store_id, &profile.terminal_id);
                        (profile.store_id.clone(), token)
                    },
                );
                let client = client.clone();
                self.trips.spawn(async move {
                    let (answer, elapsed) = client.post(outgoing, store, token).await;
                    (index, answer, elapsed)
                });
            }
            self.schedule(index);
        }
    }

    fn end_trip(&mut self, (index, answer, elapsed): Trip) {
        if !matches!(answer, Answer::Failed(_)) {
            self.tally.recent.record(elapsed);
        }
        let now_ms = self.clock.now_ms();
        let mut books = Books {
            counts: &mut self.tally.counts,
            ledger: &mut self.ledger,
            waits: &mut self.tally.waits,
            now_us: self.clock.now_us(),
        };
        if let Some(terminal) = self.terminals.get_mut(index) {
            terminal.end_trip(now_ms, answer, &mut books);
            if terminal.wants_to_send(now_ms) {
                self.make_ready(index);
            }
        }
        self.schedule(index);
    }

    /// Notes when a terminal is due next. One that waits for a connection is not due for that.
    fn schedule(&mut self, index: usize) {
        let (Some(terminal), Some(scheduled_ms), Some(is_ready)) = (
            self.terminals.get(index),
            self.scheduled_ms.get_mut(index),
            self.is_ready.get(index),
        ) else {
            return;
        };
        let due_ms = if *is_ready {
            terminal.measure_due_ms(self.phase)
        } else {
            terminal.due_ms(self.phase)
        };
        if due_ms == *scheduled_ms {
            return;
        }
        *scheduled_ms = due_ms;
        if due_ms < i64::MAX {
            self.due.push(Reverse((due_ms, index)));
        }
    }

    /// A compressed day is made only as fast as it can be delivered.
    fn must_wait_for_room(&self) -> bool {
        self.phase == Phase::Trade
            && self.rules.pace.is_compressed()
            && self.tally.counts.held_bytes > COMPRESSED_HELD_BYTES_MAX
    }

    fn next_wake_ms(&self) -> i64 {
        self.due
            .peek()
            .map_or(i64::MAX, |Reverse((at_ms, _))| *at_ms)
    }

    /// Where the terminals' queues stand.
    pub fn queues(&self) -> Queues {
        let mut queues = self.queues.clone();
        queues.places.resize(
            queues.places.len().max(self.terminals.len()),
            Place::default(),
        );
        for (place, terminal) in queues.places.iter_mut().zip(&self.terminals) {
            *place = terminal.place(*place);
        }
        queues
    }

    /// The releases of the stores, by their position.
    pub fn releases(&self) -> BTreeMap<usize, String> {
        let profiles = self.terminals.iter().map(Terminal::profile);
        profiles
            .map(|profile| (profile.store, profile.release.clone()))
            .collect()
    }

    /// What really happened.
    pub fn truth(&self) -> Truth {
        let terminals = self.terminals.iter();
        Truth::of(terminals.map(|terminal| (terminal.profile(), terminal.story())))
    }

    /// When the run was so far, simulated.
    pub fn span(&self) -> Span {
        Span {
            begin_ms: self.rules.pace.begin_ms(),
            end_ms: self.clock.now_ms(),
        }
    }

    /// What happened; from now on every batch still held is in doubt.
    pub fn report(&mut self, options: &Options) -> Report {
        let mut held = 0;
        for terminal in &self.terminals {
            for batch in terminal.held() {
                held += 1;
                if batch.attempts > 0 {
                    self.ledger.doubt(batch);
                }
            }
        }
        self.tally.earlier.take(&mut self.tally.recent);
        let truth = self.truth();
        let mut report = Report::new(
            options,
            self.queues.run_id.clone(),
            self.clock.elapsed(),
            held,
            &mut self.tally,
        );
        report.truth = truth;
        report
    }
}
