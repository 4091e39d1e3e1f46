//! What a verdict is judged on: plain data, gathered by whoever can ask for it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use tillwatch_model::histogram::bucket_highest;
use tillwatch_model::{Quantile, SparseHistogram};
use xxhash_rust::xxh3::Xxh3;

use super::groups::Group;
use super::looks::Look;
use super::silence::Counted;

/// All that is known of one release at one look.
#[derive(Debug, Clone, Default, Hash)]
pub struct Evidence {
    /// The release that is judged.
    pub release: String,
    /// What it is held against; `None`: nobody ran anything else in the week before.
    pub against: Option<String>,
    /// The step that was reached. Unit: percent of the stores.
    pub step_percent: u32,
    /// The latest planned look; `None`: the first hour has not passed.
    pub look: Option<Look>,
    /// The stores, in any order.
    pub stores: Vec<Store>,
    /// Terminals that fell silent.
    pub silence: Counted,
    /// How many of the step's terminals have the release.
    pub adoption: Option<Adoption>,
    /// Whether the hours of the look have arrived.
    pub arrival: Arrival,
    /// Incidents on the release since it was first seen, by the name of their counter.
    pub incidents: BTreeMap<String, u64>,
}

/// One store.
#[derive(Debug, Clone, Default, Hash)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// What it is in the comparison.
    pub group: Group,
    /// How many samples it sent, of whatever metric.
    pub volume: Option<Volume>,
    /// Its values, by metric.
    pub values: BTreeMap<String, Values>,
    /// Its shares, by their name in the plan.
    pub shares: BTreeMap<String, Shares>,
}

/// The values of one metric in one store. In a candidate `now` are those of the release.
#[derive(Debug, Clone, Default, Hash)]
pub struct Values {
    /// The hours of the step.
    pub now: SparseHistogram,
    /// The same hours of the day in the week before, all releases together.
    pub before: SparseHistogram,
    /// The p95 of each day of that week, in the recording unit, where there were enough values.
    pub days: Vec<Option<u64>>,
    /// In a mixed store: what its other terminals measured in the hours of the step.
    pub others: SparseHistogram,
}

/// The same of counts.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Shares {
    /// The hours of the step.
    pub now: Count,
    /// The week before.
    pub before: Count,
    /// The other terminals of a mixed store.
    pub others: Count,
}

/// Bad ones of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// Failures, misses, errors.
    pub bad: u64,
    /// Attempts.
    pub all: u64,
}

/// Samples of a store, with the hours in which they were taken.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Volume {
    /// Samples in the hours of the step.
    pub now: u64,
    /// How many hours these are.
    pub hours_now: u32,
    /// Samples in the same hours of the day in the week before.
    pub before: u64,
    /// How many hours these are.
    pub hours_before: u32,
}

/// Terminals of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Adoption {
    /// Those that reported the release.
    pub adopted: u64,
    /// Those of the step's stores.
    pub expected: u64,
}

/// Who has delivered the hours of a look.
#[derive(Debug, Clone, Default, Hash)]
pub struct Arrival {
    /// Terminals of the candidates.
    pub expected: u64,
    /// Of these, those that have posted since the look's end.
    pub posted: u64,
    /// Those that have not, or that miss batches, by name.
    pub awaited: Vec<String>,
    /// Whether batches of the look's hours are known to be missing.
    pub misses_batches: bool,
}

impl Evidence {
    /// A hash of all that the verdict is made of: two of the same release, step and look that differ were judged on
    /// different data.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl Arrival {
    /// Whether enough has arrived to pass: 95 % of the candidates' terminals have posted since the look's end, and no
    /// batch is known to be missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.misses_batches && u128::from(self.posted) * 20 >= u128::from(self.expected) * 19
    }
}

impl Count {
    /// The share of bad ones.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.all > 0).then(|| self.bad as f64 / self.all as f64)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bad: self.bad.saturating_add(other.bad),
            all: self.all.saturating_add(other.all),
        }
    }
}

/// The quantile by which metrics are compared.
const PERCENT: u64 = 95;

/// The rank of the p95 among so many values.
fn rank(count: u64) -> u64 {
    let rank = (u128::from(count) * u128::from(PERCENT)).div_ceil(100);
    u64::try_from(rank).unwrap_or(u64::MAX).max(1)
}

/// How many values a histogram holds.
#[must_use]
pub fn count_of(histogram: &SparseHistogram) -> u64 {
    let counts = histogram.pairs().map(|(_, count)| count);
    counts.fold(0, u64::saturating_add)
}

/// The p95 of a histogram in the recording unit: the highest value of the bucket of rank ⌈0.95 n⌉. `None` of none.
#[must_use]
pub fn p95_of(histogram: &SparseHistogram) -> Option<u64> {
    let count = count_of(histogram);
    if count == 0 {
        return None;
    }
    if !histogram.pairs().is_sorted_by_key(|(index, _)| index) {
        let (indices, counts) = histogram.clone().into_parts();
        let quantile = Quantile::parse("0.95")?;
        let values = tillwatch_model::histogram::values_at(&indices, &counts, &[quantile])?;
        return values.first().copied();
    }
    let (rank, mut below) = (rank(count), 0_u64);
    histogram.pairs().find_map(|(index, count)| {
        below = below.saturating_add(count);
        (below >= rank).then(|| bucket_highest(index))
    })
}

/// The histogram of all of these together.
#[must_use]
pub fn merged<'a>(histograms: impl IntoIterator<Item = &'a SparseHistogram>) -> SparseHistogram {
    let mut counts: Vec<u64> = Vec::new();
    for (index, count) in histograms.into_iter().flat_map(SparseHistogram::pairs) {
        let index = index as usize;
        if counts.len() <= index {
            counts.resize(index + 1, 0);
        }
        if let Some(sum) = counts.get_mut(index) {
            *sum = sum.saturating_add(count);
        }
    }
    let pairs = (0_u32..).zip(counts).filter(|(_, count)| *count > 0);
    let (indices, counts) = pairs.unzip();
    SparseHistogram::from_parts(indices, counts)
}
