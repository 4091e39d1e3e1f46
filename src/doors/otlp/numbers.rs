//! Gauges and sums, whose points hold one number, and summaries.

use tillwatch_model::{Kind as Summed, Reason};

use super::gather::{Known, Made, sample, timed};
use super::point::{CUMULATIVE, DELTA, Point};
use crate::intake::offer::{Field, Number};

/// A gauge tells a value: of a level, or one of a distribution.
pub(super) fn gauge<'b>(known: &Known<'b, '_>, point: &Point<'b>) -> Result<Made<'b>, Reason> {
    match timed(known, point)?.kind {
        Summed::Counter => Err(Reason::WrongInstrument),
        Summed::Level | Summed::Distribution => number(known, point),
    }
}

/// A sum tells what was added: of a counter. A cumulative one that may fall tells how much there is, so that it
/// can be a level; exporters that prefer delta send those in this way, too.
pub(super) fn sum<'b>(
    known: &Known<'b, '_>,
    point: &Point<'b>,
    temporality: u64,
    is_monotonic: bool,
) -> Result<Made<'b>, Reason> {
    let kind = known.metric.map(|metric| metric.kind);
    let is_level = kind == Some(Summed::Level);
    if is_level && temporality == CUMULATIVE && !is_monotonic {
        timed(known, point)?;
        return number(known, point);
    }
    if temporality != DELTA {
        return Err(Reason::Cumulative);
    }
    match timed(known, point)?.kind {
        Summed::Counter if is_monotonic => number(known, point),
        Summed::Counter | Summed::Level | Summed::Distribution => Err(Reason::WrongInstrument),
    }
}

/// A summary's count and sum are cumulative, as Prometheus has them, and its percentiles are of a time that it does not
/// name: added up, they would count the same values with each post.
pub(super) fn summary<'b>(_: &Known<'b, '_>, _: &Point<'b>) -> Result<Made<'b>, Reason> {
    Err(Reason::Summary)
}

/// A sample of the point's number. The intake says whether it is within the metric's range.
fn number<'b>(known: &Known<'b, '_>, point: &Point<'b>) -> Result<Made<'b>, Reason> {
    let value = point.number.ok_or(Reason::InvalidValue)?;
    let mut sample = sample(known, point);
    #[expect(
        clippy::float_cmp,
        reason = "a factor of one leaves all digits of a whole number"
    )]
    let is_same = known.factor == 1.0;
    sample.v = Field::Is(if is_same {
        value
    } else {
        Number::Float(value.as_f64() * known.factor)
    });
    Ok(Made::One(sample))
}
