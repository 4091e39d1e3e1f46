//! `RowBinary` of `rollup_1m`: what the outbox holds, what is inserted, and what a reader of
//! unconfirmed epochs reads back.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::time::DAY_MS;
use crate::model::{Catalogue, Connection, Rollup, RollupKey, Source, SparseHistogram, Summary};

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
    /// Samples in them.
    pub samples: u64,
    /// Sum of their hashes, modulo 2^64.
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
    let bytes = &mut encoded.bytes;
    bytes.reserve(rows.len() * 192);
    for Rollup { key, summary } in rows {
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
        // ClickHouse keeps a UUID as two 64-bit integers, the high one first.
        let (high, low) = origin.collector_id.as_u64_pair();
        bytes.extend_from_slice(&high.to_le_bytes());
        bytes.extend_from_slice(&low.to_le_bytes());
        bytes.extend_from_slice(&origin.epoch.to_le_bytes());
        let (indices, counts) = summary.histogram.into_parts();
        put_varint(bytes, indices.len());
        for index in indices {
            bytes.extend_from_slice(&index.to_le_bytes());
        }
        put_varint(bytes, counts.len());
        for count in counts {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
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

        let day = encoded
            .days
            .entry(day_of_s(key.window_start_s))
            .or_default();
        day.rows += 1;
        day.samples += summary.count;
        day.hash_sum = day.hash_sum.wrapping_add(hash);
    }
    encoded
}

/// The day of a window, days since 1970.
#[must_use]
pub fn day_of_s(window_start_s: u32) -> u32 {
    window_start_s / u32::try_from(DAY_MS / 1_000).unwrap_or(86_400)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_varint(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
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
/// cheaply. `None` at the first byte that is not as [`encode`] writes it.
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
        let labels = known.label.map_or(&[""][..], |label| label.values);
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
                label: labels.iter().find(|known| **known == label)?,
                store_id: Arc::clone(&store),
                window_start_s,
                release: Arc::clone(&release),
                connection: Connection::from_name(connection)?,
                source: Source::from_name(source)?,
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

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
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

    fn text(&mut self) -> Option<&'a str> {
        let length = self.varint()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn take_list(&mut self, element_bytes: usize) -> Option<&'a [u8]> {
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
}
