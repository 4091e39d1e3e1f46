//! The one SQLite file: how it is opened, and the numbers it goes by.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use crate::aggregate::Totals;
use crate::chance::Chance;
use crate::persist::error::StateError;
use crate::persist::layout::bring_forward;
use crate::persist::tables::{get_meta, put_meta};
use crate::world::World;

/// The state file, with one connection that writes and one that reads beside it.
#[derive(Debug)]
pub struct State {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    collector_id: Uuid,
    world: World,
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

    /// When the collector was ready, as it was kept last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn readiness(&self) -> Result<Option<String>, StateError> {
        get_meta(&self.reader(), "readiness")
    }

    /// Keeps when the collector was ready.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_readiness(&self, text: &str) -> Result<(), StateError> {
        put_meta(&self.writer(), "readiness", text)
    }

    /// When the last scheduled backup was made, or when the first one was asked for, Unix ms.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn backed_up_ms(&self) -> Result<Option<i64>, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "backed_up_ms")?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Keeps when the last scheduled backup was made.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_backed_up_ms(&self, at_ms: i64) -> Result<(), StateError> {
        put_meta(&self.writer(), "backed_up_ms", &at_ms.to_string())
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

pub(super) fn new_collector_id(
    connection: &Connection,
    chance: &Chance,
) -> Result<Uuid, StateError> {
    let id = chance.uuid();
    put_meta(connection, "collector_id", &id.to_string())?;
    Ok(id)
}
