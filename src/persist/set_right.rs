//! Times in the state file that were noted while the clock was ahead.

use rusqlite::params;

use crate::persist::error::StateError;
use crate::persist::state::State;

/// What notes a time, and where.
const NOTED: [(&str, &str); 6] = [
    ("idempotency_key", "received_at_ms"),
    ("epoch", "sealed_at_ms"),
    ("epoch", "confirmed_at_ms"),
    ("side_outbox", "confirmed_at_ms"),
    ("dirty_hour", "since_ms"),
    ("dirty_hour", "touched_ms"),
];

impl State {
    /// The clock was right at this time: what is noted of later ones is brought down to it. Terminals and
    /// stores follow with the next seal.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_right(&self, at_ms: i64) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        for (table, column) in NOTED {
            let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {column} > ?1");
            transaction.execute(&sql, params![at_ms])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn later_times_are_brought_down_and_earlier_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        state
            .writer()
            .execute_batch(
                "INSERT INTO dirty_hour VALUES (1, 's', 1, 50, 150);
                 INSERT INTO idempotency_key VALUES (x'01', 101, 1, 0), (x'02', 99, 1, 0);",
            )
            .unwrap();
        state.set_right(100).unwrap();
        let reader = state.reader();
        let touch: (i64, i64) = reader
            .query_row("SELECT since_ms, touched_ms FROM dirty_hour", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(touch, (50, 100));
        let received: i64 = reader
            .query_row(
                "SELECT sum(received_at_ms) FROM idempotency_key",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(received, 199);
    }
}
