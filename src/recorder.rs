//! The recorder behind the `metrics` macros: counters and gauges as the Prometheus exporter keeps them,
//! histograms in fixed buckets of atomics.
//!
//! The exporter's own histograms keep every value until somebody scrapes. The histograms here never grow,
//! and recording a value takes neither a lock nor memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use metrics_exporter_prometheus::formatting::{sanitize_description, sanitize_label_value};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tillwatch_model::metric::to_float;

/// A histogram that may be recorded: its name, its help, its upper bounds (rising).
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// The histogram's name. Values of one that ends in `_seconds` are added up in nanoseconds, of others as
    /// whole numbers.
    pub name: &'static str,
    /// What the histogram measures, in words.
    pub help: &'static str,
    /// Upper bounds of the histogram's buckets, rising; the last one, infinity, is not among them.
    pub bounds: &'static [f64],
}

/// Values counted by bucket.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than bounds; not cumulative.
    counts: Vec<AtomicU64>,
    /// The sum of the values, in units of one over `units`.
    sum: AtomicU64,
    units: f64,
}

impl Buckets {
    fn new(declared: &Declared) -> Self {
        Self {
            bounds: declared.bounds,
            counts: (0..=declared.bounds.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            sum: AtomicU64::new(0),
            units: if declared.name.ends_with("_seconds") {
                1e9
            } else {
                1.0
            },
        }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below nothing and what is no number become 0, past the range its end"
        )]
        let units = (value * self.units).round() as u64;
        self.sum.fetch_add(units, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Family {
    declared: Declared,
    /// The series by their labels, as they are written.
    series: BTreeMap<String, Arc<Buckets>>,
}

#[derive(Debug, Default)]
struct Families(Mutex<BTreeMap<&'static str, Family>>);

/// Takes what the `metrics` macros say.
#[derive(Debug)]
pub struct Recorder {
    exporter: PrometheusRecorder,
    families: Arc<Families>,
}

/// Renders what a [`Recorder`] holds.
#[derive(Debug, Clone)]
pub struct Handle {
    exporter: PrometheusHandle,
    families: Arc<Families>,
}

impl Recorder {
    /// A recorder of these histograms, and of any counters and gauges.
    #[must_use]
    pub fn new(histograms: impl IntoIterator<Item = Declared>) -> Self {
        let family = |declared: Declared| {
            let series = BTreeMap::new();
            (declared.name, Family { declared, series })
        };
        Self {
            exporter: PrometheusBuilder::new().build_recorder(),
            families: Arc::new(Families(Mutex::new(
                histograms.into_iter().map(family).collect(),
            ))),
        }
    }

    /// A handle that renders what the recorder holds.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            exporter: self.exporter.handle(),
            families: Arc::clone(&self.families),
        }
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.exporter.describe_counter(name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.exporter.describe_gauge(name, unit, help);
    }

    /// Histograms bring their help when they are declared.
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    /// A histogram that is not declared has no bounds, and records nothing.
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut families = self.families.lock();
        let Some(family) = families.get_mut(key.name()) else {
            return Histogram::noop();
        };
        let labels = key.labels().fold(String::new(), |mut text, label| {
            let comma = if text.is_empty() { "" } else { "," };
            let value = sanitize_label_value(label.value());
            let _infallible = write!(text, "{comma}{}=\"{value}\"", label.key());
            text
        });
        let buckets = family
            .series
            .entry(labels)
            .or_insert_with(|| Arc::new(Buckets::new(&family.declared)));
        Histogram::from_arc(Arc::clone(buckets))
    }
}

impl Families {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A histogram as it is counted.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// Upper bounds of the buckets; the last one, infinity, is not among them.
    pub bounds: &'static [f64],
    /// Of each series the labels, as they are written, and the values by bucket, not cumulative.
    pub series: Vec<(String, Vec<u64>)>,
}

impl Handle {
    /// A histogram as it is counted now; `None`: none of this name is declared.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Option<Values> {
        let families = self.families.lock();
        let family = families.get(name)?;
        let series = family.series.iter().map(|(labels, buckets)| {
            let counts = buckets.counts.iter();
            let counts = counts.map(|count| count.load(Ordering::Relaxed)).collect();
            (labels.clone(), counts)
        });
        Some(Values {
            bounds: family.declared.bounds,
            series: series.collect(),
        })
    }

    /// Everything, as Prometheus reads it (text format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.exporter.render();
        for family in self.families.lock().values() {
            // Writing to a string cannot fail.
            let _infallible = family.render(&mut text);
        }
        text
    }
}

impl Family {
    fn render(&self, text: &mut String) -> std::fmt::Result {
        if self.series.is_empty() {
            return Ok(());
        }
        let name = self.declared.name;
        let help = sanitize_description(self.declared.help);
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        for (labels, buckets) in &self.series {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut count = 0;
            for (at, bucket) in buckets.counts.iter().enumerate() {
                count += bucket.load(Ordering::Relaxed);
                match buckets.bounds.get(at) {
                    Some(bound) => writeln!(
                        text,
                        "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
                    )?,
                    None => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}")?,
                }
            }
            let sum = to_float(buckets.sum.load(Ordering::Relaxed)) / buckets.units;
            let braced = match labels.as_str() {
                "" => String::new(),
                labels => format!("{{{labels}}}"),
            };
            writeln!(
                text,
                "{name}_sum{braced} {sum}\n{name}_count{braced} {count}"
            )?;
        }
        writeln!(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: Declared = Declared {
        name: "a_seconds",
        help: "How long.",
        bounds: &[0.1, 0.5],
    };

    #[test]
    fn values_land_in_the_bucket_whose_bound_they_do_not_pass() {
        let recorder = Recorder::new([DECLARED]);
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let histogram = metrics::histogram!("a_seconds", "k" => "v\"1");
            for value in [0.1, 0.100_000_001, 0.5, 7.0] {
                histogram.record(value);
            }
            metrics::histogram!("not_declared").record(1.0);
            metrics::counter!("c_total").increment(2);
        });
        let text = handle.render();
        for line in [
            "# HELP a_seconds How long.",
            "# TYPE a_seconds histogram",
            "a_seconds_bucket{k=\"v\\\"1\",le=\"0.1\"} 1",
            "a_seconds_bucket{k=\"v\\\"1\",le=\"0.5\"} 3",
            "a_seconds_bucket{k=\"v\\\"1\",le=\"+Inf\"} 4",
            "a_seconds_sum{k=\"v\\\"1\"} 7.700000001",
            "a_seconds_count{k=\"v\\\"1\"} 4",
            "c_total 2",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("not_declared"));
    }

    #[test]
    fn what_is_no_number_does_not_spoil_the_sum() {
        let buckets = Buckets::new(&DECLARED);
        for value in [f64::NAN, -1.0, 0.25] {
            buckets.record(value);
        }
        assert_eq!(buckets.sum.load(Ordering::Relaxed), 250_000_000);
    }
}
