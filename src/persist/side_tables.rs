//! The tables beside `rollup_1m` that an epoch has rows for, and their `RowBinary`, read.
//!
//! The rows of these tables have the same form: the identity of the row, a time, the collector and the
//! epoch, numbers of eight bytes, lists of such numbers, and the hash.

use std::sync::Arc;

use tillwatch_model::event::Example;
use tillwatch_model::session::Values;
use tillwatch_model::{
    Catalogue, EventGroup, EventGroupKey, EventKind, EventSums, Pseudonym, Scalars, SessionDay,
    SessionDayKey, SessionSums, Source, TerminalHour, TerminalHourKey,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::listed::listed;
use crate::persist::rows::{EncodedRows, Reader, put_uuid, words};

pub use crate::persist::side_decode::{decode_losses, decode_summaries};
pub use crate::persist::side_encode::{
    encode_event_groups, encode_losses, encode_sessions, encode_summaries, encode_terminal_hours,
};

listed! {
    /// A table beside `rollup_1m`; its name is that in ClickHouse and in the state file.
    pub enum SideTable {
        /// What single terminals measured, by the hour.
        TerminalHour = "rollup_terminal_1h",
        /// What sessions measured, by the day.
        Session = "session",
        /// What terminals reported of events, by the hour.
        EventGroup = "error_group_1h",
        /// What pages have summed up themselves, by the minute.
        Summary = "summary_1m",
        /// What has become of batches that were missing.
        Loss = "loss",
    }
}

/// How a row is laid out up to its hash.
struct Shape {
    /// Bytes before the texts.
    lead_bytes: usize,
    texts: usize,
    /// 4: Unix seconds; 2: days since 1970.
    time_bytes: usize,
    /// Numbers between the epoch and `received_at`, or the lists before that.
    numbers: usize,
    /// Lists behind these.
    lists: usize,
    /// Numbers in each element of a list.
    words_an_element: usize,
}

/// A report's values and its three percentiles.
pub(super) const WORDS_A_REPORT: usize = 4;

pub(super) const SECONDS_A_DAY: u32 = 86_400;

impl SideTable {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The table's columns, in the order in which a row has them.
    #[must_use]
    pub fn columns(self) -> &'static str {
        match self {
            Self::TerminalHour => {
                "metric, label, store_id, terminal_id, release, source, hour_start, collector_id, epoch, \
                 count, sum, min, max, last, last_at, over_low, over_high, received_at, row_hash"
            }
            Self::Session => {
                "session, store_id, day, collector_id, epoch, first_at, last_at, samples, \
                 lcp_count, lcp_sum, lcp_max, offline_login_count, offline_login_sum, offline_login_max, \
                 sync_count, sync_sum, sync_max, sync_attempts, sync_failures, db_size_max, errors, \
                 received_at, row_hash"
            }
            Self::Summary => {
                "metric, store_id, release, connection, source, minute, collector_id, epoch, \
                 count, sum, min, max, reports, received_at, row_hash"
            }
            Self::Loss => {
                "store_id, terminal_id, queue, state, reason, ended_at, collector_id, epoch, \
                 from_seq, to_seq, batches, samples, opened_at, received_at, row_hash"
            }
            Self::EventGroup => {
                "kind, name, fingerprint, store_id, release, source, type, message, frames_json, hour_start, \
                 collector_id, epoch, count, fatal, terminals, received_at, row_hash"
            }
        }
    }

    /// The column that says which day a row is of.
    #[must_use]
    pub fn time_column(self) -> &'static str {
        match self {
            Self::TerminalHour | Self::EventGroup => "hour_start",
            Self::Session => "day",
            Self::Summary => "minute",
            Self::Loss => "ended_at",
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::TerminalHour => Shape {
                lead_bytes: 0,
                texts: 6,
                time_bytes: 4,
                numbers: 8,
                lists: 0,
                words_an_element: 1,
            },
            Self::Session => Shape {
                lead_bytes: 16,
                texts: 1,
                time_bytes: 2,
                numbers: 16,
                lists: 0,
                words_an_element: 1,
            },
            Self::EventGroup => Shape {
                lead_bytes: 0,
                texts: 9,
                time_bytes: 4,
                numbers: 2,
                lists: 1,
                words_an_element: 1,
            },
            Self::Loss => Shape {
                lead_bytes: 0,
                texts: 5,
                time_bytes: 4,
                numbers: 5,
                lists: 0,
                words_an_element: 1,
            },
            Self::Summary => Shape {
                lead_bytes: 0,
                texts: 5,
                time_bytes: 4,
                numbers: 4,
                lists: 1,
                words_an_element: WORDS_A_REPORT,
            },
        }
    }
}

/// A row in its parts.
pub(super) struct RawRow<'a> {
    /// The bytes from the row's first one to the time.
    pub(super) names: &'a [u8],
    /// The bytes from the row's first one to the collector id.
    before_id: &'a [u8],
    pub(super) time_s: u32,
    pub(super) numbers: &'a [u8],
    /// The last list, without its length.
    pub(super) list: &'a [u8],
    /// The bytes from the collector id to the hash.
    after_id: &'a [u8],
    hash: u64,
}

fn raw_row<'a>(reader: &mut Reader<'a>, shape: &Shape) -> Option<RawRow<'a>> {
    let from = reader.0;
    let until = |rest: &[u8]| from.get(..from.len() - rest.len());
    reader.take(shape.lead_bytes)?;
    for _ in 0..shape.texts {
        reader.text()?;
    }
    let names = until(reader.0)?;
    let time_s = if shape.time_bytes == 2 {
        u32::from(u16::from_le_bytes(reader.array()?)) * SECONDS_A_DAY
    } else {
        u32::from_le_bytes(reader.array()?)
    };
    let before_id = until(reader.0)?;
    reader.take(16)?;
    let rest = reader.0;
    reader.take(8)?;
    let numbers = reader.take(shape.numbers * 8)?;
    let mut list = &[][..];
    for _ in 0..shape.lists {
        list = reader.take_list(8 * shape.words_an_element)?;
    }
    reader.take(8)?;
    let after_id = rest.get(..rest.len() - reader.0.len())?;
    Some(RawRow {
        names,
        before_id,
        time_s,
        numbers,
        list,
        after_id,
        hash: u64::from_le_bytes(reader.array()?),
    })
}

pub(super) fn raw_rows(table: SideTable, bytes: &[u8]) -> impl Iterator<Item = Option<RawRow<'_>>> {
    let (shape, mut reader) = (table.shape(), Reader(bytes));
    std::iter::from_fn(move || {
        (!reader.0.is_empty()).then(|| {
            let row = raw_row(&mut reader, &shape);
            if row.is_none() {
                reader.0 = &[];
            }
            row
        })
    })
}

/// The hashes of rows. `None` at the first byte that is not as they are written.
#[must_use]
pub fn hashes(table: SideTable, bytes: &[u8]) -> Option<Vec<u64>> {
    raw_rows(table, bytes)
        .map(|row| row.map(|row| row.hash))
        .collect()
}

/// Writes the rows under another collector's id. `None` at the first byte that is not as rows are written.
#[must_use]
pub fn restamp(table: SideTable, bytes: &[u8], collector_id: uuid::Uuid) -> Option<EncodedRows> {
    let mut stamped = EncodedRows::default();
    for row in raw_rows(table, bytes) {
        let row = row?;
        let out = &mut stamped.bytes;
        let start = out.len();
        out.extend_from_slice(row.before_id);
        put_uuid(out, collector_id);
        out.extend_from_slice(row.after_id);
        let hash = xxh3_64(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&hash.to_le_bytes());
        stamped.note(row.time_s, 0, hash);
    }
    Some(stamped)
}

/// Reads the terminals' hours that `wants` asks for (store, start of the hour), of metrics that this
/// release knows. `None` at the first byte that is not as they are written.
pub fn decode_terminal_hours(
    bytes: &[u8],
    catalogue: &Catalogue,
    wants: impl Fn(&str, u32) -> bool,
) -> Option<Vec<TerminalHour>> {
    let mut rows = Vec::new();
    for row in raw_rows(SideTable::TerminalHour, bytes) {
        let row = row?;
        let mut names = Reader(row.names);
        let (metric, label, store_id) = (names.text()?, names.text()?, names.text()?);
        let (terminal_id, release, source) = (names.text()?, names.text()?, names.text()?);
        let Some(metric) = catalogue
            .named(metric)
            .filter(|_| wants(store_id, row.time_s))
        else {
            continue;
        };
        let mut numbers = words(row.numbers);
        let mut number = || numbers.next();
        rows.push(TerminalHour {
            key: TerminalHourKey {
                metric: metric.name,
                label: metric.label_named(label),
                store_id: Arc::from(store_id),
                terminal_id: Arc::from(terminal_id),
                hour_start_s: row.time_s,
                release: Arc::from(release),
                source: Source::of_name(source),
            },
            scalars: Scalars {
                count: number()?,
                sum: number()?,
                min: number()?,
                max: number()?,
                last: number()?,
                last_ms: number()?.cast_signed(),
                over_low: number()?,
                over_high: number()?,
            },
        });
    }
    Some(rows)
}

/// Reads the rows of the sessions that `wants` asks for. `None` at the first byte that is not as they are
/// written.
pub fn decode_sessions(bytes: &[u8], wants: impl Fn(Pseudonym) -> bool) -> Option<Vec<SessionDay>> {
    let mut rows = Vec::new();
    for row in raw_rows(SideTable::Session, bytes) {
        let row = row?;
        let mut names = Reader(row.names);
        let session = Pseudonym(names.array()?);
        if !wants(session) {
            continue;
        }
        let key = SessionDayKey {
            session,
            store_id: Arc::from(names.text()?),
            day: u16::try_from(row.time_s / SECONDS_A_DAY).ok()?,
        };
        let mut numbers = words(row.numbers);
        let mut number = || numbers.next();
        let sums = SessionSums {
            first_ms: number()?.cast_signed(),
            last_ms: number()?.cast_signed(),
            samples: number()?,
            lcp: read_values(&mut number)?,
            offline_login: read_values(&mut number)?,
            sync: read_values(&mut number)?,
            sync_attempts: number()?,
            sync_failures: number()?,
            db_size_max: number()?,
            errors: number()?,
        };
        rows.push(SessionDay { key, sums });
    }
    Some(rows)
}

/// Reads the groups of events that `wants` asks for (store, start of the hour). `None` at the first byte that is not
/// as they are written.
pub fn decode_event_groups(
    bytes: &[u8],
    wants: impl Fn(&str, u32) -> bool,
) -> Option<Vec<EventGroup>> {
    let mut rows = Vec::new();
    for row in raw_rows(SideTable::EventGroup, bytes) {
        let row = row?;
        let mut names = Reader(row.names);
        let mut text = || names.text();
        let (kind, name, fingerprint) = (text()?, text()?, text()?);
        let (store_id, release, source) = (text()?, text()?, text()?);
        let (type_name, message, frames_json) = (text()?, text()?, text()?);
        if !wants(store_id, row.time_s) {
            continue;
        }
        let mut numbers = words(row.numbers);
        rows.push(EventGroup {
            key: EventGroupKey {
                store_id: Arc::from(store_id),
                kind: EventKind::of_name(kind),
                fingerprint: u64::from_str_radix(fingerprint, 16).ok()?,
                hour_start_s: row.time_s,
                release: Arc::from(release),
                source: Source::of_name(source),
            },
            sums: EventSums {
                count: numbers.next()?,
                fatal: numbers.next()?,
                terminals: words(row.list).collect(),
                name: Arc::from(name),
                example: Arc::new(Example {
                    type_name: type_name.into(),
                    message: message.into(),
                    frames_json: frames_json.into(),
                }),
            },
        });
    }
    Some(rows)
}

fn read_values(number: &mut impl FnMut() -> Option<u64>) -> Option<Values> {
    Some(Values {
        count: number()?,
        sum: number()?,
        max: number()?,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::persist::rows::RowOrigin;
    use tillwatch_model::summary::{Percentiles, SummaryKey, SummaryRow, SummarySums};
    use tillwatch_model::{Connection, LossRow, LossState};

    fn origin(id: u128) -> RowOrigin {
        RowOrigin {
            collector_id: Uuid::from_u128(id),
            epoch: 3,
            received_at_ms: 1_763_683_200_123,
        }
    }

    fn hour(store: &str, hour: u32) -> TerminalHour {
        TerminalHour {
            key: TerminalHourKey {
                metric: "errors",
                label: "sync",
                store_id: Arc::from(store),
                terminal_id: Arc::from("till-1"),
                hour_start_s: hour * 3_600,
                release: Arc::from("2.4.1"),
                source: Source::Synthetic,
            },
            scalars: Scalars {
                count: 1,
                sum: 2,
                min: 3,
                max: 4,
                last: 5,
                last_ms: -6,
                over_low: 7,
                over_high: 8,
            },
        }
    }

    fn group(hour: u32, terminals: &[u64]) -> EventGroup {
        EventGroup {
            key: EventGroupKey {
                store_id: Arc::from("store-1"),
                kind: EventKind::Error,
                fingerprint: 0x9f3c,
                hour_start_s: hour * 3_600,
                release: Arc::from("2.4.1"),
                source: Source::Rum,
            },
            sums: EventSums {
                count: 5,
                fatal: 1,
                terminals: terminals.to_vec(),
                name: Arc::from("n"),
                example: Arc::new(Example {
                    type_name: "TypeError".into(),
                    message: "x of undefined".into(),
                    frames_json: "[]".into(),
                }),
            },
        }
    }

    fn loss(state: LossState, ended_at_s: u32) -> LossRow {
        LossRow {
            store_id: "store-1".into(),
            terminal_id: "till-1".into(),
            queue: [9; 16],
            state,
            reason: "too_old".into(),
            from: 3,
            to: u64::MAX,
            batches: 2,
            samples: 80,
            opened_at_ms: -5,
            ended_at_s,
        }
    }

    fn summary(minute: u32, reports: &[u64]) -> SummaryRow {
        let report = |count: &u64| Percentiles {
            count: *count,
            values: [1.5, 2.5, 3.5],
        };
        SummaryRow {
            key: SummaryKey {
                store_id: Arc::from("store-1"),
                metric: "sync_duration_ms",
                minute_s: minute * 60,
                release: Arc::from("2.4.1"),
                connection: Connection::Online,
                source: Source::Rum,
            },
            sums: SummarySums {
                count: 7,
                sum: 12.25,
                min: 0.5,
                max: 4.0,
                reports: reports.iter().map(report).collect(),
            },
        }
    }

    fn session(first: u8, day: u16) -> SessionDay {
        let values = |from| Values {
            count: from,
            sum: from + 1,
            max: from + 2,
        };
        SessionDay {
            key: SessionDayKey {
                session: Pseudonym([first; 16]),
                store_id: Arc::from("store-1"),
                day,
            },
            sums: SessionSums {
                first_ms: 1,
                last_ms: 2,
                samples: 3,
                lcp: values(4),
                offline_login: values(7),
                sync: values(10),
                sync_attempts: 13,
                sync_failures: 14,
                db_size_max: 15,
                errors: 16,
            },
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_is_skipped() {
        let catalogue = Catalogue::default();
        let hours = vec![hour("a", 1), hour("b", 24), hour("b", 25)];
        let encoded = encode_terminal_hours(&hours, origin(7));
        let read = decode_terminal_hours(&encoded.bytes, &catalogue, |_, _| true);
        assert_eq!(read.unwrap(), hours);
        let wants = |store: &str, start_s| store == "b" && start_s >= 25 * 3_600;
        let read = decode_terminal_hours(&encoded.bytes, &catalogue, wants);
        assert_eq!(read.unwrap(), hours[2..]);
        assert_eq!((encoded.days[&0].rows, encoded.days[&1].rows), (1, 2));

        let sessions = vec![session(1, 20_000), session(2, 20_000), session(2, 20_001)];
        let encoded = encode_sessions(&sessions, origin(7));
        let read = decode_sessions(&encoded.bytes, |_| true);
        assert_eq!(read.unwrap(), sessions);
        let read = decode_sessions(&encoded.bytes, |session| session.0[0] == 2);
        assert_eq!(read.unwrap(), sessions[1..]);
        assert_eq!(encoded.days[&20_000].rows, 2);
        assert!(decode_sessions(&encoded.bytes[1..], |_| true).is_none());

        let groups = vec![group(1, &[]), group(24, &[3, 4])];
        let encoded = encode_event_groups(&groups, origin(7));
        let read = decode_event_groups(&encoded.bytes, |_, _| true);
        assert_eq!(read.unwrap(), groups);
        let read = decode_event_groups(&encoded.bytes, |_, start_s| start_s > 3_600);
        assert_eq!(read.unwrap(), groups[1..]);
        assert_eq!((encoded.days[&0].rows, encoded.days[&1].rows), (1, 1));
        assert!(decode_event_groups(&encoded.bytes[1..], |_, _| true).is_none());

        let summaries = vec![summary(1, &[]), summary(1_440, &[3, 4])];
        let encoded = encode_summaries(&summaries, origin(7));
        let read = decode_summaries(&encoded.bytes, &catalogue, |_, _, _| true);
        assert_eq!(read.unwrap(), summaries);
        let read = decode_summaries(&encoded.bytes, &catalogue, |_, _, at_s| at_s > 60);
        assert_eq!(read.unwrap(), summaries[1..]);
        assert_eq!((encoded.days[&0].rows, encoded.days[&1].rows), (1, 1));
        assert!(decode_summaries(&encoded.bytes[1..], &catalogue, |_, _, _| true).is_none());

        let losses = vec![loss(LossState::Lost, 5), loss(LossState::Closed, 86_400)];
        let encoded = encode_losses(&losses, origin(7));
        let read = decode_losses(&encoded.bytes, |_, _| true);
        assert_eq!(read.unwrap(), losses);
        let read = decode_losses(&encoded.bytes, |_, at_s| at_s > 60);
        assert_eq!(read.unwrap(), losses[1..]);
        assert_eq!((encoded.days[&0].rows, encoded.days[&1].rows), (1, 1));
        assert!(decode_losses(&encoded.bytes[1..], |_, _| true).is_none());
    }

    #[test]
    fn rows_under_another_id_are_what_encoding_them_under_it_gives() {
        let hours = [hour("a", 1), hour("b", 24)];
        let sessions = [session(1, 20_000), session(2, 20_001)];
        let groups = [group(1, &[]), group(24, &[3, 4])];
        let summaries = [summary(1, &[]), summary(1_440, &[3, 4])];
        let losses = [loss(LossState::Lost, 5), loss(LossState::Closed, 86_400)];
        let of = |id| {
            [
                (
                    SideTable::TerminalHour,
                    encode_terminal_hours(&hours, origin(id)),
                ),
                (SideTable::Session, encode_sessions(&sessions, origin(id))),
                (
                    SideTable::EventGroup,
                    encode_event_groups(&groups, origin(id)),
                ),
                (SideTable::Summary, encode_summaries(&summaries, origin(id))),
                (SideTable::Loss, encode_losses(&losses, origin(id))),
            ]
        };
        for ((table, first), (_, second)) in of(7).into_iter().zip(of(8)) {
            let stamped = restamp(table, &first.bytes, Uuid::from_u128(8)).unwrap();
            assert_eq!(stamped.bytes, second.bytes);
            assert_eq!(stamped.days, second.days);
            assert_ne!(hashes(table, &first.bytes), hashes(table, &second.bytes));
            assert!(restamp(table, &first.bytes[1..], Uuid::from_u128(8)).is_none());
        }
    }
}
