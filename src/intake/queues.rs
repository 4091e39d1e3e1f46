//! The queues of one terminal: which numbers of each have been seen, and which are on their way.
//!
//! A terminal has sixteen queues. A seventeenth takes the place of the one that has been silent longest, of which
//! only the id is remembered then, as a *tombstone*: whatever still comes of it may have been counted before, and
//! is refused. The aggregate does the same in the order of the journal. The two may choose another queue when
//! batches are under way, and that does no harm: whoever has a tombstone refuses more than he would have to, and
//! nobody begins a queue anew that the other one remembers.

use tillwatch_model::sequence::{
    DEPTH, QUEUES_PER_TERMINAL_MAX, TOMBSTONES_PER_TERMINAL_MAX, longest_silent,
};
use tillwatch_model::{Reason, Seen, SeqWindow};

use crate::intake::contents::Contents;
use crate::intake::dedup::{FORGET_AFTER_MS, Reserve};
use crate::intake::shares::{Account, Shares, What};
use crate::intake::under_way::UnderWay;

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    id: [u8; 16],
    /// `None` until a batch of the queue is durable.
    window: Option<SeqWindow>,
    in_flight: Vec<InFlight>,
    contents: Contents,
    /// Where the queue's place and its gaps are counted.
    account: Account,
}

/// A batch on its way to the disk.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: u64,
    pub(super) content: u32,
    pub(super) under_way: UnderWay,
}

/// A queue of which nothing but the id is remembered.
#[derive(Debug)]
struct Tombstone {
    id: [u8; 16],
    since_ms: i64,
    account: Account,
}

/// The queues of one terminal.
#[derive(Debug, Default)]
pub(super) struct Queues {
    live: Vec<Queue>,
    tombstones: Vec<Tombstone>,
}

impl Queue {
    /// A queue that begins with a batch on its way.
    pub(super) fn begun(id: [u8; 16], first: InFlight, account: Account) -> Self {
        Self {
            id,
            window: None,
            in_flight: vec![first],
            contents: Contents::default(),
            account,
        }
    }

    /// Reserves a batch of the queue, or says why not.
    pub(super) fn reserve(
        &mut self,
        in_flight: InFlight,
        store_id: &str,
        shares: &Shares,
    ) -> Reserve {
        let seq = in_flight.seq;
        if let Some(other) = self.in_flight.iter_mut().find(|other| other.seq == seq) {
            return Reserve::InFlight(other.under_way.waiter());
        }
        if let Some(window) = &self.window {
            match window.seen(seq) {
                Seen::Fresh => {}
                Seen::Duplicate if self.contents.differ(seq, in_flight.content, window.high()) => {
                    return Reserve::Conflicting;
                }
                Seen::Duplicate => return Reserve::Duplicate,
                Seen::BeyondWindow => return Reserve::Refused(Reason::BeyondDedupWindow),
                Seen::Jump => return Reserve::Refused(Reason::SeqJump),
            }
            // A batch that comes into a gap is never refused for gaps.
            let leaves_gap = seq > window.high() && seq - window.high() > 1;
            if leaves_gap && !shares.admits(What::Gaps, self.account, store_id) {
                return Reserve::GapsFull;
            }
        }
        // Before its first batch is durable a queue has no highest number: one far from those under way
        // waits to be judged by it.
        let is_far = |other: &&mut InFlight| other.seq.abs_diff(seq) > DEPTH;
        if self.window.is_none()
            && let Some(other) = self.in_flight.iter_mut().find(is_far)
        {
            return Reserve::InFlight(other.under_way.waiter());
        }
        self.in_flight.push(in_flight);
        Reserve::Fresh
    }

    fn gap_count(&self) -> usize {
        self.window.as_ref().map_or(0, SeqWindow::gap_count)
    }

    /// Notes that a batch of the queue is durable.
    fn see(&mut self, seq: u64, received_at_ms: i64, shares: &Shares) {
        let before = self.gap_count();
        match &mut self.window {
            None => self.window = Some(SeqWindow::new(seq, received_at_ms)),
            Some(window) => {
                let comes_late = seq < window.high();
                window.insert(seq, received_at_ms);
                // It has made two gaps of one. Where the store has no room for another, the queue gives up
                // what has been missing longest.
                let has_split = comes_late && window.gap_count() > before;
                if has_split && !shares.has_room(What::Gaps, self.account) {
                    window.give_up_lowest(|_ended| {});
                }
            }
        }
        let after = self.gap_count();
        if after > before {
            shares.add(What::Gaps, self.account, after - before);
        } else if before > after {
            shares.give(What::Gaps, self.account, before - after);
        }
    }
}

impl Queues {
    /// The queue with this id, if more than its id is remembered.
    pub(super) fn find(&mut self, id: [u8; 16]) -> Option<&mut Queue> {
        self.live.iter_mut().find(|queue| queue.id == id)
    }

    /// Whether of the queue with this id nothing else is remembered.
    pub(super) fn has_tombstone(&self, id: [u8; 16]) -> bool {
        self.tombstones.iter().any(|tombstone| tombstone.id == id)
    }

    /// Whether the terminal has begun as many queues within nine days as one may.
    pub(super) fn is_full(&self) -> bool {
        let most = QUEUES_PER_TERMINAL_MAX + TOMBSTONES_PER_TERMINAL_MAX;
        self.live.len() + self.tombstones.len() >= most
    }

    /// Whether nothing of the terminal is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.tombstones.is_empty()
    }

    /// Adds a queue.
    pub(super) fn push(&mut self, queue: Queue) {
        self.live.push(queue);
    }

    /// Puts back what a state file or a replay gives.
    pub(super) fn restore(&mut self, id: [u8; 16], window: SeqWindow, account: Account) {
        if window.is_tombstone() {
            let since_ms = window.last_seen_ms();
            self.tombstones.push(Tombstone {
                id,
                since_ms,
                account,
            });
        } else {
            self.live.push(Queue {
                id,
                window: Some(window),
                in_flight: Vec::new(),
                contents: Contents::default(),
                account,
            });
        }
    }

    /// Ends a reservation: the batch is durable, received at this time; or (`None`) it is not.
    pub(super) fn settle(
        &mut self,
        (id, seq): ([u8; 16], u64),
        durable_at_ms: Option<i64>,
        shares: &Shares,
    ) {
        let Some(at) = self.live.iter().position(|queue| queue.id == id) else {
            return;
        };
        let queue = &mut self.live[at];
        // Dropping what is under way wakes those who wait.
        let at_in_flight = queue.in_flight.iter().position(|other| other.seq == seq);
        let settled = at_in_flight.map(|at| queue.in_flight.swap_remove(at));
        if let Some(received_at_ms) = durable_at_ms {
            queue.see(seq, received_at_ms, shares);
            if let (Some(settled), Some(window)) = (settled, &queue.window) {
                queue.contents.keep(seq, settled.content, window.high());
            }
            self.make_room(received_at_ms, shares);
        } else if queue.window.is_none() && queue.in_flight.is_empty() {
            let queue = self.live.swap_remove(at);
            shares.give(What::Queues, queue.account, 1);
        }
    }

    /// Leaves of the queues that have been silent longest only tombstones, until there are not too many.
    fn make_room(&mut self, now_ms: i64, shares: &Shares) {
        while self.live.len() > QUEUES_PER_TERMINAL_MAX {
            let windows = self.live.iter().map(|queue| {
                let window = queue.window.as_ref();
                let window = window.filter(|_| queue.in_flight.is_empty());
                Some((window?.last_seen_ms(), queue.id))
            });
            let Some(at) = longest_silent(windows) else {
                return;
            };
            let queue = self.live.swap_remove(at);
            shares.give(What::Gaps, queue.account, queue.gap_count());
            self.tombstones.push(Tombstone {
                id: queue.id,
                since_ms: now_ms,
                account: queue.account,
            });
        }
    }

    /// Forgets queues that have been silent for so long that all they could still send is too old.
    pub(super) fn forget(&mut self, now_ms: i64, shares: &Shares) {
        let is_young = |seen_ms: i64| now_ms.saturating_sub(seen_ms) <= FORGET_AFTER_MS;
        self.live.retain(|queue| {
            let last_seen_ms = queue.window.as_ref().map(SeqWindow::last_seen_ms);
            let is_kept = !queue.in_flight.is_empty() || last_seen_ms.is_some_and(is_young);
            if !is_kept {
                shares.give(What::Gaps, queue.account, queue.gap_count());
                shares.give(What::Queues, queue.account, 1);
            }
            is_kept
        });
        self.tombstones.retain(|tombstone| {
            let is_kept = is_young(tombstone.since_ms);
            if !is_kept {
                shares.give(What::Queues, tombstone.account, 1);
            }
            is_kept
        });
    }

    /// The clock was trusted at this time: later ones were noted when it was wrong.
    pub(super) fn set_right(&mut self, at_ms: i64) {
        for window in self
            .live
            .iter_mut()
            .filter_map(|queue| queue.window.as_mut())
        {
            window.set_right(at_ms);
        }
        for tombstone in &mut self.tombstones {
            tombstone.since_ms = tombstone.since_ms.min(at_ms);
        }
    }

    /// Counts the posts that wait for another one of the same batch.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let in_flight = self.live.iter().flat_map(|queue| &queue.in_flight);
        in_flight.map(|one| one.under_way.waiting()).sum()
    }
}
