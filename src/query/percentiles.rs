//! Merges rows in ClickHouse with those in the outbox and in open windows.
//!
//! If only ClickHouse has rows of a point, ClickHouse computes the answer. For the other points, mostly the
//! newest, ClickHouse gives merged buckets, to which those of the outbox and the open windows are added.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickhouse::{RowOwned, RowRead};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use tillwatch_model::histogram::{RELATIVE_ERROR, values_at};
use tillwatch_model::time::HOUR_MS;
use tillwatch_model::{Catalogue, Kind, SparseHistogram, Summary};

use crate::aggregate::{Aggregator, Filter};
use crate::holdings::Holdings;
use crate::persist::{ClickHouse, ClickHouseError, State};
use crate::query::at_rest::{FoundPoint, PointKey, at_rest};
use crate::query::elsewhere::{Elsewhere, rows_elsewhere};
use crate::query::error::QueryError;
use crate::query::ranking::{self, Ranked};
use crate::query::request::{POINTS_MAX, PercentileRequest, SERIES_MAX};
use crate::query::statement::Part;
use crate::query::words::units;
use crate::source_maps::SourceMaps;
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
    /// What minified frames were.
    pub source_maps: SourceMaps,
    /// Bytes of memory that ClickHouse may take to merge buckets the quick way.
    pub merge_bytes_max: u64,
    /// Where answers are put together, a few at once: requests of terminals are served meanwhile.
    pub jobs: Jobs,
    /// Whether ClickHouse runs on the same processors: then its statements wait for the same turns.
    pub is_engine_here: bool,
}

impl Sources {
    /// Asks ClickHouse, when it is this question's turn.
    ///
    /// # Errors
    /// When ClickHouse does not answer as it should.
    pub(super) async fn fetch<T: RowOwned + RowRead>(
        &self,
        sql: &str,
        bind: impl FnOnce(clickhouse::query::Query) -> clickhouse::query::Query,
    ) -> Result<Vec<T>, ClickHouseError> {
        let _turn = if self.is_engine_here {
            self.jobs.turn().await
        } else {
            None
        };
        self.clickhouse.fetch_in_background(sql, bind).await
    }

    /// The points whose merged buckets ClickHouse gives.
    pub(super) fn shared(&self) -> Part {
        Part::Shared {
            bytes_max: self.merge_bytes_max,
        }
    }
}

/// What [`Sources::merge_bytes_max`] is: a quarter of what the embedded engine has. It is enough for about six
/// million buckets in one point, or many more in several.
pub const MERGE_BYTES_MAX: u64 = 512 << 20;

/// One point of a series.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PercentilePoint")]
struct Point {
    /// When the point begins, Unix ms.
    t: i64,
    /// How many values there are.
    count: u64,
    /// The sum of the values, in the metric's unit.
    sum: f64,
    /// The least value, in the metric's unit.
    min: f64,
    /// The greatest value, in the metric's unit.
    max: f64,
    /// How many values are above the metric's first and second threshold.
    over: [u64; 2],
    /// The quantiles in the metric's unit, by the request's own text and in its order; of a counter none.
    #[schemars(with = "BTreeMap<String, f64>")]
    values: Box<RawValue>,
}

/// Percentiles of one metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PercentilesAnswer {
    /// The wire name of the metric.
    metric: &'static str,
    /// The unit of all values.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
    /// The first millisecond of the range, Unix ms.
    from: i64,
    /// The first millisecond after the range, Unix ms.
    to: i64,
    /// The length of a point, seconds; `null`: one point for the whole range.
    step_s: Option<i64>,
    /// By how much a quantile may lie above the exact one at most, as a share of it.
    relative_error: f64,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// From when on there are minutes (Unix ms), if that is later than `from`: of the time before, only whole hours
    /// are in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes_from: Option<i64>,
    /// How many series there are of which the first are given; only if they are ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    series_total: Option<usize>,
    /// The series, by name or as `order_by` says.
    series: Vec<Series>,
}

/// One series. Beside its points it has the column grouped by with its value, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PercentileSeries")]
struct Series {
    /// The column grouped by and its value; nothing for a single series.
    #[serde(flatten)]
    #[schemars(with = "GroupColumns")]
    group: BTreeMap<&'static str, String>,
    /// The points, the earliest first; a point without values is left out.
    points: Vec<Point>,
}

/// The columns that series may be grouped by; an answer has one of them, or none.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "says in the OpenAPI document which keys `Series::group` may have"
)]
struct GroupColumns {
    /// The store, if series are grouped by `store_id`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
    /// The release, if series are grouped by `release`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// The connection, if series are grouped by `connection`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    /// The label's value, if series are grouped by `label`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

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
    loop {
        let (answer, read_from_hour) =
            Box::pin(answer_once(sources, request, now_ms, position)).await?;
        // A day of minutes that was given up meanwhile may have been read in part. Days are given up seldom.
        let from_hour = sources.holdings.ask(Holdings::minutes_from_hour).await;
        let is_whole = request.from_ms >= i64::from(from_hour) * HOUR_MS;
        if from_hour == read_from_hour || is_whole {
            return Ok(answer);
        }
    }
}

/// Answers once; says from which hour on there were minutes when the answer began to be read.
async fn answer_once(
    sources: &Sources,
    request: &PercentileRequest,
    now_ms: i64,
    position: u64,
) -> Result<(PercentilesAnswer, u32), QueryError> {
    // Boxed, as most requests have no order, and few series.
    Box::pin(ranking::refuse_too_many(sources, request)).await?;
    let filter = Filter {
        metric: request.metric,
        from_s: request.from_s(),
        to_s: request.to_s(),
        store_id: request.store_id.as_deref().map(Arc::from),
    };
    let (open, view) = sources.holdings.view(position, filter).await.split();
    let mut elsewhere = rows_elsewhere(sources, request, open, &view).await?;
    let mut request = request.clone();
    let mut ranked = None;
    if let Some(order) = request.order.take() {
        let ranking = ranking::rank(sources, &request, &order, &view, &elsewhere);
        let found = Box::pin(ranking).await?;
        let mut only = found.names.clone();
        only.sort_unstable();
        elsewhere.retain(|(group, _), _| only.binary_search(group).is_ok());
        request.only = Some(only);
        ranked = Some(found);
    }
    let mut shared: Vec<u32> = elsewhere.keys().map(|(_, point)| *point).collect();
    shared.sort_unstable();
    shared.dedup();
    let parts = [Part::AtRest, sources.shared()];
    let asked = if shared.is_empty() { 1 } else { 2 };
    let read = match &ranked {
        Some(ranked) if ranked.names.is_empty() => Vec::new(),
        _ => at_rest(sources, &request, &view, &parts[..asked], &shared).await?,
    };
    if let Some(store_id) = &request.store_id
        && elsewhere.is_empty()
        && read.iter().all(Vec::is_empty)
        && !is_known(sources, store_id).await
    {
        return Err(QueryError::UnknownStore(store_id.clone()));
    }
    let minutes_from = i64::from(view.minutes_from_hour) * HOUR_MS;
    let minutes_from = (request.from_ms < minutes_from).then_some(minutes_from);
    let merge = move || merge(&request, read, elsewhere, ranked.as_ref(), now_ms);
    let answer = sources.jobs.run(merge).await?;
    let answer = PercentilesAnswer {
        minutes_from,
        ..answer
    };
    Ok((answer, view.minutes_from_hour))
}

/// Merges what is at rest with what is elsewhere.
fn merge(
    request: &PercentileRequest,
    read: Vec<Vec<FoundPoint>>,
    mut elsewhere: Elsewhere,
    ranked: Option<&Ranked>,
    now_ms: i64,
) -> Result<PercentilesAnswer, QueryError> {
    let mut read = read.into_iter();
    let (whole, merged) = (read.next(), read.next());
    let mut points: BTreeMap<PointKey, (Summary, Option<Vec<u64>>)> = BTreeMap::new();
    for found in whole.unwrap_or_default() {
        // A counter has no buckets, and its percentiles no meaning.
        let values = (request.metric.kind != Kind::Counter).then(|| found.found.clone());
        let key = (found.grp.clone(), found.point);
        points.insert(
            key,
            (found.into_summary(SparseHistogram::default()), values),
        );
    }
    for found in merged.unwrap_or_default() {
        let (key, mut at_rest) = found.into_merged();
        elsewhere.entry(key).or_default().merge(&mut at_rest);
    }
    for (key, mut summary) in elsewhere {
        let (indices, counts) = summary.histogram.parts();
        let values = values_at(indices, counts, &request.quantiles);
        points.insert(key, (summary, values));
    }
    assemble(request, points, ranked, now_ms)
}

/// Whether the store has series or terminals; rows at rest it may have for longer.
async fn is_known(sources: &Sources, store_id: &str) -> bool {
    let store_id = store_id.to_owned();
    let is_known = move |aggregator: &Aggregator| {
        let terminals = aggregator.terminals();
        aggregator.names().0.find(&store_id).is_some() || terminals.of_store(&store_id).is_some()
    };
    sources
        .holdings
        .ask(move |holdings| holdings.read(is_known))
        .await
}

/// A bucket is read as its highest value, which may lie above the greatest value in it. The least and the
/// greatest of all are known exactly, and no quantile lies outside them.
pub(super) fn clamped(value: u64, summary: &Summary) -> u64 {
    value.max(summary.min).min(summary.max)
}

fn assemble(
    request: &PercentileRequest,
    points: BTreeMap<PointKey, (Summary, Option<Vec<u64>>)>,
    ranked: Option<&Ranked>,
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
            .map(|(text, value)| {
                let value = unit.to_wire(clamped(value, &summary));
                format!("\"{text}\":{value}")
            })
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
        return Err(QueryError::TooManySeries);
    }
    if let Some(ranked) = ranked {
        let places = ranked.names.iter().zip(0_usize..);
        let places: BTreeMap<&String, usize> = places.collect();
        series.sort_by_key(|(group, _)| places.get(group).copied());
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
        minutes_from: None,
        series_total: ranked.map(|ranked| ranked.total),
        series: series.into_iter().map(line).collect(),
    })
}
