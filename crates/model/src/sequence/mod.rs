//! Which sequence numbers of a queue have been seen: the highest, and the missing ranges below it.
//!
//! The structure follows the sliding window of RFC 6479, with ranges in place of bits. A queue that sends in
//! order costs no memory beyond its highest number, and each missing range knows since when it is missing. Where
//! memory for ranges is short, the lowest can be given up: what is missing there is lost, and refused if it comes.
//!
//! | file | what |
//! |---|---|
//! | `gap.rs` | numbers that are missing, and what becomes of them |
//! | `explained.rs` | numbers that a terminal says will never come |
//! | `saved.rs` | the window as the state file keeps it |

mod explained;
mod gap;
mod saved;

use crate::time::{DAY_MS, put_right};

use gap::{Gap, UNCOUNTED};

pub use gap::{Ended, How};

/// How far below the highest number a missing one may still come: 11 days at a batch a minute.
pub const DEPTH: u64 = 16_384;
/// A number this far above the highest is a mistake, not a gap.
pub const JUMP_MAX: u64 = 1_000_000;
/// After this, a missing batch would hold nothing but samples that are too old.
pub const LOST_AFTER_MS: i64 = 9 * DAY_MS;

/// Queues of one terminal whose numbers are known. The longest silent one makes room for another.
pub const QUEUES_PER_TERMINAL_MAX: usize = 16;
/// Queues of one terminal of which nothing but the id is known: those that have made room within nine days.
pub const TOMBSTONES_PER_TERMINAL_MAX: usize = 1_024;

/// Which of a terminal's queues has been silent longest, by when each was last seen; `None` in place of one that
/// cannot make room. Of several it is the one with the least id, wherever they stand.
pub fn longest_silent(queues: impl Iterator<Item = Option<(i64, [u8; 16])>>) -> Option<usize> {
    let seen = queues.enumerate();
    let seen = seen.filter_map(|(at, queue)| queue.map(|queue| (queue, at)));
    seen.min().map(|(_, at)| at)
}

/// What is known of a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The number was not seen before.
    Fresh,
    /// Seen before.
    Duplicate,
    /// Too far below the highest to know.
    BeyondWindow,
    /// Too far above the highest to believe.
    Jump,
}

/// Where a sequence number stands among those that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// It has come.
    Seen,
    /// It is missed, and may still come.
    Missing {
        /// The nearest number below it that has come, if one is known.
        before: Option<u64>,
        /// The nearest number above it that has come.
        after: u64,
    },
    /// It has not come, and is not missed: it was counted as lost, or lies before the first that came.
    NeverCounted {
        /// The nearest number below it that has come, if one is known.
        before: Option<u64>,
        /// The nearest number above it that has come.
        after: u64,
    },
    /// It is higher than all that have come.
    Ahead,
    /// It is too low to know.
    Beyond,
}

/// The numbers seen in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeqWindow {
    high: u64,
    /// Ascending, apart, all between `high − DEPTH` and `high`.
    gaps: Vec<Gap>,
    last_seen_ms: i64,
    lost: u64,
    /// Numbers in the gaps that count: kept, because scrapes ask for it.
    missing: u64,
    /// Of numbers below this one nothing is known any more: their ranges were given up. 0 if none was.
    floor: u64,
}

impl SeqWindow {
    /// A queue whose first number to arrive is `seq`. What lies below it was perhaps counted elsewhere
    /// or before the queue was forgotten: it may come, and is not missed.
    #[must_use]
    pub fn new(seq: u64, now_ms: i64) -> Self {
        let gap = seq.checked_sub(1).map(|to| Gap {
            from: seq.saturating_sub(DEPTH),
            to,
            since_ms: UNCOUNTED,
        });
        Self {
            high: seq,
            gaps: gap.into_iter().collect(),
            last_seen_ms: now_ms,
            lost: 0,
            missing: 0,
            floor: 0,
        }
    }

    /// What is known of `seq`.
    #[must_use]
    pub fn seen(&self, seq: u64) -> Seen {
        if seq > self.high {
            return if seq - self.high > JUMP_MAX {
                Seen::Jump
            } else {
                Seen::Fresh
            };
        }
        if self.high - seq > DEPTH || seq < self.floor {
            return Seen::BeyondWindow;
        }
        match self.gap_at(seq) {
            Some(_) => Seen::Fresh,
            None => Seen::Duplicate,
        }
    }

    /// Where `seq` stands among those that have come.
    #[must_use]
    pub fn around(&self, seq: u64) -> Around {
        match self.seen(seq) {
            Seen::Duplicate => Around::Seen,
            Seen::BeyondWindow => Around::Beyond,
            Seen::Jump => Around::Ahead,
            Seen::Fresh => {
                let gap = self.gap_at(seq).and_then(|index| self.gaps.get(index));
                let Some(gap) = gap else {
                    return Around::Ahead;
                };
                // What lies below the window is not known to have come.
                let before = gap.from.checked_sub(1);
                let before = before.filter(|before| self.seen(*before) == Seen::Duplicate);
                let after = gap.to.saturating_add(1);
                if !gap.is_counted() {
                    Around::NeverCounted { before, after }
                } else {
                    Around::Missing { before, after }
                }
            }
        }
    }

    /// Marks a fresh `seq` as seen.
    pub fn insert(&mut self, seq: u64, now_ms: i64) {
        self.insert_noting(seq, now_ms, |_ended| {});
    }

    /// Marks a fresh `seq` as seen, and tells `note` what has become of numbers that were missing.
    pub fn insert_noting(&mut self, seq: u64, now_ms: i64, mut note: impl FnMut(Ended)) {
        // The last time wins, not the latest of all: the clock may have been set back.
        self.last_seen_ms = now_ms;
        if seq > self.high {
            if seq - self.high > 1 {
                self.gaps.push(Gap {
                    from: self.high + 1,
                    to: seq - 1,
                    since_ms: now_ms,
                });
                self.missing += seq - 1 - self.high;
            }
            self.high = seq;
            self.trim(note);
        } else if let Some(index) = self.gap_at(seq) {
            let gap = self.gaps.remove(index);
            if gap.is_counted() {
                self.missing -= 1;
                let one = Gap {
                    from: seq,
                    to: seq,
                    ..gap
                };
                note(one.ended(How::Came));
            }
            if gap.to > seq {
                self.gaps.insert(
                    index,
                    Gap {
                        from: seq + 1,
                        ..gap
                    },
                );
            }
            if gap.from < seq {
                self.gaps.insert(index, Gap { to: seq - 1, ..gap });
            }
        }
    }

    /// Gives up the lowest missing range: what is missing in it is lost, and of all numbers up to its end nothing
    /// is known any more.
    pub fn give_up_lowest(&mut self, mut note: impl FnMut(Ended)) {
        if self.gaps.is_empty() {
            return;
        }
        let gap = self.gaps.remove(0);
        if gap.is_counted() {
            self.lost += gap.length();
            self.missing -= gap.length();
            note(gap.ended(How::GivenUp));
        }
        self.floor = gap.to.saturating_add(1);
    }

    /// Counts as lost what has been missing for too long.
    pub fn age(&mut self, now_ms: i64, mut note: impl FnMut(Ended)) {
        for gap in &mut self.gaps {
            if gap.is_counted() && now_ms.saturating_sub(gap.since_ms) > LOST_AFTER_MS {
                self.lost += gap.length();
                self.missing -= gap.length();
                note(gap.ended(How::TooOld));
                gap.since_ms = UNCOUNTED;
            }
        }
    }

    /// The clock was trusted at this time: what is noted of later times was noted when it was wrong. Whether
    /// there was any.
    pub fn set_right(&mut self, at_ms: i64) -> bool {
        let mut is_wrong = put_right(&mut self.last_seen_ms, at_ms);
        for gap in &mut self.gaps {
            is_wrong |= gap.is_counted() && put_right(&mut gap.since_ms, at_ms);
        }
        is_wrong
    }

    /// Batches that are missing and may still come.
    #[must_use]
    pub fn open_gaps(&self) -> u64 {
        self.missing
    }

    /// Batches that will not come any more.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The highest number seen.
    #[must_use]
    pub fn high(&self) -> u64 {
        self.high
    }

    /// When a batch of this queue last came, Unix ms.
    #[must_use]
    pub fn last_seen_ms(&self) -> i64 {
        self.last_seen_ms
    }

    /// How many missing ranges are held, which bounds the memory of the window.
    #[must_use]
    pub fn gap_count(&self) -> usize {
        self.gaps.len()
    }

    fn gap_at(&self, seq: u64) -> Option<usize> {
        let index = self.gaps.partition_point(|gap| gap.to < seq);
        self.gaps
            .get(index)
            .is_some_and(|gap| gap.from <= seq)
            .then_some(index)
    }

    /// Gives up what has fallen below the window.
    fn trim(&mut self, mut note: impl FnMut(Ended)) {
        let floor = self.high.saturating_sub(DEPTH);
        let fallen = self.gaps.partition_point(|gap| gap.to < floor);
        for gap in self.gaps.drain(..fallen) {
            if gap.is_counted() {
                self.lost += gap.length();
                self.missing -= gap.length();
                note(gap.ended(How::TooFarBehind));
            }
        }
        if let Some(gap) = self.gaps.first_mut()
            && gap.from < floor
        {
            if gap.is_counted() {
                self.lost += floor - gap.from;
                self.missing -= floor - gap.from;
                let fallen = Gap {
                    to: floor - 1,
                    ..*gap
                };
                note(fallen.ended(How::TooFarBehind));
            }
            gap.from = floor;
        }
        if self.floor <= floor {
            // The depth says the same.
            self.floor = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(first in 0_u64..40_000, steps in prop::collection::vec((-20_000_i64..20_000, 0_u8..40), 1..300)) {
            let mut window = SeqWindow::new(first, 0);
            let (mut set, mut high, mut floor) = (HashSet::from([first]), first, 0);
            for (step, dice) in steps {
                if dice == 0 {
                    // The lowest number that may still come, and those behind it that are missing with it.
                    let lowest = high.saturating_sub(DEPTH).max(floor);
                    if let Some(from) = (lowest..high).find(|seq| !set.contains(seq)) {
                        floor = (from..=high).find(|seq| set.contains(seq)).unwrap();
                    }
                    window.give_up_lowest(|_ended| {});
                }
                let seq = high.saturating_add_signed(step);
                let expected = if seq > high { Seen::Fresh }
                    else if high - seq > DEPTH || seq < floor { Seen::BeyondWindow }
                    else if set.contains(&seq) { Seen::Duplicate }
                    else { Seen::Fresh };
                prop_assert_eq!(window.seen(seq), expected);
                if expected == Seen::Fresh {
                    window.insert(seq, 1);
                    set.insert(seq);
                    high = high.max(seq);
                }
                prop_assert_eq!(SeqWindow::from_bytes(&window.to_bytes()), Some(window.clone()));
            }
            // Every number above the first is seen, missing, or lost.
            let seen = set.iter().filter(|seq| **seq > first).count() as u64;
            prop_assert_eq!(seen + window.open_gaps() + window.lost(), high - first);
        }
    }

    #[test]
    fn any_order_within_the_depth_is_taken_once() {
        let mut order: Vec<u64> = (0..=DEPTH).collect();
        fastrand::Rng::with_seed(7).shuffle(&mut order);
        let mut window = SeqWindow::new(order[0], 0);
        for seq in &order[1..] {
            assert_eq!(window.seen(*seq), Seen::Fresh);
            window.insert(*seq, 0);
            assert_eq!(window.seen(*seq), Seen::Duplicate);
        }
        assert_eq!((window.open_gaps(), window.gap_count()), (0, 0));
    }

    #[test]
    fn a_range_that_is_given_up_is_lost_and_earlier_releases_call_its_numbers_seen() {
        let mut window = SeqWindow::new(10, 0);
        for seq in [13, 15] {
            window.insert(seq, 1_000);
        }
        assert_eq!((window.gap_count(), window.open_gaps()), (3, 3));
        // What lies before the first number was not missed.
        window.give_up_lowest(|_ended| {});
        assert_eq!((window.open_gaps(), window.lost()), (3, 0));
        window.give_up_lowest(|_ended| {});
        assert_eq!(
            (window.gap_count(), window.open_gaps(), window.lost()),
            (1, 1, 2)
        );
        assert_eq!(
            [11, 12].map(|seq| window.seen(seq)),
            [Seen::BeyondWindow; 2]
        );
        assert_eq!(
            [13, 14].map(|seq| window.seen(seq)),
            [Seen::Duplicate, Seen::Fresh]
        );
        // Releases before this one keep the ranges that do not end before they begin.
        let bytes = window.to_bytes();
        let (words, _) = bytes.as_chunks::<8>();
        let ranges = words[3..].chunks(3);
        let ranges = ranges.map(|range| [range[0], range[1]].map(u64::from_le_bytes));
        let kept: Vec<_> = ranges.filter(|[from, to]| from <= to).collect();
        assert_eq!(kept, [[14, 14]]);
    }

    #[test]
    fn a_tombstone_refuses_what_comes_in_every_release() {
        let window = SeqWindow::tombstone(7);
        let again = SeqWindow::from_bytes(&window.to_bytes()).unwrap();
        assert!(again.is_tombstone() && !SeqWindow::new(u64::MAX, 7).is_tombstone());
        assert_eq!(again.last_seen_ms(), 7);
        // What every release does with it.
        for seq in [0, 1, 1 << 40] {
            assert_eq!(again.seen(seq), Seen::BeyondWindow);
        }
        assert_eq!((again.open_gaps(), again.lost()), (0, 0));
    }

    #[test]
    fn a_jump_is_refused_and_moves_nothing() {
        let window = SeqWindow::new(5, 0);
        assert_eq!(window.seen(5 + JUMP_MAX), Seen::Fresh);
        assert_eq!(window.seen(6 + JUMP_MAX), Seen::Jump);
        assert_eq!(window.seen(u64::MAX), Seen::Jump);
    }

    #[test]
    fn what_is_missing_for_nine_days_is_lost_and_may_still_come() {
        let mut window = SeqWindow::new(10, 0);
        window.insert(13, 1_000);
        assert_eq!((window.open_gaps(), window.lost()), (2, 0));
        window.age(LOST_AFTER_MS + 1_001, |_ended| {});
        assert_eq!((window.open_gaps(), window.lost()), (0, 2));
        assert_eq!(window.seen(11), Seen::Fresh);
    }
}
