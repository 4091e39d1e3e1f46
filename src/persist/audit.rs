//! The ledger against what ClickHouse holds, epoch by epoch and day by day.

use std::collections::BTreeMap;

use clickhouse::Row;

use crate::persist::clickhouse::ClickHouse;
use crate::persist::epoch::EpochInfo;
use crate::persist::error::ClickHouseError;
use crate::persist::rows::DayLedger;
use crate::persist::side_tables::SideTable;

/// Days after which ClickHouse may have dropped a window: an audit does not ask for older ones.
pub const KEPT_DAYS: u32 = 90;

/// What ClickHouse holds of an epoch's rows of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Distinct rows, their samples and the sum of their hashes.
    pub ledger: DayLedger,
    /// Rows including copies not merged away yet: at least as many.
    pub physical_rows: u64,
}

/// What is held, by epoch and day.
pub type HeldDays = BTreeMap<(u64, u32), Held>;

/// What ClickHouse holds of some epochs, in every table.
#[derive(Debug, Default)]
pub struct HeldEpochs {
    /// What is held in `rollup_1m`.
    pub rollups: HeldDays,
    /// What is held in the tables beside `rollup_1m`.
    pub sides: BTreeMap<SideTable, HeldDays>,
}

#[derive(Debug, Row, serde::Deserialize)]
struct HeldRow {
    epoch: u64,
    of_day: u32,
    rows: u64,
    samples: u64,
    hash_sum: u64,
    physical_rows: u64,
}

/// What ClickHouse holds of these epochs, which bear one collector id, on the days that they have rows of.
///
/// Rows are counted by distinct hash: a row that was sent twice and not merged yet counts once, as it
/// does for every reader.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn held(
    clickhouse: &ClickHouse,
    epochs: &[EpochInfo],
) -> Result<HeldEpochs, ClickHouseError> {
    let mut found = HeldEpochs {
        rollups: held_in(clickhouse, epochs, None).await?,
        sides: BTreeMap::new(),
    };
    for table in SideTable::ALL {
        if epochs.iter().any(|info| info.sides.contains_key(&table)) {
            let days = held_in(clickhouse, epochs, Some(table)).await?;
            found.sides.insert(table, days);
        }
    }
    Ok(found)
}

async fn held_in(
    clickhouse: &ClickHouse,
    epochs: &[EpochInfo],
    side: Option<SideTable>,
) -> Result<HeldDays, ClickHouseError> {
    let Some((first, last)) = epochs.first().zip(epochs.last()) else {
        return Ok(HeldDays::new());
    };
    let of_table = |info: &EpochInfo| match side {
        None => info.days.keys().copied().collect::<Vec<u32>>(),
        Some(table) => {
            let days = info.sides.get(&table).into_iter();
            days.flat_map(|days| days.keys().copied()).collect()
        }
    };
    let mut days: Vec<u32> = epochs.iter().flat_map(of_table).collect();
    days.sort_unstable();
    days.dedup();
    let (table, time, samples) = table_of(side);
    let sql = format!(
        "SELECT epoch, of_day, count() AS rows, sum(samples) AS samples, sum(row_hash) AS hash_sum,
                sum(copies) AS physical_rows
         FROM (
             SELECT epoch, toUInt32(toRelativeDayNum({time})) AS of_day, row_hash,
                    any({samples}) AS samples, count() AS copies
             FROM {table}
             WHERE collector_id = {{collector_id:UUID}} AND epoch BETWEEN {{first:UInt64}} AND {{last:UInt64}}
               AND has({{days:Array(UInt32)}}, toUInt32(toRelativeDayNum({time})))
               AND toDate({time}) BETWEEN toDate({{first_day:UInt32}}) AND toDate({{last_day:UInt32}})
             GROUP BY epoch, of_day, row_hash
         )
         GROUP BY epoch, of_day"
    );
    let first_day = days.first().copied().unwrap_or(0);
    let last_day = days.last().copied().unwrap_or(0);
    let rows: Vec<HeldRow> = clickhouse
        .fetch(&sql, |query| {
            query
                .param("collector_id", first.collector_id.to_string())
                .param("first", first.epoch)
                .param("last", last.epoch)
                .param("days", days)
                .param("first_day", first_day)
                .param("last_day", last_day)
        })
        .await?;
    let held = |row: HeldRow| {
        let ledger = DayLedger {
            rows: row.rows,
            samples: row.samples,
            hash_sum: row.hash_sum,
        };
        let physical_rows = row.physical_rows;
        (
            (row.epoch, row.of_day),
            Held {
                ledger,
                physical_rows,
            },
        )
    };
    Ok(rows.into_iter().map(held).collect())
}

/// The name of `rollup_1m` (`None`) or of a table beside it, its column of time, and its samples.
pub(super) fn table_of(side: Option<SideTable>) -> (&'static str, &'static str, &'static str) {
    match side {
        None => ("rollup_1m", "window_start", "count"),
        Some(table) => (table.name(), table.time_column(), "toUInt64(0)"),
    }
}

/// Whether ClickHouse holds every row of an epoch, in every table, leaving out days before `oldest_day`.
#[must_use]
pub fn is_complete(epoch: &EpochInfo, held: &HeldEpochs, oldest_day: u32) -> bool {
    let none = HeldDays::new();
    let is_held = |days: &BTreeMap<u32, DayLedger>, held: &HeldDays| {
        days.range(oldest_day..)
            .all(|(day, ledger)| ledger_of(held, (epoch.epoch, *day)) == *ledger)
    };
    let mut sides = epoch.sides.iter();
    is_held(&epoch.days, &held.rollups)
        && sides.all(|(table, days)| is_held(days, held.sides.get(table).unwrap_or(&none)))
}

/// What is held of an epoch's day; nothing, if ClickHouse has not named it.
#[must_use]
pub fn ledger_of(held: &HeldDays, key: (u64, u32)) -> DayLedger {
    held.get(&key)
        .map_or_else(DayLedger::default, |held| held.ledger)
}
