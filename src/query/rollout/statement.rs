//! The SQL, and its answers. Names go in as parameters; the statements themselves hold only hours, as numbers.

use clickhouse::Row;
use tillwatch_model::SparseHistogram;

use crate::persist::rebuild::{ADD_BUCKETS, ADDED_COUNTS, ADDED_INDICES, bind_hours};
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::rollout::at_rest::Hours;
use crate::query::statement::{confirmed_only, rows_of};
use crate::rollout::Windows;
use crate::rollout::windows::DAYS_BEFORE;

/// The part of the hours now; the days of the week before are 0 to 6.
pub(super) const NOW: u8 = 7;
/// Rows of whatever release, in the week before.
pub(super) const ANY: u8 = 0;
/// Rows of the release.
pub(super) const RELEASE: u8 = 1;

/// People's terminals, on a release that has a name.
const PEOPLE: &str = "source = 'rum' AND release != 'unknown' AND NOT (startsWith(release, '__') AND endsWith(release, '__'))";
const ONLY: &str = "store_id IN {only:Array(String)}";
const SETTINGS: &str = "SETTINGS do_not_merge_across_partitions_select_final = 1, max_threads = 1";

/// Buckets of one metric in one store.
#[derive(Debug, Row, serde::Deserialize)]
pub(super) struct FoundValues {
    pub(super) store_id: String,
    pub(super) part: u8,
    pub(super) whose: u8,
    found: Vec<u32>,
    weights: Vec<u64>,
}

impl FoundValues {
    pub(super) fn histogram(&mut self) -> SparseHistogram {
        let (indices, counts) = (
            std::mem::take(&mut self.found),
            std::mem::take(&mut self.weights),
        );
        SparseHistogram::from_parts(indices, counts)
    }
}

/// A sum of one store.
#[derive(Debug, Row, serde::Deserialize)]
pub(super) struct FoundSum {
    pub(super) store_id: String,
    pub(super) metric: String,
    pub(super) label: String,
    pub(super) whose: u8,
    pub(super) total: u64,
}

#[derive(Debug, Row, serde::Deserialize)]
struct FoundHour {
    hour: u32,
    total: u64,
}

#[derive(Debug, Row, serde::Deserialize)]
struct FoundRelease {
    release: String,
    hour: u32,
}

/// What is added up by store.
enum Sum<'a> {
    /// The values of counters, by label.
    Counters(&'a [&'a str]),
    /// Samples of whatever metric.
    Samples,
}

/// What is read of which hours.
pub(super) struct Read<'a> {
    pub(super) sources: &'a Sources,
    pub(super) hours: &'a Hours,
    pub(super) release: &'a str,
}

/// Hours since 1970 of a row.
fn hour(start: &str) -> String {
    format!("toInt64(intDiv(toUInt32({start}), 3600))")
}

/// The hours now and those of the week before, as a condition.
fn is_compared(windows: &Windows, start: &str) -> String {
    let hour = hour(start);
    let Windows {
        start,
        until,
        before_until,
    } = *windows;
    let before_from = before_until - DAYS_BEFORE * 24;
    let length = (until - start).min(24);
    let shift = 24 - start.rem_euclid(24);
    format!(
        "(({hour} >= {start} AND {hour} < {until}) OR ({hour} >= {before_from} AND {hour} < {before_until} \
         AND ({hour} + {shift}) % 24 < {length}))"
    )
}

/// Which part of the hours a row is of: a day of the week before, or now.
fn part(windows: &Windows, start: &str) -> String {
    let hour = hour(start);
    let before_from = windows.before_until - DAYS_BEFORE * 24;
    format!(
        "toUInt8(if({hour} >= {}, {NOW}, intDiv({hour} - {before_from}, 24)))",
        windows.before_until
    )
}

/// Whose a row is: in the week before nobody asks.
const WHOSE: &str = "toUInt8(multiIf(part < 7, 0, release = {release:String}, 1, 2))";

impl Read<'_> {
    /// Buckets of one metric in some stores, merged by day and release.
    pub(super) async fn values(
        &self,
        metric: &str,
        stores: &[&str],
        windows: &Windows,
    ) -> Result<Vec<FoundValues>, QueryError> {
        let rows = self.rows(
            &|start| {
                format!(
                    "metric = {{metric:String}} AND {ONLY} AND {PEOPLE} AND {}",
                    is_compared(windows, start)
                )
            },
            &|start| {
                format!(
                    "SELECT store_id, release, {} AS part, hist",
                    part(windows, start)
                )
            },
        );
        let sql = format!(
            "WITH {ADD_BUCKETS} \
             SELECT toString(store) AS store_id, part, whose, arrayMap(i -> toUInt32(i), {ADDED_INDICES}) AS found, {ADDED_COUNTS} AS weights \
             FROM (SELECT store_id AS store, part, {WHOSE} AS whose, groupArrayArray(hist.1) AS indices, \
                          groupArrayArray(hist.2) AS counts FROM ({rows}) GROUP BY store, part, whose) {SETTINGS}"
        );
        self.fetch(&sql, |query| {
            query.param("metric", metric).param("only", stores)
        })
        .await
    }

    /// Sums of counters in some stores, by label, day or now, and release.
    pub(super) async fn counters(
        &self,
        metrics: &[&str],
        stores: &[&str],
        windows: &Windows,
    ) -> Result<Vec<FoundSum>, QueryError> {
        self.sums(Sum::Counters(metrics), stores, windows).await
    }

    /// How many samples some stores sent, of whatever metric.
    pub(super) async fn volumes(
        &self,
        stores: &[&str],
        windows: &Windows,
    ) -> Result<Vec<FoundSum>, QueryError> {
        self.sums(Sum::Samples, stores, windows).await
    }

    async fn sums(
        &self,
        sum: Sum<'_>,
        stores: &[&str],
        windows: &Windows,
    ) -> Result<Vec<FoundSum>, QueryError> {
        let (which, name, label, column, metrics) = match sum {
            Sum::Counters(metrics) => (
                "metric IN {metrics:Array(String)}",
                "toString(metric)",
                "toString(label)",
                "sum",
                metrics,
            ),
            Sum::Samples => ("1", "''", "''", "count", &[][..]),
        };
        let rows = self.rows(
            &|start| {
                format!(
                    "{which} AND {ONLY} AND {PEOPLE} AND {}",
                    is_compared(windows, start)
                )
            },
            &|start| {
                format!(
                    "SELECT store_id, metric, label, release, {} AS part, {column} AS amount",
                    part(windows, start)
                )
            },
        );
        let sql = format!(
            "SELECT toString(store) AS store_id, name AS metric, value AS label, whose, sum(amount) AS total \
             FROM (SELECT store_id AS store, {name} AS name, {label} AS value, {WHOSE} AS whose, amount \
                   FROM ({rows})) \
             GROUP BY store, name, value, whose {SETTINGS}"
        );
        self.fetch(&sql, |query| {
            query.param("metrics", metrics).param("only", stores)
        })
        .await
    }

    /// How often counters counted on the release.
    pub(super) async fn on_release(&self, metrics: &[&str]) -> Result<Vec<FoundSum>, QueryError> {
        let rows = self.rows(
            &|_| format!("metric IN {{metrics:Array(String)}} AND release = {{release:String}} AND {PEOPLE}"),
            &|_| "SELECT metric, sum AS amount".to_owned(),
        );
        let sql = format!(
            "SELECT '' AS store_id, toString(name) AS metric, '' AS label, toUInt8(1) AS whose, sum(amount) AS total \
             FROM (SELECT metric AS name, amount FROM ({rows})) GROUP BY name {SETTINGS}"
        );
        self.fetch(&sql, |query| query.param("metrics", metrics))
            .await
    }

    /// How many samples of some metrics each hour has, in all stores.
    pub(super) async fn hourly(&self, metrics: &[&str]) -> Result<Vec<(i64, u64)>, QueryError> {
        let rows = self.rows(
            &|_| format!("metric IN {{metrics:Array(String)}} AND {PEOPLE}"),
            &|start| format!("SELECT toUInt32({}) AS hour, count AS amount", hour(start)),
        );
        let sql =
            format!("SELECT hour, sum(amount) AS total FROM ({rows}) GROUP BY hour {SETTINGS}");
        let found: Vec<FoundHour> = self
            .fetch(&sql, |query| query.param("metrics", metrics))
            .await?;
        Ok(found
            .into_iter()
            .map(|found| (i64::from(found.hour), found.total))
            .collect())
    }

    /// The first hour of each release that reported one of these metrics.
    pub(super) async fn first_hours(
        &self,
        metrics: &[&str],
    ) -> Result<Vec<(String, i64)>, QueryError> {
        let rows = self.rows(
            &|_| format!("metric IN {{metrics:Array(String)}} AND {PEOPLE}"),
            &|start| format!("SELECT release AS name, toUInt32({}) AS at", hour(start)),
        );
        let sql = format!(
            "SELECT toString(name) AS release, min(at) AS hour FROM ({rows}) GROUP BY name {SETTINGS}"
        );
        let found: Vec<FoundRelease> = self
            .fetch(&sql, |query| query.param("metrics", metrics))
            .await?;
        let found = found.into_iter();
        Ok(found
            .map(|found| (found.release, i64::from(found.hour)))
            .collect())
    }

    fn rows(&self, filters: &dyn Fn(&str) -> String, columns: &dyn Fn(&str) -> String) -> String {
        let confirmed_only = confirmed_only(&self.hours.view);
        rows_of(&self.hours.plan, filters, &confirmed_only, columns)
    }

    async fn fetch<T: clickhouse::RowOwned + clickhouse::RowRead>(
        &self,
        sql: &str,
        bind: impl FnOnce(clickhouse::query::Query) -> clickhouse::query::Query,
    ) -> Result<Vec<T>, QueryError> {
        let Hours {
            view,
            plan,
            range_s,
        } = self.hours;
        let found = self.sources.fetch(sql, |query| {
            let query = query
                .param("collector_id", view.collector_id.to_string())
                .param("confirmed", view.confirmed)
                .param("release", self.release)
                .param("from_s", range_s.start)
                .param("to_s", range_s.end);
            bind_hours(bind(query), &plan.pairs)
        });
        Ok(found.await?)
    }
}
