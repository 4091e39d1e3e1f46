//! Reads what is at rest: from the minutes, and from the hours where these are clean.

use clickhouse::Row;
use tillwatch_model::{SparseHistogram, Summary};

use crate::holdings::View;
use crate::persist::rebuild::bind_hours;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::plan::Plan;
use crate::query::request::{POINTS_MAX, PercentileRequest};
use crate::query::statement::{self, Part};

#[derive(Debug, Row, serde::Deserialize)]
pub(super) struct FoundPoint {
    pub(super) grp: String,
    pub(super) point: u32,
    samples: u64,
    total: u64,
    least: u64,
    most: u64,
    low: u64,
    high: u64,
    /// Values of quantiles, or bucket indices: what the statement was for.
    pub(super) found: Vec<u64>,
    weights: Vec<u64>,
}

/// A group and the start of a point.
pub(super) type PointKey = (String, u32);

/// What ClickHouse has, as the view has it: points that it alone has rows of, and the others.
///
/// Hours that were clean in the view may be summed up anew while they are read, from epochs that the view
/// has elsewhere. So it is asked afterwards which have begun to be, and these are read again by the minute,
/// which epochs up to the view's can be told apart in. The third time nothing is read by the hour.
pub(super) async fn at_rest(
    sources: &Sources,
    request: &PercentileRequest,
    view: &View,
    parts: &[Part],
    shared: &[u32],
) -> Result<Vec<Vec<FoundPoint>>, QueryError> {
    let mut rebuilt = Vec::new();
    let mut plan = Plan::new(request, view, &rebuilt);
    for is_last in [false, true] {
        let table = match &plan.hours {
            Some(_) => "rollup_1h",
            None => "rollup_1m",
        };
        metrics::counter!(crate::self_metrics::QUERY_READS, "table" => table).increment(1);
        let read = read_once(sources, request, view, &plan, (parts, shared)).await?;
        if plan.hours.is_none() {
            return Ok(read);
        }
        let begun = view.rebuilds_begun;
        let rebuilt_since = sources
            .holdings
            .ask(move |holdings| holdings.rebuilt_since(begun));
        match rebuilt_since.await {
            Some(batches) => {
                rebuilt = batches;
                if !plan.reads_any(request, &rebuilt) {
                    return Ok(read);
                }
                plan = Plan::new(request, view, &rebuilt);
            }
            None => plan = Plan::by_minute(request, view),
        }
        metrics::counter!(crate::self_metrics::QUERY_READS, "table" => "again").increment(1);
        if is_last {
            plan = Plan::by_minute(request, view);
        }
    }
    read_once(sources, request, view, &plan, (parts, shared)).await
}

async fn read_once(
    sources: &Sources,
    request: &PercentileRequest,
    view: &View,
    plan: &Plan,
    (parts, shared): (&[Part], &[u32]),
) -> Result<Vec<Vec<FoundPoint>>, QueryError> {
    let mut read = Vec::with_capacity(parts.len());
    for part in parts {
        let found = match fetch(sources, request, view, *part, plan, shared).await {
            Err(QueryError::ClickHouse(error))
                if matches!(part, Part::Shared { .. }) && error.is_out_of_memory() =>
            {
                fetch(sources, request, view, Part::SharedLarge, plan, shared).await
            }
            found => found,
        };
        read.push(found?);
    }
    Ok(read)
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
    let found = sources.fetch(&sql, |query| {
        let query = query
            .param("collector_id", view.collector_id.to_string())
            .param("confirmed", view.confirmed)
            .param("shared", shared.to_vec());
        bind(query, request, plan, POINTS_MAX + 1)
    });
    Ok(found.await?)
}

/// Finds the names of groups at rest, confirmed or not, at most so many; says how many there are.
pub(super) async fn names(
    sources: &Sources,
    request: &PercentileRequest,
    plan: &Plan,
    limit: usize,
) -> Result<usize, QueryError> {
    let sql = statement::percentiles(request, Part::Scalars, plan, "1");
    let found: Vec<FoundPoint> = sources
        .fetch(&sql, |query| bind(query, request, plan, limit))
        .await?;
    Ok(found.len())
}

/// Gives a statement what the request says.
fn bind(
    query: clickhouse::query::Query,
    request: &PercentileRequest,
    plan: &Plan,
    limit: usize,
) -> clickhouse::query::Query {
    let query = query
        .param("metric", request.metric.name)
        .param("from_s", request.from_s())
        .param("to_s", request.to_s())
        .param("limit", limit as u64);
    let query = match &request.only {
        Some(only) => query.param("only", only),
        None => query,
    };
    let given = statement::filters_of(request).into_iter();
    given.fold(
        bind_hours(query, &plan.pairs),
        |query, (column, value)| match value {
            Some(value) => query.param(column, value),
            None => query,
        },
    )
}

impl FoundPoint {
    /// The point with its merged buckets, of a statement that gives them.
    pub(super) fn into_merged(mut self) -> (PointKey, Summary) {
        let indices = self.found.iter();
        let indices = indices.filter_map(|index| u32::try_from(*index).ok());
        let counts = std::mem::take(&mut self.weights);
        let histogram = SparseHistogram::from_parts(indices.collect(), counts);
        let key = (std::mem::take(&mut self.grp), self.point);
        (key, self.into_summary(histogram))
    }

    pub(super) fn into_summary(self, histogram: SparseHistogram) -> Summary {
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
