//! Reads a payload: who posts, and its lists, item by item.

use std::collections::HashMap;

use tillwatch_model::event::EVENTS_MAX;

use super::{events, measurements};
use crate::doors::foreign::json::{self, Raw};
use crate::doors::foreign::{Batch, meant_for_another};
use crate::doors::refusal::Refusal;
use crate::intake::offer::{Event, Field, Frame, Number, Sample};
use crate::mapping::Lookup;

/// Where this door is.
pub(super) const PATH: &str = "/collect";

/// What a payload may hold, and what it is read by.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'r> {
    /// How many samples and events one may hold.
    pub samples_max: usize,
    /// Whether logs count as events.
    pub are_logs_counted: bool,
    /// When it arrived: the time of what has none. Unit: Unix ms.
    pub received_at_ms: i64,
    /// What the names of metrics mean.
    pub lookup: Lookup<'r>,
}

/// A payload that has been read. Everything in it is of one terminal.
#[derive(Debug, Default)]
pub struct Payload<'b> {
    /// Who posts, the samples, and all events, of which a single batch may not hold as many.
    pub(super) batch: Batch<'b>,
    /// Where each sample stands, in the order of the samples.
    pub(super) places: Vec<Place<'b>>,
    /// Where each event stands.
    pub(super) event_places: Vec<(List, usize)>,
    /// What was passed over.
    pub(super) ignored: Ignored,
    /// The samples that are the last report so far of a metric and a page visit.
    last_reports: HashMap<(&'static str, Cow<'b>), usize>,
}

type Cow<'b> = std::borrow::Cow<'b, str>;

/// The lists of a payload whose items can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Measurements,
    Events,
    Exceptions,
    Logs,
}

/// Where a sample comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Place<'b> {
    /// The number of its measurement.
    pub(super) item: usize,
    /// Of a web vital: the page visit that it is of.
    pub(super) visit: Option<Cow<'b>>,
}

/// What was passed over, in items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) logs: u64,
    pub(super) traces: u64,
}

/// Reads a payload; `take` is asked for memory before any is used.
///
/// # Errors
/// When it is no JSON object, holds too much, or is meant for another door.
pub fn read<'b>(
    body: &'b [u8],
    limits: Limits<'_>,
    take: &mut dyn FnMut(usize) -> Result<(), Refusal>,
) -> Result<Payload<'b>, Refusal> {
    let text = json::text_of(body)?;
    let mut reader = Reader {
        payload: Payload::default(),
        limits,
        take,
    };
    let mut is_meant_for_here = false;
    json::body(text, |key, value| {
        match key {
            "meta" => {
                is_meant_for_here = true;
                reader.meta(value)?;
            }
            "measurements" => reader.items(List::Measurements, value)?,
            "events" => reader.items(List::Events, value)?,
            "exceptions" => reader.items(List::Exceptions, value)?,
            "logs" => reader.items(List::Logs, value)?,
            "traces" => reader.traces(value)?,
            _ => {}
        }
        Ok(())
    })?;
    let mut payload = reader.payload;
    if !is_meant_for_here && let Some(refusal) = meant_for_another(text, PATH) {
        return Err(refusal);
    }
    payload.last_reports = HashMap::new();
    payload.batch.scrub();
    Ok(payload)
}

/// The batches of a body. Of a web vital that a payload reports again, the last report stands for all.
///
/// # Errors
/// When it is no JSON object, or is meant for another door.
pub fn batches<'b>(
    body: &'b [u8],
    lookup: Lookup<'_>,
    are_logs_counted: bool,
    received_at_ms: i64,
) -> Result<Vec<Batch<'b>>, Refusal> {
    let limits = Limits {
        samples_max: usize::MAX,
        are_logs_counted,
        received_at_ms,
        lookup,
    };
    Ok(read(body, limits, &mut |_| Ok(()))?.into_batches())
}

/// A payload while it is read.
pub(super) struct Reader<'r, 'b> {
    payload: Payload<'b>,
    pub(super) limits: Limits<'r>,
    take: &'r mut dyn FnMut(usize) -> Result<(), Refusal>,
}

/// What an item takes while a list grows by doubling.
const GROWTH: usize = 2;

impl<'b> Reader<'_, 'b> {
    fn meta(&mut self, meta: Raw<'b>) -> Result<(), Refusal> {
        let batch = &mut self.payload.batch;
        let (mut terminal_id, mut session_id) = (None, None);
        let (mut version, mut release) = (None, None);
        json::members(meta, |key, value| {
            match key {
                "session" => {
                    json::members(value, |key, value| {
                        match key {
                            "id" => session_id = json::text(value),
                            "attributes" => {
                                json::members(value, |name, value| {
                                    if let Some(text) = json::text(value) {
                                        batch.name(name, text);
                                    }
                                    Ok(())
                                })?;
                            }
                            _ => {}
                        }
                        Ok(())
                    })?;
                }
                "app" => {
                    json::members(value, |key, value| {
                        match key {
                            "installationId" => terminal_id = json::text(value),
                            "version" => version = json::text(value),
                            "release" => release = json::text(value),
                            _ => {}
                        }
                        Ok(())
                    })?;
                }
                _ => {}
            }
            Ok(())
        })?;
        let is_said = |text: &Option<Cow<'b>>| text.as_ref().is_some_and(|text| !text.is_empty());
        let release = if is_said(&version) { version } else { release };
        batch.name_else(terminal_id, release, session_id);
        Ok(())
    }

    fn items(&mut self, list: List, items: Raw<'b>) -> Result<(), Refusal> {
        if items.get() == "null" {
            return Ok(());
        }
        let mut item = 0;
        let is_list = json::elements(items, |value| {
            self.item(list, item, Some(value))?;
            item += 1;
            Ok(())
        })?;
        if is_list {
            Ok(())
        } else {
            self.item(list, 0, None)
        }
    }

    /// Reads one item; `None` stands for a list that is none.
    fn item(&mut self, list: List, item: usize, value: Option<Raw<'b>>) -> Result<(), Refusal> {
        match list {
            List::Measurements => measurements::read(self, item, value),
            List::Logs if !self.limits.are_logs_counted => {
                self.payload.ignored.logs += 1;
                Ok(())
            }
            List::Events => self.event(list, item, events::event(value, self.limits)?),
            List::Exceptions => self.event(list, item, events::exception(value, self.limits)?),
            List::Logs => self.event(list, item, events::log(value, self.limits)?),
        }
    }

    fn traces(&mut self, traces: Raw<'b>) -> Result<(), Refusal> {
        let mut spans = 0;
        json::members(traces, |key, value| {
            if key == "resourceSpans" {
                json::elements(value, |_| {
                    spans += 1;
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        self.payload.ignored.traces += spans;
        Ok(())
    }

    fn event(&mut self, list: List, item: usize, event: Event<'b>) -> Result<(), Refusal> {
        self.admit(
            size_of::<Event<'_>>()
                + size_of::<(List, usize)>()
                + event.frames.capacity() * size_of::<Frame<'_>>(),
        )?;
        self.payload.batch.events.push(event);
        self.payload.event_places.push((list, item));
        Ok(())
    }

    pub(super) fn sample(&mut self, item: usize, sample: Sample<'b>) -> Result<(), Refusal> {
        self.admit(size_of::<Sample<'_>>() + size_of::<Place<'_>>())?;
        self.payload.batch.samples.push(sample);
        self.payload.places.push(Place { item, visit: None });
        Ok(())
    }

    /// Takes a web vital: the last report of a page visit counts, the others are repetitions of it.
    pub(super) fn vital(
        &mut self,
        item: usize,
        metric: &'static str,
        visit: Option<Cow<'b>>,
        sample: Sample<'b>,
    ) -> Result<(), Refusal> {
        let Some(visit) = visit.filter(|visit| !visit.is_empty()) else {
            return self.sample(item, sample);
        };
        // A report that says nothing must not take the place of one that did.
        let is_number = matches!(&sample.v, Field::Is(value) if value.as_f64().is_finite());
        if !is_number {
            return self.sample(item, sample);
        }
        let key = (metric, visit);
        if let Some(last) = self.payload.last_reports.get(&key).copied() {
            self.admit(0)?;
            self.payload.batch.repeated += 1;
            self.payload.batch.samples[last] = sample;
            self.payload.places[last].item = item;
            return Ok(());
        }
        let visit = Some(key.1.clone());
        self.admit(size_of::<((&str, Cow<'_>), usize)>() + key.1.len())?;
        let at = self.payload.batch.samples.len();
        self.payload.last_reports.insert(key, at);
        self.sample(item, sample)?;
        self.payload.places[at].visit = visit;
        Ok(())
    }

    /// Takes memory for an item, unless there are too many.
    fn admit(&mut self, bytes: usize) -> Result<(), Refusal> {
        let batch = &self.payload.batch;
        if batch.len() as u64 + batch.repeated >= self.limits.samples_max as u64 {
            return Err(Refusal::TooManySamples(self.limits.samples_max));
        }
        (self.take)(GROWTH * bytes)
    }
}

impl<'b> Payload<'b> {
    /// How many samples and events it has.
    #[must_use]
    pub fn items(&self) -> usize {
        self.batch.len()
    }

    /// Makes batches of it: what one may hold of events, and the next.
    pub(super) fn into_batches(self) -> Vec<Batch<'b>> {
        let mut first = self.batch;
        let mut events = std::mem::take(&mut first.events).into_iter();
        first.events = events.by_ref().take(EVENTS_MAX).collect();
        let mut batches = vec![first];
        while events.len() > 0 {
            let mut next = batches[0].another();
            next.events = events.by_ref().take(EVENTS_MAX).collect();
            batches.push(next);
        }
        batches
    }
}

/// When an item happened: RFC 3339, or Unix ms as a number. What has no time has that of its arrival.
pub(super) fn time(timestamp: Option<Raw<'_>>, received_at_ms: i64) -> Field<Number> {
    let whole = |ms: i64| u64::try_from(ms).map_or(Number::Float(-1.0), Number::Unsigned);
    let arrived = Field::Is(whole(received_at_ms));
    let Some(raw) = timestamp else {
        return arrived;
    };
    match json::number(raw) {
        Field::Absent => arrived,
        Field::Is(number) => Field::Is(number),
        Field::Wrong => {
            let text = json::text(raw);
            let time = text.and_then(|text| text.trim().parse::<jiff::Timestamp>().ok());
            time.map_or(Field::Wrong, |time| Field::Is(whole(time.as_millisecond())))
        }
    }
}

/// Notes a text that may not be one.
pub(super) fn field<'b>(text: Option<Cow<'b>>) -> Field<Cow<'b>> {
    text.map_or(Field::Absent, Field::Is)
}
