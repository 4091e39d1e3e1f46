//! The ledger against what ClickHouse holds, epoch by epoch and day by day.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use uuid::Uuid;

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

/// The sums that each part keeps by epoch are asked for first: where they are the ledger's, every row is there
/// once. Elsewhere a row may be there twice, or be missing, and the rows themselves are asked for.
async fn held_in(
    clickhouse: &ClickHouse,
    epochs: &[EpochInfo],
    side: Option<SideTable>,
) -> Result<HeldDays, ClickHouseError> {
    let Some(first) = epochs.first() else {
        return Ok(HeldDays::new());
    };
    let expected = expected_of(epochs, side);
    let asked = Asked {
        collector_id: first.collector_id,
        side,
    };
    let mut held = asked.sums(clickhouse, expected.keys()).await?;
    held.retain(|key, _| expected.contains_key(key));
    let is_other = |(key, held): &(&(u64, u32), &Held)| expected.get(key) != Some(&held.ledger);
    let others: Vec<(u64, u32)> = held.iter().filter(is_other).map(|(key, _)| *key).collect();
    let rows = asked.rows(clickhouse, others.iter()).await?;
    for key in others {
        // Without rows by now: they were deleted in between.
        held.insert(key, rows.get(&key).copied().unwrap_or_default());
    }
    Ok(held)
}

/// What the ledger says of the epochs' rows in a table.
fn expected_of(epochs: &[EpochInfo], side: Option<SideTable>) -> BTreeMap<(u64, u32), DayLedger> {
    let mut expected = BTreeMap::new();
    for info in epochs {
        let days = match side {
            None => Some(&info.days),
            Some(table) => info.sides.get(&table),
        };
        for (day, ledger) in days.into_iter().flatten() {
            expected.insert((info.epoch, *day), *ledger);
        }
    }
    expected
}

/// A table that is asked for epochs of a collector.
#[derive(Clone, Copy)]
struct Asked {
    collector_id: Uuid,
    side: Option<SideTable>,
}

impl Asked {
    /// Sums over all rows, copies too, of epochs from the first to the last and days from the earliest to the
    /// latest. The projection `by_epoch` has them: the statement asks for nothing else.
    async fn sums(
        self,
        clickhouse: &ClickHouse,
        keys: impl Iterator<Item = &(u64, u32)>,
    ) -> Result<HeldDays, ClickHouseError> {
        let (table, time, _) = table_of(self.side);
        let samples = match self.side {
            None => "sum(count)",
            Some(_) => "toUInt64(0)",
        };
        let sql = format!(
            "SELECT epoch, toUInt32(toRelativeDayNum({time})) AS of_day, count() AS rows, {samples} AS samples,
                    sum(row_hash) AS hash_sum, count() AS physical_rows
             FROM {table}
             WHERE collector_id = {{collector_id:UUID}} AND epoch BETWEEN {{first:UInt64}} AND {{last:UInt64}}
               AND toRelativeDayNum({time}) BETWEEN {{first_day:UInt32}} AND {{last_day:UInt32}}
             GROUP BY epoch, toRelativeDayNum({time})"
        );
        self.fetch(clickhouse, &sql, keys).await
    }

    /// The same by distinct rows, of exactly these days.
    async fn rows(
        self,
        clickhouse: &ClickHouse,
        keys: impl Iterator<Item = &(u64, u32)>,
    ) -> Result<HeldDays, ClickHouseError> {
        let (table, time, samples) = table_of(self.side);
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
        self.fetch(clickhouse, &sql, keys).await
    }

    /// Runs a statement with the epochs and days of these keys as parameters.
    async fn fetch(
        self,
        clickhouse: &ClickHouse,
        sql: &str,
        keys: impl Iterator<Item = &(u64, u32)>,
    ) -> Result<HeldDays, ClickHouseError> {
        let (epochs, days): (BTreeSet<u64>, BTreeSet<u32>) = keys.copied().unzip();
        let (Some((first, last)), Some((first_day, last_day))) = (
            epochs.first().zip(epochs.last()),
            days.first().zip(days.last()),
        ) else {
            return Ok(HeldDays::new());
        };
        let rows: Vec<HeldRow> = clickhouse
            .fetch(sql, |query| {
                query
                    .param("collector_id", self.collector_id.to_string())
                    .param("first", first)
                    .param("last", last)
                    .param("first_day", first_day)
                    .param("last_day", last_day)
                    .param("days", days.iter().copied().collect::<Vec<u32>>())
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
