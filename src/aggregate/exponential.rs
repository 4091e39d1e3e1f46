//! A histogram with exponential buckets, as Prometheus' native histograms have them.
//!
//! Source: the native histogram specification of Prometheus: at schema 3 the bucket `i` holds the
//! values in (2^((i − 1) / 8), 2^(i / 8)], so that a quantile is at most 4.5 % off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Eight buckets to each doubling.
pub const SCHEMA: i32 = 3;

/// Counts by bucket, and of zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExponentialHistogram {
    /// Values that are zero.
    pub zero: u64,
    /// Counts above zero by bucket. Values are integers of bounded size: some hundred at most.
    pub buckets: BTreeMap<i32, u64>,
}

impl ExponentialHistogram {
    /// Adds a value, not negative, so many times.
    pub fn add(&mut self, value: f64, count: u64) {
        if value <= 0.0 {
            self.zero += count;
            return;
        }
        let place = (value.log2() * f64::from(1 << SCHEMA)).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an exponent times eight fits"
        )]
        let index = place as i32;
        *self.buckets.entry(index).or_default() += count;
    }

    /// All values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.values().sum::<u64>()
    }

    /// Runs of buckets (distance from the run before, length), and each count as the difference from
    /// the one before: as the exposition format has them.
    #[must_use]
    pub fn spans_and_deltas(&self) -> (Vec<(i32, u32)>, Vec<i64>) {
        let (mut spans, mut deltas) = (Vec::<(i32, u32)>::new(), Vec::new());
        let (mut next, mut before) = (0, 0);
        for (index, count) in &self.buckets {
            match spans.last_mut() {
                Some((_, length)) if *index == next => *length += 1,
                _ => spans.push((index - next, 1)),
            }
            next = index + 1;
            deltas.push(count.cast_signed() - before);
            before = count.cast_signed();
        }
        (spans, deltas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_that_ends_at_or_above_it() {
        let mut histogram = ExponentialHistogram::default();
        for (value, index) in [(1.0, 0), (1.001, 1), (2.0, 8), (0.5, -8), (0.000_001, -159)] {
            histogram.add(value, 1);
            assert!(histogram.buckets.contains_key(&index), "{value}");
        }
        histogram.add(0.0, 3);
        assert_eq!((histogram.zero, histogram.count()), (3, 8));
    }

    #[test]
    fn spans_and_deltas_give_the_counts_back() {
        let mut histogram = ExponentialHistogram::default();
        for (index, count) in [(-20, 4), (-19, 9), (3, 1), (4, 0), (9, 7)] {
            histogram.buckets.insert(index, count);
        }
        let (spans, deltas) = histogram.spans_and_deltas();
        let (mut at, mut count, mut deltas) = (0, 0, deltas.into_iter());
        let mut read = BTreeMap::new();
        for (distance, length) in spans {
            at += distance;
            for _ in 0..length {
                count += deltas.next().unwrap();
                read.insert(at, count.cast_unsigned());
                at += 1;
            }
        }
        assert_eq!(read, histogram.buckets);
        assert_eq!(deltas.next(), None);
    }
}
