//! From a measurement to samples: one may carry several numbers.

use std::borrow::Cow;
use std::cell::OnceCell;

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
    /// What of it a rule may want to know, once one does.
    members: OnceCell<Vec<(Box<str>, Cow<'b, str>)>>,
}

/// How long a label, a connection, or what a rule looks at may be: each number of a measurement has its own copy of it.
/// Unit: bytes.
const SHORT_MAX: usize = 64;
/// Members of a context that rules look at.
const MEMBERS_MAX: usize = 64;

/// A text that is short enough; a longer one is none that means anything, and becomes empty.
fn short(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.map(|text| {
        if text.len() <= SHORT_MAX {
            text
        } else {
            Cow::Borrowed("")
        }
    })
}

impl<'b> Context<'b> {
    /// What it says under a key.
    fn said(&self, wanted: &str) -> Option<Cow<'b, str>> {
        let mut members = self.members.get_or_init(|| self.short_members()).iter();
        let found = members.find(|(key, _)| **key == *wanted);
        found.map(|(_, value)| value.clone())
    }

    fn short_members(&self) -> Vec<(Box<str>, Cow<'b, str>)> {
        let mut members = Vec::new();
        let Some(all) = self.all else {
            return members;
        };
        // What is no object has no members.
        let _is_object = json::members(all, |key, value| {
            if members.len() < MEMBERS_MAX && key.len() <= SHORT_MAX {
                members.extend(short(json::text(value)).map(|text| (key.into(), text)));
            }
            Ok(())
        });
        members
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
            let is_named_by_type = found.numbers == 1
                && found.is_value
                && reader.limits.lookup.catalogue.find(VALUE).is_none();
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
                            "label" => context.label = short(json::text(value)),
                            "connection" => context.connection = short(json::text(value)),
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
