//! How many samples a batch stands for: a histogram weighs its counts, if they can be believed.

use tillwatch_model::time::MINUTE_MS;

use crate::intake::offer::{Histogram, Number, Offer};

/// How many values one histogram may stand for, whatever its span.
const VALUES_MAX: u64 = 1 << 32;
/// Spans a histogram may cover: a minute, five, an hour.
const SPANS_MS: [i64; 3] = [MINUTE_MS, 5 * MINUTE_MS, 60 * MINUTE_MS];

/// Counts the samples that a batch stands for, whatever becomes of them.
#[must_use]
pub fn of_batch(batch: &Offer<'_>, values_per_s: u64) -> u64 {
    let histograms = batch.histograms.iter();
    let histograms = histograms.map(|histogram| of_histogram(histogram, values_per_s));
    let others =
        batch.samples.len() + batch.summaries.len() + batch.events.len() + batch.drops.len();
    others as u64 + histograms.sum::<u64>()
}

/// What a histogram's counts add up to. One that is not readable, or too heavy, stands for one sample:
/// counts that are not believed must not outweigh the others among the rejected either.
pub(super) fn of_histogram(histogram: &Histogram<'_>, values_per_s: u64) -> u64 {
    let Some(buckets) = histogram.buckets.value() else {
        return 1;
    };
    let total = buckets
        .iter()
        .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let span_ms = span_of(histogram).unwrap_or(MINUTE_MS);
    if total == 0 || total > values_max(span_ms, values_per_s) {
        1
    } else {
        total
    }
}

/// How many values a histogram of this span may stand for: one must not outweigh a fleet.
pub(super) fn values_max(span_ms: i64, values_per_s: u64) -> u64 {
    let span_s = (span_ms / 1_000).unsigned_abs();
    span_s.saturating_mul(values_per_s).min(VALUES_MAX)
}

/// The span of a histogram, if it is one that a histogram may have.
pub(super) fn span_of(histogram: &Histogram<'_>) -> Option<i64> {
    let number = histogram.span_ms.value()?;
    Number::millis(*number).filter(|span_ms| SPANS_MS.contains(span_ms))
}
