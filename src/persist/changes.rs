//! What changed in the fleet, in the state file, so that a restart does not make a person forget it.

use rusqlite::params;
use tillwatch_model::time::DAY_MS;

use crate::persist::error::StateError;
use crate::persist::state::State;

/// Changes are kept for so long. Unit: ms.
const KEPT_MS: i64 = 30 * DAY_MS;

/// A change, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptChange {
    /// When it was told, Unix ms.
    pub t_ms: i64,
    /// The store; empty: it is about a release.
    pub store_id: String,
    /// The state that the store came into.
    pub to: String,
    /// All that is told, as JSON.
    pub json: String,
}

impl State {
    /// Adds a change; lets the oldest go, so that at most `most` are kept.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_change(&self, change: &KeptChange, most: usize) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        transaction.execute(
            "INSERT INTO fleet_change (t_ms, store_id, to_state, change) VALUES (?1, ?2, ?3, ?4)",
            params![change.t_ms, change.store_id, change.to, change.json],
        )?;
        transaction.execute(
            "DELETE FROM fleet_change WHERE t_ms < ?1 OR id <= (SELECT max(id) FROM fleet_change) - ?2",
            params![
                change.t_ms.saturating_sub(KEPT_MS),
                i64::try_from(most).unwrap_or(i64::MAX)
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The changes that are kept, the latest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn changes(&self) -> Result<Vec<KeptChange>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare(
            "SELECT t_ms, store_id, to_state, change FROM fleet_change ORDER BY id DESC",
        )?;
        let changes = statement.query_map([], |row| {
            Ok(KeptChange {
                t_ms: row.get(0)?,
                store_id: row.get(1)?,
                to: row.get(2)?,
                json: row.get(3)?,
            })
        })?;
        Ok(changes.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn the_latest_changes_are_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let change = |t_ms: i64| KeptChange {
            t_ms,
            store_id: format!("store-{t_ms}"),
            to: "critical".to_owned(),
            json: "{}".to_owned(),
        };
        for t_ms in 1..=5 {
            state.add_change(&change(t_ms), 3).unwrap();
        }
        assert_eq!(state.changes().unwrap(), [change(5), change(4), change(3)]);
        state.add_change(&change(6 + KEPT_MS), 3).unwrap();
        assert_eq!(state.changes().unwrap(), [change(6 + KEPT_MS)]);
    }
}
