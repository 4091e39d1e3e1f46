//! What one append carries: payloads, already framed in one buffer.

use std::io;

use bytes::Bytes;

use super::Position;
use super::format::{PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, claimed_payload_bytes, record_bytes};

/// A record as it is handed out: on replay, and when it became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The position at which the record lies.
    pub position: Position,
    /// What was appended. Cheap to clone; keeps the buffer of its whole append alive.
    pub payload: Bytes,
}

/// The payloads of one append, each with room for its record header before it. One allocation for
/// all of them: what is pushed here is copied once more, into the write of the group.
#[derive(Debug, Default)]
pub struct Payloads {
    /// Records whose headers hold only the length.
    frames: Vec<u8>,
    count: u64,
    longest_bytes: usize,
}

/// Takes the bytes of one payload; ends when dropped.
#[derive(Debug)]
pub struct PayloadWriter<'a> {
    frames: &'a mut Vec<u8>,
}

impl Payloads {
    /// Makes payloads without any payload yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for one payload of so many bytes without growing.
    pub fn with_capacity(payload_bytes: usize) -> Self {
        Self {
            frames: Vec::with_capacity(record_bytes(payload_bytes)),
            ..Self::default()
        }
    }

    /// Makes an append of one payload.
    pub fn one(payload: &[u8]) -> Self {
        let mut payloads = Self::with_capacity(payload.len());
        payloads.push(payload);
        payloads
    }

    /// Adds a payload by copying it.
    pub fn push(&mut self, payload: &[u8]) {
        self.push_with(|writer| writer.extend(payload));
    }

    /// Adds a payload that `write` produces in place, and passes on what it returns.
    pub fn push_with<R>(&mut self, write: impl FnOnce(&mut PayloadWriter<'_>) -> R) -> R {
        let start = self.frames.len();
        self.frames.resize(start + RECORD_HEADER_BYTES, 0);
        let result = write(&mut PayloadWriter {
            frames: &mut self.frames,
        });
        let payload_bytes = self.frames.len() - start - RECORD_HEADER_BYTES;
        self.frames.resize(start + record_bytes(payload_bytes), 0);
        // Above 4 GiB the field is wrong, and `longest_bytes` keeps the append from being taken in.
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        self.frames[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.longest_bytes = self.longest_bytes.max(payload_bytes);
        self.count += 1;
        result
    }

    /// How many payloads there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the payloads take on disk, headers and padding included.
    pub fn framed_bytes(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that the payloads take in memory.
    pub fn held_bytes(&self) -> usize {
        self.frames.capacity()
    }

    /// Gives the longest payload if it is over the limit of the format.
    pub(super) fn over_limit(&self) -> Option<usize> {
        (self.longest_bytes > PAYLOAD_BYTES_MAX).then_some(self.longest_bytes)
    }

    pub(super) fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// The payloads as records at `first` and the positions after it.
    pub(super) fn into_records(self, first: u64, records: &mut Vec<Record>) {
        let frames = Bytes::from(self.frames);
        for (position, (start, payload_bytes)) in (first..).zip(frame_bounds(&frames)) {
            let payload_start = start + RECORD_HEADER_BYTES;
            let payload = frames.slice(payload_start..payload_start + payload_bytes);
            records.push(Record {
                position: Position(position),
                payload,
            });
        }
    }
}

/// Start and payload length of each frame, in order.
pub(super) fn frame_bounds(frames: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let payload_bytes = claimed_payload_bytes(frames.get(start..)?)?;
        let found = (start, payload_bytes);
        start += record_bytes(payload_bytes);
        Some(found)
    })
}

impl From<Vec<Vec<u8>>> for Payloads {
    fn from(list: Vec<Vec<u8>>) -> Self {
        let mut payloads =
            Self::with_capacity(list.iter().map(|payload| record_bytes(payload.len())).sum());
        for payload in &list {
            payloads.push(payload);
        }
        payloads
    }
}

impl PayloadWriter<'_> {
    /// Adds bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
    }
}

impl io::Write for PayloadWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
