//! What a payload says, in whichever encoding: instruments and their data points.

use std::borrow::Cow;

use crate::intake::offer::Number;

/// Attributes that are read of one resource, scope or point. OpenTelemetry's own SDKs keep no more.
pub(super) const ATTRIBUTES_MAX: usize = 128;

/// Delta temporality, as OTLP numbers it.
pub(super) const DELTA: u64 = 1;
/// Cumulative temporality, as OTLP numbers it.
pub(super) const CUMULATIVE: u64 = 2;
/// The bit of a point's flags that says that it holds no value.
pub(super) const NO_RECORDED_VALUE: u64 = 1;

/// Attributes whose values are no lists and no maps, as texts.
#[derive(Debug, Default)]
pub(super) struct Attributes<'b>(Vec<(Cow<'b, str>, Cow<'b, str>)>);

impl<'b> Attributes<'b> {
    /// Adds an attribute, if there may be another one.
    pub(super) fn add(&mut self, key: Cow<'b, str>, value: Cow<'b, str>) {
        if self.0.len() < ATTRIBUTES_MAX {
            self.0.push((key, value));
        }
    }

    /// The value of an attribute.
    pub(super) fn get(&self, key: &str) -> Option<&Cow<'b, str>> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Cow<'b, str>, Cow<'b, str>)> {
        self.0.iter()
    }
}

/// What all points of a metric have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Instrument<'b> {
    pub(super) name: Cow<'b, str>,
    pub(super) unit: Cow<'b, str>,
    /// Whether its points tell what was added since the point before, or since the start.
    pub(super) temporality: u64,
    /// Whether a sum only ever grows.
    pub(super) is_monotonic: bool,
    pub(super) kind: Kind,
}

/// The kinds of metrics that OTLP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// One data point.
#[derive(Debug, Default)]
pub(super) struct Point<'b> {
    pub(super) attributes: Attributes<'b>,
    /// When what it tells of began. Unit: Unix ns.
    pub(super) start_ns: u64,
    /// When it was observed, or what it tells of ended. Unit: Unix ns.
    pub(super) time_ns: u64,
    pub(super) flags: u64,
    /// Of a gauge and a sum.
    pub(super) number: Option<Number>,
    /// Of all others.
    pub(super) spread: Spread,
    pub(super) explicit: Explicit,
    pub(super) exponential: Exponential,
}

/// What both kinds of histograms say beside their buckets.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Spread {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// Buckets between bounds that the sender has chosen. The bucket of a bound holds the bound.
#[derive(Debug, Default)]
pub(super) struct Explicit {
    pub(super) bounds: Vec<f64>,
    /// One more than there are bounds.
    pub(super) counts: Vec<u64>,
}

/// Buckets whose bounds are powers of 2^(2^-scale).
#[derive(Debug, Default)]
pub(super) struct Exponential {
    pub(super) scale: i64,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Buckets,
    /// Of negative values: whether there are any is all that counts.
    pub(super) negative: Buckets,
}

/// A row of exponential buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// The index of the first.
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}
