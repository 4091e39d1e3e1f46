//! One terminal's queue: what to send, what an answer means, when to try again.
//!
//! Knows no clock and does no I/O: the time comes in, the requests go out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Connection;
use crate::model::time::millis;
use crate::simulate::batch::{Batch, request_body};
use crate::simulate::client::{Acknowledgement, Answer, Failure};
use crate::simulate::history::History;
use crate::simulate::ledger::Ledger;
use crate::simulate::measure::{Meter, World};
use crate::simulate::random::full_jitter_ms;
use crate::simulate::tally::Counts;

/// Batches in one request, at most; the format allows 500.
const REQUEST_BATCHES_MAX: usize = 100;
/// Bytes in one request before compression, at most (one batch may be longer); the format allows 2 MiB.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// The first wait is at most this long, ms.
const BACKOFF_BASE_MS: u64 = 1_000;
/// Added to `Retry-After`, at most, so that terminals told the same second do not come back as one, ms.
const RETRY_AFTER_JITTER_MS: u64 = 1_000;
/// The pause between two requests of history, at most, ms: a terminal has other things to do.
const HISTORY_PAUSE_MS: i64 = 200;
/// The longest time after which a terminal hangs up on purpose.
const HANG_UP_MAX_US: u64 = 20_000;
/// Batches a terminal without a fixed rate queues while it is offline.
const UNPACED_QUEUE_MAX: usize = 16;

/// What all terminals go by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The time between two batches; none: as soon as the last one is acknowledged.
    pub interval_ms: Option<u64>,
    /// Share of the requests that are sent twice.
    pub resend_share: f64,
    /// The longest wait between two attempts, unless the collector asks for more, ms.
    pub backoff_ms_max: u64,
}

/// Whether terminals go on measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They do.
    Trade,
    /// They only send what they have.
    Drain,
}

/// Which of a terminal's batches a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Live,
    Backlog,
    Echo,
}

/// A request under way.
#[derive(Debug)]
struct Trip {
    load: Load,
    batches: usize,
    is_echoed: bool,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The body, not compressed.
    pub body: Vec<u8>,
    /// When the terminal hangs up on purpose.
    pub hang_up_after: Option<Duration>,
}

/// What a terminal's events are written into.
#[derive(Debug)]
pub struct Books<'a> {
    /// Counts.
    pub counts: &'a mut Counts,
    /// What was acknowledged.
    pub ledger: &'a mut Ledger,
}

/// One terminal.
#[derive(Debug)]
pub struct Terminal {
    meter: Meter,
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
    measure_at_ms: i64,
    returns_at_ms: Option<i64>,
}

impl Terminal {
    /// A terminal that measures first at one time and, if it is stranded, comes back at another.
    pub fn new(
        meter: Meter,
        rules: Rules,
        history: History,
        measure_at_ms: i64,
        returns_at_ms: Option<i64>,
    ) -> Self {
        Self {
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
        }
    }

    /// Its store's position.
    pub fn store(&self) -> usize {
        self.meter.profile.store
    }

    /// Batches it keeps until they are acknowledged.
    pub fn held(&self) -> impl Iterator<Item = &Batch> {
        self.live.iter().chain(&self.backlog)
    }

    /// Whether it has nothing left to send.
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
            (Phase::Trade, Some(_)) => self.measure_at_ms,
            (Phase::Trade, None) if self.may_measure_unpaced() => self.measure_at_ms,
            (Phase::Trade, None) => i64::MAX,
        };
        measure_ms.min(self.returns_at_ms.unwrap_or(i64::MAX))
    }

    /// Whether a request could go now.
    pub fn wants_to_send(&self, now_ms: i64) -> bool {
        self.has_something_to_send() && self.is_connected() && self.send_at_ms <= now_ms
    }

    /// Measures and changes connections as far as they are due. Counts what was made; `has_room` says
    /// whether the fleet may queue more.
    pub fn tick(&mut self, world: &World, now_ms: i64, has_room: bool, counts: &mut Counts) {
        if self.returns_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.come_back();
        }
        let is_due = match self.rules.interval_ms {
            Some(_) => self.measure_at_ms <= now_ms,
            None => self.may_measure_unpaced() && self.measure_at_ms <= now_ms,
        };
        if !is_due {
            return;
        }
        const UNPACED_SPAN_MS: u64 = 1_000;
        let span_ms = self.rules.interval_ms.unwrap_or(UNPACED_SPAN_MS);
        if self.rules.interval_ms.is_some() {
            let next_ms = self
                .measure_at_ms
                .saturating_add(i64::try_from(span_ms).unwrap_or(i64::MAX));
            // After a long standstill it goes on from now; it does not catch up.
            self.measure_at_ms = if next_ms <= now_ms {
                now_ms + 1
            } else {
                next_ms
            };
        }
        if has_room {
            let batch = self.meter.measure(world, now_ms, span_ms);
            counts.batches_made += 1;
            counts.batches_traded += 1;
            counts.samples_made += batch.samples();
            self.live.push_back(batch);
        } else {
            counts.batches_skipped += 1;
        }
    }

    /// The network is back, if it was away.
    pub fn come_back(&mut self) {
        self.returns_at_ms = None;
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
        let sent_at_ms = now_ms + self.meter.profile.clock_ahead_ms;
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
            return None;
        }
        let body = request_body(&carried, sent_at_ms);
        counts.requests += 1;
        let is_sent_twice = load != Load::Echo && self.meter.rng.f64() < self.rules.resend_share;
        let hangs_up = is_sent_twice && self.meter.rng.bool();
        let hang_up_after =
            hangs_up.then(|| Duration::from_micros(self.meter.rng.u64(0..HANG_UP_MAX_US)));
        self.trip = Some(Trip {
            load,
            batches,
            is_echoed: is_sent_twice && !hangs_up,
        });
        Some(Outgoing {
            body,
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
                for batch in self.queue_mut(trip.load).drain(..trip.batches) {
                    // An earlier attempt whose answer was lost may have been taken.
                    if batch.attempts > 1 {
                        books.ledger.doubt(&batch);
                    }
                }
            }
        }
    }

    fn acknowledged(
        &mut self,
        now_ms: i64,
        trip: &Trip,
        answer: &Acknowledgement,
        books: &mut Books<'_>,
    ) {
        let store = self.store();
        let carried: Vec<Batch> = self.queue_mut(trip.load).drain(..trip.batches).collect();
        let samples: u64 = carried.iter().map(Batch::samples).sum();
        let counts = &mut *books.counts;
        counts.answered_accepted += answer.accepted;
        counts.answered_duplicate += answer.duplicate;
        counts.answered_rejected += answer.rejected;
        for rejected in &answer.reasons {
            counts.add_reason(&rejected.reason, 1);
        }
        let answered = [answer.accepted, answer.duplicate, answer.rejected];
        if answered
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(*part))
            != Some(samples)
        {
            counts.unbalanced_answers += 1;
        }
        if trip.load == Load::Echo {
            counts.echo_accepted += answer.accepted;
            return;
        }
        for batch in &carried {
            counts.batches_acknowledged += 1;
            // Nothing here is meant to be rejected. If something is, which of it counts is open.
            if answer.rejected == 0 {
                counts.samples_acknowledged += batch.samples();
                books.ledger.acknowledge(store, batch);
            } else {
                books.ledger.doubt(batch);
            }
        }
        if trip.is_echoed {
            self.echo.extend(carried);
        }
        if trip.load == Load::Backlog {
            self.send_at_ms = now_ms + self.meter.rng.i64(0..=HISTORY_PAUSE_MS);
        }
    }

    fn wait(&mut self, now_ms: i64, retry_after: Option<Duration>) {
        let rng = &mut self.meter.rng;
        let backoff_ms = full_jitter_ms(
            rng,
            BACKOFF_BASE_MS,
            self.rules.backoff_ms_max,
            self.failures,
        );
        let backoff_ms = i64::try_from(backoff_ms).unwrap_or(i64::MAX);
        let asked_ms = retry_after.map_or(0, |after| {
            let jitter_ms = rng.u64(0..RETRY_AFTER_JITTER_MS);
            millis(after.saturating_add(Duration::from_millis(jitter_ms)))
        });
        self.failures = self.failures.saturating_add(1);
        self.send_at_ms = now_ms.saturating_add(backoff_ms.max(asked_ms));
    }

    /// Makes history into batches, as many as one request carries.
    fn fill_backlog(&mut self, world: &World, counts: &mut Counts) {
        let mut bytes: usize = self.backlog.iter().map(Batch::bytes).sum();
        while bytes < REQUEST_BYTES_MAX && self.backlog.len() < self.request_batches_max {
            let Some(batch) = self.history.next_batch(&mut self.meter, world) else {
                break;
            };
            bytes += batch.bytes();
            counts.batches_made += 1;
            counts.samples_made += batch.samples();
            self.backlog.push_back(batch);
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

fn count_failure(counts: &mut Counts, failure: Failure) {
    match failure {
        Failure::Connect => counts.errors_connect += 1,
        Failure::Timeout => counts.errors_timeout += 1,
        Failure::Broken => counts.errors_broken += 1,
        Failure::Answer => counts.errors_answer += 1,
        Failure::HungUp => counts.hung_up += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fleet::profiles;
    use crate::simulate::ledger::Keep;
    use crate::simulate::options::tests::options;

    const NOW_MS: i64 = 1_795_220_280_653;

    struct Bench {
        world: World,
        counts: Counts,
        ledger: Ledger,
        terminal: Terminal,
        now_ms: i64,
    }

    /// A terminal that measures once a minute, and nothing else happens to it.
    fn bench(resend_share: f64, history_ms: i64) -> Bench {
        let rules = Rules {
            interval_ms: Some(60_000),
            resend_share,
            backoff_ms_max: 30_000,
        };
        // The first that is connected all the time the tests need it.
        let profile = profiles(&options(&["--late-share", "0"]), "run").remove(1);
        let meter = Meter::new(profile);
        assert_eq!(meter.connection(), Connection::Online);
        let history = History::new(&meter, NOW_MS, history_ms, Connection::Online);
        Bench {
            world: World::new(40),
            counts: Counts::default(),
            ledger: Ledger::new(64, 1, Keep::Values(1_000_000)),
            terminal: Terminal::new(meter, rules, history, NOW_MS, None),
            now_ms: NOW_MS,
        }
    }

    impl Bench {
        fn measure(&mut self) {
            self.terminal.measure_at_ms = self.now_ms;
            self.terminal
                .tick(&self.world, self.now_ms, true, &mut self.counts);
        }

        fn send(&mut self) -> Option<Outgoing> {
            self.terminal
                .start_trip(&self.world, self.now_ms, &mut self.counts)
        }

        fn answer(&mut self, answer: Answer) {
            let mut books = Books {
                counts: &mut self.counts,
                ledger: &mut self.ledger,
            };
            self.terminal.end_trip(self.now_ms, answer, &mut books);
        }

        fn acknowledged(&self) -> u64 {
            (0..64).map(|metric| self.ledger.count(metric)).sum()
        }

        fn doubted(&self) -> u64 {
            (0..64).map(|metric| self.ledger.unsure(metric)).sum()
        }
    }

    fn all(accepted: u64, duplicate: u64) -> Answer {
        Answer::Acknowledged(Acknowledgement {
            accepted,
            duplicate,
            ..Acknowledgement::default()
        })
    }

    fn deferred(seconds: u64) -> Answer {
        Answer::Deferred {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    fn parts(outgoing: &Outgoing) -> (u64, Vec<u8>) {
        let text = std::str::from_utf8(&outgoing.body).unwrap();
        let (stamp, content) = text.split_once(',').unwrap();
        let stamp = stamp.trim_start_matches("{\"sent_at_ms\":");
        (stamp.parse().unwrap(), content.as_bytes().to_vec())
    }

    #[test]
    fn a_retry_keeps_its_content_and_is_stamped_anew() {
        let mut bench = bench(0.0, 0);
        bench.measure();
        let first = parts(&bench.send().unwrap());
        assert_eq!(first.1, bench.terminal.live[0].content());
        bench.answer(Answer::Failed(Failure::Broken));
        assert!(bench.send().is_none(), "it waits first");
        bench.now_ms += 2_000;
        let second = parts(&bench.send().unwrap());
        assert_eq!((second.0, second.1), (first.0 + 2_000, first.1));
        bench.answer(all(0, 40));
        assert_eq!((bench.acknowledged(), bench.counts.retries), (40, 1));
        assert!(bench.terminal.is_idle());
    }

    #[test]
    fn retry_after_is_kept_to_and_waits_grow() {
        let mut bench = bench(0.0, 0);
        bench.measure();
        bench.send().unwrap();
        bench.answer(deferred(120));
        let wait_ms = bench.terminal.due_ms(Phase::Drain) - bench.now_ms;
        assert!((120_000..=121_000).contains(&wait_ms), "{wait_ms}");
        bench.now_ms += 119_999;
        assert!(bench.send().is_none());
        let mut longest_ms = [0; 2];
        for attempt in 0..60 {
            bench.now_ms += 200_000;
            bench.send().unwrap();
            bench.answer(Answer::Failed(Failure::Connect));
            let wait_ms = bench.terminal.due_ms(Phase::Drain) - bench.now_ms;
            assert!((1..=30_000).contains(&wait_ms));
            let half = &mut longest_ms[usize::from(attempt >= 2)];
            *half = wait_ms.max(*half);
        }
        assert!(
            longest_ms[0] <= 4_000 && longest_ms[1] > 20_000,
            "{longest_ms:?}"
        );
        assert_eq!(
            (bench.counts.unavailable, bench.counts.errors_connect),
            (1, 60)
        );
        assert_eq!(bench.terminal.held().count(), 1);
    }

    #[test]
    fn a_final_refusal_drops_a_batch_and_doubts_it_only_if_it_was_sent_before() {
        for attempts in [1, 2] {
            let mut bench = bench(0.0, 0);
            bench.measure();
            for _ in 1..attempts {
                bench.send().unwrap();
                bench.answer(Answer::Failed(Failure::Timeout));
                bench.now_ms += 60_000;
            }
            bench.send().unwrap();
            bench.answer(Answer::Refused {
                status: 422,
                code: "no_consent".into(),
            });
            assert_eq!(
                (
                    bench.counts.batches_refused,
                    bench.counts.reasons["no_consent"]
                ),
                (1, 1)
            );
            assert_eq!(
                (bench.acknowledged(), bench.doubted()),
                (0, if attempts > 1 { 40 } else { 0 })
            );
            assert!(bench.terminal.is_idle());
        }
    }

    #[test]
    fn a_request_that_is_too_long_is_sent_in_halves() {
        let mut bench = bench(0.0, 0);
        for _ in 0..8 {
            bench.measure();
            bench.now_ms += 1;
        }
        let too_long = || Answer::Refused {
            status: 413,
            code: "too_large".into(),
        };
        let many = bench.send().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&many.body).unwrap();
        assert_eq!(json["batches"].as_array().unwrap().len(), 8);
        bench.answer(too_long());
        bench.now_ms += 60_000;
        let half: serde_json::Value = serde_json::from_slice(&bench.send().unwrap().body).unwrap();
        assert_eq!(
            half["batches"],
            serde_json::json!(json["batches"].as_array().unwrap()[..4])
        );
        bench.answer(all(160, 0));
        assert_eq!(
            (bench.acknowledged(), bench.terminal.held().count()),
            (160, 4)
        );
        assert_eq!(bench.counts.batches_refused, 0);
    }

    #[test]
    fn an_echo_is_the_same_batch_again_and_is_acknowledged_once() {
        let mut bench = bench(1.0, 0);
        let (mut echoed, mut hung_up) = (0, 0);
        while echoed == 0 || hung_up == 0 {
            bench.measure();
            let first = bench.send().unwrap();
            if first.hang_up_after.is_some() {
                hung_up += 1;
                bench.answer(Answer::Failed(Failure::HungUp));
                assert_eq!(bench.terminal.held().count(), 1);
                bench.terminal.live.clear();
            } else {
                echoed += 1;
                bench.answer(all(40, 0));
                let second = bench.send().unwrap();
                assert_eq!(parts(&second).1, parts(&first).1);
                bench.answer(all(0, 40));
            }
            bench.now_ms += 60_000;
        }
        assert_eq!(bench.acknowledged(), 40 * echoed);
        assert_eq!(
            (bench.counts.echoes, bench.counts.echo_accepted),
            (echoed, 0)
        );
    }

    #[test]
    fn rejected_samples_and_answers_that_do_not_sum_up_are_noticed() {
        let mut bench = bench(0.0, 0);
        bench.measure();
        bench.send().unwrap();
        bench.answer(Answer::Acknowledged(Acknowledgement {
            accepted: 38,
            rejected: 1,
            ..Acknowledgement::default()
        }));
        assert_eq!(
            (
                bench.counts.unbalanced_answers,
                bench.counts.answered_rejected
            ),
            (1, 1)
        );
        assert_eq!((bench.acknowledged(), bench.doubted()), (0, 40));
    }

    #[test]
    fn history_goes_in_many_batch_requests_after_what_is_live() {
        let mut bench = bench(0.0, 24 * 3_600_000);
        bench.measure();
        let live: serde_json::Value = serde_json::from_slice(&bench.send().unwrap().body).unwrap();
        assert_eq!(
            (&live["seq"], &live["batches"]),
            (&1.into(), &serde_json::Value::Null)
        );
        bench.answer(all(40, 0));
        let mut seqs = Vec::new();
        while !bench.terminal.is_idle() {
            bench.now_ms += 1_000;
            let body = bench.send().unwrap().body;
            assert!(body.len() < 2 * REQUEST_BYTES_MAX);
            let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for batch in request["batches"]
                .as_array()
                .unwrap_or(&vec![request.clone()])
            {
                seqs.push(batch["seq"].as_u64().unwrap());
            }
            let carried = bench.terminal.trip.as_ref().unwrap().batches;
            let samples = bench
                .terminal
                .backlog
                .iter()
                .take(carried)
                .map(Batch::samples)
                .sum();
            bench.answer(all(samples, 0));
        }
        assert_eq!(seqs.len(), 24);
        assert!(seqs.is_sorted());
        assert_eq!(bench.acknowledged(), bench.counts.samples_made);
    }
}
