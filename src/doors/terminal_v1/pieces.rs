//! Reads values that have been cut out of a body: one that cannot be read spoils only itself.

use std::borrow::Cow;

use serde::de::DeserializeSeed;

use super::context::Context;
use super::field::FieldSeed;
use super::read::{Embedded, Item, Listed, Value};
use super::{Field, Number};

pub(super) fn item_of<'a, I: Item<'a>, P: Piece<'a>>(
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
    /// The float that the value is, if reading it as a field may get its last digit wrong.
    fn float(self) -> Option<f64>;
    /// The bytes of the value, as it is written.
    fn bytes(self) -> &'a [u8];
    /// What the value is as a field: wrong, if it cannot be read.
    fn field<T>(self) -> Field<T>
    where
        FieldSeed<T>: DeserializeSeed<'a, Value = Field<T>>;
    /// The keys and values of an object; `None` for what is none. A key that is no text is nobody's key.
    fn pairs(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>>;
    /// The elements of a list; `None` for what is none.
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

    fn text_or_object(self) -> Result<Field<Embedded<'de>>, Self::Error> {
        let bytes = self.0.bytes();
        Ok(if bytes.first() == Some(&b'{') {
            Field::Is(Embedded::Object(bytes))
        } else {
            self.0.field::<Cow<'de, str>>().map(Embedded::Text)
        })
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
        for element in elements.take(I::KEPT_MAX) {
            if !I::admit(context) || !context.makes_room(into, I::usual) {
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
