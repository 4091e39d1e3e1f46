//! Merges rows in ClickHouse with those in the outbox and in open windows.
//!
//! If only ClickHouse has rows of a point, ClickHouse computes the answer. For the other points, mostly the
//! newest, ClickHouse gives merged buckets, to which those of the outbox and the open windows are added.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickhouse::Row;
use serde::Serialize;
use serde_json::value::RawValue;
use tillwatch_model::histogram::{RELATIVE_ERROR, values_at};
use tillwatch_model::{Catalogue, Kind, SparseHistogram, Summary};

use crate::aggregate::Filter;
use crate::holdings::{Holdings, View};
use crate::persist::rebuild::bind_hours;
use crate::persist::{ClickHouse, State};
use crate::query::elsewhere::{Elsewhere, rows_elsewhere};
use crate::query::error::QueryError;
use crate::query::plan::Plan;
use crate::query::request::{POINTS_MAX, PercentileRequest, SERIES_MAX};
use crate::query::statement::{self, Part};
use crate::tasks::Jobs;

/// Where answers come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The metrics.
    pub catalogue: Arc<Catalogue>,
    /// What is open and in the outbox.
    pub holdings: Arc<Holdings>,
    /// The outbox's rows.
    pub state: Arc<State>,
    /// What is at rest.
    pub clickhouse: ClickHouse,
    /// Where answers are put together, a few at once: requests of terminals are served meanwhile.
    pub jobs: Jobs,
}

/// One point of a series.
#[derive(Debug, Serialize)]
struct Point {
    t: i64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// Values above the metric's first and second threshold.
    over: [u64; 2],
    /// By the request's own text, in its order.
    values: Box<RawValue>,
}

/// An answer.
#[derive(Debug, Serialize)]
pub struct PercentilesAnswer {
    metric: &'static str,
    unit: &'static str,
    from: i64,
    to: i64,
    step_s: Option<i64>,
    relative_error: f64,
    complete_to: i64,
    series: Vec<Series>,
}

/// One series.
#[derive(Debug, Serialize)]
struct Series {
    /// The column grouped by and its value; nothing for a single series.
    #[serde(flatten)]
    group: BTreeMap<&'static str, String>,
    points: Vec<Point>,
}

#[derive(Debug, Row, serde::Deserialize)]
struct FoundPoint {
    grp: String,
    point: u32,
    samples: u64,
    total: u64,
    least: u64,
    most: u64,
    low: u64,
    high: u64,
    found: Vec<u64>,
    weights: Vec<u64>,
}

/// A group and the start of a point in it.
pub(super) type PointKey = (String, u32);

/// Answers a request that came at `now_ms`, when `position` was the last durable one.
///
/// # Errors
/// When the answer would be too large, or ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    request: &PercentileRequest,
    now_ms: i64,
    position: u64,
) -> Result<PercentilesAnswer, QueryError> {
    let filter = Filter {
        metric: request.metric,
        from_s: request.from_s(),
        to_s: request.to_s(),
        store_id: request.store_id.as_deref().map(Arc::from),
    };
    let (open, view) = sources.holdings.view(position, filter).await.split();
    let elsewhere = rows_elsewhere(sources, request, open, &view).await?;
    let mut shared: Vec<u32> = elsewhere.keys().map(|(_, point)| *point).collect();
    shared.sort_unstable();
    shared.dedup();
    let at_rest = at_rest(sources, request, &view, &shared).await?;
    let request = request.clone();
    let merge = move || merge(&request, at_rest, elsewhere, now_ms);
    sources.jobs.run(merge).await
}

/// Merges what is at rest with what is elsewhere.
fn merge(
    request: &PercentileRequest,
    (whole, merged): (Vec<FoundPoint>, Vec<FoundPoint>),
    mut elsewhere: Elsewhere,
    now_ms: i64,
) -> Result<PercentilesAnswer, QueryError> {
    let mut points: BTreeMap<PointKey, (Summary, Option<Vec<u64>>)> = BTreeMap::new();
    for found in whole {
        // A counter has no buckets, and its percentiles no meaning.
        let values = (request.metric.kind != Kind::Counter).then(|| found.found.clone());
        let key = (found.grp.clone(), found.point);
        points.insert(
            key,
            (found.into_summary(SparseHistogram::default()), values),
        );
    }
    for mut found in merged {
        let indices = found
            .found
            .iter()
            .filter_map(|index| u32::try_from(*index).ok());
        let histogram =
            SparseHistogram::from_parts(indices.collect(), std::mem::take(&mut found.weights));
        let key = (found.grp.clone(), found.point);
        let mut at_rest = found.into_summary(histogram);
        elsewhere.entry(key).or_default().merge(&mut at_rest);
    }
    for (key, mut summary) in elsewhere {
        let (indices, counts) = summary.histogram.parts();
        let values = values_at(indices, counts, &request.quantiles);
        points.insert(key, (summary, values));
    }
    assemble(request, points, now_ms)
}

/// What ClickHouse has, as the view has it: points that it alone has rows of, and the others.
///
/// Hours that were clean in the view may be summed up anew while they are read, from epochs that the view
/// has elsewhere. So it is asked afterwards which have begun to be, and these are read again by the minute,
/// which epochs up to the view's can be told apart in. The third time nothing is read by the hour.
async fn at_rest(
    sources: &Sources,
    request: &PercentileRequest,
    view: &View,
    shared: &[u32],
) -> Result<(Vec<FoundPoint>, Vec<FoundPoint>), QueryError> {
    let mut rebuilt = Vec::new();
    let mut plan = Plan::new(request, view, &rebuilt);
    for is_last in [false, true] {
        let table = match &plan.hours {
            Some(_) => "rollup_1h",
            None => "rollup_1m",
        };
        metrics::counter!(crate::self_metrics::QUERY_READS, "table" => table).increment(1);
        let read = read_once(sources, request, view, &plan, shared).await?;
        if plan.hours.is_none() {
            return Ok(read);
        }
        match sources.holdings.rebuilt_since(view.rebuilds_begun) {
            Some(batches) => {
                rebuilt = batches;
                if !plan.reads_any(request, &rebuilt) {
                    return Ok(read);
                }
                plan = Plan::new(request, view, &rebuilt);
            }
            None => plan = Plan::by_minute(),
        }
        metrics::counter!(crate::self_metrics::QUERY_READS, "table" => "again").increment(1);
        if is_last {
            plan = Plan::by_minute();
        }
    }
    read_once(sources, request, view, &plan, shared).await
}

async fn read_once(
    sources: &Sources,
    request: &PercentileRequest,
    view: &View,
    plan: &Plan,
    shared: &[u32],
) -> Result<(Vec<FoundPoint>, Vec<FoundPoint>), QueryError> {
    let whole = fetch(sources, request, view, Part::AtRest, plan, shared).await?;
    let merged = if shared.is_empty() {
        Vec::new()
    } else {
        fetch(sources, request, view, Part::Shared, plan, shared).await?
    };
    Ok((whole, merged))
}

async fn fetch(
    sources: &Sources,
    request: &PercentileRequest,
    view: &View,
    part: Part,
    plan: &Plan,
    shared: &[u32],
) -> Result<Vec<FoundPoint>, QueryError> {
    let confirmed_only = statement::confirmed_only(view);
    let sql = statement::percentiles(request, part, plan, &confirmed_only);
    let found = sources.clickhouse.fetch(&sql, |query| {
        let query = query
            .param("metric", request.metric.name)
            .param("from_s", request.from_s())
            .param("to_s", request.to_s())
            .param("collector_id", view.collector_id.to_string())
            .param("confirmed", view.confirmed)
            .param("shared", shared.to_vec())
            .param("limit", (POINTS_MAX + 1) as u64);
        let query = bind_hours(query, &plan.pairs);
        let given = statement::filters_of(request);
        given
            .into_iter()
            .fold(query, |query, (column, value)| match value {
                Some(value) => query.param(column, value),
                None => query,
            })
    });
    Ok(found.await?)
}

impl FoundPoint {
    fn into_summary(self, histogram: SparseHistogram) -> Summary {
        Summary {
            count: self.samples,
            sum: self.total,
            min: self.least,
            max: self.most,
            over_low: self.low,
            over_high: self.high,
            histogram,
        }
    }
}

fn assemble(
    request: &PercentileRequest,
    points: BTreeMap<PointKey, (Summary, Option<Vec<u64>>)>,
    now_ms: i64,
) -> Result<PercentilesAnswer, QueryError> {
    if points.len() > POINTS_MAX {
        return Err(QueryError::TooLarge(format!("over {POINTS_MAX} points")));
    }
    let unit = request.metric.unit;
    let mut series: Vec<(String, Vec<Point>)> = Vec::new();
    for ((group, point), (summary, values)) in points {
        let texts = request
            .quantiles
            .iter()
            .map(tillwatch_model::Quantile::text);
        let pairs = texts.zip(values.unwrap_or_default());
        let pairs: Vec<String> = pairs
            .map(|(text, value)| format!("\"{text}\":{}", unit.to_wire(value)))
            .collect();
        let point = Point {
            t: if point == request.from_s() {
                request.from_ms
            } else {
                i64::from(point) * 1_000
            },
            count: summary.count,
            sum: unit.to_wire(summary.sum),
            min: unit.to_wire(summary.min),
            max: unit.to_wire(summary.max),
            over: [summary.over_low, summary.over_high],
            // Decimal texts and finite numbers are always JSON.
            values: RawValue::from_string(format!("{{{}}}", pairs.join(","))).unwrap_or_default(),
        };
        match series.last_mut() {
            Some((last, points)) if *last == group => points.push(point),
            _ => series.push((group, vec![point])),
        }
    }
    if series.len() > SERIES_MAX {
        return Err(QueryError::TooLarge(format!(
            "{} series, over {SERIES_MAX}",
            series.len()
        )));
    }
    let column = request.group_by.column();
    let line = |(group, points)| Series {
        group: column.map(|column| (column, group)).into_iter().collect(),
        points,
    };
    Ok(PercentilesAnswer {
        metric: request.metric.name,
        unit: unit.name(),
        from: request.from_ms,
        to: request.to_ms,
        step_s: request.step_ms.map(|step_ms| step_ms / 1_000),
        relative_error: RELATIVE_ERROR,
        complete_to: now_ms,
        series: series.into_iter().map(line).collect(),
    })
}
