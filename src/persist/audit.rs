//! The ledger against what ClickHouse holds, epoch by epoch and day by day.

use std::collections::BTreeMap;

use clickhouse::Row;
use uuid::Uuid;

use crate::persist::clickhouse::ClickHouse;
use crate::persist::error::ClickHouseError;
use crate::persist::outbox::EpochInfo;
use crate::persist::rows::DayLedger;

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

#[derive(Debug, Row, serde::Deserialize)]
struct HeldRow {
    epoch: u64,
    day: u32,
    rows: u64,
    samples: u64,
    hash_sum: u64,
    physical_rows: u64,
}

/// What ClickHouse holds of the epochs `first` to `last` of a collector, on the given days.
///
/// Rows are counted by distinct hash: a row that was sent twice and not merged yet counts once, as it
/// does for every reader.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn held(
    clickhouse: &ClickHouse,
    collector_id: Uuid,
    (first, last): (u64, u64),
    days: &[u32],
) -> Result<BTreeMap<(u64, u32), Held>, ClickHouseError> {
    const SQL: &str = "
        SELECT epoch, day, count() AS rows, sum(samples) AS samples, sum(row_hash) AS hash_sum,
               sum(copies) AS physical_rows
        FROM (
            SELECT epoch, toUInt32(toRelativeDayNum(window_start)) AS day, row_hash,
                   any(count) AS samples, count() AS copies
            FROM rollup_1m
            WHERE collector_id = {collector_id:UUID} AND epoch BETWEEN {first:UInt64} AND {last:UInt64}
              AND has({days:Array(UInt32)}, toUInt32(toRelativeDayNum(window_start)))
              AND toDate(window_start) BETWEEN toDate({first_day:UInt32}) AND toDate({last_day:UInt32})
            GROUP BY epoch, day, row_hash
        )
        GROUP BY epoch, day";
    let first_day = days.iter().min().copied().unwrap_or(0);
    let last_day = days.iter().max().copied().unwrap_or(0);
    let rows: Vec<HeldRow> = clickhouse
        .fetch(SQL, |query| {
            query
                .param("collector_id", collector_id.to_string())
                .param("first", first)
                .param("last", last)
                .param("days", days.to_vec())
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
            (row.epoch, row.day),
            Held {
                ledger,
                physical_rows,
            },
        )
    };
    Ok(rows.into_iter().map(held).collect())
}

/// Whether ClickHouse holds every row of an epoch, leaving out days before `oldest_day`.
#[must_use]
pub fn is_complete(epoch: &EpochInfo, held: &BTreeMap<(u64, u32), Held>, oldest_day: u32) -> bool {
    let mut days = epoch.days.iter().filter(|(day, _)| **day >= oldest_day);
    days.all(|(day, ledger)| {
        held.get(&(epoch.epoch, *day))
            .is_some_and(|held| held.ledger == *ledger)
    })
}
