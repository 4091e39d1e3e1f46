//! The first series of many, in the order that was asked for.
//!
//! Thousands of stores make more series than an answer may have. Which of them are the worst is found out
//! over the whole range and without the buckets of those that are not; only the first are then read in full.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tillwatch_model::histogram::values_at;
use tillwatch_model::{Quantile, SparseHistogram, Summary};

use crate::aggregate::Aggregator;
use crate::holdings::View;
use crate::query::at_rest::{self, FoundPoint, PointKey};
use crate::query::error::QueryError;
use crate::query::percentiles::{Sources, clamped};
use crate::query::plan::Plan;
use crate::query::request::{GroupBy, Order, OrderBy, POINTS_MAX, PercentileRequest, SERIES_MAX};
use crate::query::statement::Part;

/// Groups whose buckets are in memory at once.
const GROUPS_AT_ONCE: usize = 100;

/// What a group is ordered by, the greatest first; the second number decides between equal ones.
type Key = (u64, u64);

/// Which groups come first.
#[derive(Debug)]
pub(super) struct Ranked {
    /// The groups, the first of all first.
    pub names: Vec<String>,
    /// How many groups there are.
    pub total: usize,
}

/// Refuses a request without an order whose answer would have too many series, before anything is merged.
/// What has not come to ClickHouse yet is counted later.
///
/// # Errors
/// [`QueryError::TooManySeries`] then; else when ClickHouse does not answer.
pub(super) async fn refuse_too_many(
    sources: &Sources,
    request: &PercentileRequest,
) -> Result<(), QueryError> {
    let (stores, releases) = sources
        .holdings
        .ask(|holdings| holdings.read(Aggregator::name_counts))
        .await;
    // The others have no more values than the catalogue says.
    let known = match request.group_by {
        GroupBy::Store if request.store_id.is_none() => stores,
        GroupBy::Release if request.release.is_none() => releases,
        _ => 0,
    };
    if known <= SERIES_MAX || request.order.is_some() {
        return Ok(());
    }
    let whole = over_the_range(request, Vec::new());
    let limit = SERIES_MAX + 1;
    let found = at_rest::names(sources, &whole, &Plan::of_names(&whole), limit).await?;
    if found > SERIES_MAX {
        return Err(QueryError::TooManySeries);
    }
    Ok(())
}

/// The same request with one point for its range, and no order.
fn over_the_range(request: &PercentileRequest, quantiles: Vec<Quantile>) -> PercentileRequest {
    PercentileRequest {
        step_ms: None,
        order: None,
        quantiles,
        ..request.clone()
    }
}

/// Finds the first groups; `elsewhere` are the points that are not in ClickHouse yet.
///
/// # Errors
/// When there are too many groups even for that, or ClickHouse does not answer.
pub(super) async fn rank(
    sources: &Sources,
    request: &PercentileRequest,
    order: &Order,
    view: &View,
    elsewhere: &BTreeMap<PointKey, Summary>,
) -> Result<Ranked, QueryError> {
    let mut open: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    for ((group, _), summary) in elsewhere {
        open.entry(group).or_default().push(summary);
    }
    let (part, quantiles) = match &order.by {
        OrderBy::Quantile(quantile) => (Part::AtRest, vec![quantile.clone()]),
        _ => (Part::Scalars, Vec::new()),
    };
    let whole = over_the_range(request, quantiles);
    let read = at_rest::at_rest(sources, &whole, view, &[part], &[]).await?;
    let mut keys: BTreeMap<String, Key> = BTreeMap::new();
    for mut found in read.into_iter().flatten() {
        let name = std::mem::take(&mut found.grp);
        let value = found.found.first().copied().unwrap_or_default();
        let mut summary = found.into_summary(SparseHistogram::default());
        let summaries = open.get(name.as_str()).into_iter().flatten();
        for other in summaries {
            summary.merge(&mut without_buckets(other));
        }
        keys.insert(name, key(&order.by, &summary, value));
    }
    // A quantile of rows in two places needs the buckets of both.
    if let OrderBy::Quantile(_) = order.by {
        let names: Vec<String> = open.keys().map(|name| (*name).to_owned()).collect();
        for names in names.chunks(GROUPS_AT_ONCE) {
            merge(sources, &whole, view, (names, &open), &mut keys).await?;
        }
    } else {
        for (name, summaries) in open {
            let merged = || {
                let mut sum = Summary::default();
                for other in summaries {
                    sum.merge(&mut without_buckets(other));
                }
                key(&order.by, &sum, 0)
            };
            keys.entry(name.to_owned()).or_insert_with(merged);
        }
    }
    if keys.len() > POINTS_MAX {
        return Err(QueryError::TooLarge(format!(
            "to choose from over {POINTS_MAX} series"
        )));
    }
    let total = keys.len();
    let mut ranked: Vec<(String, Key)> = keys.into_iter().collect();
    // The sort keeps the order of names where nothing else decides.
    ranked.sort_by_key(|(_, key)| Reverse(*key));
    ranked.truncate(order.limit);
    let names = ranked.into_iter().map(|(name, _)| name).collect();
    Ok(Ranked { names, total })
}

/// Finds the quantile of groups that have rows both in ClickHouse and elsewhere.
async fn merge(
    sources: &Sources,
    whole: &PercentileRequest,
    view: &View,
    (names, open): (&[String], &BTreeMap<&str, Vec<&Summary>>),
    keys: &mut BTreeMap<String, Key>,
) -> Result<(), QueryError> {
    let of_these = PercentileRequest {
        only: Some(names.to_vec()),
        ..whole.clone()
    };
    let shared = [whole.from_s()];
    let read = at_rest::at_rest(sources, &of_these, view, &[sources.shared()], &shared).await?;
    let read = read.into_iter().flatten().map(FoundPoint::into_merged);
    let mut at_rest: BTreeMap<PointKey, Summary> = read.collect();
    for name in names {
        let found = at_rest.remove(&(name.clone(), whole.from_s()));
        let mut sum = found.unwrap_or_default();
        for other in open.get(name.as_str()).into_iter().flatten() {
            sum.merge(&mut (*other).clone());
        }
        let (indices, counts) = sum.histogram.parts();
        let values = values_at(indices, counts, &whole.quantiles).unwrap_or_default();
        let value = values.first().copied().unwrap_or_default();
        keys.insert(name.clone(), (clamped(value, &sum), 0));
    }
    Ok(())
}

fn key(by: &OrderBy, summary: &Summary, value: u64) -> Key {
    match by {
        OrderBy::Count => (summary.count, 0),
        OrderBy::Sum => (summary.sum, 0),
        OrderBy::Max => (summary.max, 0),
        OrderBy::Over => (summary.over_high, summary.over_low),
        OrderBy::Quantile(_) => (clamped(value, summary), 0),
    }
}

fn without_buckets(summary: &Summary) -> Summary {
    Summary {
        count: summary.count,
        sum: summary.sum,
        min: summary.min,
        max: summary.max,
        over_low: summary.over_low,
        over_high: summary.over_high,
        histogram: SparseHistogram::default(),
    }
}
