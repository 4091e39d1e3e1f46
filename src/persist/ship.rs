//! Outbox to ClickHouse: insert, read back, confirm, in order; back off and try again.
//!
//! The answer to an insert proves nothing: a timeout may hide a success, and an acknowledged part may be
//! lost. The shipper therefore asks ClickHouse what it holds. Rows are identical however often they are sent,
//! so sending again is always safe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Row;
use tillwatch_model::time::DAY_MS;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::persist::audit::{self, HeldEpochs, KEPT_DAYS};
use crate::persist::by_epoch;
use crate::persist::clickhouse::ClickHouse;
use crate::persist::epoch::EpochInfo;
use crate::persist::error::{ClickHouseError, StateError};
use crate::persist::rows::{self, COLUMNS};
use crate::persist::side_tables::{self, SideTable};
use crate::persist::state::State;

/// Epochs in one insert while draining.
const EPOCHS_MAX: usize = 32;
/// Rows in one insert: below the million at which ClickHouse would cut it into blocks.
const ROWS_MAX: u64 = 500_000;
/// Bytes of rows after which an insert is closed; one epoch may pass it alone.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Days in one insert, each a partition: below ClickHouse's limit of 100 with room.
const DAYS_MAX: usize = 60;

/// What one round of shipping did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// The epochs confirmed, in order.
    pub confirmed: Vec<u64>,
    /// Rows inserted.
    pub rows: u64,
    /// Samples in the confirmed epochs.
    pub samples: u64,
    /// Time spent: reading the outbox and inserting, reading back, noting what is confirmed.
    pub spent: [Duration; 3],
}

/// Refuses to ship when ClickHouse holds a higher epoch of this collector than this state file sent.
///
/// # Errors
/// [`ClickHouseError::EpochReuse`] then; else when ClickHouse does not answer.
pub async fn guard_epochs(
    clickhouse: &ClickHouse,
    state: &Arc<State>,
) -> Result<(), ClickHouseError> {
    let collector = state.collector_id();
    let theirs = by_epoch::highest(clickhouse, collector).await?;
    // Not the last epoch sealed: an older copy goes on sealing, and would soon be past theirs.
    let ours = on_disk(state, State::sent_epoch).await?;
    if theirs > ours {
        return Err(ClickHouseError::EpochReuse {
            theirs,
            ours,
            collector,
        });
    }
    Ok(())
}

#[derive(Debug, Row, serde::Deserialize)]
struct HeldHash {
    epoch: u64,
    hash: u64,
}

/// The unconfirmed epochs under whose number ClickHouse holds rows that are not theirs: another copy of
/// the state file has used it.
///
/// # Errors
/// When ClickHouse does not answer, or the state file fails.
pub async fn used_epochs(
    clickhouse: &ClickHouse,
    state: &Arc<State>,
) -> Result<Vec<u64>, ClickHouseError> {
    let collector = state.collector_id();
    let mut waiting = on_disk(state, |state| state.unconfirmed(usize::MAX)).await?;
    waiting.retain(|info| info.collector_id == collector);
    let Some((first, last)) = waiting.first().zip(waiting.last()) else {
        return Ok(Vec::new());
    };
    let range = (first.epoch, last.epoch);
    let mut used = BTreeSet::new();
    for table in TABLES {
        let days = by_epoch::days_of(clickhouse, table, collector, range).await?;
        let Some((first_day, last_day)) = days.first().zip(days.last()) else {
            continue;
        };
        let (name, time, _) = audit::table_of(table);
        let sql = format!(
            "SELECT epoch, row_hash AS hash FROM {name}
             WHERE collector_id = {{id:UUID}} AND epoch BETWEEN {{first:UInt64}} AND {{last:UInt64}}
               AND has({{days:Array(UInt32)}}, toUInt32(toRelativeDayNum({time})))
               AND toDate({time}) BETWEEN toDate({{first_day:UInt32}}) AND toDate({{last_day:UInt32}})"
        );
        let rows: Vec<HeldHash> = clickhouse
            .fetch(&sql, |query| {
                query
                    .param("id", collector.to_string())
                    .param("first", range.0)
                    .param("last", range.1)
                    .param("first_day", *first_day)
                    .param("last_day", *last_day)
                    .param("days", days.clone())
            })
            .await?;
        let mut held: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for row in rows {
            held.entry(row.epoch).or_default().push(row.hash);
        }
        for (epoch, hashes) in held {
            let Some(info) = waiting.iter().find(|info| info.epoch == epoch) else {
                continue;
            };
            let ours = our_hashes(state, info, table).await?;
            if hashes.iter().any(|hash| !ours.contains(hash)) {
                used.insert(epoch);
            }
        }
    }
    Ok(used.into_iter().collect())
}

/// `rollup_1m` (`None`) and the tables beside it.
pub(super) const TABLES: [Option<SideTable>; 1 + SideTable::ALL.len()] = {
    let mut tables = [None; 1 + SideTable::ALL.len()];
    let (_, beside) = tables.split_at_mut(1);
    let mut at = 0;
    while at < beside.len() {
        beside[at] = Some(SideTable::ALL[at]);
        at += 1;
    }
    tables
};

async fn our_hashes(
    state: &Arc<State>,
    info: &EpochInfo,
    table: Option<SideTable>,
) -> Result<BTreeSet<u64>, StateError> {
    let rows = rows_of(state, info, table).await?.unwrap_or_default();
    let hashes = match table {
        None => rows::hashes(&rows),
        Some(table) => side_tables::hashes(table, &rows),
    };
    let hashes = hashes.ok_or(StateError::Damaged("outbox blob"))?;
    Ok(hashes.into_iter().collect())
}

/// Ships the oldest epochs that wait: inserts what ClickHouse does not hold, reads back, confirms.
///
/// # Errors
/// When ClickHouse does not answer or refuses, or the state file fails. Nothing is lost by it.
pub async fn ship_once(
    clickhouse: &ClickHouse,
    state: &Arc<State>,
    clock: &Clock,
    is_retry: bool,
) -> Result<Shipped, ClickHouseError> {
    let mut waiting = on_disk(state, |state| state.unconfirmed(EPOCHS_MAX)).await?;
    if waiting.is_empty() {
        waiting = on_disk(state, |state| state.left_behind(EPOCHS_MAX)).await?;
    }
    let mut group = first_group(waiting);
    if group.is_empty() {
        return Ok(Shipped::default());
    }
    // By a clock that may be wrong nothing has expired.
    let now_ms = if clock.is_settled() {
        clock.now_ms()
    } else {
        0
    };
    let oldest_day = oldest_kept_day(state, now_ms).await?;

    // After a failure some of it may have arrived: ask before sending it all again.
    let arrived = if is_retry {
        clickhouse.forget_settings();
        audit::held(clickhouse, &group).await?
    } else {
        HeldEpochs::default()
    };
    let started = Instant::now();
    let mut shipped = Shipped::default();
    let mut inserts: [Vec<Vec<u8>>; TABLES.len()] = Default::default();
    let mut bytes = 0;
    for (index, info) in group.iter().enumerate() {
        if is_retry && audit::is_complete(info, &arrived, oldest_day) {
            continue;
        }
        for (table, pieces) in TABLES.iter().zip(&mut inserts) {
            let Some(rows) = rows_of(state, info, *table).await? else {
                continue;
            };
            bytes += rows.len();
            pieces.push(rows);
        }
        shipped.rows += info.rows() + info.side_rows();
        if bytes >= BYTES_MAX {
            group.truncate(index + 1);
            break;
        }
    }
    if bytes > 0 {
        let last = group.last().map_or(0, |info| info.epoch);
        on_disk(state, move |state| state.note_sent(last)).await?;
    }
    for (table, pieces) in TABLES.iter().zip(inserts) {
        insert_rows(clickhouse, *table, pieces).await?;
    }

    let inserted = Instant::now();
    let held = audit::held(clickhouse, &group).await?;
    let read_back = Instant::now();
    for info in &group {
        if !audit::is_complete(info, &held, oldest_day) {
            break;
        }
        shipped.confirmed.push(info.epoch);
        shipped.samples += info.samples();
    }
    let epochs = shipped.confirmed.clone();
    let confirmed_at_ms = clock.now_ms();
    on_disk(state, move |state| state.confirm(&epochs, confirmed_at_ms)).await?;
    shipped.spent = [
        inserted - started,
        read_back - inserted,
        read_back.elapsed(),
    ];
    Ok(shipped)
}

/// Inserts rows of epochs into `rollup_1m` or a table beside it, as their blobs hold them. Sending them
/// again changes nothing.
///
/// # Errors
/// When ClickHouse refuses, or does not answer: then they may or may not be there.
pub async fn insert_rows(
    clickhouse: &ClickHouse,
    table: Option<SideTable>,
    pieces: Vec<Vec<u8>>,
) -> Result<(), ClickHouseError> {
    if pieces.is_empty() {
        return Ok(());
    }
    let (name, columns) = table.map_or(("rollup_1m", COLUMNS), |table| {
        (table.name(), table.columns())
    });
    clickhouse.insert_row_binary(name, columns, pieces).await
}

/// The rows that an epoch has for a table.
async fn rows_of(
    state: &Arc<State>,
    info: &EpochInfo,
    table: Option<SideTable>,
) -> Result<Option<Vec<u8>>, StateError> {
    let info = info.clone();
    on_disk(state, move |state| state.waiting_rows(&info, table)).await
}

/// The longest run from the front that fits in one insert and bears one collector id.
fn first_group(waiting: Vec<EpochInfo>) -> Vec<EpochInfo> {
    let mut group: Vec<EpochInfo> = Vec::new();
    let mut days = BTreeSet::new();
    let mut rows = 0;
    for info in waiting {
        // Of one table: each is an insert of its own.
        rows += info.rows().max(info.side_rows());
        days.extend(info.days.keys().copied());
        let is_same = group
            .first()
            .is_none_or(|first| first.collector_id == info.collector_id);
        if !group.is_empty() && (!is_same || rows > ROWS_MAX || days.len() > DAYS_MAX) {
            break;
        }
        group.push(info);
    }
    group
}

/// Windows of this day and later are still kept by ClickHouse: with a day to spare before they expire, and
/// not given up to save disk.
///
/// # Errors
/// When the state file cannot be read.
pub async fn oldest_kept_day(state: &Arc<State>, now_ms: i64) -> Result<u32, StateError> {
    let first = on_disk(state, State::minutes_from_day).await?;
    Ok(first.max(oldest_unexpired_day(now_ms)))
}

/// Windows of this day and later have not expired, with a day to spare.
pub(super) fn oldest_unexpired_day(now_ms: i64) -> u32 {
    let today = u32::try_from(now_ms / DAY_MS).unwrap_or(0);
    today.saturating_sub(KEPT_DAYS - 1)
}

/// Runs work on the state file where blocking is allowed.
///
/// # Errors
/// Whatever the work's error is.
pub async fn on_disk<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || work(&state)).await {
        Ok(result) => result,
        Err(_) => Err(StateError::Damaged("worker: it panicked or was stopped")),
    }
}

/// How long to wait after so many failures in a row: 1 s doubling to 60 s, drawn between half and all.
#[must_use]
pub fn back_off(failures: u32, chance: &Chance) -> Duration {
    let full_ms = 1_000_u64.saturating_mul(1 << failures.min(6)).min(60_000);
    Duration::from_millis(chance.between(full_ms / 2..=full_ms))
}
