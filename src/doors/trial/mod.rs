//! Says what would become of a payload from a file, number by number, as its door and the intake would have it.
//!
//! | file | what |
//! |---|---|
//! | `format.rs` | which format a payload is in |
//! | `lines.rs` | where something stands in a text |

mod format;
mod lines;

use std::collections::HashMap;
use std::sync::Mutex;

use tillwatch_model::{Catalogue, Outcomes, Reason};

pub use format::Format;

use crate::auth::Who;
use crate::doors::foreign::{self, Rule, Rules};
use crate::doors::refusal::Refusal;
use crate::doors::terminal_v1::{self, Parsed, offer, open_envelope};
use crate::doors::{Limits, faro, legacy, otlp};
use crate::intake::limits::Class;
use crate::intake::offer::{Field, Mark, Number, Sample};
use crate::intake::report::Part;
use crate::intake::{Offer, Offers, rehearse};
use crate::mapping::{Door, Heard, Lookup};

/// Texts of a payload that are shown are cut to this. Unit: characters.
const SHOWN_MAX: usize = 60;

/// What a payload is judged by.
#[derive(Debug, Clone, Copy)]
pub struct By<'r> {
    /// What the doors take for granted, and what foreign names mean.
    pub rules: &'r Rules,
    /// The metrics that are known.
    pub catalogue: &'r Catalogue,
    /// What a request may hold.
    pub limits: Limits,
    /// How many values a histogram may stand for, for each second of its span.
    pub histogram_values_per_s: u64,
    /// The time. Unit: Unix ms.
    pub now_ms: i64,
    /// When the payload arrives; `None`: when it says that it was sent, else now. Unit: Unix ms.
    pub received_at_ms: Option<i64>,
}

impl By<'_> {
    fn arrival_ms(&self, sent_at_ms: Field<Number>) -> i64 {
        let sent_at_ms = sent_at_ms.value().copied().and_then(Number::millis);
        self.received_at_ms.or(sent_at_ms).unwrap_or(self.now_ms)
    }
}

/// What would become of a payload.
#[derive(Debug)]
pub struct Trial {
    /// Every batch, sample, histogram, summary, event and drop, in the order of the payload.
    pub items: Vec<Item>,
    /// The names of metrics, of a foreign payload.
    pub heard: Heard,
    /// How many samples would meet which outcome.
    pub outcomes: Outcomes,
    /// How many keys mean nothing in this format.
    pub unknown_keys: u64,
}

/// One thing that a payload holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it stands: `samples[3]`, or nothing for a single batch.
    pub place: String,
    /// The line on which it begins, of a text.
    pub line: Option<usize>,
    /// The name of the metric, or of the kind of event.
    pub name: String,
    /// The value, as far as it is one number.
    pub value: String,
    /// The label.
    pub label: String,
    /// Why it would be rejected.
    pub rejected: Option<Reason>,
    /// What of it would be passed over.
    pub ignored: Vec<&'static str>,
}

/// Tries a payload.
///
/// # Errors
/// When its door would refuse it whole.
pub fn trial(body: &[u8], format: Format, by: By<'_>) -> Result<Trial, Refusal> {
    if body.len() > by.limits.decoded_bytes_max {
        let most = by.limits.decoded_bytes_max;
        return Err(Refusal::TooLarge(most, "after decompression"));
    }
    match format {
        Format::Native(encoding) => native(body, encoding, by),
        Format::Legacy => {
            let mut inner = None;
            as_foreign(body, Door::Legacy, &by.rules.legacy, by, |lookup| {
                let arrival_ms = by.arrival_ms(Field::Absent);
                legacy::batches(body, &mut inner, lookup, arrival_ms, by.limits)
            })
        }
        Format::Faro => as_foreign(body, Door::Faro, &by.rules.faro, by, |lookup| {
            let arrival_ms = by.arrival_ms(Field::Absent);
            faro::batches(body, lookup, by.rules.are_faro_logs_counted, arrival_ms)
        }),
        Format::Otlp(encoding) => as_foreign(body, Door::Otlp, &by.rules.otlp, by, |lookup| {
            otlp::batches(body, encoding, lookup)
        }),
    }
}

fn native(body: &[u8], format: terminal_v1::Format, by: By<'_>) -> Result<Trial, Refusal> {
    let limits = terminal_v1::Limits {
        batches_max: by.limits.batches_max,
        samples_max: by.limits.samples_max,
    };
    let mut inner = None;
    let (request, text) = match parsed(body, format, limits)? {
        Parsed::Request(request) => (request, body),
        // What it says stands on no line of the file.
        Parsed::Envelope(envelope) => {
            let opened = inner.insert(open_envelope(&envelope, by.limits.decoded_bytes_max)?);
            (bare(&opened.body, opened.format, limits)?, &[][..])
        }
        Parsed::Plain(plain) => (bare(plain, format, limits)?, plain),
    };
    let batches = request.batches.iter().enumerate();
    let offers: Vec<_> = batches
        .map(|(place, batch)| offer(batch, None, place))
        .collect();
    let places = lines::places(text);
    let mut trial = judge(&offers, request.sent_at_ms, by);
    trial.unknown_keys = request.unknown_keys;
    for item in &mut trial.items {
        if !request.is_many {
            item.place = item
                .place
                .split_once('.')
                .map_or("", |(_, part)| part)
                .to_owned();
        }
        item.line = places.get(&item.place).copied();
    }
    Ok(trial)
}

fn parsed(
    body: &[u8],
    format: terminal_v1::Format,
    limits: terminal_v1::Limits,
) -> Result<Parsed<'_>, Refusal> {
    let parsed = terminal_v1::parse(body, format, limits);
    parsed.map_err(|error| Refusal::Malformed(error.to_string()))
}

/// What was in an envelope, which is no envelope again.
fn bare(
    body: &[u8],
    format: terminal_v1::Format,
    limits: terminal_v1::Limits,
) -> Result<terminal_v1::Request<'_>, Refusal> {
    match parsed(body, format, limits)? {
        Parsed::Request(request) => Ok(request),
        Parsed::Envelope(_) | Parsed::Plain(_) => Err(Refusal::Malformed(
            "an envelope is in an envelope".to_owned(),
        )),
    }
}

fn as_foreign<'b>(
    body: &[u8],
    door: Door,
    rule: &Rule,
    by: By<'_>,
    read: impl FnOnce(Lookup<'_>) -> Result<Vec<foreign::Batch<'b>>, Refusal>,
) -> Result<Trial, Refusal> {
    let heard = Mutex::default();
    let lookup = Lookup {
        catalogue: by.catalogue,
        mapping: &by.rules.mapping,
        door,
        heard: Some(&heard),
    };
    let batches = read(lookup)?;
    if batches.len() > by.limits.batches_max {
        return Err(Refusal::TooManyBatches(by.limits.batches_max));
    }
    if batches.iter().map(foreign::Batch::len).sum::<usize>() > by.limits.samples_max {
        return Err(Refusal::TooManySamples(by.limits.samples_max));
    }
    let offers: Vec<_> = batches
        .iter()
        .map(|batch| batch.offer(&Who::Anybody, rule, door.name(), Mark::Content(body)))
        .collect();
    let mut trial = judge(&offers, Field::Absent, by);
    trial.heard = heard.into_inner().unwrap_or_default();
    Ok(trial)
}

fn judge(offers: &[Offer<'_>], sent_at_ms: Field<Number>, by: By<'_>) -> Trial {
    let request = Offers {
        received_at_ms: by.arrival_ms(sent_at_ms),
        sent_at_ms,
        class: Class::Live,
        browser: None,
        batches: offers,
        watched: None,
    };
    let rehearsal = rehearse(&request, by.catalogue, by.histogram_values_per_s);
    let mut items: Vec<Item> = offers.iter().enumerate().flat_map(items_of).collect();
    let known = items.iter().enumerate();
    let at: HashMap<String, usize> = known.map(|(at, item)| (item.place.clone(), at)).collect();
    for remark in rehearsal.report.remarks() {
        let batch = &offers[remark.place.batch];
        let place = place_of(batch, remark.place.batch, remark.place.part);
        let Some(item) = at.get(&place).and_then(|at| items.get_mut(*at)) else {
            continue;
        };
        match Reason::ALL
            .iter()
            .find(|reason| reason.name() == remark.reason)
        {
            Some(reason) => item.rejected = Some(*reason),
            None => item.ignored.push(remark.reason),
        }
    }
    Trial {
        items,
        heard: Heard::new(),
        outcomes: rehearsal.outcomes,
        unknown_keys: 0,
    }
}

/// Where a part of a batch stands.
fn place_of(batch: &Offer<'_>, index: usize, part: Part) -> String {
    let of = |list: &str, at: usize| format!("batches[{index}].{list}[{at}]");
    match part {
        Part::Whole => format!("batches[{index}]"),
        Part::Event(at) => of("events", at),
        Part::Drop(at) => of("drops", at),
        // Histograms are numbered after the samples, and summaries after these.
        Part::Sample(at) => match at.checked_sub(batch.samples.len()) {
            None => of("samples", at),
            Some(at) => match at.checked_sub(batch.histograms.len()) {
                None => of("histograms", at),
                Some(at) => of("summaries", at),
            },
        },
    }
}

fn items_of((index, batch): (usize, &Offer<'_>)) -> Vec<Item> {
    let item = |part, name: &str, value: String, label: &str| Item {
        place: place_of(batch, index, part),
        line: None,
        name: shown(name),
        value,
        label: shown(label),
        rejected: None,
        ignored: Vec::new(),
    };
    let who = |text: Option<&str>| shown(text.unwrap_or("?"));
    let sender = format!("{} {}", who(batch.store_id), who(batch.terminal_id));
    let mut items = vec![item(Part::Whole, "batch of", sender, "")];
    let mut number = 0;
    let mut of_sample = |sample: &Sample<'_>, value: String| {
        let name = sample.metric.value().map_or("?", |name| name);
        let label = sample.label.value().map_or("", |label| label);
        number += 1;
        item(Part::Sample(number - 1), name, value, label)
    };
    let text = |number: &Field<Number>| match number {
        Field::Absent => "-".to_owned(),
        Field::Is(number) => number.as_f64().to_string(),
        Field::Wrong => "?".to_owned(),
    };
    for sample in batch.samples {
        items.push(of_sample(sample, text(&sample.v)));
    }
    for histogram in batch.histograms {
        let buckets = histogram.buckets.value().into_iter().flatten();
        let count = buckets.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        items.push(of_sample(&histogram.sample, format!("{count} values")));
    }
    for summary in batch.summaries {
        let value = format!("{} values, summed up", text(&summary.count));
        items.push(of_sample(&summary.sample, value));
    }
    for (at, event) in batch.events.iter().enumerate() {
        let kind = event.kind.value().map_or("?", |kind| kind);
        let name = event.name.value().map_or("", |name| name);
        items.push(item(Part::Event(at), kind, "event".to_owned(), name));
    }
    for (at, drop) in batch.drops.iter().enumerate() {
        items.push(item(
            Part::Drop(at),
            "dropped_samples",
            text(&drop.samples),
            "",
        ));
    }
    items
}

/// A text of a stranger, as it may be shown: short, and without characters that steer a terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    let visible = text.chars().filter(|character| !character.is_control());
    visible.take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests;
