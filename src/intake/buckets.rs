//! Whether a terminal's own histogram can be what it says it is.

use tillwatch_model::histogram::{bucket_highest, bucket_index, bucket_lowest};
use tillwatch_model::{HistogramReading, Metric, Reason};

use crate::intake::offer::BUCKETS_MAX;

/// The span of a histogram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) span_ms: i64,
    /// How many values the histogram may stand for.
    pub(super) values_max: u64,
}

/// What a histogram says of its values, in the metric's recording unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) sum: u64,
    pub(super) min: u64,
    pub(super) max: u64,
    /// Whether the sum was checked already, against other buckets.
    pub(super) is_sum_checked: bool,
}

/// A histogram's buckets, if they ascend, are within the metric's range, fit the summary and stand for no
/// more than so many values.
pub(super) fn check_buckets(
    metric: &Metric,
    span: Span,
    buckets: &[(u64, u64)],
    summary: Summary,
) -> Result<HistogramReading, Reason> {
    let Summary {
        sum,
        min,
        max,
        is_sum_checked,
    } = summary;
    if buckets.is_empty() || buckets.len() > BUCKETS_MAX {
        return Err(Reason::InvalidHistogram);
    }
    let index_max = bucket_index(metric.value_max);
    let (mut indices, mut counts) = (
        Vec::with_capacity(buckets.len()),
        Vec::with_capacity(buckets.len()),
    );
    let (mut total, mut sum_least, mut sum_most) = (0_u64, 0_u128, 0_u128);
    for (index, count) in buckets {
        let index = u32::try_from(*index).unwrap_or(u32::MAX);
        if index > index_max {
            return Err(Reason::OutOfRange);
        }
        if *count == 0 || indices.last().is_some_and(|last| *last >= index) {
            return Err(Reason::InvalidHistogram);
        }
        total = total.saturating_add(*count);
        sum_least += u128::from(bucket_lowest(index)) * u128::from(*count);
        sum_most += u128::from(bucket_highest(index)) * u128::from(*count);
        indices.push(index);
        counts.push(*count);
    }
    // A sum written as a decimal is off by its last digit.
    let slack = sum_most / 1_000_000_000 + 1;
    let sum_fits = is_sum_checked
        || (sum_least.saturating_sub(slack)..=sum_most + slack).contains(&u128::from(sum));
    let is_in =
        |value: u64, index: Option<&u32>| index.is_some_and(|index| bucket_index(value) == *index);
    if total > span.values_max {
        return Err(Reason::HistogramTooHeavy);
    }
    if !sum_fits || !is_in(min, indices.first()) || !is_in(max, indices.last()) {
        return Err(Reason::InvalidHistogram);
    }
    if max > metric.value_max {
        return Err(Reason::OutOfRange);
    }
    Ok(HistogramReading {
        span_ms: span.span_ms,
        indices,
        counts,
        sum,
        min,
        max,
    })
}
