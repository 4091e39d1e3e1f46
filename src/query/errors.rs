//! Groups of errors: what went wrong in the fleet, since when, where, and how often.
//!
//! A group is a fingerprint: the type of the error and the functions it came from, without lines. Other kinds of events are
//! groups, too, and are asked for in the same way.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::event::OVERFLOW_FINGERPRINT;

use crate::aggregate::event_groups::terminal_hash;
use crate::holdings::Holdings;
use crate::query::error::QueryError;
use crate::query::errors_at_rest::{APART_MAX, Group, Part, elsewhere, groups, parts};
use crate::query::errors_request::ErrorsRequest;
use crate::query::percentiles::Sources;
use crate::source_maps::{Original, original_frames};

/// Terminals of a group that are named.
const NAMED_MAX: usize = 10;
/// Terminals that are looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 1_024;

/// What is said of the group of all that found no place.
const OVERFLOW_NOTE: &str = "All that found no place of their own: past 200 groups of a store in an hour, and past 20 names of custom events \
     of a release.";

/// An answer with many groups.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorsAnswer {
    /// The beginning of the hour from which on is counted, Unix ms.
    since: i64,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// Length of a point of the trends, seconds: an hour, or a day.
    step_s: u32,
    /// Whether there is no more than what `limit` leaves room for.
    is_whole: bool,
    /// The groups, as `order_by` says.
    groups: Vec<Line>,
}

/// An answer about one group.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorAnswer {
    /// The beginning of the hour from which on is counted, Unix ms.
    since: i64,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// Length of a point of the trend, seconds: an hour, or a day.
    step_s: u32,
    /// The group, with the fields that it has among many.
    #[serde(flatten)]
    group: Line,
    /// The frames of the first one, innermost first.
    #[schemars(with = "Vec<Frame>")]
    frames: Vec<Value>,
    /// The release that these frames are of.
    frames_release: String,
    /// Counts by release, the most first; at most 100.
    by_release: Vec<PartLine>,
    /// Counts by store, the most first; at most 100.
    by_store: Vec<PartLine>,
    /// Some of its terminals, of those that the collector knows still.
    some_terminals: Vec<TerminalName>,
}

/// A frame of an error, as it is kept, and where it was in the sources.
#[derive(JsonSchema)]
#[schemars(rename = "ErrorFrame")]
#[expect(
    dead_code,
    reason = "says in the OpenAPI document what `ErrorAnswer::frames` holds"
)]
struct Frame {
    /// The name of the function; empty: it has none.
    #[schemars(rename = "fn")]
    function: String,
    /// The name of its script.
    module: String,
    /// The line in the script, from 1.
    #[schemars(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// The column in the line, from 1.
    #[schemars(skip_serializing_if = "Option::is_none")]
    col: Option<u32>,
    /// Where it was in the sources, if the release's source maps lead to it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    original: Option<Original<'static>>,
}

/// A group of errors, or of other events.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErrorGroup")]
struct Line {
    /// What tells the group from others: 16 hexadecimal digits.
    fingerprint: String,
    /// The name of a custom event.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// The type of the error; empty for other kinds of events.
    #[serde(rename = "type")]
    type_name: String,
    /// The message of the first one, scrubbed.
    message: String,
    /// Of the group of all that found no place of their own: that it is this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    /// How often it happened since then.
    count: u64,
    /// How often of these the application could not go on.
    fatal: u64,
    /// Start of the first hour, also before `since`, as far as rows are kept, Unix ms.
    first_seen: i64,
    /// Start of the last hour, Unix ms.
    last_seen: i64,
    /// In how many stores.
    stores: usize,
    /// On how many terminals.
    terminals: usize,
    /// Whether there may be more stores or terminals than are told apart.
    are_more: bool,
    /// Releases that report it.
    releases: Vec<String>,
    /// Counts by hour or day, the earliest first, without points in which nothing happened.
    trend: Vec<Point>,
}

/// One point of a trend.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErrorTrendPoint")]
struct Point {
    /// When the point begins, Unix ms.
    t: i64,
    /// How often it happened.
    count: u64,
}

/// The part that a release or a store has in a group: one of the two is named.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErrorPart")]
struct PartLine {
    /// The release.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// The store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
    /// How often it happened there.
    count: u64,
    /// Start of the first hour in the range, Unix ms.
    first_seen: i64,
    /// Start of the last hour in the range, Unix ms.
    last_seen: i64,
}

/// A terminal, by its names.
#[derive(Debug, Serialize, JsonSchema)]
struct TerminalName {
    /// The store.
    store_id: String,
    /// The terminal.
    terminal_id: String,
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000
}

impl Line {
    fn of(fingerprint: Fingerprint, group: Group) -> Self {
        let example = group.example.unwrap_or_default();
        let (stores, terminals) = (group.stores.len(), group.terminals.len());
        Self {
            fingerprint: format!("{fingerprint:016x}"),
            name: group.name,
            type_name: example.type_name.into(),
            message: example.message.into(),
            note: (fingerprint == OVERFLOW_FINGERPRINT).then_some(OVERFLOW_NOTE),
            count: group.count,
            fatal: group.fatal,
            first_seen: millis(group.first_s),
            last_seen: millis(group.last_s),
            stores: stores.min(APART_MAX),
            terminals: terminals.min(APART_MAX),
            are_more: stores > APART_MAX || terminals > APART_MAX || group.is_wide,
            releases: group.releases.into_iter().collect(),
            trend: group
                .trend
                .into_iter()
                .map(|(start_s, count)| Point {
                    t: millis(start_s),
                    count,
                })
                .collect(),
        }
    }
}

/// Answers a request for groups, when `position` was the last durable one.
///
/// # Errors
/// When ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    request: ErrorsRequest,
    position: u64,
) -> Result<ErrorsAnswer, QueryError> {
    let request = Arc::new(request);
    let read = elsewhere(sources, &request, position).await?;
    let found = groups(sources, &request, &read).await?;
    let mut found: Vec<(Fingerprint, Group)> = found.into_iter().collect();
    // The sort keeps the order of fingerprints where nothing else decides.
    found.sort_by_key(|(_, group)| Reverse(group.rank(request.order)));
    let is_whole = found.len() <= request.limit;
    found.truncate(request.limit);
    Ok(ErrorsAnswer {
        since: request.since_ms,
        complete_to: request.now_ms,
        step_s: request.step_s(),
        is_whole,
        groups: found
            .into_iter()
            .map(|(fingerprint, group)| Line::of(fingerprint, group))
            .collect(),
    })
}

/// Answers a request for one group, when `position` was the last durable one.
///
/// # Errors
/// When nothing is known of the group, or ClickHouse or the state file do not answer.
pub async fn answer_one(
    sources: &Sources,
    request: ErrorsRequest,
    position: u64,
) -> Result<ErrorAnswer, QueryError> {
    let request = Arc::new(request);
    let fingerprint = request.fingerprint.unwrap_or_default();
    let read = elsewhere(sources, &request, position).await?;
    let mut found = groups(sources, &request, &read).await?;
    let group = found.remove(&fingerprint).filter(|group| group.last_s > 0);
    let group = group.ok_or_else(|| QueryError::UnknownError(format!("{fingerprint:016x}")))?;
    let by_release = parts(sources, &request, &read, "release").await?;
    let by_store = parts(sources, &request, &read, "store_id").await?;
    let (holdings, hashes) = (Arc::clone(&sources.holdings), group.terminals.clone());
    let named = move || named_terminals(&holdings, &hashes);
    let some_terminals = sources.jobs.run(named).await;
    let frames_json = group
        .example
        .as_ref()
        .map(|example| example.frames_json.clone());
    let frames = frames_json.and_then(|json| serde_json::from_str::<Vec<Value>>(&json).ok());
    let (maps, release) = (sources.source_maps.clone(), group.of_release.clone());
    let looked_up = move || {
        let mut frames = frames.unwrap_or_default();
        original_frames(&maps, &release, &mut frames);
        frames
    };
    let frames = sources.jobs.run(looked_up).await;
    let frames_release = group.of_release.clone();
    let part = |part: Part, is_release: bool| PartLine {
        release: is_release.then(|| part.part.clone()),
        store_id: (!is_release).then_some(part.part),
        count: part.amount,
        first_seen: millis(part.first_s),
        last_seen: millis(part.last_s),
    };
    Ok(ErrorAnswer {
        since: request.since_ms,
        complete_to: request.now_ms,
        step_s: request.step_s(),
        group: Line::of(fingerprint, group),
        frames,
        frames_release,
        by_release: by_release.into_iter().map(|one| part(one, true)).collect(),
        by_store: by_store.into_iter().map(|one| part(one, false)).collect(),
        some_terminals,
    })
}

/// Some of the terminals with these hashes. Blocks: the aggregate is read a piece at a time.
fn named_terminals(holdings: &Holdings, hashes: &HashSet<u64>) -> Vec<TerminalName> {
    let (mut names, mut place) = (Vec::new(), 0);
    holdings.read_in_pieces(|aggregator| {
        let stores = aggregator.terminals().stores();
        let mut seen = 0;
        while seen < PIECE
            && names.len() < NAMED_MAX
            && let Some(store) = stores.get(place)
        {
            for (terminal_id, _) in store.iter() {
                if names.len() < NAMED_MAX
                    && hashes.contains(&terminal_hash(store.store_id(), terminal_id))
                {
                    names.push(TerminalName {
                        store_id: store.store_id().to_string(),
                        terminal_id: terminal_id.to_owned(),
                    });
                }
            }
            seen += 1 + store.len();
            place += 1;
        }
        names.len() < NAMED_MAX && place < stores.len()
    });
    names
}
