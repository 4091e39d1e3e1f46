//! Answers with the catalogue of metrics.

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::Catalogue;
use tillwatch_model::metric::Metric;

use crate::query::words::units;

/// The catalogue of metrics.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CatalogueAnswer {
    /// The metrics, those of the shop last.
    metrics: Vec<MetricLine>,
}

/// One metric of the catalogue.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CatalogueMetric")]
struct MetricLine {
    /// Other names by which terminals may send it.
    aliases: &'static [&'static str],
    /// What it tells.
    help: &'static str,
    /// Whether the shop has declared it in the settings.
    is_own: bool,
    /// `distribution` (has percentiles), `counter` (has a sum) or `level` (the current state of a terminal).
    #[schemars(extend("enum" = ["distribution", "counter", "level"]))]
    kind: &'static str,
    /// The label by which its values are told apart; `null`: it has none.
    label: Option<LabelLine>,
    /// How late a sample may be received and still move the series in Prometheus: within 10 minutes (`event`), within
    /// 24 hours (`arrival`), at any age (`always`).
    #[schemars(extend("enum" = ["event", "arrival", "always"]))]
    live: &'static str,
    /// The greatest value that a sample may have, in the metric's unit.
    max: f64,
    /// The wire name.
    metric: &'static str,
    /// Whether its values are kept by terminal and hour.
    per_terminal: bool,
    /// The name of its series in Prometheus.
    prometheus: &'static str,
    /// Where the thresholds come from.
    threshold_note: &'static str,
    /// The first and the second threshold, in the metric's unit; `null`: there is none.
    thresholds: [Option<f64>; 2],
    /// The unit of its values.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
}

/// The label of a metric.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CatalogueLabel")]
struct LabelLine {
    /// The name of the label in Prometheus.
    key: &'static str,
    /// The values that it may have.
    values: &'static [&'static str],
}

impl CatalogueAnswer {
    /// The answer of a catalogue.
    #[must_use]
    pub fn of(catalogue: &Catalogue) -> Self {
        let metrics = catalogue.metrics().iter().map(MetricLine::of).collect();
        Self { metrics }
    }
}

impl MetricLine {
    fn of(metric: &Metric) -> Self {
        let label = |label: tillwatch_model::metric::Label| LabelLine {
            key: label.key,
            values: label.values,
        };
        Self {
            aliases: metric.aliases,
            help: metric.help,
            is_own: metric.is_own(),
            kind: metric.kind.name(),
            label: metric.label.map(label),
            live: metric.live.name(),
            max: metric.unit.to_wire(metric.value_max),
            metric: metric.name,
            per_terminal: metric.per_terminal,
            prometheus: metric.prometheus,
            threshold_note: metric.threshold_note,
            thresholds: metric
                .thresholds
                .map(|value| value.map(|value| metric.unit.to_wire(value))),
            unit: metric.unit.name(),
        }
    }
}
