//! From data points to the batches of the terminals that they name.

use std::borrow::Cow;
use std::collections::HashMap;

use tillwatch_model::{Metric, Reason};

use super::histograms;
use super::numbers;
use super::point::{Attributes, Instrument, Kind, NO_RECORDED_VALUE, Point};
use crate::doors::foreign::{Batch, Names};
use crate::doors::refusal::Refusal;
use crate::intake::offer::{Field, Histogram, Number, Sample};
use crate::mapping::{Lookup, Meaning};

/// Nanoseconds in a millisecond.
pub(super) const NS_IN_MS: u64 = 1_000_000;
/// Names of instruments that an answer repeats are cut to this. Unit: characters.
const NAME_SHOWN_MAX: usize = 80;

/// The most that one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Terminals, releases and sessions, each with another than counts anew.
    pub batches_max: usize,
    /// Data points.
    pub points_max: usize,
}

/// What was read of a request.
#[derive(Debug, Default)]
pub struct Gathered<'b> {
    /// A batch for each store, terminal, release, session and consent.
    pub batches: Vec<Batch<'b>>,
    /// What the answer needs to know of them.
    pub tally: Tally,
}

/// What an answer says of a request beside the receipt.
#[derive(Debug, Default)]
pub struct Tally {
    /// All data points.
    pub points: usize,
    /// Data points of each batch.
    pub points_of: Vec<u64>,
    /// The first instrument that is no metric's.
    pub unknown: Option<String>,
}

/// Takes so many bytes of memory, if there are any left.
pub(super) type Take<'c> = dyn FnMut(usize) -> Result<(), Refusal> + 'c;

/// Gathers a request's points.
pub(super) struct Gather<'b, 'c> {
    lookup: Lookup<'c>,
    limits: Limits,
    space: &'c mut Take<'c>,
    gathered: Gathered<'b>,
    places: HashMap<Names<'b>, usize, foldhash::fast::RandomState>,
}

/// Who the points of a resource or of a scope are of, if they do not say something else themselves.
#[derive(Debug, Default)]
pub(super) struct Scope<'b> {
    names: Batch<'b>,
    /// The place of its batch, once it has one.
    place: Option<usize>,
}

impl<'b> Scope<'b> {
    /// A part of it that says this of itself.
    pub(super) fn within(&self, attributes: &Attributes<'b>) -> Self {
        let mut names = Batch::default();
        for (key, value) in attributes.iter() {
            names.name(key, value.clone());
        }
        names.inherit(&self.names);
        Self { names, place: None }
    }
}

/// An instrument, and the metric that its name is one of.
#[derive(Debug)]
pub(super) struct Known<'b, 'c> {
    instrument: Instrument<'b>,
    pub(super) metric: Option<&'c Metric>,
    meaning: Option<Meaning<'c>>,
    /// What its values are multiplied by.
    pub(super) factor: f64,
}

impl Known<'_, '_> {
    pub(super) fn kind(&self) -> Kind {
        self.instrument.kind
    }
}

/// What becomes of a point.
pub(super) enum Made<'b> {
    /// It holds no value.
    Nothing,
    One(Sample<'b>),
    Many(Vec<Histogram<'b>>),
}

impl<'b, 'c> Gather<'b, 'c> {
    pub(super) fn new(lookup: Lookup<'c>, limits: Limits, space: &'c mut Take<'c>) -> Self {
        Self {
            lookup,
            limits,
            space,
            gathered: Gathered::default(),
            places: HashMap::default(),
        }
    }

    pub(super) fn gathered(self) -> Gathered<'b> {
        self.gathered
    }

    /// Looks an instrument up.
    pub(super) fn instrument(&mut self, instrument: Instrument<'b>) -> Known<'b, 'c> {
        let meaning = self.lookup.find(&instrument.name);
        let metric = meaning.as_ref().map(|meaning| meaning.metric);
        let factor = meaning
            .as_ref()
            .map_or(1.0, |meaning| meaning.factor(&instrument.unit));
        if metric.is_none() && self.gathered.tally.unknown.is_none() {
            let name = instrument.name.chars().take(NAME_SHOWN_MAX).collect();
            self.gathered.tally.unknown = Some(name);
        }
        Known {
            instrument,
            metric,
            meaning,
            factor,
        }
    }

    /// Takes a data point into the batch of whom it names.
    pub(super) fn point(
        &mut self,
        scope: &mut Scope<'b>,
        known: &Known<'b, '_>,
        point: &Point<'b>,
    ) -> Result<(), Refusal> {
        let tally = &mut self.gathered.tally;
        tally.points += 1;
        if tally.points > self.limits.points_max {
            return Err(Refusal::TooManySamples(self.limits.points_max));
        }
        let made = made(known, point);
        if matches!(made, Made::Nothing) {
            return Ok(());
        }
        let place = self.place(scope, &point.attributes)?;
        let Gathered { batches, tally } = &mut self.gathered;
        let (Some(batch), Some(points)) = (batches.get_mut(place), tally.points_of.get_mut(place))
        else {
            return Ok(());
        };
        *points += 1;
        // Twice: a vector that grows holds the old one and the new one for a while.
        match made {
            Made::Nothing => {}
            Made::One(sample) => {
                (self.space)(2 * size_of::<Sample<'_>>())?;
                batch.samples.push(sample);
            }
            Made::Many(histograms) => {
                for histogram in histograms {
                    let pairs = histogram.buckets.value().map_or(0, Vec::capacity);
                    let bytes = 2 * size_of::<Histogram<'_>>() + pairs * size_of::<(u64, u64)>();
                    (self.space)(bytes)?;
                    batch.histograms.push(histogram);
                }
            }
        }
        Ok(())
    }

    /// The place of the batch that a point with these attributes belongs to.
    fn place(&mut self, scope: &mut Scope<'b>, own: &Attributes<'b>) -> Result<usize, Refusal> {
        let mut names = Batch::default();
        let mut has_own = false;
        for (key, value) in own.iter() {
            has_own |= names.name(key, value.clone());
        }
        if has_own {
            names.inherit(&scope.names);
            return self.place_of(names);
        }
        if let Some(place) = scope.place {
            return Ok(place);
        }
        names.inherit(&scope.names);
        let place = self.place_of(names)?;
        scope.place = Some(place);
        Ok(place)
    }

    fn place_of(&mut self, names: Batch<'b>) -> Result<usize, Refusal> {
        let key = names.names();
        if let Some(place) = self.places.get(&key) {
            return Ok(*place);
        }
        let place = self.gathered.batches.len();
        if place >= self.limits.batches_max {
            return Err(Refusal::TooManyBatches(self.limits.batches_max));
        }
        (self.space)(4 * size_of::<Batch<'_>>())?;
        self.places.insert(key, place);
        self.gathered.batches.push(names);
        self.gathered.tally.points_of.push(0);
        Ok(place)
    }
}

/// What a point becomes. One that cannot be taken still becomes a sample, so that it is counted.
fn made<'b>(known: &Known<'b, '_>, point: &Point<'b>) -> Made<'b> {
    if point.flags & NO_RECORDED_VALUE != 0 {
        return Made::Nothing;
    }
    let Instrument {
        kind,
        temporality,
        is_monotonic,
        ..
    } = known.instrument;
    let made = match kind {
        Kind::Gauge => numbers::gauge(known, point),
        Kind::Sum => numbers::sum(known, point, temporality, is_monotonic),
        Kind::Histogram => histograms::explicit(known, point, temporality),
        Kind::Exponential => histograms::exponential(known, point, temporality),
        Kind::Summary => numbers::summary(known, point),
    };
    made.unwrap_or_else(|reason| {
        let mut sample = sample(known, point);
        sample.refused = Some(reason);
        Made::One(sample)
    })
}

/// A point's metric, time, label and connection. What has no metric keeps the name that it has.
pub(super) fn sample<'b>(known: &Known<'b, '_>, point: &Point<'b>) -> Sample<'b> {
    let name = known.metric.map_or_else(
        || known.instrument.name.clone(),
        |metric| Cow::Borrowed(metric.name),
    );
    let meaning = known.meaning.as_ref();
    let attributes = &point.attributes;
    let said = |key: &str| attributes.get(key).cloned();
    let field = |text: Option<Cow<'b, str>>| text.map_or(Field::Absent, Field::Is);
    let key = known
        .metric
        .and_then(|metric| metric.label)
        .map(|label| label.key);
    let of_name = meaning.and_then(|meaning| meaning.label.clone());
    let label = meaning
        .and_then(|meaning| meaning.label_of(said))
        .or_else(|| said("label"))
        .or_else(|| said(key?))
        .or_else(|| of_name.map(Cow::Owned));
    let connection = meaning
        .and_then(Meaning::connection_from)
        .and_then(said)
        .or_else(|| said("connection"));
    Sample {
        metric: Field::Is(name),
        t: Field::Is(Number::Unsigned(point.time_ns / NS_IN_MS)),
        v: Field::Absent,
        label: field(label),
        connection: field(connection),
        refused: None,
    }
}

/// The metric of an instrument whose point has a time.
pub(super) fn timed<'c>(known: &Known<'_, 'c>, point: &Point<'_>) -> Result<&'c Metric, Reason> {
    let metric = known.metric.ok_or(Reason::UnknownMetric)?;
    // OTLP: consumers should reject what has no time.
    if point.time_ns == 0 {
        return Err(Reason::InvalidTime);
    }
    Ok(metric)
}
