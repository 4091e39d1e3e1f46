//! The one SQLite file: what a seal writes in one transaction and a start reads back.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use uuid::Uuid;

use crate::aggregate::{Restored, Totals};
use crate::chance::Chance;
use crate::persist::error::StateError;
use crate::persist::hours::{mark_hours, uncheck_all};
use crate::persist::keys::put_keys;
use crate::persist::rows;
pub use crate::persist::sealing::Sealing;
use crate::persist::side_outbox;
use crate::persist::tables::{
    bring_forward, drop_series, get_meta, get_names, get_queues, get_series, get_terminals,
    put_meta, put_names, put_series, put_terminals,
};
use crate::world::World;

/// The state file, with one connection that writes and one that reads beside it.
#[derive(Debug)]
pub struct State {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    collector_id: Uuid,
    world: World,
}

/// What came of a seal.
#[derive(Debug, Clone, Copy)]
pub struct SealedEpoch {
    /// Its number.
    pub epoch: u64,
    /// Its rows, of every table.
    pub rows: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes of its blobs in the outbox.
    pub blob_bytes: u64,
}

impl State {
    /// Opens or makes the file in `folder`.
    ///
    /// # Errors
    /// When it cannot be opened, or a later release has written it that this one may not follow.
    pub fn open(folder: &Path, world: &World) -> Result<Self, StateError> {
        let path = folder.join("state.sqlite");
        let mut writer = connect(&path)?;
        let transaction = writer.transaction()?;
        bring_forward(&transaction, world.clock.now_ms())?;
        let known: Option<String> = get_meta(&transaction, "collector_id")?;
        let collector_id = match known {
            Some(text) => {
                Uuid::parse_str(&text).map_err(|_not_a_uuid| StateError::Damaged("collector id"))?
            }
            None => new_collector_id(&transaction, &world.chance)?,
        };
        transaction.commit()?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(connect(&path)?),
            collector_id,
            world: world.clone(),
        })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.world.clock.now_ms()
    }

    pub(super) fn chance(&self) -> &Chance {
        &self.world.chance
    }

    /// The random number of this state file.
    #[must_use]
    pub fn collector_id(&self) -> Uuid {
        self.collector_id
    }

    /// Gives this state file a new number, so that its epochs cannot meet those of the old one. Of what
    /// is unconfirmed, the epochs in `used` meet other rows under the old number: they move to the new
    /// one. The others are shipped as they are, so that what has arrived of them is not there twice.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn renew_collector_id(&self, used: &[u64]) -> Result<Uuid, StateError> {
        let mut blobs = Vec::new();
        for epoch in used {
            let bytes = self.rows_of(*epoch)?;
            blobs.push((*epoch, bytes.ok_or(StateError::Damaged("outbox blob"))?));
        }
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let id = new_collector_id(&transaction, self.chance())?;
        // Another copy of this file has shipped epochs that this one knows nothing of.
        uncheck_all(&transaction, self.now_ms())?;
        for (epoch, bytes) in blobs {
            let stamped = rows::restamp(&bytes, id).ok_or(StateError::Damaged("outbox blob"))?;
            let blob = zstd::bulk::compress(&stamped.bytes, 1).map_err(StateError::Blob)?;
            let epoch = signed(epoch);
            transaction.execute(
                "UPDATE epoch SET collector_id = ?2 WHERE epoch = ?1",
                params![epoch, id.to_string()],
            )?;
            transaction.execute(
                "UPDATE outbox SET blob = ?2 WHERE epoch = ?1",
                params![epoch, blob],
            )?;
            side_outbox::restamp(&transaction, unsigned(epoch), id)?;
            for (day, ledger) in stamped.days {
                transaction.execute(
                    "UPDATE epoch_day SET hash_sum = ?3 WHERE epoch = ?1 AND day = ?2",
                    params![epoch, day, signed(ledger.hash_sum)],
                )?;
            }
        }
        transaction.commit()?;
        Ok(id)
    }

    /// The highest epoch that may have reached ClickHouse from this state file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sent_epoch(&self) -> Result<u64, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "sent_epoch")?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Notes that epochs up to this one are about to be sent. Before they are: what ClickHouse holds
    /// beyond it came from another copy of this file.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing may be sent.
    pub fn note_sent(&self, epoch: u64) -> Result<(), StateError> {
        if self.sent_epoch()? < epoch {
            put_meta(&self.writer(), "sent_epoch", &epoch.to_string())?;
        }
        Ok(())
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the last epoch, 0 before the first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_epoch(&self) -> Result<u64, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "last_epoch")?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Samples accepted in all that has been sealed, as the aggregate counted them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn accepted_samples(&self) -> Result<u64, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "totals")?;
        let totals = text.map(|text| serde_json::from_str::<Totals>(&text));
        Ok(totals.transpose()?.map_or(0, |totals| totals.accepted))
    }

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
                self.collector_id.to_string()
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
        mark_hours(&transaction, (sealing.epoch, now_ms), &sealing.hours)?;
        let (side_rows, side_bytes) =
            side_outbox::put(&transaction, sealing.epoch, &sealing.sides)?;
        put_names(&transaction, "store", &cut.stores)?;
        put_names(&transaction, "release", &cut.releases)?;
        drop_series(&transaction, "store", &cut.dropped.0)?;
        drop_series(&transaction, "release", &cut.dropped.1)?;
        put_series(&transaction, "store", &cut.store_series)?;
        put_series(&transaction, "release", &cut.release_series)?;
        put_terminals(&transaction, &cut.terminals)?;
        put_keys(&transaction, &cut.keys)?;
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
        Ok(Restored {
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

/// SQLite's integers are signed; the sums and hashes here are kept by their bits.
pub(super) fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The number that [`signed`] kept.
pub(super) fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

fn connect(path: &Path) -> Result<Connection, StateError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // A transaction that reads before it writes would fail at once if another process wrote in between.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten with zeros: the keys of sessions must not outlive their time.
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

fn new_collector_id(connection: &Connection, chance: &Chance) -> Result<Uuid, StateError> {
    let id = chance.uuid();
    put_meta(connection, "collector_id", &id.to_string())?;
    Ok(id)
}
