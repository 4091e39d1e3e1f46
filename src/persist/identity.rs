//! Knows to which journal a state file belongs: the one whose positions the file holds.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use crate::persist::backup::STATE_FILE;
use crate::persist::error::StateError;
use crate::persist::state::State;
use crate::persist::tables::{get_meta, put_meta};

/// What a state file says of the journal, without being opened for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belonging {
    /// The journal that the state file goes with.
    pub journal_id: Option<u128>,
    /// The position up to which the state file holds everything.
    pub applied: u64,
}

/// Whether there is a state file in `folder`. An empty file is none: SQLite would make a new one of it.
#[must_use]
pub fn has_state(folder: &Path) -> bool {
    std::fs::metadata(folder.join(STATE_FILE)).is_ok_and(|file| file.len() > 0)
}

/// Looks into the state file in `folder`, which may be in use, and changes nothing; `None` without one.
///
/// # Errors
/// When it cannot be read.
pub fn look(folder: &Path) -> Result<Option<Belonging>, StateError> {
    if !has_state(folder) {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(STATE_FILE), flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    let applied: Option<String> = get_meta(&connection, "applied")?;
    Ok(Some(Belonging {
        journal_id: journal_id_in(&connection)?,
        applied: applied.and_then(|text| text.parse().ok()).unwrap_or(0),
    }))
}

fn journal_id_in(connection: &Connection) -> Result<Option<u128>, StateError> {
    let text: Option<String> = get_meta(connection, "journal_id")?;
    text.map(|text| {
        let id = Uuid::parse_str(&text).map_err(|_not_a_uuid| StateError::Damaged("journal id"))?;
        Ok(id.as_u128())
    })
    .transpose()
}

impl State {
    /// The journal whose positions this file knows; `None` before the first start, and after a restore.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn journal_id(&self) -> Result<Option<u128>, StateError> {
        journal_id_in(&self.reader())
    }

    /// The position up to which this file holds everything.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn applied(&self) -> Result<u64, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "applied")?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Notes which journal this file goes with.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_journal_id(&self, id: u128) -> Result<(), StateError> {
        let text = Uuid::from_u128(id).to_string();
        put_meta(&self.writer(), "journal_id", &text)
    }

    /// Goes with another journal than before, or with a new one, from `applied` on; what lies below is
    /// not read. Never goes back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn go_with(&self, journal: Option<u128>, applied: u64) -> Result<(), StateError> {
        let applied = self.applied()?.max(applied);
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        match journal {
            Some(id) => {
                let text = Uuid::from_u128(id).to_string();
                put_meta(&transaction, "journal_id", &text)?;
            }
            None => {
                transaction.execute("DELETE FROM meta WHERE key = 'journal_id'", [])?;
            }
        }
        put_meta(&transaction, "applied", &applied.to_string())?;
        transaction.commit()?;
        Ok(())
    }
}
