//! How objects are read key by key: from a stream that fails as a whole, or piece by piece.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::request::{Batch, Context, Envelope, Format, Parsed, Request};
use super::{Field, FieldSeed, Histogram, Number, Sample, field};

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
        context: &mut Context<'_>,
    ) -> Result<bool, Self::Error>;
}

/// Something that stands in a list and is read key by key.
pub(super) trait Item<'de>: Default {
    /// How many a list of them mostly holds: room for these is made at once.
    fn usual(context: &Context<'_>) -> usize;
    fn admit(context: &mut Context<'_>) -> bool;
    fn set_malformed(&mut self);
    /// Reads one key. `Ok(false)`: the key is not known (and its value was skipped).
    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
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
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        _: &mut Context<'_>,
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
    fn usual(_: &Context<'_>) -> usize {
        2
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.sample.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &str,
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            "span_ms" => self.span_ms = value.field()?,
            "buckets" => {
                self.buckets = value.field()?;
                // No more than the pairs of one histogram: asked for once they are there.
                let pairs = self.buckets.value().map_or(0, Vec::capacity);
                let _is_refused = !context.takes(pairs * size_of::<(u64, u64)>());
            }
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
        key: &str,
        value: V,
        context: &mut Context<'_>,
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
            "samples" => {
                self.malformed |= !value.list(&mut self.samples, context)?;
                context.samples_before = self.samples.len();
            }
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
    envelope: EnvelopeKeys<'a>,
}

/// Keys of an envelope; strangers in anything else.
#[derive(Default)]
struct EnvelopeKeys<'a> {
    compressed: Field<bool>,
    format: Field<Cow<'a, str>>,
    data: Field<Cow<'a, str>>,
    seen: u64,
}

impl<'de> EnvelopeKeys<'de> {
    /// Reads one key. `None`: it is not one of them.
    fn key<V: Value<'de>>(&mut self, key: &str, value: V) -> Result<Option<V>, V::Error> {
        match key {
            "compressed" => self.compressed = value.field()?,
            "format" => self.format = value.field()?,
            "data" => self.data = value.field()?,
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
        key: &str,
        value: V,
        context: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            "sent_at_ms" => self.sent_at_ms = value.field()?,
            "batches" => {
                let batches = self.many.get_or_insert_with(Vec::new);
                self.many_is_wrong |= !value.list(batches, context)?;
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
        if may_be_envelope && let (Field::Is(format), Field::Is(data)) = (keys.format, keys.data) {
            let Field::Is(is_compressed) = keys.compressed else {
                return Err("\"compressed\" must be true or false");
            };
            return Ok(Parsed::Envelope(Envelope {
                is_compressed,
                format,
                data,
            }));
        }
        if !is_many && self.one.malformed {
            return Err("\"samples\" and \"histograms\" must be lists");
        }
        Ok(Parsed::Request(Request {
            sent_at_ms: self.sent_at_ms,
            batches: self.many.unwrap_or_else(|| vec![self.one]),
            is_many,
            unknown_keys: unknown_keys + keys.seen,
        }))
    }
}

fn read_object<'de, I: Item<'de>, A: MapAccess<'de>>(
    mut map: A,
    context: &mut Context<'_>,
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
        context: &mut Context<'_>,
    ) -> Result<bool, A::Error> {
        self.0.next_value_seed(ListSeed { into, context })
    }
}

struct ListSeed<'c, 't, I> {
    into: &'c mut Vec<I>,
    context: &'c mut Context<'t>,
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ListSeed<'_, '_, I> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ListSeed<'_, '_, I> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        while let Some(item) = sequence.next_element_seed(ItemSeed::<I>::new(self.context))? {
            if !I::admit(self.context) || !self.context.makes_room(self.into) {
                return Err(A::Error::custom("too many"));
            }
            self.into.push(item);
        }
        Ok(true)
    }
}

/// Reads an object.
pub(super) struct ItemSeed<'c, 't, I> {
    context: &'c mut Context<'t>,
    item: PhantomData<I>,
}

impl<'c, 't, I> ItemSeed<'c, 't, I> {
    pub(super) fn new(context: &'c mut Context<'t>) -> Self {
        Self {
            context,
            item: PhantomData,
        }
    }
}

impl<'de, I: Item<'de>> DeserializeSeed<'de> for ItemSeed<'_, '_, I> {
    type Value = I;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<I, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, I: Item<'de>> Visitor<'de> for ItemSeed<'_, '_, I> {
    type Value = I;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<I, A::Error> {
        read_object(map, self.context)
    }
}
