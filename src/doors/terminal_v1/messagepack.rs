//! MessagePack: how it is walked through, and where a value ends.
//!
//! No length is believed before the bytes for it are there, and nothing is reserved for one. Nesting
//! costs no stack here: values that are still to come are only counted.

use std::borrow::Cow;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer};

use super::field::{FieldSeed, field};
use super::walk::{Broken, Kind, Members, Walk};
use super::{Field, pieces};

/// The marker of a null.
const NULL: u8 = 0xc0;
/// How deep the deserializer follows; a batch is six deep. What is deeper is taken apart and skipped.
const DEPTH_MAX: usize = 64;

/// How many bytes a value takes that begins with this one, if that says it all; else 0.
const SHORT_BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut marker = 0_u8;
    loop {
        bytes[marker as usize] = match marker {
            // Small integers, null, false and true.
            0..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
            0xa0..=0xbf => 1 + (marker & 0x1f),
            // Numbers.
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 => 3,
            0xca | 0xce | 0xd2 => 5,
            0xcb | 0xcf | 0xd3 => 9,
            _ => 0,
        };
        if marker == u8::MAX {
            break bytes;
        }
        marker += 1;
    }
};

/// Says whether these bytes are one MessagePack map, and no more.
#[must_use]
pub fn is_map(bytes: &[u8]) -> bool {
    let whole = Piece::whole(bytes);
    whole.is_some_and(|whole| Bytes(whole.0).open(Kind::Object).is_ok())
}

/// The bytes of exactly one value.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a>(&'a [u8]);

impl<'a> Piece<'a> {
    /// Takes these bytes as the value that they are, if they are one and no more.
    pub(super) fn whole(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        let value = rest.piece()?;
        rest.0.is_empty().then_some(value)
    }

    fn text(self) -> Option<&'a str> {
        Bytes(self.0).text()
    }
}

impl<'a> pieces::Piece<'a> for Piece<'a> {
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

    fn float(self) -> Option<f64> {
        None
    }

    fn is_null(self) -> bool {
        self.0 == [NULL]
    }

    fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let mut rest = Bytes(self.0);
        let Members(count) = rest.open(Kind::List).ok()?;
        Some((0..count).map_while(move |_| rest.piece()))
    }

    fn pairs(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>> {
        let mut rest = Bytes(self.0);
        let Members(count) = rest.open(Kind::Object).ok()?;
        Some((0..count).map_while(move |_| {
            let key = rest.piece()?;
            let key = Cow::Borrowed(key.text().unwrap_or_default());
            Some((key, rest.piece()?))
        }))
    }
}

/// Bytes that are still to be read.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Walk<'a> for Bytes<'a> {
    #[inline(always)]
    fn value<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken> {
        let number = match self.0.first() {
            Some(0xa0..=0xbf | 0xd9..=0xdb) => {
                if let Some(text) = self.text() {
                    return seed.deserialize(BorrowedStrDeserializer::new(text));
                }
                None
            }
            Some(marker @ 0..=0x7f) => self.short(u64::from(*marker)),
            Some(0xcc) => self.long::<1>().map(|bytes| u64::from(bytes[0])),
            Some(0xcd) => self.long().map(|bytes| u16::from_be_bytes(bytes).into()),
            Some(0xce) => self.long().map(|bytes| u32::from_be_bytes(bytes).into()),
            Some(0xcf) => self.long().map(u64::from_be_bytes),
            Some(0xcb) => {
                if let Some(bytes) = self.long() {
                    return seed.deserialize(f64::from_be_bytes(bytes).into_deserializer());
                }
                None
            }
            _ => None,
        };
        match number {
            Some(number) => seed.deserialize(number.into_deserializer()),
            None => self.by_serde(seed),
        }
    }

    fn null(&mut self) -> bool {
        let rest = self.0.strip_prefix(&[NULL]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn open(&mut self, kind: Kind) -> Result<Members, Broken> {
        let count = match (kind, self.byte().ok_or(Broken)?) {
            (Kind::Object, marker @ 0x80..=0x8f) | (Kind::List, marker @ 0x90..=0x9f) => {
                Some(u64::from(marker & 0x0f))
            }
            (Kind::Object, 0xde) | (Kind::List, 0xdc) => self.number(2),
            (Kind::Object, 0xdf) | (Kind::List, 0xdd) => self.number(4),
            _ => None,
        };
        count.map(Members).ok_or(Broken)
    }

    #[inline(always)]
    fn element(&mut self, Members(left): &mut Members) -> Result<bool, Broken> {
        let is_there = *left > 0;
        *left = left.saturating_sub(1);
        Ok(is_there)
    }

    #[inline(always)]
    fn member(&mut self, members: &mut Members) -> Result<Option<&'a [u8]>, Broken> {
        if !self.element(members)? {
            return Ok(None);
        }
        self.text_bytes().map(Some).ok_or(Broken)
    }

    fn coming(&mut self) -> &'a [u8] {
        self.0
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    fn float(_: &[u8]) -> Option<f64> {
        None
    }
}

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

    /// Reads an unsigned number of so many bytes, big-endian.
    fn number(&mut self, bytes: u64) -> Option<u64> {
        let digits = self.take(bytes)?;
        Some(
            digits
                .iter()
                .fold(0, |number, digit| number << 8 | u64::from(*digit)),
        )
    }

    /// Reads the bytes of a text; stays where it is if no text comes next.
    #[inline(always)]
    fn text_bytes(&mut self) -> Option<&'a [u8]> {
        let (marker, rest) = self.0.split_first()?;
        let mut rest = Self(rest);
        let length = match marker {
            0xa0..=0xbf => u64::from(marker & 0x1f),
            0xd9 => rest.number(1)?,
            0xda => rest.number(2)?,
            0xdb => rest.number(4)?,
            _ => return None,
        };
        let text = rest.take(length)?;
        self.0 = rest.0;
        Some(text)
    }

    /// Reads a text; stays where it is if no text comes next.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        let mut rest = Self(self.0);
        let text = std::str::from_utf8(rest.text_bytes()?).ok()?;
        self.0 = rest.0;
        Some(text)
    }

    /// Passes over a marker that is a value by itself.
    fn short(&mut self, value: u64) -> Option<u64> {
        self.0 = self.0.get(1..)?;
        Some(value)
    }

    /// Reads the bytes of a number, behind its marker.
    fn long<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (number, rest) = self.0.get(1..)?.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    #[cold]
    fn by_serde<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken> {
        // The deserializer does not say how far it has come, so the piece is measured first.
        let piece = self.piece().ok_or(Broken)?;
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(piece.0);
        deserializer.set_max_depth(DEPTH_MAX);
        seed.deserialize(&mut deserializer)
            .map_err(|_told_when_taken_apart| Broken)
    }

    /// Reads the next value with all that is in it.
    fn piece(&mut self) -> Option<Piece<'a>> {
        let start = self.0;
        let mut to_come = 1_u64;
        while to_come > 0 {
            to_come -= 1;
            let bytes = SHORT_BYTES[usize::from(*self.0.first()?)];
            if bytes > 0 {
                self.0 = self.0.get(usize::from(bytes)..)?;
                continue;
            }
            let (payload_bytes, children) = self.extent()?;
            self.take(payload_bytes)?;
            to_come += children;
            // Each value takes at least one byte: a list that claims more than there is, is none.
            if to_come > self.0.len() as u64 {
                return None;
            }
        }
        let length = start.len() - self.0.len();
        start.get(..length).map(Piece)
    }

    /// Reads a marker and its length, of what is not short: the bytes of the value itself, and the values in it.
    fn extent(&mut self) -> Option<(u64, u64)> {
        Some(match self.byte()? {
            marker @ 0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            marker @ 0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            // Bytes and texts.
            0xc4 | 0xd9 => (self.number(1)?, 0),
            0xc5 | 0xda => (self.number(2)?, 0),
            0xc6 | 0xdb => (self.number(4)?, 0),
            // Extensions: a type and bytes.
            0xc7 => (self.number(1)? + 1, 0),
            0xc8 => (self.number(2)? + 1, 0),
            0xc9 => (self.number(4)? + 1, 0),
            marker @ 0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
            // Lists and maps.
            0xdc => (0, self.number(2)?),
            0xdd => (0, self.number(4)?),
            0xde => (0, 2 * self.number(2)?),
            0xdf => (0, 2 * self.number(4)?),
            // A short value, or a marker that is never used.
            _ => return None,
        })
    }
}
