//! Writes the `RowBinary` of the tables beside `rollup_1m`.

use tillwatch_model::summary::SummaryRow;
use tillwatch_model::{EventGroup, LossRow, SessionDay, TerminalHour};
use xxhash_rust::xxh3::xxh3_64;

use crate::persist::rows::{EncodedRows, RowOrigin, put_list, put_text, put_uuid};
use crate::persist::side_tables::{SECONDS_A_DAY, WORDS_A_REPORT};

/// Writes the rows of `rollup_terminal_1h`.
#[must_use]
pub fn encode_terminal_hours(rows: &[TerminalHour], origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 192);
    for TerminalHour { key, scalars } in rows {
        let start = encoded.bytes.len();
        for text in [
            key.metric,
            key.label,
            &key.store_id,
            &key.terminal_id,
            &key.release,
            key.source.name(),
        ] {
            put_text(&mut encoded.bytes, text);
        }
        let hour_start = key.hour_start_s.to_le_bytes();
        encoded.bytes.extend_from_slice(&hour_start);
        let numbers = [
            scalars.count,
            scalars.sum,
            scalars.min,
            scalars.max,
            scalars.last,
            scalars.last_ms.cast_unsigned(),
            scalars.over_low,
            scalars.over_high,
        ];
        finish(
            &mut encoded,
            start,
            key.hour_start_s,
            origin,
            (&numbers, &[]),
        );
    }
    encoded
}

/// Writes the rows of `session`.
#[must_use]
pub fn encode_sessions(rows: &[SessionDay], origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 208);
    for SessionDay { key, sums } in rows {
        let start = encoded.bytes.len();
        encoded.bytes.extend_from_slice(&key.session.0);
        put_text(&mut encoded.bytes, &key.store_id);
        encoded.bytes.extend_from_slice(&key.day.to_le_bytes());
        let [lcp, login, sync] = [sums.lcp, sums.offline_login, sums.sync];
        let numbers = [
            sums.first_ms.cast_unsigned(),
            sums.last_ms.cast_unsigned(),
            sums.samples,
            lcp.count,
            lcp.sum,
            lcp.max,
            login.count,
            login.sum,
            login.max,
            sync.count,
            sync.sum,
            sync.max,
            sums.sync_attempts,
            sums.sync_failures,
            sums.db_size_max,
            sums.errors,
        ];
        let day_start_s = u32::from(key.day) * SECONDS_A_DAY;
        finish(&mut encoded, start, day_start_s, origin, (&numbers, &[]));
    }
    encoded
}

/// Writes the rows of `error_group_1h`.
#[must_use]
pub fn encode_event_groups(rows: &[EventGroup], origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 512);
    for EventGroup { key, sums } in rows {
        let start = encoded.bytes.len();
        let fingerprint = format!("{:016x}", key.fingerprint);
        for text in [
            key.kind.name(),
            &sums.name,
            &fingerprint,
            &key.store_id,
            &key.release,
            key.source.name(),
            &sums.example.type_name,
            &sums.example.message,
            &sums.example.frames_json,
        ] {
            put_text(&mut encoded.bytes, text);
        }
        let hour_start = key.hour_start_s.to_le_bytes();
        encoded.bytes.extend_from_slice(&hour_start);
        let behind = (
            &[sums.count, sums.fatal][..],
            &[(&sums.terminals[..], 1)][..],
        );
        finish(&mut encoded, start, key.hour_start_s, origin, behind);
    }
    encoded
}

/// Writes the rows of `summary_1m`.
#[must_use]
pub fn encode_summaries(rows: &[SummaryRow], origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 256);
    for SummaryRow { key, sums } in rows {
        let start = encoded.bytes.len();
        for text in [
            key.metric,
            &key.store_id,
            &key.release,
            key.connection.name(),
            key.source.name(),
        ] {
            put_text(&mut encoded.bytes, text);
        }
        encoded.bytes.extend_from_slice(&key.minute_s.to_le_bytes());
        let numbers = [
            sums.count,
            sums.sum.to_bits(),
            sums.min.to_bits(),
            sums.max.to_bits(),
        ];
        let words = sums.reports.iter().flat_map(|report| {
            let [p50, p95, p99] = report.values.map(f64::to_bits);
            [report.count, p50, p95, p99]
        });
        let reports: Vec<u64> = words.collect();
        let behind = (&numbers[..], &[(&reports[..], WORDS_A_REPORT)][..]);
        finish(&mut encoded, start, key.minute_s, origin, behind);
    }
    encoded
}

/// Writes the rows of `loss`.
#[must_use]
pub fn encode_losses(rows: &[LossRow], origin: RowOrigin) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    encoded.bytes.reserve(rows.len() * 192);
    for row in rows {
        let start = encoded.bytes.len();
        let queue = uuid::Uuid::from_bytes(row.queue).to_string();
        for text in [
            &row.store_id,
            &row.terminal_id,
            &*queue,
            row.state.name(),
            &row.reason,
        ] {
            put_text(&mut encoded.bytes, text);
        }
        encoded
            .bytes
            .extend_from_slice(&row.ended_at_s.to_le_bytes());
        let numbers = [
            row.from,
            row.to,
            row.batches,
            row.samples,
            row.opened_at_ms.cast_unsigned(),
        ];
        finish(&mut encoded, start, row.ended_at_s, origin, (&numbers, &[]));
    }
    encoded
}

/// The rest of a row that begins at `start`.
fn finish(
    encoded: &mut EncodedRows,
    start: usize,
    time_s: u32,
    origin: RowOrigin,
    (numbers, lists): (&[u64], &[(&[u64], usize)]),
) {
    let bytes = &mut encoded.bytes;
    put_uuid(bytes, origin.collector_id);
    bytes.extend_from_slice(&origin.epoch.to_le_bytes());
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for (words, words_an_element) in lists {
        put_list(bytes, words, *words_an_element);
    }
    bytes.extend_from_slice(&origin.received_at_ms.to_le_bytes());
    let hash = xxh3_64(bytes.get(start..).unwrap_or_default());
    bytes.extend_from_slice(&hash.to_le_bytes());
    encoded.note(time_s, 0, hash);
}
