//! What a terminal posts: native format v1, as the terminal wrote it, before anything is believed.
//!
//! A body is JSON or MessagePack; both are read by the same walk into the same structs.
//!
//! | file | what |
//! |---|---|
//! | `request.rs` | one request: one batch, or many; the entry, `parse` |
//! | `walk.rs` | the objects and lists of a body, member by member, in either format |
//! | `json.rs` | how JSON is walked through; plain values are read in place |
//! | `messagepack.rs` | the same of MessagePack, without trusting a length it claims |
//! | `read.rs` | what each key of an object means |
//! | `field.rs` | a value of any type: what it is, or that it is of the wrong type |
//! | `tolerant.rs` | takes a body apart piece by piece, after the walk has failed |
//!
//! The readers borrow from the body, keep what they know, count keys they do not know, and note a
//! value of the wrong type instead of failing on it, so that one bad sample costs one sample. What
//! even that cannot read (a number past the range of a float, a half surrogate, a MessagePack extension
//! type) makes the whole body be read again by [`tolerant`], which takes it apart sample by sample.

use std::borrow::Cow;

mod field;
mod json;
mod messagepack;
mod read;
mod request;
mod tolerant;
mod walk;

pub use messagepack::is_map as is_messagepack_map;
pub use request::{
    Batch, Envelope, Format, Limits, ParseError, Parsed, Request, parse, parse_within,
};

/// A field as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Field<T> {
    /// Not there, or null.
    #[default]
    Absent,
    /// There, and of the right type.
    Is(T),
    /// There, and of another type.
    Wrong,
}

impl<T> Field<T> {
    /// The value, if there is one of the right type.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The same with another value, if there is one.
    fn map<U>(self, of: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Is(value) => Field::Is(of(value)),
            Self::Wrong => Field::Wrong,
        }
    }
}

/// 2^53: below it a float holds every whole number.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// A number as it came: integers keep all their digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer from 0 to 2^64 − 1.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
}

impl Number {
    /// As a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => tillwatch_model::metric::to_float(value),
            Self::Float(value) => value,
        }
    }

    /// The whole number that this is, however it is written: `1`, `1.0`, `1e0`. A float from 2^53 on
    /// may stand for several.
    #[must_use]
    pub fn whole(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Float(value) => {
                let is_exact = (0.0..EXACT_BELOW).contains(&value) && value.fract() == 0.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, not negative, and below 2^53"
                )]
                is_exact.then_some(value as u64)
            }
        }
    }
}

impl Field<Number> {
    /// The same, but a float as `written` has it: that of JSON may be read a last digit off.
    fn exactly(self, written: impl FnOnce() -> Option<f64>) -> Self {
        match self {
            Self::Is(Number::Float(read)) => Self::Is(Number::Float(written().unwrap_or(read))),
            other => other,
        }
    }
}

/// One value of one metric at one time.
#[derive(Debug, Default)]
pub struct Sample<'a> {
    /// Name of the metric.
    pub metric: Field<Cow<'a, str>>,
    /// Time by the terminal's clock, Unix ms.
    pub t: Field<Number>,
    /// The value, in the metric's wire unit.
    pub v: Field<Number>,
    /// The label.
    pub label: Field<Cow<'a, str>>,
    /// How the terminal was connected.
    pub connection: Field<Cow<'a, str>>,
    /// Not an object, or not readable as a sample.
    pub malformed: bool,
}

/// The most bucket pairs in one histogram.
pub const BUCKETS_MAX: usize = 4_096;

/// Many values of one metric over one span.
#[derive(Debug, Default)]
pub struct Histogram<'a> {
    /// Metric, start of the span, label and connection; `v` is not used.
    pub sample: Sample<'a>,
    /// Length of the span, ms.
    pub span_ms: Field<Number>,
    /// `[bucket index, count]` pairs. Wrong when one of them is not a pair of unsigned integers.
    pub buckets: Field<Vec<(u64, u64)>>,
    /// Sum of the values, wire unit.
    pub sum: Field<Number>,
    /// Least value, wire unit.
    pub min: Field<Number>,
    /// Greatest value, wire unit.
    pub max: Field<Number>,
}
