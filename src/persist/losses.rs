//! Keeps what a start found missing from the journal, or continued without, until a person has seen it.
//! `audit` therefore reports the loss however often the collector has been started since.

use rusqlite::params;

use crate::listed::listed;
use crate::persist::error::StateError;
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::State;

listed! {
    /// Why something is missing.
    pub enum LossKind {
        /// Acknowledged records could not be read, or were not there.
        Journal = "journal",
        /// A person let the collector go on without its journal.
        Abandoned = "abandoned",
        /// Another state file had sealed them; what it had not shipped went with it.
        SealedElsewhere = "sealed_elsewhere",
    }
}

/// One loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLoss {
    /// Why something is missing.
    pub kind: LossKind,
    /// The first and the last position concerned, if known.
    pub positions: Option<(u64, u64)>,
    /// Records, as far as is known.
    pub records: u64,
    /// Bytes that could not be read.
    pub bytes: u64,
    /// The segment in or behind which the lost records lay.
    pub segment: u64,
    /// When the loss was found, Unix ms.
    pub found_at_ms: i64,
    /// When a person said to have seen the loss, Unix ms.
    pub accepted_at_ms: Option<i64>,
}

impl State {
    /// Notes a loss, unless it is noted already; whether it is new. A start finds it again until what
    /// lies behind it is sealed.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing behind the loss may be sealed.
    pub fn note_loss(&self, loss: &JournalLoss) -> Result<bool, StateError> {
        let positions = loss
            .positions
            .map(|(first, last)| (signed(first), signed(last)));
        let (first, last) = positions.unzip();
        let noted = self.writer().execute(
            "INSERT INTO journal_loss (kind, first_position, last_position, records, bytes, segment, found_at_ms)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (
                 SELECT 1 FROM journal_loss WHERE kind = ?1 AND (
                     (first_position <= ?2 AND last_position >= ?3)
                     OR (?2 IS NULL AND first_position IS NULL AND segment = ?6)))",
            params![
                loss.kind.name(),
                first,
                last,
                signed(loss.records),
                signed(loss.bytes),
                signed(loss.segment),
                loss.found_at_ms
            ],
        )?;
        Ok(noted > 0)
    }

    /// All losses, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn losses(&self) -> Result<Vec<JournalLoss>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare(
            "SELECT kind, first_position, last_position, records, bytes, segment, found_at_ms, accepted_at_ms
             FROM journal_loss ORDER BY id",
        )?;
        let rows = statement.query_map([], |row| {
            let kind: String = row.get(0)?;
            let (first, last): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
            // One that a later release has noted is a loss all the same.
            let known = LossKind::ALL.into_iter().find(|known| known.name() == kind);
            Ok(JournalLoss {
                kind: known.unwrap_or(LossKind::Journal),
                positions: first.map(unsigned).zip(last.map(unsigned)),
                records: unsigned(row.get(3)?),
                bytes: unsigned(row.get(4)?),
                segment: unsigned(row.get(5)?),
                found_at_ms: row.get(6)?,
                accepted_at_ms: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A person has seen all losses noted so far; how many were new to them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn accept_losses(&self, now_ms: i64) -> Result<usize, StateError> {
        let accepted = self.writer().execute(
            "UPDATE journal_loss SET accepted_at_ms = ?1 WHERE accepted_at_ms IS NULL",
            [now_ms],
        )?;
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn loss(positions: Option<(u64, u64)>, segment: u64) -> JournalLoss {
        JournalLoss {
            kind: LossKind::Journal,
            positions,
            records: 3,
            bytes: 4,
            segment,
            found_at_ms: 5,
            accepted_at_ms: None,
        }
    }

    #[test]
    fn a_loss_is_noted_once_however_often_and_in_how_many_parts_it_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let first = loss(Some((5, 9)), 2);
        assert!(state.note_loss(&first).unwrap());
        for again in [
            first,
            loss(Some((5, 9)), 3),
            loss(Some((7, 9)), 2),
            loss(Some((5, 5)), 2),
        ] {
            assert!(!state.note_loss(&again).unwrap(), "{again:?}");
        }
        assert!(state.note_loss(&loss(Some((9, 10)), 2)).unwrap());
        assert!(state.note_loss(&loss(None, 2)).unwrap());
        assert!(!state.note_loss(&loss(None, 2)).unwrap());
        assert!(state.note_loss(&loss(None, 4)).unwrap());
        drop(state);
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        assert_eq!(state.losses().unwrap().len(), 4);
        assert_eq!(state.losses().unwrap()[0], first);
        assert_eq!(state.accept_losses(77).unwrap(), 4);
        assert_eq!(state.accept_losses(78).unwrap(), 0);
        assert_eq!(state.losses().unwrap()[3].accepted_at_ms, Some(77));
    }
}
