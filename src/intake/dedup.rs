//! Which batches have been taken in: what makes a resend count once.
//!
//! A batch is *reserved* while it is on its way to the disk and *seen* once it is durable. A second
//! post of a reserved batch waits for the first, so that it is never answered before the batch is on
//! disk; when the first fails, the mark is undone and the second takes its place.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{Equivalent, HashMap};
use tillwatch_model::sequence::{DEPTH, LOST_AFTER_MS};
use tillwatch_model::time::HOUR_MS;
use tillwatch_model::{QueueKey, Reason, Seen, SeqWindow};

use crate::intake::contents::Contents;
use crate::intake::identity::Numbered;
use crate::intake::under_way::{UnderWay, Waiter};

/// Queues one terminal may use: a new one a day, and some.
const QUEUES_PER_TERMINAL_MAX: usize = 16;
/// A lock for each of these; two threads rarely want the same one.
const SHARDS: usize = 64;
/// A queue is remembered an hour longer here than by the aggregate, so that nothing counts here as
/// fresh that counts there as seen.
const FORGET_AFTER_MS: i64 = LOST_AFTER_MS + HOUR_MS;

/// Bounds of the memory for sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Queues in all; past it a batch of a new queue is answered 503. Unit: queues.
    pub queues_max: usize,
    /// Terminals of one store; past it a batch of a new terminal is answered 503. Unit: terminals.
    pub store_terminals_max: usize,
    /// Missing ranges in all; past it a batch that would leave a new gap is answered 503. Unit: ranges.
    pub gaps_max: usize,
}

/// The value of [`Settings::gaps_max`]. A gap takes two numbers of memory.
pub const GAPS_MAX: usize = 1_000_000;

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            queues_max: 400_000,
            store_terminals_max: 10_000,
            gaps_max: GAPS_MAX,
        }
    }
}

/// What became of an attempt to reserve a batch.
#[derive(Debug)]
pub enum Reserve {
    /// The batch is new, and reserved until [`Dedup::settle`].
    Fresh,
    /// The batch is durable already.
    Duplicate,
    /// A batch of this number is durable already, and held something else.
    Conflicting,
    /// The batch is on its way to the disk. When that is over, ask again.
    InFlight(Waiter),
    /// The batch can never be taken in.
    Refused(Reason),
    /// There is no memory for the batch now.
    Full,
    /// The batch's store has as many terminals as it may, and the batch comes from a new one.
    StoreFull,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Terminal {
    store_id: Box<str>,
    terminal_id: Box<str>,
}

#[derive(Debug, Clone, Copy, Hash)]
struct TerminalRef<'a> {
    store_id: &'a str,
    terminal_id: &'a str,
}

impl Equivalent<Terminal> for TerminalRef<'_> {
    fn equivalent(&self, key: &Terminal) -> bool {
        *self.terminal_id == *key.terminal_id && *self.store_id == *key.store_id
    }
}

#[derive(Debug)]
struct Queue {
    id: [u8; 16],
    /// `None` until a batch of the queue is durable.
    window: Option<SeqWindow>,
    in_flight: Vec<InFlight>,
    contents: Contents,
}

#[derive(Debug)]
struct InFlight {
    seq: u64,
    content: u32,
    under_way: UnderWay,
}

type Shard = HashMap<Terminal, Vec<Queue>, foldhash::fast::RandomState>;

/// The sequence numbers of every queue.
#[derive(Debug)]
pub struct Dedup {
    settings: Settings,
    hasher: foldhash::fast::RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Terminals by store; only asked when one comes or goes.
    terminals: Mutex<HashMap<Box<str>, usize, foldhash::fast::RandomState>>,
    queues: AtomicUsize,
    gaps: AtomicUsize,
}

impl Dedup {
    /// Makes a memory in which nothing has been seen yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            hasher: foldhash::fast::RandomState::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            terminals: Mutex::default(),
            queues: AtomicUsize::new(0),
            gaps: AtomicUsize::new(0),
        })
    }

    /// Puts back a window that a state file or a replay gives.
    pub fn restore(&self, key: &QueueKey, window: SeqWindow) {
        let mut shard = self.shard(&key.store_id, &key.terminal_id);
        let terminal = Terminal {
            store_id: key.store_id.clone(),
            terminal_id: key.terminal_id.clone(),
        };
        self.queues.fetch_add(1, Ordering::Relaxed);
        self.gaps.fetch_add(window.gap_count(), Ordering::Relaxed);
        if !shard.contains_key(&terminal) {
            self.enter(&key.store_id, usize::MAX);
        }
        shard.entry(terminal).or_default().push(Queue {
            id: key.queue,
            window: Some(window),
            in_flight: Vec::new(),
            contents: Contents::default(),
        });
    }

    /// Reserves a batch, or says why not.
    pub fn reserve(&self, batch: Numbered<'_>) -> Reserve {
        let mut shard = self.shard(batch.store_id, batch.terminal_id);
        let terminal = TerminalRef {
            store_id: batch.store_id,
            terminal_id: batch.terminal_id,
        };
        let in_flight = InFlight {
            seq: batch.seq,
            content: batch.content,
            under_way: UnderWay::default(),
        };
        if let Some(queues) = shard.get_mut(&terminal) {
            if let Some(queue) = queues.iter_mut().find(|queue| queue.id == batch.queue) {
                return self.reserve_in(queue, in_flight);
            }
            if queues.len() >= QUEUES_PER_TERMINAL_MAX {
                return Reserve::Refused(Reason::TooManyQueues);
            }
        }
        if self.queues.fetch_add(1, Ordering::Relaxed) >= self.settings.queues_max {
            self.queues.fetch_sub(1, Ordering::Relaxed);
            return Reserve::Full;
        }
        let queue = Queue {
            id: batch.queue,
            window: None,
            in_flight: vec![in_flight],
            contents: Contents::default(),
        };
        match shard.get_mut(&terminal) {
            Some(queues) => queues.push(queue),
            None if !self.enter(batch.store_id, self.settings.store_terminals_max) => {
                self.queues.fetch_sub(1, Ordering::Relaxed);
                return Reserve::StoreFull;
            }
            None => {
                let key = Terminal {
                    store_id: batch.store_id.into(),
                    terminal_id: batch.terminal_id.into(),
                };
                shard.insert(key, vec![queue]);
            }
        }
        Reserve::Fresh
    }

    fn reserve_in(&self, queue: &mut Queue, in_flight: InFlight) -> Reserve {
        let seq = in_flight.seq;
        if let Some(other) = queue.in_flight.iter_mut().find(|other| other.seq == seq) {
            return Reserve::InFlight(other.under_way.waiter());
        }
        if let Some(window) = &queue.window {
            match window.seen(seq) {
                Seen::Fresh => {}
                Seen::Duplicate if queue.contents.differ(seq, in_flight.content, window.high()) => {
                    return Reserve::Conflicting;
                }
                Seen::Duplicate => return Reserve::Duplicate,
                Seen::BeyondWindow => return Reserve::Refused(Reason::BeyondDedupWindow),
                Seen::Jump => return Reserve::Refused(Reason::SeqJump),
            }
            // A batch that comes into a gap takes nothing that was not given already.
            let leaves_gap = seq > window.high() && seq - window.high() > 1;
            if leaves_gap && self.gaps.load(Ordering::Relaxed) >= self.settings.gaps_max {
                return Reserve::Full;
            }
        }
        // Before its first batch is durable a queue has no highest number: one far from those under way
        // waits to be judged by it.
        let is_far = |other: &&mut InFlight| other.seq.abs_diff(seq) > DEPTH;
        if queue.window.is_none()
            && let Some(other) = queue.in_flight.iter_mut().find(is_far)
        {
            return Reserve::InFlight(other.under_way.waiter());
        }
        queue.in_flight.push(in_flight);
        Reserve::Fresh
    }

    /// Ends a reservation: the batch is durable, received at this time; or (`None`) it is not.
    /// Whoever waits for it is told to ask again.
    pub fn settle(&self, (key, seq): &(QueueKey, u64), durable_at_ms: Option<i64>) {
        let mut shard = self.shard(&key.store_id, &key.terminal_id);
        let terminal = TerminalRef {
            store_id: &key.store_id,
            terminal_id: &key.terminal_id,
        };
        let Some(queues) = shard.get_mut(&terminal) else {
            return;
        };
        let Some(at) = queues.iter().position(|queue| queue.id == key.queue) else {
            return;
        };
        let queue = &mut queues[at];
        // Dropping what is under way wakes those who wait.
        let at_in_flight = queue.in_flight.iter().position(|other| other.seq == *seq);
        let settled = at_in_flight.map(|at| queue.in_flight.swap_remove(at));
        if let Some(received_at_ms) = durable_at_ms {
            if let Some(window) = &mut queue.window {
                let before = window.gap_count();
                window.insert(*seq, received_at_ms);
                self.count_gaps(before, window.gap_count());
            } else {
                let window = SeqWindow::new(*seq, received_at_ms);
                self.count_gaps(0, window.gap_count());
                queue.window = Some(window);
            }
            if let (Some(settled), Some(window)) = (settled, &queue.window) {
                queue.contents.keep(*seq, settled.content, window.high());
            }
        } else if queue.window.is_none() && queue.in_flight.is_empty() {
            queues.swap_remove(at);
            self.queues.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets queues that have been silent for so long that all they could still send is too old.
    /// Locks one shard at a time.
    pub fn forget(&self, now_ms: i64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|terminal, queues| {
                queues.retain(|queue| {
                    let last_seen_ms = queue.window.as_ref().map(SeqWindow::last_seen_ms);
                    let is_kept = !queue.in_flight.is_empty()
                        || last_seen_ms.is_some_and(|seen| now_ms - seen <= FORGET_AFTER_MS);
                    if !is_kept {
                        self.queues.fetch_sub(1, Ordering::Relaxed);
                        let gaps = queue.window.as_ref().map_or(0, SeqWindow::gap_count);
                        self.count_gaps(gaps, 0);
                    }
                    is_kept
                });
                if queues.is_empty() {
                    self.leave(&terminal.store_id);
                }
                !queues.is_empty()
            });
        }
    }

    /// The clock was trusted at this time: later ones were noted when it was wrong. Locks one shard at a time.
    pub fn set_right(&self, at_ms: i64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for window in shard
                .values_mut()
                .flatten()
                .filter_map(|queue| queue.window.as_mut())
            {
                window.set_right(at_ms);
            }
        }
    }

    /// Queues remembered.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.load(Ordering::Relaxed)
    }

    /// Counts a new terminal of a store, unless it has `most`.
    fn enter(&self, store_id: &str, most: usize) -> bool {
        let mut terminals = self.terminals();
        let count = match terminals.get_mut(store_id) {
            Some(count) => count,
            None => terminals.entry(store_id.into()).or_default(),
        };
        let has_room = *count < most;
        *count += usize::from(has_room);
        has_room
    }

    fn leave(&self, store_id: &str) {
        let mut terminals = self.terminals();
        if let Some(count) = terminals.get_mut(store_id) {
            *count -= 1;
            if *count == 0 {
                terminals.remove(store_id);
            }
        }
    }

    fn terminals(&self) -> MutexGuard<'_, HashMap<Box<str>, usize, foldhash::fast::RandomState>> {
        self.terminals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the posts that wait for another one of the same batch.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let mut waiting = 0;
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let in_flight = shard.values().flatten().flat_map(|queue| &queue.in_flight);
            waiting += in_flight.map(|one| one.under_way.waiting()).sum::<usize>();
        }
        waiting
    }

    fn count_gaps(&self, before: usize, after: usize) {
        if after >= before {
            self.gaps.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.gaps.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn shard(&self, store_id: &str, terminal_id: &str) -> MutexGuard<'_, Shard> {
        let mut hasher = self.hasher.build_hasher();
        (store_id, terminal_id).hash(&mut hasher);
        let index = usize::try_from(std::hash::Hasher::finish(&hasher)).unwrap_or(0) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::intake::refusal::Refusal;

    fn identity(seq: u64) -> Numbered<'static> {
        Numbered {
            store_id: "s",
            terminal_id: "t",
            queue: [1; 16],
            seq,
            content: 0,
        }
    }

    #[tokio::test]
    async fn a_second_post_waits_and_takes_over_when_the_first_fails() {
        let dedup = Dedup::new(Settings::default());
        assert!(matches!(dedup.reserve(identity(1)), Reserve::Fresh));
        let wait = || match dedup.reserve(identity(1)) {
            Reserve::InFlight(waiter) => waiter,
            other => panic!("it is not durable yet: {other:?}"),
        };
        let (waiter, goes_away) = (wait(), wait());
        let too_late = wait().over(Instant::now()).await;
        assert!(matches!(too_late, Err(Refusal::Busy)));
        assert_eq!(
            dedup.waiting(),
            2,
            "who has given up is no longer waited for"
        );
        drop(goes_away);
        assert_eq!(dedup.waiting(), 1);
        dedup.settle(&identity(1).to_owned(), None);
        let an_hour = Instant::now() + Duration::from_secs(3_600);
        assert!(waiter.over(an_hour).await.is_ok());
        assert_eq!(dedup.queues(), 0, "a queue that never was is not kept");
        assert!(matches!(dedup.reserve(identity(1)), Reserve::Fresh));
        dedup.settle(&identity(1).to_owned(), Some(5));
        assert!(matches!(dedup.reserve(identity(1)), Reserve::Duplicate));
    }

    #[test]
    fn a_terminal_has_sixteen_queues_and_gets_them_back_when_they_fall_silent() {
        let dedup = Dedup::new(Settings::default());
        let queue = |number: u8| Numbered {
            queue: [number; 16],
            ..identity(1)
        };
        for number in 0..16 {
            assert!(matches!(dedup.reserve(queue(number)), Reserve::Fresh));
            dedup.settle(&queue(number).to_owned(), Some(1_000));
        }
        assert!(matches!(
            dedup.reserve(queue(16)),
            Reserve::Refused(Reason::TooManyQueues)
        ));
        dedup.forget(FORGET_AFTER_MS + 1_000);
        assert_eq!(dedup.queues(), 16);
        dedup.forget(FORGET_AFTER_MS + 1_001);
        assert!(matches!(dedup.reserve(queue(16)), Reserve::Fresh));
    }

    #[test]
    fn memory_for_queues_and_gaps_has_a_limit() {
        let dedup = Dedup::new(Settings {
            queues_max: 1,
            gaps_max: 2,
            ..Settings::default()
        });
        for seq in [0, 2] {
            assert!(matches!(dedup.reserve(identity(seq)), Reserve::Fresh));
            dedup.settle(&identity(seq).to_owned(), Some(0));
        }
        let other = Numbered {
            queue: [2; 16],
            ..identity(0)
        };
        assert!(matches!(dedup.reserve(other), Reserve::Full));
        assert!(matches!(dedup.reserve(identity(4)), Reserve::Fresh));
        dedup.settle(&identity(4).to_owned(), Some(0));
        assert!(
            matches!(dedup.reserve(identity(9)), Reserve::Full),
            "a third gap"
        );
        assert!(
            matches!(dedup.reserve(identity(5)), Reserve::Fresh),
            "in order costs nothing"
        );
        assert!(
            matches!(dedup.reserve(identity(3)), Reserve::Fresh),
            "and what fills a gap is never refused for gaps"
        );
    }

    #[test]
    fn a_store_has_so_many_terminals_and_the_others_keep_their_room() {
        let dedup = Dedup::new(Settings {
            store_terminals_max: 2,
            ..Settings::default()
        });
        let of = |store_id, terminal_id| Numbered {
            store_id,
            terminal_id,
            ..identity(1)
        };
        for terminal_id in ["a", "b"] {
            assert!(matches!(
                dedup.reserve(of("s", terminal_id)),
                Reserve::Fresh
            ));
        }
        assert!(matches!(dedup.reserve(of("s", "c")), Reserve::StoreFull));
        assert_eq!(dedup.queues(), 2);
        assert!(matches!(dedup.reserve(of("other", "c")), Reserve::Fresh));
        // Terminals that are known go on, also with another queue.
        let second = Numbered {
            queue: [2; 16],
            ..of("s", "a")
        };
        assert!(matches!(dedup.reserve(second), Reserve::Fresh));
        // A terminal of which nothing became durable, and one that fell silent, give their room back.
        dedup.settle(&of("s", "a").to_owned(), Some(1_000));
        dedup.settle(&second.to_owned(), None);
        dedup.settle(&of("s", "b").to_owned(), None);
        dedup.settle(&of("other", "c").to_owned(), None);
        dedup.forget(2_000);
        assert!(matches!(dedup.reserve(of("s", "c")), Reserve::Fresh));
        assert!(matches!(dedup.reserve(of("s", "d")), Reserve::StoreFull));
        dedup.settle(&of("s", "c").to_owned(), None);
        dedup.forget(FORGET_AFTER_MS + 1_001);
        assert_eq!(dedup.terminals().len(), 0);
    }

    #[test]
    fn another_content_of_a_number_is_noticed_among_the_last_thirty_two() {
        let dedup = Dedup::new(Settings::default());
        let holding = |seq: u64, content: u32| Numbered {
            content,
            ..identity(seq)
        };
        let take = |identity: Numbered<'_>| {
            let outcome = dedup.reserve(identity);
            if matches!(outcome, Reserve::Fresh) {
                dedup.settle(&identity.to_owned(), Some(0));
            }
            outcome
        };
        // A state file gives the numbers and not what they held.
        let key = identity(0).to_owned().0;
        dedup.restore(&key, SeqWindow::new(9, 0));
        assert!(matches!(take(holding(9, 5)), Reserve::Duplicate));
        let mark = |seq: u64| u32::try_from(seq).unwrap();
        for seq in 10..100 {
            assert!(matches!(take(holding(seq, mark(seq))), Reserve::Fresh));
        }
        for seq in 10..100 {
            assert!(matches!(take(holding(seq, mark(seq))), Reserve::Duplicate));
            let is_known = (68..100).contains(&seq);
            let other = take(holding(seq, 200));
            assert_eq!(matches!(other, Reserve::Conflicting), is_known, "{seq}");
            assert_eq!(matches!(other, Reserve::Duplicate), !is_known, "{seq}");
        }
        // A number that comes late takes no place of a later one.
        assert!(matches!(take(holding(164, 164)), Reserve::Fresh));
        assert!(matches!(take(holding(132, 132)), Reserve::Fresh));
        assert!(matches!(take(holding(164, 164)), Reserve::Duplicate));
        assert!(matches!(take(holding(164, 132)), Reserve::Conflicting));
    }
}
