//! Values of JSON, in whichever of the ways that protobuf's mapping to JSON allows they are written.
//!
//! `opentelemetry-proto` reads OTLP's JSON, too, but refuses a request for one number that is written as the text
//! `"NaN"` or for one null, and holds all of it in memory before it can be counted.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::point::{Attributes, CUMULATIVE, DELTA};
use crate::doors::foreign::Loose;
use crate::doors::refusal::Refusal;
use crate::intake::offer::Number;

/// 2^63: far above all times and counts.
const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0 * 1_024.0;

/// What protobuf's mapping to JSON makes of values.
impl Loose<'_> {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Bool(is_true) => *is_true,
            Self::Text(text) => text == "true",
            _ => false,
        }
    }

    pub(super) fn whole(&self) -> Option<u64> {
        match self.number()? {
            Number::Unsigned(value) => Some(value),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative and below 2^63; times in floats have lost their last digits before"
            )]
            Number::Float(value) => (0.0..WHOLE_BELOW).contains(&value).then_some(value as u64),
        }
    }

    /// A count, 0 if there is none. What is none adds up to nothing that could be right.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Absent => 0,
            _ => self.whole().unwrap_or(u64::MAX),
        }
    }

    /// A number that may be negative, 0 if there is none. What is none is out of all ranges.
    pub(super) fn signed(&self) -> i64 {
        match self {
            Self::Absent => 0,
            _ => self.number().map_or(i64::MAX, |number| match number {
                Number::Unsigned(value) => i64::try_from(value).unwrap_or(i64::MAX),
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "saturates, out of all ranges"
                )]
                Number::Float(value) if value.fract() == 0.0 => value as i64,
                Number::Float(_) => i64::MAX,
            }),
        }
    }

    /// A float, if there is a value. What is none is not a number.
    pub(super) fn double(&self) -> Option<f64> {
        match self {
            Self::Absent => None,
            _ => Some(self.number().map_or(f64::NAN, Number::as_f64)),
        }
    }

    /// A temporality, by number or by name; 0 if it is none that is known.
    pub(super) fn temporality(&self) -> u64 {
        match self {
            Self::Text(text) if text == "AGGREGATION_TEMPORALITY_DELTA" => DELTA,
            Self::Text(text) if text == "AGGREGATION_TEMPORALITY_CUMULATIVE" => CUMULATIVE,
            _ => self.whole().unwrap_or(0),
        }
    }
}

/// Hands each element of a list on, and keeps none.
pub(super) struct Each<'r, T, F> {
    take: F,
    /// Why the list is not read to its end.
    refused: &'r mut Option<Refusal>,
    of: PhantomData<T>,
}

impl<'r, T, F> Each<'r, T, F> {
    pub(super) fn new(take: F, refused: &'r mut Option<Refusal>) -> Self {
        Self {
            take,
            refused,
            of: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Refusal>> Each<'_, T, F> {
    pub(super) fn read<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Refusal>> DeserializeSeed<'de>
    for Each<'_, T, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Refusal>> Visitor<'de> for Each<'_, T, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element::<T>()? {
            if let Err(refusal) = (self.take)(element) {
                let why = de::Error::custom(&refusal);
                *self.refused = Some(refusal);
                return Err(why);
            }
        }
        Ok(())
    }
}

/// A row of numbers.
#[derive(Default)]
pub(super) struct Numbers<T>(pub(super) Vec<T>);

/// What a row is made of.
pub(super) trait Member: Sized {
    fn of(value: &Loose<'_>) -> Self;
}

impl Member for u64 {
    fn of(value: &Loose<'_>) -> Self {
        value.count()
    }
}

impl Member for f64 {
    fn of(value: &Loose<'_>) -> Self {
        value.double().unwrap_or(f64::NAN)
    }
}

impl<'de, T: Member> Deserialize<'de> for Numbers<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        let mut refused = None;
        let push = |value: Loose<'_>| {
            numbers.push(T::of(&value));
            Ok(())
        };
        Each::new(push, &mut refused).read(deserializer)?;
        Ok(Self(numbers))
    }
}

/// A list of attributes.
#[derive(Default)]
pub(super) struct Pairs<'b>(pub(super) Attributes<'b>);

#[derive(serde::Deserialize)]
struct Pair<'b> {
    #[serde(borrow, default)]
    key: Loose<'b>,
    #[serde(borrow, default)]
    value: Option<Value<'b>>,
}

/// An `AnyValue` that is no list and no map: these are not looked into, however deep they are.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Value<'b> {
    #[serde(borrow)]
    string_value: Loose<'b>,
    #[serde(borrow)]
    bool_value: Loose<'b>,
    #[serde(borrow)]
    int_value: Loose<'b>,
    #[serde(borrow)]
    double_value: Loose<'b>,
}

impl<'b> Value<'b> {
    fn scalar(self) -> Option<Cow<'b, str>> {
        let values = [
            self.string_value,
            self.bool_value,
            self.int_value,
            self.double_value,
        ];
        values.into_iter().find_map(|value| match value {
            Loose::Text(text) => Some(text),
            Loose::Bool(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
            Loose::Number(Number::Unsigned(value)) => Some(Cow::Owned(value.to_string())),
            Loose::Number(Number::Float(value)) => Some(Cow::Owned(value.to_string())),
            Loose::Absent | Loose::Wrong => None,
        })
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Pairs<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut attributes = Attributes::default();
        let mut refused = None;
        let add = |pair: Pair<'b>| {
            if let (Some(key), Some(value)) = (pair.key.text(), pair.value.and_then(Value::scalar))
            {
                attributes.add(key, value);
            }
            Ok(())
        };
        Each::new(add, &mut refused).read(deserializer)?;
        Ok(Self(attributes))
    }
}
