//! Collects what was wrong with a request's batches, for the answer.

use tillwatch_model::Reason;

/// Rejections named in one answer; the counts are always complete.
const REMARKS_MAX: usize = 100;

/// What was wrong, of as many batches and samples as one answer names.
#[derive(Debug, Default)]
pub struct Report {
    remarks: Vec<Remark>,
    /// Batches of a number that was taken in before with other content.
    conflicting: u64,
    /// How many parts of batches were rejected, by reason, in the order in which the reasons came up.
    parts: Vec<(Reason, u64)>,
    /// The batches that were refused whole.
    whole: Vec<(usize, Reason)>,
    /// Whether everything is named: only for whoever looks at one payload.
    is_complete: bool,
}

/// What was wrong with a batch, or with a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remark {
    /// Where it stands.
    pub place: Place,
    /// What was wrong, in a stable word.
    pub reason: &'static str,
}

/// A batch of a request, or a part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The batch's number in the request.
    pub batch: usize,
    /// Which part of the batch it is.
    pub part: Part,
}

/// A batch, or a part of it by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of the batch.
    Whole,
    /// A sample; histograms are numbered after the samples.
    Sample(usize),
    /// An event.
    Event(usize),
    /// A drop.
    Drop(usize),
}

impl Report {
    /// A report that names everything.
    pub(super) fn complete() -> Self {
        Self {
            is_complete: true,
            ..Self::default()
        }
    }

    /// Notes that something was rejected.
    pub(super) fn reject(&mut self, place: Place, reason: Reason) {
        self.push(place, reason.name());
        if place.part == Part::Whole {
            self.whole.push((place.batch, reason));
        } else if let Some((_, parts)) = self.parts.iter_mut().find(|(of, _)| *of == reason) {
            *parts += 1;
        } else {
            self.parts.push((reason, 1));
        }
    }

    /// Notes a value of the wrong type that was passed over; what it belongs to was taken in.
    pub(super) fn ignore(&mut self, place: Place, what: &'static str) {
        self.push(place, what);
    }

    /// Notes a batch that is a duplicate by its number, and not by its content.
    pub(super) fn conflict(&mut self) {
        self.conflicting += 1;
    }

    /// What was wrong, as far as the report names it.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// How many samples, histograms, events and drops were rejected, by reason: all, also those that are not named.
    #[must_use]
    pub fn rejected(&self) -> &[(Reason, u64)] {
        &self.parts
    }

    /// The batches that were refused whole, by their place in the request.
    #[must_use]
    pub fn refused(&self) -> &[(usize, Reason)] {
        &self.whole
    }

    /// How many batches have a number that was taken in before with other content.
    #[must_use]
    pub fn conflicting(&self) -> u64 {
        self.conflicting
    }

    fn push(&mut self, place: Place, reason: &'static str) {
        if self.is_complete || self.remarks.len() < REMARKS_MAX {
            self.remarks.push(Remark { place, reason });
        }
    }
}

impl Place {
    /// The place of a whole batch.
    #[must_use]
    pub fn batch(batch: usize) -> Self {
        Self {
            batch,
            part: Part::Whole,
        }
    }

    /// The place of a sample in this batch.
    pub(super) fn sample(self, sample: usize) -> Self {
        self.part(Part::Sample(sample))
    }

    /// The place of a part of this batch.
    pub(super) fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }
}
