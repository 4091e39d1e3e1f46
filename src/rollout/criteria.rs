//! What a rollout is judged by: which metrics, how much worse they may become, and which limits they must keep.

use std::collections::BTreeMap;

use tillwatch_model::Unit;

/// What a rollout is judged by. [`Plan::default`] is used where nobody wrote one.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The release that is rolled out, if the file names it.
    pub release: Option<String>,
    /// The release it is held against; by default the one that most terminals ran in the week before.
    pub against: Option<String>,
    /// Percent of the stores, step by step.
    pub steps: Vec<u32>,
    /// How long a step lasts at least before it can pass. Unit: hours.
    pub minimum_hours: u32,
    /// Distributions by the name of their metric: durations and levels.
    pub values: BTreeMap<String, ValueCriterion>,
    /// Shares by their name.
    pub ratios: BTreeMap<String, RatioCriterion>,
    /// Counters of which one too many fails at once, and how many may be.
    pub incidents: BTreeMap<String, u64>,
    /// Stores that are left out, and why.
    pub exclude: BTreeMap<String, String>,
}

/// What is asked of the p95 of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueCriterion {
    /// Whether it is a state of the terminal, such as its memory, and no duration.
    pub is_level: bool,
    /// The metric's unit: limits are in the unit of its wire name.
    pub unit: Unit,
    /// The factor that is still tolerated; `None`: only the limits count.
    pub worse_at_most: Option<f64>,
    /// What a pass needs.
    pub green_under: Option<f64>,
    /// What nobody may exceed.
    pub rollback_over: Option<f64>,
    /// Whether it may be missing.
    pub is_optional: bool,
}

/// What is asked of a share, in terms of its bad ones: a success of at least 99 % is at most 1 % bad.
#[derive(Debug, Clone, PartialEq)]
pub struct RatioCriterion {
    /// The share of bad ones that a pass needs to stay under.
    pub green: f64,
    /// The share of bad ones over which it fails.
    pub rollback: Option<f64>,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// Whether people speak of the good ones.
    pub is_success: bool,
}

/// A counter, and the value of its label; `None` means all values.
pub type Counter = (&'static str, Option<&'static str>);

/// What a share of the plan is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioSource {
    /// The name in the plan.
    pub name: &'static str,
    /// The counter of bad ones.
    pub bad: Counter,
    /// The counters of all.
    pub all: &'static [Counter],
    /// Whether people speak of the good ones.
    pub is_success: bool,
}

const OPERATIONS: &[Counter] = &[
    ("cache_requests", None),
    ("sync_attempts", None),
    ("offline_logins", None),
    ("offline_transactions", None),
];

/// Every share that a plan may name.
pub const RATIOS: &[RatioSource] = &[
    success(
        "sync_success",
        ("sync_attempts", Some("failure")),
        &[("sync_attempts", None)],
    ),
    success(
        "offline_login_success",
        ("offline_logins", Some("failure")),
        &[("offline_logins", None)],
    ),
    success(
        "offline_transaction_success",
        ("offline_transactions", Some("failure")),
        &[("offline_transactions", None)],
    ),
    success(
        "cache_hits",
        ("cache_requests", Some("miss")),
        &[("cache_requests", None)],
    ),
    success(
        "cache_assets_hits",
        ("cache_assets_requests", Some("miss")),
        &[("cache_assets_requests", None)],
    ),
    success(
        "cache_search_hits",
        ("cache_search_requests", Some("miss")),
        &[("cache_search_requests", None)],
    ),
    success(
        "cache_data_hits",
        ("cache_data_requests", Some("miss")),
        &[("cache_data_requests", None)],
    ),
    RatioSource {
        is_success: false,
        ..success("errors", ("errors", None), OPERATIONS)
    },
    RatioSource {
        is_success: false,
        ..success(
            "conflicts",
            ("conflicts", None),
            &[("offline_transactions", None)],
        )
    },
];

const fn success(name: &'static str, bad: Counter, all: &'static [Counter]) -> RatioSource {
    RatioSource {
        name,
        bad,
        all,
        is_success: true,
    }
}

/// The factor by which a duration may become worse.
pub const WORSE_AT_MOST: f64 = 1.2;

const DURATION: ValueCriterion = ValueCriterion {
    is_level: false,
    unit: Unit::Milliseconds,
    worse_at_most: Some(WORSE_AT_MOST),
    green_under: None,
    rollback_over: None,
    is_optional: false,
};

const SUCCESS: RatioCriterion = RatioCriterion {
    green: 0.01,
    rollback: None,
    is_optional: true,
    is_success: true,
};

impl Default for Plan {
    /// 10, 25, 50, 75 and 100 % of the stores, a day for each; three durations that may become worse by at most a fifth,
    /// the success of synchronisation, errors and memory with their limits, and no loss of data.
    fn default() -> Self {
        let values = [
            (
                "offline_login_duration_ms",
                ValueCriterion {
                    green_under: Some(300.0),
                    rollback_over: Some(500.0),
                    ..DURATION
                },
            ),
            ("page_load_ms", DURATION),
            (
                "sync_duration_ms",
                ValueCriterion {
                    rollback_over: Some(5_000.0),
                    ..DURATION
                },
            ),
            (
                "memory_used_mb",
                ValueCriterion {
                    is_level: true,
                    unit: Unit::Megabytes,
                    worse_at_most: None,
                    green_under: Some(45.0),
                    rollback_over: Some(50.0),
                    is_optional: true,
                },
            ),
        ];
        let ratios = [
            (
                "sync_success",
                RatioCriterion {
                    rollback: Some(0.05),
                    is_optional: false,
                    ..SUCCESS
                },
            ),
            (
                "errors",
                RatioCriterion {
                    // Nobody says when errors call for a rollback: ten times what is green.
                    green: 0.001,
                    rollback: Some(0.01),
                    is_success: false,
                    ..SUCCESS
                },
            ),
        ];
        Self {
            release: None,
            against: None,
            steps: vec![10, 25, 50, 75, 100],
            minimum_hours: 24,
            values: values
                .map(|(name, criterion)| (name.to_owned(), criterion))
                .into(),
            ratios: ratios
                .map(|(name, criterion)| (name.to_owned(), criterion))
                .into(),
            incidents: [("data_loss_incidents".to_owned(), 0)].into(),
            exclude: BTreeMap::new(),
        }
    }
}

impl Plan {
    /// How many metrics share the error of a failure: those that may become worse by a factor. A share takes no part of
    /// it, because it also has to pass its limit, which chance alone hardly ever does; neither does a limit.
    #[must_use]
    pub fn compared(&self) -> usize {
        let compared = self.values.values();
        compared
            .filter(|criterion| criterion.worse_at_most.is_some())
            .count()
            .max(1)
    }
}
