//! Lines of a family that both the catalogue's metrics and the other families write.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, NativeHistogram, NativeHistogramBuckets, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tillwatch_model::metric::to_float;

use crate::aggregate::exponential::SCHEMA;
use crate::aggregate::live::ClassicHistogram;

/// A family of gauges.
pub(super) fn gauge_family<'s>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    lines: impl Iterator<Item = (Vec<(&'s str, &'s str)>, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in lines {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The lines of a histogram whose bounds and values are in a unit of which so many make Prometheus'.
pub(super) fn histogram_lines(
    mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    bounds: &[u64],
    scale: u64,
    histogram: &ClassicHistogram,
) -> fmt::Result {
    let to_prometheus = |value: u64| to_float(value) / to_float(scale);
    let bounds = bounds.iter().map(|bound| to_prometheus(*bound));
    let bounds = bounds.chain([f64::INFINITY]);
    let counts = histogram.counts.iter().copied().chain(std::iter::repeat(0));
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let count = histogram.counts.iter().sum();
    let sum = to_prometheus(histogram.sum);
    let Some(native) = &histogram.native else {
        return encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None);
    };
    let (spans, deltas) = native.spans_and_deltas();
    let native = NativeHistogram {
        schema: SCHEMA,
        zero_threshold: 0.0,
        zero_count: native.zero,
        negative: NativeHistogramBuckets {
            spans: &[],
            deltas: &[],
        },
        positive: NativeHistogramBuckets {
            spans: &spans,
            deltas: &deltas,
        },
        created: None,
    };
    encoder.encode_histogram_with_native::<NoLabelSet>(sum, count, &buckets, None, native)
}
