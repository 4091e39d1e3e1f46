//! What is sealed and not confirmed, and the ledger of epochs.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use crate::persist::epoch::{EpochInfo, SideDays};
use crate::persist::error::StateError;
use crate::persist::rows::DayLedger;
use crate::persist::session_keys;
use crate::persist::side_outbox;
use crate::persist::side_tables::SideTable;
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::State;

/// A confirmed epoch's blob is kept this long for `audit --repair`.
const BLOB_KEPT_MS: i64 = 48 * 3_600_000;
/// The ledger of epochs is kept this long: the 90 days of ClickHouse and a week.
const LEDGER_KEPT_MS: i64 = 97 * 86_400_000;

/// How much waits to be shipped, and how much has been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxTotals {
    /// Epochs not confirmed.
    pub epochs: u64,
    /// Samples in the epochs.
    pub samples: u64,
    /// Bytes of the epochs' blobs.
    pub bytes: u64,
    /// When the oldest epoch was sealed, Unix ms.
    pub oldest_ms: Option<i64>,
}

impl State {
    /// The epochs that wait, oldest first, at most `count_max` of them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unconfirmed(&self, count_max: usize) -> Result<Vec<EpochInfo>, StateError> {
        self.epochs(
            "WHERE confirmed_at_ms IS NULL ORDER BY epoch LIMIT ?1",
            i64::try_from(count_max).unwrap_or(i64::MAX),
        )
    }

    /// When an epoch was sealed, Unix ms; `None`: it is not in the ledger.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sealed_at_ms(&self, epoch: u64) -> Result<Option<i64>, StateError> {
        let found = self.epochs("WHERE epoch = ?1", epoch.cast_signed())?;
        Ok(found.first().map(|info| info.sealed_at_ms))
    }

    /// The ledger of all epochs since `epoch`, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ledger(&self, since_epoch: u64) -> Result<Vec<EpochInfo>, StateError> {
        self.epochs("WHERE epoch >= ?1 ORDER BY epoch", signed(since_epoch))
    }

    pub(super) fn epochs(&self, which: &str, argument: i64) -> Result<Vec<EpochInfo>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&format!(
            "SELECT epoch, sealed_at_ms, confirmed_at_ms, collector_id FROM epoch {which}"
        ))?;
        let infos = statement.query_map([argument], |row| {
            Ok(EpochInfo {
                epoch: unsigned(row.get(0)?),
                collector_id: Uuid::parse_str(&row.get::<_, String>(3)?).unwrap_or_default(),
                sealed_at_ms: row.get(1)?,
                confirmed_at_ms: row.get(2)?,
                days: BTreeMap::new(),
                sides: SideDays::new(),
            })
        })?;
        let mut infos = infos.collect::<Result<Vec<_>, _>>()?;
        let mut days = reader.prepare_cached(
            "SELECT day, row_count, samples, hash_sum FROM epoch_day WHERE epoch = ?1",
        )?;
        for info in &mut infos {
            let rows = days.query_map([signed(info.epoch)], |row| {
                let ledger = DayLedger {
                    rows: unsigned(row.get(1)?),
                    samples: unsigned(row.get(2)?),
                    hash_sum: unsigned(row.get(3)?),
                };
                Ok((row.get(0)?, ledger))
            })?;
            info.days = rows.collect::<Result<_, _>>()?;
            info.sides = side_outbox::get_days(&reader, info.epoch)?;
        }
        Ok(infos)
    }

    /// The rows of an epoch for `rollup_1m` as `RowBinary`, if its blob is still kept.
    ///
    /// # Errors
    /// When the file cannot be read or the blob not unpacked.
    pub fn rows_of(&self, epoch: u64) -> Result<Option<Vec<u8>>, StateError> {
        let found: Option<(i64, Vec<u8>)> = {
            let reader = self.reader();
            let mut statement =
                reader.prepare_cached("SELECT plain_bytes, blob FROM outbox WHERE epoch = ?1")?;
            statement
                .query_row([signed(epoch)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?
        };
        found.map(side_outbox::unpack).transpose()
    }

    /// The rows that an unconfirmed epoch has for `rollup_1m` (`None`) or a table beside it; none when its ledger
    /// lists none. Whoever ships such rows or answers from them asks here, so that both call the same thing damage.
    ///
    /// # Errors
    /// [`StateError::BlobGone`] when the ledger lists rows that are not there; else when the file cannot be read or
    /// the blob not unpacked.
    pub fn waiting_rows(
        &self,
        info: &EpochInfo,
        table: Option<SideTable>,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let epoch = info.epoch;
        let (is_listed, name) = match table {
            // Nothing was accepted in the epoch, or ClickHouse has been found to hold it.
            None => (!info.days.is_empty(), "rollup_1m"),
            Some(table) => (info.sides.contains_key(&table), table.name()),
        };
        if !is_listed {
            return Ok(None);
        }
        let rows = match table {
            None => self.rows_of(epoch)?,
            Some(table) => self.side_rows_of(epoch, table)?,
        };
        let gone = StateError::BlobGone { epoch, table: name };
        rows.ok_or(gone).map(Some)
    }

    /// Notes that ClickHouse holds all of these epochs.
    ///
    /// # Errors
    /// When the file cannot be written; they are then found again and confirmed later.
    pub fn confirm(&self, epochs: &[u64], now_ms: i64) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        for epoch in epochs {
            transaction.execute(
                "UPDATE epoch SET confirmed_at_ms = ?2 WHERE epoch = ?1",
                params![signed(*epoch), now_ms],
            )?;
            side_outbox::confirm(&transaction, *epoch, now_ms)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Deletes blobs, ledger rows and session keys whose time is over. Nothing unconfirmed is touched.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn expire(&self, now_ms: i64) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let blobs_before_ms = now_ms - BLOB_KEPT_MS;
        let ledger_before_ms = now_ms - LEDGER_KEPT_MS;
        side_outbox::expire(&transaction, blobs_before_ms, ledger_before_ms)?;
        transaction.execute(
            "DELETE FROM outbox WHERE epoch IN (SELECT epoch FROM epoch WHERE confirmed_at_ms < ?1)",
            [blobs_before_ms],
        )?;
        transaction.execute(
            "DELETE FROM epoch_day WHERE epoch IN (SELECT epoch FROM epoch WHERE confirmed_at_ms < ?1)",
            [ledger_before_ms],
        )?;
        transaction.execute(
            "DELETE FROM epoch WHERE confirmed_at_ms < ?1
             AND epoch NOT IN (SELECT epoch FROM side_outbox WHERE confirmed_at_ms IS NULL)",
            [ledger_before_ms],
        )?;
        transaction.execute(
            "DELETE FROM journal_loss WHERE found_at_ms < ?1 AND accepted_at_ms IS NOT NULL",
            [ledger_before_ms],
        )?;
        session_keys::destroy(&transaction, now_ms)?;
        transaction.commit()?;
        drop(writer);
        self.empty_log()
    }

    /// How much waits to be shipped.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn outbox_totals(&self) -> Result<OutboxTotals, StateError> {
        let reader = self.reader();
        let (epochs, oldest_ms, bytes) = reader.query_row(
            "SELECT count(*), min(sealed_at_ms), coalesce(sum(length(blob)), 0)
                 + (SELECT coalesce(sum(length(blob)), 0) FROM side_outbox WHERE confirmed_at_ms IS NULL)
             FROM epoch LEFT JOIN outbox USING (epoch) WHERE confirmed_at_ms IS NULL",
            [],
            |row| Ok((unsigned(row.get(0)?), row.get(1)?, unsigned(row.get(2)?))),
        )?;
        let samples: i64 = reader.query_row(
            "SELECT coalesce(sum(samples), 0) FROM epoch_day
             WHERE epoch IN (SELECT epoch FROM epoch WHERE confirmed_at_ms IS NULL)",
            [],
            |row| row.get(0),
        )?;
        Ok(OutboxTotals {
            epochs,
            samples: unsigned(samples),
            bytes,
            oldest_ms,
        })
    }
}
