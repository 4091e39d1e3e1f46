//! The data folder: made, held against other processes, and whose journal lies in it.

use std::any::Any;
use std::path::{Path, PathBuf};

use crate::journal::{Disk, Lock, RealDisk, outline};
use crate::persist::State;
use crate::pipeline::error::ServeError;

/// The lock's file; it holds the pid of the process that has the folder.
const LOCK: &str = "LOCK";

/// The data folder, held until dropped; the kernel lets go of it when the process dies.
pub struct DataDirLock {
    _lock: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for DataDirLock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DataDirLock")
    }
}

/// Makes the data folder if need be, for this user alone.
///
/// # Errors
/// When it cannot be made.
pub fn make_data_dir(path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(unusable(path))
}

/// Holds a data folder, so that no two processes change its state file: `serve`, and the commands that
/// change it while `serve` is stopped.
///
/// # Errors
/// [`ServeError::InUse`] when another process holds it, with its pid.
pub fn lock_data_dir(path: &Path) -> Result<DataDirLock, ServeError> {
    make_data_dir(path)?;
    match RealDisk.lock(&path.join(LOCK)).map_err(unusable(path))? {
        Lock::Held(lock) => Ok(DataDirLock { _lock: lock }),
        Lock::HeldBy(pid) => Err(ServeError::InUse {
            path: path.to_owned(),
            pid: pid.map_or_else(|| "of unknown id".to_owned(), |pid| pid.to_string()),
        }),
    }
}

/// Opens the state file of a data folder.
///
/// # Errors
/// When the folder or the file cannot be used.
pub fn open_state(data_dir: &Path) -> Result<State, ServeError> {
    make_data_dir(data_dir)?;
    Ok(State::open(data_dir)?)
}

/// Where the journal of a data folder is.
#[must_use]
pub fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Refuses a journal that is not the one this state file has applied records of: positions of another
/// one mean other records, and some of them would be passed over in silence.
///
/// # Errors
/// [`ServeError::OtherJournal`] then; else when the folder cannot be read.
pub(super) fn check_journal(state: &State, data_dir: &Path) -> Result<(), ServeError> {
    match (state.journal_id()?, found_id(data_dir)?) {
        (Some(ours), Some(found)) if ours != found => Err(ServeError::OtherJournal {
            journal: journal_dir(data_dir),
            ours: uuid::Uuid::from_u128(ours),
            found: uuid::Uuid::from_u128(found),
        }),
        _ => Ok(()),
    }
}

/// Notes whose journal the state file goes with, once the journal is open. Its folder is the journal's
/// own by then: segments come and go.
///
/// # Errors
/// When the state file cannot be read or written.
pub(super) fn note_journal(state: &State, opened: u128) -> Result<(), ServeError> {
    if state.journal_id()? != Some(opened) {
        state.note_journal_id(opened)?;
    }
    Ok(())
}

fn found_id(data_dir: &Path) -> Result<Option<u128>, ServeError> {
    let dir = journal_dir(data_dir);
    if !dir.exists() {
        return Ok(None);
    }
    Ok(outline(&RealDisk, &dir)?.journal_id)
}

fn unusable(path: &Path) -> impl Fn(std::io::Error) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::DataDir {
        path: path.clone(),
        source,
    }
}
