//! The bytes of a segment: pure functions between bytes and structs. `docs/formats/journal_v1.md` has the same tables.
//!
//! All numbers are little-endian. A segment is a file of fixed length, zero-filled when made:
//! one page of 4,096 bytes with the segment header, then records without gaps between them.
//!
//! **Segment header**, 64 bytes; these keep their place in every later version:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `TILLWJNL` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | crc32c of bytes 0 to 11 and 16 to 63 |
//! | 16 | 16 | journal id |
//! | 32 | 8 | sequence of the segment, never reused |
//! | 40 | 8 | first position: lower positions are durable, these and higher ones in earlier segments are void |
//! | 48 | 8 | length of the file in bytes |
//! | 56 | 8 | zero |
//!
//! **Record**, aligned to 8 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of the payload, at most 4 MiB |
//! | 4 | 4 | crc32c of bytes 0 to 3 and of everything from 8 to the end of the padding |
//! | 8 | 8 | position |
//! | 16 | 8 | sequence of the segment: bytes left over from an earlier use of the file carry another |
//! | 24 | 8 | durable mark: the highest position known durable when this record was written |
//! | 32 | 1 | kind: 1 data, 2 mark |
//! | 33 | 7 | zero |
//! | 40 | n | payload |
//! | | 0 to 7 | zeros up to a multiple of 8 |
//!
//! After the last record of every write follow 40 zero bytes, if the file has room for them.
//! A mark has no payload and repeats the highest durable position; it is not a record of its own.

/// The first bytes of every segment.
pub const MAGIC: [u8; 8] = *b"TILLWJNL";

/// The version that this program writes and reads.
pub const VERSION: u32 = 1;

/// Bytes of the segment header.
pub const SEGMENT_HEADER_BYTES: usize = 8 + 4 + 4 + 16 + 8 + 8 + 8 + 8;

/// Where records begin: the header has a page of its own, so that no torn write of a record can
/// reach it.
pub const HEADER_PAGE_BYTES: usize = 4096;

/// The smallest segment: one header page and one page of records. Only tests are that small.
pub const SEGMENT_BYTES_MIN: u64 = 2 * HEADER_PAGE_BYTES as u64;

/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 1 + 7;

/// The longest payload, 4 MiB: twice the largest decoded request, so that a length above it can
/// only be damage.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records start at multiples of this.
pub const ALIGN_BYTES: usize = 8;

/// Written after each group where there is room, so that an end looks different from damage.
pub(super) const TERMINATOR: [u8; RECORD_HEADER_BYTES] = [0; RECORD_HEADER_BYTES];

const _: () = {
    assert!(SEGMENT_HEADER_BYTES == 64 && SEGMENT_HEADER_BYTES <= HEADER_PAGE_BYTES);
    assert!(
        RECORD_HEADER_BYTES.is_multiple_of(ALIGN_BYTES)
            && HEADER_PAGE_BYTES.is_multiple_of(ALIGN_BYTES)
    );
    // The length field is a u32.
    assert!(PAYLOAD_BYTES_MAX < u32::MAX as usize);
};

/// What the first page of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Tells the segments of two journals apart.
    pub journal_id: u128,
    /// The order of segments; never reused.
    pub sequence: u64,
    /// Every lower position was durable or given up when this segment was started; positions from
    /// here on that lie in earlier segments are void, because recovery cut them or copied them here.
    pub first_position: u64,
    /// Length of the file.
    pub segment_bytes: u64,
}

/// Why the first page of a segment cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The page is all zero: prepared, never used.
    Blank,
    /// The page is too short, no segment's, or its checksum does not fit.
    Damaged,
    /// The page is intact, and of a version not known here.
    Version(u32),
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The record holds somebody's payload.
    Data,
    /// The record is only a durable mark.
    Mark,
}

/// The fields of a record beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The record's position; of a mark, the highest durable position.
    pub position: u64,
    /// The sequence of the segment that the record was written for.
    pub sequence: u64,
    /// The highest position known durable when the record was written.
    pub durable_upto: u64,
    /// Data or mark.
    pub kind: Kind,
    /// Bytes of the record's payload.
    pub payload_bytes: usize,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Mark => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Mark),
            _ => None,
        }
    }
}

impl SegmentHeader {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_position.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.segment_bytes.to_le_bytes());
        let checksum = checksum_around_field(&bytes[0..12], &bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let header = bytes
            .get(..SEGMENT_HEADER_BYTES)
            .ok_or(HeaderFault::Damaged)?;
        if header.iter().all(|byte| *byte == 0) {
            return Err(HeaderFault::Blank);
        }
        let fields = (|| {
            if header.get(0..8)? != MAGIC {
                return None;
            }
            if read_u32(header, 12)? != checksum_around_field(header.get(0..12)?, header.get(16..)?)
            {
                return None;
            }
            let journal_id = u128::from_le_bytes(header.get(16..32)?.try_into().ok()?);
            let fields = Self {
                journal_id,
                sequence: read_u64(header, 32)?,
                first_position: read_u64(header, 40)?,
                segment_bytes: read_u64(header, 48)?,
            };
            Some((read_u32(header, 8)?, fields))
        })();
        match fields {
            None => Err(HeaderFault::Damaged),
            Some((VERSION, header)) => Ok(header),
            Some((version, _)) => Err(HeaderFault::Version(version)),
        }
    }
}

/// Bytes that a record with such a payload takes, header and padding included.
pub const fn record_bytes(payload_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGN_BYTES)
}

/// Fills in the header of a record whose payload and padding are in place. `record` is the whole
/// of it, as long as [`record_bytes`] says.
pub(super) fn seal_record(record: &mut [u8], header: &RecordHeader) {
    // The length was checked against `PAYLOAD_BYTES_MAX` when the append was taken in.
    let length = u32::try_from(header.payload_bytes).unwrap_or(u32::MAX);
    record[0..4].copy_from_slice(&length.to_le_bytes());
    record[8..16].copy_from_slice(&header.position.to_le_bytes());
    record[16..24].copy_from_slice(&header.sequence.to_le_bytes());
    record[24..32].copy_from_slice(&header.durable_upto.to_le_bytes());
    record[32..40].copy_from_slice(&[header.kind.to_byte(), 0, 0, 0, 0, 0, 0, 0]);
    let checksum = checksum_around_field(&record[0..4], &record[8..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends one whole record to `buffer`.
pub(super) fn push_record(buffer: &mut Vec<u8>, header: &RecordHeader, payload: &[u8]) {
    let start = buffer.len();
    buffer.resize(start + RECORD_HEADER_BYTES, 0);
    buffer.extend_from_slice(payload);
    buffer.resize(start + record_bytes(payload.len()), 0);
    seal_record(&mut buffer[start..], header);
}

/// Reads the record that starts at the beginning of `bytes`; `None` if it is not whole and intact.
pub fn decode_record(bytes: &[u8]) -> Option<RecordHeader> {
    let payload_bytes = claimed_payload_bytes(bytes)?;
    let kind = Kind::from_byte(*bytes.get(32)?)?;
    let record = bytes.get(..record_bytes(payload_bytes))?;
    if read_u32(record, 4)? != checksum_around_field(record.get(0..4)?, record.get(8..)?) {
        return None;
    }
    Some(RecordHeader {
        position: read_u64(record, 8)?,
        sequence: read_u64(record, 16)?,
        durable_upto: read_u64(record, 24)?,
        kind,
        payload_bytes,
    })
}

/// The length that an unchecked record claims, if it is one that could be.
pub(super) fn claimed_payload_bytes(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(read_u32(bytes, 0)?).ok()?;
    (length <= PAYLOAD_BYTES_MAX).then_some(length)
}

/// The sequence that an unchecked record claims.
pub(super) fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    read_u64(bytes, 16)
}

fn checksum_around_field(before: &[u8], after: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(offset..offset + 4)?.try_into().ok()?,
    ))
}

fn read_u64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(offset..offset + 8)?.try_into().ok()?,
    ))
}
