//! Lists terminals that should report and do not, those that hold sales first.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::dimension::is_identifier;

use crate::aggregate::Aggregator;
use crate::aggregate::terminals::{StoreTerminals, Terminal};
use crate::fleet::Silence;
use crate::fleet::silence::{Judged, State};
use crate::holdings::Holdings;
use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};

/// Terminals in one answer.
pub const TERMINALS_MAX: usize = 1_000;
/// Terminals in one answer if nobody says.
pub const TERMINALS_DEFAULT: usize = 100;
/// Terminals that are looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 4_096;

/// A request for silent terminals, checked.
#[derive(Debug, Clone)]
pub struct SilentRequest {
    store_id: Option<String>,
    limit: usize,
}

impl SilentRequest {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(parameters: &Parameters) -> Result<Self, QueryError> {
        let given = parameters.check(&["store_id", "limit"])?;
        let store_id = match given.get("store_id")? {
            Some(text) if is_identifier(text) => Some(text.to_owned()),
            Some(_) => return Err(bad("store_id must be 1 to 64 of A-Z a-z 0-9 _ . : -")),
            None => None,
        };
        let limit = given.number("limit", 1, TERMINALS_MAX)?;
        Ok(Self {
            store_id,
            limit: limit.unwrap_or(TERMINALS_DEFAULT),
        })
    }
}

/// Terminals that should report and do not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SilentAnswer {
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// Since when the collector has been ready without a break, Unix ms; `null`: it is not, and nobody is called silent.
    ready_since: Option<i64>,
    /// How long a terminal that should report may be silent, ms.
    silent_after_ms: u64,
    /// How many terminals were looked at.
    terminals_known: usize,
    /// How many of them should report and do not; `terminals` has at most `limit` of them.
    terminals_total: usize,
    /// The terminals, those that hold transactions first.
    terminals: Vec<Line>,
}

/// One terminal that should report and does not.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SilentTerminal")]
struct Line {
    /// The store.
    store_id: String,
    /// The terminal.
    terminal_id: String,
    /// `silent`, or `offline_as_announced`: it does not report, as it said before.
    #[schemars(extend("enum" = [State::Silent.name(), State::Announced.name()]))]
    state: &'static str,
    /// No terminal of its store reports: the store is silent, and its terminals are not counted one by one.
    is_store_silent: bool,
    /// When its last batch was received, Unix ms; `null`: it is listed, and was never heard of.
    since: Option<i64>,
    /// How long it should have reported since and did not, while the collector was ready, ms.
    missed_ms: i64,
    /// What it reported of its state last; `null`: nothing.
    last_said: Option<LastSaid>,
    /// Transactions that waited in it when it last said.
    pending_transactions: u64,
    /// The release of its last batch; empty: it was never heard of.
    release: String,
}

/// The last event by which a terminal reported of its state.
#[derive(Debug, Serialize, JsonSchema)]
struct LastSaid {
    /// The kind of the event: `offline`, `online`, `shutdown` or `battery`.
    #[schemars(extend("enum" = ["offline", "online", "shutdown", "battery"]))]
    kind: &'static str,
    /// When it happened, Unix ms.
    t: i64,
}

impl Line {
    /// A terminal that is listed and was never heard of.
    fn never(store_id: &str, terminal_id: &str, missed_ms: i64) -> Self {
        Self {
            store_id: store_id.to_owned(),
            terminal_id: terminal_id.to_owned(),
            state: State::Silent.name(),
            is_store_silent: false,
            since: None,
            missed_ms,
            last_said: None,
            pending_transactions: 0,
            release: String::new(),
        }
    }

    fn of(
        aggregator: &Aggregator,
        store_id: &str,
        terminal_id: &str,
        terminal: &Terminal,
        judged: Judged,
    ) -> Self {
        Self {
            store_id: store_id.to_owned(),
            terminal_id: terminal_id.to_owned(),
            state: judged.state.name(),
            is_store_silent: false,
            since: Some(terminal.last_seen_ms),
            missed_ms: judged.missed_ms,
            last_said: terminal.said.map(|said| LastSaid {
                kind: said.kind.name(),
                t: said.t_ms,
            }),
            pending_transactions: judged.pending,
            release: aggregator.names().1.name(terminal.release).to_string(),
        }
    }
}

/// Answers a request. Blocks: the aggregate is read a piece at a time.
///
/// # Errors
/// When the store is not known.
pub fn answer(
    holdings: &Holdings,
    request: &SilentRequest,
    silence: &Silence,
) -> Result<SilentAnswer, QueryError> {
    let (mut lines, mut known) = (Vec::new(), 0);
    let mut look = |aggregator: &Aggregator, store: &StoreTerminals| {
        let first = lines.len();
        let of_store = silence.judge_store(store, |terminal_id, terminal, judged| {
            known += usize::from(judged.state != State::Gone);
            if matches!(judged.state, State::Silent | State::Announced) {
                let store_id = store.store_id();
                lines.push(Line::of(
                    aggregator,
                    store_id,
                    terminal_id,
                    terminal,
                    judged,
                ));
            }
        });
        for (terminal_id, missed_ms) in silence.never_heard(store) {
            lines.push(Line::never(store.store_id(), terminal_id, missed_ms));
        }
        for line in lines.iter_mut().skip(first) {
            line.is_store_silent = !of_store.is_reporting;
        }
    };
    if let Some(store_id) = &request.store_id {
        let is_known = holdings.read(|aggregator| {
            let store = aggregator.terminals().of_store(store_id);
            store.map(|store| look(aggregator, store)).is_some()
        });
        if !is_known {
            return Err(QueryError::UnknownStore(store_id.clone()));
        }
    } else {
        let mut place = 0;
        holdings.read_in_pieces(|aggregator| {
            let stores = aggregator.terminals().stores();
            let mut seen = 0;
            while seen < PIECE
                && let Some(store) = stores.get(place)
            {
                look(aggregator, store);
                seen += 1 + store.len();
                place += 1;
            }
            place < stores.len()
        });
    }
    lines.sort_by(|left, right| {
        let place = |line: &Line| {
            let is_silent = line.state == State::Silent.name() && !line.is_store_silent;
            Reverse((line.pending_transactions, is_silent, line.missed_ms))
        };
        let by_name = || {
            let name = |line: &Line| (line.store_id.clone(), line.terminal_id.clone());
            name(left).cmp(&name(right))
        };
        place(left).cmp(&place(right)).then_with(by_name)
    });
    let terminals_total = lines.len();
    lines.truncate(request.limit);
    Ok(SilentAnswer {
        complete_to: silence.now_ms,
        ready_since: silence.ready.since_ms(),
        silent_after_ms: u64::try_from(silence.after.as_millis()).unwrap_or(u64::MAX),
        terminals_known: known,
        terminals_total,
        terminals: lines,
    })
}
