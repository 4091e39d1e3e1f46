//! Reads percentiles back and compares them with the ledger.
//!
//! Before the run, the comparison asks what the run's stores already hold, so that it can tell an earlier
//! run from a sample counted twice. After the run, it asks until everything acknowledged is there, and once
//! more a little later, because a doubled sample may come late.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tillwatch_model::time::{HOUR_MS, millis, window_start_ms};
use tillwatch_model::{Kind, Metric, Quantile};

use crate::Options;
use crate::fleet::store_ids;
use crate::ledger::{Ledger, Summary};
use crate::query::{AHEAD_MS, Found, Point, QUANTILES, Query, QueryError};
use crate::world::World;

/// How often is asked whether everything is there.
const POLL: Duration = Duration::from_millis(500);

/// How long to wait for what should not come, once everything is there.
const SETTLE: Duration = Duration::from_secs(2);

/// Percentiles may be off by this: HdrHistogram with three significant digits.
pub const ERROR_MAX: f64 = 0.001;

/// Sums are integers at rest and floats on the way.
const SUM_ERROR_MAX: f64 = 1e-9;

/// One metric, compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// The metric.
    pub metric: &'static str,
    /// The metric's unit on the wire.
    pub unit: &'static str,
    /// Samples acknowledged.
    pub sent: u64,
    /// Samples of which nobody knows whether they were taken.
    pub unsure: u64,
    /// Samples of this run that the collector holds.
    pub found: u64,
    /// Samples acknowledged and not found.
    pub lost: u64,
    /// Samples found that nobody sent, or sent once.
    pub doubled: u64,
    /// Whether the sums agree.
    pub is_sum_equal: bool,
    /// The true quantiles, wire unit; empty for a counter.
    pub exact: Vec<f64>,
    /// The collector's; empty when they were not compared.
    pub stored: Vec<f64>,
    /// The worst relative error of any quantile, of the fleet or of a store.
    pub worst_relative_error: Option<f64>,
}

/// The whole comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// The beginning of the range asked for, Unix ms.
    pub from_ms: i64,
    /// The end of the range asked for, exclusive, Unix ms.
    pub to_ms: i64,
    /// Every metric of the catalogue.
    pub rows: Vec<Row>,
    /// Samples acknowledged.
    pub sent: u64,
    /// Samples found.
    pub found: u64,
    /// Samples lost.
    pub lost: u64,
    /// Samples doubled.
    pub doubled: u64,
    /// The worst relative error of all.
    pub worst_relative_error: Option<f64>,
    /// How many stores were also compared one by one.
    pub stores_compared: usize,
    /// What was not compared, and why.
    pub notes: Vec<String>,
}

/// Compares a collector with a ledger.
#[derive(Debug)]
pub struct Comparer {
    query: Query,
    stores: Vec<String>,
    wait: Duration,
    /// What was there before the run, by metric.
    before: Vec<Found>,
}

impl Comparer {
    /// Asks what is there before the run.
    ///
    /// # Errors
    /// When the query API does not answer as it should.
    pub async fn start(
        url: &str,
        options: &Options,
        world: &World,
        started_ms: i64,
    ) -> Result<Self, QueryError> {
        let from_ms = range_start_ms(options, started_ms);
        let mut comparer = Self {
            query: Query::new(url, options, from_ms)?,
            stores: store_ids(options),
            wait: options.compare_wait,
            before: Vec::new(),
        };
        for measured in world.mix.measured() {
            let found = comparer.query.ask(&measured.metric, started_ms).await?;
            comparer.before.push(found);
        }
        Ok(comparer)
    }

    /// Into how many groups the ledger must sort its stores.
    pub fn groups(&self) -> usize {
        if self.query.is_grouped() {
            self.stores.len()
        } else {
            1
        }
    }

    /// Waits until everything is there, and compares.
    ///
    /// # Errors
    /// When the query API does not answer as it should.
    pub async fn finish(
        mut self,
        world: &World,
        ledger: &Ledger,
        ended_ms: i64,
    ) -> Result<Comparison, QueryError> {
        let deadline = tokio::time::Instant::now() + self.wait;
        for (position, measured) in world.mix.measured().iter().enumerate() {
            loop {
                let found = self.query.ask(&measured.metric, ended_ms).await?;
                let wanted = self.ours_before(position, &found).count + ledger.count(position);
                let is_there = self.ours(&found).count >= wanted;
                if is_there || tokio::time::Instant::now() >= deadline {
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        tokio::time::sleep(SETTLE.min(self.wait)).await;
        let mut found = Vec::new();
        for measured in world.mix.measured() {
            found.push(self.query.ask(&measured.metric, ended_ms).await?);
        }
        let metrics: Vec<&Metric> = world.mix.measured().iter().map(|one| &one.metric).collect();
        let mut comparison = self.compare(&metrics, ledger, &found);
        comparison.to_ms = ended_ms + AHEAD_MS;
        Ok(comparison)
    }

    /// What of it lies in the run's stores.
    fn ours(&self, found: &Found) -> Point {
        match &found.stores {
            None => found.fleet.clone(),
            Some(stores) => {
                let ours = self.stores.iter().filter_map(|store| stores.get(store));
                ours.fold(Point::default(), |sum, point| Point {
                    count: sum.count + point.count,
                    sum: sum.sum + point.sum,
                    t: 0,
                    values: BTreeMap::new(),
                })
            }
        }
    }

    /// What lay there before the run, of what is counted as the run's in `found`.
    fn ours_before(&self, position: usize, found: &Found) -> Point {
        let before = self.before.get(position);
        before.map_or_else(Point::default, |before| match found.stores {
            Some(_) => self.ours(before),
            None => before.fleet.clone(),
        })
    }

    /// Compares what was found of every metric with the ledger.
    pub fn compare(&self, metrics: &[&Metric], ledger: &Ledger, found: &[Found]) -> Comparison {
        let mut comparison = Comparison {
            from_ms: self.query.range_start_ms(),
            ..Comparison::default()
        };
        let mut hidden = [false; 3];
        for (position, (metric, found)) in metrics.iter().zip(found).enumerate() {
            let before = self.ours_before(position, found);
            let ours = self.ours(found);
            let all = ledger.summary(position, |_| true, &quantiles());
            let mut row = count_row(metric, &all, ledger.unsure(position), &before, &ours);
            let is_ours_alone = found.fleet.count == ours.count;
            let can_compare = before.count == 0 && row.unsure == 0 && metric.kind != Kind::Counter;
            hidden[0] |= before.count > 0;
            hidden[1] |= row.unsure > 0;
            hidden[2] |= !is_ours_alone;
            if can_compare && is_ours_alone {
                row.stored = stored(&found.fleet);
                row.note_error(metric, &all, &found.fleet);
            }
            if can_compare && let Some(stores) = &found.stores {
                comparison.stores_compared = self.stores.len();
                for (group, store) in self.stores.iter().enumerate() {
                    let summary = ledger.summary(position, |one| one == group, &quantiles());
                    let point = stores.get(store).cloned().unwrap_or_default();
                    row.note_error(metric, &summary, &point);
                }
            }
            comparison.add(row);
        }
        comparison.notes = notes(hidden, ledger.is_bucketed());
        comparison
    }
}

impl Row {
    /// Takes a group's quantiles into the worst error.
    fn note_error(&mut self, metric: &Metric, exact: &Summary, found: &Point) {
        let Some(values) = &exact.values else {
            return;
        };
        // With another number of samples the ranks differ: that is a loss, and told as one.
        if found.count != exact.count {
            return;
        }
        for (recorded, text) in values.iter().zip(QUANTILES) {
            let exact = metric.unit.to_wire(*recorded);
            let stored = found
                .values
                .get(text)
                .copied()
                .flatten()
                .unwrap_or(f64::INFINITY);
            let error = relative_error(exact, stored);
            let worst = self.worst_relative_error.unwrap_or(0.0);
            self.worst_relative_error = Some(worst.max(error));
        }
    }
}

impl Comparison {
    fn add(&mut self, row: Row) {
        self.sent += row.sent;
        self.found += row.found;
        self.lost += row.lost;
        self.doubled += row.doubled;
        if let Some(error) = row.worst_relative_error {
            self.worst_relative_error = Some(self.worst_relative_error.unwrap_or(0.0).max(error));
        }
        self.rows.push(row);
    }

    /// Whether the collector holds what it acknowledged, once, and knows its percentiles.
    pub fn is_good(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.rows.iter().all(|row| row.is_sum_equal)
            && self
                .worst_relative_error
                .is_none_or(|error| error <= ERROR_MAX)
    }
}

/// Gives the beginning of the range of a run that began at this time, Unix ms.
pub fn range_start_ms(options: &Options, started_ms: i64) -> i64 {
    let past_ms = millis(options.past()) + 2 * HOUR_MS;
    window_start_ms(started_ms - past_ms, HOUR_MS)
}

/// The quantiles that are compared.
fn quantiles() -> Vec<Quantile> {
    QUANTILES
        .iter()
        .filter_map(|text| Quantile::parse(text))
        .collect()
}

fn stored(point: &Point) -> Vec<f64> {
    let value = |text| point.values.get(text).copied().flatten();
    QUANTILES.iter().filter_map(|text| value(*text)).collect()
}

fn count_row(metric: &Metric, all: &Summary, unsure: u64, before: &Point, ours: &Point) -> Row {
    let found = ours.count.saturating_sub(before.count);
    #[expect(
        clippy::cast_precision_loss,
        reason = "compared with a float, to nine digits"
    )]
    let sum = all.sum as f64 / tillwatch_model::metric::to_float(metric.unit.scale());
    // What was there before is part of both, and of their rounding.
    let is_sum_equal = unsure > 0
        || (before.sum + sum - ours.sum).abs() <= SUM_ERROR_MAX * (before.sum + sum).max(1.0);
    let exact = all
        .values
        .iter()
        .flatten()
        .map(|recorded| metric.unit.to_wire(*recorded));
    Row {
        metric: metric.name,
        unit: metric.unit.name(),
        sent: all.count,
        unsure,
        found,
        lost: all.count.saturating_sub(found),
        doubled: found.saturating_sub(all.count + unsure),
        is_sum_equal,
        exact: if metric.kind == Kind::Counter {
            Vec::new()
        } else {
            exact.collect()
        },
        stored: Vec::new(),
        worst_relative_error: None,
    }
}

fn relative_error(exact: f64, stored: f64) -> f64 {
    let distance = (stored - exact).abs();
    if distance == 0.0 {
        0.0
    } else {
        distance / exact
    }
}

fn notes([had_samples, is_unsure, has_others]: [bool; 3], is_bucketed: bool) -> Vec<String> {
    let notes = [
        (
            had_samples,
            "These stores held samples of an earlier run in this range, so their percentiles were not \
             compared; counts are the difference. A --store-prefix not used before compares everything.",
        ),
        (
            is_unsure,
            "Batches without a final answer may or may not have been taken; the percentiles of their \
             metrics were not compared.",
        ),
        (
            has_others,
            "The collector holds samples of other stores in this range, so percentiles were compared by \
             store and not over the fleet.",
        ),
        (
            is_bucketed,
            "Past 20,000,000 samples values were counted in HdrHistogram's buckets and not one by one.",
        ),
    ];
    let told = notes.into_iter().filter(|(is_so, _)| *is_so);
    told.map(|(_, note)| note.to_owned()).collect()
}
