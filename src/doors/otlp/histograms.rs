//! From OTLP's histograms to ours.
//!
//! A bucket of the sender says how many values lie between two bounds. All of them are counted in the one bucket of
//! ours that holds a *representative* between the bounds, or between the least and the greatest value where these
//! are closer. Count, sum, least and greatest value stay exact; percentiles are off by what a value in a bucket can
//! be away from the representative:
//!
//! - Of exponential buckets the representative is the geometric middle, which is at most √base − 1 from any value
//!   in the bucket, with base = 2^(2^-scale).
//! - Of explicit buckets it lies at the same share of each bucket's width, so chosen that the representatives add up
//!   to the sum.

use tillwatch_model::histogram::{bucket_index, bucket_lowest};
use tillwatch_model::metric::to_float;
use tillwatch_model::{Kind as Summed, Metric, Reason};

use super::gather::{Known, Made, NS_IN_MS, sample, timed};
use super::numbers;
use super::point::{DELTA, Explicit, Exponential, Point, Spread};
use super::window::window;
use crate::intake::offer::{BUCKETS_MAX, Field, Histogram, Number};

/// How far bounds, sum, least and greatest value may contradict one another, as a share: they were computed in floats.
const SLACK: f64 = 1e-6;
/// Scales of exponential histograms that are understood: those of the specification for SDKs.
const SCALES: std::ops::RangeInclusive<i64> = -10..=20;

/// So many values between two bounds, in the unit of the instrument.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    low: f64,
    high: f64,
    count: u64,
}

/// A histogram whose sender has chosen the bounds.
pub(super) fn explicit<'b>(
    known: &Known<'b, '_>,
    point: &Point<'b>,
    temporality: u64,
) -> Result<Made<'b>, Reason> {
    let Explicit { bounds, counts } = &point.explicit;
    if counts.is_empty() && bounds.is_empty() && point.spread.count > 0 {
        // Without buckets it says no more than a summary without percentiles.
        return numbers::summary(known, point);
    }
    let metric = of_distribution(known, point, temporality)?;
    let ascends = bounds.iter().all(|bound| !bound.is_nan())
        && bounds.is_sorted_by(|lower, upper| lower < upper);
    if !ascends || (counts.len() != bounds.len() + 1 && !counts.is_empty()) {
        return Err(Reason::InvalidHistogram);
    }
    let lows = std::iter::once(f64::NEG_INFINITY).chain(bounds.iter().copied());
    let highs = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets = lows.zip(highs).zip(counts);
    let buckets = buckets.map(|((low, high), count)| Bucket {
        low,
        high,
        count: *count,
    });
    let last = bounds.last().copied().unwrap_or(0.0);
    let clipped = Clipped::new(buckets, &point.spread)?;
    let share = clipped.share(last);
    let middle = |low: f64, high: f64| {
        let high = if high.is_infinite() {
            share.last_high
        } else {
            high
        };
        low + share.of_width * (high - low)
    };
    made(known, point, metric, &clipped, middle)
}

/// A histogram whose bounds are powers.
pub(super) fn exponential<'b>(
    known: &Known<'b, '_>,
    point: &Point<'b>,
    temporality: u64,
) -> Result<Made<'b>, Reason> {
    let metric = of_distribution(known, point, temporality)?;
    let Exponential {
        scale,
        zero_count,
        zero_threshold,
        positive,
        negative,
    } = &point.exponential;
    if negative.counts.iter().any(|count| *count > 0) {
        return Err(Reason::OutOfRange);
    }
    if !SCALES.contains(scale) || !(0.0..f64::INFINITY).contains(zero_threshold) {
        return Err(Reason::InvalidHistogram);
    }
    // OTLP has it in 32 bits.
    let offset = i32::try_from(positive.offset).map_err(|_too_far| Reason::InvalidHistogram)?;
    // 2^-scale is exact, and so is its product with any index up to 2^53.
    let step = (-to_signed(*scale)).exp2();
    let zeroes = Bucket {
        low: 0.0,
        high: *zero_threshold,
        count: *zero_count,
    };
    let powers = positive.counts.iter().zip(i64::from(offset)..);
    let powers = powers.map(|(count, index)| Bucket {
        low: (to_signed(index) * step).exp2().max(*zero_threshold),
        high: (to_signed(index.saturating_add(1)) * step).exp2(),
        count: *count,
    });
    let buckets = std::iter::once(zeroes).chain(powers);
    let clipped = Clipped::new(buckets, &point.spread)?;
    made(known, point, metric, &clipped, |low, high| {
        low.sqrt() * high.sqrt()
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a scale, or an index of 32 bits"
)]
fn to_signed(value: i64) -> f64 {
    value as f64
}

/// The metric, if a histogram can be of it.
fn of_distribution<'c>(
    known: &Known<'_, 'c>,
    point: &Point<'_>,
    temporality: u64,
) -> Result<&'c Metric, Reason> {
    if temporality != DELTA {
        return Err(Reason::Cumulative);
    }
    let metric = timed(known, point)?;
    if metric.kind == Summed::Counter {
        return Err(Reason::NotADistribution);
    }
    Ok(metric)
}

/// Buckets that hold something, cut off at the least and the greatest value, and what they can add up to.
struct Clipped<I> {
    buckets: I,
    spread: Spread,
    /// The sums if all values were at the lower bounds, or at the upper ones.
    sums: (f64, f64),
    /// The last bucket.
    last: Bucket,
}

/// Where explicit buckets are represented.
#[derive(Debug, Clone, Copy)]
struct Share {
    of_width: f64,
    /// The upper bound of the bucket that has none.
    last_high: f64,
}

impl<I: Iterator<Item = Bucket> + Clone> Clipped<I> {
    fn new(buckets: I, spread: &Spread) -> Result<Self, Reason> {
        let given = [spread.sum, spread.min, spread.max];
        let mut given = given.into_iter().flatten();
        if given.clone().any(|value| !value.is_finite()) {
            return Err(Reason::InvalidHistogram);
        }
        if given.any(|value| value < 0.0) {
            return Err(Reason::OutOfRange);
        }
        let mut clipped = Self {
            buckets,
            spread: *spread,
            sums: (0.0, 0.0),
            last: Bucket {
                low: 0.0,
                high: 0.0,
                count: 0,
            },
        };
        let mut count: u64 = 0;
        let (mut least, mut most) = (0.0, 0.0);
        for bucket in clipped.held() {
            let bucket = bucket?;
            if count == 0
                && spread
                    .min
                    .is_some_and(|min| min > bucket.high * (1.0 + SLACK))
            {
                return Err(Reason::InvalidHistogram);
            }
            count = count
                .checked_add(bucket.count)
                .ok_or(Reason::InvalidHistogram)?;
            least += bucket.low * to_float(bucket.count);
            most += bucket.high * to_float(bucket.count);
            clipped.last = bucket;
        }
        (clipped.sums.0, clipped.sums.1) = (least, most);
        let sum_fits = spread.sum.is_none_or(|sum| {
            sum >= least * (1.0 - SLACK) && sum <= most * (1.0 + SLACK) + f64::MIN_POSITIVE
        });
        if count != spread.count || !sum_fits {
            return Err(Reason::InvalidHistogram);
        }
        Ok(clipped)
    }

    /// The buckets that hold something. One that lies below the least value, or above the greatest, is an error.
    fn held(&self) -> impl Iterator<Item = Result<Bucket, Reason>> + use<I> {
        let Spread { min, max, .. } = self.spread;
        let (min, max) = (min.unwrap_or(0.0), max.unwrap_or(f64::INFINITY));
        let held = self.buckets.clone().filter(|bucket| bucket.count > 0);
        held.map(move |Bucket { low, high, count }| {
            if high < 0.0 {
                return Err(Reason::OutOfRange);
            }
            let (low, high) = (low.max(min), high.min(max));
            if low > high * (1.0 + SLACK) {
                return Err(Reason::InvalidHistogram);
            }
            Ok(Bucket {
                low: low.min(high),
                high,
                count,
            })
        })
    }

    /// The share of the buckets' widths at which the values would have the sum that they have.
    fn share(&self, last_bound: f64) -> Share {
        let (least, mut most) = self.sums;
        let mut last_high = last_bound;
        if self.last.high.is_infinite() {
            // Nothing says how far it goes. It goes as far as the sum can have it.
            let count = to_float(self.last.count);
            let others = least - self.last.low * count;
            last_high = self
                .spread
                .sum
                .map_or(last_bound, |sum| (sum - others) / count);
            last_high = last_high.max(self.last.low);
            let below = self
                .held()
                .flatten()
                .filter(|bucket| bucket.high.is_finite());
            most = below
                .map(|bucket| bucket.high * to_float(bucket.count))
                .sum();
            most += last_high * count;
        }
        let of_width = match self.spread.sum {
            Some(sum) if most > least => ((sum - least) / (most - least)).clamp(0.0, 1.0),
            _ => 0.5,
        };
        Share {
            of_width,
            last_high,
        }
    }
}

/// Values by our buckets, ascending.
struct Pairs {
    pairs: Vec<(u64, u64)>,
    /// What a value is multiplied by, and the most that it may be then.
    to_recording: f64,
    value_max: u64,
    /// The least and the greatest value, in the recording unit.
    ends: Option<(u64, u64)>,
}

impl Pairs {
    fn add(&mut self, value: f64, count: u64) -> Result<(), Reason> {
        let scaled = (value * self.to_recording).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; what is too large saturates and is out of range"
        )]
        let value = scaled as u64;
        if value > self.value_max {
            return Err(Reason::OutOfRange);
        }
        if count == 0 {
            return Ok(());
        }
        let (least, greatest) = self.ends.unwrap_or((value, value));
        let value = value.max(greatest);
        self.ends = Some((least, value));
        let index = u64::from(bucket_index(value));
        match self.pairs.last_mut() {
            Some((last, counted)) if *last == index => *counted = counted.saturating_add(count),
            _ => self.pairs.push((index, count)),
        }
        Ok(())
    }
}

/// Makes offers of buckets that are represented by `middle` of their bounds.
fn made<'b, I: Iterator<Item = Bucket> + Clone>(
    known: &Known<'b, '_>,
    point: &Point<'b>,
    metric: &Metric,
    clipped: &Clipped<I>,
    middle: impl Fn(f64, f64) -> f64,
) -> Result<Made<'b>, Reason> {
    let spread = clipped.spread;
    if spread.count == 0 {
        return Ok(Made::Nothing);
    }
    let (t_ms, span_ms) = window(point.start_ns / NS_IN_MS, point.time_ns / NS_IN_MS)?;
    let scale = to_float(metric.unit.scale());
    let mut pairs = Pairs {
        pairs: Vec::new(),
        to_recording: known.factor * scale,
        value_max: metric.value_max,
        ends: None,
    };
    let (mut counted, mut sum) = (0, 0.0);
    for bucket in clipped.held() {
        let Bucket {
            low,
            high,
            mut count,
        } = bucket?;
        // One value is known for sure to be the least, another one to be the greatest.
        if let Some(min) = spread.min.filter(|_| counted == 0) {
            pairs.add(min, 1)?;
            count -= 1;
            counted += 1;
        }
        counted += count;
        let greatest = spread.max.filter(|_| counted == spread.count && count > 0);
        count -= u64::from(greatest.is_some());
        let representative = middle(low, high);
        pairs.add(representative, count)?;
        sum += representative * to_float(bucket?.count);
        if let Some(max) = greatest {
            pairs.add(max, 1)?;
        }
    }
    let (least, greatest) = pairs.ends.ok_or(Reason::InvalidHistogram)?;
    let sum = spread.sum.unwrap_or(sum) * known.factor;
    let mut offers = Vec::with_capacity(pairs.pairs.len().div_ceil(BUCKETS_MAX));
    let mut sum_left = sum;
    let parts = pairs.pairs.chunks(BUCKETS_MAX).len();
    for (number, part) in pairs.pairs.chunks(BUCKETS_MAX).enumerate() {
        let is_last = number + 1 == parts;
        let edge = |pair: Option<&(u64, u64)>| {
            let index = pair.and_then(|(index, _)| u32::try_from(*index).ok());
            index.map_or(0, bucket_lowest)
        };
        let own: f64 = part
            .iter()
            .map(|pair| metric.unit.to_wire(edge(Some(pair))) * to_float(pair.1))
            .sum();
        let own = if is_last { sum_left.max(0.0) } else { own };
        sum_left -= own;
        let min = if number == 0 {
            least
        } else {
            edge(part.first())
        };
        let max = if is_last { greatest } else { edge(part.last()) };
        let wire = |recorded: u64| Field::Is(Number::Float(metric.unit.to_wire(recorded)));
        let mut sample = sample(known, point);
        sample.t = Field::Is(Number::Unsigned(t_ms));
        offers.push(Histogram {
            sample,
            span_ms: Field::Is(Number::Unsigned(span_ms)),
            buckets: Field::Is(part.to_vec()),
            sum: Field::Is(Number::Float(own)),
            min: wire(min),
            max: wire(max),
            is_sum_checked: true,
            is_more: number > 0,
        });
    }
    Ok(Made::Many(offers))
}
