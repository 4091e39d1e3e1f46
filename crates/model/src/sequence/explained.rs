//! Numbers that a terminal says will never come, because it had to drop their batches.

use super::gap::{Ended, Gap, How, UNCOUNTED};
use super::{DEPTH, SeqWindow};

impl SeqWindow {
    /// The terminal says that numbers will never come: of those that have not come none is missing any more. If one
    /// comes all the same, it is taken. Says how many it were, numbers above the highest among them.
    pub fn explain(&mut self, (from, to): (u64, u64), now_ms: i64, note: impl FnMut(Ended)) -> u64 {
        if from > to || to.saturating_sub(self.high) > DEPTH {
            return 0;
        }
        let mut explained = 0;
        if to > self.high {
            let first = from.max(self.high + 1);
            if first > self.high + 1 {
                // They are on their way, as a rule.
                self.gaps.push(Gap {
                    from: self.high + 1,
                    to: first - 1,
                    since_ms: now_ms,
                });
                self.missing += first - 1 - self.high;
            }
            self.gaps.push(Gap {
                from: first,
                to,
                since_ms: UNCOUNTED,
            });
            explained += to - first + 1;
            self.high = to;
            self.trim(note);
        }
        let mut gaps = Vec::with_capacity(self.gaps.len() + 2);
        for gap in self.gaps.drain(..) {
            let (first, last) = (gap.from.max(from), gap.to.min(to));
            if !gap.is_counted() || first > last {
                gaps.push(gap);
                continue;
            }
            explained += last - first + 1;
            self.missing -= last - first + 1;
            let parts = [
                (gap.from, first.checked_sub(1), gap.since_ms),
                (first, Some(last), UNCOUNTED),
                (last + 1, Some(gap.to), gap.since_ms),
            ];
            for (from, to, since_ms) in parts {
                if let Some(to) = to.filter(|to| from <= *to) {
                    gaps.push(Gap { from, to, since_ms });
                }
            }
        }
        self.gaps = gaps;
        explained
    }

    /// What becomes of all that is missing, if it ends in this way.
    pub fn all_ended(&self, how: How) -> impl Iterator<Item = Ended> {
        let counted = self.gaps.iter().filter(|gap| gap.is_counted());
        counted.map(move |gap| gap.ended(how))
    }

    /// What is missing and may still come: the first and the last of each range, and since when, Unix ms.
    pub fn missing_ranges(&self) -> impl Iterator<Item = (u64, u64, i64)> {
        let counted = self.gaps.iter().filter(|gap| gap.is_counted());
        counted.map(|gap| (gap.from, gap.to, gap.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sequence::{LOST_AFTER_MS, Seen};

    #[test]
    fn what_is_explained_is_missing_no_more_and_may_still_come() {
        let mut window = SeqWindow::new(10, 0);
        window.insert(20, 1_000);
        assert_eq!(window.open_gaps(), 9);
        let none = |ended| panic!("{ended:?}");
        assert_eq!(window.explain((13, 15), 2_000, none), 3);
        assert_eq!(window.explain((13, 15), 2_000, none), 0);
        // What has come is not explained.
        assert_eq!(window.explain((19, 20), 2_000, none), 1);
        let ranges: Vec<_> = window.missing_ranges().collect();
        assert_eq!(ranges, [(11, 12, 1_000), (16, 18, 1_000)]);
        assert_eq!((window.open_gaps(), window.lost()), (5, 0));
        assert_eq!(window.seen(14), Seen::Fresh);
        window.insert_noting(14, 3_000, none);
        assert_eq!((window.open_gaps(), window.seen(14)), (5, Seen::Duplicate));
        // Numbers that were dropped before a later one has come; those below are on their way.
        assert_eq!(window.explain((23, 24), 4_000, none), 2);
        let last = window.missing_ranges().last();
        assert_eq!((last, window.high()), (Some((21, 22, 4_000)), 24));
        window.insert_noting(25, 5_000, none);
        assert_eq!(window.open_gaps(), 7);
        // What is too far above is a mistake.
        assert_eq!(window.explain((1 << 40, 1 << 41), 6_000, none), 0);
        assert_eq!(SeqWindow::from_bytes(&window.to_bytes()), Some(window));
    }

    proptest! {
        /// Whatever comes, is dropped or is given up: each number has one of these ends, and is told of once.
        #[test]
        fn every_number_that_was_missing_has_one_end(steps in prop::collection::vec((0_u8..8, 0_u64..60, 0_u64..10), 1..120)) {
            let (mut window, mut now_ms) = (SeqWindow::new(100, 0), 0);
            let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
            let (mut came, mut lost, mut explained) = (1, 0, 0);
            for (what, back, length) in steps {
                now_ms += 1_000;
                let mut note = |ended: Ended| (ended.from..=ended.to).for_each(|seq| *ends.entry(seq).or_default() += 1);
                match what {
                    0 => window.give_up_lowest(&mut note),
                    1 => {
                        let from = (window.high() + 5).saturating_sub(back);
                        explained += window.explain((from, from + length), now_ms, &mut note);
                    }
                    2 if back == 0 => {
                        now_ms += LOST_AFTER_MS + 1;
                        window.age(now_ms, &mut note);
                    }
                    _ => {
                        let seq = window.high() + 1 + length - back.min(window.high());
                        if seq > 100 && window.seen(seq) == Seen::Fresh {
                            let is_counted = window.missing_ranges().any(|(from, to, _)| (from..=to).contains(&seq));
                            came += u64::from(seq > window.high() || is_counted);
                            window.insert_noting(seq, now_ms, &mut note);
                        }
                    }
                }
                lost = window.lost();
            }
            prop_assert!(ends.values().all(|times| *times == 1), "{:?}", ends);
            prop_assert_eq!(came + window.open_gaps() + lost + explained, window.high() - 100 + 1);
            let ranges = window.missing_ranges().map(|(from, to, _)| to - from + 1);
            prop_assert_eq!(ranges.sum::<u64>(), window.open_gaps());
        }
    }
}
