//! Numbers that a terminal says will never come, because it had to drop their batches.

use super::SeqWindow;
use super::gap::{Ended, Gap, How, UNCOUNTED};

impl SeqWindow {
    /// The terminal says that numbers will never come: of those that have not come none is missing any more. If one
    /// comes all the same, it is taken. Says how many it were. Of numbers above the highest nothing is known yet, and
    /// what one terminal says must not move the window.
    pub fn explain(&mut self, from: u64, to: u64) -> u64 {
        let first = self.gaps.partition_point(|gap| gap.to < from);
        let last = self.gaps.partition_point(|gap| gap.from <= to);
        if from > to || first >= last {
            return 0;
        }
        let (mut explained, mut parts) = (0, Vec::with_capacity(last - first + 2));
        for gap in self.gaps.get(first..last).unwrap_or_default() {
            let within = (gap.from.max(from), gap.to.min(to));
            if !gap.is_counted() {
                parts.push(*gap);
                continue;
            }
            explained += within.1 - within.0 + 1;
            let pieces = [
                (gap.from, within.0.checked_sub(1), gap.since_ms),
                (within.0, Some(within.1), UNCOUNTED),
                (within.1.saturating_add(1), Some(gap.to), gap.since_ms),
            ];
            for (from, to, since_ms) in pieces {
                if let Some(to) = to.filter(|to| from <= *to) {
                    parts.push(Gap { from, to, since_ms });
                }
            }
        }
        self.missing -= explained;
        // A neighbour that is not missed either is one range with it: drops, one by one, take no memory each.
        let first = first.saturating_sub(1);
        let last = (last + 1).min(self.gaps.len());
        let before = self.gaps.get(first).filter(|gap| gap.to < parts[0].from);
        let after = self
            .gaps
            .get(last - 1)
            .filter(|gap| gap.from > parts[parts.len() - 1].to);
        let mut merged: Vec<Gap> = Vec::with_capacity(parts.len() + 2);
        for gap in before.into_iter().chain(&parts).chain(after) {
            match merged.last_mut() {
                Some(known)
                    if !known.is_counted() && !gap.is_counted() && known.to + 1 == gap.from =>
                {
                    known.to = gap.to;
                }
                _ => merged.push(*gap),
            }
        }
        self.gaps.splice(first..last, merged);
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
        assert_eq!(window.explain(13, 15), 3);
        assert_eq!(window.explain(13, 15), 0);
        // What has come is not explained.
        assert_eq!(window.explain(19, 20), 1);
        let ranges: Vec<_> = window.missing_ranges().collect();
        assert_eq!(ranges, [(11, 12, 1_000), (16, 18, 1_000)]);
        assert_eq!((window.open_gaps(), window.lost()), (5, 0));
        assert_eq!(window.seen(14), Seen::Fresh);
        window.insert_noting(14, 3_000, |ended| panic!("{ended:?}"));
        assert_eq!((window.open_gaps(), window.seen(14)), (5, Seen::Duplicate));
        // Numbers that nobody has heard of move nothing.
        assert_eq!(window.explain(21, 1 << 41), 0);
        assert_eq!(window.explain(u64::MAX, u64::MAX), 0);
        assert_eq!((window.high(), window.open_gaps()), (20, 5));
        assert_eq!(SeqWindow::from_bytes(&window.to_bytes()), Some(window));
    }

    #[test]
    fn drops_one_by_one_are_one_range() {
        let mut window = SeqWindow::new(0, 0);
        window.insert(10_001, 1_000);
        let mut order: Vec<u64> = (1..=10_000).collect();
        fastrand::Rng::with_seed(3).shuffle(&mut order);
        for seq in order {
            assert_eq!(window.explain(seq, seq), 1);
        }
        assert_eq!((window.gap_count(), window.open_gaps()), (1, 0));
        assert_eq!(window.seen(5_000), Seen::Fresh);
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
                        let from = (window.high() + 5).saturating_sub(back * if now_ms % 3 == 0 { 400 } else { 1 });
                        explained += window.explain(from, from + length);
                    }
                    2 if back == 0 => {
                        now_ms += LOST_AFTER_MS + 1;
                        window.age(now_ms, &mut note);
                    }
                    _ => {
                        // Sometimes so far that the lowest fall out of the window.
                        let leap = if back == 59 { 9_000 } else { 0 };
                        let seq = window.high() + 1 + length + leap - back.min(window.high());
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
