//! An epoch's rows for the tables beside `rollup_1m`: encoded at the seal, in the outbox and the ledger.
//!
//! Each table's rows are a blob of their own: a reader unpacks only what it asks for, and a release that
//! knows fewer tables still reads the outbox (`docs/adr/0010`).

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tillwatch_model::summary::SummaryRow;
use tillwatch_model::{EventGroup, LossRow, SessionDay, TerminalHour};
use uuid::Uuid;

use crate::persist::epoch::{EpochInfo, SideDays};
use crate::persist::error::StateError;
use crate::persist::rows::{DayLedger, EncodedRows, RowOrigin};
use crate::persist::side_tables::{self, SideTable};
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::State;

/// An epoch's rows for one table.
#[derive(Debug)]
pub(super) struct SideBlob {
    pub(super) table: SideTable,
    pub(super) encoded: EncodedRows,
    blob: Vec<u8>,
}

/// The rows of an epoch for the tables beside `rollup_1m`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'r> {
    pub(super) hours: &'r [TerminalHour],
    pub(super) sessions: &'r [SessionDay],
    pub(super) event_groups: &'r [EventGroup],
    pub(super) summaries: &'r [SummaryRow],
    pub(super) losses: &'r [LossRow],
}

/// Encodes the rows of an epoch. A table without rows has no blob.
pub(super) fn encode(
    Beside {
        hours,
        sessions,
        event_groups,
        summaries,
        losses,
    }: Beside<'_>,
    origin: RowOrigin,
) -> Result<Vec<SideBlob>, StateError> {
    let encoded = [
        (
            SideTable::TerminalHour,
            side_tables::encode_terminal_hours(hours, origin),
        ),
        (
            SideTable::Session,
            side_tables::encode_sessions(sessions, origin),
        ),
        (
            SideTable::EventGroup,
            side_tables::encode_event_groups(event_groups, origin),
        ),
        (
            SideTable::Summary,
            side_tables::encode_summaries(summaries, origin),
        ),
        (SideTable::Loss, side_tables::encode_losses(losses, origin)),
    ];
    let filled = encoded
        .into_iter()
        .filter(|(_, rows)| !rows.bytes.is_empty());
    filled
        .map(|(table, encoded)| {
            let blob = zstd::bulk::compress(&encoded.bytes, 1).map_err(StateError::Blob)?;
            Ok(SideBlob {
                table,
                encoded,
                blob,
            })
        })
        .collect()
}

/// What the ledger will know of them.
pub(super) fn days_of(sides: &[SideBlob]) -> SideDays {
    let days = |side: &SideBlob| (side.table, side.encoded.days.clone());
    sides.iter().map(days).collect()
}

/// Writes an epoch's blobs and ledger; returns its rows and the bytes of its blobs.
pub(super) fn put(
    transaction: &Transaction<'_>,
    epoch: u64,
    sides: &[SideBlob],
) -> Result<(u64, u64), StateError> {
    let (mut row_count, mut blob_bytes) = (0, 0);
    let mut put_day =
        transaction.prepare_cached("INSERT INTO epoch_side_day VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut put_blob =
        transaction.prepare_cached("INSERT INTO side_outbox VALUES (?1, ?2, ?3, ?4, NULL)")?;
    for side in sides {
        let name = side.table.name();
        for (day, ledger) in &side.encoded.days {
            row_count += ledger.rows;
            let (rows, hash_sum) = (signed(ledger.rows), signed(ledger.hash_sum));
            put_day.execute(params![signed(epoch), name, day, rows, hash_sum])?;
        }
        blob_bytes += side.blob.len() as u64;
        let plain_bytes = signed(side.encoded.bytes.len() as u64);
        put_blob.execute(params![signed(epoch), name, plain_bytes, side.blob])?;
    }
    Ok((row_count, blob_bytes))
}

/// What the ledger knows of an epoch.
pub(super) fn get_days(connection: &Connection, epoch: u64) -> Result<SideDays, StateError> {
    let mut statement = connection.prepare_cached(
        "SELECT table_name, day, row_count, hash_sum FROM epoch_side_day WHERE epoch = ?1",
    )?;
    let rows = statement.query_map([signed(epoch)], |row| {
        let ledger = DayLedger {
            rows: unsigned(row.get(2)?),
            samples: 0,
            hash_sum: unsigned(row.get(3)?),
        };
        Ok((row.get::<_, String>(0)?, row.get(1)?, ledger))
    })?;
    let mut days = SideDays::new();
    for row in rows {
        let (name, day, ledger) = row?;
        // A table that only a later release knows is left to that release.
        if let Some(table) = SideTable::named(&name) {
            days.entry(table).or_default().insert(day, ledger);
        }
    }
    Ok(days)
}

/// Moves an epoch's rows to another collector's id.
pub(super) fn restamp(
    transaction: &Transaction<'_>,
    epoch: u64,
    collector_id: Uuid,
) -> Result<(), StateError> {
    for table in get_days(transaction, epoch)?.into_keys() {
        let rows = get_rows(transaction, epoch, table)?;
        let bytes = rows.ok_or(StateError::BlobGone {
            epoch,
            table: table.name(),
        })?;
        let stamped = side_tables::restamp(table, &bytes, collector_id)
            .ok_or(StateError::Damaged("outbox blob"))?;
        let blob = zstd::bulk::compress(&stamped.bytes, 1).map_err(StateError::Blob)?;
        transaction.execute(
            "UPDATE side_outbox SET blob = ?3 WHERE epoch = ?1 AND table_name = ?2",
            params![signed(epoch), table.name(), blob],
        )?;
        for (day, ledger) in stamped.days {
            transaction.execute(
                "UPDATE epoch_side_day SET hash_sum = ?4 WHERE epoch = ?1 AND table_name = ?2 AND day = ?3",
                params![signed(epoch), table.name(), day, signed(ledger.hash_sum)],
            )?;
        }
    }
    Ok(())
}

/// Deletes blobs confirmed before the first time, and ledger rows confirmed before the second.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    blobs_before_ms: i64,
    ledger_before_ms: i64,
) -> Result<(), StateError> {
    transaction.execute(
        "DELETE FROM side_outbox WHERE confirmed_at_ms < ?1",
        [blobs_before_ms],
    )?;
    transaction.execute(
        "DELETE FROM epoch_side_day WHERE epoch IN (SELECT epoch FROM epoch WHERE confirmed_at_ms < ?1)
         AND epoch NOT IN (SELECT epoch FROM side_outbox WHERE confirmed_at_ms IS NULL)",
        [ledger_before_ms],
    )?;
    Ok(())
}

/// Notes that ClickHouse holds an epoch's rows.
pub(super) fn confirm(
    transaction: &Transaction<'_>,
    epoch: u64,
    now_ms: i64,
) -> Result<(), StateError> {
    // Rows for a table that only a later release knows have gone nowhere: they wait for that release.
    for table in SideTable::ALL {
        transaction.execute(
            "UPDATE side_outbox SET confirmed_at_ms = ?2 WHERE epoch = ?1 AND table_name = ?3",
            params![signed(epoch), now_ms, table.name()],
        )?;
    }
    Ok(())
}

fn get_rows(
    connection: &Connection,
    epoch: u64,
    table: SideTable,
) -> Result<Option<Vec<u8>>, StateError> {
    let mut statement = connection.prepare_cached(
        "SELECT plain_bytes, blob FROM side_outbox WHERE epoch = ?1 AND table_name = ?2",
    )?;
    let found = statement
        .query_row(params![signed(epoch), table.name()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found.map(unpack).transpose()
}

/// A blob's rows, of which the length is known.
pub(super) fn unpack((plain_bytes, blob): (i64, Vec<u8>)) -> Result<Vec<u8>, StateError> {
    let capacity = usize::try_from(plain_bytes).unwrap_or(0);
    zstd::bulk::decompress(&blob, capacity).map_err(StateError::Blob)
}

impl State {
    /// The rows of an epoch for a table beside `rollup_1m` as `RowBinary`; none if it has none, or its
    /// blob is no longer kept.
    ///
    /// # Errors
    /// When the file cannot be read or the blob not unpacked.
    pub fn side_rows_of(
        &self,
        epoch: u64,
        table: SideTable,
    ) -> Result<Option<Vec<u8>>, StateError> {
        get_rows(&self.reader(), epoch, table)
    }

    /// Epochs that a release confirmed which knew nothing of these tables, oldest first, at most
    /// `count_max` of them: without their rows of `rollup_1m`, which ClickHouse holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn left_behind(&self, count_max: usize) -> Result<Vec<EpochInfo>, StateError> {
        let known = SideTable::ALL.map(|table| format!("'{}'", table.name()));
        let which = format!(
            "WHERE confirmed_at_ms IS NOT NULL AND epoch IN (
                 SELECT epoch FROM side_outbox WHERE confirmed_at_ms IS NULL AND table_name IN ({}))
             ORDER BY epoch LIMIT ?1",
            known.join(", ")
        );
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut infos = self.epochs(&which, count_max)?;
        for info in &mut infos {
            info.days.clear();
        }
        Ok(infos)
    }
}
