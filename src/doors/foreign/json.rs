//! Walks through the JSON of strangers: nothing is kept of what nobody asks for, and a value that is not what it should
//! be spoils only itself.

use std::borrow::Cow;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::doors::refusal::Refusal;
use crate::intake::offer::{Field, Number};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A value as it is written; its syntax is known to be sound.
pub type Raw<'b> = &'b RawValue;

/// Gives the text of a body, without the byte order mark that some programs write before it.
pub fn text_of(body: &[u8]) -> Result<&str, Refusal> {
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text.trim_start_matches(BYTE_ORDER_MARK)),
        Err(error) => Err(Refusal::Malformed(format!("it is not UTF-8 ({error})"))),
    }
}

/// Walks through the members of a body, which must be one object.
pub fn body<'b>(
    text: &'b str,
    mut each: impl FnMut(&str, Raw<'b>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match walk(text, &mut Members(&mut each), |json, members| {
        json.deserialize_map(members)
    }) {
        Ok(()) => Ok(()),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Broken(error)) => {
            let why = format!("it is not one JSON object ({error})");
            Err(Refusal::Malformed(why))
        }
    }
}

/// Walks through the members of a value; `false` if it is no object.
pub fn members<'b>(
    raw: Raw<'b>,
    mut each: impl FnMut(&str, Raw<'b>) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    is_sound(walk(raw.get(), &mut Members(&mut each), |json, members| {
        json.deserialize_map(members)
    }))
}

/// Walks through the elements of a value; `false` if it is no list.
pub fn elements<'b>(
    raw: Raw<'b>,
    mut each: impl FnMut(Raw<'b>) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    is_sound(walk(
        raw.get(),
        &mut Elements(&mut each),
        |json, elements| json.deserialize_seq(elements),
    ))
}

/// Gives a text. Numbers and truth values are texts as they are written.
pub fn text<'b>(raw: Raw<'b>) -> Option<Cow<'b, str>> {
    let written = raw.get();
    match written.as_bytes() {
        [b'"', ..] => quoted(written),
        [b'{' | b'[', ..] | b"null" => None,
        _ => Some(Cow::Borrowed(written)),
    }
}

/// Gives a number, also one that is written as a text.
pub fn number(raw: Raw<'_>) -> Field<Number> {
    if raw.get() == "null" {
        return Field::Absent;
    }
    let Some(written) = text(raw) else {
        return Field::Wrong;
    };
    let written = written.trim();
    if let Ok(whole) = written.parse() {
        return Field::Is(Number::Unsigned(whole));
    }
    written
        .parse()
        .map_or(Field::Wrong, |float| Field::Is(Number::Float(float)))
}

/// Gives a truth value, also one that is written as a text.
pub fn truth(raw: Raw<'_>) -> Option<bool> {
    text(raw)?.trim().parse().ok()
}

/// What is between quotes. Half a surrogate is no text.
fn quoted(written: &str) -> Option<Cow<'_, str>> {
    if written.contains('\\') {
        return serde_json::from_str(written).ok().map(Cow::Owned);
    }
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    Some(Cow::Borrowed(inner))
}

/// Why a walk ended early.
enum Stop {
    /// Whoever walks has had enough.
    Refused(Refusal),
    /// The text is not what it should be.
    Broken(serde_json::Error),
}

fn is_sound(walked: Result<(), Stop>) -> Result<bool, Refusal> {
    match walked {
        Ok(()) => Ok(true),
        Err(Stop::Broken(_)) => Ok(false),
        Err(Stop::Refused(refusal)) => Err(refusal),
    }
}

type Json<'b> = serde_json::Deserializer<serde_json::de::StrRead<'b>>;

/// A walk's steps, and why it stopped, which no error of serde can carry.
struct Steps<'w, W> {
    walker: &'w mut W,
    refusal: &'w mut Option<Refusal>,
}

fn walk<'b, W>(
    text: &'b str,
    walker: &mut W,
    begin: impl FnOnce(&mut Json<'b>, Steps<'_, W>) -> Result<(), serde_json::Error>,
) -> Result<(), Stop> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut refusal = None;
    let steps = Steps {
        walker,
        refusal: &mut refusal,
    };
    let walked = begin(&mut json, steps).and_then(|()| json.end());
    match (refusal, walked) {
        (Some(refusal), _) => Err(Stop::Refused(refusal)),
        (None, Err(error)) => Err(Stop::Broken(error)),
        (None, Ok(())) => Ok(()),
    }
}

impl<W> Steps<'_, W> {
    fn after<E: serde::de::Error>(&mut self, step: Result<(), Refusal>) -> Result<(), E> {
        step.map_err(|refusal| {
            *self.refusal = Some(refusal);
            E::custom("enough")
        })
    }
}

struct Members<'w, F>(&'w mut F);
struct Elements<'w, F>(&'w mut F);

impl<'de, F> Visitor<'de> for Steps<'_, Members<'_, F>>
where
    F: FnMut(&str, Raw<'de>) -> Result<(), Refusal>,
{
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<Raw<'de>, Raw<'de>>()? {
            // A key with half a surrogate is nobody's.
            let step = match quoted(key.get()) {
                Some(key) => (self.walker.0)(&key, value),
                None => Ok(()),
            };
            self.after(step)?;
        }
        Ok(())
    }
}

impl<'de, F> Visitor<'de> for Steps<'_, Elements<'_, F>>
where
    F: FnMut(Raw<'de>) -> Result<(), Refusal>,
{
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Raw<'de>>()? {
            let step = (self.walker.0)(value);
            self.after(step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for (text, expected) in [
            ("12", Field::Is(Number::Unsigned(12))),
            ("\" 12 \"", Field::Is(Number::Unsigned(12))),
            ("\"1.5e3\"", Field::Is(Number::Float(1_500.0))),
            ("-1", Field::Is(Number::Float(-1.0))),
            ("1e999", Field::Is(Number::Float(f64::INFINITY))),
            ("\"\\u0031\"", Field::Is(Number::Unsigned(1))),
            ("null", Field::Absent),
            ("\"\"", Field::Wrong),
            ("\"12 ms\"", Field::Wrong),
            ("true", Field::Wrong),
            ("{}", Field::Wrong),
        ] {
            assert_eq!(number(raw(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_borrowed_unless_it_has_escapes_and_half_a_surrogate_is_none() {
        assert!(matches!(
            text(raw("\"plain\"")),
            Some(Cow::Borrowed("plain"))
        ));
        assert_eq!(text(raw(r#""a\n\"b""#)).as_deref(), Some("a\n\"b"));
        assert_eq!(text(raw("12.50")).as_deref(), Some("12.50"));
        for none in [r#""\ud800""#, "null", "[1]", "{}"] {
            assert_eq!(text(raw(none)), None, "{none}");
        }
    }

    #[test]
    fn a_walk_ends_when_its_walker_has_enough_and_what_is_no_object_is_said_to_be_none() {
        let mut seen = Vec::new();
        let walked = elements(raw("[1, 2, 3]"), |value| {
            seen.push(value.get().to_owned());
            if seen.len() == 2 {
                return Err(Refusal::Busy);
            }
            Ok(())
        });
        assert!(matches!(walked, Err(Refusal::Busy)));
        assert_eq!(seen, ["1", "2"]);
        assert!(matches!(members(raw("[1]"), |_, _| Ok(())), Ok(false)));
        assert!(matches!(elements(raw("{}"), |_| Ok(())), Ok(false)));
        assert!(matches!(
            members(raw(r#"{"\ud800": 1, "a": 2}"#), |_, _| Ok(())),
            Ok(true)
        ));
        for broken in ["", "[]", "{} {}", "{\"a\":}", "{\"a\":1,}"] {
            let read = body(broken, |_, _| Ok(()));
            assert!(matches!(read, Err(Refusal::Malformed(_))), "{broken}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(body(&deep, |_, _| Ok(())).is_ok());
    }
}
