//! Which hours of which stores `rollup_1h` does not hold in full, in the state file.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tillwatch_model::hours::Touch;
use tillwatch_model::{DirtyHours, StoreHour};

use crate::persist::error::StateError;
use crate::persist::marks::uncheck_all;
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::State;
use crate::persist::tables::{get_meta, put_meta};

impl State {
    /// The dirty hours.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn dirty_hours(&self) -> Result<DirtyHours, StateError> {
        let mut dirty = DirtyHours::default();
        let mut names: HashSet<Arc<str>> = HashSet::new();
        let reader = self.reader();
        let mut statement =
            reader.prepare("SELECT hour, store_id, epoch, since_ms, touched_ms FROM dirty_hour")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            let store_id = names.get(name.as_str()).cloned().unwrap_or_else(|| {
                let store_id: Arc<str> = Arc::from(name);
                names.insert(Arc::clone(&store_id));
                store_id
            });
            let touch = Touch {
                epoch: unsigned(row.get(2)?),
                since_ms: row.get(3)?,
                touched_ms: row.get(4)?,
            };
            let hour = row.get(0)?;
            dirty.restore(StoreHour { hour, store_id }, touch);
        }
        for (day, epoch) in unchecked_days(&reader)? {
            dirty.uncheck([day], epoch);
        }
        Ok(dirty)
    }

    /// The days of which nobody knows which hours are dirty, and the epoch that each waits for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unchecked_days(&self) -> Result<Vec<(u32, u64)>, StateError> {
        unchecked_days(&self.reader())
    }

    /// `rollup_1h` holds these hours as of `epoch`; what a later one touched stays dirty.
    ///
    /// # Errors
    /// When the file cannot be written: then they are summed up again.
    pub fn clean_hours(&self, hours: &[StoreHour], epoch: u64) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let mut clean = transaction.prepare_cached(
            "DELETE FROM dirty_hour WHERE hour = ?1 AND store_id = ?2 AND epoch <= ?3",
        )?;
        for StoreHour { hour, store_id } in hours {
            clean.execute(params![hour, store_id, signed(epoch)])?;
        }
        drop(clean);
        transaction.commit()?;
        Ok(())
    }

    /// A day was looked at when every epoch up to this one was confirmed: these of its hours are dirty.
    ///
    /// # Errors
    /// When the file cannot be written: then it is looked at again.
    pub fn check_day(
        &self,
        day: u32,
        epoch: u64,
        touched_ms: i64,
        found: &[StoreHour],
    ) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let mut mark = transaction
            .prepare_cached("INSERT OR IGNORE INTO dirty_hour VALUES (?1, ?2, ?3, ?4, ?4)")?;
        for StoreHour { hour, store_id } in found {
            mark.execute(params![hour, store_id, signed(epoch), touched_ms])?;
        }
        drop(mark);
        transaction.execute(
            "DELETE FROM unchecked_day WHERE day = ?1 AND epoch <= ?2",
            params![day, signed(epoch)],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Minutes of these days were sent again: which of their hours are dirty is not known any more. A
    /// running `serve` learns of it at its next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn uncheck_days(&self, days: &[u32]) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let last: Option<String> = get_meta(&transaction, "last_epoch")?;
        let last: i64 = last.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut uncheck =
            transaction.prepare_cached("INSERT OR REPLACE INTO unchecked_day VALUES (?1, ?2)")?;
        for day in days {
            uncheck.execute(params![day, last])?;
        }
        drop(uncheck);
        transaction.commit()?;
        Ok(())
    }

    /// Notes which table `rollup_1h` is. If it is another than before, new or in another database, every
    /// day is unchecked. Whether it is.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn note_hourly_table(&self, table_id: &str) -> Result<bool, StateError> {
        let mut writer = self.writer();
        let known: Option<String> = get_meta(&writer, "hourly_table")?;
        if known.as_deref() == Some(table_id) {
            return Ok(false);
        }
        let transaction = writer.transaction()?;
        uncheck_all(&transaction, self.now_ms())?;
        put_meta(&transaction, "hourly_table", table_id)?;
        transaction.commit()?;
        Ok(true)
    }
}

fn unchecked_days(connection: &Connection) -> Result<Vec<(u32, u64)>, StateError> {
    let mut statement = connection.prepare("SELECT day, epoch FROM unchecked_day")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
