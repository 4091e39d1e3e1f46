//! A store as a row for a person: how it is, and what is worst about it.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tillwatch_model::metric::{Kind, Metric, to_float};
use tillwatch_model::{Catalogue, Quantile};

use crate::aggregate::layout::Layout;
use crate::live::look::StoreLook;

/// Fewer samples are shown, and not judged.
pub(super) const SAMPLES_MIN: u64 = 20;
/// Reasons that are named of one store.
const WHY_MAX: usize = 8;
/// Synchronisations should go well in this share of all attempts; less warns, and much less is critical.
const SUCCESS_MIN: [f64; 2] = [0.99, 0.95];
/// The share of synchronisations that went well, as it is named among the reasons.
const SYNC_SUCCESS: &str = "sync_success";
/// Terminals that should report and do not, as they are named among the reasons: one is enough.
const TERMINALS_SILENT: &str = "terminals_silent";
/// Attempts are counted over so many minutes.
const ATTEMPT_MINUTES: usize = 10;

/// How a store is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(rename = "StoreState")]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing comes of it, and it should report.
    Silent,
    /// Something is past its second limit.
    Critical,
    /// Something is past its first limit.
    Warning,
    /// It reports, and all is within its limits.
    Fine,
    /// Nothing was measured in the last minutes, and nothing is expected.
    Quiet,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "WhyLevel")]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Past the second limit.
    Critical,
    /// Past the first limit.
    Warning,
}

/// Why a store is not fine.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "StoreWhy")]
pub struct Why {
    /// The metric by its wire name; or `sync_success`, the share of synchronisations that went well; or
    /// `terminals_silent`, how many terminals should report and do not.
    pub metric: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The value, in the unit of the metric.
    pub value: f64,
    /// The limit that it is past, in the same unit. A share is past its limit when it is lower.
    pub limit: f64,
}

/// What rows of stores and of the fleet have in common. All percentiles are of the last five minutes and the one under
/// way; `null`: nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Values {
    /// 95th percentile of the durations of synchronisations. Unit: ms.
    pub sync_p95_ms: Option<f64>,
    /// How many synchronisations that is of.
    pub sync_samples: u64,
    /// The share of attempted synchronisations that went well in the last ten minutes, 0 to 1.
    pub sync_success: Option<f64>,
    /// How many attempts that is of.
    pub sync_attempts: u64,
    /// 95th percentile of the durations of offline logins. Unit: ms.
    pub login_p95_ms: Option<f64>,
    /// How many offline logins that is of.
    pub login_samples: u64,
    /// 75th percentile of Largest Contentful Paint. Unit: ms.
    pub lcp_p75_ms: Option<f64>,
    /// How many pages that is of.
    pub lcp_samples: u64,
    /// 75th percentile of Interaction to Next Paint. Unit: ms.
    pub inp_p75_ms: Option<f64>,
    /// How many pages that is of.
    pub inp_samples: u64,
    /// 75th percentile of round trips to the back office. Unit: ms.
    pub network_p75_ms: Option<f64>,
    /// How many round trips that is of.
    pub network_samples: u64,
    /// The most transactions that wait in one terminal.
    pub pending_max: Option<f64>,
    /// 95th percentile of the memory that the application uses in a terminal. Unit: MB.
    pub memory_p95_mb: Option<f64>,
    /// Terminals that posted within a day.
    pub terminals: u64,
    /// Terminals that posted in the last ten minutes.
    pub reporting: u64,
    /// Of those, how many had a synchronisation fail in the last ten minutes.
    pub sync_failing: u64,
    /// Batches that are missing and may still come.
    pub missing: u64,
    /// Batches that never came.
    pub lost: u64,
    /// Samples that came too late to move live series, since ever; they are stored.
    pub late: u64,
    /// When a batch was last received, Unix ms.
    pub last_report: i64,
}

/// One store.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "StoreRow")]
pub struct Row {
    /// The store.
    pub store_id: String,
    /// How it is.
    pub state: State,
    /// What is past its limits, the worst first, at most eight.
    pub why: Vec<Why>,
    /// Its numbers.
    #[serde(flatten)]
    pub values: Values,
    /// Terminals that should report and do not, while others of the store do.
    pub silent: u64,
    /// The release that most of its terminals run.
    pub release: Option<String>,
}

/// What is known of a metric in a store's last minutes.
pub(super) struct Window<'a> {
    pub(super) place: u16,
    pub(super) indices: &'a [u32],
    pub(super) counts: &'a [u64],
}

/// Synchronisations as they were counted at the beginning of each of the last minutes.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(VecDeque<[u64; 2]>);

impl Attempts {
    /// Before a store's first batch nothing was counted; of one that the collector knew already, this was.
    pub(super) fn since(counts: [u64; 2]) -> Self {
        Self(VecDeque::from([counts]))
    }

    /// A minute has begun at which so much was counted.
    pub(super) fn move_on(&mut self, counts: [u64; 2]) {
        self.0.push_back(counts);
        if self.0.len() > ATTEMPT_MINUTES {
            self.0.pop_front();
        }
    }

    /// Those that went well and that failed in the last minutes.
    pub(super) fn lately(&self, counts: [u64; 2]) -> [u64; 2] {
        let first = self.0.front().copied().unwrap_or(counts);
        // A store that is retired and comes back begins at 0.
        [0, 1].map(|at: usize| counts[at].saturating_sub(first[at]))
    }
}

impl Row {
    /// The row of a store with these windows, by ascending place.
    pub(super) fn of(
        look: &StoreLook,
        windows: &[Window<'_>],
        attempts: [u64; 2],
        layout: &Layout,
    ) -> Self {
        let mut values = Values {
            terminals: look.known,
            reporting: look.reporting,
            sync_failing: look.sync_failing,
            missing: look.batches.missing,
            lost: look.batches.lost,
            late: look.late.iter().sum(),
            last_report: look.last_report_ms,
            ..Values::default()
        };
        let mut why = Vec::new();
        let mut samples = 0;
        for metric in layout.catalogue().metrics() {
            let place = layout.place(metric);
            let window = place.store_histogram.and_then(|at| {
                let place = u16::try_from(at).ok()?;
                windows.iter().find(|window| window.place == place)
            });
            if let Some(window) = window {
                let count: u64 = window.counts.iter().sum();
                samples += count;
                let value = judged_value(metric, window);
                values.put(metric, value, count);
                let value = value.filter(|_| count >= SAMPLES_MIN);
                why.extend(value.and_then(|value| Why::of(metric, value)));
            }
            let level = place.level.and_then(|at| look.levels.get(at));
            let worst = level.and_then(|values| values.last().copied());
            why.extend(worst.and_then(|value| Why::of(metric, value)));
        }
        values.put_success(attempts);
        values.put_levels(layout.catalogue(), layout, &look.levels);
        why.extend(Why::of_success(&values));
        why.extend(Why::of_silence(look.silence.silent));
        why.sort_by(|one, other| {
            let by_level = one.level.cmp(&other.level);
            by_level.then(other.excess().total_cmp(&one.excess()))
        });
        why.truncate(WHY_MAX);
        let is_quiet = samples == 0 && look.reporting == 0;
        let state = match why.first() {
            _ if look.is_silent => State::Silent,
            Some(why) if why.level == Level::Critical => State::Critical,
            Some(_) => State::Warning,
            None if is_quiet => State::Quiet,
            None => State::Fine,
        };
        Self {
            store_id: look.store_id.to_string(),
            state,
            why,
            values,
            silent: look.silence.silent,
            release: look.release.as_ref().map(ToString::to_string),
        }
    }

    /// The worst first: silent stores, the longest silent first; then by how far they are past their limits.
    pub(super) fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        let excess = |row: &Self| row.why.first().map_or(0.0, Why::excess);
        let by_silence = if self.state == State::Silent && other.state == State::Silent {
            self.values.last_report.cmp(&other.values.last_report)
        } else {
            other.silent.cmp(&self.silent)
        };
        let by_state = self.state.cmp(&other.state);
        by_state
            .then(by_silence)
            .then(excess(other).total_cmp(&excess(self)))
            .then_with(|| self.store_id.cmp(&other.store_id))
    }
}

impl Values {
    fn put(&mut self, metric: &Metric, value: Option<u64>, count: u64) {
        let value = value.map(|value| metric.unit.to_wire(value));
        match metric.name {
            "sync_duration_ms" => (self.sync_p95_ms, self.sync_samples) = (value, count),
            "offline_login_duration_ms" => {
                (self.login_p95_ms, self.login_samples) = (value, count);
            }
            "lcp_ms" => (self.lcp_p75_ms, self.lcp_samples) = (value, count),
            "inp_ms" => (self.inp_p75_ms, self.inp_samples) = (value, count),
            "network_latency_ms" => (self.network_p75_ms, self.network_samples) = (value, count),
            _ => {}
        }
    }

    pub(super) fn put_success(&mut self, [good, failed]: [u64; 2]) {
        self.sync_attempts = good + failed;
        let all = to_float(self.sync_attempts);
        self.sync_success = (self.sync_attempts > 0).then(|| to_float(good) / all);
    }

    fn put_levels(&mut self, catalogue: &Catalogue, layout: &Layout, levels: &[Vec<u64>]) {
        let at = |name: &str, percent: usize| {
            let metric = catalogue.named(name)?;
            let values = levels.get(layout.place(metric).level?)?;
            Some(metric.unit.to_wire(percentile(values, percent)?))
        };
        self.pending_max = at("pending_transactions", 100);
        self.memory_p95_mb = at("memory_used_mb", 95);
    }
}

/// The value at a percentile of ascending values.
pub(super) fn percentile(ascending: &[u64], percent: usize) -> Option<u64> {
    let at = (ascending.len() * percent).div_ceil(100).checked_sub(1)?;
    ascending.get(at).copied()
}

impl Why {
    /// What of a value is past a limit of its metric.
    fn of(metric: &Metric, value: u64) -> Option<Self> {
        let [low, high] = metric.thresholds;
        let over = |limit: Option<u64>| limit.filter(|limit| value > *limit);
        let (level, limit) = over(high)
            .map(|limit| (Level::Critical, limit))
            .or_else(|| over(low).map(|limit| (Level::Warning, limit)))?;
        Some(Self {
            metric: metric.name,
            level,
            value: metric.unit.to_wire(value),
            limit: metric.unit.to_wire(limit),
        })
    }

    fn of_success(values: &Values) -> Option<Self> {
        let is_enough = values.sync_attempts >= SAMPLES_MIN;
        let value = values.sync_success.filter(|_| is_enough)?;
        let [low, high] = SUCCESS_MIN;
        let (level, limit) = if value < high {
            (Level::Critical, high)
        } else if value < low {
            (Level::Warning, low)
        } else {
            return None;
        };
        Some(Self {
            metric: SYNC_SUCCESS,
            level,
            value,
            limit,
        })
    }

    fn of_silence(terminals: u64) -> Option<Self> {
        (terminals > 0).then(|| Self {
            metric: TERMINALS_SILENT,
            level: Level::Warning,
            value: to_float(terminals),
            limit: 0.0,
        })
    }

    /// How far past the limit; of a share, by what is missing to the whole.
    fn excess(&self) -> f64 {
        let (value, limit) = if self.metric == SYNC_SUCCESS {
            (1.0 - self.value, 1.0 - self.limit)
        } else {
            (self.value, self.limit)
        };
        value / limit.max(f64::MIN_POSITIVE)
    }
}

/// Web vitals and round trips are judged at their 75th percentile (web.dev), everything else at its 95th.
pub(super) fn quantile_of(metric: &Metric) -> &'static str {
    let is_vital = matches!(
        metric.name,
        "lcp_ms" | "inp_ms" | "cls_score" | "network_latency_ms"
    );
    if is_vital && metric.kind == Kind::Distribution {
        "0.75"
    } else {
        "0.95"
    }
}

fn judged_value(metric: &Metric, window: &Window<'_>) -> Option<u64> {
    let quantile = Quantile::parse(quantile_of(metric))?;
    let values = tillwatch_model::histogram::values_at(
        window.indices,
        window.counts,
        std::slice::from_ref(&quantile),
    );
    values?.first().copied()
}
