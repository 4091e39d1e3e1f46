//! What is taken of a batch's entries, and what is counted of the others.

use tillwatch_model::event::{DropReading, EventReading};
use tillwatch_model::summary::SummaryReading;
use tillwatch_model::{Catalogue, Connection, Entry, HistogramReading, Metric, Reading, Source};

use crate::aggregate::brought::Brought;
use crate::aggregate::cut::Totals;

/// What a batch says beside its samples, which went before.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) events: Vec<EventReading>,
    pub(super) drops: Vec<DropReading>,
    pub(super) summaries: Vec<SummaryReading>,
}

/// What was taken of a batch's entry; what was not is counted.
#[inline]
pub(super) fn taken(
    entry: Entry,
    totals: &mut Totals,
    aside: &mut Aside,
) -> Option<(Reading, Option<HistogramReading>, u64)> {
    match entry {
        Entry::Sample(reading, value) => Some((reading, None, value)),
        Entry::Histogram(reading, histogram) => Some((reading, Some(histogram), 0)),
        Entry::Rejected(_, samples) => {
            totals.rejected += samples;
            None
        }
        Entry::Event(event) => {
            aside.events.push(*event);
            None
        }
        Entry::Summary(summary) => {
            aside.summaries.push(*summary);
            None
        }
        Entry::Drop(drop) => {
            aside.drops.push(drop);
            None
        }
        Entry::Later => {
            totals.unknown_entries += 1;
            None
        }
    }
}

/// The metric of a reading. What only a later release knows of the reading is counted, and kept as
/// `__unknown__`.
#[inline]
pub(super) fn kept<'c>(
    (catalogue, totals): (&'c Catalogue, &mut Totals),
    reading: &mut Reading,
    source: Source,
    brought: Brought<'_>,
) -> &'c Metric {
    let metric = catalogue.by_code(reading.metric);
    let metric = metric.unwrap_or(&Metric::LATER);
    let label = metric.label_kept(reading.label);
    let is_known = metric.code == reading.metric
        && label == reading.label
        && reading.connection != Connection::Later
        && source != Source::Later;
    if !is_known {
        note_later(totals, metric, reading, source, brought.weight());
        (reading.metric, reading.label) = (metric.code, label);
    }
    metric
}

#[cold]
fn note_later(
    totals: &mut Totals,
    metric: &Metric,
    reading: &Reading,
    source: Source,
    samples: u64,
) {
    if metric.code == Metric::LATER.code {
        totals.unknown += samples;
    } else if metric.label_kept(reading.label) != reading.label {
        totals.unknown_labels += samples;
    }
    if reading.connection == Connection::Later {
        totals.unknown_connections += samples;
    }
    if source == Source::Later {
        totals.unknown_sources += samples;
    }
}
