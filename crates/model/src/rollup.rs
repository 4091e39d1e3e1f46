//! The mergeable summary of one metric in one window for one set of dimensions.

use std::sync::Arc;

use crate::{Connection, Source, SparseHistogram};

/// What a rollup is told apart by, beside the collector and the epoch it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    /// Wire name of the metric.
    pub metric: &'static str,
    /// Label, empty for a metric without one.
    pub label: &'static str,
    /// The shop.
    pub store_id: Arc<str>,
    /// Start of the window, Unix seconds.
    pub window_start_s: u32,
    /// Release of the application.
    pub release: Arc<str>,
    /// How the terminals were connected.
    pub connection: Connection,
    /// Who measured.
    pub source: Source,
    /// Length of the window, seconds: 60, or that of a terminal's own histogram.
    pub span_s: u32,
}

/// Count, sum, extremes and buckets, all in the recording unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Samples.
    pub count: u64,
    /// Sum of their values; stays at 2^64 − 1 when it would pass that.
    pub sum: u64,
    /// Least value; 0 when there is none.
    pub min: u64,
    /// Greatest value.
    pub max: u64,
    /// Values above the first threshold.
    pub over_low: u64,
    /// Values above the second threshold.
    pub over_high: u64,
    /// Buckets; empty for a counter.
    pub histogram: SparseHistogram,
}

impl Summary {
    /// Adds what another summary holds.
    pub fn merge(&mut self, other: &mut Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.over_low = self.over_low.saturating_add(other.over_low);
        self.over_high = self.over_high.saturating_add(other.over_high);
        let (indices, counts) = other.histogram.parts();
        if !indices.is_empty() {
            self.histogram.merge(indices, counts);
        }
    }
}

/// One row at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// What the rollup is told apart by.
    pub key: RollupKey,
    /// What the rollup says.
    pub summary: Summary,
}
