//! How far percentiles are off, against those of the values themselves.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint,
};
use proptest::prelude::*;
use tillwatch_model::Quantile;
use tillwatch_model::histogram::{RELATIVE_ERROR, values_at};

use super::*;

/// The bounds that OpenTelemetry's SDKs have if nobody chooses others. Unit: ms.
const BOUNDS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0,
    7_500.0, 10_000.0,
];
const DELTA: i32 = 1;

/// Values as a terminal has them, in ms: from a microsecond to some minutes.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        0.001_f64..1.0,
        1.0_f64..300.0,
        100.0_f64..9_000.0,
        1.0_f64..200_000.0
    ];
    prop::collection::vec(value, 1..300)
}

fn ends(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

fn explicit(values: &[f64], has_ends: bool) -> Data {
    let mut bucket_counts = vec![0; BOUNDS.len() + 1];
    for value in values {
        bucket_counts[BOUNDS.partition_point(|bound| bound < value)] += 1;
    }
    let (least, greatest) = ends(values);
    Data::Histogram(Histogram {
        aggregation_temporality: DELTA,
        data_points: vec![HistogramDataPoint {
            start_time_unix_nano: T,
            time_unix_nano: T + 60 * S,
            count: values.len() as u64,
            sum: Some(values.iter().sum()),
            explicit_bounds: BOUNDS.to_vec(),
            bucket_counts,
            min: has_ends.then_some(least),
            max: has_ends.then_some(greatest),
            ..HistogramDataPoint::default()
        }],
    })
}

/// The index of a value at a scale, by the specification: the bucket (base^i, base^(i+1)] that holds it.
fn index(value: f64, scale: i32) -> i32 {
    let at = |index: i32| (f64::from(index) * f64::from(-scale).exp2()).exp2();
    #[expect(clippy::cast_possible_truncation, reason = "an index of 32 bits")]
    let mut index = (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
    while at(index) >= value {
        index -= 1;
    }
    while at(index + 1) < value {
        index += 1;
    }
    index
}

fn exponential(values: &[f64], scale: i32, has_ends: bool) -> Option<Data> {
    let indices: Vec<i32> = values.iter().map(|value| index(*value, scale)).collect();
    let (offset, last) = (*indices.iter().min()?, *indices.iter().max()?);
    // A request holds no more.
    let length = usize::try_from(last - offset)
        .ok()
        .filter(|length| *length < 4_000_000)?;
    let mut bucket_counts = vec![0; length + 1];
    for index in indices {
        bucket_counts[usize::try_from(index - offset).unwrap()] += 1;
    }
    let (least, greatest) = ends(values);
    Some(Data::ExponentialHistogram(ExponentialHistogram {
        aggregation_temporality: DELTA,
        data_points: vec![ExponentialHistogramDataPoint {
            start_time_unix_nano: T,
            time_unix_nano: T + 60 * S,
            count: values.len() as u64,
            sum: Some(values.iter().sum()),
            scale,
            positive: Some(Buckets {
                offset,
                bucket_counts,
            }),
            min: has_ends.then_some(least),
            max: has_ends.then_some(greatest),
            ..ExponentialHistogramDataPoint::default()
        }],
    }))
}

/// One request with each kind of histogram, for tests that damage it.
pub(super) fn all_kinds() -> ExportMetricsServiceRequest {
    let values = [1.5, 30.0, 700.0, 12_000.0];
    let exponential = exponential(&values, 5, true).unwrap();
    request(vec![
        metric("lcp", "ms", explicit(&values, true)),
        metric("inp", "ms", exponential),
    ])
}

/// Exact and read percentiles of what was posted, in ms, from the 50th to the 99th, as a reader gives them: clamped.
fn percentiles(values: &[f64], data: Data) -> Vec<(f64, f64)> {
    let body = request(vec![metric("idb_write_ms", "ms", data)]).encode_to_vec();
    let (gathered, _) = reading(&body, Encoding::Protobuf);
    let gathered = gathered.unwrap();
    let [batch] = &gathered.batches[..] else {
        panic!()
    };
    assert!(batch.samples.is_empty(), "{batch:?}");
    let pairs = batch
        .histograms
        .iter()
        .flat_map(|h| h.buckets.value().unwrap());
    let (indices, counts): (Vec<u32>, Vec<u64>) = pairs
        .map(|(index, count)| (u32::try_from(*index).unwrap(), *count))
        .unzip();
    assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
    let number = |field: &crate::intake::offer::Field<crate::intake::offer::Number>| {
        field.value().unwrap().as_f64()
    };
    let sum: f64 = batch.histograms.iter().map(|h| number(&h.sum)).sum();
    let wanted: f64 = values.iter().sum();
    assert!((sum - wanted).abs() <= wanted * 1e-9, "{sum} for {wanted}");
    let min = number(&batch.histograms.first().unwrap().min);
    let max = number(&batch.histograms.last().unwrap().max);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantiles = ["0.5", "0.75", "0.9", "0.95", "0.99"].map(|q| Quantile::parse(q).unwrap());
    let read = values_at(&indices, &counts, &quantiles).unwrap();
    let exact =
        quantiles.map(|q| sorted[usize::try_from(q.rank(values.len() as u64)).unwrap() - 1]);
    exact
        .into_iter()
        .zip(
            read.into_iter()
                .map(|value| (value as f64 / 1e3).clamp(min, max)),
        )
        .collect()
}

/// Half a microsecond: values are recorded in whole ones.
const ROUNDING_MS: f64 = 0.000_501;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn exponential_histograms_are_off_by_what_the_page_says_of_their_scale(
        values in values(), scale in -2_i32..=20, has_ends in any::<bool>(),
    ) {
        let Some(data) = exponential(&values, scale, has_ends) else { return Ok(()) };
        // The square root of the base, less one.
        let share = f64::from(-scale - 1).exp2().exp2() - 1.0;
        for (exact, read) in percentiles(&values, data) {
            let most = exact * (share + 1e-9) + read * RELATIVE_ERROR + ROUNDING_MS;
            prop_assert!((exact - read).abs() <= most, "scale {scale}: {exact} read as {read}");
        }
    }

    #[test]
    fn explicit_histograms_are_off_by_no_more_than_their_buckets_are_wide(
        values in values(), has_ends in any::<bool>(),
    ) {
        let (least, greatest) = ends(&values);
        for (exact, read) in percentiles(&values, explicit(&values, has_ends)) {
            let place = BOUNDS.partition_point(|bound| *bound < exact);
            let low = place.checked_sub(1).map_or(0.0, |place| BOUNDS[place]);
            let low = if has_ends { low.max(least) } else { low };
            // Past the last bound, what bounds a value is the greatest one; or the sum, if nobody says that.
            let sum: f64 = values.iter().sum();
            let high = BOUNDS.get(place).copied().unwrap_or(if has_ends { greatest } else { sum });
            let slack = read * RELATIVE_ERROR + ROUNDING_MS;
            prop_assert!(read >= low - slack && read <= high + slack, "{exact} in {low}..{high} read as {read}");
        }
    }
}

/// The figures of docs/doors.md.
#[test]
fn the_page_says_how_far_each_scale_is_off() {
    let page = include_str!("../../../../docs/doors.md");
    for scale in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
        let share = f64::from(-scale - 1_i32).exp2().exp2() - 1.0;
        let line = format!("| {scale} | {:.2} % |", 100.0 * share);
        assert!(page.contains(&line), "{line}");
    }
}

/// Ten thousand durations in ms, spread as those of a till are: half of them under 400 ms, one in a hundred over 6 s.
fn durations() -> Vec<f64> {
    let share = |at: u32| (f64::from(at) + 0.5) / 10_000.0;
    let value = |share: f64| 400.0 * (share / (1.0 - share)).powf(0.6);
    (0..10_000).map(|at| value(share(at))).collect()
}

/// How far p50, p95 and p99 are off, as a line of docs/figures.md. Unit: percent.
fn line(name: &str, percentiles: &[(f64, f64)]) -> String {
    let off = |(exact, read): (f64, f64)| 100.0 * (read - exact) / exact;
    let [p50, .., p95, p99] = percentiles else {
        panic!()
    };
    let [p50, p95, p99] = [p50, p95, p99].map(|pair| format!("{:+.2} %", off(*pair)));
    format!("| {name} | {p50} | {p95} | {p99} |")
}

#[test]
fn the_figures_are_those_of_ten_thousand_durations() {
    let values = durations();
    let page = include_str!("../../../../docs/figures.md");
    let mut lines: Vec<String> = [3, 4, 5, 8, 16]
        .map(|scale| {
            let data = exponential(&values, scale, true).unwrap();
            line(
                &format!("exponential, scale {scale}"),
                &percentiles(&values, data),
            )
        })
        .to_vec();
    let explicit = percentiles(&values, explicit(&values, true));
    lines.push(line("explicit, the SDKs' own bounds", &explicit));
    lines.insert(0, line("single values, native format", &native(&values)));
    for line in &lines {
        assert!(
            page.contains(line),
            "docs/figures.md lacks one of\n{}",
            lines.join("\n")
        );
    }
}

/// The same percentiles of values that are posted one by one.
fn native(values: &[f64]) -> Vec<(f64, f64)> {
    let mut recorded = tillwatch_model::SparseHistogram::default();
    for value in values {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some minutes in µs"
        )]
        recorded.record((value * 1e3).round() as u64);
    }
    let (indices, counts) = recorded.into_parts();
    let quantiles = ["0.5", "0.75", "0.9", "0.95", "0.99"].map(|q| Quantile::parse(q).unwrap());
    let read = values_at(&indices, &counts, &quantiles).unwrap();
    let exact =
        quantiles.map(|q| values[usize::try_from(q.rank(values.len() as u64)).unwrap() - 1]);
    exact
        .into_iter()
        .zip(read.into_iter().map(|value| value as f64 / 1e3))
        .collect()
}
