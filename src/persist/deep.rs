//! A deep look at what ClickHouse holds: every file of every part, and every row against its hash.
//!
//! A stored hash proves only that a row is there; the other columns may be unreadable or changed. ClickHouse
//! itself checks them: `CHECK TABLE` reads each part and compares it with its checksums, and `xxh3` over a
//! row as `RowBinary` must be the hash that the row bears.

use std::collections::BTreeSet;

use clickhouse::Row;

use crate::persist::audit::KEPT_DAYS;
use crate::persist::audit::table_of;
use crate::persist::clickhouse::ClickHouse;
use crate::persist::epoch::EpochInfo;
use crate::persist::error::ClickHouseError;
use crate::persist::repair::date;
use crate::persist::rows::COLUMNS;
use crate::persist::ship::TABLES;
use crate::persist::side_tables::SideTable;

/// Every table that tillwatch fills; a test of the migrations holds it against them.
pub(super) const FILLED: [&str; 8] = [
    "rollup_1m",
    "rollup_1h",
    "rollup_terminal_1h",
    "session",
    "error_group_1h",
    "summary_1m",
    "loss",
    "migration",
];

/// The table of hourly sums, which `serve` makes anew from the minutes.
pub const HOURLY: &str = "rollup_1h";

/// A part of a table that does not fit its checksums, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPart {
    /// The table.
    pub table: &'static str,
    /// The part's name.
    pub part: String,
    /// The part's partition: the first day of its rows, as `yyyymmdd`, or `all`.
    pub partition: String,
    /// What ClickHouse says of the part.
    pub message: String,
}

#[derive(Debug, Row, serde::Deserialize)]
struct Partition {
    of_table: String,
    partition: String,
}

#[derive(Debug, Row, serde::Deserialize)]
struct Checked {
    part_path: String,
    is_passed: u8,
    message: String,
}

/// Reads every part of every table, one partition a statement, and gives those that are broken. `progress`
/// is told partitions done and partitions in all.
///
/// # Errors
/// When ClickHouse does not answer or refuses.
pub async fn broken_parts(
    clickhouse: &ClickHouse,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<BrokenPart>, ClickHouseError> {
    let sql = "SELECT DISTINCT table AS of_table, partition_id AS partition FROM system.parts
         WHERE database = {database:String} AND active ORDER BY of_table, partition";
    let partitions: Vec<Partition> = clickhouse
        .fetch(sql, |query| query.param("database", clickhouse.database()))
        .await?;
    let mut broken = Vec::new();
    let all = partitions.len() as u64;
    for (
        done,
        Partition {
            of_table,
            partition,
        },
    ) in (1..).zip(partitions)
    {
        let Some(table) = FILLED.into_iter().find(|filled| **filled == *of_table) else {
            continue;
        };
        if !is_plain(&partition) {
            continue;
        }
        let sql = format!("CHECK TABLE {table} PARTITION ID '{partition}'");
        let checked: Vec<Checked> = clickhouse
            .fetch(&sql, |query| {
                query.with_setting("check_query_single_value_result", "0")
            })
            .await?;
        let name = |path: &str| {
            path.trim_end_matches('/')
                .rsplit('/')
                .next()
                .map(str::to_owned)
        };
        let bad = checked.into_iter().filter(|part| part.is_passed == 0);
        broken.extend(bad.map(|found| BrokenPart {
            table,
            part: name(&found.part_path).unwrap_or_default(),
            partition: partition.clone(),
            message: found.message,
        }));
        progress(done, all);
    }
    Ok(broken)
}

/// Takes a part out of its table. Its files stay, in the table's folder `detached`.
///
/// # Errors
/// When ClickHouse does not answer or refuses.
pub async fn detach(clickhouse: &ClickHouse, broken: &BrokenPart) -> Result<(), ClickHouseError> {
    if !is_plain(&broken.part) {
        return Ok(());
    }
    let (table, part) = (broken.table, &broken.part);
    clickhouse
        .execute(&format!("ALTER TABLE {table} DETACH PART '{part}'"))
        .await
}

/// Names of parts and partitions are written into statements: nothing but what they are made of.
fn is_plain(name: &str) -> bool {
    let is_made_of = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    !name.is_empty() && name.chars().all(is_made_of)
}

/// The days of a broken part of the hourly sums, whose partitions are weeks, since 1970.
#[must_use]
pub fn days_of_week(broken: &BrokenPart) -> Vec<u32> {
    let monday = jiff::civil::Date::strptime("%Y%m%d", &broken.partition).ok();
    let first = monday.and_then(|monday| {
        let since = monday.since(jiff::civil::date(1970, 1, 1)).ok()?;
        u32::try_from(since.get_days()).ok()
    });
    first.map_or_else(Vec::new, |first| (first..first + 7).collect())
}

/// A row or more that are other than their hash says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrongRows {
    /// The seal that the rows are of.
    pub epoch: u64,
    /// The table that the rows are in.
    pub table: &'static str,
    /// The day of the rows, counted since 1970.
    pub day: u32,
    /// How many rows there are.
    pub rows: u64,
}

#[derive(Debug, Row, serde::Deserialize)]
struct WrongRow {
    epoch: u64,
    rows: u64,
}

/// Computes the hash of every row of these epochs anew, one table's day a statement, and gives those that
/// bear another. Days that ClickHouse may have dropped are left out.
///
/// # Errors
/// When ClickHouse does not answer or refuses; it refuses what it cannot read.
pub async fn wrong_rows(
    clickhouse: &ClickHouse,
    ledger: &[EpochInfo],
    now_ms: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BTreeSet<WrongRows>, ClickHouseError> {
    let today = u32::try_from(now_ms / tillwatch_model::time::DAY_MS).unwrap_or(0);
    let oldest_day = today.saturating_sub(KEPT_DAYS - 1);
    let mut wanted = BTreeSet::new();
    for info in ledger {
        for table in TABLES {
            let days = match table {
                None => Some(&info.days),
                Some(side) => info.sides.get(&side),
            };
            let days = days.into_iter().flat_map(|days| days.range(oldest_day..));
            wanted.extend(days.map(|(day, _)| (info.collector_id, table, *day)));
        }
    }
    let known: BTreeSet<_> = ledger
        .iter()
        .map(|info| (info.collector_id, info.epoch))
        .collect();
    let mut wrong = BTreeSet::new();
    let all = wanted.len() as u64;
    for (done, (collector_id, side, day)) in (1..).zip(wanted) {
        let (table, time, _) = table_of(side);
        let columns = side.map_or(COLUMNS, SideTable::columns);
        let hashed = columns
            .trim_end_matches("row_hash")
            .trim_end_matches([' ', ',']);
        let sql = format!(
            "SELECT epoch, count() AS rows FROM {table}
             WHERE collector_id = {{collector_id:UUID}} AND toDate({time}) = toDate('{}')
               AND row_hash != xxh3(formatRow('RowBinary', {hashed}))
             GROUP BY epoch",
            date(day)
        );
        let rows: Vec<WrongRow> = clickhouse
            .fetch(&sql, |query| {
                query.param("collector_id", collector_id.to_string())
            })
            .await?;
        let of_ledger = rows
            .into_iter()
            .filter(|row| known.contains(&(collector_id, row.epoch)));
        wrong.extend(of_ledger.map(|row| WrongRows {
            epoch: row.epoch,
            table,
            day,
            rows: row.rows,
        }));
        progress(done, all);
    }
    Ok(wrong)
}
