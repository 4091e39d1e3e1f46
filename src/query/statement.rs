//! The SQL. Everything a request says goes in as a parameter; only the column to group by, one of
//! four known names, stands in the text.

use crate::holdings::View;
use crate::query::request::PercentileRequest;

/// Which of the points a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that are wholly at rest: ClickHouse finds their percentiles.
    AtRest,
    /// Those that also have rows elsewhere: ClickHouse gives their merged buckets.
    Shared,
}

/// The statement for one part of a request.
#[must_use]
pub fn percentiles(request: &PercentileRequest, part: Part, confirmed_only: &str) -> String {
    let group = request.group_by.column().unwrap_or("''");
    let point = match request.step_ms {
        None => "{from_s:UInt32}".to_owned(),
        Some(step_ms) => {
            let step_s = step_ms / 1_000;
            format!(
                "greatest(toUInt32(intDiv(toUInt32(window_start), {step_s}) * {step_s}), {{from_s:UInt32}})"
            )
        }
    };
    let values = match part {
        Part::AtRest => {
            let levels: Vec<String> = request
                .quantiles
                .iter()
                .map(|quantile| format!("{:?}", quantile.clickhouse_level()))
                .collect();
            format!(
                "arrayMap(i -> tillwatch_bucket_value_v1(i), quantilesExactWeightedArray({})(hist.1, hist.2)) AS found, \
                 CAST([], 'Array(UInt64)') AS weights",
                levels.join(", ")
            )
        }
        Part::Shared => {
            "arrayMap(i -> toUInt64(i), sumMap(hist).1) AS found, sumMap(hist).2 AS weights"
                .to_owned()
        }
    };
    let which = match part {
        Part::AtRest => "NOT has({shared:Array(UInt32)}, point)",
        Part::Shared => "has({shared:Array(UInt32)}, point)",
    };
    let mut filters = String::new();
    for (column, value) in filters_of(request) {
        if value.is_some() {
            filters.push_str(&format!(" AND {column} = {{{column}:String}}"));
        }
    }
    format!(
        "SELECT toString(grp) AS grp, point, sum(count) AS samples, sum(total) AS total, min(least) AS least, \
                max(most) AS most, {values} \
         FROM (SELECT {group} AS grp, toUInt32({point}) AS point, hist, count, sum AS total, min AS least, max AS most \
               FROM rollup_1m FINAL \
               WHERE metric = {{metric:String}} AND window_start >= toDateTime({{from_s:UInt32}}, 'UTC') \
                 AND window_start < toDateTime({{to_s:UInt32}}, 'UTC') \
                 AND {confirmed_only}{filters}) \
         WHERE {which} GROUP BY grp, point ORDER BY grp, point LIMIT {{limit:UInt64}}"
    )
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
