//! What one terminal said of one metric in one hour: scalars, no histogram.

use std::sync::Arc;

use crate::Source;

/// What a terminal's hour is told apart by, beside the collector and the epoch it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TerminalHourKey {
    /// Wire name of the metric.
    pub metric: &'static str,
    /// Label, empty for a metric without one.
    pub label: &'static str,
    /// The shop.
    pub store_id: Arc<str>,
    /// The terminal in the store.
    pub terminal_id: Arc<str>,
    /// Start of the hour, Unix seconds.
    pub hour_start_s: u32,
    /// Release of the application.
    pub release: Arc<str>,
    /// Who measured.
    pub source: Source,
}

/// Count, sum, extremes and the last value, all in the recording unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scalars {
    /// Samples.
    pub count: u64,
    /// Sum of their values; stays at 2^64 − 1 when it would pass that.
    pub sum: u64,
    /// Least value; 0 when there is none.
    pub min: u64,
    /// Greatest value.
    pub max: u64,
    /// The value with the latest time; of several at one time the greatest, whatever the order they came in.
    pub last: u64,
    /// The time of the last value, Unix ms.
    pub last_ms: i64,
    /// Values above the first threshold.
    pub over_low: u64,
    /// Values above the second threshold.
    pub over_high: u64,
}

impl Scalars {
    /// Adds what another holds.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.over_low = self.over_low.saturating_add(other.over_low);
        self.over_high = self.over_high.saturating_add(other.over_high);
        if (other.last_ms, other.last) > (self.last_ms, self.last) {
            (self.last, self.last_ms) = (other.last, other.last_ms);
        }
    }
}

/// One row at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalHour {
    /// What the row is told apart by.
    pub key: TerminalHourKey,
    /// What the row says.
    pub scalars: Scalars,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(last_ms: i64, value: u64) -> Scalars {
        Scalars {
            count: 1,
            sum: value,
            min: value,
            max: value,
            last: value,
            last_ms,
            over_low: 1,
            over_high: 0,
        }
    }

    #[test]
    fn merging_keeps_the_extremes_and_the_value_of_the_latest_time() {
        let mut sum = Scalars::default();
        for (last_ms, value) in [(20, 7), (30, 6), (10, 9), (30, 5)] {
            sum.merge(&one(last_ms, value));
        }
        sum.merge(&Scalars::default());
        let expected = Scalars {
            count: 4,
            sum: 27,
            min: 5,
            max: 9,
            last: 6,
            last_ms: 30,
            over_low: 4,
            over_high: 0,
        };
        assert_eq!(sum, expected);
    }
}
