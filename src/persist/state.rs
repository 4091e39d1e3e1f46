//! The one SQLite file: what a seal writes in one transaction and a start reads back.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::aggregate::saved::SavedSeries;
use crate::aggregate::terminals::TerminalChange;
use crate::aggregate::{Cut, Restored, Totals};
use crate::model::{FirstResult, KeyId, StoreHour};
use crate::persist::error::StateError;
use crate::persist::hours::{hours_of, mark_hours, uncheck_all};
use crate::persist::keys::put_keys;
use crate::persist::rows::{self, EncodedRows, RowOrigin};
use crate::persist::side_outbox::{self, SideBlob, SideDays};
use crate::persist::side_tables::SideTable;
use crate::persist::tables::{
    bring_forward, drop_series, get_meta, get_names, get_queues, get_series, get_terminals,
    put_meta, put_names, put_series, put_terminals,
};

/// The state file, with one connection that writes and one that reads beside it.
#[derive(Debug)]
pub struct State {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    collector_id: Uuid,
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

/// A cut that has been encoded and waits to be written.
#[derive(Debug)]
pub struct Sealing {
    epoch: u64,
    cut: CutState,
    encoded: EncodedRows,
    blob: Vec<u8>,
    hours: Vec<StoreHour>,
    sides: Vec<SideBlob>,
}

/// The parts of a cut beside its rows.
#[derive(Debug)]
struct CutState {
    applied: u64,
    totals: Totals,
    journal_ms: i64,
    stores: Vec<(String, i64)>,
    releases: Vec<(String, i64)>,
    dropped: (Vec<String>, Vec<String>),
    store_series: Vec<(String, String)>,
    release_series: Vec<(String, String)>,
    terminals: Vec<(TerminalChange, String)>,
    keys: Vec<(KeyId, FirstResult)>,
}

impl Sealing {
    /// The epoch's number.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The position up to which it goes.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.cut.applied
    }

    /// Its rows by day.
    #[must_use]
    pub fn days(&self) -> &std::collections::BTreeMap<u32, rows::DayLedger> {
        &self.encoded.days
    }

    /// Idempotency keys of its batches.
    #[must_use]
    pub fn keys(&self) -> &[(KeyId, FirstResult)] {
        &self.cut.keys
    }

    /// The hours of stores that its rows are of.
    #[must_use]
    pub fn hours(&self) -> &[StoreHour] {
        &self.hours
    }

    /// Its rows in the tables beside `rollup_1m`, by day.
    #[must_use]
    pub fn side_days(&self) -> SideDays {
        side_outbox::days_of(&self.sides)
    }

    /// Those rows as bytes.
    #[must_use]
    pub fn side_bytes(&self, table: SideTable) -> &[u8] {
        let side = self.sides.iter().find(|side| side.table == table);
        side.map_or(&[], |side| &side.encoded.bytes)
    }

    /// The rows of `rollup_1m` as bytes, for readers while the transaction is under way.
    #[must_use]
    pub fn row_bytes(&self) -> &[u8] {
        &self.encoded.bytes
    }
}

impl State {
    /// Opens or makes the file in `folder`.
    ///
    /// # Errors
    /// When it cannot be opened, or a later release has written it that this one may not follow.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("state.sqlite");
        let mut writer = connect(&path)?;
        let transaction = writer.transaction()?;
        bring_forward(&transaction)?;
        let known: Option<String> = get_meta(&transaction, "collector_id")?;
        let collector_id = match known {
            Some(text) => {
                Uuid::parse_str(&text).map_err(|_not_a_uuid| StateError::Damaged("collector id"))?
            }
            None => new_collector_id(&transaction)?,
        };
        transaction.commit()?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(connect(&path)?),
            collector_id,
        })
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
        let id = new_collector_id(&transaction)?;
        // Another copy of this file has shipped epochs that this one knows nothing of.
        uncheck_all(&transaction)?;
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

    /// Encodes a cut as the epoch with this number. Takes no lock: the rows may be many.
    ///
    /// # Errors
    /// When the rows cannot be compressed.
    pub fn encode(&self, cut: Cut, epoch: u64) -> Result<Sealing, StateError> {
        let origin = RowOrigin {
            collector_id: self.collector_id,
            epoch,
            received_at_ms: cut.journal_ms,
        };
        let terminal_hours = cut.terminal_hours.into_rows(&cut.tables);
        let sessions = cut.sessions.into_rows(&cut.tables);
        let sides = side_outbox::encode((&terminal_hours, &sessions), origin)?;
        let rows = cut.windows.into_rows(&cut.tables);
        let hours = hours_of(&rows);
        let encoded = rows::encode(rows, origin);
        let blob = zstd::bulk::compress(&encoded.bytes, 1).map_err(StateError::Blob)?;
        let json = |series: Vec<(String, SavedSeries)>| {
            let line = |(name, saved)| Ok((name, serde_json::to_string(&saved)?));
            series
                .into_iter()
                .map(line)
                .collect::<Result<Vec<_>, StateError>>()
        };
        let terminal = |(change, saved)| Ok((change, serde_json::to_string(&saved)?));
        let terminals: Result<Vec<_>, StateError> =
            cut.terminals.into_iter().map(terminal).collect();
        Ok(Sealing {
            epoch,
            encoded,
            blob,
            hours,
            sides,
            cut: CutState {
                applied: cut.applied,
                totals: cut.totals,
                journal_ms: cut.journal_ms,
                stores: cut.stores,
                releases: cut.releases,
                dropped: cut.dropped,
                store_series: json(cut.store_series)?,
                release_series: json(cut.release_series)?,
                terminals: terminals?,
                keys: cut.keys,
            },
        })
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
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten with zeros: the keys of sessions must not outlive their time.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

fn new_collector_id(connection: &Connection) -> Result<Uuid, StateError> {
    let bytes: [u8; 16] = connection.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    put_meta(connection, "collector_id", &id.to_string())?;
    Ok(id)
}
