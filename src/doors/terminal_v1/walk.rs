//! A body is read member by member, from its beginning to its end, whichever format it is written in.
//!
//! So it is known where each list of samples begins and ends. A value that is written as nearly all are, a
//! format reads in place; any other it leaves to its deserializer, which is several times slower and knows all
//! of the format.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny};

use super::context::Context;
use super::field::{FieldSeed, field};
use super::read::{Embedded, Item, Listed, Value};

use super::{Field, Number};

/// Reading member by member has failed; the body is to be taken apart piece by piece, or there was too much of
/// something.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the body cannot be read member by member")
    }
}

impl std::error::Error for Broken {}

impl serde::de::Error for Broken {
    fn custom<T: fmt::Display>(_told_when_taken_apart: T) -> Self {
        Self
    }
}

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
    /// Whether there is one more element; leaves the list when there is none.
    fn element(&mut self, members: &mut Members) -> Result<bool, Broken>;
    /// The key of the next member, whose value comes then; leaves the object when there is none.
    fn member(&mut self, members: &mut Members) -> Result<Option<&'a [u8]>, Broken>;
    /// The bytes to come, from the first byte of a value.
    fn coming(&mut self) -> &'a [u8];
    /// How many bytes have not been read yet.
    fn left(&self) -> usize;
    /// The float that is written so, if it may have been read a last digit off.
    fn float(bytes: &[u8]) -> Option<f64>;
}

/// Reads an object into `item`, which is where it stays.
pub(super) fn object<'a, W: Walk<'a>, I: Item<'a>>(
    walk: &mut W,
    item: &mut I,
    context: &mut Context<'_>,
) -> Result<(), Broken> {
    let mut members = walk.open(Kind::Object)?;
    while let Some(key) = walk.member(&mut members)? {
        if !item.key(key, Member(walk), context)? {
            context.unknown_keys += 1;
        }
    }
    Ok(())
}

/// The value of a member that has not been read.
struct Member<'w, W>(&'w mut W);

impl<'a, W: Walk<'a>> Value<'a> for Member<'_, W> {
    type Error = Broken;

    #[inline(always)]
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

    fn text_or_object(self) -> Result<Field<Embedded<'a>>, Broken> {
        let whole = self.0.coming();
        // In MessagePack this byte is a number: such a body is no envelope, whatever is found here.
        if whole.first() != Some(&b'{') {
            let text = self.0.value(field::<Cow<'a, str>>())?;
            return Ok(text.map(Embedded::Text));
        }
        self.0.value(PhantomData::<IgnoredAny>)?;
        let length = whole.len() - self.0.left();
        let object = whole.get(..length).ok_or(Broken)?;
        Ok(Field::Is(Embedded::Object(object)))
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
        let mut members = walk.open(Kind::List)?;
        while walk.element(&mut members)? {
            if into.len() >= I::KEPT_MAX {
                walk.value(PhantomData::<IgnoredAny>)?;
                continue;
            }
            if !I::admit(context) || !context.makes_room(into, I::usual) {
                return Err(Broken);
            }
            into.push(I::default());
            object(walk, into.last_mut().ok_or(Broken)?, context)?;
        }
        let length = whole.len() - walk.left();
        Ok(Listed::Bytes(whole.get(..length).unwrap_or_default()))
    }
}
