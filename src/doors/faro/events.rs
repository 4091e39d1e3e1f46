//! From events, exceptions and logs to events.

use std::borrow::Cow;

use tillwatch_model::EventKind;
use tillwatch_model::dimension::is_identifier;
use tillwatch_model::error_event::scrub;
use tillwatch_model::event::FRAMES_MAX;

use super::read::{Limits, field, time};
use crate::doors::foreign::json::{self, Raw};
use crate::doors::refusal::Refusal;
use crate::intake::offer::{Event, Field, Frame};

/// What a log is called.
const LOG: &str = "log";
/// How long a name may be. Unit: characters.
const NAME_CHARS_MAX: usize = 64;

fn malformed() -> Event<'static> {
    Event {
        malformed: true,
        ..Event::default()
    }
}

fn of_kind(kind: EventKind) -> Event<'static> {
    Event {
        kind: Field::Is(Cow::Borrowed(kind.name())),
        ..Event::default()
    }
}

/// Reads an event: its name and its time. Its attributes may say anything of anybody, and are not kept.
pub(super) fn event<'b>(value: Option<Raw<'b>>, limits: Limits<'_>) -> Result<Event<'b>, Refusal> {
    let Some(value) = value else {
        return Ok(malformed());
    };
    let mut event = of_kind(EventKind::Custom);
    let mut timestamp = None;
    let is_object = json::members(value, |key, value| {
        match key {
            "name" => event.name = field(json::text(value).map(identifier)),
            "timestamp" => timestamp = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    event.t = time(timestamp, limits.received_at_ms);
    Ok(if is_object { event } else { malformed() })
}

/// Reads a log: only that there was one, and when.
pub(super) fn log<'b>(value: Option<Raw<'b>>, limits: Limits<'_>) -> Result<Event<'b>, Refusal> {
    let mut log = event(value, limits)?;
    log.name = Field::Is(Cow::Borrowed(LOG));
    Ok(log)
}

/// Reads an exception.
pub(super) fn exception<'b>(
    value: Option<Raw<'b>>,
    limits: Limits<'_>,
) -> Result<Event<'b>, Refusal> {
    let Some(value) = value else {
        return Ok(malformed());
    };
    let mut error: Event<'b> = of_kind(EventKind::Error);
    let mut timestamp = None;
    let is_object = json::members(value, |key, value| {
        match key {
            "type" => error.type_name = field(json::text(value)),
            "value" => error.message = field(json::text(value)),
            "fatal" => error.fatal = json::truth(value).map_or(Field::Absent, Field::Is),
            "timestamp" => timestamp = Some(value),
            "stacktrace" => frames(&mut error.frames, value)?,
            "context" => {
                json::members(value, |key, value| {
                    if key == "connection" {
                        error.connection = field(json::text(value));
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    error.t = time(timestamp, limits.received_at_ms);
    Ok(if is_object { error } else { malformed() })
}

/// Reads the innermost frames, which come first. One that says nothing is one that is not known.
fn frames<'b>(frames: &mut Vec<Frame<'b>>, stacktrace: Raw<'b>) -> Result<(), Refusal> {
    json::members(stacktrace, |key, value| {
        if key != "frames" {
            return Ok(());
        }
        json::elements(value, |frame| {
            if frames.len() < FRAMES_MAX {
                frames.push(frame_of(frame)?);
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

fn frame_of<'b>(value: Raw<'b>) -> Result<Frame<'b>, Refusal> {
    let mut frame = Frame::default();
    // A place that cannot be read is not worth the error.
    let place = |value| match json::number(value) {
        Field::Is(number) => Field::Is(number),
        Field::Absent | Field::Wrong => Field::Absent,
    };
    json::members(value, |key, value| {
        match key {
            "function" => frame.function = field(json::text(value)),
            "filename" => frame.module = field(json::text(value)),
            "lineno" => frame.line = place(value),
            "colno" => frame.column = place(value),
            _ => {}
        }
        Ok(())
    })?;
    Ok(frame)
}

/// Makes a name that an event may have: what may not stand in one becomes `_`. What is no name from the start is a text,
/// and texts may name a person.
fn identifier(name: Cow<'_, str>) -> Cow<'_, str> {
    if is_identifier(&name) {
        return name;
    }
    let allowed = |character: char| {
        let is_allowed = character.is_ascii_alphanumeric() || "_.:-".contains(character);
        if is_allowed { character } else { '_' }
    };
    let text = scrub(&name, NAME_CHARS_MAX);
    text.chars().map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_event_is_called_its_name_is_an_identifier_unless_it_has_none() {
        for (name, expected) in [
            ("session_start", "session_start"),
            ("faro.performance.resource", "faro.performance.resource"),
            ("order paid (Müller)", "order_paid__M_ller_"),
            ("sold to 'Anna', card 4929 1234", "sold_to____card_0_0"),
            ("", ""),
        ] {
            assert_eq!(identifier(name.into()), expected);
        }
        let long = identifier("ä".repeat(200).into());
        assert!(is_identifier(&long) && long.len() == NAME_CHARS_MAX);
    }
}
