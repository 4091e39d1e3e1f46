//! JSON: how it is walked through.
//!
//! What programs write is read in place: texts without escapes, numbers without sign and exponent, `true`,
//! `false`, `null`. Whatever else there is, and all that is no JSON, goes to `serde_json`.

use serde::de::value::{BorrowedStrDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, IgnoredAny, IntoDeserializer};

use super::Number;
use super::walk::{Broken, Kind, Members, Walk};

/// Numbers of so many decimal digits are always less than 2^64.
const DIGITS_MAX: usize = 19;

/// Ten to the power of the index.
const POWERS: [f64; DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// A JSON text, and what of it has not been read.
pub(super) struct Json<'a> {
    text: &'a str,
    rest: &'a [u8],
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            rest: text.as_bytes(),
        }
    }

    /// Gives the next byte that is no space; 0, which JSON never has, at the end.
    #[inline(always)]
    fn peek(&mut self) -> u8 {
        match self.rest {
            [byte @ b'!'..=u8::MAX, ..] => *byte,
            _ => self.behind_spaces(),
        }
    }

    fn behind_spaces(&mut self) -> u8 {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied().unwrap_or(0)
    }

    /// Passes over the byte that was peeked at.
    #[inline(always)]
    fn pass(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Passes over these bytes, if they come next.
    #[inline(always)]
    fn eat(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Passes over what stands before a member, and says whether there is one; if not, passes over the end.
    #[inline(always)]
    fn passes(&mut self, members: &mut Members, end: u8) -> Result<bool, Broken> {
        let byte = self.peek();
        let is_first = members.0 != u64::from(b',');
        if u64::from(byte) == members.0 {
            self.pass();
            members.0 = u64::from(b',');
            // An empty object or list ends here; behind a comma that would be a mistake.
            let is_empty = is_first && self.peek() == end;
            if is_empty {
                self.pass();
            }
            return Ok(!is_empty);
        }
        if is_first || byte != end {
            return Err(Broken);
        }
        self.pass();
        Ok(false)
    }

    /// Passes over a text without escapes, whose quotation mark comes next, and gives its bytes.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a [u8]> {
        let (_mark, text) = self.rest.split_first()?;
        let (text, rest) = text.split_at_checked(end_of_text(text))?;
        let (b'"', rest) = rest.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(text)
    }

    /// Passes over a text as [`text`](Self::text) does, and gives the `str`.
    #[inline(always)]
    fn str(&mut self) -> Option<&'a str> {
        let start = self.text.len() - self.rest.len() + 1;
        let length = self.text()?.len();
        self.text.get(start..start + length)
    }

    /// Reads a number of so few digits that none of them is lost on the way.
    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        let (whole, rest) = digits(self.rest, 0);
        let length = self.rest.len() - rest.len();
        let has_odd_zero = length > 1 && self.rest.first() == Some(&b'0');
        if length > DIGITS_MAX || has_odd_zero {
            return None;
        }
        match rest {
            [b'.', decimals @ ..] => self.fraction(whole, decimals),
            [b'e' | b'E', ..] => None,
            _ => {
                self.rest = rest;
                Some(Number::Unsigned(whole))
            }
        }
    }

    #[inline(always)]
    fn fraction(&mut self, whole: u64, decimals: &'a [u8]) -> Option<Number> {
        let (number, rest) = digits(decimals, whole);
        let length = decimals.len() - rest.len();
        let is_long = self.rest.len() - rest.len() > DIGITS_MAX;
        if length == 0 || is_long || matches!(rest, [b'e' | b'E', ..]) {
            return None;
        }
        self.rest = rest;
        // The division gives what `serde_json` gives.
        #[expect(clippy::cast_precision_loss, reason = "the nearest float is meant")]
        Some(Number::Float(number as f64 / POWERS.get(length)?))
    }

    #[cold]
    fn by_serde<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken> {
        let rest = self.text.get(self.text.len() - self.rest.len()..);
        let mut deserializer = serde_json::Deserializer::from_str(rest.ok_or(Broken)?);
        let value = seed
            .deserialize(&mut deserializer)
            .map_err(|_told_when_taken_apart| Broken)?;
        let read = deserializer.into_iter::<IgnoredAny>().byte_offset();
        self.rest = self.rest.get(read..).ok_or(Broken)?;
        Ok(value)
    }
}

/// Eight times this byte.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Reads decimal digits behind those that make up `number`, and gives what comes then. Of more than fit it reads
/// only some.
#[inline(always)]
fn digits(mut bytes: &[u8], mut number: u64) -> (u64, &[u8]) {
    while let Some((word, rest)) = bytes.split_first_chunk()
        && let Some(eight) = eight_digits(u64::from_le_bytes(*word))
    {
        number = number.wrapping_mul(100_000_000).wrapping_add(eight);
        bytes = rest;
    }
    while let [byte @ b'0'..=b'9', rest @ ..] = bytes {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        bytes = rest;
    }
    (number, bytes)
}

/// The number that eight digits are, the first in the lowest byte: pairs of them, then fours, then all eight are
/// put together side by side.
#[inline(always)]
fn eight_digits(word: u64) -> Option<u64> {
    let digits = word ^ each(b'0');
    if (digits.wrapping_add(each(0x80 - 10)) | digits) & each(0x80) != 0 {
        return None;
    }
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Where a text ends, or stops to be plain: at the first quotation mark, backslash or control character.
#[inline(always)]
fn end_of_text(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Sets the highest bit of each byte that is looked for. The first is right; behind it, a borrow may set
        // others. With one bit turned over, a quotation mark is next to the control characters.
        let marks = (word ^ each(b'"' ^ b' ')).wrapping_sub(each(b' ' + 1));
        let escapes = (word ^ each(b'\\')).wrapping_sub(each(1));
        let found = (marks | escapes) & !word & each(0x80);
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    bytes.len() - rest.len() + length
}

impl<'a> Walk<'a> for Json<'a> {
    #[inline(always)]
    fn value<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Broken> {
        match self.peek() {
            b'"' => {
                if let Some(text) = self.str() {
                    return seed.deserialize(BorrowedStrDeserializer::new(text));
                }
            }
            b'0'..=b'9' => match self.number() {
                Some(Number::Unsigned(number)) => {
                    return seed.deserialize(number.into_deserializer());
                }
                Some(Number::Float(number)) => {
                    return seed.deserialize(number.into_deserializer());
                }
                None => {}
            },
            b't' if self.eat(b"true") => return seed.deserialize(true.into_deserializer()),
            b'f' if self.eat(b"false") => return seed.deserialize(false.into_deserializer()),
            b'n' if self.eat(b"null") => return seed.deserialize(UnitDeserializer::new()),
            _ => {}
        }
        self.by_serde(seed)
    }

    fn null(&mut self) -> bool {
        self.peek() == b'n' && self.eat(b"null")
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind) -> Result<Members, Broken> {
        let opens = if kind == Kind::Object { b'{' } else { b'[' };
        // The bracket is passed over before the first member, as a comma is before every other.
        let is_it = self.peek() == opens;
        is_it.then_some(Members(u64::from(opens))).ok_or(Broken)
    }

    #[inline(always)]
    fn element(&mut self, members: &mut Members) -> Result<bool, Broken> {
        self.passes(members, b']')
    }

    #[inline(always)]
    fn member(&mut self, members: &mut Members) -> Result<Option<&'a [u8]>, Broken> {
        // Most keys of a sample are one letter.
        if let [lead, b'"', letter @ b'a'..=b'z', b'"', b':', rest @ ..] = self.rest
            && u64::from(*lead) == members.0
        {
            members.0 = u64::from(b',');
            self.rest = rest;
            return Ok(Some(std::slice::from_ref(letter)));
        }
        if !self.passes(members, b'}')? {
            return Ok(None);
        }
        let key = if self.peek() == b'"' {
            self.text()
        } else {
            None
        };
        if key.is_none() || self.peek() != b':' {
            return Err(Broken);
        }
        self.pass();
        Ok(key)
    }

    fn coming(&mut self) -> &'a [u8] {
        let _first = self.peek();
        self.rest
    }

    fn left(&self) -> usize {
        self.rest.len()
    }

    fn float(bytes: &[u8]) -> Option<f64> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}
