//! The projection `by_epoch`: which epochs a table holds rows of, without reading the rows.
//!
//! A part keeps its rows' sums by collector, epoch and day in the projection. ClickHouse uses it for a
//! statement that groups by these columns, filters by nothing else and asks for no `FINAL`. Parts without it,
//! from before the migration that made it, are read row by row in the same statement: the answer is the same,
//! and slow. [`add_next`] gives them the projection, and only then do they merge with younger parts.

use clickhouse::Row;
use uuid::Uuid;

use crate::persist::audit::table_of;
use crate::persist::clickhouse::{ClickHouse, OneNumber};
use crate::persist::error::ClickHouseError;
use crate::persist::side_tables::SideTable;

/// A table's day.
#[derive(Debug, Clone, PartialEq, Eq, Row, serde::Deserialize)]
pub struct Partition {
    /// The table.
    pub of_table: String,
    /// The partition's id: its day, as `yyyymmdd`.
    pub id: String,
}

/// What [`add_next`] has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It has begun with this partition, and ClickHouse goes on in the background.
    Begun(Partition),
    /// ClickHouse is still at an earlier one.
    Waiting,
    /// Every part has the projection.
    All,
}

/// The highest epoch of a collector that any table has a row of; 0 if none has.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn highest(clickhouse: &ClickHouse, collector: Uuid) -> Result<u64, ClickHouseError> {
    let rows: Vec<OneNumber> = clickhouse
        .fetch(
            "SELECT max(epoch) AS number FROM (
                 SELECT epoch FROM rollup_1m WHERE collector_id = {id:UUID} GROUP BY epoch
                 UNION ALL SELECT epoch FROM rollup_terminal_1h WHERE collector_id = {id:UUID} GROUP BY epoch
                 UNION ALL SELECT epoch FROM session WHERE collector_id = {id:UUID} GROUP BY epoch
                 UNION ALL SELECT epoch FROM error_group_1h WHERE collector_id = {id:UUID} GROUP BY epoch
                 UNION ALL SELECT epoch FROM summary_1m WHERE collector_id = {id:UUID} GROUP BY epoch
                 UNION ALL SELECT epoch FROM loss WHERE collector_id = {id:UUID} GROUP BY epoch)",
            |query| query.param("id", collector.to_string()),
        )
        .await?;
    Ok(rows.first().map_or(0, |row| row.number))
}

/// The days, since 1970, on which a table has rows of a collector's epochs from the first to the last.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn days_of(
    clickhouse: &ClickHouse,
    side: Option<SideTable>,
    collector: Uuid,
    (first, last): (u64, u64),
) -> Result<Vec<u32>, ClickHouseError> {
    let (table, time, _) = table_of(side);
    let sql = format!(
        "SELECT toUInt64(day_number) AS number FROM (
             SELECT epoch, toRelativeDayNum({time}) AS day_number FROM {table}
             WHERE collector_id = {{id:UUID}} AND epoch BETWEEN {{first:UInt64}} AND {{last:UInt64}}
             GROUP BY epoch, toRelativeDayNum({time}))
         GROUP BY day_number ORDER BY day_number"
    );
    let rows: Vec<OneNumber> = clickhouse
        .fetch(&sql, |query| {
            query
                .param("id", collector.to_string())
                .param("first", first)
                .param("last", last)
        })
        .await?;
    let days = rows.iter().map(|row| u32::try_from(row.number));
    Ok(days.filter_map(Result::ok).collect())
}

const LACKING: &str = "SELECT table AS of_table, partition_id AS id FROM system.parts
    WHERE database = currentDatabase() AND active AND NOT has(projections, 'by_epoch')
      AND table IN (SELECT name FROM system.tables
                    WHERE database = currentDatabase() AND position(create_table_query, 'PROJECTION by_epoch ') > 0)";

/// Gives the projection to the parts of the youngest partition that has parts without it, one partition at a
/// time, in the background.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn add_next(clickhouse: &ClickHouse) -> Result<Added, ClickHouseError> {
    let sql = "SELECT count() AS number FROM system.mutations
        WHERE database = currentDatabase() AND NOT is_done AND position(command, 'MATERIALIZE PROJECTION by_epoch') > 0";
    let at_work: Vec<OneNumber> = clickhouse.fetch(sql, |query| query).await?;
    if at_work.iter().any(|row| row.number > 0) {
        return Ok(Added::Waiting);
    }
    let sql = format!("{LACKING} AND rows > 0 ORDER BY id DESC, of_table LIMIT 1");
    let mut lacking: Vec<Partition> = clickhouse.fetch(&sql, |query| query).await?;
    let Some(partition) = lacking.pop() else {
        return Ok(Added::All);
    };
    let Partition { of_table, id } = &partition;
    let sql = format!(
        "ALTER TABLE {of_table} MATERIALIZE PROJECTION by_epoch IN PARTITION ID '{id}' SETTINGS mutations_sync = 0"
    );
    clickhouse.execute(&sql).await?;
    Ok(Added::Begun(partition))
}

/// Makes the parts of a partition such that they can be merged into one: parts with the projection and parts
/// without it do not merge with each other, and a part whose rows have all been deleted has none. All of them
/// lose it, and what they are merged into has it again.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn prepare_merge(
    clickhouse: &ClickHouse,
    table: &str,
    partition_id: &str,
) -> Result<(), ClickHouseError> {
    let sql =
        format!("{LACKING} AND table = {{table:String}} AND partition_id = {{id:String}} LIMIT 1");
    let lacking: Vec<Partition> = clickhouse
        .fetch(&sql, |query| {
            query.param("table", table).param("id", partition_id)
        })
        .await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "ALTER TABLE {table} CLEAR PROJECTION by_epoch IN PARTITION ID '{partition_id}' SETTINGS mutations_sync = 1"
    );
    clickhouse.execute(&sql).await
}
