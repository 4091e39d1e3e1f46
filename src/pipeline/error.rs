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
    /// A thread or task ended that must not.
    #[error("the {0} ended unexpectedly")]
    Died(&'static str),
}
