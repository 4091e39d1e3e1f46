//! Finds the records in the bytes of a segment, whatever the bytes are.
//!
//! Reading only says what is there; whether something unreadable is a torn tail or damage is
//! decided in `survey.rs`, which also knows what was durable.

use super::format::{
    ALIGN_BYTES, HEADER_PAGE_BYTES, HeaderFault, Kind, RECORD_HEADER_BYTES, RecordHeader,
    SegmentHeader, claimed_payload_bytes, claimed_sequence, decode_record, record_bytes,
};

/// What the bytes of one segment hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The segment header.
    pub header: Result<SegmentHeader, HeaderFault>,
    /// Records and unreadable stretches in the order of the file.
    pub items: Vec<Item>,
}

/// A stretch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An intact record.
    Record {
        /// Where the record starts in the file.
        offset: usize,
        /// The record's fields beside its payload.
        header: RecordHeader,
    },
    /// Bytes that are neither a record nor the end.
    Unreadable {
        /// Where these bytes start in the file.
        offset: usize,
        /// How many bytes; at the end of a file, as many as their own headers claim.
        bytes: usize,
        /// How many records they claim to be, at least 1.
        claimed_records: u64,
    },
}

/// Finds the records of a segment with the sequence that its header says; of a file without a
/// usable header, nothing. Never panics.
pub fn scan(bytes: &[u8]) -> Scan {
    match SegmentHeader::decode(bytes) {
        Ok(header) => scan_as(bytes, header.sequence),
        Err(fault) => Scan {
            header: Err(fault),
            items: Vec::new(),
        },
    }
}

/// Finds the records that were written for segment `sequence`, which its name says too: so a
/// damaged header costs no record. Records left over from earlier uses of the file carry another
/// sequence and are not seen.
pub fn scan_as(bytes: &[u8], sequence: u64) -> Scan {
    let mut items = Vec::new();
    let mut offset = HEADER_PAGE_BYTES;
    let mut last_position = 0;
    while bytes.len().saturating_sub(offset) >= RECORD_HEADER_BYTES {
        if let Some(header) = record_at(bytes, offset, sequence, last_position) {
            items.push(Item::Record { offset, header });
            if header.kind == Kind::Data {
                last_position = header.position;
            }
            offset += record_bytes(header.payload_bytes);
            continue;
        }
        let Some(next) = next_record(bytes, offset, sequence, last_position) else {
            items.extend(unreadable_end(bytes, offset, sequence));
            break;
        };
        items.push(Item::Unreadable {
            offset,
            bytes: next - offset,
            claimed_records: 1,
        });
        offset = next;
    }
    Scan {
        header: SegmentHeader::decode(bytes),
        items,
    }
}

/// The payload of a record found at `offset`.
pub(super) fn payload_at<'a>(bytes: &'a [u8], offset: usize, header: &RecordHeader) -> &'a [u8] {
    let start = offset + RECORD_HEADER_BYTES;
    bytes
        .get(start..start + header.payload_bytes)
        .unwrap_or_default()
}

/// The intact record at `offset`, if it belongs there: positions rise, a mark repeats one.
fn record_at(
    bytes: &[u8],
    offset: usize,
    sequence: u64,
    last_position: u64,
) -> Option<RecordHeader> {
    let rest = bytes.get(offset..)?;
    // Cheap and almost always decisive; spares the checksum while searching.
    if claimed_sequence(rest)? != sequence {
        return None;
    }
    let header = decode_record(rest)?;
    let belongs = match header.kind {
        Kind::Data => header.position > last_position && header.durable_upto < header.position,
        Kind::Mark => header.position >= last_position && header.durable_upto == header.position,
    };
    belongs.then_some(header)
}

/// Where the next intact record starts after the unreadable bytes at `offset`.
fn next_record(bytes: &[u8], offset: usize, sequence: u64, last_position: u64) -> Option<usize> {
    // Mostly only the payload is bad and the length still leads to the neighbour. It is believed
    // only if exactly one position is missing then, so a wrong length cannot skip good records.
    if let Some(claimed) = bytes.get(offset..).and_then(claimed_payload_bytes) {
        let neighbour = offset + record_bytes(claimed);
        let found = record_at(bytes, neighbour, sequence, last_position);
        if found.is_some_and(|header| header.position == last_position + 2) {
            return Some(neighbour);
        }
    }
    let first = offset + ALIGN_BYTES;
    (first..bytes.len())
        .step_by(ALIGN_BYTES)
        .find(|next| record_at(bytes, *next, sequence, last_position).is_some())
}

/// What lies at the end of the records: nothing if it is the zeros that follow every write.
fn unreadable_end(bytes: &[u8], start: usize, sequence: u64) -> Option<Item> {
    let zeros = bytes
        .get(start..start + RECORD_HEADER_BYTES)?
        .iter()
        .all(|byte| *byte == 0);
    if zeros {
        return None;
    }
    let mut offset = start;
    let mut claimed_records = 0;
    while let Some(rest) = bytes.get(offset..)
        && claimed_sequence(rest) == Some(sequence)
        && let Some(payload_bytes) = claimed_payload_bytes(rest)
    {
        offset += record_bytes(payload_bytes);
        claimed_records += 1;
    }
    let end = offset.max(start + RECORD_HEADER_BYTES).min(bytes.len());
    Some(Item::Unreadable {
        offset: start,
        bytes: end - start,
        claimed_records: claimed_records.max(1),
    })
}
