//! Every series that may be named: from the catalogue, from the collector's own list, from recording
//! rules, and what Prometheus, Alertmanager and probes say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use tillwatch::aggregate::live::SKEW_BOUNDS_MS;
use tillwatch::export::families::{self, Family};
use tillwatch::self_metrics;
use tillwatch_model::Catalogue;
use tillwatch_model::metric::{Kind, Metric, to_float};

use crate::expression::Reading;
use crate::files::{Group, Rule};

/// What values a label can have.
#[derive(Debug, Clone)]
pub enum Values {
    /// Whatever the fleet brings.
    Any,
    /// These.
    OneOf(Vec<String>),
    /// Upper bounds of buckets, in the unit of Prometheus.
    Bounds(Vec<f64>),
}

/// Labels by series.
pub type Known = BTreeMap<String, BTreeMap<String, Values>>;

/// What a store has a share of.
const SHARED: &[&str] = &["queues", "gaps", "idempotency_keys", "rows"];

/// Labels of the collector's own metrics.
const OF_SELF: &[(&str, &str, &[&str])] = &[
    (
        "tillwatch_samples_total",
        "outcome",
        &["accepted", "duplicate", "deferred"],
    ),
    (
        "tillwatch_requests_total",
        "status",
        &["202", "400", "429", "503"],
    ),
    (
        "tillwatch_request_duration_seconds",
        "class",
        &["2xx", "3xx", "4xx", "5xx"],
    ),
    (
        "tillwatch_clickhouse_bytes",
        "table",
        &[
            "rollup_1m",
            "rollup_1h",
            "rollup_terminal_1h",
            "session",
            "error_group_1h",
            "summary_1m",
            "loss",
        ],
    ),
    (
        "tillwatch_clickhouse_partitions_given_up_total",
        "table",
        &[
            "rollup_1m",
            "rollup_1h",
            "rollup_terminal_1h",
            "session",
            "error_group_1h",
            "summary_1m",
        ],
    ),
    ("tillwatch_share_refusals_total", "what", SHARED),
    ("tillwatch_share_largest_store", "what", SHARED),
    ("tillwatch_share_places", "what", SHARED),
    ("tillwatch_seals_total", "result", &["ok", "error"]),
    (
        "tillwatch_backups_total",
        "result",
        &["ok", "failed", "unverified"],
    ),
    ("tillwatch_ship_rounds_total", "result", &["ok", "error"]),
    ("tillwatch_rollout_sweeps_total", "result", &["ok", "error"]),
    (
        "tillwatch_ledger_samples",
        "place",
        &["accepted", "open", "sealed", "outbox", "confirmed"],
    ),
    (
        "tillwatch_journal_samples",
        "what",
        &[
            "rejected",
            "repeated_records",
            "unreadable_records",
            "unknown_acts",
            "unknown_metrics",
            "unknown_labels",
            "unknown_connections",
            "unknown_sources",
            "unknown_entries",
            "overflowed_batches",
        ],
    ),
];

/// What the collector says of rollouts, and its labels beside those of the step.
const OF_ROLLOUT: &[(&str, &[&str])] = &[
    ("tillwatch_rollout_verdict", &["verdict"]),
    ("tillwatch_rollout_reason", &["reason"]),
    ("tillwatch_rollout_look_hours", &[]),
    ("tillwatch_rollout_next_look_timestamp_seconds", &[]),
    ("tillwatch_rollout_revisions", &[]),
    ("tillwatch_rollout_revised_timestamp_seconds", &[]),
    ("tillwatch_rollout_worse_ratio", &["metric", "bound"]),
    (
        "tillwatch_rollout_worse_difference_ratio",
        &["metric", "bound"],
    ),
    ("tillwatch_rollout_stores", &["group"]),
    ("tillwatch_rollout_terminals_awaited", &[]),
];

/// What Prometheus 2.42 and Alertmanager 0.25 say of themselves.
const OF_MONITORING: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("scrape_duration_seconds", &[]),
    ("scrape_samples_scraped", &[]),
    (
        "ALERTS",
        &[
            "alertname",
            "alertstate",
            "severity",
            "scope",
            "family",
            "store_id",
        ],
    ),
    ("prometheus_rule_evaluation_failures_total", &["rule_group"]),
    (
        "prometheus_rule_group_iterations_missed_total",
        &["rule_group"],
    ),
    (
        "prometheus_rule_group_last_duration_seconds",
        &["rule_group"],
    ),
    ("prometheus_rule_group_interval_seconds", &["rule_group"]),
    ("prometheus_notifications_alertmanagers_discovered", &[]),
    ("prometheus_notifications_errors_total", &["alertmanager"]),
    ("prometheus_notifications_sent_total", &["alertmanager"]),
    ("prometheus_notifications_dropped_total", &[]),
    ("prometheus_config_last_reload_successful", &[]),
    ("prometheus_tsdb_compactions_failed_total", &[]),
    ("prometheus_tsdb_wal_corruptions_total", &[]),
    ("alertmanager_config_last_reload_successful", &[]),
    ("alertmanager_notifications_total", &["integration"]),
    ("alertmanager_notifications_failed_total", &["integration"]),
];

/// What a probe says of what it found, each of a store. `probe/src/metrics.mjs` declares it, and `tests/stack/probe.sh`
/// asks a probe for it.
const OF_PROBE: &[(&str, &[&str])] = &[
    ("pos_synthetic_runs_total", &["scenario", "result"]),
    ("pos_synthetic_last_run_result", &["scenario", "result"]),
    ("pos_synthetic_last_run_timestamp_seconds", &["scenario"]),
    ("pos_synthetic_run_duration_seconds", &["scenario"]),
    ("pos_synthetic_steps_total", &["scenario", "step", "result"]),
    ("pos_synthetic_step_duration_seconds", &["scenario", "step"]),
    ("pos_synthetic_measured_seconds", &["scenario", "measure"]),
    ("pos_synthetic_limit_seconds", &["scenario", "measure"]),
    ("pos_synthetic_measured_bytes", &["scenario", "measure"]),
    ("pos_synthetic_limit_bytes", &["scenario", "measure"]),
    ("pos_synthetic_interval_seconds", &[]),
    ("pos_synthetic_waiting_batches", &[]),
    ("pos_synthetic_dropped_batches_total", &[]),
];

/// How a run or a step of a probe ends.
const PROBE_RESULTS: &[&str] = &["ok", "over_limit", "failed"];

/// Every series that an expression may name.
pub fn series(groups: &[Group]) -> Known {
    let mut known = Known::new();
    for metric in Catalogue::default().metrics() {
        add_metric(&mut known, metric);
    }
    for family in families::ALL {
        add_family(&mut known, family);
    }
    for (name, labels) in OF_MONITORING {
        let labels = labels
            .iter()
            .map(|label| ((*label).to_owned(), Values::Any));
        known.insert((*name).to_owned(), labels.collect());
    }
    for (name, labels) in OF_PROBE {
        let labels = ["store_id"].iter().chain(*labels);
        let labels = labels.map(|label| match *label {
            "result" => ("result".to_owned(), one_of(PROBE_RESULTS)),
            label => (label.to_owned(), Values::Any),
        });
        known.insert((*name).to_owned(), labels.collect());
    }
    let metrics: Vec<String> = Catalogue::default()
        .metrics()
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    if let Some(labels) = known.get_mut("pos_terminals_over_limit") {
        labels.insert("metric".to_owned(), Values::OneOf(metrics));
    }
    add_own(&mut known);
    for (name, more) in OF_ROLLOUT {
        let labels = ["release", "against", "step"].iter().chain(*more);
        let labels = labels.map(|label| ((*label).to_owned(), Values::Any));
        known.insert((*name).to_owned(), labels.collect());
    }
    // A recorded series has, of the labels of what it is made from, those that its name says.
    for rule in groups.iter().flat_map(|group| &group.rules) {
        if let Some(name) = rule.recorded() {
            known.insert(name.to_owned(), recorded_labels(name));
        }
    }
    known
}

fn one_of(values: &[&str]) -> Values {
    Values::OneOf(values.iter().map(|value| (*value).to_owned()).collect())
}

fn recorded_labels(name: &str) -> BTreeMap<String, Values> {
    let mut labels = BTreeMap::new();
    let key = match name.split(':').next() {
        Some("store") => Some("store_id"),
        Some("release") => Some("release"),
        _ => None,
    };
    // What `anomalies.yml` records has one name for all metrics.
    let is_of_metrics = name.contains(":pos_all:") || name.contains(":pos_bad");
    let more = if is_of_metrics {
        &["metric", "over"][..]
    } else {
        &[]
    };
    for key in key.iter().chain(more) {
        labels.insert((*key).to_owned(), Values::Any);
    }
    labels
}

fn add_family(known: &mut Known, family: &Family) {
    let labels = family
        .labels
        .iter()
        .map(|label| ((*label).to_owned(), Values::Any));
    let labels: BTreeMap<String, Values> = labels.collect();
    let name = family.name;
    match family.kind {
        "counter" => {
            known.insert(format!("{name}_total"), labels);
        }
        "histogram" => {
            let mut buckets = labels.clone();
            // The only one there is.
            let bounds = SKEW_BOUNDS_MS.map(|bound| to_float(bound) / 1_000.0);
            buckets.insert("le".to_owned(), Values::Bounds(bounds.to_vec()));
            known.insert(format!("{name}_bucket"), buckets);
            for suffix in ["_sum", "_count"] {
                known.insert(format!("{name}{suffix}"), labels.clone());
            }
        }
        _ => {
            known.insert(name.to_owned(), labels);
        }
    }
}

fn add_metric(known: &mut Known, metric: &Metric) {
    let mut add = |name: String, labels: Vec<(&str, Values)>| {
        let labels = labels
            .into_iter()
            .map(|(key, values)| (key.to_owned(), values));
        known.insert(name, labels.collect());
    };
    let store = ("store_id", Values::Any);
    let name = metric.prometheus;
    match metric.kind {
        Kind::Counter => {
            let label = metric.label.map(|label| (label.key, one_of(label.values)));
            if metric.per_release {
                let labels = std::iter::once(("release", Values::Any)).chain(label.clone());
                let name = name.replacen("pos_", "pos_release_", 1);
                add(format!("{name}_total"), labels.collect());
            }
            let labels = std::iter::once(store).chain(label).collect();
            add(format!("{name}_total"), labels);
        }
        Kind::Level => add(
            name.to_owned(),
            vec![store, ("stat", one_of(&["max", "p95"]))],
        ),
        Kind::Distribution => {
            let values = |bounds: &[u64]| {
                let bounds = bounds.iter().map(|bound| metric.unit.to_prometheus(*bound));
                Values::Bounds(bounds.collect())
            };
            let by_release = if metric.per_store {
                name.replacen("pos_", "pos_release_", 1)
            } else {
                name.to_owned()
            };
            let mut histogram = |name: &str, by: &str, bounds: &[u64]| {
                let by = (by.to_owned(), Values::Any);
                for suffix in ["_sum", "_count"] {
                    add(format!("{name}{suffix}"), vec![(&by.0, by.1.clone())]);
                }
                let labels = vec![(by.0.as_str(), by.1.clone()), ("le", values(bounds))];
                add(format!("{name}_bucket"), labels);
            };
            histogram(&by_release, "release", metric.bounds_by_release());
            if metric.per_store {
                histogram(name, "store_id", metric.bounds);
            }
        }
    }
}

fn add_own(known: &mut Known) {
    for (name, kind, _) in self_metrics::ALL {
        let mut labels = BTreeMap::new();
        for (of, key, values) in OF_SELF {
            if of == name {
                labels.insert((*key).to_owned(), one_of(values));
            }
        }
        if *name == "tillwatch_samples_rejected_total" {
            let reasons = tillwatch_model::Reason::ALL.iter();
            let reasons = reasons.map(|reason| reason.name().to_owned()).collect();
            labels.insert("reason".to_owned(), Values::OneOf(reasons));
        }
        if *kind == self_metrics::MetricType::Histogram {
            for suffix in ["_sum", "_count", "_bucket"] {
                let mut labels = labels.clone();
                if suffix == "_bucket" {
                    labels.insert("le".to_owned(), Values::Any);
                }
                known.insert(format!("{name}{suffix}"), labels);
            }
        } else {
            known.insert((*name).to_owned(), labels);
        }
    }
}

/// The numbers and bounds in the expression of an alert and in everything recorded that it uses.
pub fn reach(groups: &[Group], expr: &str) -> Vec<Reading> {
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    let mut found = Vec::new();
    let mut open = vec![expr.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(expr) = open.pop() {
        let reading = Reading::of(&expr).expect("checked by another test");
        for metric in reading.metrics() {
            if !seen.insert(metric.clone()) {
                continue;
            }
            // The same name may be recorded with other labels.
            let recorded = rules.iter().filter(|rule| rule.recorded() == Some(&metric));
            open.extend(recorded.map(|rule| rule.expr().to_owned()));
        }
        found.push(reading);
    }
    found
}
