//! Sends rows again that ClickHouse has lost or that were changed there, from the outbox, and reads them back.

use std::sync::Arc;

use uuid::Uuid;

use crate::persist::audit;
use crate::persist::by_epoch;
use crate::persist::clickhouse::ClickHouse;
use crate::persist::epoch::EpochInfo;
use crate::persist::error::ClickHouseError;
use crate::persist::rows;
use crate::persist::ship::{TABLES, insert_rows, oldest_kept_day, oldest_unexpired_day, on_disk};
use crate::persist::side_tables;
use crate::persist::state::State;

use clickhouse::Row;

/// What became of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// ClickHouse holds every row now, and no other under its number.
    Whole,
    /// The blob is no longer kept: its rows cannot be sent again.
    BlobGone,
    /// The blob is not what the ledger says: sending it could only make things worse.
    BlobDamaged,
    /// ClickHouse holds every row, but also rows that were never sent under this number.
    HasOthers,
}

/// Whether identical rows may be left to be merged by and by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Rows are missing, or bear other hashes: the read-back tells whether it is done.
    IfNeeded,
    /// Rows bear the right hash and are other than it says: only the merge makes them give way.
    Always,
}

/// Sends the rows of a confirmed epoch again and reads back.
///
/// The caller has made sure that no other copy of the state file has used this number. Identical rows
/// change nothing; a row that was changed gives way to the one that was sent.
///
/// # Errors
/// When ClickHouse does not answer or refuses, or the state file fails.
pub async fn repair(
    clickhouse: &ClickHouse,
    state: &Arc<State>,
    info: &EpochInfo,
    now_ms: i64,
    merge: Merge,
) -> Result<Repaired, ClickHouseError> {
    let epoch = info.epoch;
    let mut blobs = Vec::new();
    for table in TABLES {
        let days = match table {
            None => Some(&info.days),
            Some(side) => info.sides.get(&side),
        };
        let Some(days) = days.filter(|days| !days.is_empty()) else {
            continue;
        };
        let read = move |state: &State| match table {
            None => state.rows_of(epoch),
            Some(side) => state.side_rows_of(epoch, side),
        };
        let Some(bytes) = on_disk(state, read).await? else {
            return Ok(Repaired::BlobGone);
        };
        let found = match table {
            None => rows::restamp(&bytes, info.collector_id),
            Some(side) => side_tables::restamp(side, &bytes, info.collector_id),
        };
        if found.map(|encoded| encoded.days).as_ref() != Some(days) {
            return Ok(Repaired::BlobDamaged);
        }
        blobs.push((table, bytes));
    }
    for (table, bytes) in blobs {
        insert_rows(clickhouse, table, vec![bytes]).await?;
    }
    // The hours that were summed up without these rows are found and summed up again by `serve`, at its next start.
    let days: Vec<u32> = info.days.keys().copied().collect();
    on_disk(state, move |state| state.uncheck_days(&days)).await?;
    let oldest_day = oldest_kept_day(state, now_ms).await?;
    if merge == Merge::IfNeeded && is_whole(clickhouse, info, oldest_day).await? {
        return Ok(Repaired::Whole);
    }
    // A row that was changed is still there until its part is merged with the one that replaces it.
    for day in info.days.keys().filter(|day| **day >= oldest_day) {
        optimize(clickhouse, "rollup_1m", *day).await?;
    }
    for (table, days) in &info.sides {
        for day in days.keys().filter(|day| **day >= oldest_day) {
            optimize(clickhouse, table.name(), *day).await?;
        }
    }
    Ok(if is_whole(clickhouse, info, oldest_day).await? {
        Repaired::Whole
    } else {
        Repaired::HasOthers
    })
}

async fn optimize(clickhouse: &ClickHouse, table: &str, day: u32) -> Result<(), ClickHouseError> {
    let day = date(day);
    by_epoch::prepare_merge(clickhouse, table, &day.replace('-', "")).await?;
    clickhouse
        .execute(&format!("OPTIMIZE TABLE {table} PARTITION '{day}' FINAL"))
        .await
}

async fn is_whole(
    clickhouse: &ClickHouse,
    info: &EpochInfo,
    oldest_day: u32,
) -> Result<bool, ClickHouseError> {
    let group = std::slice::from_ref(info);
    let held = audit::held(clickhouse, group).await?;
    Ok(audit::is_complete(info, &held, oldest_day))
}

/// A day as ClickHouse writes it.
#[must_use]
pub fn date(day: u32) -> String {
    let days = jiff::Span::new().days(i64::from(day));
    let date = jiff::civil::date(1970, 1, 1).checked_add(days);
    date.map_or_else(|_| day.to_string(), |date| date.to_string())
}

/// Rows in ClickHouse under one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The collector whose rows they are.
    pub collector_id: Uuid,
    /// The seal that the rows are of.
    pub epoch: u64,
    /// How many rows there are, copies that are not merged yet included.
    pub rows: u64,
    /// Samples in the rows.
    pub samples: u64,
}

/// What ClickHouse holds of one collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// The collector whose rows they are.
    pub collector_id: Uuid,
    /// How many epochs the collector has there.
    pub epochs: u64,
    /// How many rows the collector has there, copies that are not merged yet included.
    pub rows: u64,
    /// Samples in the rows.
    pub samples: u64,
}

#[derive(Debug, Row, serde::Deserialize)]
struct Counted {
    collector: String,
    epoch: u64,
    rows: u64,
    samples: u64,
}

/// Unknown epochs listed at most; one is enough to fail.
const STRAYS_MAX: u64 = 1_000;

/// Epochs of these collectors in ClickHouse that lie outside the runs given for each.
///
/// # Errors
/// When ClickHouse does not answer or refuses.
pub async fn strays(
    clickhouse: &ClickHouse,
    runs: &[(Uuid, u64, u64)],
    now_ms: i64,
) -> Result<Vec<Stray>, ClickHouseError> {
    let run = |(id, first, last): &(Uuid, u64, u64)| {
        format!("(collector_id = '{id}' AND epoch BETWEEN {first} AND {last})")
    };
    let ids: Vec<String> = runs.iter().map(|(id, _, _)| format!("'{id}'")).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<String> = runs.iter().map(run).collect();
    let sql = format!(
        "SELECT toString(collector_id) AS collector, epoch, count() AS rows, sum(count) AS samples FROM rollup_1m
         WHERE toRelativeDayNum(window_start) >= {} AND collector_id IN ({}) AND NOT ({})
         GROUP BY collector_id, epoch ORDER BY epoch LIMIT {STRAYS_MAX}",
        oldest_unexpired_day(now_ms),
        ids.join(", "),
        known.join(" OR ")
    );
    let rows: Vec<Counted> = clickhouse.fetch(&sql, |query| query).await?;
    let stray = |row: Counted| Stray {
        collector_id: Uuid::parse_str(&row.collector).unwrap_or_default(),
        epoch: row.epoch,
        rows: row.rows,
        samples: row.samples,
    };
    Ok(rows.into_iter().map(stray).collect())
}

/// What ClickHouse holds of every collector that is none of these.
///
/// # Errors
/// When ClickHouse does not answer or refuses.
pub async fn others(
    clickhouse: &ClickHouse,
    own: &[Uuid],
    now_ms: i64,
) -> Result<Vec<Contribution>, ClickHouseError> {
    let ids: Vec<String> = own.iter().map(|id| format!("'{id}'")).collect();
    let sql = format!(
        "SELECT toString(collector_id) AS collector, count() AS epoch, sum(of_epoch) AS rows, sum(samples_of_epoch) AS samples
         FROM (
             SELECT collector_id, epoch, count() AS of_epoch, sum(count) AS samples_of_epoch FROM rollup_1m
             WHERE toRelativeDayNum(window_start) >= {} AND collector_id NOT IN ({})
             GROUP BY collector_id, epoch
         )
         GROUP BY collector_id ORDER BY collector_id LIMIT {STRAYS_MAX}",
        oldest_unexpired_day(now_ms),
        ids.join(", ")
    );
    let rows: Vec<Counted> = clickhouse.fetch(&sql, |query| query).await?;
    let contribution = |row: Counted| Contribution {
        collector_id: Uuid::parse_str(&row.collector).unwrap_or_default(),
        epochs: row.epoch,
        rows: row.rows,
        samples: row.samples,
    };
    Ok(rows.into_iter().map(contribution).collect())
}
