//! Keeps every acknowledged value exactly, by metric and store.
//!
//! Up to a bound the ledger keeps values one by one. Past the bound it counts them in HdrHistogram's
//! buckets, which are as exact as the percentiles of the collector.

use std::collections::BTreeMap;

use tillwatch_model::histogram::values_at;
use tillwatch_model::{Quantile, SparseHistogram};

use crate::batch::Batch;

/// Values kept one by one, all metrics together: 160 MB.
pub const EXACT_VALUES_MAX: u64 = 20_000_000;

/// What is kept of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Counts and sums; nothing will be compared.
    Sums,
    /// This many values one by one, buckets past them.
    Values(u64),
}

/// The values of one metric in one group of stores.
#[derive(Debug, Default)]
struct Values {
    count: u64,
    sum: u128,
    exact: Vec<u64>,
    buckets: SparseHistogram,
}

/// What was acknowledged.
#[derive(Debug)]
pub struct Ledger {
    /// The values of each metric in each group.
    metrics: Vec<Vec<Values>>,
    /// For each metric, the samples of which nobody knows whether they were counted.
    unsure: Vec<u64>,
    keep: Keep,
    exact_left: u64,
    /// Samples by group and hour, then by metric.
    hours: BTreeMap<(usize, i64), Vec<u64>>,
    /// The samples of each metric in each group that were no history.
    live: Vec<Vec<u64>>,
}

/// What percentiles should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many samples there are.
    pub count: u64,
    /// The sum of the samples, in the recording unit.
    pub sum: u128,
    /// The quantiles asked for, in the recording unit; none without samples.
    pub values: Option<Vec<u64>>,
}

impl Ledger {
    /// An empty ledger of so many metrics, with every store by itself or all in one group.
    pub fn new(metrics: usize, groups: usize, keep: Keep) -> Self {
        let exact_left = match keep {
            Keep::Sums => 0,
            Keep::Values(count) => count,
        };
        let groups = groups.max(1);
        Self {
            metrics: (0..metrics)
                .map(|_| (0..groups).map(|_| Values::default()).collect())
                .collect(),
            unsure: vec![0; metrics],
            hours: BTreeMap::new(),
            live: vec![vec![0; groups]; metrics],
            keep,
            exact_left,
        }
    }

    /// Every sample of this batch counts, once.
    pub fn acknowledge(&mut self, store: usize, batch: &Batch) {
        self.count_hour(store, batch);
        for reading in &batch.readings {
            let Some(groups) = self.metrics.get_mut(reading.metric()) else {
                continue;
            };
            let group = store % groups.len();
            let Some(values) = groups.get_mut(group) else {
                continue;
            };
            let recorded = reading.recorded();
            values.count += 1;
            values.sum += u128::from(recorded);
            if self.exact_left > 0 {
                self.exact_left -= 1;
                values.exact.push(recorded);
            } else if self.keep != Keep::Sums {
                values.buckets.record(recorded);
            }
        }
    }

    /// Hours are few: what is accepted lies within eight days.
    fn count_hour(&mut self, store: usize, batch: &Batch) {
        let groups = self.metrics.first().map_or(1, Vec::len);
        let metrics = self.metrics.len();
        let group = store % groups;
        let mut hour = (self.keep != Keep::Sums).then(|| {
            let hour = self.hours.entry((group, batch.hour_ms));
            hour.or_insert_with(|| vec![0; metrics])
        });
        for reading in &batch.readings {
            let metric = reading.metric();
            if let Some(count) = hour.as_mut().and_then(|counts| counts.get_mut(metric)) {
                *count += 1;
            }
            if batch.is_live
                && let Some(count) = self.live.get_mut(metric).and_then(|of| of.get_mut(group))
            {
                *count += 1;
            }
        }
    }

    /// Samples of a metric in a group by hour, as far as there are some.
    pub fn hours(&self, metric: usize, group: usize) -> BTreeMap<i64, u64> {
        let ours = self.hours.range((group, i64::MIN)..=(group, i64::MAX));
        let counts =
            ours.map(|((_, hour_ms), counts)| (*hour_ms, counts.get(metric).copied().unwrap_or(0)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Samples of a metric in a group that were no history.
    pub fn live(&self, metric: usize, group: usize) -> u64 {
        let groups = self.live.get(metric);
        groups.and_then(|of| of.get(group)).copied().unwrap_or(0)
    }

    /// Some of this batch's samples may count, once.
    pub fn doubt(&mut self, batch: &Batch) {
        for reading in &batch.readings {
            if let Some(unsure) = self.unsure.get_mut(reading.metric()) {
                *unsure += 1;
            }
        }
    }

    /// Samples of a metric of which nobody knows whether they were counted.
    pub fn unsure(&self, metric: usize) -> u64 {
        self.unsure.get(metric).copied().unwrap_or(0)
    }

    /// Samples of a metric that must be there.
    pub fn count(&self, metric: usize) -> u64 {
        let groups = self.metrics.get(metric);
        groups.map_or(0, |groups| groups.iter().map(|values| values.count).sum())
    }

    /// Whether values past the bound were counted in buckets.
    pub fn is_bucketed(&self) -> bool {
        self.exact_left == 0 && self.keep != Keep::Sums
    }

    /// What the quantiles of a metric should be, over these groups.
    pub fn summary(
        &self,
        metric: usize,
        is_in: impl Fn(usize) -> bool,
        quantiles: &[Quantile],
    ) -> Summary {
        let groups: Vec<&Values> = self
            .metrics
            .get(metric)
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(position, _)| is_in(*position))
            .map(|(_, values)| values)
            .collect();
        Summary {
            count: groups.iter().map(|values| values.count).sum(),
            sum: groups.iter().map(|values| values.sum).sum(),
            values: quantile_values(&groups, quantiles),
        }
    }
}

fn quantile_values(groups: &[&Values], quantiles: &[Quantile]) -> Option<Vec<u64>> {
    let mut exact: Vec<u64> = groups
        .iter()
        .flat_map(|values| &values.exact)
        .copied()
        .collect();
    exact.sort_unstable();
    let mut buckets = SparseHistogram::default();
    for values in groups {
        let (indices, counts) = values.buckets.clone().into_parts();
        buckets.merge(&indices, &counts);
    }
    if !buckets.parts().0.is_empty() {
        for value in exact {
            buckets.record(value);
        }
        let (indices, counts) = buckets.parts();
        return values_at(indices, counts, quantiles);
    }
    let rank = |quantile: &Quantile| {
        let rank = quantile.rank(exact.len() as u64);
        exact
            .get(usize::try_from(rank).ok()?.checked_sub(1)?)
            .copied()
    };
    quantiles.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use tillwatch_model::Connection;
    use tillwatch_model::Unit;

    use super::*;
    use crate::batch::{Builder, Moment, Sample};

    fn batch(values: &[(usize, u64)]) -> Batch {
        let mut builder = Builder::new(b"\"seq\":", 1, "", 0);
        let at = Moment {
            t_ms: 0,
            connection: Connection::Online,
        };
        for (metric, value) in values {
            builder.sample(&Sample {
                position: *metric,
                unit: Unit::Count,
                name: "m",
                label: "",
                at,
                recorded: *value,
            });
        }
        builder.finish()
    }

    fn quantiles() -> Vec<Quantile> {
        ["0.5", "0.99", "1"]
            .iter()
            .map(|text| Quantile::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn quantiles_are_the_ranked_values() {
        let mut ledger = Ledger::new(2, 3, Keep::Values(1_000_000));
        for value in 1..=100_000_u64 {
            // Scattered over the stores, in no order.
            let scattered = value * 7_919 % 100_000 + 1;
            ledger.acknowledge(
                usize::try_from(value % 3).unwrap(),
                &batch(&[(1, scattered)]),
            );
        }
        let summary = ledger.summary(1, |_| true, &quantiles());
        assert_eq!(summary.count, 100_000);
        assert_eq!(summary.sum, 5_000_050_000);
        assert_eq!(summary.values, Some(vec![50_000, 99_000, 100_000]));
        let one = ledger.summary(1, |group| group == 2, &quantiles());
        assert_eq!(one.count, 33_333);
        assert_eq!(ledger.summary(0, |_| true, &quantiles()).values, None);
    }

    #[test]
    fn past_the_bound_quantiles_are_the_buckets() {
        let mut ledger = Ledger::new(1, 1, Keep::Values(10));
        for value in 1..=10_000_u64 {
            ledger.acknowledge(0, &batch(&[(0, value * 1_000)]));
        }
        assert!(ledger.is_bucketed());
        let summary = ledger.summary(0, |_| true, &quantiles());
        let highest = |value| {
            tillwatch_model::histogram::bucket_highest(tillwatch_model::histogram::bucket_index(
                value,
            ))
        };
        assert_eq!(summary.count, 10_000);
        assert_eq!(
            summary.values,
            Some(vec![
                highest(5_000_000),
                highest(9_900_000),
                highest(10_000_000)
            ])
        );
    }

    #[test]
    fn doubt_is_kept_apart() {
        let mut ledger = Ledger::new(2, 1, Keep::Sums);
        ledger.acknowledge(0, &batch(&[(0, 5), (1, 7)]));
        ledger.doubt(&batch(&[(0, 5)]));
        assert_eq!((ledger.count(0), ledger.unsure(0)), (1, 1));
        assert_eq!((ledger.count(1), ledger.unsure(1)), (1, 0));
        assert!(!ledger.is_bucketed());
    }
}
