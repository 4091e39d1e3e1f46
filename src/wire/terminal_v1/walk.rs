//! The outer objects of a body, a request and its batches, read member by member.
//!
//! What is in them is left to the deserializers of the formats, a value at a time, so that it is known
//! where each list of samples begins and ends. The lists themselves are read in one go.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny};

use super::field::{FieldSeed, field};
use super::read::{Item, Listed, Value};
use super::request::Context;
use super::stream::{KeySeed, ListSeed};
use super::{Field, Number};

/// The stream has failed; the body is to be taken apart piece by piece, or there was too much of something.
#[derive(Debug)]
pub(super) struct Broken;

/// What has members: an object, or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
}

/// What is known of the members to come.
#[derive(Debug)]
pub(super) struct Members(pub(super) u64);

/// A body on its way from its beginning to its end.
pub(super) trait Walk<'a> {
    /// Reads one value.
    fn value<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken>;
    /// Passes over a null, if that comes next.
    fn null(&mut self) -> bool;
    /// Enters what comes next, which must be of this kind.
    fn open(&mut self, kind: Kind) -> Result<Members, Broken>;
    /// Whether there is one more member; leaves it when there is none.
    fn next(&mut self, kind: Kind, members: &mut Members) -> Result<bool, Broken>;
    /// Reads the key of a member.
    fn key(&mut self) -> Result<Cow<'a, str>, Broken>;
    /// What comes, from the first byte of a value.
    fn coming(&mut self) -> &'a [u8];
    /// How many bytes have not been read.
    fn left(&self) -> usize;
    /// The float that is written so, if the deserializer may have got its last digit wrong.
    fn float(bytes: &[u8]) -> Option<f64>;
}

/// Reads an object member by member.
pub(super) fn object<'a, W: Walk<'a>, I: Item<'a>>(
    walk: &mut W,
    context: &mut Context<'_>,
) -> Result<I, Broken> {
    let mut item = I::default();
    let mut members = walk.open(Kind::Object)?;
    while walk.next(Kind::Object, &mut members)? {
        let key = walk.key()?;
        if !item.key(&key, Member(walk), context)? {
            context.unknown_keys += 1;
        }
    }
    Ok(item)
}

/// The value of a member that has not been read.
struct Member<'w, W>(&'w mut W);

impl<'a, W: Walk<'a>> Value<'a> for Member<'_, W> {
    type Error = Broken;

    fn field<T>(self) -> Result<Field<T>, Broken>
    where
        FieldSeed<T>: DeserializeSeed<'a, Value = Field<T>>,
    {
        self.0.value(field())
    }

    fn exact(self) -> Result<Field<Number>, Broken> {
        let whole = self.0.coming();
        let number = self.0.value(field::<Number>())?;
        let length = whole.len() - self.0.left();
        Ok(number.exactly(|| W::float(whole.get(..length)?)))
    }

    fn skip(self) -> Result<(), Broken> {
        self.0.value(PhantomData::<IgnoredAny>).map(|_| ())
    }

    fn list<I: Item<'a>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context<'_>,
    ) -> Result<Listed<'a>, Broken> {
        let walk = self.0;
        if walk.null() {
            return Ok(Listed::Absent);
        }
        let whole = walk.coming();
        if I::HAS_LISTS {
            let mut members = walk.open(Kind::List)?;
            while walk.next(Kind::List, &mut members)? {
                let item = object(walk, context)?;
                if !I::admit(context) || !context.makes_room(into) {
                    return Err(Broken);
                }
                into.push(item);
            }
        } else {
            walk.value(ListSeed { into, context })?;
        }
        let length = whole.len() - walk.left();
        Ok(Listed::Bytes(whole.get(..length).unwrap_or_default()))
    }
}

/// JSON that has not been read.
pub(super) struct Json<'a>(pub(super) &'a str);

impl Json<'_> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\n', '\r', '\t']);
    }

    /// Passes over a byte, if that comes next.
    fn eat(&mut self, byte: char) -> bool {
        self.space();
        let rest = self.0.strip_prefix(byte);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

impl<'a> Walk<'a> for Json<'a> {
    fn value<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken> {
        let mut deserializer = serde_json::Deserializer::from_str(self.0);
        let value = seed
            .deserialize(&mut deserializer)
            .map_err(|_told_when_taken_apart| Broken)?;
        let read = deserializer.into_iter::<IgnoredAny>().byte_offset();
        self.0 = self.0.get(read..).ok_or(Broken)?;
        Ok(value)
    }

    fn null(&mut self) -> bool {
        self.space();
        let rest = self.0.strip_prefix("null");
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn open(&mut self, kind: Kind) -> Result<Members, Broken> {
        let opens = if kind == Kind::Object { '{' } else { '[' };
        // One: no comma is needed before the first.
        self.eat(opens).then_some(Members(1)).ok_or(Broken)
    }

    fn next(&mut self, kind: Kind, members: &mut Members) -> Result<bool, Broken> {
        let closes = if kind == Kind::Object { '}' } else { ']' };
        if self.eat(closes) {
            return Ok(false);
        }
        let is_first = std::mem::take(&mut members.0) == 1;
        (is_first || self.eat(',')).then_some(true).ok_or(Broken)
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Broken> {
        self.space();
        let key = self.value(KeySeed)?;
        self.eat(':').then_some(key).ok_or(Broken)
    }

    fn coming(&mut self) -> &'a [u8] {
        self.space();
        self.0.as_bytes()
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    fn float(bytes: &[u8]) -> Option<f64> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}
