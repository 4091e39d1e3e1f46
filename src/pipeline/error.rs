//! Why `serve` could not start, or had to end.

use std::net::SocketAddr;
use std::path::PathBuf;

use tillwatch_engine::EngineError;
use tillwatch_journal::OpenError;

use crate::persist::{ClickHouseError, StateError};

/// Why `serve` could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("could not use the data folder {}", .path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why the folder cannot be used.
        #[source]
        source: std::io::Error,
    },
    /// A metric of the shop's own is declared as something else than it was when it was first used.
    #[error(
        "{}, line {line}: [[metrics]] {name:?}: {what}. What the journal and the tables hold of a metric must keep its \
         meaning: declare it as it was, and what is new under a name of its own",
        .path.display()
    )]
    MetricChanged {
        /// The file with the settings.
        path: PathBuf,
        /// The line of the declaration.
        line: usize,
        /// The metric.
        name: String,
        /// What has changed.
        what: String,
    },
    /// The certificates that ClickHouse's must lead to cannot be read.
    #[error(
        "the certificates that are trusted for clickhouse_url cannot be read (clickhouse_ca_file)"
    )]
    Roots(#[source] std::io::Error),
    /// A certificate cannot be used.
    #[error("the certificate of a listener cannot be used")]
    Tls(#[from] crate::listener::TlsError),
    /// Another process has the data folder.
    #[error("the data folder {} is in use by process {pid}; stop that process first", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that has the folder.
        pid: String,
    },
    /// The journal in the data folder is not the one that the state file goes with.
    #[error(
        "the journal in {} has id {found}, but the state file beside it goes with journal {ours}: one of them comes \
         from another collector. Put back what belongs together; to bring a collector back from a backup, use \
         `tillwatch restore`; to set this journal aside and note what is lost with the other, `tillwatch journal \
         abandon`",
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
    /// The journal that the state file goes with is not there.
    #[error(
        "the state file goes with journal {ours}, and there is none in {}: is it deleted, or not mounted? Records up to \
         position {durable} at least were acknowledged, and those after {applied} lie there alone. Put it back and start again; \
         a copied state file is brought up with `tillwatch restore`; to go on without the journal, `tillwatch journal abandon`, which notes what is lost",
        .journal.display()
    )]
    JournalGone {
        /// The journal's folder.
        journal: PathBuf,
        /// The journal that the state file, or the note beside the folder, knows.
        ours: uuid::Uuid,
        /// The position up to which the state file holds the journal's records.
        applied: u64,
        /// The position that the journal had reached at least.
        durable: u64,
    },
    /// There is a journal with records, and no state file that goes with it.
    #[error(
        "there is a journal with records in {}, and no state file that goes with it: is {} deleted or emptied? Without \
         it nobody knows what has been counted. Put it back and start again, or bring the collector back from a backup \
         with `tillwatch restore`. To go on with a new one: `tillwatch journal adopt` takes what no state file had \
         sealed; `tillwatch journal abandon` sets the journal aside",
        .journal.display(), .state.display()
    )]
    StateGone {
        /// The journal's folder.
        journal: PathBuf,
        /// The state file.
        state: PathBuf,
    },
    /// Another copy of the state file has sealed more of the journal.
    #[error(
        "the state file holds the journal's records up to position {applied}, but those up to {released} have been \
         sealed: it is an older copy, or its write-ahead log is gone. Put the newer one back and start again. To go on \
         with this one, `tillwatch migrate --new-collector-id`: what has been sealed is not counted again, and what of \
         it had not been shipped is lost"
    )]
    OlderState {
        /// The position up to which the state file holds the journal's records.
        applied: u64,
        /// The position up to which another state file had sealed.
        released: u64,
    },
    /// A command was asked to do what there is nothing to do about.
    #[error("{0}")]
    NothingToDo(String),
    /// An address cannot be listened on.
    #[error(
        "could not listen on {address}: another process may use it; stop that one, or choose another {setting}"
    )]
    Listen {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why the address cannot be listened on.
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
    #[error(
        "the {0} ended unexpectedly; the log says where it panicked. What was acknowledged is in the journal: start again"
    )]
    Died(&'static str),
}
