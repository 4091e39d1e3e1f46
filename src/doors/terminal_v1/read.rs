//! What each key of an object means, be it read in a walk that fails as a whole, or piece by piece.

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use tillwatch_model::Reason;

use super::context::Context;
use super::field::{Digits, FieldSeed};
use super::request::{Batch, Envelope, Format, Parsed, Request};
use super::{Field, Histogram, Number, Sample};

/// One value of an object, not read yet: from a walk that fails as a whole, or from a piece of text
/// that fails alone.
pub(super) trait Value<'de>: Sized {
    type Error;

    fn field<T>(self) -> Result<Field<T>, Self::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>;
    /// A number whose last digit matters, also where it is written as a float.
    fn exact(self) -> Result<Field<Number>, Self::Error>;
    fn skip(self) -> Result<(), Self::Error>;
    /// Reads a text, or passes over an object in JSON and gives its bytes.
    fn text_or_object(self) -> Result<Field<Embedded<'de>>, Self::Error>;
    /// Reads a list, each element by `Item`.
    fn list<I: Item<'de>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context<'_>,
    ) -> Result<Listed<'de>, Self::Error>;
}

/// A body in another one.
pub(super) enum Embedded<'de> {
    /// The body's bytes, written as text.
    Text(Cow<'de, str>),
    /// The body as it is: an object in JSON.
    Object(&'de [u8]),
}

/// What stood where a list may stand.
pub(super) enum Listed<'de> {
    /// A null, which is as good as nothing.
    Absent,
    /// A list, as it is written.
    Bytes(&'de [u8]),
    /// Something else.
    Wrong,
}

/// Something that stands in a list and is read key by key.
pub(super) trait Item<'de>: Default {
    /// So many of a list are kept; what is behind them is only passed over.
    const KEPT_MAX: usize = usize::MAX;

    /// How many elements a list of these items mostly holds: room for them is made at once.
    fn usual(context: &Context<'_>) -> usize;
    fn admit(context: &mut Context<'_>) -> bool;
    fn set_malformed(&mut self);
    /// Reads one key. `Ok(false)`: the key is not known (and its value was skipped).
    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error>;
}

impl<'de> Item<'de> for Sample<'de> {
    fn usual(context: &Context<'_>) -> usize {
        context.samples_usual()
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.refused = Some(Reason::MalformedSample);
    }

    #[inline(always)]
    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        _: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"m" => self.metric = value.field()?,
            b"t" => self.t = value.field()?,
            b"v" => self.v = value.field()?,
            b"label" => self.label = value.field()?.map(Digits::text),
            b"connection" => self.connection = value.field()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Histogram<'de> {
    fn usual(_: &Context<'_>) -> usize {
        2
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.sample.refused = Some(Reason::MalformedSample);
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"span_ms" => self.span_ms = value.field()?,
            b"buckets" => {
                self.buckets = value.field()?;
                // At most the pairs of one histogram are held before memory is asked for.
                let pairs = self.buckets.value().map_or(0, Vec::capacity);
                let _is_refused = !context.takes(pairs * size_of::<(u64, u64)>());
            }
            b"sum" => self.sum = value.field()?,
            b"min" => self.min = value.field()?,
            b"max" => self.max = value.field()?,
            b"v" => return value.skip().map(|()| false),
            _ => return self.sample.key(key, value, context),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Batch<'de> {
    fn usual(_: &Context<'_>) -> usize {
        4
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_batch()
    }

    fn set_malformed(&mut self) {
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"v" => self.v = value.field()?,
            b"store_id" => self.store_id = value.field()?.map(Digits::text),
            b"terminal_id" => self.terminal_id = value.field()?.map(Digits::text),
            b"queue" => self.queue = value.field()?,
            b"seq" => self.seq = value.exact()?,
            b"release" => self.release = value.field::<Digits<'_>>()?.exactly(),
            b"session_id" => self.session_id = value.field()?.map(Digits::text),
            b"consent" => self.consent = value.field()?,
            b"source" => self.source = value.field()?,
            b"samples" => {
                let listed = value.list(&mut self.samples, context)?;
                self.take(&listed, (!self.samples.is_empty()).then_some(SAMPLES));
                context.samples_before = self.samples.len();
            }
            b"histograms" => {
                let listed = value.list(&mut self.histograms, context)?;
                self.take(&listed, (!self.histograms.is_empty()).then_some(HISTOGRAMS));
            }
            b"events" => {
                let listed = value.list(&mut self.events, context)?;
                self.take(&listed, (!self.events.is_empty()).then_some(EVENTS));
            }
            b"drops" => {
                let listed = value.list(&mut self.drops, context)?;
                self.take(&listed, (!self.drops.is_empty()).then_some(DROPS));
            }
            // The stamp belongs to the request; inside a batch of many it means nothing, and is no stranger.
            b"sent_at_ms" => value.skip()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

/// Seeds that keep the lists apart.
const SAMPLES: u32 = 1;
const HISTOGRAMS: u32 = 2;
const EVENTS: u32 = 3;
const DROPS: u32 = 4;

impl Batch<'_> {
    /// Notes what stood where a list may stand. An empty list is as good as none.
    fn take(&mut self, listed: &Listed<'_>, seed: Option<u32>) {
        match (listed, seed) {
            (Listed::Bytes(bytes), Some(seed)) => {
                // The lists may come in either order, so their checksums are added up.
                let checksum = crc32c::crc32c_append(seed, bytes);
                self.content = self.content.wrapping_add(checksum);
            }
            (Listed::Wrong, _) => self.malformed = true,
            (Listed::Absent | Listed::Bytes(_), _) => {}
        }
    }
}

/// The top of a request: a batch's keys, or `sent_at_ms` and `batches`.
#[derive(Default)]
pub(super) struct Top<'a> {
    sent_at_ms: Field<Number>,
    many: Option<Vec<Batch<'a>>>,
    many_is_wrong: bool,
    one: Batch<'a>,
    envelope: EnvelopeKeys<'a>,
}

/// Keys of an envelope; strangers in anything else.
#[derive(Default)]
struct EnvelopeKeys<'a> {
    compressed: Field<bool>,
    format: Field<Cow<'a, str>>,
    data: Field<Embedded<'a>>,
    seen: u64,
}

impl<'de> EnvelopeKeys<'de> {
    /// Reads one key. `None`: the key is not one of the envelope's.
    fn key<V: Value<'de>>(&mut self, key: &[u8], value: V) -> Result<Option<V>, V::Error> {
        match key {
            b"compressed" => self.compressed = value.field()?,
            b"format" => self.format = value.field()?,
            b"data" => self.data = value.text_or_object()?,
            _ => return Ok(Some(value)),
        }
        self.seen += 1;
        Ok(None)
    }
}

impl<'de> Item<'de> for Top<'de> {
    fn usual(_: &Context<'_>) -> usize {
        1
    }

    fn admit(_: &mut Context<'_>) -> bool {
        true
    }

    fn set_malformed(&mut self) {
        self.one.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"sent_at_ms" => self.sent_at_ms = value.field()?,
            // A beacon's credential, read before the body was.
            b"token" => value.skip()?,
            b"batches" => {
                let mut batches = self.many.take().unwrap_or_default();
                match value.list(&mut batches, context)? {
                    Listed::Bytes(_) => self.many = Some(batches),
                    // The key may have come before, with a list.
                    Listed::Absent => self.many = (!batches.is_empty()).then_some(batches),
                    Listed::Wrong => self.many_is_wrong = true,
                }
            }
            _ => {
                return match self.envelope.key(key, value)? {
                    Some(value) => self.one.key(key, value, context),
                    None => Ok(true),
                };
            }
        }
        Ok(true)
    }
}

impl<'a> Top<'a> {
    /// The batches or the envelope, or a sentence that says why it is neither.
    pub(super) fn into_parsed(
        self,
        format: Format,
        unknown_keys: u64,
    ) -> Result<Parsed<'a>, &'static str> {
        if self.many_is_wrong {
            return Err("\"batches\" is not a list");
        }
        let is_many = self.many.is_some();
        let keys = self.envelope;
        // A batch has a version, which an envelope has not.
        let may_be_envelope = format == Format::Json && !is_many && self.one.v == Field::Absent;
        let data = keys.data.value().filter(|_| may_be_envelope);
        match (data, keys.format, keys.compressed) {
            (Some(Embedded::Object(_)), _, Field::Is(true)) => {
                return Err("\"data\" is an object, so \"compressed\" must be false");
            }
            // An object is plain whatever the format is called, and also without a word about it.
            (Some(Embedded::Object(body)), _, Field::Is(false) | Field::Absent) => {
                return Ok(Parsed::Plain(body));
            }
            (Some(Embedded::Text(data)), Field::Is(format), Field::Is(is_compressed)) => {
                return Ok(Parsed::Envelope(Envelope {
                    is_compressed,
                    format,
                    data: data.clone(),
                }));
            }
            (Some(Embedded::Object(_)), _, Field::Wrong)
            | (Some(Embedded::Text(_)), Field::Is(_), _) => {
                return Err("\"compressed\" must be true or false");
            }
            (Some(Embedded::Text(_)), Field::Absent | Field::Wrong, _) | (None, ..) => {}
        }
        if !is_many && self.one.malformed {
            return Err("\"samples\", \"histograms\", \"events\" and \"drops\" must be lists");
        }
        Ok(Parsed::Request(Request {
            sent_at_ms: self.sent_at_ms,
            batches: self.many.unwrap_or_else(|| vec![self.one]),
            is_many,
            unknown_keys: unknown_keys + keys.seen,
        }))
    }
}
