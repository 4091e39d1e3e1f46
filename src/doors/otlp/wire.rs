//! Protobuf's wire format, read in place and written.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>. A message is walked field by field; what is not wanted
//! is stepped over without being looked at, so that nothing nests and nothing is allocated.

use crate::doors::refusal::Refusal;

/// A field's value, as its wire type says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wire<'b> {
    /// An integer of its own length.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// A text, a message, or numbers in a row.
    Bytes(&'b [u8]),
    /// Four bytes, little-endian.
    Fixed32(u32),
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The fields of a message, in the order in which they stand.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    /// The next field's number and value; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, Wire<'b>)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (number, wire) = (tag >> 3, tag & 7);
        if number == 0 {
            return Err(malformed("a field has the number 0"));
        }
        let value = match wire {
            VARINT => Wire::Varint(self.varint()?),
            FIXED64 => Wire::Fixed64(self.fixed64()?),
            BYTES => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_too_long| ends_early())?;
                let (value, rest) = self.0.split_at_checked(length).ok_or_else(ends_early)?;
                self.0 = rest;
                Wire::Bytes(value)
            }
            FIXED32 => {
                let (value, rest) = self.0.split_first_chunk().ok_or_else(ends_early)?;
                self.0 = rest;
                Wire::Fixed32(u32::from_le_bytes(*value))
            }
            _ => {
                return Err(malformed(
                    "a field is of a wire type that OTLP does not use",
                ));
            }
        };
        Ok(Some((number, value)))
    }

    /// Reads a varint; bits past the 64th are dropped, as protobuf has it.
    pub fn varint(&mut self) -> Result<u64, Refusal> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(ends_early)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("an integer is longer than ten bytes"))
    }

    fn fixed64(&mut self) -> Result<u64, Refusal> {
        let (value, rest) = self.0.split_first_chunk().ok_or_else(ends_early)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*value))
    }
}

impl<'b> Wire<'b> {
    /// The bytes of a message.
    pub fn message(self) -> Result<Fields<'b>, Refusal> {
        self.bytes().map(Fields)
    }

    /// A text.
    pub fn text(self) -> Result<&'b str, Refusal> {
        std::str::from_utf8(self.bytes()?).map_err(|_no_text| malformed("a text is not UTF-8"))
    }

    /// An integer of its own length.
    pub fn varint(self) -> Result<u64, Refusal> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    /// An integer whose lowest bit is its sign (`sint32`).
    pub fn zigzag(self) -> Result<i64, Refusal> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Eight bytes.
    pub fn fixed64(self) -> Result<u64, Refusal> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    /// A floating-point number.
    pub fn double(self) -> Result<f64, Refusal> {
        self.fixed64().map(f64::from_bits)
    }

    /// Adds to a list of numbers of eight bytes, be they in a row or one a field.
    pub fn add_fixed64<T>(self, list: &mut Vec<T>, of: impl Fn(u64) -> T) -> Result<(), Refusal> {
        let Self::Bytes(row) = self else {
            list.push(of(self.fixed64()?));
            return Ok(());
        };
        let (numbers, rest) = row.as_chunks();
        if !rest.is_empty() {
            return Err(ends_early());
        }
        list.reserve_exact(numbers.len());
        list.extend(numbers.iter().map(|bytes| of(u64::from_le_bytes(*bytes))));
        Ok(())
    }

    /// Adds to a list of varints, be they in a row or one a field.
    pub fn add_varints(self, list: &mut Vec<u64>) -> Result<(), Refusal> {
        let Self::Bytes(row) = self else {
            list.push(self.varint()?);
            return Ok(());
        };
        // The last byte of each number is the one without the highest bit.
        list.reserve_exact(row.iter().filter(|byte| **byte < 0x80).count());
        let mut row = Fields(row);
        while !row.0.is_empty() {
            list.push(row.varint()?);
        }
        Ok(())
    }

    fn bytes(self) -> Result<&'b [u8], Refusal> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(other_type()),
        }
    }
}

/// Writes a number's field.
pub fn put_varint(message: &mut Vec<u8>, number: u64, value: u64) {
    varint(message, number << 3 | VARINT);
    varint(message, value);
}

/// Writes the field of a text or of a message.
pub fn put_bytes(message: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(message, number << 3 | BYTES);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

fn malformed(what: &str) -> Refusal {
    Refusal::Malformed(format!(
        "the body is no ExportMetricsServiceRequest in protobuf: {what}"
    ))
}

fn ends_early() -> Refusal {
    malformed("it ends early")
}

fn other_type() -> Refusal {
    malformed("a field is of another type than OTLP's; only metrics are taken here")
}
