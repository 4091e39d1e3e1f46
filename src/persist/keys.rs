//! Stores idempotency keys: a seal writes them, and `intake` looks them up when memory does not know a key.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tillwatch_model::keyed::{FirstResult, KeyId, StoreKeys};
use tillwatch_model::time::HOUR_MS;

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

/// Counts keys that are written in the same transaction.
pub(super) fn count_keys(
    transaction: &Transaction<'_>,
    by_store: &[StoreKeys],
) -> Result<(), StateError> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO key_count VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET key_count = key_count + excluded.key_count",
    )?;
    for one in by_store {
        put.execute(params![one.hour, one.store_id, signed(one.keys as u64)])?;
    }
    Ok(())
}

/// A number that SQLite has counted.
fn count_of(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
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

    /// How many keys of each store there are, by the hour in which they came. Keys that an earlier release has
    /// written, which counted none by store, are those of the stores without series. Reads all of an index: for
    /// the start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keys_by_store(&self) -> Result<Vec<StoreKeys>, StateError> {
        let reader = self.reader();
        let mut by_hour: BTreeMap<i64, (usize, Vec<StoreKeys>)> = BTreeMap::new();
        // Rounds down, as the hours of those that are counted by store do.
        let mut select = reader.prepare(
            "SELECT (received_at_ms - (received_at_ms % ?1 + ?1) % ?1) / ?1 AS hour, count(*) \
             FROM idempotency_key GROUP BY hour",
        )?;
        let rows = select.query_map([HOUR_MS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            let (hour, keys): (i64, i64) = row?;
            by_hour.insert(hour, (count_of(keys), Vec::new()));
        }
        let mut select = reader.prepare("SELECT hour, store_id, key_count FROM key_count")?;
        let rows = select.query_map([], |row| {
            Ok(StoreKeys {
                hour: row.get(0)?,
                store_id: row.get(1)?,
                keys: count_of(row.get(2)?),
            })
        })?;
        for row in rows {
            let row = row?;
            if let Some((_, of_hour)) = by_hour.get_mut(&row.hour) {
                of_hour.push(row);
            }
        }
        let counted = by_hour.into_iter().flat_map(|(hour, (all, mut of_hour))| {
            let known: usize = of_hour.iter().map(|one| one.keys).sum();
            // The oldest hour's keys are being forgotten, or a clock was put right: each store keeps its part.
            if known > all {
                let mut left = all;
                for one in &mut of_hour {
                    one.keys = one.keys.saturating_mul(all).div_ceil(known).min(left);
                    left -= one.keys;
                }
            }
            let known: usize = of_hour.iter().map(|one| one.keys).sum();
            of_hour.push(StoreKeys {
                store_id: "".into(),
                hour,
                keys: all - known,
            });
            of_hour
        });
        Ok(counted.filter(|one| one.keys > 0).collect())
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
        let writer = self.writer();
        let hour = before_ms.div_euclid(HOUR_MS);
        writer.execute("DELETE FROM key_count WHERE hour < ?1", [hour])?;
        Ok(writer.execute(
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
    fn keys_are_counted_by_store_and_hour_and_those_of_an_earlier_release_are_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let of = |store_id: &str, hour, keys| StoreKeys {
            store_id: store_id.into(),
            hour,
            keys,
        };
        let mut number = 0;
        let mut seal = |hour: i64, by_store: &[StoreKeys], keys: u8| {
            let mut writer = state.writer();
            let transaction = writer.transaction().unwrap();
            for _ in 0..keys {
                number += 1;
                let first = FirstResult {
                    received_at_ms: hour * HOUR_MS + 5,
                    accepted: 1,
                    rejected: 0,
                };
                put_keys(&transaction, &[([number; 16], first)]).unwrap();
            }
            count_keys(&transaction, by_store).unwrap();
            transaction.commit().unwrap();
        };
        seal(3, &[of("a", 3, 2), of("", 3, 1)], 3);
        seal(3, &[of("a", 3, 1)], 1);
        seal(4, &[of("b", 4, 2)], 2);
        // A release that counts nothing by store, before 1970 and after.
        seal(4, &[], 3);
        seal(-2, &[], 1);
        let all = [
            of("", -2, 1),
            of("", 3, 1),
            of("a", 3, 3),
            of("b", 4, 2),
            of("", 4, 3),
        ];
        let mut found = state.keys_by_store().unwrap();
        found.sort_by_key(|one| (one.hour, one.keys));
        assert_eq!(found, all);
        // Half of an hour's keys are forgotten: each store keeps its part of the others.
        state.forget_keys(3 * HOUR_MS, 100).unwrap();
        state.forget_keys(3 * HOUR_MS + 6, 2).unwrap();
        let mut found = state.keys_by_store().unwrap();
        found.retain(|one| one.hour == 3);
        found.sort_by_key(|one| one.store_id.clone());
        assert_eq!(found, [of("", 3, 1), of("a", 3, 1)]);
        state.forget_keys(4 * HOUR_MS, 100).unwrap();
        assert_eq!(state.keys_by_store().unwrap(), all[3..]);
    }

    #[test]
    fn a_file_from_before_there_were_keys_is_brought_forward() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let id = state.collector_id();
        let writer = state.writer();
        writer
            .execute_batch("DROP TABLE idempotency_key; DROP TABLE key_count; DELETE FROM meta WHERE key = 'layout';")
            .unwrap();
        drop(writer);
        drop(state);
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        assert_eq!(state.collector_id(), id, "it is the same file");
        assert_eq!(state.count_keys().unwrap(), 0);
    }
}
