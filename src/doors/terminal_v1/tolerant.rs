//! Takes a body apart piece by piece, so that a piece that cannot be read spoils only itself.
//!
//! Several times slower than the walk, and only used after that has failed.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Field;
use super::context::Context;
use super::field::{FieldSeed, field};
use super::messagepack;
use super::pieces::{Piece, item_of};
use super::read::Top;

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
            // A key with half a surrogate is no text.
            let key = serde_json::from_str::<Cow<'de, str>>(key.get()).unwrap_or_default();
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}
