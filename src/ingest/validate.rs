//! From what the terminal wrote to a journal record; each sample's outcome on the way.

use tillwatch_model::dimension::{INVALID_RELEASE, UNKNOWN_RELEASE, is_identifier, is_release};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::metric::label_code;
use tillwatch_model::{
    BatchHeader, Catalogue, Connection, HistogramReading, Kind, Metric, Reading, Reason, Source,
    Unit,
};

use crate::ingest::buckets::check_buckets;
use crate::ingest::counters::Ignored;
use crate::ingest::dedup::Identity;
use crate::ingest::keys::Key;
use crate::ingest::request_time::{RequestTime, millis_of};
use crate::ingest::respond::Report;
use crate::ingest::weight;
use crate::wire::terminal_v1::{Batch, Field, Histogram, Number, Sample};

/// Who posts a batch. One without queue and number is known by the request's key, if it has one, and by
/// its place in the request.
///
/// # Errors
/// The reason for refusing it whole.
pub fn identify<'a>(
    batch: &'a Batch<'_>,
    (key, place): (Option<Key<'_>>, usize),
) -> Result<Identity<'a>, Reason> {
    if batch.malformed {
        return Err(Reason::MalformedBatch);
    }
    if batch.v.value().and_then(|version| version.whole()) != Some(1) {
        return Err(Reason::UnsupportedVersion);
    }
    let identifier = |field: &'a Field<std::borrow::Cow<'_, str>>, reason| {
        let text = field.value().map(AsRef::as_ref);
        text.filter(|text| is_identifier(text)).ok_or(reason)
    };
    let store_id = identifier(&batch.store_id, Reason::InvalidStoreId)?;
    let terminal_id = identifier(&batch.terminal_id, Reason::InvalidTerminalId)?;
    if let (Some(key), Field::Absent, Field::Absent) = (key, &batch.queue, &batch.seq) {
        source(batch)?;
        return Ok(Identity {
            store_id,
            terminal_id,
            queue: key.id(store_id, terminal_id, place),
            seq: 0,
            content: batch.content,
            is_keyed: true,
        });
    }
    let queue = batch
        .queue
        .value()
        .and_then(|text| uuid::Uuid::try_parse(text).ok());
    let seq = batch.seq.value().and_then(|number| number.whole());
    let seq = seq.ok_or(Reason::InvalidSeq)?;
    source(batch)?;
    Ok(Identity {
        store_id,
        terminal_id,
        queue: queue.ok_or(Reason::InvalidQueue)?.into_bytes(),
        seq,
        content: batch.content,
        is_keyed: false,
    })
}

fn source(batch: &Batch<'_>) -> Result<Source, Reason> {
    match &batch.source {
        Field::Absent => Ok(Source::Rum),
        Field::Is(name) => Source::from_name(name).ok_or(Reason::InvalidSource),
        Field::Wrong => Err(Reason::InvalidSource),
    }
}

/// Why nothing of a batch may be stored, although it is known who posted it.
#[must_use]
pub fn refusal(batch: &Batch<'_>, time: &RequestTime) -> Option<Reason> {
    if batch.consent.value() != Some(&true) {
        Some(Reason::NoConsent)
    } else if time.is_implausible {
        Some(Reason::ImplausibleSentAt)
    } else {
        None
    }
}

/// The day whose key makes the pseudonym of a batch's session: that of its first sample (of its first
/// histogram if it has none) whose time can be right, else of its arrival.
#[must_use]
pub fn session_day(batch: &Batch<'_>, time: &RequestTime) -> i32 {
    let histograms = batch.histograms.iter().map(|histogram| &histogram.sample);
    let first = batch
        .samples
        .iter()
        .chain(histograms)
        .find_map(|sample| time.corrected(millis_of(sample)?).ok());
    tillwatch_model::time::day_of(first.unwrap_or(time.received_at_ms))
}

/// Writes a batch's journal record.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The metrics that are known.
    pub catalogue: &'a Catalogue,
    /// The request's time.
    pub time: RequestTime,
    /// Values a histogram may stand for, for each second of its span.
    pub values_per_s: u64,
}

/// The metric of the sample before, which mostly is that of the next one, too: it is looked up once for both.
#[derive(Default)]
struct Last<'m> {
    name: &'m str,
    /// It, and the label that its name carries.
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

impl Writer<'_> {
    /// Writes the record of a batch at the end of `buffer`, and what was wrong with it to `report`.
    pub fn write(
        &self,
        buffer: &mut Vec<u8>,
        (batch, identity): (&Batch<'_>, Identity<'_>),
        session: Option<[u8; 16]>,
        (report, batch_index): (&mut Report, usize),
    ) -> Written {
        let release = batch.release.value().map(AsRef::as_ref);
        let release = match (&batch.release, release) {
            (Field::Absent, _) => UNKNOWN_RELEASE,
            (_, Some(release)) if is_release(release) => release,
            _ => INVALID_RELEASE,
        };
        let header = BatchHeader {
            received_at_ms: self.time.received_at_ms,
            offset_ms: self.time.offset_ms,
            applied_offset_ms: self.time.applied_offset_ms,
            store_id: identity.store_id,
            terminal_id: identity.terminal_id,
            queue: identity.queue,
            seq: identity.seq,
            is_keyed: identity.is_keyed,
            release,
            source: source(batch).unwrap_or(Source::Rum),
            session,
        };
        let mut written = Written {
            accepted: 0,
            rejected: [0; Reason::CODES],
            has_invalid_release: release == INVALID_RELEASE,
            ignored: [0; Ignored::ALL.len()],
        };
        let mut encoder = Encoder::new(buffer, &header);
        if let Some(reason) = refusal(batch, &self.time) {
            written.rejected[usize::from(reason.code())] =
                weight::of_batch(batch, self.values_per_s);
            report.whole_batch(batch_index, reason);
        } else {
            written.ignore_of_batch(batch, (report, batch_index));
            let mut last = Last::default();
            for (index, sample) in batch.samples.iter().enumerate() {
                match self.sample(sample, &mut last) {
                    Ok((reading, value)) => {
                        encoder.sample(&reading, value);
                        written.accepted += 1;
                        written.ignore_of(sample, &reading, (report, batch_index, index));
                    }
                    Err(reason) => written.reject(reason, 1, (report, batch_index, index)),
                }
            }
            for (index, histogram) in batch.histograms.iter().enumerate() {
                let weight = weight::of_histogram(histogram, self.values_per_s);
                let index = batch.samples.len() + index;
                match self.histogram(histogram, &mut last) {
                    Ok((reading, buckets)) => {
                        encoder.histogram(&reading, &buckets);
                        written.accepted += weight;
                        let place = (&mut *report, batch_index, index);
                        written.ignore_of(&histogram.sample, &reading, place);
                    }
                    Err(reason) => {
                        written.reject(reason, weight, (report, batch_index, index));
                    }
                }
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

    fn metric<'m>(
        &'m self,
        sample: &'m Sample<'_>,
        last: &mut Last<'m>,
    ) -> Result<(&'m Metric, u8), Reason> {
        if sample.malformed {
            return Err(Reason::MalformedSample);
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
            connection: connection_of(sample),
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
        // Its window is the one that holds its middle.
        self.time.corrected(t_raw_ms.saturating_add(span_ms / 2))?;
        let buckets = histogram.buckets.value().ok_or(Reason::InvalidHistogram)?;
        let wire = |field: &Field<Number>| {
            let number = field.value().ok_or(Reason::InvalidHistogram)?;
            to_recording(number.as_f64(), metric.unit)
        };
        let summary = (
            wire(&histogram.sum)?,
            wire(&histogram.min)?,
            wire(&histogram.max)?,
        );
        let reading = Reading {
            metric: metric.code,
            label,
            connection: connection_of(sample),
            t_raw_ms,
        };
        let most = (span_ms, weight::values_max(span_ms, self.values_per_s));
        Ok((reading, check_buckets(metric, most, buckets, summary)?))
    }
}

impl Written {
    fn reject(
        &mut self,
        reason: Reason,
        samples: u64,
        (report, batch, sample): (&mut Report, usize, usize),
    ) {
        self.rejected[usize::from(reason.code())] += samples;
        report.sample(batch, sample, reason);
    }

    /// Notes what of a batch was of the wrong type, and says so: the batch is taken in without it.
    fn ignore_of_batch(&mut self, batch: &Batch<'_>, (report, index): (&mut Report, usize)) {
        if batch.session_id == Field::Wrong {
            self.ignored[Ignored::SessionIdType as usize] += 1;
            report.ignored(index, None, "ignored_session_id");
        }
        if batch.release == Field::Wrong {
            report.ignored(index, None, "ignored_release");
        }
    }

    /// Notes a connection that is none of those known. One of the wrong type is named, of a batch the
    /// first: there may be one in every sample.
    fn ignore_of(
        &mut self,
        sample: &Sample<'_>,
        reading: &Reading,
        (report, batch, index): (&mut Report, usize, usize),
    ) {
        if reading.connection != Connection::Unknown {
            return;
        }
        match &sample.connection {
            Field::Absent => {}
            Field::Is(name) if *name == Connection::Unknown.name() => {}
            Field::Is(_) => self.ignored[Ignored::ConnectionUnknown as usize] += 1,
            Field::Wrong => {
                let ignored = &mut self.ignored[Ignored::ConnectionType as usize];
                if *ignored == 0 {
                    report.ignored(batch, Some(index), "ignored_connection");
                }
                *ignored += 1;
            }
        }
    }
}

fn time_of(sample: &Sample<'_>) -> Result<i64, Reason> {
    millis_of(sample).ok_or(Reason::InvalidTime)
}

fn connection_of(sample: &Sample<'_>) -> Connection {
    let name = sample.connection.value();
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
