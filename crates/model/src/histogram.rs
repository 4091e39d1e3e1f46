//! HdrHistogram's bucket layout for lowest value 1 and 3 significant digits, kept sparse.
//!
//! A dense histogram from 1 µs to 7 days takes 254 kB and a store's minute holds about a hundred
//! values, so open windows keep only the buckets that were hit: ascending (index, count) pairs, and a
//! short tail of indices not yet sorted in. The crate `hdrhistogram` is the oracle in the tests.
//!
//! Layout: <https://github.com/HdrHistogram/HdrHistogram_rust>, `sub_bucket_count` = 2,048.

use crate::Quantile;

/// log2 of half the sub-buckets: 1,024 buckets a power of two give an error below 0.1 %.
const MAGNITUDE: u32 = 10;
const HALF_COUNT: u64 = 1 << MAGNITUDE;

/// The greatest relative distance between a value and the value its bucket is read as.
pub const RELATIVE_ERROR: f64 = 0.001;

/// Unsorted indices are sorted in when there are this many, or as many as sorted ones.
const PENDING_MIN: usize = 32;

/// The bucket that holds `value`.
#[must_use]
pub fn bucket_index(value: u64) -> u32 {
    let shift = (63 - (value | (2 * HALF_COUNT - 1)).leading_zeros()) - MAGNITUDE;
    let index = (u64::from(shift) << MAGNITUDE) + (value >> shift);
    // At most 53 × 1,024 + 2,047.
    #[expect(clippy::cast_possible_truncation, reason = "below 56,320")]
    let index = index as u32;
    // Values below 2,048 have a shift of 0 by the mask above, and are their own index.
    index
}

/// The lowest value of a bucket.
#[must_use]
pub fn bucket_lowest(index: u32) -> u64 {
    let (base, shift) = base_and_shift(index);
    base << shift
}

/// The highest value of a bucket: what the bucket is read as.
#[must_use]
pub fn bucket_highest(index: u32) -> u64 {
    let (base, shift) = base_and_shift(index);
    (base << shift) + ((1 << shift) - 1)
}

fn base_and_shift(index: u32) -> (u64, u32) {
    let block = index >> MAGNITUDE;
    if block < 2 {
        (u64::from(index), 0)
    } else {
        let base = (u64::from(index) & (HALF_COUNT - 1)) + HALF_COUNT;
        // Indices past the layout of 64-bit values do not occur; they must not overflow either.
        (base, (block - 1).min(53))
    }
}

/// Ascending bucket indices with their counts.
#[derive(Debug, Clone, Default)]
pub struct SparseHistogram {
    indices: Vec<u32>,
    counts: Vec<u64>,
    /// Indices recorded since the last sort, each with a count of one.
    pending: Vec<u32>,
}

impl PartialEq for SparseHistogram {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_parts() == other.clone().into_parts()
    }
}

impl std::hash::Hash for SparseHistogram {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.clone().into_parts().hash(state);
    }
}

impl SparseHistogram {
    /// A histogram of ascending pairs.
    #[must_use]
    pub fn from_parts(indices: Vec<u32>, counts: Vec<u64>) -> Self {
        debug_assert!(indices.is_sorted() && indices.len() == counts.len());
        Self {
            indices,
            counts,
            pending: Vec::new(),
        }
    }

    /// Records one value.
    pub fn record(&mut self, value: u64) {
        self.record_bucket(bucket_index(value));
    }

    /// Records one value of a bucket.
    pub fn record_bucket(&mut self, index: u32) {
        self.pending.push(index);
        if self.pending.len() >= PENDING_MIN.max(self.indices.len()) {
            self.settle();
        }
    }

    /// Adds ascending pairs.
    pub fn merge(&mut self, indices: &[u32], counts: &[u64]) {
        self.settle();
        if self.indices.is_empty() {
            self.indices.extend_from_slice(indices);
            self.counts.extend_from_slice(counts);
            return;
        }
        let pairs = indices.iter().copied().zip(counts.iter().copied());
        self.merge_sorted(pairs, indices.len());
    }

    /// The ascending pairs.
    #[must_use]
    pub fn into_parts(mut self) -> (Vec<u32>, Vec<u64>) {
        self.settle();
        (self.indices, self.counts)
    }

    /// The ascending pairs, after sorting in what was recorded last.
    pub fn parts(&mut self) -> (&[u32], &[u64]) {
        self.settle();
        (&self.indices, &self.counts)
    }

    /// Buckets in use, at most: recorded values that share one are counted apart until sorted in.
    #[must_use]
    pub fn buckets_max(&self) -> usize {
        self.indices.len() + self.pending.len()
    }

    /// Buckets that are sorted in: each is there once.
    #[must_use]
    pub fn buckets_sorted(&self) -> usize {
        self.indices.len()
    }

    /// The pairs as they are kept: in no order, and a bucket perhaps more than once.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u64)> {
        let sorted = self
            .indices
            .iter()
            .copied()
            .zip(self.counts.iter().copied());
        sorted.chain(self.pending.iter().map(|index| (*index, 1)))
    }

    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_unstable();
        let length = pending.len();
        self.merge_sorted(pending.iter().map(|index| (*index, 1)), length);
        pending.clear();
        self.pending = pending;
    }

    fn merge_sorted(&mut self, other: impl Iterator<Item = (u32, u64)>, length: usize) {
        let mut indices = Vec::with_capacity(self.indices.len() + length);
        let mut counts: Vec<u64> = Vec::with_capacity(self.counts.len() + length);
        let mut add = |index: u32, count: u64| match (indices.last(), counts.last_mut()) {
            (Some(last), Some(sum)) if *last == index => *sum = sum.saturating_add(count),
            _ => {
                indices.push(index);
                counts.push(count);
            }
        };
        let mut mine = self
            .indices
            .iter()
            .copied()
            .zip(self.counts.iter().copied())
            .peekable();
        for (index, count) in other {
            while let Some((my_index, my_count)) = mine.next_if(|(mine, _)| *mine <= index) {
                add(my_index, my_count);
            }
            add(index, count);
        }
        for (index, count) in mine {
            add(index, count);
        }
        self.indices = indices;
        self.counts = counts;
    }
}

/// The values of `quantiles` over ascending pairs whose counts sum to `count`: the highest value of
/// the bucket that holds the ⌈q·n⌉-th value, not clamped. `None` for an empty histogram.
#[must_use]
pub fn values_at(indices: &[u32], counts: &[u64], quantiles: &[Quantile]) -> Option<Vec<u64>> {
    let total = counts
        .iter()
        .fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    let value = |quantile: &Quantile| {
        let rank = quantile.rank(total);
        let mut below = 0_u64;
        indices
            .iter()
            .zip(counts)
            .find(|(_, count)| {
                below = below.saturating_add(**count);
                below >= rank
            })
            .map_or(0, |(index, _)| bucket_highest(*index))
    };
    Some(quantiles.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::*;

    fn oracle() -> Histogram<u64> {
        Histogram::new_with_max(1 << 41, 3).unwrap()
    }

    #[test]
    fn the_documented_example_reads_back() {
        assert_eq!(
            (bucket_lowest(4_048), bucket_highest(4_048)),
            (8_000, 8_003)
        );
        assert_eq!(
            (bucket_lowest(4_609), bucket_highest(4_609)),
            (12_296, 12_303)
        );
        assert_eq!(bucket_index(8_001), 4_048);
        assert_eq!(
            (bucket_index(0), bucket_index(2_047), bucket_index(2_048)),
            (0, 2_047, 2_048)
        );
    }

    /// The terminal's library is checked against the same vectors.
    #[test]
    fn the_vectors_of_terminals_are_right() {
        let vectors = include_str!("../../../tests/fixtures/buckets.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() > 100);
        let theirs = Histogram::<u64>::new_with_max(1 << 53, 3).unwrap();
        for vector in vectors {
            let of = |name: &str| vector[name].as_u64().unwrap();
            let index = bucket_index(of("value"));
            assert_eq!(u64::from(index), of("index"));
            assert_eq!(bucket_lowest(index), of("lowest"));
            assert_eq!(bucket_highest(index), of("highest"));
            assert_eq!(theirs.lowest_equivalent(of("value")), of("lowest"));
            assert_eq!(theirs.highest_equivalent(of("value")), of("highest"));
        }
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..5_000, 0_u64..10_000_000, 0_u64..(1 << 40)]
    }

    proptest! {
        #[test]
        fn the_layout_is_the_crates(value in value()) {
            let theirs = oracle();
            let index = bucket_index(value);
            prop_assert_eq!(bucket_lowest(index), theirs.lowest_equivalent(value));
            prop_assert_eq!(bucket_highest(index), theirs.highest_equivalent(value));
            prop_assert_eq!(bucket_index(bucket_lowest(index)), index);
            prop_assert_eq!(bucket_index(bucket_highest(index)), index);
        }

        #[test]
        fn quantiles_are_the_crates_after_any_split_and_merge(
            values in prop::collection::vec(value(), 1..400),
            split in 0_usize..400,
        ) {
            let mut theirs = oracle();
            let (mut left, mut right) = (SparseHistogram::default(), SparseHistogram::default());
            for (position, value) in values.iter().enumerate() {
                theirs.record(*value).unwrap();
                if position < split { left.record(*value) } else { right.record(*value) }
            }
            let mut swapped = right.clone();
            let (indices, counts) = right.into_parts();
            left.merge(&indices, &counts);
            let mut fresh = left.clone();
            let (all, all_counts) = fresh.parts();
            let quantiles: Vec<Quantile> =
                ["0", "0.5", "0.75", "0.95", "0.99", "0.999", "1"].iter().map(|q| Quantile::parse(q).unwrap()).collect();
            let ours = values_at(all, all_counts, &quantiles).unwrap();
            for (quantile, ours) in quantiles.iter().zip(ours) {
                // By rank in the sorted values, so that no floating point decides.
                let mut sorted = values.clone();
                sorted.sort_unstable();
                let exact = sorted[usize::try_from(quantile.rank(values.len() as u64)).unwrap() - 1];
                prop_assert_eq!(ours, theirs.highest_equivalent(exact));
            }
            // Merging the other way round gives the same buckets.
            let mut first = SparseHistogram::default();
            for value in values.iter().take(split) { first.record(*value) }
            let (indices, counts) = first.into_parts();
            swapped.merge(&indices, &counts);
            prop_assert_eq!(left, swapped);
        }
    }
}
