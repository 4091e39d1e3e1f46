//! Lists of samples, read in one go by the deserializers of the formats.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::field::{FieldSeed, field};
use super::read::{Item, Listed, Value};
use super::request::Context;
use super::{Field, Number};

fn read_object<'de, I: Item<'de>, A: MapAccess<'de>>(
    mut map: A,
    context: &mut Context<'_>,
) -> Result<I, A::Error> {
    let mut item = I::default();
    while let Some(key) = map.next_key_seed(KeySeed)? {
        if !item.key(&key, StreamValue(&mut map), context)? {
            context.unknown_keys += 1;
        }
    }
    Ok(item)
}

/// Borrows a key from the body unless it has escapes.
pub(super) struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The next value of an object that is being streamed.
struct StreamValue<'a, A>(&'a mut A);

impl<'de, A: MapAccess<'de>> Value<'de> for StreamValue<'_, A> {
    type Error = A::Error;

    fn field<T>(self) -> Result<Field<T>, A::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>,
    {
        self.0.next_value_seed(field())
    }

    fn exact(self) -> Result<Field<Number>, A::Error> {
        self.field()
    }

    fn skip(self) -> Result<(), A::Error> {
        self.0.next_value::<IgnoredAny>().map(|_| ())
    }

    fn list<I: Item<'de>>(
        self,
        _: &mut Vec<I>,
        _: &mut Context<'_>,
    ) -> Result<Listed<'de>, A::Error> {
        Err(A::Error::custom("a list whose bytes are wanted is walked"))
    }
}

/// Reads a list to its end.
pub(super) struct ListSeed<'c, 't, I> {
    pub(super) into: &'c mut Vec<I>,
    pub(super) context: &'c mut Context<'t>,
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ListSeed<'_, '_, I> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ListSeed<'_, '_, I> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(item) = sequence.next_element_seed(ItemSeed::<I>::new(self.context))? {
            if !I::admit(self.context) || !self.context.makes_room(self.into) {
                return Err(A::Error::custom("too many"));
            }
            self.into.push(item);
        }
        Ok(())
    }
}

/// Reads an object.
struct ItemSeed<'c, 't, I> {
    context: &'c mut Context<'t>,
    item: PhantomData<I>,
}

impl<'c, 't, I> ItemSeed<'c, 't, I> {
    fn new(context: &'c mut Context<'t>) -> Self {
        Self {
            context,
            item: PhantomData,
        }
    }
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ItemSeed<'_, '_, I> {
    type Value = I;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<I, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ItemSeed<'_, '_, I> {
    type Value = I;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<I, A::Error> {
        read_object(map, self.context)
    }
}
