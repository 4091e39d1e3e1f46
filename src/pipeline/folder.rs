//! Makes the data folder, holds it against other processes, and sees whether its contents belong together.

use std::any::Any;
use std::path::{Path, PathBuf};

use tillwatch_journal::{Lock, Noted, Position, outline};
use uuid::Uuid;

use crate::persist::State;
use crate::persist::backup::STATE_FILE;
use crate::persist::identity::{Belonging, has_state};
use crate::pipeline::error::ServeError;
use crate::world::World;

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
pub fn lock_data_dir(path: &Path, world: &World) -> Result<DataDirLock, ServeError> {
    make_data_dir(path)?;
    let lock = world.disk.lock(&path.join(LOCK));
    match lock.map_err(unusable(path))? {
        Lock::Held(lock) => Ok(DataDirLock { _lock: lock }),
        Lock::HeldBy(pid) => Err(ServeError::InUse {
            path: path.to_owned(),
            pid: pid.map_or_else(|| "of unknown id".to_owned(), |pid| pid.to_string()),
        }),
    }
}

/// Opens the state file of a data folder, or makes one where there is nothing else.
///
/// # Errors
/// [`ServeError::StateGone`] when there is none beside a journal with records; nothing is made then. Else
/// when the folder or the file cannot be used.
pub fn open_state(data_dir: &Path, world: &World) -> Result<State, ServeError> {
    make_data_dir(data_dir)?;
    if !has_state(data_dir) {
        let found = outline(&*world.disk, &journal_dir(data_dir))?;
        if found.is_used || found.noted.is_some_and(|noted| noted.durable > Position(0)) {
            return Err(state_gone(data_dir));
        }
    }
    Ok(State::open(data_dir, world)?)
}

fn state_gone(data_dir: &Path) -> ServeError {
    ServeError::StateGone {
        journal: journal_dir(data_dir),
        state: data_dir.join(STATE_FILE),
    }
}

/// Where the journal of a data folder is.
#[must_use]
pub fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Refuses a journal that is not the one this state file has applied records of: positions of another
/// one mean other records, and some of them would be passed over in silence. So it refuses one that is not
/// there, one that nobody knows, and one of which another copy of the state file has sealed more.
///
/// # Errors
/// [`ServeError::OtherJournal`], [`ServeError::JournalGone`], [`ServeError::StateGone`] and
/// [`ServeError::OlderState`] then; else when the folder cannot be read.
pub(super) fn check_journal(
    state: &State,
    data_dir: &Path,
    world: &World,
) -> Result<(), ServeError> {
    let known = Belonging {
        journal_id: state.journal_id()?,
        applied: state.applied()?,
    };
    check_belonging(known, data_dir, world)
}

/// Checks as `check_journal` does, with what a state file says that is not opened for use.
///
/// # Errors
/// The errors of `check_journal`.
pub fn check_belonging(known: Belonging, data_dir: &Path, world: &World) -> Result<(), ServeError> {
    let journal = journal_dir(data_dir);
    let found = outline(&*world.disk, &journal)?;
    let applied = known.applied;
    let gone = |ours, noted: Option<Noted>| ServeError::JournalGone {
        journal: journal.clone(),
        ours: Uuid::from_u128(ours),
        applied,
        durable: noted.map_or(0, |noted| noted.durable.0).max(applied),
    };
    match (known.journal_id, found.journal_id) {
        (Some(ours), Some(found)) if ours != found => Err(ServeError::OtherJournal {
            journal,
            ours: Uuid::from_u128(ours),
            found: Uuid::from_u128(found),
        }),
        (Some(ours), None) if found.segments == 0 => {
            let noted = found.noted.filter(|noted| noted.journal_id == ours);
            if noted.is_some() && found.is_there {
                // The folder is the journal's and its segments are gone: opening the journal counts them.
                Ok(())
            } else {
                Err(gone(ours, noted))
            }
        }
        (None, _) if found.is_used => Err(state_gone(data_dir)),
        (None, None) => match found.noted {
            Some(noted) if noted.durable > Position(0) => Err(gone(noted.journal_id, Some(noted))),
            _ => Ok(()),
        },
        (Some(ours), _) => match found.noted {
            Some(noted) if noted.journal_id == ours && noted.released.0 > applied => {
                Err(ServeError::OlderState {
                    applied,
                    released: noted.released.0,
                })
            }
            _ => Ok(()),
        },
        (None, Some(_)) => Ok(()),
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

fn unusable(path: &Path) -> impl Fn(std::io::Error) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::DataDir {
        path: path.clone(),
        source,
    }
}
