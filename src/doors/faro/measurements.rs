//! From a measurement to samples: one may carry several numbers.

use std::borrow::Cow;

use tillwatch_model::Reason;

use super::read::{Reader, field, time};
use crate::doors::foreign::json::{self, Raw};
use crate::doors::foreign::map;
use crate::doors::refusal::Refusal;
use crate::intake::offer::Sample;

/// The type of a measurement of web vitals.
const WEB_VITALS: &str = "web-vitals";
/// The numbers of such a measurement that are metrics, and their names here. The others explain them.
const VITALS: [(&str, &str); 5] = [
    ("lcp", "lcp_ms"),
    ("inp", "inp_ms"),
    ("cls", "cls_score"),
    ("fcp", "fcp_ms"),
    ("ttfb", "ttfb_ms"),
];
/// The key of a number whose measurement is named by its type.
const VALUE: &str = "value";

/// A measurement as it is written.
#[derive(Default)]
struct Measurement<'b> {
    kind: Option<Cow<'b, str>>,
    values: Option<Raw<'b>>,
    timestamp: Option<Raw<'b>>,
    context: Context<'b>,
}

/// What is read of a context, which may hold anything else.
#[derive(Default)]
struct Context<'b> {
    label: Option<Cow<'b, str>>,
    connection: Option<Cow<'b, str>>,
    /// The page visit that a web vital is of.
    id: Option<Cow<'b, str>>,
    /// All of it, for what a rule wants to know.
    all: Option<Raw<'b>>,
}

impl<'b> Context<'b> {
    /// What it says under a key.
    fn said(&self, wanted: &str) -> Option<Cow<'b, str>> {
        let mut found = None;
        let read = json::members(self.all?, |key, value| {
            if key == wanted {
                found = json::text(value);
            }
            Ok(())
        });
        read.ok().and(found)
    }
}

/// Reads a measurement; what cannot be one is a sample that is refused.
pub(super) fn read<'b>(
    reader: &mut Reader<'_, 'b>,
    item: usize,
    value: Option<Raw<'b>>,
) -> Result<(), Refusal> {
    let malformed = || Sample {
        refused: Some(Reason::MalformedSample),
        ..Sample::default()
    };
    let mut measurement = Measurement::default();
    let is_object = match value {
        Some(value) => measurement.read(value)?,
        None => false,
    };
    let mut found = Found::default();
    if let (true, Some(values)) = (is_object, measurement.values) {
        json::members(values, |key, _| {
            found.numbers += 1;
            found.is_value = key == VALUE;
            Ok(())
        })?;
    }
    match (found.numbers, measurement.values) {
        (1.., Some(values)) if measurement.kind.as_deref() == Some(WEB_VITALS) => {
            measurement.vitals(reader, item, values)
        }
        (1.., Some(values)) => {
            let is_named_by_type =
                found.numbers == 1 && found.is_value && reader.limits.lookup.find(VALUE).is_none();
            measurement.numbers(reader, item, values, is_named_by_type)
        }
        _ => reader.sample(item, malformed()),
    }
}

/// What a look at the numbers has found.
#[derive(Default)]
struct Found {
    numbers: usize,
    /// Whether the last of them is called `value`.
    is_value: bool,
}

impl<'b> Measurement<'b> {
    /// `false`: it is no object.
    fn read(&mut self, value: Raw<'b>) -> Result<bool, Refusal> {
        let Self {
            kind,
            values,
            timestamp,
            context,
        } = self;
        json::members(value, |key, value| {
            match key {
                "type" => *kind = json::text(value),
                "values" => *values = Some(value),
                "timestamp" => *timestamp = Some(value),
                "context" => {
                    context.all = Some(value);
                    json::members(value, |key, value| {
                        match key {
                            "label" => context.label = json::text(value),
                            "connection" => context.connection = json::text(value),
                            "id" => context.id = json::text(value),
                            _ => {}
                        }
                        Ok(())
                    })?;
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn sample(&self, name: Option<Cow<'b, str>>, value: Raw<'b>, arrived_ms: i64) -> Sample<'b> {
        Sample {
            metric: field(name),
            t: time(self.timestamp, arrived_ms),
            v: json::number(value),
            label: field(self.context.label.clone()),
            connection: field(self.context.connection.clone()),
            refused: None,
        }
    }

    /// What else web-vitals says of a page explains these, and is passed over.
    fn vitals(
        &self,
        reader: &mut Reader<'_, 'b>,
        item: usize,
        values: Raw<'b>,
    ) -> Result<(), Refusal> {
        let arrived_ms = reader.limits.received_at_ms;
        json::members(values, |key, value| {
            let Some((_, metric)) = VITALS.iter().find(|(name, _)| *name == key) else {
                return Ok(());
            };
            let sample = self.sample(Some(Cow::Borrowed(metric)), value, arrived_ms);
            reader.vital(item, metric, self.context.id.clone(), sample)
        })?;
        Ok(())
    }

    fn numbers(
        &self,
        reader: &mut Reader<'_, 'b>,
        item: usize,
        values: Raw<'b>,
        is_named_by_type: bool,
    ) -> Result<(), Refusal> {
        let arrived_ms = reader.limits.received_at_ms;
        json::members(values, |key, value| {
            let name = if is_named_by_type {
                self.kind.clone()
            } else {
                Some(Cow::Owned(key.to_owned()))
            };
            let mut sample = self.sample(name, value, arrived_ms);
            map(reader.limits.lookup, &mut sample, |key| {
                self.context.said(key)
            });
            reader.sample(item, sample)
        })?;
        Ok(())
    }
}
