//! Which batches have been taken in: what makes a resend count once.
//!
//! A batch is *reserved* while it is on its way to the disk and *seen* once it is durable. A second
//! post of a reserved batch waits for the first, so that it is never answered before the batch is on
//! disk; when the first fails, the mark is undone and the second takes its place.

use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{Equivalent, HashMap};
use tillwatch_model::sequence::LOST_AFTER_MS;
use tillwatch_model::time::HOUR_MS;
use tillwatch_model::{QueueKey, Reason, SeqWindow};

use crate::intake::identity::Numbered;
use crate::intake::queues::{InFlight, Queue, Queues};
use crate::intake::shares::{Shares, What};
use crate::intake::under_way::{UnderWay, Waiter};

/// A lock for each of these; two threads rarely want the same one. So many that a look at all queues of a shard, which
/// keeps others from it, takes a fraction of a millisecond at 400,000 queues.
const SHARDS: usize = 1_024;
/// A queue is remembered an hour longer here than by the aggregate, so that nothing counts here as
/// fresh that counts there as seen.
pub(super) const FORGET_AFTER_MS: i64 = LOST_AFTER_MS + HOUR_MS;

/// Bounds of the memory for sequence numbers, beside those that all stores share.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Terminals of one store; past it a batch of a new terminal is answered 503. Unit: terminals.
    pub store_terminals_max: usize,
}

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            store_terminals_max: 10_000,
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
    /// The batch begins a queue, and its store has as many as it may have now.
    QueuesFull,
    /// The batch begins a queue, and its terminal has begun as many within nine days as one may.
    TerminalQueuesFull,
    /// The batch leaves a gap, and its store has as many as it may have now.
    GapsFull,
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

type Shard = HashMap<Terminal, Queues, foldhash::fast::RandomState>;

/// The sequence numbers of every queue.
#[derive(Debug)]
pub struct Dedup {
    settings: Settings,
    hasher: foldhash::fast::RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Terminals by store; only asked when one comes or goes.
    terminals: Mutex<HashMap<Box<str>, usize, foldhash::fast::RandomState>>,
    /// Who holds how many queues and gaps.
    shares: Arc<Shares>,
}

impl Dedup {
    /// Makes a memory in which nothing has been seen yet.
    #[must_use]
    pub fn new(settings: Settings, shares: Arc<Shares>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            hasher: foldhash::fast::RandomState::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            terminals: Mutex::default(),
            shares,
        })
    }

    /// Puts back a window that a state file or a replay gives.
    pub fn restore(&self, key: &QueueKey, window: SeqWindow) {
        let mut shard = self.shard(&key.store_id, &key.terminal_id);
        let terminal = Terminal {
            store_id: key.store_id.clone(),
            terminal_id: key.terminal_id.clone(),
        };
        let account = self.shares.restore(What::Queues, &key.store_id, 1);
        self.shares.add(What::Gaps, account, window.gap_count());
        if !shard.contains_key(&terminal) {
            self.enter(&key.store_id, usize::MAX);
        }
        let queues = shard.entry(terminal).or_default();
        queues.restore(key.queue, window, account);
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
            if let Some(queue) = queues.find(batch.queue) {
                return queue.reserve(in_flight, batch.store_id, &self.shares);
            }
            if queues.has_tombstone(batch.queue) {
                return Reserve::Refused(Reason::BeyondDedupWindow);
            }
            if queues.is_full() {
                return Reserve::TerminalQueuesFull;
            }
        }
        let Some(account) = self.shares.take(What::Queues, batch.store_id) else {
            return Reserve::QueuesFull;
        };
        let queue = Queue::begun(batch.queue, in_flight, account);
        match shard.get_mut(&terminal) {
            Some(queues) => queues.push(queue),
            None if !self.enter(batch.store_id, self.settings.store_terminals_max) => {
                self.shares.give(What::Queues, account, 1);
                return Reserve::StoreFull;
            }
            None => {
                let key = Terminal {
                    store_id: batch.store_id.into(),
                    terminal_id: batch.terminal_id.into(),
                };
                shard.entry(key).or_default().push(queue);
            }
        }
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
        if let Some(queues) = shard.get_mut(&terminal) {
            queues.settle((key.queue, *seq), durable_at_ms, &self.shares);
        }
    }

    /// Forgets queues that have been silent for so long that all they could still send is too old.
    /// Locks one shard at a time. Takes long all the same: not for a thread that serves requests.
    pub fn forget(&self, now_ms: i64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|terminal, queues| {
                queues.forget(now_ms, &self.shares);
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
            for queues in shard.values_mut() {
                queues.set_right(at_ms);
            }
        }
    }

    /// Queues remembered, tombstones among them.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.shares.held(What::Queues)
    }

    /// Who holds how many of them.
    #[must_use]
    pub fn shares(&self) -> &Shares {
        &self.shares
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

    /// How many terminals of a store have queues.
    #[must_use]
    pub fn terminals_of(&self, store_id: &str) -> usize {
        self.terminals().get(store_id).copied().unwrap_or(0)
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
            waiting += shard.values().map(Queues::waiting).sum::<usize>();
        }
        waiting
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

    use tillwatch_model::sequence::{QUEUES_PER_TERMINAL_MAX, TOMBSTONES_PER_TERMINAL_MAX};
    use tokio::time::Instant;

    use super::*;
    use crate::intake::refusal::Refusal;
    use crate::intake::shares;

    fn dedup() -> Arc<Dedup> {
        let shares = Shares::new(&shares::Settings::default());
        Dedup::new(Settings::default(), shares)
    }

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
        let dedup = dedup();
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

    /// A batch of a terminal's queue with this number.
    fn of_queue(number: u16, seq: u64) -> Numbered<'static> {
        let mut queue = [0; 16];
        queue[..2].copy_from_slice(&number.to_be_bytes());
        Numbered {
            queue,
            ..identity(seq)
        }
    }

    /// Posts a batch that becomes durable at a time, if it is fresh.
    fn post(dedup: &Dedup, batch: Numbered<'_>, at_ms: i64) -> Reserve {
        let outcome = dedup.reserve(batch);
        if matches!(outcome, Reserve::Fresh) {
            dedup.settle(&batch.to_owned(), Some(at_ms));
        }
        outcome
    }

    const BEYOND: Reason = Reason::BeyondDedupWindow;

    #[test]
    fn the_longest_silent_queue_makes_room_and_what_still_comes_of_it_is_refused_for_nine_days() {
        let dedup = dedup();
        for number in 0..16 {
            assert!(matches!(
                post(&dedup, of_queue(number, 1), 1_000 + i64::from(number)),
                Reserve::Fresh
            ));
        }
        // The first goes on: the second has been silent longest.
        assert!(matches!(
            post(&dedup, of_queue(0, 2), 2_000),
            Reserve::Fresh
        ));
        assert!(matches!(
            post(&dedup, of_queue(16, 1), 3_000),
            Reserve::Fresh
        ));
        for seq in [1, 2, 900] {
            assert!(
                matches!(dedup.reserve(of_queue(1, seq)), Reserve::Refused(BEYOND)),
                "{seq}"
            );
        }
        assert!(matches!(dedup.reserve(of_queue(0, 2)), Reserve::Duplicate));
        assert!(matches!(dedup.reserve(of_queue(16, 1)), Reserve::Duplicate));
        // It is remembered from when it made room, and for as long as the others.
        dedup.forget(FORGET_AFTER_MS + 3_000);
        assert_eq!(dedup.queues(), 2);
        assert!(matches!(
            dedup.reserve(of_queue(1, 2)),
            Reserve::Refused(BEYOND)
        ));
        dedup.forget(FORGET_AFTER_MS + 3_001);
        assert_eq!(dedup.queues(), 0);
        assert!(matches!(dedup.reserve(of_queue(1, 2)), Reserve::Fresh));
    }

    #[test]
    fn a_queue_whose_batches_are_under_way_makes_no_room() {
        let dedup = dedup();
        for number in 0..16 {
            post(&dedup, of_queue(number, 1), i64::from(number));
        }
        assert!(matches!(dedup.reserve(of_queue(0, 2)), Reserve::Fresh));
        post(&dedup, of_queue(16, 1), 100);
        assert!(matches!(
            dedup.reserve(of_queue(1, 1)),
            Reserve::Refused(BEYOND)
        ));
        dedup.settle(&of_queue(0, 2).to_owned(), Some(101));
        assert!(matches!(dedup.reserve(of_queue(0, 2)), Reserve::Duplicate));
    }

    #[test]
    fn a_terminal_that_begins_too_many_queues_is_told_to_wait() {
        let dedup = dedup();
        let most = u16::try_from(QUEUES_PER_TERMINAL_MAX + TOMBSTONES_PER_TERMINAL_MAX).unwrap();
        for number in 0..most {
            assert!(
                matches!(
                    post(&dedup, of_queue(number, 1), i64::from(number)),
                    Reserve::Fresh
                ),
                "{number}"
            );
        }
        assert!(matches!(
            dedup.reserve(of_queue(most, 1)),
            Reserve::TerminalQueuesFull
        ));
        let other = Numbered {
            terminal_id: "other",
            ..of_queue(most, 1)
        };
        assert!(matches!(dedup.reserve(other), Reserve::Fresh));
        assert!(matches!(
            post(&dedup, of_queue(most - 1, 2), 5_000),
            Reserve::Fresh
        ));
        assert!(matches!(
            dedup.reserve(of_queue(0, 1)),
            Reserve::Refused(BEYOND)
        ));
    }

    #[test]
    fn what_a_restart_brings_back_is_a_tombstone_as_well() {
        let dedup = dedup();
        let (key, _) = of_queue(1, 0).to_owned();
        dedup.restore(&key, SeqWindow::tombstone(5));
        assert!(matches!(
            dedup.reserve(of_queue(1, 7)),
            Reserve::Refused(BEYOND)
        ));
        assert_eq!(dedup.queues(), 1);
        dedup.forget(FORGET_AFTER_MS + 6);
        assert_eq!(dedup.queues(), 0);
    }

    #[test]
    fn one_store_cannot_use_up_queues_and_gaps() {
        let shares = Shares::new(&shares::Settings {
            queues_max: 16,
            gaps_max: 8,
            stores_max: 1,
            ..shares::Settings::default()
        });
        let dedup = Dedup::new(Settings::default(), shares);
        let of = |store_id, number: u16, seq| Numbered {
            store_id,
            ..of_queue(number, seq)
        };
        let mut taken = 0;
        while matches!(post(&dedup, of("greedy", taken, 0), 0), Reserve::Fresh) {
            taken += 1;
        }
        assert_eq!(taken, 4);
        assert!(matches!(
            dedup.reserve(of("greedy", taken, 0)),
            Reserve::QueuesFull
        ));
        assert!(matches!(
            post(&dedup, of("honest", 0, 0), 0),
            Reserve::Fresh
        ));
        // Two gaps are guaranteed to each; of the common four a store gets half.
        for seq in [2, 4] {
            assert!(
                matches!(post(&dedup, of("greedy", 0, seq), 0), Reserve::Fresh),
                "{seq}"
            );
        }
        assert!(matches!(
            dedup.reserve(of("greedy", 0, 6)),
            Reserve::GapsFull
        ));
        assert!(
            matches!(dedup.reserve(of("greedy", 1, 6)), Reserve::GapsFull),
            "in another queue as well"
        );
        assert!(
            matches!(post(&dedup, of("greedy", 0, 5), 0), Reserve::Fresh),
            "in order costs nothing"
        );
        assert!(matches!(
            post(&dedup, of("honest", 0, 2), 0),
            Reserve::Fresh
        ));
        assert!(
            matches!(post(&dedup, of("greedy", 0, 1), 0), Reserve::Fresh),
            "what fills a gap is never refused"
        );
        assert!(
            matches!(post(&dedup, of("greedy", 0, 7), 0), Reserve::Fresh),
            "and gives room back"
        );
    }

    #[test]
    fn a_batch_inside_a_gap_is_taken_where_there_is_no_room_and_the_queue_gives_up_its_lowest() {
        let shares = Shares::new(&shares::Settings {
            gaps_max: 8,
            stores_max: 1,
            ..shares::Settings::default()
        });
        let dedup = Dedup::new(Settings::default(), shares);
        post(&dedup, identity(1_000), 0);
        for seq in (101..=999).step_by(2) {
            assert!(
                matches!(post(&dedup, identity(seq), 0), Reserve::Fresh),
                "{seq}"
            );
            assert!(dedup.shares().held(What::Gaps) <= 4);
        }
        // The last ranges are still known, the first ones are not, and nothing counts twice.
        assert!(matches!(dedup.reserve(identity(998)), Reserve::Fresh));
        assert!(matches!(dedup.reserve(identity(999)), Reserve::Duplicate));
        assert!(matches!(
            dedup.reserve(identity(101)),
            Reserve::Refused(BEYOND)
        ));
    }

    #[test]
    fn a_store_has_so_many_terminals_and_the_others_keep_their_room() {
        let dedup = Dedup::new(
            Settings {
                store_terminals_max: 2,
            },
            Shares::new(&shares::Settings::default()),
        );
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
        let dedup = dedup();
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
