//! Why `serve` could not start, or had to end.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::embedded::EngineError;
use crate::journal::OpenError;
use crate::persist::{ClickHouseError, StateError};

/// Why `serve` could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("could not use the data folder {}", .path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the data folder.
    #[error("the data folder {} is in use by process {pid}; stop that process first", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        pid: String,
    },
    /// The journal in the data folder is not the one that the state file goes with.
    #[error(
        "the journal in {} has id {found}, but the state file beside it goes with journal {ours}: one of them comes \
         from another collector. Put back what belongs together; to bring a collector back from a backup, use \
         `tillwatch restore`",
        .journal.display()
    )]
    OtherJournal {
        /// The journal's folder.
        journal: PathBuf,
        /// The journal that the state file knows.
        ours: uuid::Uuid,
        /// The journal that is there.
        found: uuid::Uuid,
    },
    /// An address cannot be listened on.
    #[error(
        "could not listen on {address}: another process may use it; stop that one, or choose another {setting}"
    )]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The embedded engine's library is missing.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// ClickHouse refused for good.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// Signals cannot be waited for, or the recorder is taken.
    #[error("could not set up the process: {0}")]
    Setup(String),
    /// A write or sync of the journal failed: the next start finds out what is on disk.
    #[error(
        "a write or sync of the journal failed; nothing is acknowledged any more. Look at the disk, then start again"
    )]
    Halted,
    /// The end came while a write or sync was under way.
    #[error(
        "the disk did not answer in time; what was acknowledged is on it. Look at the disk, then start again"
    )]
    DiskSilent,
    /// A thread or task ended that must not.
    #[error("the {0} ended unexpectedly")]
    Died(&'static str),
}
