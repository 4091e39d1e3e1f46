//! Answers what is known of one session, by store and day, for its pseudonym.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickhouse::Row;
use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::metric::{Unit, to_float};
use tillwatch_model::session::Values;
use tillwatch_model::time::DAY_MS;
use tillwatch_model::{Pseudonym, SessionDay, SessionSums};

use crate::aggregate::Aggregator;
use crate::holdings::View;
use crate::persist::{SideTable, StateError, side_tables};
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::statement;

/// Rows that ClickHouse may find: a pseudonym is of one day and, but for a forger, of one store.
const FOUND_MAX: usize = 1_000;

/// What is known of one session.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionAnswer {
    /// The pseudonym that was asked for.
    session: String,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// The session by store and day, the earliest first.
    days: Vec<StoreDay>,
}

/// A session at a store on a day; averages and maxima are `null` without values.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SessionDay")]
struct StoreDay {
    /// The store.
    store_id: String,
    /// Start of the day, Unix ms.
    day: i64,
    /// The time of the first sample, Unix ms.
    first_ms: i64,
    /// The time of the last sample, Unix ms.
    last_ms: i64,
    /// How many samples there are.
    samples: u64,
    /// The average of `lcp_ms`, ms.
    lcp_avg_ms: Option<f64>,
    /// The greatest `lcp_ms`, ms.
    lcp_max_ms: Option<f64>,
    /// The average of `offline_login_duration_ms`, ms.
    offline_login_avg_ms: Option<f64>,
    /// The greatest `offline_login_duration_ms`, ms.
    offline_login_max_ms: Option<f64>,
    /// How many synchronisations were measured.
    syncs: u64,
    /// The average of `sync_duration_ms`, ms.
    sync_avg_ms: Option<f64>,
    /// The greatest `sync_duration_ms`, ms.
    sync_max_ms: Option<f64>,
    /// How many synchronisations were attempted.
    sync_attempts: u64,
    /// How many synchronisations failed.
    sync_failures: u64,
    /// The greatest `db_size_mb`, MB; 0 without values.
    db_size_max_mb: f64,
    /// How many errors there were.
    errors: u64,
    /// Errors for each sample; `null` without samples.
    error_ratio: Option<f64>,
}

#[derive(Debug, Row, serde::Deserialize)]
struct FoundDay {
    store: String,
    of_day: u16,
    first_ms: i64,
    last_ms: i64,
    /// The sums, in the order of the statement.
    sums: Vec<u64>,
}

/// Sums of sessions, by store and day.
type Merged = BTreeMap<(String, u16), SessionSums>;

/// Answers a request that came at `now_ms`, when `position` was the last durable one.
///
/// # Errors
/// When nothing is known of the session, or ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    session: Pseudonym,
    now_ms: i64,
    position: u64,
) -> Result<SessionAnswer, QueryError> {
    let read = move |aggregator: &Aggregator| aggregator.open_session(session);
    let view = sources.holdings.view_of(position, read).await;
    let (open, view) = view.split();
    let mut merged = fetch(sources, session, &view).await?;
    for info in view.waiting() {
        if !info.sides.contains_key(&SideTable::Session) {
            continue;
        }
        let (info, state) = (Arc::clone(info), Arc::clone(&sources.state));
        let add_waiting = move || {
            let bytes = state.waiting_rows(&info, Some(SideTable::Session))?;
            add(&mut merged, decode(&bytes.unwrap_or_default(), session)?);
            Ok::<_, StateError>(merged)
        };
        merged = sources.jobs.run(add_waiting).await?;
    }
    let add_open = move || {
        if let Some(sealing) = &view.sealing {
            let bytes = sealing.side_bytes(SideTable::Session);
            add(&mut merged, decode(bytes, session)?);
        }
        add(&mut merged, open.rows());
        Ok::<_, StateError>(merged)
    };
    let merged = sources.jobs.run(add_open).await?;
    if merged.is_empty() {
        return Err(QueryError::UnknownSession);
    }
    let mut days: Vec<StoreDay> = merged.into_iter().map(line).collect();
    days.sort_by_key(|line| line.day);
    Ok(SessionAnswer {
        session: session.to_string(),
        complete_to: now_ms,
        days,
    })
}

fn decode(bytes: &[u8], session: Pseudonym) -> Result<Vec<SessionDay>, StateError> {
    side_tables::decode_sessions(bytes, |found| found == session)
        .ok_or(StateError::Damaged("outbox row"))
}

fn add(merged: &mut Merged, rows: impl IntoIterator<Item = SessionDay>) {
    for SessionDay { key, sums } in rows {
        let key = (key.store_id.to_string(), key.day);
        merged.entry(key).or_default().merge(&sums);
    }
}

fn line(((store_id, day), sums): ((String, u16), SessionSums)) -> StoreDay {
    let ms = to_float(Unit::Milliseconds.scale());
    let average = |values: &Values| values.mean().map(|mean| mean / ms);
    let greatest =
        |values: &Values| (values.count > 0).then(|| Unit::Milliseconds.to_wire(values.max));
    StoreDay {
        store_id,
        day: i64::from(day) * DAY_MS,
        first_ms: sums.first_ms,
        last_ms: sums.last_ms,
        samples: sums.samples,
        lcp_avg_ms: average(&sums.lcp),
        lcp_max_ms: greatest(&sums.lcp),
        offline_login_avg_ms: average(&sums.offline_login),
        offline_login_max_ms: greatest(&sums.offline_login),
        syncs: sums.sync.count,
        sync_avg_ms: average(&sums.sync),
        sync_max_ms: greatest(&sums.sync),
        sync_attempts: sums.sync_attempts,
        sync_failures: sums.sync_failures,
        db_size_max_mb: Unit::Megabytes.to_wire(sums.db_size_max),
        errors: sums.errors,
        error_ratio: sums.error_ratio(),
    }
}

async fn fetch(sources: &Sources, session: Pseudonym, view: &View) -> Result<Merged, QueryError> {
    let sql = format!(
        "SELECT toString(store_id) AS store, toUInt16(day) AS of_day, \
                toUnixTimestamp64Milli(min(first_at)) AS first_ms, toUnixTimestamp64Milli(max(last_at)) AS last_ms, \
                [sum(samples), sum(lcp_count), sum(lcp_sum), max(lcp_max), \
                 sum(offline_login_count), sum(offline_login_sum), max(offline_login_max), \
                 sum(sync_count), sum(sync_sum), max(sync_max), sum(sync_attempts), sum(sync_failures), \
                 max(db_size_max), sum(errors)] AS sums \
         FROM session FINAL \
         WHERE session = toFixedString(unhex({{session:String}}), 16) AND {} \
         GROUP BY store_id, day ORDER BY day, store_id LIMIT {{limit:UInt64}}",
        statement::confirmed_only(view)
    );
    let found: Vec<FoundDay> = sources
        .fetch(&sql, |query| {
            query
                .param("session", session.to_string())
                .param("collector_id", view.collector_id.to_string())
                .param("confirmed", view.confirmed)
                .param("limit", (FOUND_MAX + 1) as u64)
        })
        .await?;
    if found.len() > FOUND_MAX {
        return Err(QueryError::TooLarge(format!("over {FOUND_MAX} stores")));
    }
    let read = |found: FoundDay| {
        let mut sums = found.sums.iter().copied();
        let mut next = || sums.next().unwrap_or(0);
        let sums = SessionSums {
            first_ms: found.first_ms,
            last_ms: found.last_ms,
            samples: next(),
            lcp: values(&mut next),
            offline_login: values(&mut next),
            sync: values(&mut next),
            sync_attempts: next(),
            sync_failures: next(),
            db_size_max: next(),
            errors: next(),
        };
        ((found.store, found.of_day), sums)
    };
    Ok(found.into_iter().map(read).collect())
}

fn values(next: &mut impl FnMut() -> u64) -> Values {
    Values {
        count: next(),
        sum: next(),
        max: next(),
    }
}
