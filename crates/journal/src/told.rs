//! What opening a journal finds and tells: the records, what is lost of them, and how it went.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use super::Position;
use super::error::OpenError;
use super::payloads::Record;
use super::survey::Tally;

/// What opening a journal found and did.
///
/// Damage is found again at every start until `applied` has passed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records handed to the replay.
    pub replayed: u64,
    /// Cut from the end: written, perhaps in part, and never acknowledged. At least so many.
    pub torn: Tally,
    /// Acknowledged, not applied, and unreadable: lost. Page somebody.
    pub damaged: Tally,
    /// Unreadable but applied before: nothing is lost, but the disk is not well.
    pub damaged_applied_records: u64,
    /// Segments that should be there and are not: between others, or at the end.
    pub missing_segments: u64,
    /// Segments whose first page is unreadable or belongs to another journal, or is that of another
    /// segment.
    pub damaged_headers: u64,
    /// Segments that are shorter than they were made.
    pub short_segments: u64,
    /// The note beside the folder could not be read, or speaks of another journal.
    pub is_note_unusable: bool,
    /// Copies of damaged segments.
    pub quarantined: Vec<PathBuf>,
    /// Damaged segments that could not be copied; they will be moved there instead of reused.
    pub quarantine_failures: u64,
    /// The highest position that was ever durable.
    pub durable: Position,
    /// The journal's own number, made with the journal.
    pub journal_id: u128,
    /// How long the opening took.
    pub duration: Duration,
}

impl Recovery {
    /// Segments that are missing or not as they were left, whatever could be read of them.
    #[must_use]
    pub fn damaged_segments(&self) -> u64 {
        self.missing_segments + self.damaged_headers + self.short_segments
    }
}

/// Acknowledged records that are not there any more, at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first and the last position that is missing; between them some may be there. `None`: nothing
    /// tells whether the place held any.
    pub positions: Option<(Position, Position)>,
    /// How many are missing, as far as is known.
    pub records: u64,
    /// Unreadable bytes.
    pub bytes: u64,
    /// The segment in which, or behind which, the lost records lay.
    pub sequence: u64,
}

/// Receives what a journal holds when it is opened, in order. A break ends the opening; nothing is lost
/// by it.
pub trait Replay {
    /// A record.
    fn record(&mut self, record: Record) -> ControlFlow<()>;

    /// Before the records behind it: some are missing. Told again at every start until they are applied.
    fn lost(&mut self, _loss: &Loss) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(Record) -> ControlFlow<()>> Replay for F {
    fn record(&mut self, record: Record) -> ControlFlow<()> {
        self(record)
    }
}

/// Logs a loss and tells it.
pub(super) fn tell(replay: &mut dyn Replay, loss: &Loss) -> Result<(), OpenError> {
    tracing::error!(
        first_position = loss.positions.map(|(first, _)| first.0),
        last_position = loss.positions.map(|(_, last)| last.0),
        records = loss.records,
        bytes = loss.bytes,
        segment = loss.sequence,
        "acknowledged records are missing from the journal"
    );
    match replay.lost(loss) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(OpenError::ReplayStopped {
            position: loss.positions.map_or(Position(0), |(first, _)| first),
        }),
    }
}
