//! What of the ledger of losses has ended and lies in ClickHouse.

use clickhouse::Row;
use tillwatch_model::{LossRow, LossState};
use uuid::Uuid;

use crate::holdings::View;
use crate::query::error::QueryError;
use crate::query::losses_request::LossesRequest;
use crate::query::percentiles::Sources;
use crate::query::statement;

/// Rows of two days are never one: each day is merged by itself.
const SETTINGS: &str = "SETTINGS do_not_merge_across_partitions_select_final = 1";

#[derive(Debug, Row, serde::Deserialize)]
pub(super) struct Found {
    store: String,
    terminal: String,
    of_queue: String,
    what: String,
    why: String,
    first: u64,
    last: u64,
    amount: u64,
    about: u64,
    opened_ms: i64,
    ended_s: u32,
}

impl Found {
    pub(super) fn row(self) -> LossRow {
        LossRow {
            store_id: self.store.into(),
            terminal_id: self.terminal.into(),
            queue: Uuid::try_parse(&self.of_queue)
                .unwrap_or_default()
                .into_bytes(),
            state: LossState::of_name(&self.what),
            reason: self.why.into(),
            from: self.first,
            to: self.last,
            batches: self.amount,
            samples: self.about,
            opened_at_ms: self.opened_ms,
            ended_at_s: self.ended_s,
        }
    }
}

#[derive(Debug, Row, serde::Deserialize)]
pub(super) struct FoundDay {
    pub(super) day_s: u32,
    pub(super) what: String,
    pub(super) amount: u64,
    pub(super) about: u64,
}

fn filters(request: &LossesRequest, view: &View) -> String {
    let mut filters = statement::confirmed_only(view);
    filters.push_str(
        " AND ended_at >= toDateTime({from_s:UInt32}, 'UTC') AND ended_at < toDateTime({to_s:UInt32}, 'UTC')",
    );
    if request.store_id.is_some() {
        filters.push_str(" AND store_id = {store_id:String}");
    }
    filters
}

fn with_filters(
    query: clickhouse::query::Query,
    request: &LossesRequest,
    view: &View,
) -> clickhouse::query::Query {
    let (from_s, to_s) = request.seconds();
    let query = query
        .param("from_s", from_s)
        .param("to_s", to_s)
        .param("collector_id", view.collector_id.to_string())
        .param("confirmed", view.confirmed);
    match &request.store_id {
        Some(store_id) => query.param("store_id", store_id),
        None => query,
    }
}

pub(super) async fn fetch_days(
    sources: &Sources,
    request: &LossesRequest,
    view: &View,
) -> Result<Vec<FoundDay>, QueryError> {
    let sql = format!(
        "SELECT toUInt32(toRelativeDayNum(ended_at) * 86400) AS day_s, toString(state) AS what, \
                sum(batches) AS amount, sum(samples) AS about \
         FROM loss FINAL WHERE {} GROUP BY day_s, what {SETTINGS}",
        filters(request, view)
    );
    let found = sources
        .fetch(&sql, |query| with_filters(query, request, view))
        .await?;
    Ok(found)
}

pub(super) async fn fetch(
    sources: &Sources,
    request: &LossesRequest,
    view: &View,
) -> Result<Vec<Found>, QueryError> {
    let state = request.state.map_or("", |_| " AND state = {state:String}");
    let sql = format!(
        "SELECT toString(store_id) AS store, terminal_id AS terminal, queue AS of_queue, toString(state) AS what, \
                toString(reason) AS why, from_seq AS first, to_seq AS last, batches AS amount, samples AS about, \
                toUnixTimestamp64Milli(opened_at) AS opened_ms, toUnixTimestamp(ended_at) AS ended_s \
         FROM loss FINAL WHERE {}{state} ORDER BY ended_at DESC, from_seq LIMIT {{limit:UInt64}} {SETTINGS}",
        filters(request, view)
    );
    let found = sources
        .fetch(&sql, |query| {
            // One more says that there are more.
            let query = with_filters(query, request, view).param("limit", request.limit as u64 + 1);
            match request.state {
                Some(state) => query.param("state", state),
                None => query,
            }
        })
        .await?;
    Ok(found)
}
