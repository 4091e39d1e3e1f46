//! Why there is no backup, or none that can be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::persist::backup::FORMAT;
use crate::persist::error::StateError;

/// Why there is no backup, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder holds something already.
    #[error("{} is not empty; name a folder that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    /// There is no state file to copy.
    #[error("there is no state file in {}; is it the data folder of a collector?", .0.display())]
    NoState(PathBuf),
    /// The folder holds no backup.
    #[error("{} holds no backup: {missing} is missing", .folder.display())]
    NotABackup {
        /// The folder.
        folder: PathBuf,
        /// What ought to be there.
        missing: &'static str,
    },
    /// A file is not as it was written.
    #[error(
        "the backup is damaged: {file} should have checksum {expected} and has {found}. Use another backup; nothing \
         was changed"
    )]
    Corrupt {
        /// The file.
        file: &'static str,
        /// The checksum as it was written.
        expected: String,
        /// The checksum as it is.
        found: String,
    },
    /// The manifest and the state file do not belong together.
    #[error(
        "the manifest is of {what} {manifest} and the state file of {state}: they come from different backups. Put \
         together what belongs together; nothing was changed"
    )]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What the manifest says.
        manifest: String,
        /// What the state file says.
        state: String,
    },
    /// The disk has too little room for another backup.
    #[error(
        "{} has {free} bytes free, and a backup needs {needed}: make room, or lower backup_keep", .folder.display()
    )]
    NoRoom {
        /// The folder that the backup would go to.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that would have to be.
        needed: u64,
    },
    /// A later release made the backup.
    #[error(
        "the backup has format {found}, this release reads format {FORMAT}; run release {release} or later"
    )]
    Later {
        /// The format that the backup has.
        found: u32,
        /// The release that made the backup.
        release: String,
    },
    /// A file cannot be read or written.
    #[error("could not {operation} {}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why the file cannot be read or written.
        #[source]
        source: io::Error,
    },
    /// The state file cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

pub(super) fn io_error<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}
