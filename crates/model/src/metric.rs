//! The catalogue's types: what a metric is.

use crate::dimension::{LATER, LATER_CODE};
use crate::own_metric::CODES;

/// How a metric's samples are summarised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Values whose percentiles matter: a histogram.
    Distribution,
    /// Amounts that add up: a sum.
    Counter,
    /// The state of a terminal at a time: a distribution at rest; in Prometheus the terminals' last values.
    Level,
}

/// When a sample may move the live series in Prometheus. At rest every sample counts the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// A sample received within 10 minutes of its time moves live series.
    Event,
    /// A sample received within 24 hours moves them: it can only be reported after reconnecting.
    Arrival,
    /// A sample of any age that is accepted at all moves live series.
    Always,
}

impl Kind {
    /// The word in settings, answers and the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Counter => "counter",
            Self::Level => "level",
        }
    }
}

impl Live {
    /// The greatest age at which a sample still moves live series.
    #[must_use]
    pub fn age_ms_max(self) -> i64 {
        match self {
            Self::Event => 10 * 60_000,
            Self::Arrival => 24 * 3_600_000,
            Self::Always => i64::MAX,
        }
    }

    /// The word in the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Arrival => "arrival",
            Self::Always => "always",
        }
    }
}

/// The unit of a metric on the wire, and the unsigned integer unit it is recorded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds on the wire, recorded in microseconds, seconds in Prometheus.
    Milliseconds,
    /// A layout-shift score, recorded × 10,000.
    Score,
    /// A share between 0 and 1, recorded × 10,000.
    Ratio,
    /// Bytes everywhere.
    Bytes,
    /// Megabytes (1,000,000 bytes) on the wire, bytes elsewhere.
    Megabytes,
    /// A number of things.
    Count,
}

impl Unit {
    /// Recording units in one wire unit.
    #[must_use]
    pub fn scale(self) -> u64 {
        match self {
            Self::Milliseconds => 1_000,
            Self::Score | Self::Ratio => 10_000,
            Self::Bytes | Self::Count => 1,
            Self::Megabytes => 1_000_000,
        }
    }

    /// Recording units in one Prometheus base unit.
    #[must_use]
    pub fn prometheus_scale(self) -> u64 {
        match self {
            Self::Milliseconds => 1_000_000,
            Self::Score | Self::Ratio => 10_000,
            Self::Bytes | Self::Megabytes | Self::Count => 1,
        }
    }

    /// The wire unit, as the query API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Score => "score",
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::Megabytes => "MB",
            Self::Count => "count",
        }
    }

    /// The recording unit, for the documentation.
    #[must_use]
    pub fn recording_name(self) -> &'static str {
        match self {
            Self::Milliseconds => "µs",
            Self::Score => "score × 10,000",
            Self::Ratio => "ratio × 10,000",
            Self::Bytes | Self::Megabytes => "bytes",
            Self::Count => "count",
        }
    }

    /// A recorded value in the wire unit.
    #[must_use]
    pub fn to_wire(self, recorded: u64) -> f64 {
        to_float(recorded) / to_float(self.scale())
    }

    /// A recorded value in Prometheus' base unit.
    #[must_use]
    pub fn to_prometheus(self, recorded: u64) -> f64 {
        to_float(recorded) / to_float(self.prometheus_scale())
    }
}

/// A count as a float; exact below 2^53, which every single value is.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "sums past 2^53 lose their last digits for display only"
)]
pub fn to_float(value: u64) -> f64 {
    value as f64
}

/// The one enumerated label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The label's name in Prometheus.
    pub key: &'static str,
    /// The label's values, in the order of their journal codes: only ever appended to.
    pub values: &'static [&'static str],
    /// Other names a terminal may use for a value, and the value.
    pub aliases: &'static [(&'static str, &'static str)],
    /// The value an unknown one becomes; without it, an unknown label is rejected.
    pub unknown_is: Option<&'static str>,
    /// The value of a sample without a label; without it, such a sample is rejected.
    pub missing_is: Option<&'static str>,
}

/// One metric that terminals measure.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The metric's number in the journal and in state: never changed, never reused.
    pub code: u16,
    /// The metric's name on the wire and in ClickHouse.
    pub name: &'static str,
    /// Other names a terminal may use for the metric.
    pub aliases: &'static [&'static str],
    /// How the metric is summarised.
    pub kind: Kind,
    /// The units of the metric's values.
    pub unit: Unit,
    /// The highest value accepted, in the recording unit.
    pub value_max: u64,
    /// What the metric means, for `# HELP` and the documentation.
    pub help: &'static str,
    /// The metric's name in Prometheus, without `_total`.
    pub prometheus: &'static str,
    /// Exact upper bounds of the Prometheus buckets, recording unit, ascending, with every threshold.
    pub bounds: &'static [u64],
    /// Bounds of the buckets by release, if those are closer; there are few releases and many stores.
    pub release_bounds: &'static [u64],
    /// The first and second threshold, recording unit; `over_low` and `over_high` count values above them.
    pub thresholds: [Option<u64>; 2],
    /// What the thresholds mean, for the documentation.
    pub threshold_note: &'static str,
    /// The metric's label, if it has one.
    pub label: Option<Label>,
    /// When a sample moves live series.
    pub live: Live,
    /// Whether depth per terminal is kept in ClickHouse.
    pub per_terminal: bool,
    /// Whether the metric's histogram and window gauges are exported for each store.
    pub per_store: bool,
    /// Whether a counter is exported for each release beside each store.
    pub per_release: bool,
}

impl Metric {
    /// What a metric becomes that only a later release knows. Nothing is known of its values, so they are
    /// counted and added up, and no terminal can send it.
    pub const LATER: Self = Self {
        code: u16::MAX,
        name: LATER,
        aliases: &[],
        kind: Kind::Counter,
        unit: Unit::Count,
        value_max: u64::MAX,
        help: "",
        prometheus: "",
        bounds: &[],
        release_bounds: &[],
        thresholds: [None, None],
        threshold_note: "",
        label: None,
        live: Live::Event,
        per_terminal: false,
        per_store: false,
        per_release: false,
    };

    /// Whether a shop has declared the metric itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        CODES.contains(&self.code)
    }

    /// The label's value for its journal code.
    #[must_use]
    pub fn label_value(&self, code: u8) -> &'static str {
        self.label.map_or("", |label| {
            let value = label.values.get(usize::from(code));
            value.copied().unwrap_or(LATER)
        })
    }

    /// The label's value as it stands here, for its name at rest.
    #[must_use]
    pub fn label_named(&self, name: &str) -> &'static str {
        self.label.map_or("", |label| {
            let value = label.values.iter().find(|value| **value == name);
            value.copied().unwrap_or(LATER)
        })
    }

    /// The label's journal code, or [`LATER_CODE`] for one that only a later release knows: two of these are
    /// not to be told apart, because they have one name.
    #[must_use]
    #[inline]
    pub fn label_kept(&self, code: u8) -> u8 {
        if usize::from(code) < self.label_values() {
            code
        } else if self.label.is_some() {
            LATER_CODE
        } else {
            0
        }
    }

    /// How many values the label has; one for a metric without a label.
    #[must_use]
    #[inline]
    pub fn label_values(&self) -> usize {
        self.label.map_or(1, |label| label.values.len())
    }

    /// How many counters the metric has: one for each value of its label, and one for what only a later
    /// release knows.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.label_values() + usize::from(self.label.is_some())
    }

    /// Which of the metric's counters a label's code belongs to: never one behind them, which would be
    /// another metric's.
    #[must_use]
    #[inline]
    pub fn counter_of(&self, code: u8) -> usize {
        usize::from(code).min(self.counters() - 1)
    }

    /// The bounds of the metric's buckets by release.
    #[must_use]
    pub const fn bounds_by_release(&self) -> &'static [u64] {
        if self.release_bounds.is_empty() {
            self.bounds
        } else {
            self.release_bounds
        }
    }
}

/// Finds the position of a label's value; for a metric without a label there is only the empty one.
///
/// # Errors
/// `None` inside means that the label is missing, `Some` that it is not one of the metric's.
pub fn label_code<'a>(metric: &Metric, given: Option<&'a str>) -> Result<u8, Option<&'a str>> {
    let Some(label) = metric.label else {
        // A label on a metric that has none carries no meaning: it is dropped, the sample is kept.
        return Ok(0);
    };
    let wanted = given.or(label.missing_is).ok_or(None)?;
    let find = |value: &str| label.values.iter().position(|known| *known == value);
    let by_alias = || {
        let alias = label.aliases.iter().find(|(alias, _)| *alias == wanted);
        alias.and_then(|(_, value)| find(value))
    };
    find(wanted)
        .or_else(by_alias)
        .or_else(|| label.unknown_is.and_then(find))
        .and_then(|position| u8::try_from(position).ok())
        .ok_or(Some(wanted))
}
