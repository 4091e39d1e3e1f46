//! Stores idempotency keys: a seal writes them, and `intake` looks them up when memory does not know a key.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tillwatch_model::keyed::{FirstResult, KeyId};

use crate::persist::State;
use crate::persist::error::StateError;
use crate::persist::signed::{signed, unsigned};

pub(super) fn put_keys(
    transaction: &Transaction<'_>,
    keys: &[(KeyId, FirstResult)],
) -> Result<(), StateError> {
    // A key that was forgotten and has come again is there no longer, or with a result that is over.
    let mut put = transaction
        .prepare_cached("INSERT OR REPLACE INTO idempotency_key VALUES (?1, ?2, ?3, ?4)")?;
    for (id, first) in keys {
        let numbers = (signed(first.accepted), signed(first.rejected));
        put.execute(params![id, first.received_at_ms, numbers.0, numbers.1])?;
    }
    Ok(())
}

fn get_key(connection: &Connection, id: KeyId) -> Result<Option<FirstResult>, StateError> {
    let mut select = connection.prepare_cached(
        "SELECT received_at_ms, accepted, rejected FROM idempotency_key WHERE id = ?1",
    )?;
    let first = select.query_row([id], |row| {
        Ok(FirstResult {
            received_at_ms: row.get(0)?,
            accepted: unsigned(row.get(1)?),
            rejected: unsigned(row.get(2)?),
        })
    });
    Ok(first.optional()?)
}

impl State {
    /// Those of these keys that a seal has written, whatever their age.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find_keys(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, FirstResult)>, StateError> {
        let reader = self.reader();
        let mut found = Vec::new();
        for id in ids {
            if let Some(first) = get_key(&reader, *id)? {
                found.push((*id, first));
            }
        }
        Ok(found)
    }

    /// How many keys there are. Reads all of an index: for the start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_keys(&self) -> Result<usize, StateError> {
        let count: i64 =
            self.reader()
                .query_row("SELECT count(*) FROM idempotency_key", [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// All keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn all_keys(&self) -> Result<Vec<(KeyId, FirstResult)>, StateError> {
        let reader = self.reader();
        let mut select =
            reader.prepare("SELECT id, received_at_ms, accepted, rejected FROM idempotency_key")?;
        let rows = select.query_map([], |row| {
            let first = FirstResult {
                received_at_ms: row.get(1)?,
                accepted: unsigned(row.get(2)?),
                rejected: unsigned(row.get(3)?),
            };
            Ok((row.get(0)?, first))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Deletes keys received before this time, at most so many at once; says how many.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_keys(&self, before_ms: i64, at_most: usize) -> Result<usize, StateError> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        Ok(self.writer().execute(
            "DELETE FROM idempotency_key WHERE id IN \
             (SELECT id FROM idempotency_key WHERE received_at_ms < ?1 LIMIT ?2)",
            params![before_ms, at_most],
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn put(state: &State, keys: &[(KeyId, FirstResult)]) {
        let mut writer = state.writer();
        let transaction = writer.transaction().unwrap();
        put_keys(&transaction, keys).unwrap();
        transaction.commit().unwrap();
    }

    #[test]
    fn keys_are_found_counted_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let keys: Vec<_> = (0..10_u8)
            .map(|number| {
                let first = FirstResult {
                    received_at_ms: i64::from(number),
                    accepted: u64::MAX - u64::from(number),
                    rejected: 1 << 63,
                };
                ([number; 16], first)
            })
            .collect();
        put(&state, &keys);
        assert_eq!(state.all_keys().unwrap(), keys);
        let found = state.find_keys(&[[9; 16], [77; 16], [0; 16]]).unwrap();
        assert_eq!(found, [keys[9], keys[0]]);
        let later = FirstResult {
            received_at_ms: 100,
            ..keys[0].1
        };
        put(&state, &[(keys[0].0, later)]);
        assert_eq!(state.count_keys().unwrap(), 10);
        assert_eq!(state.find_keys(&[keys[0].0]).unwrap(), [(keys[0].0, later)]);
        // 1, 2 and 3 are before 4; so many at once.
        assert_eq!(state.forget_keys(4, 2).unwrap(), 2);
        assert_eq!(state.forget_keys(4, 2).unwrap(), 1);
        assert_eq!(state.forget_keys(4, 2).unwrap(), 0);
        assert_eq!(state.count_keys().unwrap(), 7);
    }

    #[test]
    fn a_file_from_before_there_were_keys_is_brought_forward() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let id = state.collector_id();
        let writer = state.writer();
        writer
            .execute_batch("DROP TABLE idempotency_key; DELETE FROM meta WHERE key = 'layout';")
            .unwrap();
        drop(writer);
        drop(state);
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        assert_eq!(state.collector_id(), id, "it is the same file");
        assert_eq!(state.count_keys().unwrap(), 0);
    }
}
