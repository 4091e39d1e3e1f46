//! Which terminal ran which release, hour by hour.

use std::ops::Range;

use clickhouse::Row;

use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::rollout::at_rest::Hours;
use crate::query::statement::confirmed_only;
use crate::rollout::history::{Fleet, Ran};

/// Stores in one statement.
pub(super) const STORES_AT_ONCE: usize = 200;

#[derive(Debug, Row, serde::Deserialize)]
struct FoundRan {
    store_id: String,
    terminal_id: String,
    release: String,
    hours: Vec<u32>,
}

/// What all terminals of people ran in these hours (since 1970).
pub(super) async fn fleet(
    sources: &Sources,
    stores: &[String],
    read: &Hours,
    hours: &Range<i64>,
) -> Result<Fleet, QueryError> {
    let confirmed_only = confirmed_only(&read.view);
    // An hour that is there twice is there: FINAL would only cost time.
    let sql = format!(
        "SELECT toString(store) AS store_id, terminal AS terminal_id, toString(name) AS release, \
                arraySort(groupUniqArray(at)) AS hours \
         FROM (SELECT store_id AS store, terminal_id AS terminal, release AS name, intDiv(toUInt32(hour_start), 3600) AS at \
               FROM rollup_terminal_1h \
               WHERE store_id IN {{only:Array(String)}} AND source = 'rum' \
                 AND hour_start >= toDateTime({{from_s:UInt32}}, 'UTC') AND hour_start < toDateTime({{to_s:UInt32}}, 'UTC') \
                 AND {confirmed_only}) \
         GROUP BY store, terminal, name SETTINGS max_threads = 1"
    );
    let seconds = |hour: i64| u32::try_from(hour.max(0) * 3_600).unwrap_or(u32::MAX);
    let mut ran = Vec::new();
    for chunk in stores.chunks(STORES_AT_ONCE) {
        let found: Vec<FoundRan> = sources
            .fetch(&sql, |query| {
                query
                    .param("only", chunk)
                    .param("collector_id", read.view.collector_id.to_string())
                    .param("confirmed", read.view.confirmed)
                    .param("from_s", seconds(hours.start))
                    .param("to_s", seconds(hours.end))
            })
            .await?;
        ran.extend(found.into_iter().map(|found| Ran {
            store: found.store_id,
            terminal: found.terminal_id,
            release: found.release,
            hours: found.hours.into_iter().map(i64::from).collect(),
        }));
    }
    Ok(Fleet::new(ran))
}
