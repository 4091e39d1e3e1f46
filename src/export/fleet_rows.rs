//! The fleet as rows for a person: each store with what is worst about it, and the fleet as a whole.
//!
//! Unlike the page for Prometheus it says what a number means: a store is critical or in warning if a window with enough
//! samples, or a level of a terminal, is past a limit of the catalogue.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::metric::{Kind, Metric};

use crate::aggregate::minutes::Series;
use crate::export::snapshot::{Snapshot, StoreSnapshot, WINDOW_QUANTILES, Window};

/// Fewer samples are shown, and not judged.
const SAMPLES_MIN: u64 = 20;
/// Reasons that are named of one store.
const WHY_MAX: usize = 8;

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetAnswer")]
pub struct FleetRows {
    /// When it was made, Unix ms.
    t: i64,
    /// Everything that was acknowledged before this time is in it, Unix ms.
    complete_to: i64,
    /// The stores, the worst first.
    stores: Vec<Row>,
    /// The fleet as a whole.
    all: All,
}

/// One store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetRow")]
struct Row {
    /// The store.
    store_id: String,
    /// critical, warning, silent, fine or quiet (nothing was measured in the last minutes).
    #[schemars(extend("enum" = ["silent", "critical", "warning", "fine", "quiet"]))]
    state: &'static str,
    /// What is past its limit, the worst first, at most eight.
    why: Vec<Why>,
    /// The 95th percentile of `sync_duration_ms`, ms; `null` without samples.
    sync_p95_ms: Option<f64>,
    /// How many synchronisations it stands on.
    sync_samples: u64,
    /// The 95th percentile of `offline_login_duration_ms`, ms; `null` without samples.
    login_p95_ms: Option<f64>,
    /// The 75th percentile of `lcp_ms`, ms; `null` without samples.
    lcp_p75_ms: Option<f64>,
    /// The 75th percentile of `inp_ms`, ms; `null` without samples.
    inp_p75_ms: Option<f64>,
    /// The most transactions that wait in a terminal that reports; `null`: none of them said.
    pending_max: Option<f64>,
    /// The 95th percentile of the memory that terminals which report use, MB; `null`: none of them said.
    memory_p95_mb: Option<f64>,
    /// Terminals that posted in the last ten minutes.
    reporting: u64,
    /// Terminals that should report and do not.
    silent: u64,
    /// Of those that report, how many had a synchronisation fail in the last ten minutes.
    sync_failing: u64,
    /// Batches that are missing and may still come.
    missing: u64,
    /// When the last batch came, Unix ms.
    last_report: i64,
}

/// Why a store is not fine.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetWhy")]
struct Why {
    /// The wire name of the metric.
    metric: &'static str,
    /// critical or warning.
    #[schemars(extend("enum" = ["critical", "warning"]))]
    level: &'static str,
    /// What was measured, in the metric's unit.
    value: f64,
    /// The limit that it is past, in the metric's unit.
    limit: f64,
}

/// The fleet as a whole.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "FleetTotals")]
struct All {
    /// How many stores there are.
    stores: usize,
    /// How many of them are critical.
    critical: usize,
    /// How many of them are in warning.
    warning: usize,
    /// How many of them are silent.
    silent: usize,
    /// Terminals that posted in the last ten minutes.
    reporting: u64,
    /// Terminals that should report and do not.
    silent_terminals: u64,
    /// Batches that are missing and may still come.
    missing: u64,
    /// The 95th percentile of `sync_duration_ms` of all stores together, ms; `null` without samples.
    sync_p95_ms: Option<f64>,
    /// How many synchronisations it stands on.
    sync_samples: u64,
    /// Of the terminals that report, how many had a synchronisation fail in the last ten minutes.
    sync_failing: u64,
    /// The 95th percentile of `offline_login_duration_ms` of all stores together, ms; `null` without samples.
    login_p95_ms: Option<f64>,
    /// The 75th percentile of `lcp_ms` of all stores together, ms; `null` without samples.
    lcp_p75_ms: Option<f64>,
    /// The 75th percentile of `inp_ms` of all stores together, ms; `null` without samples.
    inp_p75_ms: Option<f64>,
    /// The most transactions that wait in a terminal that reports; `null`: none of them said.
    pending_max: Option<f64>,
    /// When the last batch came, Unix ms; 0: none has.
    last_report: i64,
}

impl FleetRows {
    /// The rows of a snapshot.
    #[must_use]
    pub fn of(mut snapshot: Snapshot, now_ms: i64) -> Self {
        let (windows, of_all) = snapshot.windows_of_all();
        let mut stores: Vec<Row> = snapshot
            .stores
            .iter()
            .map(|store| Row::of(&snapshot, store, &windows))
            .collect();
        stores.sort_by(|one, other| {
            let rank = |row: &Row| (row.rank(), std::cmp::Reverse(row.silent));
            let by_excess = other.excess().total_cmp(&one.excess());
            rank(one)
                .cmp(&rank(other))
                .then(by_excess)
                .then_with(|| one.store_id.cmp(&other.store_id))
        });
        let value = |name: &str, quantile: &str| {
            let metric = snapshot.layout.catalogue().named(name)?;
            let at = snapshot.layout.place(metric).store_histogram?;
            let window = of_all.get(&u16::try_from(at).ok()?)?;
            Some(metric.unit.to_wire(at_quantile(window, quantile)?))
        };
        let mut all = All {
            stores: stores.len(),
            sync_p95_ms: value("sync_duration_ms", "0.95"),
            login_p95_ms: value("offline_login_duration_ms", "0.95"),
            lcp_p75_ms: value("lcp_ms", "0.75"),
            inp_p75_ms: value("inp_ms", "0.75"),
            ..All::default()
        };
        for row in &stores {
            all.critical += usize::from(row.state == CRITICAL);
            all.warning += usize::from(row.state == WARNING);
            all.silent += usize::from(row.state == SILENT);
            all.reporting += row.reporting;
            all.silent_terminals += row.silent;
            all.missing += row.missing;
            all.sync_samples += row.sync_samples;
            all.sync_failing += row.sync_failing;
            all.pending_max = match (all.pending_max, row.pending_max) {
                (Some(most), Some(value)) => Some(most.max(value)),
                (most, value) => most.or(value),
            };
            all.last_report = all.last_report.max(row.last_report);
        }
        Self {
            t: now_ms,
            complete_to: now_ms,
            stores,
            all,
        }
    }
}

const CRITICAL: &str = "critical";
const WARNING: &str = "warning";
const SILENT: &str = "silent";

impl Row {
    fn of(snapshot: &Snapshot, store: &StoreSnapshot, windows: &HashMap<Series, Window>) -> Self {
        let mut why = Vec::new();
        let (mut samples, mut sync_samples) = (0, 0);
        for metric in snapshot.layout.catalogue().metrics() {
            let place = snapshot.layout.place(metric);
            let window = place.store_histogram.and_then(|at| of(windows, store, at));
            if let Some(window) = window {
                samples += window.samples;
                if metric.name == "sync_duration_ms" {
                    sync_samples = window.samples;
                }
                let value = at_quantile(window, quantile_of(metric));
                let value = value.filter(|_| window.samples >= SAMPLES_MIN);
                why.extend(value.and_then(|value| Why::of(metric, value)));
            }
            let level = place.level.and_then(|at| store.levels.get(at));
            let worst = level.and_then(|level| level.values.last().copied());
            why.extend(worst.and_then(|value| Why::of(metric, value)));
        }
        why.sort_by(|one, other| {
            let is_warning = |why: &Why| why.level == WARNING;
            is_warning(one)
                .cmp(&is_warning(other))
                .then(other.excess().total_cmp(&one.excess()))
        });
        why.truncate(WHY_MAX);
        let is_quiet = samples == 0 && store.terminals.reporting == 0;
        let state = match why.first() {
            _ if !store.silence.is_reporting && is_quiet => SILENT,
            Some(why) => why.level,
            None if is_quiet => "quiet",
            None => "fine",
        };
        let value = |name: &str, quantile: &str| {
            let metric = snapshot.layout.catalogue().named(name)?;
            let at = snapshot.layout.place(metric).store_histogram?;
            let value = at_quantile(of(windows, store, at)?, quantile)?;
            Some(metric.unit.to_wire(value))
        };
        let level = |name: &str, percent: usize| {
            let metric = snapshot.layout.catalogue().named(name)?;
            let values = &store
                .levels
                .get(snapshot.layout.place(metric).level?)?
                .values;
            let at = (values.len() * percent).div_ceil(100).checked_sub(1)?;
            Some(metric.unit.to_wire(*values.get(at)?))
        };
        Self {
            store_id: store.store_id.to_string(),
            state,
            sync_p95_ms: value("sync_duration_ms", "0.95"),
            sync_samples,
            login_p95_ms: value("offline_login_duration_ms", "0.95"),
            lcp_p75_ms: value("lcp_ms", "0.75"),
            inp_p75_ms: value("inp_ms", "0.75"),
            pending_max: level("pending_transactions", 100),
            memory_p95_mb: level("memory_used_mb", 95),
            reporting: store.terminals.reporting,
            silent: store.silence.silent,
            sync_failing: store.terminals.sync_failing,
            missing: store.batches_missing,
            last_report: store.series.last_report_ms,
            why,
        }
    }

    fn rank(&self) -> usize {
        let ranks = [SILENT, CRITICAL, WARNING, "fine"];
        ranks
            .iter()
            .position(|state| *state == self.state)
            .unwrap_or(ranks.len())
    }

    fn excess(&self) -> f64 {
        self.why.first().map_or(0.0, Why::excess)
    }
}

impl Why {
    /// What of a value is past a limit of its metric.
    fn of(metric: &Metric, value: u64) -> Option<Self> {
        let [low, high] = metric.thresholds;
        let over = |limit: Option<u64>| limit.filter(|limit| value > *limit);
        let (level, limit) = over(high)
            .map(|limit| (CRITICAL, limit))
            .or_else(|| over(low).map(|limit| (WARNING, limit)))?;
        Some(Self {
            metric: metric.name,
            level,
            value: metric.unit.to_wire(value),
            limit: metric.unit.to_wire(limit),
        })
    }

    fn excess(&self) -> f64 {
        self.value / self.limit.max(f64::MIN_POSITIVE)
    }
}

fn of<'a>(
    windows: &'a HashMap<Series, Window>,
    store: &StoreSnapshot,
    at: usize,
) -> Option<&'a Window> {
    windows.get(&(store.number, u16::try_from(at).ok()?))
}

/// Web vitals are judged at their 75th percentile (web.dev), everything else at its 95th.
fn quantile_of(metric: &Metric) -> &'static str {
    let is_vital = matches!(metric.name, "lcp_ms" | "inp_ms" | "cls_score");
    if is_vital && metric.kind == Kind::Distribution {
        "0.75"
    } else {
        "0.95"
    }
}

fn at_quantile(window: &Window, quantile: &str) -> Option<u64> {
    let at = WINDOW_QUANTILES
        .iter()
        .position(|known| *known == quantile)?;
    window.values.get(at).copied()
}
