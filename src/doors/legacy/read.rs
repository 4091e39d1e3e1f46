//! From the JSON of a report to a batch.

use std::borrow::Cow;
use std::fmt;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tillwatch_model::own_metric::NAME_LENGTH_MAX;
use tillwatch_model::{Kind, Reason};

use crate::doors::foreign::{Batch, Loose, map, scale};
use crate::doors::refusal::Refusal;
use crate::intake::offer::{Field, Number, Sample, Summary};
use crate::mapping::Lookup;

/// A report, or the envelope around one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report<'b> {
    #[serde(borrow, alias = "sessionId")]
    session_id: Loose<'b>,
    #[serde(borrow, alias = "storeId")]
    store_id: Loose<'b>,
    #[serde(borrow, alias = "terminalId")]
    terminal_id: Loose<'b>,
    #[serde(borrow, alias = "version", alias = "appVersion")]
    release: Loose<'b>,
    #[serde(borrow)]
    connection: Loose<'b>,
    #[serde(borrow)]
    consent: Loose<'b>,
    #[serde(borrow)]
    timestamp: Loose<'b>,
    #[serde(borrow)]
    metrics: Metrics<'b>,
    #[serde(borrow)]
    pub(super) compressed: Loose<'b>,
    #[serde(borrow)]
    pub(super) format: Loose<'b>,
    #[serde(borrow)]
    pub(super) data: Loose<'b>,
}

/// Metrics by their names, in the order in which they came.
#[derive(Debug, Default, PartialEq)]
enum Metrics<'b> {
    /// There is no such object.
    #[default]
    Absent,
    Are(Vec<(Cow<'b, str>, Measured<'b>)>),
}

/// What a report says of one metric.
#[derive(Debug, PartialEq)]
enum Measured<'b> {
    /// One value.
    Value(Loose<'b>),
    /// Many values, summed up.
    Many(Stats<'b>),
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Stats<'b> {
    #[serde(borrow)]
    count: Loose<'b>,
    #[serde(borrow)]
    sum: Loose<'b>,
    #[serde(borrow, alias = "average", alias = "mean")]
    avg: Loose<'b>,
    #[serde(borrow)]
    min: Loose<'b>,
    #[serde(borrow)]
    max: Loose<'b>,
    #[serde(borrow, alias = "p50")]
    median: Loose<'b>,
    #[serde(borrow)]
    p95: Loose<'b>,
    #[serde(borrow)]
    p99: Loose<'b>,
}

/// Reads a body.
///
/// # Errors
/// When it is no JSON object.
pub(super) fn report(body: &[u8]) -> Result<Report<'_>, Refusal> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the body is not a report in JSON: {error}")))
}

impl<'b> Report<'b> {
    /// Whether it holds no metrics, and is no envelope either.
    pub(super) fn is_none(&self) -> bool {
        self.metrics == Metrics::Absent && self.data == Loose::Absent
    }

    /// Makes the batch that the report is, of metrics that `lookup` finds. A report without a time was made when it
    /// arrived.
    ///
    /// # Errors
    /// When it has no metrics: then it is something else.
    pub(super) fn batch(
        self,
        lookup: Lookup<'_>,
        received_at_ms: i64,
        samples_max: usize,
    ) -> Result<Batch<'b>, Refusal> {
        let Metrics::Are(metrics) = self.metrics else {
            let message = "the body is not a report: it has no \"metrics\"; batches of the terminal library are posted to /v1/batches";
            return Err(Refusal::Malformed(message.to_owned()));
        };
        if metrics.len() > samples_max {
            return Err(Refusal::TooManySamples(samples_max));
        }
        let mut batch = Batch::default();
        for (attribute, value) in [
            ("store_id", self.store_id),
            ("terminal_id", self.terminal_id),
            ("app.version", self.release),
            ("session_id", self.session_id),
            ("consent", self.consent),
        ] {
            if let Some(text) = value.into_text() {
                batch.name(attribute, text);
            }
        }
        let t = match self.timestamp {
            Loose::Absent => at(received_at_ms),
            Loose::Text(ref text) => of_text(text).map_or_else(|| self.timestamp.field(), at),
            _ => self.timestamp.field(),
        };
        // Each metric has its own copy of it: what is longer than a name means nothing.
        let connection = self.connection.into_text();
        let connection = connection.filter(|text| text.len() <= NAME_LENGTH_MAX);
        for (name, measured) in metrics {
            let sample = Sample {
                metric: Field::Is(name),
                t,
                connection: connection.clone().map_or(Field::Absent, Field::Is),
                ..Sample::default()
            };
            match measured {
                Measured::Value(value) => {
                    let v = value.field();
                    let mut sample = Sample { v, ..sample };
                    map(lookup, &mut sample, |_| None);
                    batch.samples.push(sample);
                }
                Measured::Many(stats) => stats.add(sample, lookup, &mut batch),
            }
        }
        Ok(batch)
    }
}

impl Stats<'_> {
    /// Adds what a report says of one metric. A counter has no distribution: the sum of its values is all that there is,
    /// and that is exact.
    fn add<'b>(&self, mut sample: Sample<'b>, lookup: Lookup<'_>, batch: &mut Batch<'b>) {
        let factor = map(lookup, &mut sample, |_| None);
        let found = sample.metric.value();
        let found = found.and_then(|name| lookup.catalogue.find(name));
        let scaled = |mut number: Field<Number>| {
            scale(&mut number, factor);
            number
        };
        let sum = self.sum(factor);
        match found.map(|(metric, _)| metric.kind) {
            Some(Kind::Counter) => batch.samples.push(Sample { v: sum, ..sample }),
            Some(Kind::Distribution | Kind::Level) => batch.summaries.push(Summary {
                sample,
                count: self.count.field(),
                sum,
                min: scaled(self.min.field()),
                max: scaled(self.max.field()),
                percentiles: [&self.median, &self.p95, &self.p99]
                    .map(|percentile| scaled(percentile.field())),
            }),
            None => batch.samples.push(Sample {
                refused: Some(Reason::UnknownMetric),
                ..sample
            }),
        }
    }

    /// The sum, else that of average and count, times a factor; of what was only counted the count.
    fn sum(&self, factor: f64) -> Field<Number> {
        let mut sum = match (self.sum.field(), self.avg.field(), self.count.field()) {
            (Field::Absent, Field::Is(average), Field::Is(count)) => {
                Field::Is(Number::Float(average.as_f64() * count.as_f64()))
            }
            (Field::Absent, Field::Absent, count) => return count,
            (sum, ..) => sum,
        };
        scale(&mut sum, factor);
        sum
    }
}

fn at(t_ms: i64) -> Field<Number> {
    Field::Is(u64::try_from(t_ms).map_or(Number::Float(-1.0), Number::Unsigned))
}

/// A time as ISO 8601 has it, in UTC, as Unix ms.
fn of_text(text: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(text.trim()).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

impl<'de: 'b, 'b> Deserialize<'de> for Metrics<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetricsVisitor)
    }
}

struct MetricsVisitor;

/// What is no object is read to its end, and is no list of metrics.
macro_rules! absent {
    ($absent:expr => $($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok($absent) })*
    };
}

impl<'de> Visitor<'de> for MetricsVisitor {
    type Value = Metrics<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("metrics by their names")
    }

    absent!(Metrics::Absent => visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Metrics::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Metrics::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metrics = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            metrics.push((name, map.next_value()?));
        }
        Ok(Metrics::Are(metrics))
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'b>(#[serde(borrow)] Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Measured<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeasuredVisitor)
    }
}

struct MeasuredVisitor;

impl<'de> Visitor<'de> for MeasuredVisitor {
    type Value = Measured<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, or what many of them come to")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Measured::Value(Loose::Number(Number::Unsigned(value))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Measured::Value(Loose::Number(Number::Float(value))))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Measured::Value(Loose::Text(Cow::Borrowed(text))))
    }

    absent!(Measured::Value(Loose::Wrong) => visit_bool: bool, visit_i64: i64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Measured::Value(Loose::Absent))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Measured::Value(Loose::Wrong))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let stats = serde::de::value::MapAccessDeserializer::new(map);
        Ok(Measured::Many(Stats::deserialize(stats)?))
    }
}
