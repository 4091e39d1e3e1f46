//! Takes a JSON body apart piece by piece, so that a piece that cannot be read spoils only itself.
//!
//! Three to four times slower than reading the stream, and only used after that has failed.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::read::{Item, Top, Value};
use super::request::Context;
use super::{Field, FieldSeed, field};

/// Reads a body whose JSON is sound, whatever its pieces hold.
pub(super) fn top<'a>(text: &'a str, context: &mut Context) -> Result<Top<'a>, serde_json::Error> {
    let pairs: Pairs<'a> = serde_json::from_str(text)?;
    Ok(item_of(pairs, context))
}

fn item_of<'a, I: Item<'a>>(pairs: Pairs<'a>, context: &mut Context) -> I {
    let mut item = I::default();
    for (key, raw) in pairs.0 {
        let Ok(is_known) = item.key(&key, Piece(raw.get()), context);
        if !is_known {
            context.unknown_keys += 1;
        }
    }
    item
}

/// A value as text. What cannot be read of it is wrong, and that is all.
struct Piece<'a>(&'a str);

impl<'de> Value<'de> for Piece<'de> {
    type Error = std::convert::Infallible;

    fn field<T>(self) -> Result<Field<T>, Self::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>,
    {
        let mut deserializer = serde_json::Deserializer::from_str(self.0);
        Ok(field()
            .deserialize(&mut deserializer)
            .unwrap_or(Field::Wrong))
    }

    fn skip(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn list<I: Item<'de>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context,
    ) -> Result<bool, Self::Error> {
        let Ok(elements) = serde_json::from_str::<Vec<&'de RawValue>>(self.0) else {
            return Ok(false);
        };
        for element in elements {
            if !I::admit(context) {
                break;
            }
            into.push(match serde_json::from_str::<Pairs<'de>>(element.get()) {
                Ok(pairs) => item_of(pairs, context),
                Err(_) => {
                    let mut item = I::default();
                    item.set_malformed();
                    item
                }
            });
        }
        Ok(true)
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
            // A key that is no text (half a surrogate) is nobody's key.
            let key = serde_json::from_str::<Cow<'de, str>>(key.get()).unwrap_or_default();
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}
