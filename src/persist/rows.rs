//! `RowBinary` of `rollup_1m`: what the outbox holds, what is inserted, and what a reader of
//! unconfirmed epochs reads back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tillwatch_model::time::DAY_MS;
use tillwatch_model::{Catalogue, Connection, Rollup, RollupKey, Source, SparseHistogram, Summary};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// The columns, in the order in which a row has them.
pub const COLUMNS: &str = "metric, label, store_id, release, connection, source, window_start, span_s, \
    collector_id, epoch, hist, count, sum, min, max, over_low, over_high, received_at, row_hash";

/// What all rows of an epoch share.
#[derive(Debug, Clone, Copy)]
pub struct RowOrigin {
    /// The state file.
    pub collector_id: Uuid,
    /// The seal.
    pub epoch: u64,
    /// When the last batch of the epoch was received, Unix ms.
    pub received_at_ms: i64,
}

/// What the ledger knows of an epoch's rows of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayLedger {
    /// Rows.
    pub rows: u64,
    /// Samples in them; 0 for the tables beside `rollup_1m`, whose samples are in it already.
    pub samples: u64,
    /// Sum of the rows' hashes, modulo 2^64.
    pub hash_sum: u64,
}

/// An epoch's rows as bytes, and what the ledger keeps of them.
#[derive(Debug, Default)]
pub struct EncodedRows {
    /// `RowBinary`.
    pub bytes: Vec<u8>,
    /// By day (days since 1970).
    pub days: BTreeMap<u32, DayLedger>,
}

/// Writes rows.
#[must_use]
pub fn encode(rows: Vec<Rollup>, origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 192);
    for Rollup { key, summary } in rows {
        let bytes = &mut encoded.bytes;
        let start = bytes.len();
        for text in [
            key.metric,
            key.label,
            &key.store_id,
            &key.release,
            key.connection.name(),
            key.source.name(),
        ] {
            put_text(bytes, text);
        }
        bytes.extend_from_slice(&key.window_start_s.to_le_bytes());
        bytes.extend_from_slice(&key.span_s.to_le_bytes());
        put_uuid(bytes, origin.collector_id);
        bytes.extend_from_slice(&origin.epoch.to_le_bytes());
        let (indices, counts) = summary.histogram.into_parts();
        put_varint(bytes, indices.len());
        for index in indices {
            bytes.extend_from_slice(&index.to_le_bytes());
        }
        put_list(bytes, &counts, 1);
        for number in [
            summary.count,
            summary.sum,
            summary.min,
            summary.max,
            summary.over_low,
            summary.over_high,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&origin.received_at_ms.to_le_bytes());
        let hash = xxh3_64(bytes.get(start..).unwrap_or_default());
        bytes.extend_from_slice(&hash.to_le_bytes());
        encoded.note(key.window_start_s, summary.count, hash);
    }
    encoded
}

/// The day of a window, days since 1970.
#[must_use]
pub fn day_of_s(window_start_s: u32) -> u32 {
    window_start_s / u32::try_from(DAY_MS / 1_000).unwrap_or(86_400)
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_varint(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Writes a list whose elements are so many words each.
pub(super) fn put_list(bytes: &mut Vec<u8>, words: &[u64], words_an_element: usize) {
    put_varint(bytes, words.len() / words_an_element);
    for number in words {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn put_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value as u8) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads the rows that `wants` asks for (metric, store, start of the window), skipping the rest
/// cheaply. A label, connection or source that only a later release knows is read as `__unknown__`; at rest
/// it keeps its name, because rows are shipped as they are. `None` at the first byte that is not as [`encode`] writes it.
pub fn decode(
    bytes: &[u8],
    catalogue: &Catalogue,
    mut wants: impl FnMut(&str, &str, u32) -> bool,
) -> Option<Vec<Rollup>> {
    let mut rows = Vec::new();
    let mut reader = Reader(bytes);
    // Consecutive rows mostly share their store and release.
    let (mut store, mut release): (Arc<str>, Arc<str>) = (Arc::from(""), Arc::from(""));
    while !reader.0.is_empty() {
        let metric = reader.text()?;
        let label = reader.text()?;
        let store_id = reader.text()?;
        let release_name = reader.text()?;
        let connection = reader.text()?;
        let source = reader.text()?;
        let window_start_s = u32::from_le_bytes(reader.array()?);
        let span_s = u32::from_le_bytes(reader.array()?);
        reader.take(16 + 8)?;
        let is_wanted = wants(metric, store_id, window_start_s);
        let indices = reader.take_list(4)?;
        let counts = reader.take_list(8)?;
        let numbers = reader.take(6 * 8)?;
        reader.take(8 + 8)?;
        if !is_wanted {
            continue;
        }
        let Some(known) = catalogue.named(metric) else {
            continue;
        };
        let mut numbers = words(numbers);
        let mut number = || numbers.next();
        if *store != *store_id {
            store = Arc::from(store_id);
        }
        if *release != *release_name {
            release = Arc::from(release_name);
        }
        let (index_words, _) = indices.as_chunks::<4>();
        rows.push(Rollup {
            key: RollupKey {
                metric: known.name,
                label: known.label_named(label),
                store_id: Arc::clone(&store),
                window_start_s,
                release: Arc::clone(&release),
                connection: Connection::of_name(connection),
                source: Source::of_name(source),
                span_s,
            },
            summary: Summary {
                count: number()?,
                sum: number()?,
                min: number()?,
                max: number()?,
                over_low: number()?,
                over_high: number()?,
                histogram: SparseHistogram::from_parts(
                    index_words
                        .iter()
                        .map(|word| u32::from_le_bytes(*word))
                        .collect(),
                    words(counts).collect(),
                ),
            },
        });
    }
    Some(rows)
}

/// What a row is told from others by, without being decoded.
struct RawRow<'a> {
    /// The bytes from the row's first one to the collector id.
    before_id: &'a [u8],
    /// The bytes from the collector id to the hash.
    after_id: &'a [u8],
    window_start_s: u32,
    samples: u64,
    hash: u64,
}

fn raw_rows(bytes: &[u8]) -> Option<Vec<RawRow<'_>>> {
    let mut rows = Vec::new();
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let from = reader.0;
        for _ in 0..6 {
            reader.text()?;
        }
        let window_start_s = u32::from_le_bytes(reader.array()?);
        reader.take(4)?;
        let before_id = from.get(..from.len() - reader.0.len())?;
        reader.take(16)?;
        let middle = reader.0;
        reader.take(8)?;
        reader.take_list(4)?;
        reader.take_list(8)?;
        let samples = u64::from_le_bytes(reader.array()?);
        reader.take(5 * 8 + 8)?;
        let after_id = middle.get(..middle.len() - reader.0.len())?;
        let hash = u64::from_le_bytes(reader.array()?);
        rows.push(RawRow {
            before_id,
            after_id,
            window_start_s,
            samples,
            hash,
        });
    }
    Some(rows)
}

/// The hashes of an epoch's rows. `None` at the first byte that is not as [`encode`] writes it.
#[must_use]
pub fn hashes(bytes: &[u8]) -> Option<Vec<u64>> {
    Some(raw_rows(bytes)?.iter().map(|row| row.hash).collect())
}

/// Writes the same rows under another collector's id. `None` at the first byte that is not as [`encode`]
/// writes it.
#[must_use]
pub fn restamp(bytes: &[u8], collector_id: Uuid) -> Option<EncodedRows> {
    let mut stamped = EncodedRows::default();
    for row in raw_rows(bytes)? {
        let out = &mut stamped.bytes;
        let start = out.len();
        out.extend_from_slice(row.before_id);
        put_uuid(out, collector_id);
        out.extend_from_slice(row.after_id);
        let hash = xxh3_64(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&hash.to_le_bytes());
        stamped.note(row.window_start_s, row.samples, hash);
    }
    Some(stamped)
}

impl EncodedRows {
    pub(super) fn note(&mut self, window_start_s: u32, samples: u64, hash: u64) {
        let day = self.days.entry(day_of_s(window_start_s)).or_default();
        day.rows += 1;
        day.samples += samples;
        day.hash_sum = day.hash_sum.wrapping_add(hash);
    }
}

/// ClickHouse keeps a UUID as two 64-bit integers, the high one first.
pub(super) fn put_uuid(bytes: &mut Vec<u8>, id: Uuid) {
    let (high, low) = id.as_u64_pair();
    bytes.extend_from_slice(&high.to_le_bytes());
    bytes.extend_from_slice(&low.to_le_bytes());
}

pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.varint()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(super) fn take_list(&mut self, element_bytes: usize) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(length.checked_mul(element_bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(minute: u32, store: &str, values: &[u64]) -> Rollup {
        let mut histogram = SparseHistogram::default();
        for value in values {
            histogram.record(*value);
        }
        Rollup {
            key: RollupKey {
                metric: "sync_duration_ms",
                label: "",
                store_id: Arc::from(store),
                window_start_s: minute * 60,
                release: Arc::from("2.4.1"),
                connection: Connection::Online,
                source: Source::Rum,
                span_s: 60,
            },
            summary: Summary {
                count: values.len() as u64,
                sum: values.iter().sum(),
                min: 1,
                max: 9,
                over_low: 2,
                over_high: 1,
                histogram,
            },
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_is_skipped() {
        let origin = RowOrigin {
            collector_id: Uuid::from_u128(7),
            epoch: 3,
            received_at_ms: 1_763_683_200_123,
        };
        let long: Vec<u64> = (0..500).map(|value| value * 977).collect();
        let rows = vec![
            row(1, "a", &[5, 5, 9]),
            row(1_440, "b", &long),
            row(2, "b", &[]),
        ];
        let encoded = encode(rows.clone(), origin);
        let all = decode(&encoded.bytes, &Catalogue::default(), |_, _, _| true).unwrap();
        assert_eq!(all, rows);
        let some = decode(
            &encoded.bytes,
            &Catalogue::default(),
            |_, store, start_s| store == "b" && start_s == 120,
        );
        assert_eq!(some.unwrap(), rows[2..]);
        assert_eq!(encoded.days[&0].rows, 2);
        assert_eq!(encoded.days[&1].samples, 500);
        assert!(decode(&encoded.bytes[1..], &Catalogue::default(), |_, _, _| true).is_none());
    }

    #[test]
    fn rows_under_another_id_are_what_encoding_them_under_it_gives() {
        let origin = |id| RowOrigin {
            collector_id: Uuid::from_u128(id),
            epoch: 3,
            received_at_ms: 1_763_683_200_123,
        };
        let rows = vec![row(1, "a", &[5, 5, 9]), row(1_440, "b", &[7, 70_000])];
        let first = encode(rows.clone(), origin(7));
        let second = encode(rows, origin(8));
        let stamped = restamp(&first.bytes, Uuid::from_u128(8)).unwrap();
        assert_eq!(stamped.bytes, second.bytes);
        assert_eq!(stamped.days, second.days);
        assert_ne!(hashes(&first.bytes), hashes(&second.bytes));
        assert!(restamp(&first.bytes[1..], Uuid::from_u128(8)).is_none());
    }
}
