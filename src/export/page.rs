//! The page of `/metrics/fleet`: a family or more for every metric of the catalogue, then the others.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tillwatch_model::dimension::LATER;
use tillwatch_model::metric::{Metric, to_float};
use tillwatch_model::{Kind, Quantile};

use crate::aggregate::live::ClassicHistogram;
use crate::aggregate::minutes::Series;
use crate::export::families;
use crate::export::lines::{gauge_family, histogram_lines};
use crate::export::negotiate::Format;
use crate::export::snapshot::{Snapshot, WINDOW_QUANTILES, Window};

/// Renders a snapshot.
///
/// # Errors
/// Never in practice: memory takes all that is written to it.
pub fn render(mut snapshot: Snapshot, format: Format) -> Result<Vec<u8>, RenderError> {
    let mut registry = Registry::default();
    let windows = snapshot.windows();
    registry.register_collector(Box::new(Page { snapshot, windows }));
    if format == Format::Protobuf {
        return Ok(prometheus_client::encoding::prometheus_protobuf::encode_to_vec(&registry)?);
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    if format == Format::Text {
        text = plain(&text);
    }
    Ok(text.into_bytes())
}

/// A page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The page could not be written as text.
    #[error("the page could not be written as text")]
    Text(#[from] fmt::Error),
    /// The page could not be written as protobuf.
    #[error("the page could not be written as protobuf")]
    Protobuf(#[from] prometheus_client::encoding::prometheus_protobuf::EncodeError),
}

/// `OpenMetrics` text as the text format of Prometheus: there a counter's family bears the name of its
/// series, and nothing ends the page.
fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let is_counter = |line: &&str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let family = line
            .strip_prefix("# HELP ")
            .filter(|_| lines.peek().is_some_and(is_counter))
            .map(|rest| ("# HELP ", rest))
            .or_else(|| {
                Some(("# TYPE ", line.strip_prefix("# TYPE ")?)).filter(|_| is_counter(&line))
            });
        match family.and_then(|(mark, rest)| Some((mark, rest.split_once(' ')?))) {
            Some((mark, (name, rest))) => {
                text.extend([mark, name, "_total ", rest, "\n"]);
            }
            None if line == "# EOF" => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[derive(Debug)]
struct Page {
    snapshot: Snapshot,
    windows: Windows,
}

/// The window gauges by store and metric.
type Windows = HashMap<Series, Window>;

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        for metric in snapshot.layout.catalogue().metrics() {
            match metric.kind {
                Kind::Counter => counters(&mut encoder, snapshot, metric)?,
                Kind::Distribution => {
                    distributions(&mut encoder, snapshot, &self.windows, metric)?;
                }
                Kind::Level => levels(&mut encoder, snapshot, metric)?,
            }
        }
        families::encode(&mut encoder, snapshot)
    }
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    metric: &Metric,
) -> fmt::Result {
    let place = snapshot.layout.place(metric);
    if let Some(first) = place.counter {
        let stores = snapshot.stores.iter();
        let all = stores.map(|store| (&*store.store_id, &store.series.counters));
        counter_lines(encoder, metric, metric.prometheus, "store_id", first, all)?;
    }
    if let Some(first) = place.release_counter {
        let name = release_name(metric);
        let releases = snapshot.releases.iter();
        let all = releases.map(|(release, series, _)| (&**release, &series.counters));
        counter_lines(encoder, metric, &name, "release", first, all)?;
    }
    Ok(())
}

/// A label with the name of a metric that the shop has declared itself: boards know these only by it.
fn own_name(metric: &Metric) -> Option<(&'static str, &'static str)> {
    metric.is_own().then_some(("metric", metric.name))
}

fn with_own_name<'s>(metric: &Metric, of: (&'s str, &'s str)) -> Vec<(&'s str, &'s str)> {
    std::iter::once(of).chain(own_name(metric)).collect()
}

/// One name never carries both labels: sums over it would count everything twice.
fn release_name(metric: &Metric) -> String {
    metric.prometheus.replacen("pos_", "pos_release_", 1)
}

/// The lines of a counter, one for each holder (a store or release) and label value.
fn counter_lines<'s>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    name: &str,
    holder_key: &str,
    first: usize,
    holders: impl Iterator<Item = (&'s str, &'s Vec<u64>)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, metric.help, None, MetricType::Counter)?;
    for (holder, counters) in holders {
        let values = metric.label.map_or(&[""][..], |label| label.values);
        let later = metric.label.map(|_| LATER);
        for (slot, value) in (first..).zip(values.iter().copied().chain(later)) {
            let total = counters.get(slot).copied().unwrap_or(0);
            // Hardly any store ever has one.
            if value == LATER && total == 0 {
                continue;
            }
            let mut labels = vec![(holder_key, holder)];
            labels.extend(own_name(metric));
            if let Some(label) = metric.label {
                labels.push((label.key, value));
            }
            ConstCounter::new(total).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn distributions(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    of_windows: &Windows,
    metric: &Metric,
) -> fmt::Result {
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
            let labels = with_own_name(metric, ("store_id", &store.store_id));
            let encoder = family.encode_family(&labels)?;
            let scale = metric.unit.prometheus_scale();
            histogram_lines(encoder, metric.bounds, scale, histogram)?;
        }
        windows(encoder, snapshot, of_windows, metric, at)?;
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
                let labels = with_own_name(metric, ("release", release));
                let encoder = family.encode_family(&labels)?;
                let (bounds, scale) = (metric.bounds_by_release(), metric.unit.prometheus_scale());
                histogram_lines(encoder, bounds, scale, histogram)?;
            }
        }
    }
    Ok(())
}

/// `pos_x_seconds` becomes `pos_x_window_seconds`, `pos_x` becomes `pos_x_window`.
fn window_name(metric: &Metric) -> String {
    match metric.prometheus.strip_suffix("_seconds") {
        Some(stem) => format!("{stem}_window_seconds"),
        None => format!("{}_window", metric.prometheus),
    }
}

fn windows(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    windows: &Windows,
    metric: &Metric,
    at: usize,
) -> fmt::Result {
    let name = window_name(metric);
    let place = u16::try_from(at).unwrap_or(u16::MAX);
    let mut lines = Vec::new();
    let mut samples = Vec::new();
    for store in &snapshot.stores {
        let Some(window) = windows.get(&(store.number, place)) else {
            continue;
        };
        for (quantile, value) in WINDOW_QUANTILES.iter().zip(&window.values) {
            let mut labels = with_own_name(metric, ("store_id", &store.store_id));
            labels.push(("q", quantile));
            lines.push((labels, metric.unit.to_prometheus(*value)));
        }
        samples.push((
            with_own_name(metric, ("store_id", &store.store_id)),
            to_float(window.samples),
        ));
    }
    let help = format!(
        "{} The quantiles cover the event-time minutes from 6 to 1 minutes ago.",
        metric.help
    );
    gauge_family(encoder, &name, &help, lines.into_iter())?;
    let stem = name.strip_suffix("_seconds").unwrap_or(&name);
    let help = format!("Counts the samples behind {name}.");
    gauge_family(
        encoder,
        &format!("{stem}_samples"),
        &help,
        samples.into_iter(),
    )
}

fn levels(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    metric: &Metric,
) -> fmt::Result {
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
            let mut labels = with_own_name(metric, ("store_id", &store.store_id));
            labels.push(("stat", stat));
            lines.push((labels, metric.unit.to_prometheus(*value)));
        }
    }
    let help = format!(
        "{} Over the last values of the terminals that report.",
        metric.help
    );
    gauge_family(encoder, metric.prometheus, &help, lines.into_iter())
}
