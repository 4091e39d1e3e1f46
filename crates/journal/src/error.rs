//! What can go wrong, sorted by what the caller must do.

use std::io;
use std::path::PathBuf;

use super::Position;

/// Why an append did not become durable. Nothing of it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The journal's own budget is used up. Try again once records have been released.
    #[error("journal holds {used_bytes} of {budget_bytes} bytes")]
    Full {
        /// Bytes of the segments that hold records.
        used_bytes: u64,
        /// The budget from the settings.
        budget_bytes: u64,
    },

    /// No segment could be made, most often because the disk is full, and the reserve is used up.
    /// Try again later: the journal keeps trying by itself.
    #[error("no segment is left and the disk gives no room for another")]
    DiskFull,

    /// Too much waits for the disk already. Try again at once or later.
    #[error("{queued_appends} appends of {queued_bytes} bytes already wait for the disk")]
    QueueFull {
        /// How many appends wait.
        queued_appends: usize,
        /// The bytes of the appends that wait.
        queued_bytes: usize,
    },

    /// The append can never be written. Trying again cannot help.
    #[error("append of {append_bytes} bytes is longer than the {append_bytes_max} that fit")]
    TooLarge {
        /// Bytes of the whole append with its framing, or of one payload that is over its limit.
        append_bytes: u64,
        /// The limit that was passed.
        append_bytes_max: u64,
    },

    /// The append has no payload. Trying again cannot help.
    #[error("append holds no payload")]
    Empty,

    /// The journal was shut down. Nothing was written.
    #[error("journal is shut down")]
    Closed,

    /// A write or a sync failed, now or earlier. The kernel may count lost pages as written, so a
    /// later sync could succeed without them: nothing may be acknowledged by this process any more.
    /// End it; the next start finds out what is on disk.
    #[error("journal is halted: a write or a sync failed")]
    Halted,
}

impl AppendError {
    /// Whether the same append may succeed later without anybody changing it.
    pub fn is_deferred(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::DiskFull
            | Self::QueueFull { .. }
            | Self::Closed
            | Self::Halted => true,
            Self::TooLarge { .. } | Self::Empty => false,
        }
    }
}

/// Why the journal halted.
#[derive(Debug, thiserror::Error)]
pub enum HaltCause {
    /// The disk refused a write or a sync of the segment in use.
    #[error("could not {operation} in segment {sequence}")]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// The segment in use.
        sequence: u64,
        /// What the disk said.
        #[source]
        source: io::Error,
    },

    /// The code that receives durable records or completions panicked, so some of them may not
    /// have been told.
    #[error("the receiver of durable records panicked")]
    ReceiverPanicked,
}

/// Why the journal could not be opened. Nothing was lost by trying.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the journal open.
    #[error("journal {} is in use by process {}", dir.display(), pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who wrote itself into the lock file.
        pid: Option<u32>,
    },

    /// A newer tillwatch wrote this journal. Start that one, or let it drain the journal first.
    #[error("{} has format version {version}, this program reads {supported}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version of the segment's format.
        version: u32,
        /// The latest version that this release reads.
        supported: u32,
    },

    /// The segment length in the settings cannot work.
    #[error("segment_bytes is {segment_bytes}: needs at least {min} and a multiple of 8", min = super::format::SEGMENT_BYTES_MIN)]
    SegmentBytes {
        /// The length that the settings give.
        segment_bytes: u64,
    },

    /// The budget in the settings leaves no room to work.
    #[error(
        "budget_bytes is {budget_bytes}: needs reserve_segments ({reserve_segments}, at least 1) and 2 more segments of {segment_bytes} bytes"
    )]
    Budget {
        /// The budget that the settings give.
        budget_bytes: u64,
        /// The length of a segment.
        segment_bytes: u64,
        /// The segments kept ready.
        reserve_segments: usize,
    },

    /// The receiver of the replay asked to stop. Everything is still in the journal.
    #[error("replay was stopped at position {}", position.0)]
    ReplayStopped {
        /// The record at which it stopped.
        position: Position,
    },

    /// The disk refused. Everything is still in the journal; opening may be tried again.
    #[error("could not {operation} {}", path.display())]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// The file or folder on which it was tried.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Makes an error for `map_err`: what was tried, and on what.
    pub(super) fn disk(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk {
            operation,
            path,
            source,
        }
    }
}
