//! The page of `/metrics/fleet`, in OpenMetrics text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::aggregate::live::{ClassicHistogram, LATE_AGES, SKEW_BOUNDS_MS};
use crate::export::snapshot::{Snapshot, StoreSnapshot, WINDOW_QUANTILES};
use crate::model::metric::{Metric, to_float};
use crate::model::{Kind, Quantile};

/// The content type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders a snapshot.
///
/// # Errors
/// Never in practice: a `String` takes all that is written to it.
pub fn render(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(snapshot)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Snapshot);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = &self.0;
        for metric in snapshot.layout.catalogue().metrics() {
            match metric.kind {
                Kind::Counter => counters(&mut encoder, snapshot, metric)?,
                Kind::Distribution => distributions(&mut encoder, snapshot, metric)?,
                Kind::Level => levels(&mut encoder, snapshot, metric)?,
            }
        }
        over_limit(&mut encoder, snapshot)?;
        freshness(&mut encoder, snapshot)?;
        coverage(&mut encoder, snapshot)
    }
}

type Encoder<'a> = DescriptorEncoder<'a>;

fn gauge_family<'s>(
    encoder: &mut Encoder<'_>,
    (name, help): (&str, &str),
    lines: impl Iterator<Item = (Vec<(&'s str, &'s str)>, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in lines {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(encoder: &mut Encoder<'_>, snapshot: &Snapshot, metric: &Metric) -> fmt::Result {
    let place = snapshot.layout.place(metric);
    if let Some(first) = place.counter {
        let stores = snapshot.stores.iter();
        let all = stores.map(|store| (&*store.store_id, &store.series.counters));
        counter_lines(encoder, metric, (metric.prometheus, "store_id", first), all)?;
    }
    if let Some(first) = place.release_counter {
        let name = release_name(metric);
        let releases = snapshot.releases.iter();
        let all = releases.map(|(release, series, _)| (&**release, &series.counters));
        counter_lines(encoder, metric, (&name, "release", first), all)?;
    }
    Ok(())
}

/// One name never carries both labels: sums over it would count everything twice.
fn release_name(metric: &Metric) -> String {
    metric.prometheus.replacen("pos_", "pos_release_", 1)
}

/// The lines of a counter, one for each holder (a store or release) and label value.
fn counter_lines<'s>(
    encoder: &mut Encoder<'_>,
    metric: &Metric,
    (name, holder_key, first): (&str, &str, usize),
    holders: impl Iterator<Item = (&'s str, &'s Vec<u64>)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, metric.help, None, MetricType::Counter)?;
    for (holder, counters) in holders {
        let values = metric.label.map_or(&[""][..], |label| label.values);
        for (slot, value) in (first..).zip(values) {
            let total = counters.get(slot).copied().unwrap_or(0);
            let mut labels = vec![(holder_key, holder)];
            if let Some(label) = metric.label {
                labels.push((label.key, value));
            }
            ConstCounter::new(total).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn distributions(encoder: &mut Encoder<'_>, snapshot: &Snapshot, metric: &Metric) -> fmt::Result {
    let place = snapshot.layout.place(metric);
    let empty = ClassicHistogram::default();
    if let Some(at) = place.store_histogram {
        let mut family = encoder.encode_descriptor(
            metric.prometheus,
            metric.help,
            None,
            MetricType::Histogram,
        )?;
        for store in &snapshot.stores {
            let histogram = store.series.histograms.get(at).unwrap_or(&empty);
            let labels = [("store_id", &*store.store_id)];
            let bounds = (metric.bounds, metric.unit.prometheus_scale());
            histogram_lines(family.encode_family(&labels)?, bounds, histogram)?;
        }
        windows(encoder, snapshot, metric, at)?;
    }
    if let Some(at) = place.release_histogram {
        let name = if place.store_histogram.is_some() {
            release_name(metric)
        } else {
            metric.prometheus.to_owned()
        };
        let mut family =
            encoder.encode_descriptor(&name, metric.help, None, MetricType::Histogram)?;
        for (release, series, _) in &snapshot.releases {
            if let Some(histogram) = series.histograms.get(at) {
                let labels = [("release", &**release)];
                let bounds = (metric.bounds, metric.unit.prometheus_scale());
                histogram_lines(family.encode_family(&labels)?, bounds, histogram)?;
            }
        }
    }
    Ok(())
}

fn histogram_lines(
    mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    (bounds, scale): (&[u64], u64),
    histogram: &ClassicHistogram,
) -> fmt::Result {
    let to_prometheus = |value: u64| to_float(value) / to_float(scale);
    let bounds = bounds.iter().map(|bound| to_prometheus(*bound));
    let bounds = bounds.chain([f64::INFINITY]);
    let counts = histogram.counts.iter().copied().chain(std::iter::repeat(0));
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let count = histogram.counts.iter().sum();
    let sum = to_prometheus(histogram.sum);
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// `pos_x_seconds` becomes `pos_x_window_seconds`, `pos_x` becomes `pos_x_window`.
fn window_name(metric: &Metric) -> String {
    match metric.prometheus.strip_suffix("_seconds") {
        Some(stem) => format!("{stem}_window_seconds"),
        None => format!("{}_window", metric.prometheus),
    }
}

fn windows(
    encoder: &mut Encoder<'_>,
    snapshot: &Snapshot,
    metric: &Metric,
    at: usize,
) -> fmt::Result {
    let name = window_name(metric);
    let window = |store: &'_ StoreSnapshot| store.windows.get(at).cloned().flatten();
    let mut lines = Vec::new();
    let mut samples = Vec::new();
    for store in &snapshot.stores {
        let Some(window) = window(store) else {
            continue;
        };
        for (quantile, value) in WINDOW_QUANTILES.iter().zip(&window.values) {
            let labels = vec![("store_id", &*store.store_id), ("quantile", *quantile)];
            lines.push((labels, metric.unit.to_prometheus(*value)));
        }
        samples.push((
            vec![("store_id", &*store.store_id)],
            to_float(window.samples),
        ));
    }
    let help = format!(
        "{} Quantiles of the event-time minutes from 6 to 1 minutes ago.",
        metric.help
    );
    gauge_family(encoder, (&name, &help), lines.into_iter())?;
    let stem = name.strip_suffix("_seconds").unwrap_or(&name);
    let help = format!("Samples behind {name}.");
    gauge_family(
        encoder,
        (&format!("{stem}_samples"), &help),
        samples.into_iter(),
    )
}

fn levels(encoder: &mut Encoder<'_>, snapshot: &Snapshot, metric: &Metric) -> fmt::Result {
    let Some(at) = snapshot.layout.place(metric).level else {
        return Ok(());
    };
    let p95 = Quantile::parse("0.95");
    let mut lines = Vec::new();
    for store in &snapshot.stores {
        let values = store.levels.get(at).map_or(&[][..], |level| &level.values);
        let Some(greatest) = values.last() else {
            continue;
        };
        let rank = p95
            .as_ref()
            .map_or(1, |quantile| quantile.rank(values.len() as u64));
        let p95 = usize::try_from(rank - 1)
            .ok()
            .and_then(|index| values.get(index));
        for (stat, value) in [("max", greatest), ("p95", p95.unwrap_or(greatest))] {
            let labels = vec![("store_id", &*store.store_id), ("stat", stat)];
            lines.push((labels, metric.unit.to_prometheus(*value)));
        }
    }
    let help = format!(
        "{} Over the last values of the terminals that report.",
        metric.help
    );
    gauge_family(encoder, (metric.prometheus, &help), lines.into_iter())
}

fn over_limit(encoder: &mut Encoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut lines = Vec::new();
    for metric in snapshot.layout.catalogue().metrics() {
        let (Some(at), Some(limit)) = (snapshot.layout.place(metric).level, metric.thresholds[0])
        else {
            continue;
        };
        for store in &snapshot.stores {
            if let Some(level) = store.levels.get(at) {
                let over = level.values.iter().filter(|value| **value > limit).count();
                let labels = vec![("store_id", &*store.store_id), ("metric", metric.name)];
                lines.push((labels, to_float(over as u64)));
            }
        }
    }
    let help = "Terminals whose last value is over the metric's first threshold.";
    gauge_family(
        encoder,
        ("pos_terminals_over_limit", help),
        lines.into_iter(),
    )
}

fn freshness(encoder: &mut Encoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let of_store = |store: &'_ StoreSnapshot, value: f64| {
        (vec![("store_id", store.store_id.to_string())], value)
    };
    let last_report = snapshot.stores.iter().map(|store| {
        let last_report_ms = store.series.last_report_ms.max(0).cast_unsigned();
        of_store(store, to_float(last_report_ms) / 1_000.0)
    });
    let help = "When a batch of the store was last received.";
    owned_gauges(
        encoder,
        ("pos_store_last_report_timestamp_seconds", help),
        last_report,
    )?;
    let reporting = snapshot.stores.iter();
    let reporting = reporting.map(|store| of_store(store, to_float(store.terminals_reporting)));
    let help = "Terminals of the store that posted in the last ten minutes.";
    owned_gauges(encoder, ("pos_terminals_reporting", help), reporting)?;
    let releases = snapshot.releases.iter();
    let releases = releases.map(|(release, _, terminals)| {
        (vec![("release", release.to_string())], to_float(*terminals))
    });
    let help = "Terminals that posted in the last ten minutes, by the release they run.";
    owned_gauges(encoder, ("pos_terminals", help), releases)?;

    let help = "Samples too old to move live series, by age when received; they are in ClickHouse.";
    let mut family =
        encoder.encode_descriptor("pos_late_samples", help, None, MetricType::Counter)?;
    for store in &snapshot.stores {
        for ((_, age), samples) in LATE_AGES.iter().zip(store.series.late) {
            let labels = [("store_id", &*store.store_id), ("age_up_to", *age)];
            ConstCounter::new(samples).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Whether everything arrives that the terminals recorded, and whether their clocks are right.
fn coverage(encoder: &mut Encoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let help =
        "Batches of the store received, each once. With the lost ones: what its terminals sent.";
    let received = |store: &StoreSnapshot| store.series.batches_received;
    store_counter(
        encoder,
        snapshot,
        ("pos_sdk_batches_received", help),
        received,
    )?;
    let help = "Batches of the store that never came: missing for nine days, or too far behind.";
    let lost = |store: &StoreSnapshot| store.series.batches_lost;
    store_counter(encoder, snapshot, ("pos_sdk_batches_lost", help), lost)?;
    let missing = snapshot.stores.iter().map(|store| {
        let labels = vec![("store_id", store.store_id.to_string())];
        (labels, to_float(store.batches_missing))
    });
    let help = "Batches of the store that are missing between others and may still come.";
    owned_gauges(encoder, ("pos_sdk_batches_missing", help), missing)?;

    let help =
        "How far terminals' clocks were off, either way, at each batch that said when it was sent.";
    let name = "pos_terminal_clock_skew_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for store in &snapshot.stores {
        let labels = [("store_id", &*store.store_id)];
        let bounds = (&SKEW_BOUNDS_MS[..], 1_000);
        histogram_lines(family.encode_family(&labels)?, bounds, &store.series.skew)?;
    }
    Ok(())
}

fn store_counter(
    encoder: &mut Encoder<'_>,
    snapshot: &Snapshot,
    (name, help): (&str, &str),
    value: impl Fn(&StoreSnapshot) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for store in &snapshot.stores {
        let labels = [("store_id", &*store.store_id)];
        ConstCounter::new(value(store)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn owned_gauges(
    encoder: &mut Encoder<'_>,
    (name, help): (&str, &str),
    lines: impl Iterator<Item = (Vec<(&'static str, String)>, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in lines {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
