//! Mixed stores: some terminals of a store have the release, and the others of the same store are what they are held
//! against. One terminal has too few values for a p95 of its own, so those of all stores are merged, the others weighted
//! as the candidates are, and the jackknife over stores says how far chance alone moves the result.

use tillwatch_model::SparseHistogram;
use tillwatch_model::histogram::bucket_highest;

use super::evidence::Count;
use super::probability::student_quantile;
use super::ranks::{Levels, Shift};

/// Fewer mixed stores than this say nothing.
pub const STORES_MIN: usize = 8;

/// The merged p95 is compared at this quantile.
const QUANTILE: f64 = 0.95;

/// The logarithm of the factor between the candidates' merged p95 and that of the other terminals of the same stores.
/// Stores in which either side is empty do not count.
#[must_use]
pub fn shift_of_values(
    stores: &[(&SparseHistogram, &SparseHistogram)],
    levels: Levels,
) -> Option<Shift> {
    let pairs: Vec<(Dense, Dense)> = stores
        .iter()
        .filter_map(|(candidate, others)| {
            let (candidate, others) = (Dense::of(candidate), Dense::of(others));
            let weight = candidate.total / others.total;
            (candidate.total > 0.0 && others.total > 0.0)
                .then(|| (candidate, others.weighted(weight)))
        })
        .collect();
    let all = |side: fn(&(Dense, Dense)) -> &Dense| {
        let mut sum = Dense::default();
        for pair in &pairs {
            sum.add(side(pair), 1.0);
        }
        sum
    };
    let (mut candidates, mut others) = (all(|pair| &pair.0), all(|pair| &pair.1));
    let full = candidates.ln_p95()? - others.ln_p95()?;
    let mut without = Vec::with_capacity(pairs.len());
    for (candidate, other) in &pairs {
        candidates.add(candidate, -1.0);
        others.add(other, -1.0);
        let left = candidates.ln_p95().zip(others.ln_p95());
        without.extend(left.map(|(candidate, other)| candidate - other));
        candidates.add(candidate, 1.0);
        others.add(other, 1.0);
    }
    jackknife(full, &without, levels)
}

/// The difference between the candidates' share of bad ones and that of the other terminals of the same stores.
#[must_use]
pub fn shift_of_counts(stores: &[(Count, Count)], levels: Levels) -> Option<Shift> {
    let pairs: Vec<(f64, f64, f64)> = stores
        .iter()
        .filter_map(|(candidate, others)| {
            let attempts = candidate.all as f64;
            Some((attempts, candidate.rate()?, others.rate()?))
        })
        .collect();
    let (mut attempts, mut excess) = (0.0, 0.0);
    for (all, here, there) in &pairs {
        attempts += all;
        excess += all * (here - there);
    }
    if attempts <= 0.0 {
        return None;
    }
    let without: Vec<f64> = pairs
        .iter()
        .filter(|(all, ..)| attempts - all > 0.0)
        .map(|(all, here, there)| (excess - all * (here - there)) / (attempts - all))
        .collect();
    jackknife(excess / attempts, &without, levels)
}

fn jackknife(full: f64, without: &[f64], levels: Levels) -> Option<Shift> {
    let n = without.len();
    if n < 2 {
        return None;
    }
    let mean = without.iter().sum::<f64>() / n as f64;
    let squares: f64 = without.iter().map(|one| (one - mean) * (one - mean)).sum();
    let error = ((n - 1) as f64 / n as f64 * squares).sqrt();
    Some(Shift {
        estimate: full,
        low: Some(full - student_quantile(levels.fail, n - 1) * error),
        high: Some(full + student_quantile(levels.pass, n - 1) * error),
    })
}

/// Counts by bucket, which may be parts of one.
#[derive(Default)]
struct Dense {
    counts: Vec<f64>,
    total: f64,
}

impl Dense {
    fn of(histogram: &SparseHistogram) -> Self {
        let mut dense = Self::default();
        for (index, count) in histogram.pairs() {
            dense.put(index as usize, count as f64);
        }
        dense
    }

    fn put(&mut self, index: usize, count: f64) {
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0.0);
        }
        if let Some(sum) = self.counts.get_mut(index) {
            *sum += count;
        }
        self.total += count;
    }

    fn weighted(mut self, weight: f64) -> Self {
        self.counts.iter_mut().for_each(|count| *count *= weight);
        self.total *= weight;
        self
    }

    fn add(&mut self, other: &Self, factor: f64) {
        for (index, count) in other.counts.iter().enumerate() {
            if *count > 0.0 {
                self.put(index, factor * count);
            }
        }
    }

    /// The logarithm of the p95. A hair is left for what adding and taking away has rounded.
    fn ln_p95(&self) -> Option<f64> {
        const HAIR: f64 = 1e-9;
        if self.total < 0.5 {
            return None;
        }
        let goal = QUANTILE * self.total * (1.0 - HAIR);
        let mut below = 0.0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below >= goal
        })?;
        Some((bucket_highest(u32::try_from(at).ok()?).max(1) as f64).ln())
    }
}
