//! Up to which hour data are at rest, and from which table the rows of an hour are read.

use std::ops::Range;
use std::sync::Arc;

use tillwatch_model::metric::Metric;
use tillwatch_model::time::HOUR_MS;

use crate::aggregate::Aggregator;
use crate::holdings::View;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::plan::Plan;
use crate::query::request::{GroupBy, PercentileRequest};

/// The hour (since 1970) before which all hours have passed and what had arrived of them by then is in ClickHouse, and the
/// last epoch of this collector that is in it.
///
/// # Errors
/// When the state file cannot be read.
pub async fn passed_hour(sources: &Sources, now_ms: i64) -> Result<(i64, u64), QueryError> {
    let view = sources
        .holdings
        .view_of(0, |aggregator: &Aggregator| aggregator.open_samples())
        .await;
    let waits = view.open > 0 || view.sealing.is_some() || !view.unconfirmed.is_empty();
    let epoch = view.confirmed;
    let at_ms = if waits {
        let state = Arc::clone(&sources.state);
        let sealed_at = move || state.sealed_at_ms(epoch);
        sources.jobs.run(sealed_at).await?.unwrap_or(0)
    } else {
        now_ms
    };
    Ok((at_ms.div_euclid(HOUR_MS), epoch))
}

/// Some hours of all stores, as they are read.
pub(super) struct Hours {
    pub(super) view: View<()>,
    pub(super) plan: Plan,
    /// Seconds since 1970.
    pub(super) range_s: Range<u32>,
}

impl Hours {
    /// Hours since 1970. `metric` is any of those that are read: which table has an hour is the same for all of them.
    pub(super) async fn of(sources: &Sources, hours: Range<i64>, metric: &Metric) -> Self {
        let bound = |hour: i64| u32::try_from(hour.max(0)).unwrap_or(u32::MAX / 3_600);
        let hours = bound(hours.start)..bound(hours.end);
        let view = sources.holdings.look(0, |_| (), hours.clone()).await;
        let request = PercentileRequest {
            metric: *metric,
            quantiles: Vec::new(),
            from_ms: i64::from(hours.start) * HOUR_MS,
            to_ms: i64::from(hours.end) * HOUR_MS,
            step_ms: None,
            store_id: None,
            release: None,
            connection: None,
            label: None,
            source: String::new(),
            group_by: GroupBy::Store,
            order: None,
            only: None,
        };
        Self {
            plan: Plan::new(&request, &view, &[]),
            range_s: request.from_s()..request.to_s(),
            view,
        }
    }
}
