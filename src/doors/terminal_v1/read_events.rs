//! What each key of an event, of a frame of it, and of a drop means.

use tillwatch_model::event::FRAMES_MAX;

use super::context::Context;
use super::read::{Item, Listed, Value};
use super::{Dropped, Event, Frame};

impl<'de> Item<'de> for Event<'de> {
    fn usual(_: &Context<'_>) -> usize {
        2
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_sample()
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
            b"k" => self.kind = value.field()?,
            b"t" => self.t = value.field()?,
            b"count" => self.count = value.field()?,
            b"fatal" => self.fatal = value.field()?,
            b"fingerprint" => self.fingerprint = value.field()?,
            b"name" => self.name = value.field()?,
            b"label" => self.label = value.field()?,
            b"type" => self.type_name = value.field()?,
            b"message" => self.message = value.field()?,
            b"frames" => {
                let listed = value.list(&mut self.frames, context)?;
                self.malformed |= matches!(listed, Listed::Wrong);
            }
            b"connection" => self.connection = value.field()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Frame<'de> {
    const KEPT_MAX: usize = FRAMES_MAX;

    fn usual(_: &Context<'_>) -> usize {
        4
    }

    /// A frame counts as nothing: the memory that it takes is asked for, as for all lists.
    fn admit(_: &mut Context<'_>) -> bool {
        true
    }

    fn set_malformed(&mut self) {
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        _: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"fn" => self.function = value.field()?,
            b"module" => self.module = value.field()?,
            b"line" => self.line = value.field()?,
            b"col" => self.column = value.field()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}

impl<'de> Item<'de> for Dropped<'de> {
    fn usual(_: &Context<'_>) -> usize {
        2
    }

    fn admit(context: &mut Context<'_>) -> bool {
        context.admits_sample()
    }

    fn set_malformed(&mut self) {
        self.malformed = true;
    }

    fn key<V: Value<'de>>(
        &mut self,
        key: &[u8],
        value: V,
        _: &mut Context<'_>,
    ) -> Result<bool, V::Error> {
        match key {
            b"queue" => self.queue = value.field()?,
            b"from" => self.from = value.exact()?,
            b"to" => self.to = value.exact()?,
            b"samples" => self.samples = value.field()?,
            b"reason" => self.reason = value.field()?,
            b"t" => self.t = value.field()?,
            _ => return value.skip().map(|()| false),
        }
        Ok(true)
    }
}
