//! What a seal writes in one transaction, and what a start reads back.

use rusqlite::params;

use crate::aggregate::Restored;
use crate::persist::error::StateError;
use crate::persist::keys::{count_keys, put_keys};
use crate::persist::marks::mark_hours;
use crate::persist::sealing::Sealing;
use crate::persist::side_outbox;
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::State;
use crate::persist::tables::{
    drop_series, get_meta, get_names, get_queues, get_series, get_terminals, put_meta, put_names,
    put_series, put_terminals,
};

/// What came of a seal.
#[derive(Debug, Clone, Copy)]
pub struct SealedEpoch {
    /// The epoch's number.
    pub epoch: u64,
    /// The epoch's rows, of every table.
    pub rows: u64,
    /// Samples in the rows.
    pub samples: u64,
    /// Bytes of the epoch's blobs in the outbox.
    pub blob_bytes: u64,
}

impl State {
    /// Writes an encoded cut: all of it, or nothing.
    ///
    /// # Errors
    /// When the transaction fails; it can be tried again with the same cut.
    pub fn seal(&self, sealing: &Sealing, now_ms: i64) -> Result<SealedEpoch, StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let (cut, epoch) = (&sealing.cut, signed(sealing.epoch));
        let before: Option<String> = get_meta(&transaction, "applied")?;
        let first: i64 = before.and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
        transaction.execute(
            "INSERT INTO epoch VALUES (?1, ?6, ?2, ?3, ?4, ?5, NULL)",
            params![
                epoch,
                now_ms,
                first,
                signed(cut.applied),
                cut.journal_ms,
                self.collector_id().to_string()
            ],
        )?;
        let mut ledger =
            transaction.prepare_cached("INSERT INTO epoch_day VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let (mut row_count, mut samples) = (0, 0);
        for (day, of_day) in &sealing.encoded.days {
            row_count += of_day.rows;
            samples += of_day.samples;
            let numbers = (
                signed(of_day.rows),
                signed(of_day.samples),
                signed(of_day.hash_sum),
            );
            ledger.execute(params![epoch, day, numbers.0, numbers.1, numbers.2])?;
        }
        drop(ledger);
        transaction.execute(
            "INSERT INTO outbox VALUES (?1, ?2, ?3)",
            params![
                epoch,
                signed(sealing.encoded.bytes.len() as u64),
                sealing.blob
            ],
        )?;
        mark_hours(&transaction, sealing.epoch, now_ms, &sealing.hours)?;
        let (side_rows, side_bytes) =
            side_outbox::put(&transaction, sealing.epoch, &sealing.sides)?;
        put_names(&transaction, "store", &cut.stores)?;
        put_names(&transaction, "release", &cut.releases)?;
        put_meta(&transaction, "name_ages", &cut.name_ages)?;
        drop_series(&transaction, "store", &cut.dropped.0)?;
        drop_series(&transaction, "release", &cut.dropped.1)?;
        put_series(&transaction, "store", &cut.store_series)?;
        put_series(&transaction, "release", &cut.release_series)?;
        put_terminals(&transaction, &cut.terminals)?;
        put_keys(&transaction, &cut.keys)?;
        count_keys(&transaction, &cut.keys_by_store)?;
        put_meta(&transaction, "last_epoch", &sealing.epoch.to_string())?;
        put_meta(&transaction, "applied", &cut.applied.to_string())?;
        put_meta(&transaction, "totals", &serde_json::to_string(&cut.totals)?)?;
        put_meta(&transaction, "journal_ms", &cut.journal_ms.to_string())?;
        transaction.commit()?;
        Ok(SealedEpoch {
            epoch: sealing.epoch,
            rows: row_count + side_rows,
            samples,
            blob_bytes: sealing.blob.len() as u64 + side_bytes,
        })
    }

    /// Reads back what the last seal left.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold what it should.
    pub fn restore(&self) -> Result<Restored, StateError> {
        let reader = self.reader();
        let number = |key: &str| -> Result<i64, StateError> {
            let text: Option<String> = get_meta(&reader, key)?;
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        let totals: Option<String> = get_meta(&reader, "totals")?;
        let totals = totals.map(|text| serde_json::from_str(&text)).transpose()?;
        let name_ages: Option<String> = get_meta(&reader, "name_ages")?;
        let name_ages = name_ages.map(|text| serde_json::from_str(&text));
        Ok(Restored {
            name_ages: name_ages.transpose()?.unwrap_or_default(),
            applied: unsigned(number("applied")?),
            totals: totals.unwrap_or_default(),
            journal_ms: number("journal_ms")?,
            stores: get_names(&reader, "store")?,
            releases: get_names(&reader, "release")?,
            store_series: get_series(&reader, "store")?,
            release_series: get_series(&reader, "release")?,
            queues: get_queues(&reader)?,
            terminals: get_terminals(&reader)?,
        })
    }
}
