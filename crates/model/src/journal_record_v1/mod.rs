//! How a validated batch is laid out inside a journal record. Byte table: `docs/formats/journal_record_v1.md`.
//!
//! What a later release appends (a metric, a label, a connection, a source) has a code that this one does not
//! know. It is read as `__unknown__` and costs its name alone, never the entries behind it.
//!
//! Integers marked `v` are LEB128 varints, `z` zigzag varints. The record ends with its payload;
//! nothing in it depends on a clock, so that a replay gives what the first reading gave.

mod events;

use crate::time::DAY_MS;
use events::{TAG_DROP, TAG_EVENT, TAG_SUMMARY};

use crate::browser::TAG_BROWSER;
use crate::{BatchHeader, Browser, Connection, Entry, HistogramReading, Reading, Source};

/// The first byte of every record.
const VERSION: u8 = 1;
const FLAG_SESSION: u8 = 1;
/// Queue and seq are a key's identity and 0. A release before this flag takes it for a queue of its own.
const FLAG_KEYED: u8 = 2;

const TAG_SAMPLE: u8 = 1;
const TAG_HISTOGRAM: u8 = 2;
const TAG_REJECTED: u8 = 3;
/// Tags from here on are followed by a length in bytes: a release that does not know one passes over it. A later
/// release gives new kinds of entries such tags.
const TAG_WITH_LENGTH: u8 = 0x80;
/// How long a browser is behind its tag, which stands before all entries.
const BROWSER_BYTES: u8 = 3;

/// Why a record could not be read. The journal's checksum has held by then, so this is a record of a
/// later version or a bug; it is counted and set aside, never guessed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first byte names another version.
    #[error("record of version {0}, this release reads version 1")]
    Version(u8),
    /// A field ends early or holds what it cannot hold.
    #[error("record has an unreadable {0}")]
    Field(&'static str),
}

/// Writes one record at the end of a buffer.
#[derive(Debug)]
pub struct Encoder<'b> {
    bytes: &'b mut Vec<u8>,
    received_at_ms: i64,
}

impl<'b> Encoder<'b> {
    /// Starts a record with its header.
    pub fn new(bytes: &'b mut Vec<u8>, header: &BatchHeader<'_>) -> Self {
        bytes.push(VERSION);
        let session = header.session.map_or(0, |_| FLAG_SESSION);
        bytes.push(session | if header.is_keyed { FLAG_KEYED } else { 0 });
        bytes.push(header.source.code());
        let mut encoder = Self {
            bytes,
            received_at_ms: header.received_at_ms,
        };
        encoder.zigzag(header.received_at_ms);
        encoder.zigzag(header.offset_ms);
        encoder.zigzag(header.applied_offset_ms);
        encoder.text(header.store_id);
        encoder.text(header.terminal_id);
        encoder.bytes.extend_from_slice(&header.queue);
        encoder.varint(header.seq);
        encoder.text(header.release);
        if let Some(session) = header.session {
            encoder.bytes.extend_from_slice(&session);
        }
        if let Some(browser) = header.browser {
            let [family, low, high] = browser.to_bytes();
            let entry = [TAG_BROWSER, BROWSER_BYTES, family, low, high];
            encoder.bytes.extend_from_slice(&entry);
        }
        encoder
    }

    /// Adds one value.
    pub fn sample(&mut self, reading: &Reading, value: u64) {
        self.reading(TAG_SAMPLE, reading);
        self.varint(value);
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, reading: &Reading, histogram: &HistogramReading) {
        self.reading(TAG_HISTOGRAM, reading);
        self.zigzag(histogram.span_ms);
        self.varint(histogram.indices.len() as u64);
        let mut last = 0;
        for (index, count) in histogram.indices.iter().zip(&histogram.counts) {
            self.varint(u64::from(index.wrapping_sub(last)));
            self.varint(*count);
            last = *index;
        }
        self.varint(histogram.sum);
        self.varint(histogram.min);
        self.varint(histogram.max);
    }

    /// Adds how many samples were rejected for a reason.
    pub fn rejected(&mut self, reason_code: u8, samples: u64) {
        self.bytes.push(TAG_REJECTED);
        self.bytes.push(reason_code);
        self.varint(samples);
    }

    fn reading(&mut self, tag: u8, reading: &Reading) {
        self.bytes.push(tag);
        self.varint(u64::from(reading.metric));
        self.bytes.push(reading.label);
        self.bytes.push(reading.connection.code());
        self.zigzag(reading.t_raw_ms.wrapping_sub(self.received_at_ms));
    }

    /// Identifiers have at most 64 bytes, so one length byte is enough.
    fn text(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.bytes.push(length);
        self.bytes.extend_from_slice(
            text.as_bytes()
                .get(..usize::from(length))
                .unwrap_or_default(),
        );
    }

    fn zigzag(&mut self, value: i64) {
        #[expect(
            clippy::cast_sign_loss,
            reason = "zigzag moves the sign to the lowest bit"
        )]
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits and the flag")]
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 128 here")]
        self.bytes.push(value as u8);
    }
}

/// Reads a record: its header, then its entries one by one.
///
/// # Errors
/// When the header cannot be read.
pub fn decode(bytes: &[u8]) -> Result<(BatchHeader<'_>, Entries<'_>), RecordError> {
    let mut reader = Reader { rest: bytes };
    let version = reader.byte("version")?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let flags = reader.byte("flags")?;
    let source = Source::of_code(reader.byte("source")?);
    let received_at_ms = reader.zigzag("received_at")?;
    let header = BatchHeader {
        received_at_ms,
        offset_ms: reader.zigzag("offset")?,
        applied_offset_ms: reader.zigzag("applied offset")?,
        store_id: reader.text("store_id")?,
        terminal_id: reader.text("terminal_id")?,
        queue: reader.array("queue")?,
        seq: reader.varint("seq")?,
        is_keyed: flags & FLAG_KEYED != 0,
        release: reader.text("release")?,
        source,
        session: if flags & FLAG_SESSION == 0 {
            None
        } else {
            Some(reader.array("session")?)
        },
        browser: reader.browser(),
    };
    Ok((
        header,
        Entries {
            reader,
            received_at_ms,
        },
    ))
}

/// The entries of a record, in order. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    received_at_ms: i64,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader.rest = &[];
        }
        Some(entry)
    }
}

impl Entries<'_> {
    fn entry(&mut self) -> Result<Entry, RecordError> {
        let reader = &mut self.reader;
        match reader.byte("tag")? {
            TAG_SAMPLE => {
                let reading = reader.reading(self.received_at_ms)?;
                Ok(Entry::Sample(reading, reader.varint("value")?))
            }
            TAG_HISTOGRAM => {
                let reading = reader.reading(self.received_at_ms)?;
                Ok(Entry::Histogram(reading, reader.histogram()?))
            }
            TAG_REJECTED => Ok(Entry::Rejected(
                reader.byte("reason")?,
                reader.varint("rejected samples")?,
            )),
            tag @ TAG_WITH_LENGTH.. => self.with_length(tag),
            _ => Err(RecordError::Field("tag")),
        }
    }

    #[cold]
    fn with_length(&mut self, tag: u8) -> Result<Entry, RecordError> {
        let length = usize::try_from(self.reader.varint("length")?).unwrap_or(usize::MAX);
        let rest = self.reader.take(length, "entry")?;
        let reader = Reader { rest };
        match tag {
            TAG_EVENT => {
                let event = reader.event(self.received_at_ms)?;
                Ok(Entry::Event(Box::new(event)))
            }
            TAG_DROP => Ok(Entry::Drop(reader.drop(self.received_at_ms)?)),
            TAG_SUMMARY => {
                let summary = reader.summary(self.received_at_ms)?;
                Ok(Entry::Summary(Box::new(summary)))
            }
            _ => Ok(Entry::Later),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A browser, if that is what comes next. A release before it passes over the entry.
    fn browser(&mut self) -> Option<Browser> {
        let rest = self.rest.strip_prefix(&[TAG_BROWSER, BROWSER_BYTES])?;
        let (browser, rest) = rest.split_first_chunk()?;
        self.rest = rest;
        Some(Browser::of_bytes(*browser))
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(RecordError::Field(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let bytes = self.take(N, field)?;
        bytes
            .try_into()
            .map_err(|_wrong_length| RecordError::Field(field))
    }

    #[inline]
    fn byte(&mut self, field: &'static str) -> Result<u8, RecordError> {
        let (byte, rest) = self.rest.split_first().ok_or(RecordError::Field(field))?;
        self.rest = rest;
        Ok(*byte)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, RecordError> {
        let length = usize::from(self.byte(field)?);
        std::str::from_utf8(self.take(length, field)?)
            .map_err(|_not_utf8| RecordError::Field(field))
    }

    #[inline]
    fn varint(&mut self, field: &'static str) -> Result<u64, RecordError> {
        // Most are below 128.
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint(field)
    }

    fn long_varint(&mut self, field: &'static str) -> Result<u64, RecordError> {
        let (mut value, mut shift) = (0_u64, 0);
        while shift < 64 {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(RecordError::Field(field))
    }

    #[inline]
    fn zigzag(&mut self, field: &'static str) -> Result<i64, RecordError> {
        let value = self.varint(field)?;
        #[expect(
            clippy::cast_possible_wrap,
            reason = "zigzag keeps the sign in the lowest bit"
        )]
        Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
    }

    #[inline]
    fn reading(&mut self, received_at_ms: i64) -> Result<Reading, RecordError> {
        let metric = self.varint("metric")?;
        Ok(Reading {
            metric: u16::try_from(metric).map_err(|_too_large| RecordError::Field("metric"))?,
            label: self.byte("label")?,
            connection: Connection::of_code(self.byte("connection")?),
            t_raw_ms: self.zigzag("time")?.wrapping_add(received_at_ms),
        })
    }

    fn histogram(&mut self) -> Result<HistogramReading, RecordError> {
        let span_ms = self.zigzag("span")?;
        if !(1..=DAY_MS).contains(&span_ms) {
            return Err(RecordError::Field("span"));
        }
        let pairs = usize::try_from(self.varint("bucket count")?).unwrap_or(usize::MAX);
        // Each pair takes at least two bytes, so a length that lies cannot reserve more than it sent.
        if pairs > self.rest.len() / 2 {
            return Err(RecordError::Field("bucket count"));
        }
        let (mut indices, mut counts) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
        let mut index = 0_u32;
        for _ in 0..pairs {
            let step = u32::try_from(self.varint("bucket index")?);
            index = step
                .ok()
                .and_then(|step| index.checked_add(step))
                .ok_or(RecordError::Field("bucket index"))?;
            indices.push(index);
            counts.push(self.varint("bucket value count")?);
        }
        Ok(HistogramReading {
            span_ms,
            indices,
            counts,
            sum: self.varint("sum")?,
            min: self.varint("min")?,
            max: self.varint("max")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{DropReading, EventKind, EventReading, Example};
    use crate::summary::SummaryReading;

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let reading = (any::<u16>(), any::<u8>(), 0_u8..6, any::<i32>()).prop_map(
            |(metric, label, connection, t)| Reading {
                metric,
                label,
                connection: Connection::from_code(connection).unwrap(),
                t_raw_ms: 1_763_683_200_000 + i64::from(t),
            },
        );
        let text = || "\\PC{0,300}".prop_map(Into::into);
        let event = (
            (0_u8..8, any::<bool>(), any::<i32>(), number(), any::<u64>()),
            (text(), text(), text(), text()),
        );
        let event = event.prop_map(
            |((kind, is_fatal, t, count, fingerprint), (name, type_name, message, frames_json))| {
                Entry::Event(Box::new(EventReading {
                    kind: EventKind::of_code(kind),
                    is_fatal,
                    t_raw_ms: 1_763_683_200_000 + i64::from(t),
                    count,
                    fingerprint,
                    name,
                    example: Example {
                        type_name,
                        message,
                        frames_json,
                    },
                }))
            },
        );
        let drop = (any::<[u8; 16]>(), any::<[u32; 3]>(), any::<u8>(), number());
        let drop = drop.prop_map(|(queue, [from, span, t], reason, samples)| {
            Entry::Drop(DropReading {
                queue,
                from: from.into(),
                to: u64::from(from) + u64::from(span),
                samples,
                reason,
                t_raw_ms: 1_763_683_200_000 - i64::from(t),
            })
        });
        let summary = (any::<u16>(), number(), any::<[i32; 7]>());
        let summary = summary.prop_map(|(metric, count, [t, values @ ..])| {
            let [sum, min, max, p50, p95, p99] = values.map(|value| f64::from(value) / 7.0);
            Entry::Summary(Box::new(SummaryReading {
                metric,
                connection: Connection::Offline,
                t_raw_ms: 1_763_683_200_000 - i64::from(t),
                count,
                sum,
                min,
                max,
                percentiles: [p50, p95, p99],
            }))
        });
        prop_oneof![
            event,
            drop,
            summary,
            (reading.clone(), number()).prop_map(|(reading, value)| Entry::Sample(reading, value)),
            (any::<u8>(), number()).prop_map(|(reason, samples)| Entry::Rejected(reason, samples)),
            (
                reading,
                prop::collection::btree_map(any::<u32>(), number(), 0..20),
                number()
            )
                .prop_map(|(reading, buckets, sum)| Entry::Histogram(
                    reading,
                    HistogramReading {
                        span_ms: 60_000,
                        indices: buckets.keys().copied().collect(),
                        counts: buckets.values().copied().collect(),
                        sum,
                        min: 1,
                        max: 9,
                    }
                )),
        ]
    }

    fn header(session: Option<[u8; 16]>, is_keyed: bool) -> BatchHeader<'static> {
        BatchHeader {
            received_at_ms: 1_763_683_200_123,
            offset_ms: -90_000,
            applied_offset_ms: -90_000,
            store_id: "store-017",
            terminal_id: "till-3",
            queue: [7; 16],
            seq: 412,
            is_keyed,
            release: "2.4.1",
            source: Source::Rum,
            session,
            browser: session.map(|[low, high, family, ..]| Browser::of_bytes([family, low, high])),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in prop::collection::vec(entry(), 0..50), session in any::<Option<[u8; 16]>>(), is_keyed in any::<bool>()) {
            let header = header(session, is_keyed);
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, &header);
            for entry in &entries {
                match entry {
                    Entry::Sample(reading, value) => encoder.sample(reading, *value),
                    Entry::Histogram(reading, histogram) => encoder.histogram(reading, histogram),
                    Entry::Rejected(reason, samples) => encoder.rejected(*reason, *samples),
                    Entry::Event(event) => encoder.event(event),
                    Entry::Drop(drop) => encoder.drop(drop),
                    Entry::Summary(summary) => encoder.summary(summary),
                    Entry::Later => unreachable!("none of these was made"),
                }
            }
            let (read_header, read) = decode(&bytes).unwrap();
            prop_assert_eq!(read_header, header);
            let read: Result<Vec<Entry>, RecordError> = read.collect();
            prop_assert_eq!(read.unwrap(), entries);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok((_, entries)) = decode(&bytes) {
                // Every entry takes at least one byte, so it ends.
                prop_assert!(entries.count() <= bytes.len());
            }
        }
    }

    /// A later release has appended values and a kind of entry; what this one knows is read all the same.
    #[test]
    fn what_a_later_release_appends_costs_no_other_entry() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header(None, false));
        let reading = Reading {
            metric: 900,
            label: 200,
            connection: Connection::Later,
            t_raw_ms: 1_763_683_200_000,
        };
        encoder.sample(&reading, 7);
        bytes.extend_from_slice(&[0x90, 3, 1, 2, 3, 0xff, 0]);
        Encoder {
            bytes: &mut bytes,
            received_at_ms: 1_763_683_200_123,
        }
        .sample(&reading, 8);
        bytes[2] = 9;
        let (header, entries) = decode(&bytes).unwrap();
        assert_eq!(header.source, Source::Later);
        let entries: Result<Vec<Entry>, RecordError> = entries.collect();
        let expected = [
            Entry::Sample(reading, 7),
            Entry::Later,
            Entry::Later,
            Entry::Sample(reading, 8),
        ];
        assert_eq!(entries.unwrap(), expected);
        // An event that ends early is damage, and one with something behind it is of a later release.
        let event = [1, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0];
        let entry = |event: &[u8]| {
            let head = [TAG_EVENT, u8::try_from(event.len()).unwrap()];
            let bytes = [&bytes, &head[..], event].concat();
            let (_, entries) = decode(&bytes).unwrap();
            entries.last().unwrap()
        };
        let read = entry(&event);
        assert!(matches!(&read, Ok(Entry::Event(event)) if event.count == 1));
        assert_eq!(entry(&[&event[..], &[7, 7]].concat()), read);
        assert_eq!(entry(&event[..15]), Err(RecordError::Field("error frames")));
        // A length that lies is damage.
        bytes.extend_from_slice(&[0x90, 9, 1]);
        let (_, entries) = decode(&bytes).unwrap();
        assert_eq!(entries.last(), Some(Err(RecordError::Field("entry"))));
    }

    /// A batch without events has the bytes that it had before there were any; its event stands behind its sample.
    #[test]
    fn the_bytes_of_a_record_are_these() {
        let reading = Reading {
            metric: 30,
            label: 4,
            connection: Connection::Online,
            t_raw_ms: 1_763_683_190_123,
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header(None, false));
        encoder.sample(&reading, 3);
        encoder.event(&EventReading {
            kind: EventKind::Error,
            is_fatal: true,
            t_raw_ms: reading.t_raw_ms,
            count: 3,
            fingerprint: 0x6557_19f3_e99b_ddc5,
            name: "".into(),
            example: Example {
                type_name: "E".into(),
                message: "m".into(),
                frames_json: "".into(),
            },
        });
        encoder.drop(&DropReading {
            queue: [7; 16],
            from: 410,
            to: 415,
            samples: 230,
            reason: 0,
            t_raw_ms: reading.t_raw_ms,
        });
        encoder.summary(&SummaryReading {
            metric: 9,
            connection: Connection::Online,
            t_raw_ms: reading.t_raw_ms,
            count: 3,
            sum: 6.0,
            min: 1.0,
            max: 3.0,
            percentiles: [2.0, 3.0, f64::NAN],
        });
        let expected = [
            "010000f6b1afbbd4669ffe0a9ffe0a0973746f72652d3031370674696c6c2d33",
            "070707070707070707070707070707079c0305322e342e31",
            "011e04019f9c0103",
            "801401019f9c0103c5dd9be9f3195765000145016d00",
            "8119070707070707070707070707070707079a0305e601009f9c01",
            "823609019f9c01030000000000001840000000000000f03f0000000000000840",
            "00000000000000400000000000000840000000000000f87f",
        ];
        assert_eq!(hex::encode(bytes), expected.concat());
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode(&[9, 0, 0]).unwrap_err(), RecordError::Version(9));
    }
}
