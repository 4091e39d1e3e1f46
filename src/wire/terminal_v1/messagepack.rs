//! MessagePack: the stream that fails as a whole, and where a value ends, for what is taken apart.
//!
//! No length is believed before the bytes for it are there, and nothing is reserved for one. Nesting
//! costs no stack here: values that are still to come are only counted.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};

use super::read::{ItemSeed, Top};
use super::request::Context;
use super::{Field, FieldSeed, field, tolerant};

/// How deep the stream follows; a batch is six deep. What is deeper is taken apart and skipped.
const DEPTH_MAX: usize = 64;

/// Reads a body. Fails as a whole on what no field can be, as the stream of JSON does.
pub(super) fn top<'a>(
    body: &'a [u8],
    context: &mut Context<'_>,
) -> Result<Top<'a>, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(DEPTH_MAX);
    let top = ItemSeed::<Top<'_>>::new(context).deserialize(&mut deserializer)?;
    // Where nothing follows, there is not even a marker to be read.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(top),
        _ => Err(rmp_serde::decode::Error::Uncategorized(
            "something follows it".to_owned(),
        )),
    }
}

/// Exactly one value.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a>(&'a [u8]);

impl<'a> Piece<'a> {
    /// The value that these bytes are, if they are one and no more.
    pub(super) fn whole(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        let value = rest.value()?;
        rest.0.is_empty().then_some(value)
    }

    fn text(self) -> Option<&'a str> {
        let mut rest = Bytes(self.0);
        let length = match rest.byte()? {
            marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
            0xd9 => rest.number(1)?,
            0xda => rest.number(2)?,
            0xdb => rest.number(4)?,
            _ => return None,
        };
        std::str::from_utf8(rest.take(length)?).ok()
    }
}

impl<'a> tolerant::Piece<'a> for Piece<'a> {
    fn field<T>(self) -> Field<T>
    where
        FieldSeed<T>: DeserializeSeed<'a, Value = Field<T>>,
    {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(self.0);
        deserializer.set_max_depth(DEPTH_MAX);
        field()
            .deserialize(&mut deserializer)
            .unwrap_or(Field::Wrong)
    }

    fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let mut rest = Bytes(self.0);
        let count = match rest.byte()? {
            marker @ 0x90..=0x9f => u64::from(marker & 0x0f),
            0xdc => rest.number(2)?,
            0xdd => rest.number(4)?,
            _ => return None,
        };
        Some((0..count).map_while(move |_| rest.value()))
    }

    fn pairs(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>> {
        let mut rest = Bytes(self.0);
        let count = match rest.byte()? {
            marker @ 0x80..=0x8f => u64::from(marker & 0x0f),
            0xde => rest.number(2)?,
            0xdf => rest.number(4)?,
            _ => return None,
        };
        Some((0..count).map_while(move |_| {
            let key = rest.value()?;
            let key = Cow::Borrowed(key.text().unwrap_or_default());
            Some((key, rest.value()?))
        }))
    }
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// An unsigned number of so many bytes, big-endian.
    fn number(&mut self, bytes: u64) -> Option<u64> {
        let digits = self.take(bytes)?;
        Some(
            digits
                .iter()
                .fold(0, |number, digit| number << 8 | u64::from(*digit)),
        )
    }

    /// The next value with all that is in it.
    fn value(&mut self) -> Option<Piece<'a>> {
        let start = self.0;
        let mut to_come = 1_u64;
        while to_come > 0 {
            to_come -= 1;
            let (payload_bytes, children) = self.extent()?;
            self.take(payload_bytes)?;
            to_come += children;
            // Each takes at least one byte: a list that claims more than there is, is none.
            if to_come > self.0.len() as u64 {
                return None;
            }
        }
        let length = start.len() - self.0.len();
        start.get(..length).map(Piece)
    }

    /// Reads a marker and its length: the bytes of the value itself, and the values in it.
    fn extent(&mut self) -> Option<(u64, u64)> {
        Some(match self.byte()? {
            marker @ 0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            marker @ 0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            marker @ 0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            // Never used.
            0xc1 => return None,
            // Bytes and texts.
            0xc4 | 0xd9 => (self.number(1)?, 0),
            0xc5 | 0xda => (self.number(2)?, 0),
            0xc6 | 0xdb => (self.number(4)?, 0),
            // Extensions: a type and bytes.
            0xc7 => (self.number(1)? + 1, 0),
            0xc8 => (self.number(2)? + 1, 0),
            0xc9 => (self.number(4)? + 1, 0),
            marker @ 0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
            // Numbers.
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            // Lists and maps.
            0xdc => (0, self.number(2)?),
            0xdd => (0, self.number(4)?),
            0xde => (0, 2 * self.number(2)?),
            0xdf => (0, 2 * self.number(4)?),
            // Null, false, true and small integers.
            _ => (0, 0),
        })
    }
}
