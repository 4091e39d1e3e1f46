//! Measures what each part of a request's way takes.

use std::time::{Duration, Instant};

use tillwatch_journal::Position;

use crate::intake::acknowledge::Durable;
use crate::listed::listed;

listed! {
    /// A part of a request's way.
    pub enum Stage {
        /// The request's body comes in.
        Read = "read",
        /// The body is unpacked and taken apart.
        Decode = "decode",
        /// Rates, deduplication and validation are checked, and the record is made.
        Check = "check",
        /// Another post of the same batch is on its way to the disk.
        DedupWait = "dedup_wait",
        /// The journal's thread has not yet taken the record.
        JournalWait = "journal_wait",
        /// The record is written and made durable with `fdatasync`.
        JournalCommit = "journal_commit",
        /// The record is durable, and handed to the aggregate; the request has not gone on yet.
        HandOn = "hand_on",
    }
}

/// What the stages of a request took so far.
#[derive(Debug)]
pub struct Laps {
    /// The end of the last stage.
    last: Instant,
    /// What each stage took; `None` for a stage that the request did not come to.
    spent: [Option<Duration>; Stage::ALL.len()],
    position: Option<Position>,
}

impl Laps {
    /// Begins the first stage now.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self {
            last: now,
            spent: [None; Stage::ALL.len()],
            position: None,
        }
    }

    /// Ends a stage now; the next one begins.
    pub fn lap(&mut self, stage: Stage) {
        self.lap_at(stage, Instant::now());
    }

    fn lap_at(&mut self, stage: Stage, now: Instant) {
        let spent = now.saturating_duration_since(self.last);
        if let Some(stage) = self.spent.get_mut(stage as usize) {
            *stage = Some(stage.unwrap_or_default() + spent);
        }
        self.last = self.last.max(now);
    }

    /// Notes when the journal had the record on disk.
    pub(super) fn durable(&mut self, durable: &Durable) {
        self.position = Some(durable.position);
        if let Some(times) = &durable.times {
            self.lap_at(Stage::JournalWait, times.taken);
            self.lap_at(Stage::JournalCommit, times.synced);
        }
        self.lap(Stage::HandOn);
    }

    /// What each stage took, in the order of their numbers.
    pub fn spent(&self) -> &[Option<Duration>] {
        &self.spent
    }

    /// What a stage took, if the request came to it.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        self.spent.get(stage as usize).copied().flatten()
    }

    /// The last position of the journal that holds something of the request.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.position.map(|position| position.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_what_passed_since_the_last_one_and_adds_up() {
        let start = Instant::now();
        let mut laps = Laps::begin(start);
        let at = |ms| start + Duration::from_millis(ms);
        laps.lap_at(Stage::Read, at(5));
        laps.lap_at(Stage::Check, at(7));
        laps.lap_at(Stage::DedupWait, at(17));
        laps.lap_at(Stage::Check, at(20));
        // A group was taken in hand before this append was queued: it did not wait.
        laps.lap_at(Stage::JournalWait, at(19));
        laps.lap_at(Stage::JournalCommit, at(26));
        let spent = |stage: Stage| laps.of(stage).map(|spent| spent.as_millis());
        assert_eq!(spent(Stage::Read), Some(5));
        assert_eq!(spent(Stage::Decode), None);
        assert_eq!(spent(Stage::Check), Some(5));
        assert_eq!(spent(Stage::DedupWait), Some(10));
        assert_eq!(spent(Stage::JournalWait), Some(0));
        assert_eq!(spent(Stage::JournalCommit), Some(6));
    }
}
