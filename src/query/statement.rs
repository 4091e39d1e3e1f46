//! Writes the SQL. Every text of a request goes in as a parameter; the statement itself holds only the column
//! to group by (one of four known names) and times as numbers.

use std::ops::Range;

use tillwatch_model::hours::HOUR_S;

use crate::holdings::View;
use crate::persist::rebuild::{ADD_BUCKETS, ADDED_COUNTS, ADDED_INDICES, STORE_HOURS};
use crate::query::plan::Plan;
use crate::query::request::PercentileRequest;

/// Which of the points a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that are wholly at rest: ClickHouse finds their percentiles.
    AtRest,
    /// Those that also have rows elsewhere: ClickHouse gives their merged buckets, within so much memory.
    Shared {
        /// Bytes that merging may take.
        bytes_max: u64,
    },
    /// The same by a slower way whose memory does not grow with the rows.
    SharedLarge,
    /// All of them, without percentiles and buckets.
    Scalars,
}

/// The statement for one part of a request.
#[must_use]
pub fn percentiles(
    request: &PercentileRequest,
    part: Part,
    plan: &Plan,
    confirmed_only: &str,
) -> String {
    let (which, values) = match part {
        Part::AtRest => {
            let levels: Vec<String> = request
                .quantiles
                .iter()
                .map(|quantile| format!("{:?}", quantile.clickhouse_level()))
                .collect();
            let values = format!(
                "arrayMap(i -> tillwatch_bucket_value_v1(i), quantilesExactWeightedArray({})(hist.1, hist.2)) AS found, \
                 CAST([], 'Array(UInt64)') AS weights",
                levels.join(", ")
            );
            ("NOT has({shared:Array(UInt32)}, point)", values)
        }
        Part::Shared { .. } => (
            "has({shared:Array(UInt32)}, point)",
            "groupArrayArray(hist.1) AS indices, groupArrayArray(hist.2) AS counts".to_owned(),
        ),
        Part::SharedLarge => (
            "has({shared:Array(UInt32)}, point)",
            "arrayMap(i -> toUInt64(i), sumMap(hist).1) AS found, sumMap(hist).2 AS weights"
                .to_owned(),
        ),
        Part::Scalars => (
            "1",
            "CAST([], 'Array(UInt64)') AS found, CAST([], 'Array(UInt64)') AS weights".to_owned(),
        ),
    };
    let mut filters = String::from("metric = {metric:String}");
    for (column, value) in filters_of(request) {
        if value.is_some() {
            filters.push_str(&format!(" AND {column} = {{{column}:String}}"));
        }
    }
    if let (Some(_), Some(column)) = (&request.only, request.group_by.column()) {
        filters.push_str(&format!(" AND {column} IN {{only:Array(String)}}"));
    }
    let sources = sources_of(request, plan, &filters, confirmed_only);
    let grouped = format!(
        "SELECT toString(grp) AS grp, point, sum(count) AS samples, sum(total) AS total, min(least) AS least, \
                max(most) AS most, sum(low) AS low, sum(high) AS high, {values} \
         FROM ({sources}) \
         WHERE {which} GROUP BY grp, point ORDER BY grp, point LIMIT {{limit:UInt64}}"
    );
    let settings = "SETTINGS do_not_merge_across_partitions_select_final = 1";
    match part {
        Part::AtRest | Part::SharedLarge | Part::Scalars => format!("{grouped} {settings}"),
        Part::Shared { bytes_max } => format!(
            "WITH {ADD_BUCKETS} \
             SELECT grp, point, samples, total, least, most, low, high, \
                    arrayMap(i -> toUInt64(i), {ADDED_INDICES}) AS found, {ADDED_COUNTS} AS weights \
             FROM ({grouped}) ORDER BY grp, point {settings}, max_memory_usage = {bytes_max}"
        ),
    }
}

/// The rows to merge, of a request for percentiles.
fn sources_of(
    request: &PercentileRequest,
    plan: &Plan,
    filters: &str,
    confirmed_only: &str,
) -> String {
    let group = request.group_by.column().unwrap_or("''");
    let columns = |start: &str| {
        let point = match request.step_ms {
            None => "{from_s:UInt32}".to_owned(),
            Some(step_ms) => {
                let step_s = step_ms / 1_000;
                format!(
                    "greatest(toUInt32(intDiv(toUInt32({start}), {step_s}) * {step_s}), {{from_s:UInt32}})"
                )
            }
        };
        format!(
            "SELECT {group} AS grp, toUInt32({point}) AS point, hist, count, sum AS total, min AS least, max AS most, \
                    over_low AS low, over_high AS high"
        )
    };
    rows_of(plan, &|_| filters.to_owned(), confirmed_only, &columns)
}

/// Selects rows: of whole hours from the hourly rollups, of the rest of the range from the minutes. Filters and columns
/// are told the name of the column that holds the time. Parameters: `from_s`, `to_s`, and those of [`STORE_HOURS`].
pub(super) fn rows_of(
    plan: &Plan,
    filters_by: &dyn Fn(&str) -> String,
    confirmed_only: &str,
    columns: &dyn Fn(&str) -> String,
) -> String {
    const RANGE: &str = "window_start >= toDateTime({from_s:UInt32}, 'UTC') AND window_start < toDateTime({to_s:UInt32}, 'UTC')";
    let filters = filters_by("window_start");
    let minutes = format!(
        "{} FROM rollup_1m FINAL WHERE {filters} AND {RANGE} AND {confirmed_only}",
        columns("window_start")
    );
    let Some(hours) = &plan.hours else {
        return minutes;
    };
    let ranges = |start: &str| {
        let of = |range: &Range<u32>| {
            format!(
                "({start} >= toDateTime({}, 'UTC') AND {start} < toDateTime({}, 'UTC'))",
                range.start, range.end
            )
        };
        plan.minutes.iter().map(of).collect::<Vec<_>>().join(" OR ")
    };
    let (first_s, end_s) = (hours.start * HOUR_S, hours.end * HOUR_S);
    let mut whole = format!(
        "{} FROM rollup_1h FINAL WHERE {} AND hour_start >= toDateTime({first_s}, 'UTC') AND hour_start < toDateTime({end_s}, 'UTC')",
        columns("hour_start"),
        filters_by("hour_start"),
    );
    let mut sources = Vec::new();
    if !plan.minutes.is_empty() {
        whole.push_str(&format!(" AND NOT ({})", ranges("hour_start")));
        sources.push(format!("{minutes} AND ({})", ranges("window_start")));
    }
    if let Some((first, last)) = plan.pairs.first().zip(plan.pairs.last()) {
        let is_one = |start: &str| {
            format!("(intDiv(toUInt32({start}), {HOUR_S}), store_id) IN {STORE_HOURS}")
        };
        whole.push_str(&format!(" AND NOT ({})", is_one("hour_start")));
        // Conditions on columns that all versions of a row share: they may come before FINAL.
        sources.push(format!(
            "{} FROM rollup_1m FINAL PREWHERE {filters} AND window_start >= toDateTime({}, 'UTC') \
             AND window_start < toDateTime({}, 'UTC') AND store_id IN {{stores:Array(String)}} AND {} WHERE {confirmed_only}",
            columns("window_start"),
            first.hour * HOUR_S,
            (last.hour + 1) * HOUR_S,
            is_one("window_start"),
        ));
    }
    sources.push(whole);
    sources.join(" UNION ALL ")
}

/// Leaves out what a reader finds elsewhere: epochs of this collector after the last confirmed one, and
/// unconfirmed ones that bear an earlier id of it. Parameters: `collector_id`, `confirmed`.
#[must_use]
pub fn confirmed_only<T>(view: &View<T>) -> String {
    let mut clauses =
        "NOT (collector_id = {collector_id:UUID} AND epoch > {confirmed:UInt64})".to_owned();
    let foreign = view.unconfirmed.iter();
    for info in foreign.filter(|info| info.collector_id != view.collector_id) {
        let (id, epoch) = (info.collector_id, info.epoch);
        clauses.push_str(&format!(
            " AND NOT (collector_id = toUUID('{id}') AND epoch = {epoch})"
        ));
    }
    clauses
}

/// The columns a request filters by, and the values it asks for.
#[must_use]
pub fn filters_of(request: &PercentileRequest) -> [(&'static str, Option<&str>); 5] {
    [
        ("store_id", request.store_id.as_deref()),
        ("release", request.release.as_deref()),
        ("connection", request.connection.as_deref()),
        ("label", request.label.as_deref()),
        (
            "source",
            Some(request.source.as_str()).filter(|source| !source.is_empty()),
        ),
    ]
}
