//! What became of one batch, as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::{BatchHeader, Catalogue, Entry, Metric, Reading, Reason};

use crate::query::words::{connections, sources, units};

/// What became of one batch.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExplainAnswer {
    /// Where the records come from, or that there is none.
    pub(super) details: &'static str,
    /// What the numbers of the queue say; `null`: a key or a request was asked for.
    pub(super) numbers: Option<Numbers>,
    /// The records of the journal.
    pub(super) records: Vec<Record>,
}

/// What is known of a number without its record.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BatchNumbers")]
pub(super) struct Numbers {
    /// The nearest number that has come and is higher; `null`: the number is counted or ahead of all, or nothing is known.
    pub(super) after: Option<u64>,
    /// The nearest number that has come and is lower; `null`: the number is counted, or there is none.
    pub(super) before: Option<u64>,
    /// The highest number that has come; `null`: nothing is known of the queue.
    pub(super) high: Option<u64>,
    /// The state in a sentence.
    pub(super) message: &'static str,
    /// `counted`, `missing` (it may still come), `lost`, `not_arrived` or `unknown`.
    #[schemars(extend("enum" = ["counted", "missing", "lost", "not_arrived", "unknown"]))]
    pub(super) state: &'static str,
}

/// A record of the journal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BatchRecord")]
pub(super) struct Record {
    /// What was accepted, one by one.
    accepted: Vec<Accepted>,
    /// By how much times were corrected, ms.
    applied_offset_ms: i64,
    /// How far the terminal's clock was behind, ms; negative: ahead.
    clock_offset_ms: i64,
    /// The position in the journal.
    position: u64,
    /// When it was received, Unix ms.
    received_at_ms: i64,
    /// What was rejected, by reason.
    rejected: Vec<Rejected>,
    /// The release of the application.
    release: String,
    /// The number in the queue; `null`: it has an idempotency key instead.
    seq: Option<u64>,
    /// `rum` (real users) or `synthetic`.
    #[schemars(extend("enum" = sources()))]
    source: &'static str,
    /// The store.
    store_id: String,
    /// The terminal.
    terminal_id: String,
}

/// What was rejected for one reason.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BatchRejected")]
struct Rejected {
    /// The reason in a sentence; `null`: a later release has written it.
    message: Option<&'static str>,
    /// The reason; `__unknown__`: a later release has written it.
    reason: &'static str,
    /// How many samples.
    samples: u64,
}

/// One entry that was accepted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "BatchAccepted")]
enum Accepted {
    /// One value.
    Sample(Sample),
    /// Many values, by buckets.
    Histogram(Histogram),
    /// Something that happened.
    Event(Event),
    /// What a page has summed up itself.
    Summary(Summary),
}

/// One value.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedSample")]
struct Sample {
    /// The connection.
    #[schemars(extend("enum" = connections()))]
    connection: &'static str,
    /// The value of the metric's label; empty: it has none.
    label: &'static str,
    /// The wire name of the metric.
    metric: &'static str,
    /// The time as corrected, Unix ms.
    t_ms: i64,
    /// The time as sent, ms.
    t_raw_ms: i64,
    /// The unit of the value.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
    /// The value.
    value: f64,
    /// That it is a sample.
    #[schemars(extend("const" = "sample"))]
    what: &'static str,
}

/// Many values, by buckets.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedHistogram")]
struct Histogram {
    /// The connection.
    #[schemars(extend("enum" = connections()))]
    connection: &'static str,
    /// How many values there are.
    count: u64,
    /// The value of the metric's label; empty: it has none.
    label: &'static str,
    /// The greatest value.
    max: f64,
    /// The wire name of the metric.
    metric: &'static str,
    /// The least value.
    min: f64,
    /// Over how long the values were collected, ms.
    span_ms: i64,
    /// The sum of the values.
    sum: f64,
    /// The time as corrected, Unix ms.
    t_ms: i64,
    /// The time as sent, ms.
    t_raw_ms: i64,
    /// The unit of the values.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
    /// That it is a histogram.
    #[schemars(extend("const" = "histogram"))]
    what: &'static str,
}

/// Something that happened. Its texts are not shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvent")]
struct Event {
    /// How often.
    count: u64,
    /// The kind of the event.
    kind: &'static str,
    /// The name of a custom event; empty for other kinds.
    name: String,
    /// The time as corrected, Unix ms.
    t_ms: i64,
    /// The time as sent, ms.
    t_raw_ms: i64,
    /// That it is an event.
    #[schemars(extend("const" = "event"))]
    what: &'static str,
}

/// What a page has summed up itself, in the metric's unit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedSummary")]
struct Summary {
    /// How many values there are.
    count: u64,
    /// The greatest value.
    max: f64,
    /// The wire name of the metric.
    metric: &'static str,
    /// The least value.
    min: f64,
    /// The sum of the values.
    sum: f64,
    /// The time as corrected, Unix ms.
    t_ms: i64,
    /// The time as sent, ms.
    t_raw_ms: i64,
    /// That it is a summary.
    #[schemars(extend("const" = "summary"))]
    what: &'static str,
}

impl Record {
    /// A record with its entries; `None`: an entry cannot be read.
    pub(super) fn of<E>(
        catalogue: &Catalogue,
        position: u64,
        header: &BatchHeader<'_>,
        entries: impl Iterator<Item = Result<Entry, E>>,
    ) -> Option<Self> {
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.ok()? {
                Entry::Rejected(code, samples) => rejected.push(Rejected::of(code, samples)),
                entry => accepted.extend(Accepted::of(catalogue, header, entry)),
            }
        }
        Some(Self {
            accepted,
            applied_offset_ms: header.applied_offset_ms,
            clock_offset_ms: header.offset_ms,
            position,
            received_at_ms: header.received_at_ms,
            rejected,
            release: header.release.to_string(),
            seq: (!header.is_keyed).then_some(header.seq),
            source: header.source.name(),
            store_id: header.store_id.to_string(),
            terminal_id: header.terminal_id.to_string(),
        })
    }
}

impl Rejected {
    fn of(code: u8, samples: u64) -> Self {
        let reason = Reason::from_code(code);
        Self {
            message: reason.map(Reason::message),
            reason: reason.map_or("__unknown__", Reason::name),
            samples,
        }
    }
}

impl Accepted {
    fn of(catalogue: &Catalogue, header: &BatchHeader<'_>, entry: Entry) -> Option<Self> {
        let metric_of = |code| catalogue.by_code(code).unwrap_or(&Metric::LATER);
        let label_of = |reading: &Reading| metric_of(reading.metric).label_value(reading.label);
        let corrected = |t_raw_ms: i64| t_raw_ms.saturating_add(header.applied_offset_ms);
        Some(match entry {
            Entry::Sample(reading, value) => {
                let metric = metric_of(reading.metric);
                Self::Sample(Sample {
                    connection: reading.connection.name(),
                    label: label_of(&reading),
                    metric: metric.name,
                    t_ms: corrected(reading.t_raw_ms),
                    t_raw_ms: reading.t_raw_ms,
                    unit: metric.unit.name(),
                    value: metric.unit.to_wire(value),
                    what: "sample",
                })
            }
            Entry::Histogram(reading, histogram) => {
                let metric = metric_of(reading.metric);
                Self::Histogram(Histogram {
                    connection: reading.connection.name(),
                    count: histogram.counts.iter().sum(),
                    label: label_of(&reading),
                    max: metric.unit.to_wire(histogram.max),
                    metric: metric.name,
                    min: metric.unit.to_wire(histogram.min),
                    span_ms: histogram.span_ms,
                    sum: metric.unit.to_wire(histogram.sum),
                    t_ms: corrected(reading.t_raw_ms),
                    t_raw_ms: reading.t_raw_ms,
                    unit: metric.unit.name(),
                    what: "histogram",
                })
            }
            Entry::Event(event) => Self::Event(Event {
                count: event.count,
                kind: event.kind.name(),
                name: event.name.to_string(),
                t_ms: corrected(event.t_raw_ms),
                t_raw_ms: event.t_raw_ms,
                what: "event",
            }),
            Entry::Summary(summary) => Self::Summary(Summary {
                count: summary.count,
                max: summary.max,
                metric: metric_of(summary.metric).name,
                min: summary.min,
                sum: summary.sum,
                t_ms: corrected(summary.t_raw_ms),
                t_raw_ms: summary.t_raw_ms,
                what: "summary",
            }),
            // The numbers that a drop names stand beside its sample.
            Entry::Drop(_) | Entry::Rejected(..) | Entry::Later => return None,
        })
    }
}
