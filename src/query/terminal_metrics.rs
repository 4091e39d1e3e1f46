//! Reads what a store's terminals measured over some hours: from ClickHouse, the outbox, the epoch being
//! sealed and the open windows.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickhouse::Row;
use tillwatch_model::{Catalogue, Scalars, Source, TerminalHour};

use crate::aggregate::kept::OpenTerminalRows;
use crate::holdings::View;
use crate::persist::{SideTable, StateError, side_tables};
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::statement;
use crate::query::terminals_request::TerminalsRequest;

/// Terminals by metric and label that ClickHouse may find.
const FOUND_MAX: usize = 100_000;

/// Metrics merged by terminal, metric and label.
pub type Merged = BTreeMap<String, BTreeMap<(&'static str, &'static str), Scalars>>;

#[derive(Debug, Row, serde::Deserialize)]
struct FoundMetric {
    terminal_id: String,
    metric: String,
    label: String,
    samples: u64,
    total: u64,
    least: u64,
    most: u64,
    latest: u64,
    latest_ms: i64,
    low: u64,
    high: u64,
}

/// Adds them, each once.
///
/// # Errors
/// When there are too many, or ClickHouse or the state file do not answer.
pub async fn merge(
    sources: &Sources,
    request: &TerminalsRequest,
    view: &View,
    open: OpenTerminalRows,
) -> Result<Merged, QueryError> {
    let found = fetch(sources, request, view).await?;
    let asked = Arc::new(request.clone());
    let (request, catalogue) = (Arc::clone(&asked), Arc::clone(&sources.catalogue));
    let sealing = view.sealing.clone();
    let add_open = move || {
        let mut merged = at_rest(&catalogue, found);
        if let Some(sealing) = &sealing {
            let bytes = sealing.side_bytes(SideTable::TerminalHour);
            let rows = decode(bytes, &catalogue, &request)?;
            add(&mut merged, &request, rows);
        }
        add(&mut merged, &request, open.rows());
        Ok::<_, StateError>(merged)
    };
    let mut merged = sources.jobs.run(add_open).await?;
    for info in view.waiting() {
        if !info.sides.contains_key(&SideTable::TerminalHour) {
            continue;
        }
        let (info, state) = (Arc::clone(info), Arc::clone(&sources.state));
        let (request, catalogue) = (Arc::clone(&asked), Arc::clone(&sources.catalogue));
        let add_waiting = move || {
            let bytes = state.waiting_rows(&info, Some(SideTable::TerminalHour))?;
            let rows = decode(&bytes.unwrap_or_default(), &catalogue, &request)?;
            add(&mut merged, &request, rows);
            Ok::<_, StateError>(merged)
        };
        merged = sources.jobs.run(add_waiting).await?;
    }
    Ok(merged)
}

fn at_rest(catalogue: &Catalogue, found: Vec<FoundMetric>) -> Merged {
    let mut merged = Merged::new();
    for found in found {
        let Some(metric) = catalogue.named(&found.metric) else {
            continue;
        };
        let label = metric.label_named(&found.label);
        let metrics = merged.entry(found.terminal_id.clone()).or_default();
        // Two labels of a later release have one name here.
        let sum = metrics.entry((metric.name, label)).or_default();
        sum.merge(&found.scalars());
    }
    merged
}

fn decode(
    bytes: &[u8],
    catalogue: &Catalogue,
    request: &TerminalsRequest,
) -> Result<Vec<TerminalHour>, StateError> {
    let from_s = request.first_hour_s();
    let wants = |store: &str, start_s: u32| store == request.store_id && start_s >= from_s;
    side_tables::decode_terminal_hours(bytes, catalogue, wants)
        .ok_or(StateError::Damaged("outbox row"))
}

fn add(
    merged: &mut Merged,
    request: &TerminalsRequest,
    rows: impl IntoIterator<Item = TerminalHour>,
) {
    for TerminalHour { key, scalars } in rows {
        if key.source == Source::Rum && request.wants(&key.terminal_id) {
            let metrics = merged.entry(key.terminal_id.to_string()).or_default();
            let sum = metrics.entry((key.metric, key.label)).or_default();
            sum.merge(&scalars);
        }
    }
}

async fn fetch(
    sources: &Sources,
    request: &TerminalsRequest,
    view: &View,
) -> Result<Vec<FoundMetric>, QueryError> {
    let confirmed_only = statement::confirmed_only(view);
    let one = request
        .terminal_id
        .as_ref()
        .map_or("", |_| " AND terminal_id = {terminal_id:String}");
    let sql = format!(
        "SELECT terminal_id, toString(metric) AS metric, toString(label) AS label, sum(count) AS samples, \
                sum(total) AS total, min(first) AS least, max(most) AS most, \
                argMax(last, (at_ms, last)) AS latest, max(at_ms) AS latest_ms, sum(lower) AS low, sum(higher) AS high \
         FROM (SELECT terminal_id, metric, label, count, sum AS total, min AS first, max AS most, last, \
                      toUnixTimestamp64Milli(last_at) AS at_ms, over_low AS lower, over_high AS higher \
               FROM rollup_terminal_1h FINAL \
               WHERE store_id = {{store_id:String}} AND source = 'rum' \
                 AND hour_start >= toDateTime({{from_s:UInt32}}, 'UTC') AND {confirmed_only}{one}) \
         GROUP BY terminal_id, metric, label LIMIT {{limit:UInt64}}"
    );
    let found: Vec<FoundMetric> = sources
        .fetch(&sql, |query| {
            let query = query
                .param("store_id", &request.store_id)
                .param("from_s", request.first_hour_s())
                .param("collector_id", view.collector_id.to_string())
                .param("confirmed", view.confirmed)
                .param("limit", (FOUND_MAX + 1) as u64);
            match &request.terminal_id {
                Some(terminal_id) => query.param("terminal_id", terminal_id),
                None => query,
            }
        })
        .await?;
    if found.len() > FOUND_MAX {
        return Err(QueryError::TooLarge(format!(
            "over {FOUND_MAX} metrics of terminals; ask for one terminal_id"
        )));
    }
    Ok(found)
}

impl FoundMetric {
    fn scalars(&self) -> Scalars {
        Scalars {
            count: self.samples,
            sum: self.total,
            min: self.least,
            max: self.most,
            last: self.latest,
            last_ms: self.latest_ms,
            over_low: self.low,
            over_high: self.high,
        }
    }
}
