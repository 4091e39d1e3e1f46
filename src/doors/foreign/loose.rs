//! A value of any type in JSON: what it is, without what it would take to keep a list or an object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::intake::offer::{Field, Number};

/// A value as it came.
#[derive(Debug, Default, PartialEq)]
pub enum Loose<'b> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'b, str>),
    /// A list or an object.
    Wrong,
}

impl<'b> Loose<'b> {
    /// A number, be it written as text; `None` if there is none.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim();
                let signed = || text.parse().ok().map(whole);
                let float = || text.parse().ok().map(Number::Float);
                text.parse()
                    .ok()
                    .map(Number::Unsigned)
                    .or_else(signed)
                    .or_else(float)
            }
            Self::Absent | Self::Bool(_) | Self::Wrong => None,
        }
    }

    /// The number as a field: what is there and is none, be it written as text, is wrong.
    pub fn field(&self) -> Field<Number> {
        match self {
            Self::Absent => Field::Absent,
            _ => self.number().map_or(Field::Wrong, Field::Is),
        }
    }

    /// The text; `None` if it is something else.
    pub fn text(self) -> Option<Cow<'b, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text, also that of a whole number or of a truth value.
    pub fn into_text(self) -> Option<Cow<'b, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(Number::Unsigned(number)) => Some(number.to_string().into()),
            Self::Bool(is_true) => Some(is_true.to_string().into()),
            Self::Absent | Self::Number(Number::Float(_)) | Self::Wrong => None,
        }
    }
}

/// An integer that may be negative.
pub fn whole(value: i64) -> Number {
    #[expect(
        clippy::cast_precision_loss,
        reason = "negative: it is refused, whatever its digits"
    )]
    u64::try_from(value).map_or(Number::Float(value as f64), Number::Unsigned)
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Absent)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose<'de>, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose<'de>, E> {
        Ok(Loose::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose<'de>, E> {
        Ok(Loose::Number(whole(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Wrong)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Wrong)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Loose<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}
