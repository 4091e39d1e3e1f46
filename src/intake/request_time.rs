//! When a request was sent, by its terminal's clock, and what follows for the times in it.

use tillwatch_model::Reason;
use tillwatch_model::keyed::KEYED_AGE_MS_MAX;
use tillwatch_model::metric::to_float;
use tillwatch_model::time::{DAY_MS, IN_FUTURE_MS_MAX};

use crate::intake::identity::Identity;
use crate::intake::offer::{Field, Number, Offers, Sample};

/// A clock that is off by less than this is left as it is: the network may be the reason.
const OFFSET_LEAST_MS: i64 = 60_000;
/// How old a sample may be: seven days offline and one to send it all.
const AGE_MS_MAX: i64 = 8 * DAY_MS;
/// How far ahead a clock may be after correction.
const AHEAD_MS_MAX: i64 = IN_FUTURE_MS_MAX;
/// What a time in ms is multiplied by when it is written in seconds, microseconds or nanoseconds.
const OTHER_UNITS: [f64; 3] = [1e-3, 1e3, 1e6];
/// How near to now in another unit a stamp is taken for that: a clock that is right within three years.
const OTHER_UNIT_SHARE: f64 = 0.05;

/// What is known of a request's time.
#[derive(Debug, Clone, Copy)]
pub struct RequestTime {
    /// When the request's headers arrived, Unix ms.
    pub received_at_ms: i64,
    sent_at_ms: Option<i64>,
    /// Arrival less stamp; 0: the request does not say when it was sent.
    pub(super) offset_ms: i64,
    pub(super) applied_offset_ms: i64,
    /// Whether the request says when it was sent, and that cannot be.
    pub(super) is_implausible: bool,
    age_ms_max: i64,
}

impl RequestTime {
    /// Finds the correction, which follows from when the terminal says it sent the request.
    #[must_use]
    pub fn new(offers: &Offers<'_>) -> Self {
        let received_at_ms = offers.received_at_ms;
        let sent_at_ms = match offers.sent_at_ms {
            Field::Absent => Ok(None),
            Field::Wrong => Err(Implausible),
            Field::Is(stamp) => check(stamp, offers).map(Some),
        };
        let offset_ms = match sent_at_ms {
            // A measured 0 is written as 1, so that it is not taken for none.
            Ok(Some(sent_at_ms)) => match received_at_ms.saturating_sub(sent_at_ms) {
                0 => 1,
                offset_ms => offset_ms,
            },
            Ok(None) | Err(Implausible) => 0,
        };
        Self {
            received_at_ms,
            sent_at_ms: sent_at_ms.unwrap_or_default(),
            offset_ms,
            applied_offset_ms: if is_near(offset_ms) { 0 } else { offset_ms },
            is_implausible: sent_at_ms.is_err(),
            age_ms_max: AGE_MS_MAX,
        }
    }

    /// What the terminal's clock said, if it can have said so.
    #[must_use]
    pub fn sent_at_ms(&self) -> Option<i64> {
        self.sent_at_ms
    }

    /// The times for a batch of this identity: samples of a keyed one may be no older than its key.
    #[must_use]
    pub fn of(self, identity: &Identity<'_>) -> Self {
        Self {
            age_ms_max: match identity {
                Identity::Numbered(_) => AGE_MS_MAX,
                Identity::Keyed(_) => KEYED_AGE_MS_MAX,
            },
            ..self
        }
    }

    /// Corrects a time, if the result is one that is taken in.
    pub(super) fn corrected(&self, t_ms: i64) -> Result<i64, Reason> {
        let corrected = t_ms.saturating_add(self.applied_offset_ms);
        if corrected < self.received_at_ms - self.age_ms_max {
            Err(Reason::TooOld)
        } else if corrected > self.received_at_ms + AHEAD_MS_MAX {
            Err(Reason::InFuture)
        } else {
            Ok(corrected)
        }
    }
}

/// No clock that measured what the request holds can have shown this stamp when it was sent.
#[derive(Debug, Clone, Copy)]
struct Implausible;

/// A stamp in whole milliseconds, if it can be one. However far off it is, it can; but not in another
/// unit, and not if all that the request holds was measured long before it or after it: then it is older
/// than the process that sends it, or of another clock.
fn check(stamp: Number, offers: &Offers<'_>) -> Result<i64, Implausible> {
    let received_at_ms = offers.received_at_ms;
    let sent_at_ms = stamp.millis().filter(|_| stamp.as_f64().is_finite());
    let sent_at_ms = sent_at_ms.ok_or(Implausible)?;
    // A stamp so near to now corrects nothing.
    if is_near(received_at_ms.saturating_sub(sent_at_ms)) {
        return Ok(sent_at_ms);
    }
    let now = to_float(received_at_ms.max(0).cast_unsigned());
    let is_in = |unit: f64| (stamp.as_f64() - now * unit).abs() <= OTHER_UNIT_SHARE * now * unit;
    if OTHER_UNITS.into_iter().any(is_in) {
        return Err(Implausible);
    }
    let earliest = sent_at_ms.saturating_sub(AGE_MS_MAX);
    let latest = sent_at_ms.saturating_add(AHEAD_MS_MAX);
    let mut has_times = false;
    let mut fits = |(from_ms, to_ms): (i64, i64)| {
        has_times = true;
        from_ms <= latest && to_ms >= earliest
    };
    let fits = offers.batches.iter().any(|batch| {
        let mut samples = batch.samples.iter().filter_map(Sample::millis);
        samples.any(|t_ms| fits((t_ms, t_ms)))
            || batch.histograms.iter().any(|histogram| {
                let span_ms = histogram.span_ms.value().copied().and_then(Number::millis);
                let span_ms = span_ms.unwrap_or(0).max(0);
                let from_ms = histogram.sample.millis();
                from_ms.is_some_and(|from_ms| fits((from_ms, from_ms.saturating_add(span_ms))))
            })
            || batch
                .times_of_others()
                .flatten()
                .any(|t_ms| fits((t_ms, t_ms)))
    });
    // A request without a time in it has nothing that speaks against the stamp.
    (fits || !has_times)
        .then_some(sent_at_ms)
        .ok_or(Implausible)
}

fn is_near(offset_ms: i64) -> bool {
    offset_ms.saturating_abs() <= OFFSET_LEAST_MS
}

#[cfg(test)]
mod tests {
    use tillwatch_model::Source;

    use super::*;
    use crate::intake::offer::{Histogram, Offer};

    const NOW_MS: i64 = 1_763_683_200_000;

    /// Judges a stamp on a request whose second batch holds samples, and whose first one histograms.
    fn judged(
        sent_at_ms: Field<Number>,
        times: &[Field<Number>],
        histograms: &[Histogram<'_>],
    ) -> RequestTime {
        let sample = |t: &Field<Number>| Sample {
            t: *t,
            ..Sample::default()
        };
        let samples: Vec<_> = times.iter().map(sample).collect();
        let offer = Offer {
            unreadable: None,
            store_id: None,
            terminal_id: None,
            mark: Err(Reason::InvalidSeq),
            release: Field::Absent,
            source: Source::Rum,
            has_consent: true,
            session_id: Field::Absent,
            samples: &samples,
            histograms: &[],
            summaries: &[],
            events: &[],
            drops: &[],
        };
        let first = Offer {
            samples: &[],
            histograms,
            ..offer
        };
        RequestTime::new(&Offers {
            received_at_ms: NOW_MS,
            sent_at_ms,
            class: crate::intake::limits::Class::Live,
            browser: None,
            batches: &[first, offer],
            watched: None,
        })
    }

    fn at(ms: i64) -> Field<Number> {
        Field::Is(u64::try_from(ms).map_or(Number::Float(-1.0), Number::Unsigned))
    }

    fn float(ms: f64) -> Field<Number> {
        Field::Is(Number::Float(ms))
    }

    #[test]
    fn a_stamp_of_any_clock_is_believed_and_one_of_no_clock_is_not() {
        let year = 365 * DAY_MS;
        let old = NOW_MS - 10 * year;
        let now = to_float(NOW_MS.cast_unsigned());
        #[rustfmt::skip]
        let cases = [
            ("absent", Field::Absent, vec![at(NOW_MS)], Some(0)),
            ("now", at(NOW_MS), vec![at(NOW_MS)], Some(1)),
            ("a flat battery", at(old), vec![at(old - 5)], Some(10 * year)),
            ("ahead", at(NOW_MS + year), vec![at(NOW_MS + year)], Some(-year)),
            ("as a float", float(now - 7e6), vec![at(NOW_MS - 7_000_000)], Some(7_000_000)),
            ("without a sample", at(old), vec![], Some(10 * year)),
            ("without a time", at(old), vec![Field::Wrong, Field::Absent, float(f64::NAN)], Some(10 * year)),
            ("one of two fits", at(old), vec![at(NOW_MS), at(old - 8 * DAY_MS)], Some(10 * year)),
            ("before 1970", float(-5_000.0), vec![float(-6_000.0)], Some(NOW_MS + 5_000)),
            // Nothing would be corrected: what is in it is too old, and is told so.
            ("right, and all else old", at(NOW_MS - 60_000), vec![at(old)], Some(60_000)),
            ("of the wrong type", Field::Wrong, vec![at(NOW_MS)], None),
            ("no number", float(f64::NAN), vec![at(NOW_MS)], None),
            ("infinite", float(f64::INFINITY), vec![], None),
            ("in seconds", at(NOW_MS / 1_000), vec![at(NOW_MS / 1_000)], None),
            ("in seconds, with a fraction", float(now / 1e3), vec![float(now / 1e3)], None),
            ("in seconds, nearly", at(NOW_MS / 1_000 / 100 * 96), vec![], None),
            ("in microseconds", at(NOW_MS * 1_000), vec![at(NOW_MS * 1_000)], None),
            ("in nanoseconds", at(NOW_MS * 1_000_000), vec![at(NOW_MS * 1_000_000)], None),
            ("far from seconds", at(NOW_MS / 1_000 / 100 * 94), vec![], Some(NOW_MS - NOW_MS / 1_000 / 100 * 94)),
            ("long before all", at(old), vec![at(old + AHEAD_MS_MAX + 1)], None),
            ("long after all", at(NOW_MS + year), vec![at(NOW_MS + year - AGE_MS_MAX - 1)], None),
        ];
        for (name, stamp, samples, expected) in cases {
            let time = judged(stamp, &samples, &[]);
            assert_eq!(time.is_implausible, expected.is_none(), "{name}");
            assert_eq!(time.offset_ms, expected.unwrap_or(0), "{name}");
        }
    }

    #[test]
    fn a_histogram_speaks_for_a_stamp_by_its_span() {
        let request = |from_ms: i64, span_ms: i64| {
            let histogram = Histogram {
                sample: Sample {
                    t: at(from_ms),
                    ..Sample::default()
                },
                span_ms: at(span_ms),
                ..Histogram::default()
            };
            judged(at(NOW_MS - DAY_MS), &[], &[histogram]).is_implausible
        };
        let hour = 3_600_000;
        let earliest = NOW_MS - DAY_MS - AGE_MS_MAX;
        assert!(!request(earliest - hour, hour) && request(earliest - hour - 1, hour));
        let latest = NOW_MS - DAY_MS + AHEAD_MS_MAX;
        assert!(!request(latest, hour) && request(latest + 1, hour));
    }
}
