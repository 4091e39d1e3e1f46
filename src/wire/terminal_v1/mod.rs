//! What a terminal posts: native format v1, as the terminal wrote it, before anything is believed.
//!
//! A body is JSON or MessagePack; both are read by the same visitors into the same structs.
//!
//! | file | what |
//! |---|---|
//! | `request.rs` | one request: one batch, or many; the entry, `parse` |
//! | `read.rs` | how objects are read key by key |
//! | `messagepack.rs` | where a MessagePack value ends, without trusting a length it claims |
//! | `tolerant.rs` | takes a body apart piece by piece, after the stream has failed |
//!
//! The visitors borrow from the body, keep what they know, count keys they do not know, and note a
//! value of the wrong type instead of failing on it, so that one bad sample costs one sample. What
//! even that cannot read (a number past the range of a float, a half surrogate, a MessagePack extension
//! type) makes the whole body be read again by [`tolerant`], which takes it apart sample by sample.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

mod messagepack;
mod read;
mod request;
mod tolerant;

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
}

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
            Self::Unsigned(value) => crate::model::metric::to_float(value),
            Self::Float(value) => value,
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

/// Reads any value into a field, noting a wrong type.
struct FieldSeed<T>(PhantomData<T>);

fn field<T>() -> FieldSeed<T> {
    FieldSeed(PhantomData)
}

macro_rules! wrong {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok(Field::Wrong) })*
    };
}

macro_rules! wrong_containers {
    () => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Field::Absent)
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(Field::Absent)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Field::Wrong)
        }
    };
}

macro_rules! wrong_sequence {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Field::Wrong)
        }
    };
}

macro_rules! seed {
    ($type:ty, $expecting:literal, { $($body:tt)* }) => {
        impl<'de> DeserializeSeed<'de> for FieldSeed<$type> {
            type Value = Field<$type>;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for FieldSeed<$type> {
            type Value = Field<$type>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str($expecting)
            }

            $($body)*
        }
    };
}

seed!(Cow<'de, str>, "a string", {
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Is(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Is(Cow::Owned(text.to_owned())))
    }

    wrong!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_bytes: &[u8]);
    wrong_sequence!();
    wrong_containers!();
});

seed!(Number, "a number", {
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Field::Is(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "negative: refused whatever its last digits"
        )]
        Ok(Field::Is(
            u64::try_from(value).map_or(Number::Float(value as f64), Number::Unsigned),
        ))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Field::Is(Number::Float(value)))
    }

    wrong!(visit_bool: bool, visit_str: &str, visit_bytes: &[u8]);
    wrong_sequence!();
    wrong_containers!();
});

seed!(bool, "true or false", {
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Field::Is(value))
    }

    wrong!(visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);
    wrong_sequence!();
    wrong_containers!();
});

seed!(Vec<(u64, u64)>, "pairs of bucket index and count", {
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        let mut is_wrong = false;
        while let Some(pair) = sequence.next_element_seed(PairSeed)? {
            match pair {
                // One past the limit is kept, so that it is seen to be too many.
                Some(pair) if pairs.len() <= BUCKETS_MAX => pairs.push(pair),
                Some(_) => {}
                None => is_wrong = true,
            }
        }
        Ok(if is_wrong {
            Field::Wrong
        } else {
            Field::Is(pairs)
        })
    }

    wrong!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);
    wrong_containers!();
});

/// The most bucket pairs in one histogram.
pub const BUCKETS_MAX: usize = 4_096;

/// Reads `[index, count]`; anything else is `None`.
struct PairSeed;

impl<'de> DeserializeSeed<'de> for PairSeed {
    type Value = Option<(u64, u64)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! no_pair {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok(None) })*
    };
}

impl<'de> Visitor<'de> for PairSeed {
    type Value = Option<(u64, u64)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a pair of bucket index and count")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let first = sequence.next_element_seed(field::<Number>())?;
        let second = sequence.next_element_seed(field::<Number>())?;
        let mut is_longer = false;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(match (first, second, is_longer) {
            (
                Some(Field::Is(Number::Unsigned(index))),
                Some(Field::Is(Number::Unsigned(count))),
                false,
            ) => Some((index, count)),
            _ => None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    no_pair!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);
}
