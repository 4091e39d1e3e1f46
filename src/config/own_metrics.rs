//! Reads one `[[metrics]]`: a metric that a shop declares itself. Which may be declared is checked here.

use std::collections::HashSet;

use serde::Deserialize;
use tillwatch_model::own_metric::{
    BOUNDS_MAX, LABEL_VALUES_MAX, NAME_LENGTH_MAX, OwnLabel, OwnMetric, unit_suffix,
};
use tillwatch_model::{Catalogue, Kind, Live, Unit, metric};

/// The words that end the name of a series of Prometheus, and would make two metrics one.
const ENDINGS: [&str; 9] = [
    "total", "bucket", "sum", "count", "created", "info", "window", "samples", "own",
];
/// Labels that a series has for other reasons.
const LABELS_TAKEN: [&str; 14] = [
    "store_id",
    "release",
    "connection",
    "source",
    "metric",
    "label",
    "q",
    "stat",
    "le",
    "job",
    "instance",
    "quantile",
    "terminal_id",
    "severity",
];

/// A metric as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// See [`OwnMetric::name`].
    pub(super) name: String,
    #[serde(default)]
    aliases: Vec<String>,
    kind: WrittenKind,
    unit: WrittenUnit,
    max: Option<f64>,
    help: String,
    buckets: Option<Vec<f64>>,
    #[serde(default)]
    thresholds: Vec<f64>,
    label: Option<WrittenLabel>,
    #[serde(default)]
    live: WrittenLive,
    #[serde(default)]
    per_store: bool,
    #[serde(default)]
    per_terminal: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLabel {
    key: String,
    values: Vec<String>,
    /// The value that an unknown one becomes.
    unknown: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenKind {
    Distribution,
    Counter,
    Level,
}

#[derive(Deserialize, Clone, Copy)]
enum WrittenUnit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "score")]
    Score,
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "count")]
    Count,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum WrittenLive {
    #[default]
    Event,
    Arrival,
}

/// What is taken by metrics that were declared before, and by those of the catalogue.
#[derive(Default)]
pub(super) struct Taken {
    catalogue: Catalogue,
    names: HashSet<String>,
    series: HashSet<String>,
    codes: HashSet<u16>,
}

impl Taken {
    pub(super) fn take(&mut self, metric: &OwnMetric) -> Result<(), String> {
        for name in std::iter::once(&metric.name).chain(&metric.aliases) {
            if self.catalogue.find(name).is_some() {
                return Err(format!(
                    "{name:?} is a metric of the catalogue; give yours another name"
                ));
            }
            if !self.names.insert(name.clone()) {
                return Err(format!("{name:?} is declared twice"));
            }
        }
        if !self.series.insert(metric.prometheus()) {
            return Err(format!(
                "{:?} would be {} in Prometheus, as another metric is; give one of them another name",
                metric.name,
                metric.prometheus()
            ));
        }
        if !self.codes.insert(metric.code()) {
            return Err(format!(
                "{:?} has the code of another metric, {}; give one of them another name",
                metric.name,
                metric.code()
            ));
        }
        Ok(())
    }
}

impl From<WrittenUnit> for Unit {
    fn from(unit: WrittenUnit) -> Self {
        match unit {
            WrittenUnit::Milliseconds => Self::Milliseconds,
            WrittenUnit::Score => Self::Score,
            WrittenUnit::Ratio => Self::Ratio,
            WrittenUnit::Bytes => Self::Bytes,
            WrittenUnit::Megabytes => Self::Megabytes,
            WrittenUnit::Count => Self::Count,
        }
    }
}

impl Written {
    pub(super) fn metric(self) -> Result<OwnMetric, String> {
        let unit = Unit::from(self.unit);
        let kind = match self.kind {
            WrittenKind::Distribution => Kind::Distribution,
            WrittenKind::Counter => Kind::Counter,
            WrittenKind::Level => Kind::Level,
        };
        check_name(&self.name, unit)?;
        for alias in &self.aliases {
            if !tillwatch_model::dimension::is_identifier(alias) {
                return Err(format!(
                    "the alias {alias:?} does not match [A-Za-z0-9_.:-]{{1,64}}"
                ));
            }
        }
        if self.help.is_empty() || self.help.len() > 300 || self.help.contains(['\n', '\r']) {
            return Err(
                "help must be one line of 1 to 300 bytes that says what is measured".to_owned(),
            );
        }
        if kind == Kind::Counter
            && unit != Unit::Count
            && unit != Unit::Bytes
            && unit != Unit::Milliseconds
        {
            return Err("a counter adds up: its unit is count, bytes or ms".to_owned());
        }
        let value_max = match self.max {
            None => value_max(unit),
            Some(max) => match recorded(max, unit, "max")? {
                0 => return Err(format!("max: {max} leaves no value but 0")),
                max => max,
            },
        };
        if kind == Kind::Counter && !self.thresholds.is_empty() {
            return Err("a counter has no thresholds: its reports are added up".to_owned());
        }
        let thresholds = thresholds(&self.thresholds, unit)?;
        let bounds = bounds(self.buckets.as_deref(), kind, unit, thresholds)?;
        let label = self.label.map(|label| label.checked(kind)).transpose()?;
        Ok(OwnMetric {
            name: self.name,
            aliases: self.aliases,
            kind,
            unit,
            value_max,
            help: self.help,
            bounds,
            thresholds,
            label,
            live: match self.live {
                WrittenLive::Event => Live::Event,
                WrittenLive::Arrival => Live::Arrival,
            },
            per_terminal: self.per_terminal,
            per_store: self.per_store,
        })
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= NAME_LENGTH_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn check_name(name: &str, unit: Unit) -> Result<(), String> {
    if !is_word(name) {
        return Err(format!(
            "the name must match [a-z][a-z0-9_]{{0,{}}}",
            NAME_LENGTH_MAX - 1
        ));
    }
    let all = [
        Unit::Milliseconds,
        Unit::Bytes,
        Unit::Megabytes,
        Unit::Score,
        Unit::Ratio,
    ];
    let mut others = all.into_iter().filter(|other| *other != unit);
    if let Some(other) =
        others.find(|other| unit_suffix(*other).is_some_and(|suffix| name.ends_with(suffix)))
    {
        return Err(format!(
            "the name ends in the unit {}, and its unit is {}",
            other.name(),
            unit.name()
        ));
    }
    let suffix = unit_suffix(unit).unwrap_or("");
    let stem = match (name.strip_suffix(suffix), unit) {
        (Some(stem), Unit::Count) => stem.strip_suffix("_count").unwrap_or(stem),
        (Some(stem), _) => stem,
        (None, _) => {
            return Err(format!(
                "the name must end in its unit, {suffix}: {name}{suffix}, for example"
            ));
        }
    };
    let last = stem.rsplit('_').next().unwrap_or_default();
    if stem.is_empty() || ENDINGS.contains(&last) {
        return Err(format!(
            "the name must not end in {last:?} (before its unit): Prometheus has a meaning of its own for that"
        ));
    }
    Ok(())
}

/// A value in the unit that metrics are recorded in.
fn recorded(value: f64, unit: Unit, what: &str) -> Result<u64, String> {
    let scaled = value * metric::to_float(unit.scale());
    if !(0.0..=metric::to_float(value_max(unit))).contains(&scaled) {
        return Err(format!(
            "{what}: {value} is not from 0 to {} {}",
            unit.to_wire(value_max(unit)),
            unit.name()
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and far below 2^53"
    )]
    Ok(scaled.round() as u64)
}

/// The highest value that a metric of this unit may have.
fn value_max(unit: Unit) -> u64 {
    let all = tillwatch_model::catalogue::BUILT_IN.iter();
    let of_unit = all.filter(|metric| metric.unit == unit);
    of_unit.map(|metric| metric.value_max).max().unwrap_or(0)
}

fn thresholds(written: &[f64], unit: Unit) -> Result<[Option<u64>; 2], String> {
    let mut thresholds = [None; 2];
    if written.len() > thresholds.len() {
        return Err("thresholds: there may be two, the lower one first".to_owned());
    }
    for (slot, value) in thresholds.iter_mut().zip(written) {
        *slot = Some(recorded(*value, unit, "thresholds")?);
    }
    match thresholds {
        [Some(low), Some(high)] if low >= high => {
            Err("thresholds: the lower one must stand first".to_owned())
        }
        thresholds => Ok(thresholds),
    }
}

/// The bounds of a distribution, with its thresholds among them.
fn bounds(
    written: Option<&[f64]>,
    kind: Kind,
    unit: Unit,
    thresholds: [Option<u64>; 2],
) -> Result<Vec<u64>, String> {
    if kind != Kind::Distribution {
        return match written {
            Some(_) => Err("only a distribution has buckets".to_owned()),
            None => Ok(Vec::new()),
        };
    }
    let usual: &[f64] = match unit {
        Unit::Milliseconds => &[50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4],
        Unit::Score | Unit::Ratio => &[0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99],
        Unit::Bytes => &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8],
        Unit::Megabytes => &[1.0, 10.0, 50.0, 100.0, 500.0, 1e3],
        Unit::Count => &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e3],
    };
    let mut bounds = Vec::new();
    for value in written.unwrap_or(usual) {
        bounds.push(recorded(*value, unit, "buckets")?);
    }
    if bounds.is_empty() || !bounds.is_sorted_by(|before, after| before < after) {
        return Err("buckets must be upper bounds that ascend".to_owned());
    }
    bounds.extend(thresholds.into_iter().flatten());
    bounds.sort_unstable();
    bounds.dedup();
    if bounds.len() > BOUNDS_MAX {
        return Err(format!(
            "there may be {BOUNDS_MAX} buckets, those of the thresholds among them"
        ));
    }
    Ok(bounds)
}

impl WrittenLabel {
    fn checked(self, kind: Kind) -> Result<OwnLabel, String> {
        if kind == Kind::Level {
            return Err("a level has no label: a terminal is in one state".to_owned());
        }
        if !is_word(&self.key) || LABELS_TAKEN.contains(&&*self.key) {
            return Err(format!(
                "label: the key {:?} must match [a-z][a-z0-9_]{{0,{}}}, and not be one that series have anyway",
                self.key,
                NAME_LENGTH_MAX - 1
            ));
        }
        if self.values.is_empty() || self.values.len() > LABEL_VALUES_MAX {
            return Err(format!(
                "label: there may be 1 to {LABEL_VALUES_MAX} values"
            ));
        }
        let mut seen = HashSet::new();
        for value in &self.values {
            if !tillwatch_model::dimension::is_identifier(value) || value.starts_with("__") {
                return Err(format!(
                    "label: the value {value:?} does not match [A-Za-z0-9_.:-]{{1,64}}, or begins with two underscores"
                ));
            }
            if !seen.insert(value) {
                return Err(format!("label: the value {value:?} stands there twice"));
            }
        }
        if let Some(unknown) = &self.unknown
            && !self.values.contains(unknown)
        {
            return Err(format!(
                "label: unknown = {unknown:?} is none of the values"
            ));
        }
        Ok(OwnLabel {
            key: self.key,
            values: self.values,
            unknown_is: self.unknown,
        })
    }
}
