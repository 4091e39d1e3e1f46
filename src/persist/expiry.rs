//! The end of rows in the embedded engine.
//!
//! The engine uses the clock of this machine and would drop rows as soon as that clock is ahead. Its tables
//! therefore have no TTL, and the collector drops their partitions by a clock that it trusts. A ClickHouse
//! server has a clock of its own and the TTL of `migrations/`.

use tillwatch_model::time::DAY_MS;

use crate::persist::clickhouse::{ClickHouse, Named};
use crate::persist::error::ClickHouseError;

/// The tables, and how many days one of their partitions holds; a test of the migrations holds the list
/// against them.
pub(super) const TABLES: [(&str, i64); 7] = [
    ("rollup_1m", 1),
    ("rollup_1h", 7),
    ("rollup_terminal_1h", 1),
    ("session", 1),
    ("error_group_1h", 1),
    ("summary_1m", 1),
    ("loss", 1),
];
/// A row is kept for this long.
const KEPT_DAYS: i64 = 90;

/// Takes the engine's own clock out of it.
///
/// # Errors
/// When the engine does not answer or refuses.
pub async fn forget_ttl(clickhouse: &ClickHouse) -> Result<(), ClickHouseError> {
    let tables: Vec<Named> = clickhouse
        .fetch(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '% TTL %'",
            |query| query,
        )
        .await?;
    for Named { name } in tables {
        if TABLES.iter().any(|(table, _)| *table == name) {
            clickhouse
                .execute(&format!("ALTER TABLE {name} REMOVE TTL"))
                .await?;
        }
    }
    Ok(())
}

/// Drops the partitions whose rows are all older than 90 days; says how many.
///
/// # Errors
/// When the engine does not answer or refuses.
pub async fn drop_expired(clickhouse: &ClickHouse, now_ms: i64) -> Result<usize, ClickHouseError> {
    let mut dropped = 0;
    for (table, days) in TABLES {
        // The first day of the youngest partition that has expired, as partitions are called.
        let last_day = now_ms.div_euclid(DAY_MS) - KEPT_DAYS - days;
        let partitions: Vec<Named> = clickhouse
            .fetch(
                "SELECT DISTINCT partition_id AS name FROM system.parts
                 WHERE database = currentDatabase() AND table = {table:String} AND active
                   AND match(partition_id, '^[0-9]{8}$')
                   AND partition_id <= formatDateTime(toDate32(0) + toInt32({day:Int64}), '%Y%m%d')
                 ORDER BY name",
                |query| query.param("table", table).param("day", last_day),
            )
            .await?;
        for Named { name } in partitions {
            clickhouse
                .execute(&format!("ALTER TABLE {table} DROP PARTITION ID '{name}'"))
                .await?;
            dropped += 1;
        }
    }
    Ok(dropped)
}
