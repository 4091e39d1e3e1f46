//! From what the terminal wrote to a journal record; each sample's outcome on the way.

use std::borrow::Cow;

use tillwatch_model::dimension::{INVALID_RELEASE, UNKNOWN_RELEASE, is_release};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::metric::label_code;
use tillwatch_model::time::MINUTE_MS;
use tillwatch_model::{
    BatchHeader, Browser, Catalogue, Connection, HistogramReading, Kind, Metric, Reading, Reason,
    Source, Unit,
};

use crate::intake::buckets::{Span, Summary, check_buckets};
use crate::intake::counters::Ignored;
use crate::intake::identity::Identity;
use crate::intake::offer::{Field, Histogram, Number, Offer, Sample};
use crate::intake::report::{Place, Report};
use crate::intake::request_time::RequestTime;
use crate::intake::weight;

/// What was measured so long ago, or later, is about now. Unit: ms.
const RECENT_MS: i64 = 15 * MINUTE_MS;

/// Why nothing of a batch may be stored, although it is known who posted it.
#[must_use]
pub fn refusal(batch: &Offer<'_>, time: &RequestTime) -> Option<Reason> {
    if !batch.has_consent {
        Some(Reason::NoConsent)
    } else if time.is_implausible {
        Some(Reason::ImplausibleSentAt)
    } else {
        None
    }
}

/// The day whose key makes the pseudonym of a batch's session: that of its first sample (of its first
/// histogram if it has none, then of its first event) whose time can be right, else of its arrival.
#[must_use]
pub fn session_day(batch: &Offer<'_>, time: &RequestTime) -> i32 {
    let histograms = batch.histograms.iter().map(|histogram| &histogram.sample);
    let first = batch
        .samples
        .iter()
        .chain(histograms)
        .find_map(|sample| time.corrected(sample.millis()?).ok());
    let first = first.or_else(|| {
        let mut events = batch.times_of_others().flatten();
        events.find_map(|t_ms| time.corrected(t_ms).ok())
    });
    tillwatch_model::time::day_of(first.unwrap_or(time.received_at_ms))
}

/// Whether all of a batch was measured within the last quarter of an hour, as far as its times can be read.
#[must_use]
pub fn is_recent(batch: &Offer<'_>, time: &RequestTime) -> bool {
    let histograms = batch.histograms.iter().map(|histogram| &histogram.sample);
    let mut samples = batch.samples.iter().chain(histograms);
    // What has no time, or one that cannot be right, makes no row.
    let is_recent = |t_ms: Option<i64>| {
        let corrected = t_ms.map(|t_ms| time.corrected(t_ms));
        !matches!(corrected, Some(Ok(t_ms)) if t_ms < time.received_at_ms - RECENT_MS)
    };
    samples.all(|sample| is_recent(sample.millis())) && batch.times_of_others().all(is_recent)
}

/// What is younger than this is live. Unit: ms.
const LIVE_MS: i64 = 10 * 60 * 1_000;

/// Whether a batch brings anything that was measured in the last ten minutes.
#[must_use]
pub fn is_live(batch: &Offer<'_>, time: &RequestTime) -> bool {
    let histograms = batch.histograms.iter().map(|histogram| &histogram.sample);
    let mut samples = batch.samples.iter().chain(histograms);
    let is_live = |t_ms: Option<i64>| {
        let corrected = t_ms.map(|t_ms| time.corrected(t_ms));
        matches!(corrected, Some(Ok(t_ms)) if t_ms >= time.received_at_ms - LIVE_MS)
    };
    samples.any(|sample| is_live(sample.millis())) || batch.times_of_others().any(is_live)
}

/// Writes a batch's journal record.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Who the batch is.
    pub identity: Identity<'a>,
    /// Whether people or a machine caused what was measured, as far as the batch's sender is believed.
    pub source: Source,
    /// Where the batch stands in its request.
    pub place: Place,
    /// The terminal's browser.
    pub browser: Option<Browser>,
    /// The metrics that are known.
    pub catalogue: &'a Catalogue,
    /// The request's time.
    pub time: RequestTime,
    /// Values a histogram may stand for, for each second of its span.
    pub values_per_s: u64,
}

/// The metric of the sample before, which mostly is that of the next one, too: it is looked up once for both.
#[derive(Default)]
pub(super) struct Last<'m> {
    name: &'m str,
    /// The metric, and the label that its name carries.
    found: Option<(&'m Metric, Option<&'m str>)>,
}

/// What became of a batch's samples.
#[derive(Debug)]
pub struct Written {
    /// Samples in the record.
    pub accepted: u64,
    /// Samples rejected, by reason code.
    pub rejected: [u64; Reason::CODES],
    /// Whether the release was not written as releases are.
    pub has_invalid_release: bool,
    /// Values that were passed over, by [`Ignored`].
    pub ignored: [u64; Ignored::ALL.len()],
}

impl<'a> Writer<'a> {
    /// Writes the record of a batch at the end of `buffer`, and what was wrong with it to `report`.
    pub fn write(
        &self,
        buffer: &mut Vec<u8>,
        batch: &Offer<'_>,
        session: Option<[u8; 16]>,
        report: &mut Report,
    ) -> Written {
        let header = self.header(batch, session);
        let mut written = Written {
            accepted: 0,
            rejected: [0; Reason::CODES],
            has_invalid_release: header.release == INVALID_RELEASE,
            ignored: [0; Ignored::ALL.len()],
        };
        let mut encoder = Encoder::new(buffer, &header);
        if let Some(reason) = refusal(batch, &self.time) {
            written.rejected[usize::from(reason.code())] =
                weight::of_batch(batch, self.values_per_s);
            report.reject(self.place, reason);
        } else {
            written.ignore_of_batch(batch, report, self.place);
            let mut last = Last::default();
            for (index, sample) in batch.samples.iter().enumerate() {
                let place = self.place.sample(index);
                match self.sample(sample, &mut last) {
                    Ok((reading, value)) => {
                        encoder.sample(&reading, value);
                        written.accepted += 1;
                        written.ignore_of(&sample.connection, &reading, report, place);
                    }
                    Err(reason) => written.reject(reason, 1, report, place),
                }
            }
            for (index, histogram) in batch.histograms.iter().enumerate() {
                let weight = weight::of_histogram(histogram, self.values_per_s);
                let place = self.place.sample(batch.samples.len() + index);
                match self.histogram(histogram, &mut last) {
                    Ok((reading, buckets)) => {
                        encoder.histogram(&reading, &buckets);
                        written.accepted += weight;
                        written.ignore_of(&histogram.sample.connection, &reading, report, place);
                    }
                    Err(reason) if histogram.is_more => written.reject_more(reason, weight),
                    Err(reason) => {
                        written.reject(reason, weight, report, place);
                    }
                }
            }
            if !batch.summaries.is_empty() {
                self.write_summaries(&mut encoder, batch, &mut written, report);
            }
            if !batch.events.is_empty() || !batch.drops.is_empty() {
                self.write_events(&mut encoder, batch, &mut written, report);
            }
        }
        for (code, samples) in (0_u8..)
            .zip(written.rejected)
            .filter(|(_, samples)| *samples > 0)
        {
            encoder.rejected(code, samples);
        }
        written
    }

    fn header<'b>(&self, batch: &Offer<'b>, session: Option<[u8; 16]>) -> BatchHeader<'b>
    where
        'a: 'b,
    {
        let release = match batch.release {
            Field::Absent => UNKNOWN_RELEASE,
            Field::Is(release) if is_release(release) => release,
            Field::Is(_) | Field::Wrong => INVALID_RELEASE,
        };
        let (store_id, terminal_id, queue, seq, is_keyed) = match self.identity {
            Identity::Numbered(of) => (of.store_id, of.terminal_id, of.queue, of.seq, false),
            Identity::Keyed(of) => (of.store_id, of.terminal_id, of.id, 0, true),
        };
        BatchHeader {
            received_at_ms: self.time.received_at_ms,
            offset_ms: self.time.offset_ms,
            applied_offset_ms: self.time.applied_offset_ms,
            store_id,
            terminal_id,
            queue,
            seq,
            is_keyed,
            release,
            source: self.source,
            session,
            browser: self.browser,
        }
    }

    pub(super) fn metric<'m>(
        &'m self,
        sample: &'m Sample<'_>,
        last: &mut Last<'m>,
    ) -> Result<(&'m Metric, u8), Reason> {
        if let Some(reason) = sample.refused {
            return Err(reason);
        }
        let name: &str = sample.metric.value().ok_or(Reason::UnknownMetric)?;
        if last.name != name {
            let found = self.catalogue.find(name);
            *last = Last { name, found };
        }
        let (metric, from_name) = last.found.ok_or(Reason::UnknownMetric)?;
        let given = match &sample.label {
            Field::Is(label) => Some(label.as_ref()),
            Field::Absent => from_name,
            Field::Wrong => Some(""),
        };
        let label = label_code(metric, given).map_err(|found| match found {
            None => Reason::MissingLabel,
            Some(_) => Reason::UnknownLabel,
        })?;
        Ok((metric, label))
    }

    fn sample<'m>(
        &'m self,
        sample: &'m Sample<'_>,
        last: &mut Last<'m>,
    ) -> Result<(Reading, u64), Reason> {
        let (metric, label) = self.metric(sample, last)?;
        let number = sample.v.value().ok_or(Reason::InvalidValue)?;
        let value = to_recording(number.as_f64(), metric.unit)?;
        if value > metric.value_max {
            return Err(Reason::OutOfRange);
        }
        let t_raw_ms = time_of(sample)?;
        self.time.corrected(t_raw_ms)?;
        let reading = Reading {
            metric: metric.code,
            label,
            connection: connection_of(&sample.connection),
            t_raw_ms,
        };
        Ok((reading, value))
    }

    fn histogram<'m>(
        &'m self,
        histogram: &'m Histogram<'_>,
        last: &mut Last<'m>,
    ) -> Result<(Reading, HistogramReading), Reason> {
        let sample = &histogram.sample;
        let (metric, label) = self.metric(sample, last)?;
        if metric.kind == Kind::Counter {
            return Err(Reason::NotADistribution);
        }
        let t_raw_ms = time_of(sample)?;
        let span_ms = weight::span_of(histogram).ok_or(Reason::InvalidHistogram)?;
        if t_raw_ms.rem_euclid(span_ms) != 0 {
            return Err(Reason::InvalidHistogram);
        }
        // The histogram's window is the one that holds its middle.
        self.time.corrected(t_raw_ms.saturating_add(span_ms / 2))?;
        let buckets = histogram.buckets.value().ok_or(Reason::InvalidHistogram)?;
        let wire = |field: &Field<Number>| {
            let number = field.value().ok_or(Reason::InvalidHistogram)?;
            to_recording(number.as_f64(), metric.unit)
        };
        let summary = Summary {
            sum: wire(&histogram.sum)?,
            min: wire(&histogram.min)?,
            max: wire(&histogram.max)?,
            is_sum_checked: histogram.is_sum_checked,
        };
        let reading = Reading {
            metric: metric.code,
            label,
            connection: connection_of(&sample.connection),
            t_raw_ms,
        };
        let span = Span {
            span_ms,
            values_max: weight::values_max(span_ms, self.values_per_s),
        };
        Ok((reading, check_buckets(metric, span, buckets, summary)?))
    }
}

impl Written {
    pub(super) fn reject(
        &mut self,
        reason: Reason,
        samples: u64,
        report: &mut Report,
        place: Place,
    ) {
        self.rejected[usize::from(reason.code())] += samples;
        report.reject(place, reason);
    }

    /// Counts the rest of what was rejected and reported already.
    fn reject_more(&mut self, reason: Reason, samples: u64) {
        self.rejected[usize::from(reason.code())] += samples;
    }

    /// Notes what of a batch was of the wrong type, and says so: the batch is taken in without it.
    fn ignore_of_batch(&mut self, batch: &Offer<'_>, report: &mut Report, place: Place) {
        if batch.session_id == Field::Wrong {
            self.ignored[Ignored::SessionIdType as usize] += 1;
            report.ignore(place, "ignored_session_id");
        }
        if batch.release == Field::Wrong {
            report.ignore(place, "ignored_release");
        }
    }

    /// Notes a connection that is none of those known. One of the wrong type is named, of a batch the
    /// first: there may be one in every sample.
    pub(super) fn ignore_of(
        &mut self,
        connection: &Field<Cow<'_, str>>,
        reading: &Reading,
        report: &mut Report,
        place: Place,
    ) {
        if reading.connection != Connection::Unknown {
            return;
        }
        match connection {
            Field::Absent => {}
            Field::Is(name) if *name == Connection::Unknown.name() => {}
            Field::Is(_) => self.ignored[Ignored::ConnectionUnknown as usize] += 1,
            Field::Wrong => {
                let ignored = &mut self.ignored[Ignored::ConnectionType as usize];
                if *ignored == 0 {
                    report.ignore(place, "ignored_connection");
                }
                *ignored += 1;
            }
        }
    }
}

fn time_of(sample: &Sample<'_>) -> Result<i64, Reason> {
    sample.millis().ok_or(Reason::InvalidTime)
}

pub(super) fn connection_of(connection: &Field<Cow<'_, str>>) -> Connection {
    let name = connection.value();
    name.and_then(|name| Connection::from_name(name))
        .unwrap_or(Connection::Unknown)
}

/// A wire value in the recording unit, rounded to the nearest.
fn to_recording(value: f64, unit: Unit) -> Result<u64, Reason> {
    if value.is_nan() {
        return Err(Reason::InvalidValue);
    }
    if value < 0.0 || value.is_infinite() {
        return Err(Reason::OutOfRange);
    }
    let scaled = value * tillwatch_model::metric::to_float(unit.scale());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; too large saturates and is then out of range"
    )]
    let whole = scaled as u64;
    // `f64::round` is a call into libm on x86-64.
    let is_up = scaled - tillwatch_model::metric::to_float(whole) >= 0.5;
    Ok(whole.saturating_add(u64::from(is_up)))
}
