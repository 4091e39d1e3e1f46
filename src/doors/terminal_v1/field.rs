//! One field's value of any type: what it is, or that it is of the wrong type.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{BUCKETS_MAX, Field, Number};

/// Reads any value into a field, noting a wrong type.
pub(super) struct FieldSeed<T>(PhantomData<T>);

pub(super) fn field<T>() -> FieldSeed<T> {
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

/// Whole floats below this are as they were written, also with `.0` behind them: a tenth of 2^53.
const DIGITS_BELOW: u64 = (1 << 53) / 10;

/// A text that people also write as a number: a session is 591, a shop is 17.
pub(super) enum Digits<'a> {
    /// A text, or an integer's digits.
    Exact(Cow<'a, str>),
    /// The digits of a whole number that was written as a float, `17.0`.
    OfFloat(Cow<'a, str>),
}

impl<'a> Digits<'a> {
    /// The text.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Exact(text) | Self::OfFloat(text) => text,
        }
    }
}

impl<'a> Field<Digits<'a>> {
    /// The text, unless it was a float: of 2.10 nobody knows that it was not 2.1.
    pub(super) fn exactly(self) -> Field<Cow<'a, str>> {
        match self {
            Self::Is(Digits::OfFloat(_)) => Field::Wrong,
            other => other.map(Digits::text),
        }
    }
}

seed!(Digits<'de>, "a text or a whole number", {
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Is(Digits::Exact(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Is(Digits::Exact(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Is(Digits::Exact(Cow::Owned(number.to_string()))))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Field::Is(Digits::Exact(Cow::Owned(number.to_string()))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        // Longer numbers may have been read a last digit off.
        let whole = Number::Float(number).whole();
        let whole = whole.filter(|whole| *whole < DIGITS_BELOW);
        Ok(whole.map_or(Field::Wrong, |whole| {
            Field::Is(Digits::OfFloat(Cow::Owned(whole.to_string())))
        }))
    }

    wrong!(visit_bool: bool, visit_bytes: &[u8]);
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
            (Some(Field::Is(index)), Some(Field::Is(count)), false) => {
                index.whole().zip(count.whole())
            }
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
