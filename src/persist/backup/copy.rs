//! The state file's pages, from one snapshot, while others write.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use crate::persist::backup::error::BackupError;
use crate::persist::backup::files::sync_file;
use crate::persist::error::StateError;
use crate::persist::layout::LAYOUT;
use crate::persist::signed::unsigned;
use crate::persist::tables::get_meta;

/// Pages copied between two looks at the progress: 4 MiB.
const PAGES_A_STEP: i32 = 1_024;

/// What the state file says of itself.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) collector_id: Uuid,
    pub(super) last_epoch: u64,
    pub(super) unconfirmed_epochs: u64,
    pub(super) applied_position: u64,
}

impl Facts {
    pub(super) fn read(connection: &Connection) -> Result<Self, BackupError> {
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > LAYOUT {
            let known = LAYOUT;
            return Err(StateError::Later { found, known }.into());
        }
        let number = |key: &str| -> Result<u64, BackupError> {
            let text: Option<String> = get_meta(connection, key)?;
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        let id: Option<String> = get_meta(connection, "collector_id")?;
        let id = id.and_then(|text| Uuid::parse_str(&text).ok());
        let unconfirmed: i64 = connection.query_row(
            "SELECT count(*) FROM epoch WHERE confirmed_at_ms IS NULL",
            [],
            |row| row.get(0),
        )?;
        Ok(Self {
            collector_id: id.ok_or(StateError::Damaged("collector id"))?,
            last_epoch: number("last_epoch")?,
            unconfirmed_epochs: unsigned(unconfirmed),
            applied_position: number("applied")?,
        })
    }
}

/// Copies the pages of one snapshot. A transaction on the source holds it: what is sealed meanwhile
/// neither comes into the copy nor makes it begin anew.
pub(super) fn copy_state(
    source: &Path,
    copy: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Facts, BackupError> {
    let source = open_read_only(source)?;
    let snapshot = source.unchecked_transaction()?;
    // The first read takes the snapshot.
    let facts = Facts::read(&snapshot)?;
    let page_bytes: i64 = snapshot.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let mut target = Connection::open(copy)?;
    {
        let backup = Backup::new(&snapshot, &mut target)?;
        loop {
            let step = backup.step(PAGES_A_STEP)?;
            let pages = backup.progress();
            let bytes = |pages: i32| u64::try_from(i64::from(pages) * page_bytes).unwrap_or(0);
            progress(
                bytes(pages.pagecount - pages.remaining),
                bytes(pages.pagecount),
            );
            match step {
                StepResult::Done => break,
                // Nobody else writes the copy, and a snapshot is never busy; but a step may say so.
                StepResult::Busy | StepResult::Locked => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => {}
            }
        }
    }
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    if !is_sound(&target)? {
        return Err(StateError::Damaged("page: the state file itself is damaged").into());
    }
    drop(target);
    sync_file(copy)?;
    Ok(facts)
}

/// Whether every page of a state file is one.
pub(super) fn is_sound(connection: &Connection) -> Result<bool, BackupError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(verdict == "ok")
}

pub(super) fn open_read_only(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}
