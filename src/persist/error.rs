//! What can go wrong at rest, by what must be done about it.

/// The state file cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite says no. Sealing is tried again; nothing is lost meanwhile, the journal holds it.
    #[error("the state file could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// The file's pages or fields hold what SQLite never wrote.
    #[error(
        "the state file is damaged. Copy the data folder to another disk before anything else, and look at this one; \
         then bring the collector back from a backup with `tillwatch restore`"
    )]
    Corrupt(#[source] rusqlite::Error),
    /// No key for pseudonyms can be made.
    #[error("the system gives no random numbers, so no key was made; look at its log")]
    NoChance(#[source] std::io::Error),
    /// A blob could not be compressed or read back.
    #[error("an outbox blob could not be packed or unpacked")]
    Blob(#[source] std::io::Error),
    /// Saved series could not be written or read.
    #[error("saved series could not be written or read")]
    Json(#[from] serde_json::Error),
    /// The file was written by a later release that this one may not follow.
    #[error(
        "the state file needs a release that knows layout {found}, this one knows up to {known}; run the later release"
    )]
    Later {
        /// The oldest layout that a release must know to use the file.
        found: i64,
        /// Layout of this release.
        known: i64,
    },
    /// The ledger lists rows that wait to be shipped, and the outbox does not hold them.
    #[error(
        "the outbox has lost the rows of epoch {epoch} for {table}, which the ledger lists: the state file is damaged. \
         Copy the data folder to another disk before anything else, and look at this one; then bring the collector \
         back from a backup with `tillwatch restore`"
    )]
    BlobGone {
        /// The epoch whose rows are gone.
        epoch: u64,
        /// The table in ClickHouse that the rows are for.
        table: &'static str,
    },
    /// There are as many of something as there may be.
    #[error("there are {1} {0} already, and no more are kept: take away those that are not needed")]
    Full(&'static str, usize),
    /// A field holds what it cannot hold.
    #[error("the state file holds an unreadable {0}")]
    Damaged(&'static str),
}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let is_corrupt = match &error {
            // A text that is none, a number that is a text.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => true,
            other => matches!(
                other.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase)
            ),
        };
        if is_corrupt {
            Self::Corrupt(error)
        } else {
            Self::Sqlite(error)
        }
    }
}

/// ClickHouse did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// Nobody answered in time, or the connection broke: what was sent may or may not have arrived.
    #[error("ClickHouse did not answer")]
    Unreachable(#[source] clickhouse::error::Error),
    /// No answer within the time allowed.
    #[error("ClickHouse took longer than {0} s")]
    TimedOut(u64),
    /// There is no ClickHouse yet: the embedded engine is starting.
    #[error("the ClickHouse engine is not ready yet")]
    NotReady,
    /// ClickHouse answered with an exception.
    #[error("ClickHouse refused")]
    Refused(#[source] clickhouse::error::Error),
    /// ClickHouse took an insert and does not hold its rows.
    #[error("ClickHouse took the rows and does not hold them")]
    NotHeld,
    /// A migration's text is not what was applied.
    #[error(
        "migration {name} was applied with other text (checksum {applied}, now {now}); restore the file or run the release that applied it"
    )]
    ChangedMigration {
        /// Name of the migration.
        name: String,
        /// Checksum recorded in the database.
        applied: String,
        /// Checksum of this release's file.
        now: String,
    },
    /// The database needs a later release.
    #[error("the database needs tillwatch {needs} or later (migration {name}), this is {is}")]
    NeedsLater {
        /// Name of the migration.
        name: String,
        /// Oldest release that may run on it.
        needs: String,
        /// The release that this program is.
        is: String,
    },
    /// ClickHouse knows an epoch of this collector that the state file does not.
    #[error(
        "ClickHouse holds epoch {theirs} of collector {collector}, this state file has sent {ours} at most: it \
         is an older copy. Batches are taken in, nothing is shipped. To go on with this state, stop tillwatch and \
         run `tillwatch migrate --new-collector-id`"
    )]
    EpochReuse {
        /// Highest epoch in ClickHouse.
        theirs: u64,
        /// Highest epoch that this state file has sent.
        ours: u64,
        /// The collector whose epoch it is.
        collector: uuid::Uuid,
    },
    /// The state file failed while shipping.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ClickHouseError {
    /// Whether trying again later can help without a person.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::NotReady
            | Self::NotHeld
            | Self::Refused(_)
            | Self::State(_) => true,
            Self::ChangedMigration { .. } | Self::NeedsLater { .. } | Self::EpochReuse { .. } => {
                false
            }
        }
    }
}

impl ClickHouseError {
    /// Whether a statement needed more memory than it may have.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Refused(error) if error.to_string().contains("MEMORY_LIMIT_EXCEEDED"))
    }
}

impl From<clickhouse::error::Error> for ClickHouseError {
    fn from(error: clickhouse::error::Error) -> Self {
        if matches!(error, clickhouse::error::Error::BadResponse(_)) {
            Self::Refused(error)
        } else {
            Self::Unreachable(error)
        }
    }
}
