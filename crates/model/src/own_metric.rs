//! Metrics that a shop declares itself, in its settings, beside those of the catalogue.
//!
//! The journal and the state file hold a metric by its code. The code of a shop's own metric is made of its name alone,
//! so that a journal can be read wherever the metric is declared.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::metric::{Kind, Label, Live, Metric, Unit};

/// The codes of such metrics; those of the catalogue are less.
pub const CODES: Range<u16> = 1_000..17_384;
/// How many there may be.
pub const METRICS_MAX: usize = 64;
/// How many values a label may have.
pub const LABEL_VALUES_MAX: usize = 32;
/// How many bounds a histogram may have, those of the thresholds among them.
pub const BOUNDS_MAX: usize = 24;
/// How long a name or a value may be. Unit: bytes.
pub const NAME_LENGTH_MAX: usize = 64;

/// The declaration of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMetric {
    /// See [`Metric::name`].
    pub name: String,
    /// See [`Metric::aliases`].
    pub aliases: Vec<String>,
    /// See [`Metric::kind`].
    pub kind: Kind,
    /// See [`Metric::unit`].
    pub unit: Unit,
    /// See [`Metric::value_max`].
    pub value_max: u64,
    /// See [`Metric::help`].
    pub help: String,
    /// See [`Metric::bounds`].
    pub bounds: Vec<u64>,
    /// See [`Metric::thresholds`].
    pub thresholds: [Option<u64>; 2],
    /// See [`Metric::label`].
    pub label: Option<OwnLabel>,
    /// See [`Metric::live`].
    pub live: Live,
    /// See [`Metric::per_terminal`].
    pub per_terminal: bool,
    /// See [`Metric::per_store`].
    pub per_store: bool,
}

/// The label of such a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLabel {
    /// See [`Label::key`].
    pub key: String,
    /// See [`Label::values`].
    pub values: Vec<String>,
    /// See [`Label::unknown_is`].
    pub unknown_is: Option<String>,
}

impl OwnMetric {
    /// The code of the metric, of [`CODES`].
    #[must_use]
    pub fn code(&self) -> u16 {
        code_of(&self.name)
    }

    /// The metric's name in Prometheus, without `_total`: `receipt_print_ms` is `pos_own_receipt_print_seconds`.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let suffix = match self.unit {
            Unit::Milliseconds => "_seconds",
            Unit::Bytes | Unit::Megabytes => "_bytes",
            Unit::Score => "_score",
            Unit::Ratio => "_ratio",
            Unit::Count => "",
        };
        format!("pos_own_{}{suffix}", self.stem())
    }

    /// The name without its unit.
    #[must_use]
    pub fn stem(&self) -> &str {
        let unit = unit_suffix(self.unit).unwrap_or("_count");
        self.name.strip_suffix(unit).unwrap_or(&self.name)
    }

    /// Makes a metric that lasts as long as the process, as the catalogue's do.
    #[must_use]
    pub fn into_metric(self) -> Metric {
        let (code, prometheus) = (self.code(), self.prometheus());
        let mut lasting = LASTING.lock().unwrap_or_else(PoisonError::into_inner);
        Metric {
            code,
            name: lasting.text(self.name),
            aliases: lasting.list(self.aliases),
            kind: self.kind,
            unit: self.unit,
            value_max: self.value_max,
            help: lasting.text(self.help),
            prometheus: lasting.text(prometheus),
            bounds: lasting.numbers(self.bounds),
            release_bounds: &[],
            thresholds: self.thresholds,
            threshold_note: "",
            label: self.label.map(|label| Label {
                key: lasting.text(label.key),
                values: lasting.list(label.values),
                aliases: &[],
                unknown_is: label.unknown_is.map(|value| lasting.text(value)),
                missing_is: None,
            }),
            live: self.live,
            per_terminal: self.per_terminal,
            per_store: self.per_store,
            per_release: self.kind == Kind::Counter,
        }
    }
}

/// What the name of a metric ends in, by its unit. A count needs nothing.
#[must_use]
pub fn unit_suffix(unit: Unit) -> Option<&'static str> {
    match unit {
        Unit::Milliseconds => Some("_ms"),
        Unit::Bytes => Some("_bytes"),
        Unit::Megabytes => Some("_mb"),
        Unit::Score => Some("_score"),
        Unit::Ratio => Some("_ratio"),
        Unit::Count => None,
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits, of the name: the same on every machine, and for ever.
fn code_of(name: &str) -> u16 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let place = hash % u64::from(CODES.end - CODES.start);
    CODES.start + u16::try_from(place).unwrap_or_default()
}

/// What was made to last for the process, so that settings that are read again and again take no more memory.
static LASTING: LazyLock<Mutex<Lasting>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Lasting {
    texts: HashSet<&'static str>,
    lists: HashSet<&'static [&'static str]>,
    bounds: HashSet<&'static [u64]>,
}

impl Lasting {
    fn text(&mut self, text: String) -> &'static str {
        if let Some(known) = self.texts.get(&*text) {
            return known;
        }
        let text = String::leak(text);
        self.texts.insert(text);
        text
    }

    fn list(&mut self, texts: Vec<String>) -> &'static [&'static str] {
        let texts: Vec<_> = texts.into_iter().map(|text| self.text(text)).collect();
        if let Some(known) = self.lists.get(&*texts) {
            return known;
        }
        let texts = Vec::leak(texts);
        self.lists.insert(texts);
        texts
    }

    fn numbers(&mut self, bounds: Vec<u64>) -> &'static [u64] {
        if let Some(known) = self.bounds.get(&*bounds) {
            return known;
        }
        let bounds = Vec::leak(bounds);
        self.bounds.insert(bounds);
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, unit: Unit) -> OwnMetric {
        OwnMetric {
            name: name.to_owned(),
            aliases: Vec::new(),
            kind: Kind::Counter,
            unit,
            value_max: 10,
            help: "Counts.".to_owned(),
            bounds: Vec::new(),
            thresholds: [None; 2],
            label: None,
            live: Live::Event,
            per_terminal: false,
            per_store: false,
        }
    }

    #[test]
    fn a_code_is_made_of_the_name_alone_and_stays_for_ever() {
        // These stand in journals.
        assert_eq!(
            declared("receipt_print_ms", Unit::Milliseconds).code(),
            7_904
        );
        assert_eq!(declared("drawer_openings", Unit::Count).code(), 5_612);
        let last = crate::catalogue::BUILT_IN.iter().map(|metric| metric.code);
        assert!(last.max() < Some(CODES.start));
        const { assert!(CODES.end < Metric::LATER.code) };
    }

    #[test]
    fn a_name_in_prometheus_has_the_base_unit() {
        for (name, unit, expected) in [
            (
                "receipt_print_ms",
                Unit::Milliseconds,
                "pos_own_receipt_print_seconds",
            ),
            ("image_bytes", Unit::Bytes, "pos_own_image_bytes"),
            ("heap_mb", Unit::Megabytes, "pos_own_heap_bytes"),
            ("battery_ratio", Unit::Ratio, "pos_own_battery_ratio"),
            ("drawer_openings", Unit::Count, "pos_own_drawer_openings"),
            ("drawers_count", Unit::Count, "pos_own_drawers"),
        ] {
            assert_eq!(declared(name, unit).into_metric().prometheus, expected);
        }
    }
}
