//! What one terminal posts at once, after validation.

use crate::browser::Browser;
use crate::event::{DropReading, EventReading};
use crate::summary::SummaryReading;
use crate::{Connection, Source};

/// One queue of one terminal: what sequence numbers count in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The shop.
    pub store_id: Box<str>,
    /// The terminal in the store.
    pub terminal_id: Box<str>,
    /// The UUID made with the terminal's persistent queue.
    pub queue: [u8; 16],
}

/// Who posted a batch, when, and what holds for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader<'a> {
    /// When the request's headers arrived, by this machine's clock.
    pub received_at_ms: i64,
    /// Arrival minus `sent_at_ms`: how far the terminal's clock is behind; 0 when it did not say.
    pub offset_ms: i64,
    /// What was added to every time: the offset if it is over 60 s, else 0.
    pub applied_offset_ms: i64,
    /// The shop.
    pub store_id: &'a str,
    /// The terminal in the store.
    pub terminal_id: &'a str,
    /// The UUID made with the terminal's persistent queue; of a keyed batch its [`KeyId`](crate::KeyId).
    pub queue: [u8; 16],
    /// The batch's number in its queue; 0 of a keyed batch.
    pub seq: u64,
    /// Whether it came with an idempotency key in place of queue and number.
    pub is_keyed: bool,
    /// The application's release.
    pub release: &'a str,
    /// Who measured.
    pub source: Source,
    /// The pseudonym of the session: never what the terminal sent.
    pub session: Option<[u8; 16]>,
    /// The terminal's browser, if the request was sent by one that is known.
    pub browser: Option<Browser>,
}

/// What every reading has, be it one value or a histogram of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The metric's journal code.
    pub metric: u16,
    /// The label's journal code; 0 for a metric without one.
    pub label: u8,
    /// How the terminal was connected.
    pub connection: Connection,
    /// When the reading was measured, by the terminal's clock.
    pub t_raw_ms: i64,
}

/// A terminal's own histogram of one metric over one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramReading {
    /// The span that the histogram covers, starting at its time.
    pub span_ms: i64,
    /// Ascending bucket indices.
    pub indices: Vec<u32>,
    /// The count of each of these buckets, each above 0.
    pub counts: Vec<u64>,
    /// The sum of the values, recording unit.
    pub sum: u64,
    /// The least value, recording unit.
    pub min: u64,
    /// The greatest value, recording unit.
    pub max: u64,
}

/// One part of a validated batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// One value, in the recording unit.
    Sample(Reading, u64),
    /// Many values.
    Histogram(Reading, HistogramReading),
    /// So many samples were rejected for this reason code.
    Rejected(u8, u64),
    /// What an event says beside its sample.
    Event(Box<EventReading>),
    /// Which numbers a drop names, beside its sample.
    Drop(DropReading),
    /// What a page's own report says beside its sample.
    Summary(Box<SummaryReading>),
    /// Something that only a later release knows.
    Later,
}
