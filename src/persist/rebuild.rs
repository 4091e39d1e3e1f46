//! `rollup_1h` from `rollup_1m`: which hours differ, summing them up anew, reading back.
//!
//! A row of an hour is built from all its minutes of confirmed epochs and never added to. Its version is the
//! number of samples in it, so of two rows the one that has seen more stays, whichever arrived last. A
//! statement that was given up and runs on in the server therefore does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clickhouse::Row;
use clickhouse::query::Query;
use tillwatch_model::StoreHour;
use uuid::Uuid;

use crate::persist::clickhouse::ClickHouse;
use crate::persist::error::ClickHouseError;

/// The rows of a subquery in SQL that are hours of stores; their parameters are bound by [`bind_hours`].
pub const STORE_HOURS: &str = "(SELECT h, s FROM (SELECT {hours:Array(UInt32)} AS hs, {stores:Array(String)} AS ss) \
    ARRAY JOIN hs AS h, ss AS s)";

/// Binds the parameters of [`STORE_HOURS`].
pub fn bind_hours(query: Query, hours: &[StoreHour]) -> Query {
    let numbers: Vec<u32> = hours.iter().map(|pair| pair.hour).collect();
    let stores: Vec<&str> = hours.iter().map(|pair| &*pair.store_id).collect();
    query.param("hours", numbers).param("stores", stores)
}

/// What is summed up: rows of this collector up to the confirmed epoch, and all rows of others.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed {
    /// The id of this collector.
    pub collector_id: Uuid,
    /// Every epoch of this collector up to this one is confirmed.
    pub epoch: u64,
}

/// SQL that adds buckets: names for a `WITH`, made of the lists `indices` and `counts`, which have the buckets of
/// many histograms in any order. [`ADDED_INDICES`] and [`ADDED_COUNTS`] are then ascending, each index once.
///
/// The buckets are sorted and added where they are equal. `sumMap` gives the same and takes two to sixteen times
/// as long, but needs memory only for what comes out.
pub const ADD_BUCKETS: &str = "arraySort(indices) AS ascending, \
    arraySort((weight, index) -> index, counts, indices) AS ordered, \
    arrayMap((step, at) -> step != 0 OR at = 1, arrayDifference(ascending), arrayEnumerate(ascending)) AS is_first, \
    arrayFilter((before, first) -> first, \
        arrayMap((upto, weight) -> toUInt64(upto - weight), arrayCumSum(ordered), ordered), is_first) AS before";

/// The indices that [`ADD_BUCKETS`] gives.
pub const ADDED_INDICES: &str = "arrayFilter((index, first) -> first, ascending, is_first)";

/// Their counts.
pub const ADDED_COUNTS: &str = "arrayMap(weight -> toUInt64(weight), \
    arrayPopFront(arrayDifference(arrayPushBack(before, arraySum(ordered)))))";

const IS_CONFIRMED: &str =
    "NOT (collector_id = {collector_id:UUID} AND epoch > {confirmed:UInt64})";

/// Statements run beside the shipper and readers: on one thread, and in the order of the table, so that
/// memory does not grow with the number of hours.
const SETTINGS: &str = "SETTINGS max_threads = 1, optimize_aggregation_in_order = 1, \
    do_not_merge_across_partitions_select_final = 1";

impl Confirmed {
    fn bind(self, query: Query) -> Query {
        query
            .param("collector_id", self.collector_id.to_string())
            .param("confirmed", self.epoch)
    }
}

#[derive(Debug, Row, serde::Deserialize)]
struct TableId {
    id: String,
}

/// Which table `rollup_1h` is: another one has another id, also under the same name.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn hourly_table(clickhouse: &ClickHouse) -> Result<String, ClickHouseError> {
    let sql = "SELECT toString(uuid) AS id FROM system.tables WHERE database = currentDatabase() AND name = 'rollup_1h'";
    let rows: Vec<TableId> = clickhouse.fetch(sql, |query| query).await?;
    Ok(rows
        .into_iter()
        .next()
        .map_or_else(String::new, |row| row.id))
}

#[derive(Debug, Row, serde::Deserialize)]
struct Differing {
    hour: u32,
    store: String,
}

/// The hours of a day that hold fewer samples in `rollup_1h` than in `rollup_1m`.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn differing_hours(
    clickhouse: &ClickHouse,
    confirmed: Confirmed,
    day: u32,
) -> Result<Vec<StoreHour>, ClickHouseError> {
    let sql = format!(
        "SELECT hour, store FROM (
            SELECT intDiv(toUInt32(window_start), 3600) AS hour, toString(store_id) AS store, sum(count) AS source, 0 AS held
            FROM rollup_1m FINAL
            WHERE window_start >= toDateTime({{from_s:UInt32}}, 'UTC') AND window_start < toDateTime({{to_s:UInt32}}, 'UTC')
              AND {IS_CONFIRMED}
            GROUP BY hour, store
            UNION ALL
            SELECT intDiv(toUInt32(hour_start), 3600) AS hour, toString(store_id) AS store, 0 AS source, sum(version) AS held
            FROM rollup_1h FINAL
            WHERE hour_start >= toDateTime({{from_s:UInt32}}, 'UTC') AND hour_start < toDateTime({{to_s:UInt32}}, 'UTC')
            GROUP BY hour, store
        )
        GROUP BY hour, store HAVING sum(source) > sum(held) ORDER BY hour, store
        SETTINGS max_threads = 1, do_not_merge_across_partitions_select_final = 1"
    );
    let from_s = day.saturating_mul(86_400);
    let rows: Vec<Differing> = clickhouse
        .fetch(&sql, |query| {
            let query = confirmed.bind(query);
            query
                .param("from_s", from_s)
                .param("to_s", from_s.saturating_add(86_400))
        })
        .await?;
    let mut names: HashSet<Arc<str>> = HashSet::new();
    let pair = |row: Differing| {
        let known = names.get(row.store.as_str()).cloned();
        let store_id = known.unwrap_or_else(|| Arc::from(row.store));
        names.insert(Arc::clone(&store_id));
        StoreHour {
            hour: row.hour,
            store_id,
        }
    };
    Ok(rows.into_iter().map(pair).collect())
}

/// The hours and stores of a statement, so that ClickHouse need not look at all others of the days.
fn bounds(hours: &[StoreHour]) -> (u32, u32) {
    let first = hours.iter().map(|pair| pair.hour).min().unwrap_or(0);
    let last = hours.iter().map(|pair| pair.hour).max().unwrap_or(0);
    (first * 3_600, (last + 1) * 3_600)
}

/// Rows of `rollup_1m` that belong to the hours. The conditions are on columns that all versions of a row
/// share, so they may come before `FINAL`: the buckets of other rows are not read.
fn source_of(hours: &[StoreHour]) -> String {
    let (from_s, to_s) = bounds(hours);
    format!(
        "rollup_1m AS minute FINAL
         PREWHERE minute.window_start >= toDateTime({from_s}, 'UTC') AND minute.window_start < toDateTime({to_s}, 'UTC')
           AND minute.store_id IN {{stores:Array(String)}}
           AND (intDiv(toUInt32(minute.window_start), 3600), minute.store_id) IN {STORE_HOURS}
         WHERE {IS_CONFIRMED}"
    )
}

/// Sums hours up anew.
///
/// # Errors
/// When ClickHouse does not answer, or refuses. What it did then is unknown, and harmless.
pub async fn rebuild(
    clickhouse: &ClickHouse,
    confirmed: Confirmed,
    hours: &[StoreHour],
) -> Result<(), ClickHouseError> {
    let source = source_of(hours);
    let sql = format!(
        "INSERT INTO rollup_1h (metric, label, store_id, release, connection, source, hour_start, hist, count, sum, min,
            max, over_low, over_high, version, rebuilt_at)
         WITH {ADD_BUCKETS}
         SELECT metric, label, store_id, release, connection, source, hour_start, ({ADDED_INDICES}, {ADDED_COUNTS}),
            samples, total, least, most, low, high, samples, now64(3)
         FROM (
            SELECT metric, label, store_id, release, connection, source, toStartOfHour(minute.window_start) AS hour_start,
                groupArrayArray(minute.hist.1) AS indices, groupArrayArray(minute.hist.2) AS counts,
                sum(minute.count) AS samples, sum(minute.sum) AS total, min(minute.min) AS least, max(minute.max) AS most,
                sum(minute.over_low) AS low, sum(minute.over_high) AS high
            FROM {source}
            GROUP BY metric, label, store_id, hour_start, release, connection, source
         ) {SETTINGS}, async_insert = 0"
    );
    clickhouse
        .execute_with(&sql, |query| bind_hours(confirmed.bind(query), hours))
        .await
}

#[derive(Debug, Row, serde::Deserialize)]
struct HeldHour {
    hour: u32,
    store: String,
    is_held: u8,
}

/// Reads back which of these hours `rollup_1h` holds in full: as many rows and samples as `rollup_1m` has
/// for them, or more, if other collectors have summed them up since, or minutes are past their 90 days.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn held_hours(
    clickhouse: &ClickHouse,
    confirmed: Confirmed,
    hours: &[StoreHour],
) -> Result<Vec<StoreHour>, ClickHouseError> {
    let source = source_of(hours);
    let (from_s, to_s) = bounds(hours);
    let sql = format!(
        "SELECT hour, store, toUInt8(sum(source_rows) <= sum(held_rows) AND sum(source_samples) <= sum(held_samples)) AS is_held
         FROM (
            SELECT intDiv(toUInt32(minute.window_start), 3600) AS hour, toString(minute.store_id) AS store,
                uniqExact(metric, label, release, connection, source) AS source_rows, sum(minute.count) AS source_samples,
                0 AS held_rows, 0 AS held_samples
            FROM {source} GROUP BY hour, store
            UNION ALL
            SELECT intDiv(toUInt32(hour_start), 3600) AS hour, toString(store_id) AS store, 0 AS source_rows,
                0 AS source_samples, count() AS held_rows, sum(version) AS held_samples
            FROM rollup_1h FINAL
            WHERE hour_start >= toDateTime({from_s}, 'UTC') AND hour_start < toDateTime({to_s}, 'UTC')
              AND store_id IN {{stores:Array(String)}}
            GROUP BY hour, store
         )
         GROUP BY hour, store SETTINGS max_threads = 1, do_not_merge_across_partitions_select_final = 1"
    );
    let rows: Vec<HeldHour> = clickhouse
        .fetch(&sql, |query| bind_hours(confirmed.bind(query), hours))
        .await?;
    let held: HashMap<(u32, &str), bool> = rows
        .iter()
        .map(|row| ((row.hour, row.store.as_str()), row.is_held == 1))
        .collect();
    // An hour that neither table has rows of is over for both.
    let is_held = |pair: &&StoreHour| held.get(&(pair.hour, &*pair.store_id)) != Some(&false);
    Ok(hours.iter().filter(is_held).cloned().collect())
}
