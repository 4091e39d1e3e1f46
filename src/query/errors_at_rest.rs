//! What of the groups of errors lies in ClickHouse, and what does not yet.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use clickhouse::Row;
use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::event::{EventGroup, Example, TERMINALS_MAX};
use xxhash_rust::xxh3::xxh3_64;

use crate::aggregate::Aggregator;
use crate::holdings::View;
use crate::persist::{SideTable, StateError, side_tables};
use crate::query::error::QueryError;
use crate::query::errors_request::{ErrorsRequest, Order};
use crate::query::percentiles::Sources;
use crate::query::statement;

/// Stores and terminals of one group that are told apart; of more it is said that there are more.
pub(super) const APART_MAX: usize = 10_000;
/// Releases and stores of one group that are listed with their counts.
const PARTS_MAX: usize = 100;
/// Groups that are not in ClickHouse yet and are looked for there. Between two seals a store has 200 in an hour.
const ELSEWHERE_MAX: usize = 2_000;

/// Rows of two days are never one: each day is merged by itself.
const SETTINGS: &str = "SETTINGS do_not_merge_across_partitions_select_final = 1";

/// What is known of a group in the range that is asked for.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) example: Option<Example>,
    /// The release that the example is of.
    pub(super) of_release: String,
    pub(super) count: u64,
    pub(super) fatal: u64,
    /// The first and the last hour, Unix seconds, also before the range.
    pub(super) first_s: u32,
    pub(super) last_s: u32,
    /// Hashes of stores and of terminals.
    pub(super) stores: HashSet<u64>,
    pub(super) terminals: HashSet<u64>,
    pub(super) releases: BTreeSet<String>,
    /// Counts by the beginning of a point, Unix seconds.
    pub(super) trend: BTreeMap<u32, u64>,
    /// Whether a row names as many terminals as it may: there may be more.
    pub(super) is_wide: bool,
}

impl Group {
    /// Adds a row that is not in ClickHouse yet.
    fn add(&mut self, row: &EventGroup, request: &ErrorsRequest) {
        let hour_s = row.key.hour_start_s;
        let is_first = self.first_s == 0 || hour_s < self.first_s;
        if self.example.is_none() || is_first {
            self.example = Some((*row.sums.example).clone());
            self.of_release = row.key.release.to_string();
        }
        if self.name.is_empty() {
            self.name = row.sums.name.to_string();
        }
        self.first_s = if is_first { hour_s } else { self.first_s };
        self.last_s = self.last_s.max(hour_s);
        if hour_s < request.since_s() {
            return;
        }
        self.count = self.count.saturating_add(row.sums.count);
        self.fatal = self.fatal.saturating_add(row.sums.fatal);
        self.stores.insert(xxh3_64(row.key.store_id.as_bytes()));
        self.terminals.extend(&row.sums.terminals);
        self.is_wide |= row.sums.terminals.len() >= TERMINALS_MAX;
        self.releases.insert(row.key.release.to_string());
        let point = hour_s / request.step_s() * request.step_s();
        *self.trend.entry(point).or_default() += row.sums.count;
    }

    /// By what the groups are ordered, the greatest first.
    pub(super) fn rank(&self, order: Order) -> (u64, u64) {
        match order {
            Order::Count => (self.count, u64::from(self.last_s)),
            Order::FirstSeen => (u64::from(self.first_s), self.count),
            Order::Stores => (self.stores.len() as u64, self.count),
        }
    }
}

/// Groups by fingerprint.
pub(super) type Groups = BTreeMap<Fingerprint, Group>;

#[derive(Debug, Row, serde::Deserialize)]
struct Found {
    fp: String,
    amount: u64,
    bad: u64,
    first_s: u32,
    last_s: u32,
    store_hashes: Vec<u64>,
    terminal_hashes: Vec<u64>,
    of_releases: Vec<String>,
    points: Vec<u32>,
    counts: Vec<u64>,
    /// Terminals in the row that has most.
    widest: u64,
}

/// The first of a group.
#[derive(Debug, Row, serde::Deserialize)]
struct FoundExample {
    fp: String,
    custom: String,
    of_type: String,
    text: String,
    frames: String,
    run: String,
}

impl Found {
    fn group(self) -> Option<(Fingerprint, Group)> {
        let fingerprint = u64::from_str_radix(&self.fp, 16).ok()?;
        let group = Group {
            is_wide: self.widest >= TERMINALS_MAX as u64,
            count: self.amount,
            fatal: self.bad,
            first_s: self.first_s,
            last_s: self.last_s,
            stores: self.store_hashes.into_iter().collect(),
            terminals: self.terminal_hashes.into_iter().collect(),
            releases: self.of_releases.into_iter().collect(),
            trend: self.points.into_iter().zip(self.counts).collect(),
            ..Group::default()
        };
        Some((fingerprint, group))
    }
}

/// How a group is spread over releases, or over stores.
#[derive(Debug, Clone, Row, serde::Deserialize)]
pub(super) struct Part {
    /// The release or the store.
    pub(super) part: String,
    pub(super) amount: u64,
    pub(super) first_s: u32,
    pub(super) last_s: u32,
}

/// Rows that are not in ClickHouse, and how what is there is read.
pub(super) struct Read {
    pub(super) elsewhere: Vec<EventGroup>,
    pub(super) view: View,
}

/// Reads the rows that are not in ClickHouse when `position` was the last durable one.
pub(super) async fn elsewhere(
    sources: &Sources,
    request: &Arc<ErrorsRequest>,
    position: u64,
) -> Result<Read, QueryError> {
    let view = sources
        .holdings
        .view_of(position, Aggregator::open_event_groups)
        .await;
    let (open, view) = view.split();
    let (state, asked) = (Arc::clone(&sources.state), Arc::clone(request));
    let read = move || {
        let mut rows = open;
        rows.retain(|row| wants(&asked, row));
        for info in view.waiting() {
            if info.sides.contains_key(&SideTable::EventGroup) {
                let bytes = state.waiting_rows(info, Some(SideTable::EventGroup))?;
                rows.extend(decode(&bytes.unwrap_or_default(), &asked)?);
            }
        }
        if let Some(sealing) = &view.sealing {
            let bytes = sealing.side_bytes(SideTable::EventGroup);
            rows.extend(decode(bytes, &asked)?);
        }
        Ok::<_, StateError>(Read {
            elsewhere: rows,
            view,
        })
    };
    Ok(sources.jobs.run(read).await?)
}

fn decode(bytes: &[u8], request: &ErrorsRequest) -> Result<Vec<EventGroup>, StateError> {
    let wanted = request.store_id.as_deref();
    let wants_store = |store_id: &str, _: u32| wanted.is_none_or(|wanted| wanted == store_id);
    let rows = side_tables::decode_event_groups(bytes, wants_store);
    let mut rows = rows.ok_or(StateError::Damaged("outbox row"))?;
    rows.retain(|row| wants(request, row));
    Ok(rows)
}

fn wants(request: &ErrorsRequest, row: &EventGroup) -> bool {
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|one| one == is);
    let fingerprint = request.fingerprint;
    let of_kind = match fingerprint {
        Some(fingerprint) => row.key.fingerprint == fingerprint,
        None => row.key.kind == request.kind,
    };
    of_kind && is(&request.release, &row.key.release) && is(&request.store_id, &row.key.store_id)
}

/// The groups that come first, at rest and elsewhere, each whole.
pub(super) async fn groups(
    sources: &Sources,
    request: &ErrorsRequest,
    read: &Read,
) -> Result<Groups, QueryError> {
    let new = most_of(&read.elsewhere);
    let digits: Vec<String> = new.iter().map(|one| format!("{one:016x}")).collect();
    let order = match request.order {
        Order::Count => "amount DESC, last_s DESC",
        Order::FirstSeen => "first_s DESC, amount DESC",
        Order::Stores => "length(store_hashes) DESC, amount DESC",
    };
    let step_s = request.step_s();
    let sql = format!(
        "SELECT of_fingerprint AS fp, sumIf(one, hour_s >= {{since_s:UInt32}}) AS amount, \
                sumIf(ended, hour_s >= {{since_s:UInt32}}) AS bad, min(hour_s) AS first_s, max(hour_s) AS last_s, \
                groupUniqArrayIf({apart})(shop, hour_s >= {{since_s:UInt32}}) AS store_hashes, \
                groupUniqArrayArrayIf({apart})(list, hour_s >= {{since_s:UInt32}}) AS terminal_hashes, \
                groupUniqArrayIf({apart})(run, hour_s >= {{since_s:UInt32}}) AS of_releases, \
                sumMapIf([toUInt32(intDiv(hour_s, {step_s}) * {step_s})], [one], hour_s >= {{since_s:UInt32}}) AS trend, \
                trend.1 AS points, trend.2 AS counts, toUInt64(max(length(list))) AS widest \
         FROM (SELECT fingerprint AS of_fingerprint, toUnixTimestamp(hour_start) AS hour_s, count AS one, fatal AS ended, \
                      xxh3(toString(store_id)) AS shop, terminals AS list, toString(release) AS run \
               FROM error_group_1h FINAL WHERE {}) \
         GROUP BY of_fingerprint HAVING {having} \
         ORDER BY has({{new:Array(String)}}, fp) DESC, {order}, fp LIMIT {{limit:UInt64}}",
        filters(request, &read.view),
        having = match request.fingerprint {
            Some(_) => "1",
            None => "amount > 0 OR has({new:Array(String)}, fp)",
        },
        apart = APART_MAX + 1,
    );
    let sql = format!("SELECT * EXCEPT (trend) FROM ({sql}) {SETTINGS}");
    let found: Vec<Found> = sources
        .fetch(&sql, |query| {
            with_filters(query, request, &read.view)
                .param("since_s", request.since_s())
                .param("new", digits)
                // One more says that there are more.
                .param("limit", (request.limit + new.len() + 1) as u64)
        })
        .await?;
    let mut groups: Groups = found.into_iter().filter_map(Found::group).collect();
    add_examples(sources, request, read, &mut groups).await?;
    for row in &read.elsewhere {
        let group = groups.entry(row.key.fingerprint).or_default();
        group.add(row, request);
    }
    groups.retain(|_, group| group.count > 0 || request.fingerprint.is_some());
    Ok(groups)
}

/// The fingerprints of rows, those that happened most often if there are too many.
fn most_of(rows: &[EventGroup]) -> BTreeSet<Fingerprint> {
    let mut counts: BTreeMap<Fingerprint, u64> = BTreeMap::new();
    for row in rows {
        let count = counts.entry(row.key.fingerprint).or_default();
        *count = count.saturating_add(row.sums.count);
    }
    let mut counts: Vec<(Fingerprint, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(ELSEWHERE_MAX);
    counts
        .into_iter()
        .map(|(fingerprint, _)| fingerprint)
        .collect()
}

/// Adds the first of each group. Texts are long, so they are read of these groups alone.
async fn add_examples(
    sources: &Sources,
    request: &ErrorsRequest,
    read: &Read,
    groups: &mut Groups,
) -> Result<(), QueryError> {
    let sql = format!(
        "SELECT fp, first.1 AS custom, first.2 AS of_type, first.3 AS text, first.4 AS frames, first.5 AS run \
         FROM (SELECT fingerprint AS fp, argMin((toString(name), type, message, frames_json, toString(release)), \
                      (hour_start, toString(store_id), epoch)) AS first \
               FROM error_group_1h FINAL WHERE {} AND fingerprint IN {{chosen:Array(String)}} GROUP BY fp) {SETTINGS}",
        filters(request, &read.view)
    );
    let chosen: Vec<String> = groups.keys().map(|one| format!("{one:016x}")).collect();
    let found: Vec<FoundExample> = sources
        .fetch(&sql, |query| {
            with_filters(query, request, &read.view).param("chosen", chosen)
        })
        .await?;
    for found in found {
        let fingerprint = u64::from_str_radix(&found.fp, 16);
        let group = fingerprint.ok().and_then(|one| groups.get_mut(&one));
        if let Some(group) = group {
            group.name = found.custom;
            group.of_release = found.run;
            group.example = Some(Example {
                type_name: found.of_type.into(),
                message: found.text.into(),
                frames_json: found.frames.into(),
            });
        }
    }
    Ok(())
}

/// How the group that is asked for is spread over a column, the most first.
pub(super) async fn parts(
    sources: &Sources,
    request: &ErrorsRequest,
    read: &Read,
    column: &'static str,
) -> Result<Vec<Part>, QueryError> {
    let sql = format!(
        "SELECT toString(of_part) AS part, sum(one) AS amount, min(hour_s) AS first_s, max(hour_s) AS last_s \
         FROM (SELECT {column} AS of_part, count AS one, toUnixTimestamp(hour_start) AS hour_s \
               FROM error_group_1h FINAL WHERE {} AND hour_start >= toDateTime({{since_s:UInt32}}, 'UTC')) \
         GROUP BY of_part ORDER BY amount DESC, part LIMIT {{limit:UInt64}} {SETTINGS}",
        filters(request, &read.view)
    );
    let found: Vec<Part> = sources
        .fetch(&sql, |query| {
            with_filters(query, request, &read.view)
                .param("since_s", request.since_s())
                .param("limit", 100 * PARTS_MAX as u64)
        })
        .await?;
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for part in found {
        parts.insert(part.part.clone(), part);
    }
    for row in &read.elsewhere {
        let (hour_s, count) = (row.key.hour_start_s, row.sums.count);
        if hour_s < request.since_s() {
            continue;
        }
        let name = if column == "release" {
            &row.key.release
        } else {
            &row.key.store_id
        };
        let part = parts.entry(name.to_string()).or_insert_with(|| Part {
            part: name.to_string(),
            amount: 0,
            first_s: hour_s,
            last_s: hour_s,
        });
        part.amount = part.amount.saturating_add(count);
        part.first_s = part.first_s.min(hour_s);
        part.last_s = part.last_s.max(hour_s);
    }
    let mut parts: Vec<Part> = parts.into_values().collect();
    // The sort keeps the order of names where nothing else decides.
    parts.sort_by_key(|part| std::cmp::Reverse(part.amount));
    parts.truncate(PARTS_MAX);
    Ok(parts)
}

fn filters(request: &ErrorsRequest, view: &View) -> String {
    let mut filters = statement::confirmed_only(view);
    filters.push_str(match request.fingerprint {
        Some(_) => " AND fingerprint = {fingerprint:String}",
        None => " AND kind = {kind:String}",
    });
    if request.release.is_some() {
        filters.push_str(" AND release = {release:String}");
    }
    if request.store_id.is_some() {
        filters.push_str(" AND store_id = {store_id:String}");
    }
    filters
}

fn with_filters(
    query: clickhouse::query::Query,
    request: &ErrorsRequest,
    view: &View,
) -> clickhouse::query::Query {
    let mut query = query
        .param("collector_id", view.collector_id.to_string())
        .param("confirmed", view.confirmed);
    query = match request.fingerprint {
        Some(fingerprint) => query.param("fingerprint", format!("{fingerprint:016x}")),
        None => query.param("kind", request.kind.name()),
    };
    if let Some(release) = &request.release {
        query = query.param("release", release);
    }
    if let Some(store_id) = &request.store_id {
        query = query.param("store_id", store_id);
    }
    query
}
