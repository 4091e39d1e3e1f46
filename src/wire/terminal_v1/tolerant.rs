//! Takes a body apart piece by piece, so that a piece that cannot be read spoils only itself.
//!
//! Several times slower than the walk, and only used after that has failed.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field::{FieldSeed, field};
use super::messagepack;
use super::read::{Item, Listed, Top, Value};
use super::request::Context;
use super::{Field, Number};

/// What the lists of pieces take while a body is taken apart, at most: there are no more pieces than
/// commas, and one, and a list grows by doubling.
pub(super) fn json_bytes(text: &str) -> usize {
    let commas = text.bytes().filter(|byte| *byte == b',').count();
    2 * size_of::<(Cow<'_, str>, &RawValue)>() * (commas + 1)
}

/// Reads a body whose JSON is sound, whatever its pieces hold.
pub(super) fn json_top<'a>(
    text: &'a str,
    context: &mut Context<'_>,
) -> Result<Top<'a>, serde_json::Error> {
    let pairs: Pairs<'a> = serde_json::from_str(text)?;
    Ok(item_of(pairs.0.into_iter(), context))
}

/// Reads a body that is one sound MessagePack map; `None` when it is not.
pub(super) fn messagepack_top<'a>(body: &'a [u8], context: &mut Context<'_>) -> Option<Top<'a>> {
    let top = messagepack::Piece::whole(body)?;
    Some(item_of(Piece::pairs(top)?, context))
}

fn item_of<'a, I: Item<'a>, P: Piece<'a>>(
    pairs: impl Iterator<Item = (Cow<'a, str>, P)>,
    context: &mut Context<'_>,
) -> I {
    let mut item = I::default();
    for (key, piece) in pairs {
        let Ok(is_known) = item.key(key.as_bytes(), Apart(piece), context);
        if !is_known {
            context.unknown_keys += 1;
        }
    }
    item
}

/// A value that has not been looked into.
pub(super) trait Piece<'a>: Copy {
    fn is_null(self) -> bool;
    /// The float that it is, if reading it as a field may get its last digit wrong.
    fn float(self) -> Option<f64>;
    /// It, as it is written.
    fn bytes(self) -> &'a [u8];
    /// What it is as a field: wrong, if it cannot be read.
    fn field<T>(self) -> Field<T>
    where
        FieldSeed<T>: DeserializeSeed<'a, Value = Field<T>>;
    /// Its keys and values, if it is an object. A key that is no text is nobody's key.
    fn pairs(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>>;
    /// Its elements, if it is a list.
    fn elements(self) -> Option<impl Iterator<Item = Self>>;
}

/// Reads a piece as a value.
struct Apart<P>(P);

impl<'de, P: Piece<'de>> Value<'de> for Apart<P> {
    type Error = std::convert::Infallible;

    fn field<T>(self) -> Result<Field<T>, Self::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>,
    {
        Ok(self.0.field())
    }

    fn exact(self) -> Result<Field<Number>, Self::Error> {
        let number: Field<Number> = self.0.field();
        Ok(number.exactly(|| self.0.float()))
    }

    fn skip(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn list<I: Item<'de>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context<'_>,
    ) -> Result<Listed<'de>, Self::Error> {
        if self.0.is_null() {
            return Ok(Listed::Absent);
        }
        let bytes = self.0.bytes();
        let Some(elements) = self.0.elements() else {
            return Ok(Listed::Wrong);
        };
        for element in elements {
            if !I::admit(context) || !context.makes_room(into) {
                break;
            }
            into.push(match element.pairs() {
                Some(pairs) => item_of(pairs, context),
                None => {
                    let mut item = I::default();
                    item.set_malformed();
                    item
                }
            });
        }
        Ok(Listed::Bytes(bytes))
    }
}

impl<'a> Piece<'a> for &'a RawValue {
    fn float(self) -> Option<f64> {
        self.get().parse().ok()
    }

    fn is_null(self) -> bool {
        self.get() == "null"
    }

    fn bytes(self) -> &'a [u8] {
        self.get().as_bytes()
    }

    fn field<T>(self) -> Field<T>
    where
        FieldSeed<T>: DeserializeSeed<'a, Value = Field<T>>,
    {
        let mut deserializer = serde_json::Deserializer::from_str(self.get());
        field()
            .deserialize(&mut deserializer)
            .unwrap_or(Field::Wrong)
    }

    fn pairs(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>> {
        let pairs: Pairs<'a> = serde_json::from_str(self.get()).ok()?;
        Some(pairs.0.into_iter())
    }

    fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let elements: Vec<Self> = serde_json::from_str(self.get()).ok()?;
        Some(elements.into_iter())
    }
}

/// An object's keys and the text of their values, in order.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            // Half a surrogate is no text.
            let key = serde_json::from_str::<Cow<'de, str>>(key.get()).unwrap_or_default();
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}
