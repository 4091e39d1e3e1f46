//! Answers what pages have summed up themselves: counts, sums and extremes by minute, and each report's percentiles as
//! they were sent. Nothing here is a percentile of tillwatch.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use clickhouse::Row;
use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::dimension::is_identifier;
use tillwatch_model::metric::{Metric, to_float};
use tillwatch_model::summary::{Percentiles, SummaryKey, SummaryRow, SummarySums};
use tillwatch_model::time::MINUTE_MS;
use tillwatch_model::{Catalogue, Connection, Source};

use crate::aggregate::Aggregator;
use crate::holdings::View;
use crate::persist::{SideTable, StateError, side_tables};
use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};
use crate::query::percentiles::Sources;
use crate::query::statement;
use crate::query::words::{connections, sources, units};

/// Lines in one answer.
pub const LINES_MAX: usize = 1_000;
/// Lines in one answer if nobody says.
pub const LINES_DEFAULT: usize = 100;
/// The longest time back: what ClickHouse keeps.
pub const HOURS_MAX: usize = 90 * 24;
/// The time back if nobody says.
pub const HOURS_DEFAULT: usize = 24;
const MINUTES_AN_HOUR: i64 = 60;

/// What every answer says of its percentiles.
const NOTE: &str = "Each report's percentiles are as its page sent them. They are of that report alone and cannot be merged.";

/// A request for summaries, checked.
#[derive(Debug, Clone)]
pub struct SummariesRequest {
    store_id: Option<String>,
    metric: Option<&'static str>,
    from_ms: i64,
    now_ms: i64,
    limit: usize,
}

impl SummariesRequest {
    /// Reads the parameters of a request that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(
        parameters: &Parameters,
        catalogue: &Catalogue,
        now_ms: i64,
    ) -> Result<Self, QueryError> {
        let given = parameters.check(&["store_id", "metric", "hours", "limit"])?;
        let store_id = match given.get("store_id")? {
            Some(text) if is_identifier(text) => Some(text.to_owned()),
            Some(_) => return Err(bad("store_id must be 1 to 64 of A-Z a-z 0-9 _ . : -")),
            None => None,
        };
        let metric = match given.get("metric")? {
            Some(name) => {
                let found = catalogue.find(name).map(|(metric, _)| metric.name);
                Some(found.ok_or_else(|| QueryError::UnknownMetric(name.to_owned()))?)
            }
            None => None,
        };
        let hours = given.number("hours", 1, HOURS_MAX)?;
        let minutes = i64::try_from(hours.unwrap_or(HOURS_DEFAULT)).unwrap_or(0) * MINUTES_AN_HOUR;
        let limit = given.number("limit", 1, LINES_MAX)?;
        Ok(Self {
            store_id,
            metric,
            from_ms: (now_ms / MINUTE_MS - minutes) * MINUTE_MS,
            now_ms,
            limit: limit.unwrap_or(LINES_DEFAULT),
        })
    }

    fn first_s(&self) -> u32 {
        u32::try_from(self.from_ms / 1_000).unwrap_or(0)
    }

    fn wants(&self, metric: &str, store_id: &str, minute_s: u32) -> bool {
        minute_s >= self.first_s()
            && self.metric.is_none_or(|wanted| wanted == metric)
            && self
                .store_id
                .as_ref()
                .is_none_or(|wanted| wanted == store_id)
    }
}

/// What pages have summed up themselves, the newest minute first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SummariesAnswer {
    /// The first minute, Unix ms.
    from: i64,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// What has to be known of the percentiles.
    note: &'static str,
    /// Whether there is no more than what `limit` leaves room for.
    is_whole: bool,
    /// The lines, the newest minute first.
    summaries: Vec<Line>,
}

/// What pages have reported of one metric in one minute.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SummaryLine")]
struct Line {
    /// Start of the minute, Unix ms.
    minute: i64,
    /// The wire name of the metric.
    metric: &'static str,
    /// The unit of all values.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
    /// The store.
    store_id: String,
    /// The release.
    release: String,
    /// The connection.
    #[schemars(extend("enum" = connections()))]
    connection: &'static str,
    /// `rum` (real users) or `synthetic`.
    #[schemars(extend("enum" = sources()))]
    source: &'static str,
    /// How many values the reports stand on.
    count: u64,
    /// The sum of the values.
    sum: f64,
    /// The sum, divided by the count.
    mean: f64,
    /// The least value.
    min: f64,
    /// The greatest value.
    max: f64,
    /// The reports side by side, at most 64 of a minute.
    reports: Vec<Report>,
}

/// One report's percentiles; `null`: not sent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SummaryReport")]
struct Report {
    /// How many values the report stands on.
    count: u64,
    /// The 50th percentile, in the metric's unit.
    p50: Option<f64>,
    /// The 95th percentile, in the metric's unit.
    p95: Option<f64>,
    /// The 99th percentile, in the metric's unit.
    p99: Option<f64>,
}

/// Newest first.
type Merged = BTreeMap<(Reverse<u32>, SummaryKey), SummarySums>;

#[derive(Debug, Row, serde::Deserialize)]
struct Found {
    metric: String,
    store: String,
    release_name: String,
    connected: String,
    who: String,
    minute_s: u32,
    amount: u64,
    total: f64,
    least: f64,
    most: f64,
    said: Vec<(u64, f64, f64, f64)>,
}

/// Answers a request, when `position` was the last durable one.
///
/// # Errors
/// When ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    request: &SummariesRequest,
    position: u64,
) -> Result<SummariesAnswer, QueryError> {
    let request = Arc::new(request.clone());
    let catalogue = Arc::clone(&sources.catalogue);
    let view = sources
        .holdings
        .view_of(position, Aggregator::open_summaries)
        .await;
    let (open, view) = view.split();
    let found = fetch(sources, &request, &view).await?;
    let mut merged = Merged::new();
    add(
        &mut merged,
        &request,
        found.into_iter().map(|found| at_rest(&catalogue, found)),
    );
    for info in view.waiting() {
        if !info.sides.contains_key(&SideTable::Summary) {
            continue;
        }
        let (info, state) = (Arc::clone(info), Arc::clone(&sources.state));
        let (asked, known) = (Arc::clone(&request), Arc::clone(&catalogue));
        let add_waiting = move || {
            let bytes = state.waiting_rows(&info, Some(SideTable::Summary))?;
            add(
                &mut merged,
                &asked,
                decode(&bytes.unwrap_or_default(), &known, &asked)?,
            );
            Ok::<_, StateError>(merged)
        };
        merged = sources.jobs.run(add_waiting).await?;
    }
    let put_together = move || {
        if let Some(sealing) = &view.sealing {
            let bytes = sealing.side_bytes(SideTable::Summary);
            add(&mut merged, &request, decode(bytes, &catalogue, &request)?);
        }
        let (open, tables) = open;
        add(&mut merged, &request, open.into_rows(&tables));
        let is_whole = merged.len() <= request.limit;
        let lines = merged.into_iter().take(request.limit);
        Ok::<_, StateError>(SummariesAnswer {
            from: request.from_ms,
            complete_to: request.now_ms,
            note: NOTE,
            is_whole,
            summaries: lines
                .map(|((_, key), sums)| line(&catalogue, &key, sums))
                .collect(),
        })
    };
    Ok(sources.jobs.run(put_together).await?)
}

fn decode(
    bytes: &[u8],
    catalogue: &Catalogue,
    request: &SummariesRequest,
) -> Result<Vec<SummaryRow>, StateError> {
    let wants = |metric: &str, store: &str, minute_s: u32| request.wants(metric, store, minute_s);
    side_tables::decode_summaries(bytes, catalogue, wants).ok_or(StateError::Damaged("outbox row"))
}

fn add(
    merged: &mut Merged,
    request: &SummariesRequest,
    rows: impl IntoIterator<Item = SummaryRow>,
) {
    for SummaryRow { key, sums } in rows {
        if request.wants(key.metric, &key.store_id, key.minute_s) {
            let place = (Reverse(key.minute_s), key);
            merged.entry(place).or_default().merge(&sums);
        }
    }
}

fn at_rest(catalogue: &Catalogue, found: Found) -> SummaryRow {
    let report = |(count, p50, p95, p99)| Percentiles {
        count,
        values: [p50, p95, p99],
    };
    SummaryRow {
        key: SummaryKey {
            store_id: found.store.into(),
            metric: catalogue
                .named(&found.metric)
                .unwrap_or(&Metric::LATER)
                .name,
            minute_s: found.minute_s,
            release: found.release_name.into(),
            connection: Connection::of_name(&found.connected),
            source: Source::of_name(&found.who),
        },
        sums: SummarySums {
            count: found.amount,
            sum: found.total,
            min: found.least,
            max: found.most,
            reports: found.said.into_iter().map(report).collect(),
        },
    }
}

fn line(catalogue: &Catalogue, key: &SummaryKey, sums: SummarySums) -> Line {
    let report = |report: Percentiles| {
        let [p50, p95, p99] = report
            .values
            .map(|value| value.is_finite().then_some(value));
        Report {
            count: report.count,
            p50,
            p95,
            p99,
        }
    };
    Line {
        minute: i64::from(key.minute_s) * 1_000,
        metric: key.metric,
        unit: catalogue
            .named(key.metric)
            .unwrap_or(&Metric::LATER)
            .unit
            .name(),
        store_id: key.store_id.to_string(),
        release: key.release.to_string(),
        connection: key.connection.name(),
        source: key.source.name(),
        count: sums.count,
        sum: sums.sum,
        mean: sums.sum / to_float(sums.count.max(1)),
        min: sums.min,
        max: sums.max,
        reports: sums.reports.into_iter().map(report).collect(),
    }
}

async fn fetch(
    sources: &Sources,
    request: &SummariesRequest,
    view: &View,
) -> Result<Vec<Found>, QueryError> {
    let mut filters = statement::confirmed_only(view);
    if request.store_id.is_some() {
        filters.push_str(" AND store_id = {store_id:String}");
    }
    if request.metric.is_some() {
        filters.push_str(" AND metric = {metric:String}");
    }
    let sql = format!(
        "SELECT toString(of_metric) AS metric, toString(store_id) AS store, toString(release) AS release_name, \
                toString(connection) AS connected, toString(source) AS who, toUnixTimestamp(minute) AS minute_s, \
                sum(one) AS amount, sum(part) AS total, min(first) AS least, max(last) AS most, \
                CAST(groupArrayArray(list), 'Array(Tuple(UInt64, Float64, Float64, Float64))') AS said \
         FROM (SELECT metric AS of_metric, store_id, release, connection, source, minute, epoch, \
                      count AS one, sum AS part, min AS first, max AS last, reports AS list \
               FROM summary_1m FINAL \
               WHERE minute >= toDateTime({{from_s:UInt32}}, 'UTC') AND {filters} ORDER BY epoch) \
         GROUP BY of_metric, store_id, release, connection, source, minute \
         ORDER BY minute DESC, store_id, metric LIMIT {{limit:UInt64}}"
    );
    let found = sources
        .fetch(&sql, |query| {
            let mut query = query
                .param("from_s", request.first_s())
                .param("collector_id", view.collector_id.to_string())
                .param("confirmed", view.confirmed)
                // One more says that there are more.
                .param("limit", (request.limit + 1) as u64);
            if let Some(store_id) = &request.store_id {
                query = query.param("store_id", store_id);
            }
            if let Some(metric) = request.metric {
                query = query.param("metric", metric);
            }
            query
        })
        .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_and_the_time_begins_at_a_minute() {
        let catalogue = Catalogue::default();
        let parse = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let parameters = pairs.collect::<Parameters>();
            SummariesRequest::parse(&parameters, &catalogue, 48 * 60 * MINUTE_MS + 7)
        };
        let request = parse(&[("metric", "sync_duration"), ("store_id", "s")]).unwrap();
        assert_eq!(request.from_ms, 24 * 60 * MINUTE_MS);
        assert!(request.wants("sync_duration_ms", "s", 86_400));
        assert!(!request.wants("sync_duration_ms", "s", 86_399));
        assert!(!request.wants("lcp_ms", "s", 86_400));
        assert!(!request.wants("sync_duration_ms", "t", 86_400));
        for wrong in [
            &[("metric", "no_such")][..],
            &[("metric", "")],
            &[("store_id", "a b")],
            &[("hours", "0")],
            &[("limit", "1001")],
            &[("store", "s")],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
