//! A doubt and a time in words, for logs and answers.

use std::fmt;

use crate::clock::Doubt;
use crate::listed::listed;

listed! {
    /// The kinds of doubt, as metrics tell them apart.
    pub enum DoubtKind {
        /// The wall clock lies before the date of this release.
        BeforeRelease = "before_release",
        /// The wall clock lay before the journal's last time.
        BeforeJournal = "before_journal",
        /// The wall clock moved while the process ran.
        Moved = "moved",
    }
}

impl Doubt {
    /// The kind of this doubt.
    #[must_use]
    pub fn kind(self) -> DoubtKind {
        match self {
            Self::BeforeRelease => DoubtKind::BeforeRelease,
            Self::BeforeJournal { .. } => DoubtKind::BeforeJournal,
            Self::Moved { .. } => DoubtKind::Moved,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BeforeRelease => formatter.write_str("it lies before the date of this release"),
            Self::BeforeJournal { journal_ms } => write!(
                formatter,
                "it lies before the last time in the journal, {}",
                time_text(journal_ms)
            ),
            Self::Moved { by_ms } => {
                let way = if by_ms > 0 { "ahead" } else { "back" };
                // Rounded: the two clocks are read a moment apart, so a step of two hours may measure 1 ms less.
                let by_s = (by_ms.unsigned_abs() + 500) / 1_000;
                write!(formatter, "it was moved {way} by {by_s} s")
            }
        }
    }
}

/// A time in UTC, to the second.
#[must_use]
pub fn time_text(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(
        |_out_of_range| format!("{unix_ms} ms"),
        |time| format!("{time:.0}"),
    )
}
