//! What a record says of events, drops and pages' own reports beside their samples. A release that does not know these entries passes
//! over them by their length, and still has the samples.

use super::{Encoder, Reader, RecordError};
use crate::Connection;
use crate::event::{DropReading, EventKind, EventReading, Example};
use crate::summary::SummaryReading;

pub(super) const TAG_EVENT: u8 = 0x80;
pub(super) const TAG_DROP: u8 = 0x81;
pub(super) const TAG_SUMMARY: u8 = 0x82;

const FLAG_FATAL: u8 = 1;

impl Encoder<'_> {
    /// Adds what an event says beside the sample before it.
    pub fn event(&mut self, event: &EventReading) {
        let received_at_ms = self.received_at_ms;
        self.with_length(TAG_EVENT, |entry| {
            entry.bytes.push(event.kind.code());
            entry
                .bytes
                .push(if event.is_fatal { FLAG_FATAL } else { 0 });
            entry.zigzag(event.t_raw_ms.wrapping_sub(received_at_ms));
            entry.varint(event.count);
            let fingerprint = event.fingerprint.to_le_bytes();
            entry.bytes.extend_from_slice(&fingerprint);
            let example = &event.example;
            for text in [
                &event.name,
                &example.type_name,
                &example.message,
                &example.frames_json,
            ] {
                entry.varint(text.len() as u64);
                entry.bytes.extend_from_slice(text.as_bytes());
            }
        });
    }

    /// Adds which numbers a drop names, beside the sample before it.
    pub fn drop(&mut self, drop: &DropReading) {
        let received_at_ms = self.received_at_ms;
        self.with_length(TAG_DROP, |entry| {
            entry.bytes.extend_from_slice(&drop.queue);
            entry.varint(drop.from);
            entry.varint(drop.to.saturating_sub(drop.from));
            entry.varint(drop.samples);
            entry.bytes.push(drop.reason);
            entry.zigzag(drop.t_raw_ms.wrapping_sub(received_at_ms));
        });
    }

    /// Adds what a page's own report says, beside the sample before it.
    pub fn summary(&mut self, summary: &SummaryReading) {
        let received_at_ms = self.received_at_ms;
        self.with_length(TAG_SUMMARY, |entry| {
            entry.varint(u64::from(summary.metric));
            entry.bytes.push(summary.connection.code());
            entry.zigzag(summary.t_raw_ms.wrapping_sub(received_at_ms));
            entry.varint(summary.count);
            let [p50, p95, p99] = summary.percentiles;
            for value in [summary.sum, summary.min, summary.max, p50, p95, p99] {
                entry.bytes.extend_from_slice(&value.to_le_bytes());
            }
        });
    }

    fn with_length(&mut self, tag: u8, write: impl FnOnce(&mut Encoder<'_>)) {
        let mut bytes = Vec::new();
        write(&mut Encoder {
            bytes: &mut bytes,
            received_at_ms: self.received_at_ms,
        });
        self.bytes.push(tag);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(&bytes);
    }
}

impl<'a> Reader<'a> {
    /// Reads an event from the bytes of its entry. What a later release has written behind it is passed over.
    pub(super) fn event(mut self, received_at_ms: i64) -> Result<EventReading, RecordError> {
        let kind = EventKind::of_code(self.byte("event kind")?);
        let flags = self.byte("event flags")?;
        Ok(EventReading {
            kind,
            is_fatal: flags & FLAG_FATAL != 0,
            t_raw_ms: self.zigzag("event time")?.wrapping_add(received_at_ms),
            count: self.varint("event count")?,
            fingerprint: u64::from_le_bytes(self.array("fingerprint")?),
            name: self.long_text("event name")?.into(),
            example: Example {
                type_name: self.long_text("error type")?.into(),
                message: self.long_text("error message")?.into(),
                frames_json: self.long_text("error frames")?.into(),
            },
        })
    }

    /// Reads a drop from the bytes of its entry.
    pub(super) fn drop(mut self, received_at_ms: i64) -> Result<DropReading, RecordError> {
        let queue = self.array("dropped queue")?;
        let from = self.varint("first dropped number")?;
        let span = self.varint("dropped numbers")?;
        let to = from.checked_add(span);
        Ok(DropReading {
            queue,
            from,
            to: to.ok_or(RecordError::Field("dropped numbers"))?,
            samples: self.varint("dropped samples")?,
            reason: self.byte("reason of the drop")?,
            t_raw_ms: self
                .zigzag("time of the drop")?
                .wrapping_add(received_at_ms),
        })
    }

    /// Reads a page's own report from the bytes of its entry.
    pub(super) fn summary(mut self, received_at_ms: i64) -> Result<SummaryReading, RecordError> {
        let metric = self.varint("summary's metric")?;
        let metric = u16::try_from(metric);
        let metric = metric.map_err(|_too_large| RecordError::Field("summary's metric"))?;
        Ok(SummaryReading {
            metric,
            connection: Connection::of_code(self.byte("summary's connection")?),
            t_raw_ms: self.zigzag("summary's time")?.wrapping_add(received_at_ms),
            count: self.varint("summary's count")?,
            sum: self.float("summary's sum")?,
            min: self.float("summary's minimum")?,
            max: self.float("summary's maximum")?,
            percentiles: [
                self.float("median")?,
                self.float("95th percentile")?,
                self.float("99th percentile")?,
            ],
        })
    }

    fn float(&mut self, field: &'static str) -> Result<f64, RecordError> {
        Ok(f64::from_le_bytes(self.array(field)?))
    }

    fn long_text(&mut self, field: &'static str) -> Result<&'a str, RecordError> {
        let length = usize::try_from(self.varint(field)?).unwrap_or(usize::MAX);
        let bytes = self.take(length, field)?;
        std::str::from_utf8(bytes).map_err(|_not_utf8| RecordError::Field(field))
    }
}
