//! A value of any type in JSON: what it is, without what it would take to keep a list or an object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::intake::offer::{Field, Number};

/// A value as it came.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Loose<'a> {
    /// Not there, or null.
    #[default]
    Nothing,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// A list or an object.
    Other,
}

impl<'a> Loose<'a> {
    /// The number, also one that is written as a text.
    pub(super) fn number(&self) -> Field<Number> {
        match self {
            Self::Nothing => Field::Absent,
            Self::Number(number) => Field::Is(*number),
            Self::Text(text) => match text.trim().parse() {
                Ok(number) => Field::Is(Number::Float(number)),
                Err(_not_a_number) => Field::Wrong,
            },
            Self::Bool(_) | Self::Other => Field::Wrong,
        }
    }

    /// The text, also that of a number or of a truth.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(Number::Unsigned(number)) => Some(number.to_string().into()),
            Self::Bool(is_true) => Some(is_true.to_string().into()),
            Self::Nothing | Self::Number(Number::Float(_)) | Self::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Loose<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Loose::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "it is negative, and out of every range"
        )]
        let value = value as f64;
        Ok(Loose::Number(Number::Float(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Loose::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}
