//! What a terminal reports beside what it measures: events such as errors, and samples that it had to drop.
//!
//! Each of them is also a sample, of `errors`, `events` or `dropped_samples`: that sample is what the ledger counts,
//! and what moves rollups, sessions and series. What is here says more about it.

use std::sync::Arc;

use crate::Source;
use crate::dimension::enumerated;
use crate::error_event::Fingerprint;

/// Events and drops of one batch that are taken, of each so many.
pub const EVENTS_MAX: usize = 50;
/// The innermost frames of an error that are kept.
pub const FRAMES_MAX: usize = 20;
/// What one error may stand for, if the terminal has counted it itself.
pub const COUNT_MAX: u64 = 1_000_000;
/// Samples that one drop may stand for.
pub const DROPPED_MAX: u64 = 1_000_000_000;
/// Numbers of a queue that one drop may name.
pub const NUMBERS_MAX: u64 = 1_000_000;
/// Different names that events of the kind `custom` may have in one release.
pub const NAMES_MAX: usize = 20;

/// The metric that an error is a sample of.
pub const ERRORS: &str = "errors";
/// The metric that any other event is a sample of; its label is the kind.
pub const EVENTS: &str = "events";
/// The metric that a drop is a sample of; its label is the reason.
pub const DROPPED: &str = "dropped_samples";
/// The label of an error that names none.
pub const ERROR_LABEL: &str = "script";

/// The fingerprint of all groups that found no place. Making it by chance is as unlikely as any other.
pub const OVERFLOW_FINGERPRINT: Fingerprint = 0;

enumerated! {
    /// What has happened.
    EventKind {
        /// The application has met an error.
        Error = 1 "error",
        /// The terminal has lost its connection.
        Offline = 2 "offline",
        /// The terminal has its connection again.
        Online = 3 "online",
        /// The application has ended.
        Shutdown = 4 "shutdown",
        /// The battery has become low, or is charged again.
        Battery = 5 "battery",
        /// Something that the application names itself.
        Custom = 6 "custom",
    } else Later
}

/// One event, as it lies in the journal behind its sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReading {
    /// What has happened.
    pub kind: EventKind,
    /// Whether the application could not go on.
    pub is_fatal: bool,
    /// When it happened, by the terminal's clock; the last time, if it stands for several.
    pub t_raw_ms: i64,
    /// How often it happened.
    pub count: u64,
    /// What tells it from others of its kind.
    pub fingerprint: Fingerprint,
    /// The name of a custom event, else empty.
    pub name: Box<str>,
    /// Type, message and frames of an error, scrubbed; else empty.
    pub example: Example,
}

/// What is kept of one error, so that people can recognise it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// The type of the error.
    pub type_name: Box<str>,
    /// The message.
    pub message: Box<str>,
    /// The frames, innermost first, as the JSON text that ClickHouse gets; empty without frames.
    pub frames_json: Box<str>,
}

impl Example {
    /// The memory that it takes beside itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.type_name.len() + self.message.len() + self.frames_json.len()
    }
}

/// Samples that a terminal had to drop, and the numbers of their batches, which will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropReading {
    /// UUID of the queue; zero: what was dropped never had a number.
    pub queue: [u8; 16],
    /// The first of the numbers.
    pub from: u64,
    /// The last of the numbers.
    pub to: u64,
    /// How many samples they held.
    pub samples: u64,
    /// The label of `dropped_samples`, by its journal code.
    pub reason: u8,
    /// When they were dropped, by the terminal's clock.
    pub t_raw_ms: i64,
}

impl DropReading {
    /// Whether what was dropped had numbers in a queue.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.queue != [0; 16]
    }
}

/// What a row of `error_group_1h` is told apart by, beside the collector and the epoch it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventGroupKey {
    /// The shop.
    pub store_id: Arc<str>,
    /// What has happened.
    pub kind: EventKind,
    /// What tells the group from others of its kind.
    pub fingerprint: Fingerprint,
    /// Start of the hour, Unix seconds.
    pub hour_start_s: u32,
    /// Release of the application.
    pub release: Arc<str>,
    /// Who reported.
    pub source: Source,
}

/// One row at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    /// What the row is told apart by.
    pub key: EventGroupKey,
    /// What the row says.
    pub sums: EventSums,
}

/// What is kept of a group in one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSums {
    /// How often it happened.
    pub count: u64,
    /// How often of these the application could not go on.
    pub fatal: u64,
    /// Hashes of the terminals on which it happened, ascending, and no more than [`TERMINALS_MAX`] of them.
    pub terminals: Vec<u64>,
    /// The name of a custom event.
    pub name: Arc<str>,
    /// The first of them.
    pub example: Arc<Example>,
}

/// Terminals that one row names. Stores have far fewer; rows are merged by what they name.
pub const TERMINALS_MAX: usize = 256;

impl EventSums {
    /// Adds what another holds, which came later.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.fatal = self.fatal.saturating_add(other.fatal);
        for terminal in &other.terminals {
            self.note_terminal(*terminal);
        }
    }

    /// Notes a terminal, by its hash.
    pub fn note_terminal(&mut self, terminal: u64) {
        if let Err(at) = self.terminals.binary_search(&terminal)
            && self.terminals.len() < TERMINALS_MAX
        {
            self.terminals.insert(at, terminal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_named_once_and_so_many_at_most() {
        let mut sums = EventSums::default();
        for terminal in [5, 3, 5, 9, 3] {
            sums.note_terminal(terminal);
        }
        assert_eq!(sums.terminals, [3, 5, 9]);
        let mut other = EventSums {
            count: 2,
            fatal: 1,
            ..EventSums::default()
        };
        (0..2 * TERMINALS_MAX as u64).for_each(|terminal| other.note_terminal(terminal));
        assert_eq!(other.terminals.len(), TERMINALS_MAX);
        sums.merge(&other);
        assert_eq!((sums.count, sums.fatal), (2, 1));
        assert_eq!(sums.terminals.len(), TERMINALS_MAX);
        assert!(sums.terminals.is_sorted());
    }
}
