//! Defines what a terminal sends: one request holds one batch, or many.

use std::borrow::Cow;

use super::{Dropped, Event, Field, Histogram, Number, Sample};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, UTF-8.
    Json,
    /// MessagePack, with the keys of the JSON.
    MessagePack,
}

/// What a body turned out to be.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// One batch or more.
    Request(Request<'a>),
    /// Text that holds a body, for senders that can send nothing but JSON.
    Envelope(Envelope<'a>),
    /// The JSON of a body in an envelope that was not needed: its bytes as they are written.
    Plain(&'a [u8]),
}

/// `{"compressed": …, "format": …, "data": …}`, not opened yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Whether `data` stands for compressed bytes.
    pub is_compressed: bool,
    /// The name of the format that `data` is written in.
    pub format: Cow<'a, str>,
    /// The body's bytes, written as text.
    pub data: Cow<'a, str>,
}

/// One batch as it came.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Version of the format.
    pub v: Field<Number>,
    /// The shop.
    pub store_id: Field<Cow<'a, str>>,
    /// The terminal.
    pub terminal_id: Field<Cow<'a, str>>,
    /// UUID of the terminal's queue.
    pub queue: Field<Cow<'a, str>>,
    /// Number in the queue.
    pub seq: Field<Number>,
    /// Release of the application.
    pub release: Field<Cow<'a, str>>,
    /// The cashier's session, in the clear: leaves this struct only as a pseudonym.
    pub session_id: Field<Cow<'a, str>>,
    /// Whether the person consented.
    pub consent: Field<bool>,
    /// `rum` or `synthetic`.
    pub source: Field<Cow<'a, str>>,
    /// Single values.
    pub samples: Vec<Sample<'a>>,
    /// Histograms.
    pub histograms: Vec<Histogram<'a>>,
    /// Events.
    pub events: Vec<Event<'a>>,
    /// Drops.
    pub drops: Vec<Dropped<'a>>,
    /// Stands for the bytes of its lists as they are written, by their checksums: a slip is
    /// noticed by it, not a forgery. 0 when there are none.
    pub content: u32,
    /// Whether the batch is not an object, or one of its lists is none.
    pub malformed: bool,
}

/// A request taken apart into batches.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// When the terminal sent it, by its own clock.
    pub sent_at_ms: Field<Number>,
    /// The request's batches.
    pub batches: Vec<Batch<'a>>,
    /// Whether the request came as `{"batches": […]}`.
    pub is_many: bool,
    /// Keys that mean nothing in this version.
    pub unknown_keys: u64,
}

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Batches in a request.
    pub batches_max: usize,
    /// Samples and histograms in a request.
    pub samples_max: usize,
}

/// Why a body could not be taken apart into batches.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is not of its format, or neither a batch nor a list of batches.
    #[error("the body is not a batch: {0}")]
    Malformed(String),
    /// More batches than one request may hold.
    #[error("the request holds more than {0} batches; send fewer at once")]
    TooManyBatches(usize),
    /// More samples than one request may hold.
    #[error("the request holds more than {0} samples; send fewer at once")]
    TooManySamples(usize),
    /// There is no memory now for what is in the body.
    #[error("too much is under way; wait and send it again")]
    NoRoom,
}
