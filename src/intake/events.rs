//! From an event or a drop as its terminal wrote it to the sample that counts it, and to what is kept beside that.

use std::borrow::Cow;

use tillwatch_model::dimension::is_identifier;
use tillwatch_model::error_event::{self, Frame, MESSAGE_CHARS_MAX, NAME_CHARS_MAX, TYPE_UNKNOWN};
use tillwatch_model::event::{
    COUNT_MAX, DROPPED, DROPPED_MAX, DropReading, ERROR_LABEL, ERRORS, EVENTS, EVENTS_MAX,
    EventReading, Example, FRAMES_MAX, NUMBERS_MAX,
};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::metric::label_code;
use tillwatch_model::{Connection, EventKind, Reading, Reason};

use crate::intake::offer::{self, Dropped, Event, Field, Number, Offer, Scrubbed};
use crate::intake::report::{Part, Report};
use crate::intake::validate::{Writer, Written, connection_of};

/// A fingerprint has so many hexadecimal digits.
const FINGERPRINT_DIGITS: usize = 16;

impl Writer<'_> {
    /// Writes a batch's events and drops, each behind the sample that it is.
    pub(super) fn write_events(
        &self,
        encoder: &mut Encoder<'_>,
        batch: &Offer<'_>,
        written: &mut Written,
        report: &mut Report,
    ) {
        for (number, event) in batch.events.iter().enumerate() {
            let place = self.place.part(Part::Event(number));
            match within(number).and_then(|()| self.event(event)) {
                Ok((reading, said)) => {
                    encoder.sample(&reading, said.count);
                    encoder.event(&said);
                    written.accepted += 1;
                    written.ignore_of(&event.connection, &reading, report, place);
                }
                Err(reason) => written.reject(reason, 1, report, place),
            }
        }
        for (number, dropped) in batch.drops.iter().enumerate() {
            let place = self.place.part(Part::Drop(number));
            match within(number).and_then(|()| self.dropped(dropped)) {
                Ok((reading, samples, said)) => {
                    encoder.sample(&reading, samples);
                    encoder.drop(&said);
                    written.accepted += 1;
                }
                Err(reason) => written.reject(reason, 1, report, place),
            }
        }
    }

    fn event(&self, event: &Event<'_>) -> Result<(Reading, EventReading), Reason> {
        if event.malformed {
            return Err(Reason::MalformedEvent);
        }
        let kind = text(&event.kind)?.ok_or(Reason::UnknownKind)?;
        let kind = EventKind::from_name(kind).ok_or(Reason::UnknownKind)?;
        let name = match (kind, &event.name) {
            (EventKind::Custom, Field::Is(name)) if is_identifier(name) => &**name,
            (EventKind::Custom, _) => return Err(Reason::InvalidName),
            _ => "",
        };
        let count = match &event.count {
            Field::Absent => Some(1),
            Field::Is(count) => count.whole(),
            Field::Wrong => None,
        };
        let count = count.filter(|count| (1..=COUNT_MAX).contains(count));
        let is_fatal = match event.fatal {
            Field::Absent => false,
            Field::Is(is_fatal) => is_fatal,
            Field::Wrong => return Err(Reason::MalformedEvent),
        };
        let (metric, label) = if kind == EventKind::Error {
            let label = match &event.label {
                Field::Absent => ERROR_LABEL,
                Field::Is(label) => label,
                // As of a sample: it is none of the label's values.
                Field::Wrong => "",
            };
            (ERRORS, label)
        } else {
            (EVENTS, kind.name())
        };
        let t_raw_ms = self.time_of(&event.t)?;
        let reading = Reading {
            connection: connection_of(&event.connection),
            ..self.reading(metric, label, t_raw_ms)?
        };
        let count = count.ok_or(Reason::InvalidCount)?;
        let (fingerprint, example) = if kind == EventKind::Error {
            event.scrubbed.clone().unwrap_or_else(|| error(event))?
        } else {
            let fingerprint = error_event::of_event(kind.name(), name);
            (fingerprint, Example::default())
        };
        let said = EventReading {
            kind,
            is_fatal,
            t_raw_ms,
            count,
            fingerprint,
            name: name.into(),
            example,
        };
        Ok((reading, said))
    }

    fn dropped(&self, dropped: &Dropped<'_>) -> Result<(Reading, u64, DropReading), Reason> {
        if dropped.malformed {
            return Err(Reason::MalformedEvent);
        }
        let label = text(&dropped.reason)?.ok_or(Reason::MissingLabel)?;
        let t_raw_ms = self.time_of(&dropped.t)?;
        let reading = self.reading(DROPPED, label, t_raw_ms)?;
        let whole = |number: &Field<Number>| number.value().and_then(|number| number.whole());
        let samples = whole(&dropped.samples).filter(|samples| *samples <= DROPPED_MAX);
        let samples = samples.ok_or(Reason::InvalidDrop)?;
        let is_numbered = !matches!((&dropped.from, &dropped.to), (Field::Absent, Field::Absent));
        let (queue, (from, to)) = if is_numbered {
            let queue = dropped.queue.value();
            let queue = queue.and_then(|text| uuid::Uuid::try_parse(text).ok());
            let queue = queue.filter(|queue| !queue.is_nil());
            let numbers = whole(&dropped.from).zip(whole(&dropped.to));
            let numbers = numbers.filter(|(from, to)| from <= to && to - from < NUMBERS_MAX);
            queue.zip(numbers).ok_or(Reason::InvalidDrop)?
        } else {
            (uuid::Uuid::nil(), (0, 0))
        };
        let said = DropReading {
            queue: queue.into_bytes(),
            from,
            to,
            samples,
            reason: reading.label,
            t_raw_ms,
        };
        Ok((reading, samples, said))
    }

    fn time_of(&self, t: &Field<Number>) -> Result<i64, Reason> {
        let t_raw_ms = offer::millis(t).ok_or(Reason::InvalidTime)?;
        self.time.corrected(t_raw_ms)?;
        Ok(t_raw_ms)
    }

    fn reading(&self, metric: &str, label: &str, t_raw_ms: i64) -> Result<Reading, Reason> {
        let metric = self.catalogue.named(metric).ok_or(Reason::UnknownMetric)?;
        let label = label_code(metric, Some(label)).map_err(|_unknown| Reason::UnknownLabel)?;
        Ok(Reading {
            metric: metric.code,
            label,
            connection: Connection::Unknown,
            t_raw_ms,
        })
    }
}

/// Whether so many may stand before it.
fn within(number: usize) -> Result<(), Reason> {
    if number < EVENTS_MAX {
        Ok(())
    } else {
        Err(Reason::TooMany)
    }
}

impl Event<'_> {
    /// Takes out of an error what may name a person, ahead of time: of a long body this takes too long for a thread that
    /// serves requests.
    pub fn scrub(&mut self) {
        if self.kind.value().map(AsRef::as_ref) == Some(EventKind::Error.name()) {
            self.scrubbed = Some(error(self));
        }
    }
}

/// The fingerprint of an error, and what is kept of it, without what may name a person.
fn error(event: &Event<'_>) -> Result<Scrubbed, Reason> {
    let scrubbed = |field, chars_max| {
        let text = text(field)?.unwrap_or_default();
        Ok(error_event::scrub(text, chars_max))
    };
    let mut type_name = scrubbed(&event.type_name, NAME_CHARS_MAX)?;
    if type_name.is_empty() {
        TYPE_UNKNOWN.clone_into(&mut type_name);
    }
    let message = scrubbed(&event.message, MESSAGE_CHARS_MAX)?;
    let mut frames = Vec::with_capacity(event.frames.len().min(FRAMES_MAX));
    for (number, frame) in event.frames.iter().enumerate() {
        if frame.malformed {
            return Err(Reason::MalformedEvent);
        }
        if number < FRAMES_MAX {
            frames.push(Frame {
                function: scrubbed(&frame.function, NAME_CHARS_MAX)?,
                module: error_event::module(text(&frame.module)?.unwrap_or_default()),
                line: place(&frame.line)?,
                column: place(&frame.column)?,
            });
        }
    }
    let fingerprint = match &event.fingerprint {
        Field::Is(sent) => sent_fingerprint(sent),
        Field::Absent | Field::Wrong => None,
    };
    let fingerprint = fingerprint.unwrap_or_else(|| {
        let frames = frames
            .iter()
            .map(|frame| (&*frame.function, &*frame.module));
        error_event::of_error(&type_name, frames, &message)
    });
    let example = Example {
        type_name: type_name.into(),
        message: message.into(),
        frames_json: error_event::frames_json(&frames).into(),
    };
    Ok((fingerprint, example))
}

/// The fingerprint that a terminal has made, if it is one. That of the groups without a place is nobody's.
fn sent_fingerprint(sent: &str) -> Option<error_event::Fingerprint> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if sent.len() != FINGERPRINT_DIGITS || !sent.bytes().all(is_digit) {
        return None;
    }
    let fingerprint = u64::from_str_radix(sent, 16).ok();
    fingerprint.filter(|fingerprint| *fingerprint != tillwatch_model::event::OVERFLOW_FINGERPRINT)
}

/// A text that may be absent.
fn text<'e>(field: &'e Field<Cow<'_, str>>) -> Result<Option<&'e str>, Reason> {
    match field {
        Field::Absent => Ok(None),
        Field::Is(text) => Ok(Some(text)),
        Field::Wrong => Err(Reason::MalformedEvent),
    }
}

/// A line or a column. One that is no such number is not known.
fn place(field: &Field<Number>) -> Result<Option<u32>, Reason> {
    match field {
        Field::Absent => Ok(None),
        Field::Is(number) => Ok(number.whole().and_then(|number| u32::try_from(number).ok())),
        Field::Wrong => Err(Reason::MalformedEvent),
    }
}
