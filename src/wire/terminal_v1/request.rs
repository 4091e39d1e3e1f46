//! One request: one batch, or many.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Field, FieldSeed, Histogram, Number, Sample, field, tolerant};

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
    /// Not JSON, or JSON that is neither a batch nor a list of batches.
    #[error("the body is not a batch: {0}")]
    Malformed(String),
    /// More batches than one request may hold.
    #[error("the request holds more than {0} batches; send fewer at once")]
    TooManyBatches(usize),
    /// More samples than one request may hold.
    #[error("the request holds more than {0} samples; send fewer at once")]
    TooManySamples(usize),
}

/// Takes a JSON body apart. One bad sample does not fail it.
///
/// # Errors
/// When there are no batches to be found in it, or too many.
pub fn parse(body: &[u8], limits: Limits) -> Result<Request<'_>, ParseError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| ParseError::Malformed(format!("it is not UTF-8 ({error})")))?;
    let mut context = Context::new(limits);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = RequestSeed(&mut context)
        .deserialize(&mut deserializer)
        .and_then(|request| deserializer.end().map(|()| request));
    match strict {
        Ok(request) => context.finish(request),
        Err(_) if context.excess.is_none() => {
            let mut context = Context::new(limits);
            let request = tolerant::request(text, &mut context)
                .map_err(|error| ParseError::Malformed(error.to_string()))?;
            context.finish(request)
        }
        Err(_) => context.finish(Request::default()),
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

    fn finish<'a>(mut self, mut request: Request<'a>) -> Result<Request<'a>, ParseError> {
        if let Some(excess) = self.excess.take() {
            return Err(excess);
        }
        request.unknown_keys = self.unknown_keys;
        Ok(request)
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

/// One value of an object, not read yet: from a stream that fails as a whole, or from a piece of text
/// that fails alone.
pub(super) trait Value<'de>: Sized {
    type Error;

    fn field<T>(self) -> Result<Field<T>, Self::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>;
    fn skip(self) -> Result<(), Self::Error>;
    /// Reads a list, each element by `Item`; `false` when it is not a list.
    fn list<I: Item<'de>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context,
    ) -> Result<bool, Self::Error>;
}

/// Something that stands in a list and is read key by key.
pub(super) trait Item<'de>: Default {
    /// How many a list of them mostly holds: room for these is made at once.
    const USUAL: usize;

    fn admit(context: &mut Context) -> bool;
    fn set_malformed(&mut self);
    /// Reads one key. `Ok(false)`: the key is not known (and its value was skipped).
    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        context: &mut Context,
    ) -> Result<bool, V::Error>;
}

impl<'de> Item<'de> for Sample<'de> {
    const USUAL: usize = 48;

    fn admit(context: &mut Context) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        _: &mut Context,
    ) -> Result<bool, V::Error> {
        match key {
            "m" => self.metric = value.field()?,
            "t" => self.t = value.field()?,
            "v" => self.v = value.field()?,
            "label" => self.label = value.field()?,
            "connection" => self.connection = value.field()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Histogram<'de> {
    const USUAL: usize = 4;

    fn admit(context: &mut Context) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.sample.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        context: &mut Context,
    ) -> Result<bool, V::Error> {
        match key {
            "span_ms" => self.span_ms = value.field()?,
            "buckets" => self.buckets = value.field()?,
            "sum" => self.sum = value.field()?,
            "min" => self.min = value.field()?,
            "max" => self.max = value.field()?,
            "v" => return value.skip().map(|()| false),
            _ => return self.sample.key(key, value, context),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Batch<'de> {
    const USUAL: usize = 4;

    fn admit(context: &mut Context) -> bool {
        context.admits_batch()
    }

    fn set_malformed(&mut self) {
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        context: &mut Context,
    ) -> Result<bool, V::Error> {
        match key {
            "v" => self.v = value.field()?,
            "store_id" => self.store_id = value.field()?,
            "terminal_id" => self.terminal_id = value.field()?,
            "queue" => self.queue = value.field()?,
            "seq" => self.seq = value.field()?,
            "release" => self.release = value.field()?,
            "session_id" => self.session_id = value.field()?,
            "consent" => self.consent = value.field()?,
            "source" => self.source = value.field()?,
            "samples" => self.malformed |= !value.list(&mut self.samples, context)?,
            "histograms" => self.malformed |= !value.list(&mut self.histograms, context)?,
            // Belongs to the request; inside a batch of many it means nothing, and is no stranger.
            "sent_at_ms" => value.skip()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

/// The top of a request: a batch's keys, or `sent_at_ms` and `batches`.
#[derive(Default)]
pub(super) struct Top<'a> {
    sent_at_ms: Field<Number>,
    many: Option<Vec<Batch<'a>>>,
    many_is_wrong: bool,
    one: Batch<'a>,
}

impl<'de> Item<'de> for Top<'de> {
    const USUAL: usize = 1;

    fn admit(_: &mut Context) -> bool {
        true
    }

    fn set_malformed(&mut self) {
        self.one.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        context: &mut Context,
    ) -> Result<bool, V::Error> {
        match key {
            "sent_at_ms" => self.sent_at_ms = value.field()?,
            "batches" => {
                let batches = self.many.get_or_insert_with(Vec::new);
                self.many_is_wrong |= !value.list(batches, context)?;
            }
            _ => return self.one.key(key, value, context),
        }
        Ok(true)
    }
}

impl<'a> Top<'a> {
    /// The request, or a sentence that says why it is none.
    pub(super) fn into_request(self) -> Result<Request<'a>, &'static str> {
        if self.many_is_wrong {
            return Err("\"batches\" is not a list");
        }
        let is_many = self.many.is_some();
        if !is_many && self.one.malformed {
            return Err("\"samples\" and \"histograms\" must be lists");
        }
        Ok(Request {
            sent_at_ms: self.sent_at_ms,
            batches: self.many.unwrap_or_else(|| vec![self.one]),
            is_many,
            unknown_keys: 0,
        })
    }
}

struct RequestSeed<'c>(&'c mut Context);

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = Request<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = Request<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with a batch or with \"batches\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        read_object::<Top<'de>, A>(map, self.0)?
            .into_request()
            .map_err(A::Error::custom)
    }
}

fn read_object<'de, I: Item<'de>, A: MapAccess<'de>>(
    mut map: A,
    context: &mut Context,
) -> Result<I, A::Error> {
    let mut item = I::default();
    while let Some(key) = map.next_key_seed(KeySeed)? {
        if !item.key(&key, StreamValue(&mut map), context)? {
            context.unknown_keys += 1;
        }
    }
    Ok(item)
}

/// Borrows a key from the body unless it has escapes.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The next value of an object that is being streamed.
struct StreamValue<'a, A>(&'a mut A);

impl<'de, A: MapAccess<'de>> Value<'de> for StreamValue<'_, A> {
    type Error = A::Error;

    fn field<T>(self) -> Result<Field<T>, A::Error>
    where
        FieldSeed<T>: DeserializeSeed<'de, Value = Field<T>>,
    {
        self.0.next_value_seed(field())
    }

    fn skip(self) -> Result<(), A::Error> {
        self.0.next_value::<IgnoredAny>().map(|_| ())
    }

    fn list<I: Item<'de>>(
        self,
        into: &mut Vec<I>,
        context: &mut Context,
    ) -> Result<bool, A::Error> {
        self.0.next_value_seed(ListSeed { into, context })
    }
}

struct ListSeed<'c, I> {
    into: &'c mut Vec<I>,
    context: &'c mut Context,
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ListSeed<'_, I> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ListSeed<'_, I> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        while let Some(item) = sequence.next_element_seed(ItemSeed::<I> {
            context: self.context,
            item: std::marker::PhantomData,
        })? {
            if !I::admit(self.context) {
                return Err(A::Error::custom("too many"));
            }
            if self.into.capacity() == 0 {
                self.into.reserve_exact(I::USUAL);
            }
            self.into.push(item);
        }
        Ok(true)
    }
}

struct ItemSeed<'c, I> {
    context: &'c mut Context,
    item: std::marker::PhantomData<I>,
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ItemSeed<'_, I> {
    type Value = I;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<I, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ItemSeed<'_, I> {
    type Value = I;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<I, A::Error> {
        read_object(map, self.context)
    }
}
