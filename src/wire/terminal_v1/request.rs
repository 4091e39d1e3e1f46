//! One request: one batch, or many.

use std::borrow::Cow;

use super::messagepack::Bytes;
use super::read::Top;
use super::walk::{self, Broken, Json, Walk};
use super::{Field, Histogram, Number, Sample, tolerant};

const BYTE_ORDER_MARK: char = '\u{feff}';

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
    /// Batches.
    Request(Request<'a>),
    /// Text that holds a body, for senders that can send nothing but JSON.
    Envelope(Envelope<'a>),
}

/// `{"compressed": …, "format": …, "data": …}`, not opened yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Whether the bytes in `data` are compressed.
    pub is_compressed: bool,
    /// How `data` is written.
    pub format: Cow<'a, str>,
    /// The bytes, as text.
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
    /// Stands for the bytes of its samples and histograms as they are written; 0 when there are none.
    pub content: u64,
    /// Not an object, or its samples are not a list.
    pub malformed: bool,
}

/// A request taken apart into batches.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// When the terminal sent it, by its own clock.
    pub sent_at_ms: Field<Number>,
    /// Its batches.
    pub batches: Vec<Batch<'a>>,
    /// Whether it came as `{"batches": […]}`.
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
    /// Not of its format, or neither a batch nor a list of batches.
    #[error("the body is not a batch: {0}")]
    Malformed(String),
    /// More batches than one request may hold.
    #[error("the request holds more than {0} batches; send fewer at once")]
    TooManyBatches(usize),
    /// More samples than one request may hold.
    #[error("the request holds more than {0} samples; send fewer at once")]
    TooManySamples(usize),
}

/// Takes a body apart. One bad sample does not fail it.
///
/// # Errors
/// When there are no batches to be found in it, or too many.
pub fn parse(body: &[u8], format: Format, limits: Limits) -> Result<Parsed<'_>, ParseError> {
    let mut context = Context::new(limits);
    let top = match format {
        Format::Json => {
            let text = text_of(body)?;
            match json(text, &mut context) {
                Ok(top) => top,
                Err(_) if context.excess.is_some() => return Err(context.into_excess()),
                Err(_) => {
                    context = Context::new(limits);
                    tolerant::json_top(text, &mut context)
                        .map_err(|error| ParseError::Malformed(error.to_string()))?
                }
            }
        }
        Format::MessagePack => match messagepack(body, &mut context) {
            Ok(top) => top,
            Err(_) if context.excess.is_some() => return Err(context.into_excess()),
            Err(_) => {
                context = Context::new(limits);
                tolerant::messagepack_top(body, &mut context).ok_or_else(|| {
                    ParseError::Malformed("it is not one whole MessagePack map".to_owned())
                })?
            }
        },
    };
    if context.excess.is_some() {
        return Err(context.into_excess());
    }
    top.into_parsed(format, context.unknown_keys)
        .map_err(|text| ParseError::Malformed(text.to_owned()))
}

fn json<'a>(text: &'a str, context: &mut Context) -> Result<Top<'a>, Broken> {
    let mut rest = Json(text);
    let top = walk::object(&mut rest, context)?;
    rest.coming().is_empty().then_some(top).ok_or(Broken)
}

fn messagepack<'a>(body: &'a [u8], context: &mut Context) -> Result<Top<'a>, Broken> {
    let mut rest = Bytes(body);
    let top = walk::object(&mut rest, context)?;
    rest.coming().is_empty().then_some(top).ok_or(Broken)
}

/// The text of a body, without the byte order mark that some programs write before it.
fn text_of(body: &[u8]) -> Result<&str, ParseError> {
    let malformed = |text: String| Err(ParseError::Malformed(text));
    // With a mark, or as a brace and a zero, in either order.
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] = body {
        return malformed("it is written in UTF-16 or UTF-32; send UTF-8".to_owned());
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text.trim_start_matches(BYTE_ORDER_MARK)),
        Err(error) => malformed(format!("it is not UTF-8 ({error})")),
    }
}

/// What is counted while a request is read.
pub(super) struct Context {
    limits: Limits,
    batches: usize,
    samples: usize,
    pub(super) unknown_keys: u64,
    excess: Option<ParseError>,
}

impl Context {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            batches: 0,
            samples: 0,
            unknown_keys: 0,
            excess: None,
        }
    }

    /// What there was too much of.
    fn into_excess(self) -> ParseError {
        self.excess
            .unwrap_or(ParseError::TooManySamples(self.limits.samples_max))
    }

    /// Counts one batch; `false` when that is one too many and reading must stop.
    pub(super) fn admits_batch(&mut self) -> bool {
        self.batches += 1;
        if self.batches > self.limits.batches_max {
            self.excess = Some(ParseError::TooManyBatches(self.limits.batches_max));
        }
        self.excess.is_none()
    }

    /// Counts one sample; `false` when that is one too many and reading must stop.
    pub(super) fn admits_sample(&mut self) -> bool {
        self.samples += 1;
        if self.samples > self.limits.samples_max {
            self.excess = Some(ParseError::TooManySamples(self.limits.samples_max));
        }
        self.excess.is_none()
    }
}
