//! What a reading brings to windows, series and sums.

use tillwatch_model::metric::Metric;
use tillwatch_model::{BatchHeader, HistogramReading, Reading, Source};

/// What a reading brings.
#[derive(Debug, Clone, Copy)]
pub enum Brought<'a> {
    /// One value.
    Value(u64),
    /// A terminal's histogram.
    Histogram(&'a HistogramReading),
}

impl Brought<'_> {
    /// How many values the reading stands for.
    #[must_use]
    pub fn weight(self) -> u64 {
        match self {
            Self::Value(_) => 1,
            Self::Histogram(histogram) => histogram.counts.iter().sum(),
        }
    }

    /// From the start of the reading to its end, ms.
    #[must_use]
    pub fn span_ms(self) -> i64 {
        match self {
            Self::Value(_) => 0,
            Self::Histogram(histogram) => histogram.span_ms,
        }
    }
}

/// The dimensions that all of a batch shares.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    /// Number of the store.
    pub store: u32,
    /// Number of the release.
    pub release: u32,
    /// Who measured.
    pub source: Source,
}

/// One reading on its way into the aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What all readings of the reading's batch share.
    pub shared: Shared,
    /// The metric that the reading is of.
    pub metric: &'a Metric,
    /// The reading.
    pub reading: &'a Reading,
    /// The reading's corrected time, Unix ms.
    pub t_ms: i64,
    /// When the reading's batch was received, Unix ms.
    pub received_at_ms: i64,
    /// The value or values that the reading brings.
    pub brought: Brought<'a>,
}

impl<'a> Arrival<'a> {
    /// A reading of a batch.
    #[inline]
    #[must_use]
    pub fn new(
        (header, shared): (&BatchHeader<'_>, Shared),
        metric: &'a Metric,
        reading: &'a Reading,
        brought: Brought<'a>,
    ) -> Self {
        Self {
            shared,
            metric,
            reading,
            t_ms: reading.t_raw_ms.saturating_add(header.applied_offset_ms),
            received_at_ms: header.received_at_ms,
            brought,
        }
    }
}
