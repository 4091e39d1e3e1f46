//! Which hours of stores an epoch has rows of, and how they are marked dirty or unchecked.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Transaction, params};
use tillwatch_model::hours::HOUR_S;
use tillwatch_model::time::day_of;
use tillwatch_model::{Rollup, StoreHour};

use crate::persist::error::StateError;
use crate::persist::signed::signed;
use crate::persist::tables::{get_meta, put_meta};

/// Days that `rollup_1h` may hold: its TTL of 90 days, and the week that its parts are made of.
const DAYS_KEPT: i32 = 98;

/// The hours of stores that rows are of.
pub(super) fn hours_of(rows: &[Rollup]) -> Vec<StoreHour> {
    let mut hours: HashSet<StoreHour> = HashSet::new();
    let mut last: Option<(u32, &Arc<str>)> = None;
    for Rollup { key, .. } in rows {
        let hour = key.window_start_s / HOUR_S;
        // Neighbours are mostly of one store and hour.
        if last != Some((hour, &key.store_id)) {
            last = Some((hour, &key.store_id));
            hours.insert(StoreHour {
                hour,
                store_id: Arc::clone(&key.store_id),
            });
        }
    }
    let mut hours: Vec<StoreHour> = hours.into_iter().collect();
    hours.sort_unstable();
    hours
}

/// Marks the hours of an epoch, in the transaction that seals it.
pub(super) fn mark_hours(
    transaction: &Transaction<'_>,
    epoch: u64,
    now_ms: i64,
    hours: &[StoreHour],
) -> Result<(), StateError> {
    let mut mark = transaction.prepare_cached(
        "INSERT INTO dirty_hour VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT DO UPDATE SET epoch = excluded.epoch, touched_ms = excluded.touched_ms",
    )?;
    for StoreHour { hour, store_id } in hours {
        mark.execute(params![hour, store_id, signed(epoch), now_ms])?;
    }
    put_meta(transaction, "marked_epoch", &epoch.to_string())
}

/// Epochs were sealed that marked no hours, by a release that knows none: the days of their rows are
/// unchecked. The first time that is every day there may be.
pub(super) fn uncheck_unmarked(
    transaction: &Transaction<'_>,
    now_ms: i64,
) -> Result<(), StateError> {
    let number = |key: &str| -> Result<Option<i64>, StateError> {
        Ok(get_meta(transaction, key)?.and_then(|text| text.parse().ok()))
    };
    let last = number("last_epoch")?.unwrap_or(0);
    let marked = number("marked_epoch")?;
    if marked.is_none() {
        uncheck_all(transaction, now_ms)?;
    }
    if marked != Some(last) {
        transaction.execute(
            "INSERT OR REPLACE INTO unchecked_day SELECT DISTINCT day, ?2 FROM epoch_day WHERE epoch > ?1",
            params![marked.unwrap_or(0), last],
        )?;
        put_meta(transaction, "marked_epoch", &last.to_string())?;
    }
    Ok(())
}

/// Every day that `rollup_1h` may hold by now is unchecked, once every epoch so far is confirmed.
pub(super) fn uncheck_all(transaction: &Transaction<'_>, now_ms: i64) -> Result<(), StateError> {
    let last: Option<String> = get_meta(transaction, "last_epoch")?;
    let last: i64 = last.and_then(|text| text.parse().ok()).unwrap_or(0);
    let tomorrow = day_of(now_ms) + 1;
    let mut uncheck =
        transaction.prepare_cached("INSERT OR REPLACE INTO unchecked_day VALUES (?1, ?2)")?;
    for day in tomorrow.saturating_sub(DAYS_KEPT).max(0)..=tomorrow {
        uncheck.execute(params![day, last])?;
    }
    Ok(())
}
