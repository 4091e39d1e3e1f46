//! The ledger of losses: what is missing, what was missing and has come, what terminals dropped, what is lost.
//!
//! What is missing still is read from the windows of the queues. What has ended is read from the table `loss` and from
//! the rows that are not there yet.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::time::DAY_MS;
use tillwatch_model::{LossRow, LossState};
use uuid::Uuid;

use crate::aggregate::Aggregator;
use crate::persist::{SideTable, StateError, side_tables};
use crate::query::error::QueryError;
use crate::query::losses_at_rest::{Found, fetch, fetch_days};
use crate::query::losses_open::Look;
use crate::query::losses_request::{LossesRequest, OPEN, states};
use crate::query::percentiles::Sources;

/// The ledger of losses.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LossesAnswer {
    /// The first millisecond of the range, Unix ms.
    from: i64,
    /// The first millisecond after the range, Unix ms.
    to: i64,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// The totals in a sentence.
    statement: String,
    /// The batches that terminals have numbered.
    totals: Totals,
    /// What ended on each day of the range, oldest first.
    days: Vec<Day>,
    /// Whether there is no more than what `limit` leaves room for.
    is_whole: bool,
    /// First what is open, the oldest first, then what ended, the latest first.
    losses: Vec<Line>,
}

/// Batches that terminals have numbered, since the store's series began.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
#[schemars(rename = "LossTotals")]
pub(super) struct Totals {
    /// All of them.
    pub(super) numbered: u64,
    /// Those that came, without batches that have an idempotency key instead of a number.
    pub(super) received: u64,
    /// Missing, and may still come.
    pub(super) open: u64,
    /// Missing, and given up.
    pub(super) lost: u64,
    /// Dropped by their terminals, which said so.
    pub(super) explained: u64,
}

impl Totals {
    fn statement(&self) -> String {
        format!(
            "Of {} batches numbered by terminals, {} were received, {} are missing and may still come, {} are lost, and \
             {} were dropped by their terminals, which said so.",
            self.numbered, self.received, self.open, self.lost, self.explained
        )
    }
}

/// What ended on one day.
#[derive(Debug, Default, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "LossDay")]
struct Day {
    /// Start of the day, UTC, Unix ms.
    day: i64,
    /// Batches that were missing and came.
    closed_batches: u64,
    /// Batches that terminals named as dropped.
    explained_batches: u64,
    /// Samples that terminals named as dropped.
    explained_samples: u64,
    /// Batches that were given up.
    lost_batches: u64,
    /// About how many samples these held.
    lost_samples_about: u64,
}

impl Day {
    fn add(&mut self, state: LossState, batches: u64, samples: u64) {
        match state {
            LossState::Closed => self.closed_batches += batches,
            LossState::Explained => {
                self.explained_batches += batches;
                self.explained_samples += samples;
            }
            LossState::Lost | LossState::Later => {
                self.lost_batches += batches;
                self.lost_samples_about += samples;
            }
        }
    }
}

/// One gap in the numbers of a queue, or what a terminal said it had to drop.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Loss")]
pub(super) struct Line {
    /// The store.
    pub(super) store_id: String,
    /// The terminal.
    pub(super) terminal_id: String,
    /// The terminal's queue; `null`: what was dropped never had a number.
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub(super) queue: Option<Uuid>,
    /// The first number; `null`: what was dropped never had one.
    pub(super) from_seq: Option<u64>,
    /// The last number; `null`: what was dropped never had one.
    pub(super) to_seq: Option<u64>,
    /// Of the numbers from the first to the last, so many.
    pub(super) batches: u64,
    /// `open`, `closed`, `explained` or `lost`; `__unknown__`: a later release has written it.
    #[schemars(extend("enum" = answered_states()))]
    pub(super) state: &'static str,
    /// Of what is explained the reason that the terminal gave; of what is lost why it was given up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    /// How many samples they held: of what is explained as the terminal said, else about.
    pub(super) samples: u64,
    /// Since when they were missing, or when they were dropped, Unix ms.
    pub(super) opened_at: i64,
    /// When they came, or were explained or given up, Unix ms; `null`: they are missing still.
    pub(super) ended_at: Option<i64>,
    /// Of what is open: until when they may still come, Unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) may_come_until: Option<i64>,
}

impl Line {
    fn of(row: LossRow) -> Self {
        let is_numbered = row.queue != [0; 16];
        Self {
            store_id: row.store_id.into(),
            terminal_id: row.terminal_id.into(),
            queue: is_numbered.then(|| Uuid::from_bytes(row.queue)),
            from_seq: is_numbered.then_some(row.from),
            to_seq: is_numbered.then_some(row.to),
            batches: row.batches,
            state: row.state.name(),
            reason: row.reason.into(),
            samples: row.samples,
            opened_at: row.opened_at_ms,
            ended_at: Some(i64::from(row.ended_at_s) * 1_000),
            may_come_until: None,
        }
    }
}

/// What is put together for an answer.
#[derive(Debug, Default)]
struct Ledger {
    days: BTreeMap<i64, Day>,
    ended: Vec<LossRow>,
}

impl Ledger {
    fn add(&mut self, request: &LossesRequest, rows: impl IntoIterator<Item = LossRow>) {
        for row in rows {
            if !request.wants(&row.store_id, row.ended_at_s) {
                continue;
            }
            let day = (i64::from(row.ended_at_s) * 1_000).div_euclid(DAY_MS) * DAY_MS;
            let of_day = self.days.entry(day).or_default();
            of_day.add(row.state, row.batches, row.samples);
            if request.wants_state(row.state.name()) {
                self.ended.push(row);
            }
        }
    }

    fn add_encoded(&mut self, request: &LossesRequest, bytes: &[u8]) -> Result<(), StateError> {
        let wants = |store_id: &str, ended_at_s: u32| request.wants(store_id, ended_at_s);
        let rows = side_tables::decode_losses(bytes, wants);
        self.add(request, rows.ok_or(StateError::Damaged("outbox row"))?);
        Ok(())
    }
}

/// Answers a request, when `position` was the last durable one.
///
/// # Errors
/// When the store is unknown, or ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    request: &LossesRequest,
    position: u64,
) -> Result<LossesAnswer, QueryError> {
    let request = Arc::new(request.clone());
    let view = sources
        .holdings
        .view_of(position, Aggregator::open_losses)
        .await;
    let (open, view) = view.split();
    let mut ledger = Ledger::default();
    for found in fetch_days(sources, &request, &view).await? {
        let day = ledger.days.entry(i64::from(found.day_s) * 1_000);
        let state = LossState::of_name(&found.what);
        day.or_default().add(state, found.amount, found.about);
    }
    let at_rest = if request.wants_state(OPEN) && request.state.is_some() {
        Vec::new()
    } else {
        fetch(sources, &request, &view).await?
    };
    ledger.ended.extend(at_rest.into_iter().map(Found::row));
    for info in view.waiting() {
        if !info.sides.contains_key(&SideTable::Loss) {
            continue;
        }
        let (info, state) = (Arc::clone(info), Arc::clone(&sources.state));
        let asked = Arc::clone(&request);
        let add_waiting = move || {
            let bytes = state.waiting_rows(&info, Some(SideTable::Loss))?;
            ledger.add_encoded(&asked, &bytes.unwrap_or_default())?;
            Ok::<_, StateError>(ledger)
        };
        ledger = sources.jobs.run(add_waiting).await?;
    }
    let holdings = Arc::clone(&sources.holdings);
    let put_together = move || {
        if let Some(sealing) = &view.sealing {
            ledger.add_encoded(&request, sealing.side_bytes(SideTable::Loss))?;
        }
        ledger.add(&request, open.into_rows());
        let mut look = Look::new(&request);
        holdings.read_in_pieces(|aggregator| look.take(aggregator));
        let is_nothing = !look.is_known && ledger.days.is_empty() && ledger.ended.is_empty();
        if let Some(store_id) = request.store_id.as_ref().filter(|_| is_nothing) {
            return Err(QueryError::UnknownStore(store_id.clone()));
        }
        Ok(finish(&request, ledger, look))
    };
    sources.jobs.run(put_together).await
}

/// The states that an answer may have: those that can be asked for, and what stands for those of a later release.
fn answered_states() -> Vec<&'static str> {
    let mut words = states();
    words.push(LossState::Later.name());
    words
}

fn finish(request: &LossesRequest, mut ledger: Ledger, look: Look<'_>) -> LossesAnswer {
    let mut open = look.open;
    open.sort_by(|left, right| {
        let place = |line: &Line| (line.opened_at, line.from_seq);
        place(left).cmp(&place(right))
    });
    let place = |row: &LossRow| (Reverse(row.ended_at_s), row.from);
    ledger
        .ended
        .sort_by(|left, right| place(left).cmp(&place(right)).then_with(|| left.cmp(right)));
    let total = open.len() + ledger.ended.len();
    let losses = open
        .into_iter()
        .chain(ledger.ended.into_iter().map(Line::of));
    LossesAnswer {
        from: request.from_ms,
        to: request.to_ms,
        complete_to: request.now_ms,
        statement: look.totals.statement(),
        totals: look.totals,
        days: ledger
            .days
            .into_iter()
            .map(|(day, sums)| Day { day, ..sums })
            .collect(),
        is_whole: total <= request.limit && look.is_whole,
        losses: losses.take(request.limit).collect(),
    }
}
