//! The keys of session pseudonyms: one a day, made when first asked for, destroyed after 90 days.
//!
//! To destroy a key, tillwatch removes its bytes from the file: deleted content is overwritten with zeros,
//! the table is written anew, and the write-ahead log is emptied. Copies that the disk itself keeps of
//! overwritten blocks are out of reach.

use rusqlite::{OptionalExtension, Transaction, params};
use tillwatch_model::time::{DAY_MS, day_of};

use crate::persist::error::StateError;
use crate::persist::state::State;
use crate::persist::tables::{get_meta, put_meta};

/// The key of a day is destroyed this long after the day began.
const KEPT_MS: i64 = 90 * DAY_MS;
const DESTROYED_BEFORE: &str = "session_keys_destroyed_before";

/// What became of a day's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOfDay {
    /// The key is there.
    Kept([u8; 32]),
    /// The key's time is over: no pseudonym of the day leads to its session any more.
    Destroyed,
    /// No session of the day has been met, so the key was never made.
    NeverMade,
}

impl State {
    /// The key of a day (days since 1970-01-01, UTC), made when first asked for.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn session_key(&self, day: i32) -> Result<[u8; 32], StateError> {
        if let KeyOfDay::Kept(key) = self.find_session_key(day)? {
            return Ok(key);
        }
        let key: [u8; 32] = self.chance().secret().map_err(StateError::NoChance)?;
        let writer = self.writer();
        writer.execute(
            "INSERT OR IGNORE INTO session_key VALUES (?1, ?2)",
            params![day, key],
        )?;
        Ok(writer.query_row(SELECT, [day], |row| row.get(0))?)
    }

    /// The key of a day, if there is one. Makes none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find_session_key(&self, day: i32) -> Result<KeyOfDay, StateError> {
        let reader = self.reader();
        let key = reader.query_row(SELECT, [day], |row| row.get(0));
        if let Some(key) = key.optional()? {
            return Ok(KeyOfDay::Kept(key));
        }
        let before = get_meta(&reader, DESTROYED_BEFORE)?.and_then(|text| text.parse::<i32>().ok());
        Ok(if before.is_some_and(|before| day < before) {
            KeyOfDay::Destroyed
        } else {
            KeyOfDay::NeverMade
        })
    }

    /// Empties the write-ahead log, where earlier versions of pages still stand.
    pub(super) fn empty_log(&self) -> Result<(), StateError> {
        let writer = self.writer();
        // Nobody in this process reads meanwhile: a reader would keep the log.
        let _reader = self.reader();
        let is_busy: bool =
            writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        // Another process reads. It is emptied the next time.
        let _is_later = is_busy;
        Ok(())
    }
}

const SELECT: &str = "SELECT key FROM session_key WHERE day = ?1";

/// Destroys the keys whose time is over. The others are written anew: what was moved between pages as
/// the table grew leaves no copy either.
pub(super) fn destroy(transaction: &Transaction<'_>, now_ms: i64) -> Result<(), StateError> {
    let oldest_day = day_of(now_ms.saturating_sub(KEPT_MS));
    let count = "SELECT count(*) FROM session_key WHERE day < ?1";
    let old: i64 = transaction.query_row(count, [oldest_day], |row| row.get(0))?;
    if old > 0 {
        let mut statement =
            transaction.prepare("SELECT day, key FROM session_key WHERE day >= ?1")?;
        let kept = statement.query_map([oldest_day], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let kept: Vec<(i32, [u8; 32])> = kept.collect::<Result<_, _>>()?;
        transaction.execute("DELETE FROM session_key", [])?;
        for (day, key) in kept {
            transaction.execute("INSERT INTO session_key VALUES (?1, ?2)", params![day, key])?;
        }
    }
    let before = get_meta(transaction, DESTROYED_BEFORE)?.and_then(|text| text.parse().ok());
    if before.is_none_or(|before| oldest_day > before) {
        put_meta(transaction, DESTROYED_BEFORE, &oldest_day.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::world::World;

    const TODAY: i32 = 20_000;

    fn at_rest(folder: &Path, wanted: &[u8]) -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap();
        let holding = files.filter_map(|entry| {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            let holds = bytes.windows(wanted.len()).any(|window| window == wanted);
            holds.then(|| entry.file_name().into_string().unwrap())
        });
        holding.collect()
    }

    #[test]
    fn after_ninety_days_no_byte_of_a_key_is_left_and_the_others_are_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        // Enough of them that the table has several pages.
        let days: Vec<i32> = (TODAY - 199..=TODAY).collect();
        let keys: Vec<[u8; 32]> = days
            .iter()
            .map(|day| state.session_key(*day).unwrap())
            .collect();
        let now_ms = i64::from(TODAY) * DAY_MS + DAY_MS / 2;
        for key in &keys {
            assert!(!at_rest(folder.path(), key).is_empty());
        }
        state.expire(now_ms).unwrap();
        for (day, key) in days.iter().zip(&keys) {
            let found = state.find_session_key(*day).unwrap();
            if *day < TODAY - 90 {
                assert_eq!(found, KeyOfDay::Destroyed, "{day}");
                assert_eq!(at_rest(folder.path(), key), [""; 0], "{day}");
            } else {
                assert_eq!(found, KeyOfDay::Kept(*key), "{day}");
            }
        }
        assert_eq!(
            state.find_session_key(TODAY + 1).unwrap(),
            KeyOfDay::NeverMade
        );
    }
}
