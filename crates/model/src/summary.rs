//! Reports that a page has made of many values itself: count, sum, extremes and percentiles.
//!
//! Counts and sums of two reports can be added, and extremes compared. Their percentiles cannot be merged by any rule, so
//! these are kept beside, report by report, and no percentile of tillwatch is ever made of them.

use std::sync::Arc;

use crate::{Connection, Source};

/// The metric that a report is a sample of: that sample is what the ledger counts.
pub const SUMMARIES: &str = "summaries";
/// Values that one report may stand for.
pub const COUNT_MAX: u64 = 1 << 32;
/// Reports that one row keeps the percentiles of. Counts and sums go on beyond them.
pub const REPORTS_MAX: usize = 64;

/// One report, as it lies in the journal behind its sample. Values are in the metric's wire unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SummaryReading {
    /// The metric's journal code.
    pub metric: u16,
    /// How the terminal was connected.
    pub connection: Connection,
    /// When the report was made, by the terminal's clock.
    pub t_raw_ms: i64,
    /// How many values it is about, and their sum.
    pub count: u64,
    /// The sum of the values.
    pub sum: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The 50th, 95th and 99th percentile as they were sent; NaN: not sent.
    pub percentiles: [f64; 3],
}

/// What a row of `summary_1m` is told apart by, beside the collector and the epoch it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SummaryKey {
    /// The shop.
    pub store_id: Arc<str>,
    /// Name of the metric.
    pub metric: &'static str,
    /// Start of the minute, Unix seconds.
    pub minute_s: u32,
    /// Release of the application.
    pub release: Arc<str>,
    /// How the terminals were connected.
    pub connection: Connection,
    /// Who reported.
    pub source: Source,
}

/// One row at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// What the row is told apart by.
    pub key: SummaryKey,
    /// What the row says.
    pub sums: SummarySums,
}

/// The percentiles of one report, and how many values they are of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Values of the report.
    pub count: u64,
    /// The 50th, 95th and 99th percentile; NaN: not sent.
    pub values: [f64; 3],
}

/// What is kept of the reports of one minute.
#[derive(Debug, Clone, PartialEq)]
pub struct SummarySums {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
    /// The percentiles of the first [`REPORTS_MAX`] reports, as they were sent.
    pub reports: Vec<Percentiles>,
}

impl Default for SummarySums {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: 0.0,
            reports: Vec::new(),
        }
    }
}

impl SummarySums {
    /// What one report says.
    #[must_use]
    pub fn of(reading: &SummaryReading) -> Self {
        Self {
            count: reading.count,
            sum: reading.sum,
            min: reading.min,
            max: reading.max,
            reports: vec![Percentiles {
                count: reading.count,
                values: reading.percentiles,
            }],
        }
    }

    /// Adds what another holds, which came later.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let room = REPORTS_MAX.saturating_sub(self.reports.len());
        self.reports.extend(other.reports.iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_extremes_compared_and_percentiles_stay_side_by_side() {
        let reading = |count, min, max, p50| SummaryReading {
            metric: 1,
            connection: Connection::Online,
            t_raw_ms: 0,
            count,
            sum: 10.0,
            min,
            max,
            percentiles: [p50, f64::NAN, 9.0],
        };
        let mut sums = SummarySums::default();
        sums.merge(&SummarySums::of(&reading(3, 2.0, 5.0, 3.0)));
        sums.merge(&SummarySums::of(&reading(4, 1.0, 4.0, 2.0)));
        assert_eq!(
            (sums.count, sums.sum, sums.min, sums.max),
            (7, 20.0, 1.0, 5.0)
        );
        let kept = sums
            .reports
            .iter()
            .map(|report| (report.count, report.values[0]));
        assert_eq!(kept.collect::<Vec<_>>(), [(3, 3.0), (4, 2.0)]);
        for _ in 0..2 * REPORTS_MAX {
            sums.merge(&SummarySums::of(&reading(1, 1.0, 1.0, 1.0)));
        }
        assert_eq!(sums.reports.len(), REPORTS_MAX);
        assert_eq!(sums.count, 7 + 2 * REPORTS_MAX as u64);
    }
}
