//! Defines what a door brings to the intake: the one form that all doors share.
//!
//! A door turns the bytes of its format into offers; the intake decides about offers and never sees a
//! format. An offer borrows from the body. It also holds what its door could not read, as a field that is
//! [`Field::Wrong`] or as a reason, because every reading is counted, even one that makes no sense.

use std::borrow::Cow;

use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::event::Example;
use tillwatch_model::metric::to_float;
use tillwatch_model::{Browser, Reason, Source};

use crate::intake::keys::Key;
use crate::intake::limits::Class;
use crate::intake::watched::Watched;

/// What one request offers.
#[derive(Debug)]
pub struct Offers<'r> {
    /// When the request arrived, by a clock that is trusted. Unit: Unix ms.
    pub received_at_ms: i64,
    /// When the request's sender says that it was sent, by the sender's own clock. Unit: Unix ms.
    pub sent_at_ms: Field<Number>,
    /// Whether the request says that it brings what was kept while its terminal was offline.
    pub class: Class,
    /// The browser that has sent the request, by its own word.
    pub browser: Option<Browser>,
    /// The request's batches.
    pub batches: &'r [Offer<'r>],
    /// Where they are shown, if anybody watches.
    pub watched: Option<Watched<'r>>,
}

/// One batch, as far as its door could read it.
#[derive(Debug)]
pub struct Offer<'r> {
    /// Why nothing of the batch may be believed, if the door could not even read who sent it.
    pub unreadable: Option<Reason>,
    /// The store that the batch names.
    pub store_id: Option<&'r str>,
    /// The terminal that the batch names.
    pub terminal_id: Option<&'r str>,
    /// What tells the batch from others of its terminal, or why the door found nothing that does.
    pub mark: Result<Mark<'r>, Reason>,
    /// Release of the application.
    pub release: Field<&'r str>,
    /// Whether people or a machine caused what was measured.
    pub source: Source,
    /// Whether the person consented.
    pub has_consent: bool,
    /// The cashier's session, in the clear: it leaves the intake only as a pseudonym.
    pub session_id: Field<&'r str>,
    /// Single values.
    pub samples: &'r [Sample<'r>],
    /// Many values in one.
    pub histograms: &'r [Histogram<'r>],
    /// What a page has summed up itself.
    pub summaries: &'r [Summary<'r>],
    /// What has happened on the terminal.
    pub events: &'r [Event<'r>],
    /// What the terminal had to drop.
    pub drops: &'r [Dropped<'r>],
}

impl Offer<'_> {
    /// When its events happened, its summaries were made, and something was dropped, by the terminal's clock.
    pub(super) fn times_of_others(&self) -> impl Iterator<Item = Option<i64>> {
        let events = self.events.iter().map(|event| millis(&event.t));
        let summaries = self.summaries.iter().map(|summary| summary.sample.millis());
        let drops = self.drops.iter().map(|drop| millis(&drop.t));
        events.chain(summaries).chain(drops)
    }

    /// Whether a digest stands for the batch, so that the disk may have to be asked.
    pub(super) fn has_key(&self) -> bool {
        matches!(self.mark, Ok(Mark::Key { .. } | Mark::Content(_)))
    }
}

/// What tells a batch from the other batches of its terminal, so that a resend counts once.
#[derive(Debug, Clone, Copy)]
pub enum Mark<'r> {
    /// The batch's terminal numbers its batches.
    Number {
        /// UUID of the terminal's queue.
        queue: [u8; 16],
        /// The batch's number in the queue.
        seq: u64,
        /// Stands for what the batch holds: two batches of one number should agree in it.
        content: u32,
    },
    /// The batch's sender gives each request a key.
    Key {
        /// The request's key.
        key: Key<'r>,
        /// The batch's place in the request.
        place: usize,
    },
    /// The batch's sender gives the batch no mark: its content has to tell it from others.
    Content(&'r [u8]),
}

/// A field as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// The field is not there, or null.
    #[default]
    Absent,
    /// The field is there, and of the right type.
    Is(T),
    /// The field is there, and of another type.
    Wrong,
}

impl<T> Field<T> {
    /// The value, if there is one of the right type.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Turns the field's value into another, if there is one.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Is(value) => Field::Is(of(value)),
            Self::Wrong => Field::Wrong,
        }
    }
}

impl Field<Cow<'_, str>> {
    /// Borrows the field's text.
    pub fn text(&self) -> Field<&str> {
        match self {
            Self::Absent => Field::Absent,
            Self::Is(text) => Field::Is(text),
            Self::Wrong => Field::Wrong,
        }
    }
}

/// The whole number 2^53: below it a float holds every whole number.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// A number as it came: integers keep all their digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer from 0 to 2^64 − 1.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
}

impl Number {
    /// The number as a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => to_float(value),
            Self::Float(value) => value,
        }
    }

    /// The whole number that this is, however it is written: `1`, `1.0`, `1e0`. A float from 2^53 on
    /// may stand for several.
    #[must_use]
    pub fn whole(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Float(value) => {
                let is_exact = (0.0..EXACT_BELOW).contains(&value) && value.fract() == 0.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, not negative, and below 2^53"
                )]
                is_exact.then_some(value as u64)
            }
        }
    }

    /// A time in whole milliseconds; a fraction is cut off.
    #[must_use]
    pub fn millis(self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, and is then out of range"
            )]
            Self::Float(value) => (!value.is_nan()).then_some(value as i64),
        }
    }
}

/// One value of one metric at one time.
#[derive(Debug, Default)]
pub struct Sample<'r> {
    /// Name of the metric.
    pub metric: Field<Cow<'r, str>>,
    /// Time by the terminal's clock, Unix ms.
    pub t: Field<Number>,
    /// The value, in the metric's wire unit.
    pub v: Field<Number>,
    /// The label.
    pub label: Field<Cow<'r, str>>,
    /// How the terminal was connected.
    pub connection: Field<Cow<'r, str>>,
    /// Why the sample cannot be taken, if its door knows: it counts, and is rejected.
    pub refused: Option<Reason>,
}

impl Sample<'_> {
    /// When the sample was measured, by the terminal's clock.
    pub(super) fn millis(&self) -> Option<i64> {
        millis(&self.t)
    }
}

/// A time by the terminal's clock, if it is one.
pub(super) fn millis(t: &Field<Number>) -> Option<i64> {
    t.value().copied().and_then(Number::millis)
}

/// The most bucket pairs in one histogram.
pub const BUCKETS_MAX: usize = 4_096;

/// Many values of one metric over one span.
#[derive(Debug, Default)]
pub struct Histogram<'r> {
    /// Metric, start of the span, label and connection; `v` is not used.
    pub sample: Sample<'r>,
    /// Length of the span, ms.
    pub span_ms: Field<Number>,
    /// `[bucket index, count]` pairs. Wrong when one of them is not a pair of unsigned integers.
    pub buckets: Field<Vec<(u64, u64)>>,
    /// Sum of the values, wire unit.
    pub sum: Field<Number>,
    /// Least value, wire unit.
    pub min: Field<Number>,
    /// Greatest value, wire unit.
    pub max: Field<Number>,
    /// Whether its door has made the buckets of wider ones and checked the sum against those: it is exact, and
    /// need not fit these.
    pub is_sum_checked: bool,
    /// Whether it goes on with the histogram before it, which has had too many buckets: if both are rejected,
    /// that is one.
    pub is_more: bool,
}

/// Many values of one metric that a page has summed up itself, in the metric's wire unit.
#[derive(Debug, Default)]
pub struct Summary<'r> {
    /// Metric, time and connection; `v` and the label are not used.
    pub sample: Sample<'r>,
    /// How many values there were.
    pub count: Field<Number>,
    /// Their sum.
    pub sum: Field<Number>,
    /// The least of them.
    pub min: Field<Number>,
    /// The greatest of them.
    pub max: Field<Number>,
    /// The 50th, 95th and 99th percentile, as they were sent.
    pub percentiles: [Field<Number>; 3],
}

/// Something that has happened on the terminal.
#[derive(Debug, Default)]
pub struct Event<'r> {
    /// What has happened.
    pub kind: Field<Cow<'r, str>>,
    /// Time by the terminal's clock, Unix ms.
    pub t: Field<Number>,
    /// How often it happened; once, if it does not say.
    pub count: Field<Number>,
    /// Whether the application could not go on.
    pub fatal: Field<bool>,
    /// What tells an error from others, if the terminal has made it.
    pub fingerprint: Field<Cow<'r, str>>,
    /// The name of a custom event.
    pub name: Field<Cow<'r, str>>,
    /// The kind of an error, as the label of `errors`.
    pub label: Field<Cow<'r, str>>,
    /// The type of an error.
    pub type_name: Field<Cow<'r, str>>,
    /// The message of an error, as the terminal has it.
    pub message: Field<Cow<'r, str>>,
    /// The frames of an error, innermost first.
    pub frames: Vec<Frame<'r>>,
    /// How the terminal was connected.
    pub connection: Field<Cow<'r, str>>,
    /// What `Event::scrub` has made of it, if a door has called that.
    pub scrubbed: Option<Result<Scrubbed, Reason>>,
    /// Whether the door could not read the event at all: it counts, and is rejected.
    pub malformed: bool,
}

/// The fingerprint of an error, and what is kept of it.
pub type Scrubbed = (Fingerprint, Example);

/// A function that was being carried out.
#[derive(Debug, Default)]
pub struct Frame<'r> {
    /// The function's name.
    pub function: Field<Cow<'r, str>>,
    /// The address of its script.
    pub module: Field<Cow<'r, str>>,
    /// The line in the script.
    pub line: Field<Number>,
    /// The column in the line.
    pub column: Field<Number>,
    /// Whether the door could not read the frame at all.
    pub malformed: bool,
}

/// Samples that the terminal had to drop.
#[derive(Debug, Default)]
pub struct Dropped<'r> {
    /// UUID of the queue that they were in, if their batches were numbered.
    pub queue: Field<Cow<'r, str>>,
    /// The first number that will never come.
    pub from: Field<Number>,
    /// The last number that will never come.
    pub to: Field<Number>,
    /// How many samples were dropped.
    pub samples: Field<Number>,
    /// Why they were dropped, as the label of `dropped_samples`.
    pub reason: Field<Cow<'r, str>>,
    /// Time by the terminal's clock, Unix ms.
    pub t: Field<Number>,
    /// Whether the door could not read the drop at all: it counts, and is rejected.
    pub malformed: bool,
}
