//! Counts what a request holds while it is read, and asks for memory before any is taken.

use super::request::{Limits, ParseError};
use crate::intake::Offer;

/// A function that is asked for so many more bytes, and says `false` when there are none.
pub(super) type Take<'t> = &'t mut dyn FnMut(usize) -> bool;

/// How many samples a batch has that is sent once a minute with all metrics.
const SAMPLES_USUAL: usize = 48;

/// What is counted while a request is read.
pub(super) struct Context<'t> {
    limits: Limits,
    take: Take<'t>,
    batches: usize,
    samples: usize,
    /// Samples of the batch before this one, which has about as many.
    pub(super) samples_before: usize,
    pub(super) unknown_keys: u64,
    excess: Option<ParseError>,
}

impl<'t> Context<'t> {
    pub(super) fn new(limits: Limits, take: Take<'t>) -> Self {
        Self {
            limits,
            take,
            batches: 0,
            samples: 0,
            samples_before: SAMPLES_USUAL,
            unknown_keys: 0,
            excess: None,
        }
    }

    /// Counts from nothing, because the same body is now read in another way.
    pub(super) fn begin_again(&mut self) {
        (self.batches, self.samples, self.unknown_keys) = (0, 0, 0);
        self.samples_before = SAMPLES_USUAL;
    }

    /// Asks for memory; `false` when there is none and reading must stop.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        if !(self.take)(bytes) {
            self.excess = Some(ParseError::NoRoom);
        }
        self.excess.is_none()
    }

    /// Makes room in a list for one more; `false` when there is no memory for it. A list mostly holds `usual`
    /// elements: room for these is made at once.
    #[inline]
    pub(super) fn makes_room<T>(&mut self, into: &mut Vec<T>, usual: fn(&Self) -> usize) -> bool {
        into.len() < into.capacity() || self.lengthens(into, usual)
    }

    #[cold]
    fn lengthens<T>(&mut self, into: &mut Vec<T>, usual: fn(&Self) -> usize) -> bool {
        let more = into.len().max(usual(self));
        let has_room = self.takes(more * size_of::<T>());
        if has_room {
            into.reserve_exact(more);
        }
        has_room
    }

    /// How many samples a batch mostly has. Of many in one request each has about as many as the one
    /// before: five hundred small ones do not take the room of five hundred large ones.
    pub(super) fn samples_usual(&self) -> usize {
        self.samples_before.clamp(1, SAMPLES_USUAL)
    }

    /// Whether there was too much of something.
    pub(super) fn has_excess(&self) -> bool {
        self.excess.is_some()
    }

    /// The error that says what there was too much of.
    pub(super) fn into_excess(self) -> ParseError {
        self.excess
            .unwrap_or(ParseError::TooManySamples(self.limits.samples_max))
    }

    /// Counts one batch; `false` when that is one too many and reading must stop.
    pub(super) fn admits_batch(&mut self) -> bool {
        self.batches += 1;
        if self.batches > self.limits.batches_max {
            self.excess = Some(ParseError::TooManyBatches(self.limits.batches_max));
        }
        // The offer that is made of the batch. Asked for here, because a request that is whole must not be put off
        // before its samples are counted.
        self.excess.is_none() && self.takes(size_of::<Offer<'_>>())
    }

    /// Counts one sample; `false` when that is one too many and reading must stop.
    #[inline]
    pub(super) fn admits_sample(&mut self) -> bool {
        self.samples += 1;
        if self.samples > self.limits.samples_max {
            self.excess = Some(ParseError::TooManySamples(self.limits.samples_max));
        }
        self.excess.is_none()
    }
}
