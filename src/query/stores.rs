//! Lists the known stores by name, some at a time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::dimension::is_identifier;

use crate::aggregate::terminals::StoreTerminals;
use crate::fleet::silence::REPORTING_MS;
use crate::holdings::Holdings;
use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};

/// Stores in one answer: as many as have series by default.
pub const STORES_MAX: usize = 5_000;
/// Stores, or terminals, that are looked at while the aggregate waits.
const PIECE: usize = 4_096;

/// A request for stores, checked.
#[derive(Debug, Clone)]
pub struct StoresRequest {
    /// Only stores behind this one.
    after: String,
    limit: usize,
}

impl StoresRequest {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(parameters: &Parameters) -> Result<Self, QueryError> {
        let given = parameters.check(&["limit", "after"])?;
        let limit = given.number("limit", 1, STORES_MAX)?;
        // An empty one stands before all names: whoever turns pages may begin with it.
        let after = given.text("after").unwrap_or_default();
        if !after.is_empty() && !is_identifier(after) {
            return Err(bad(
                "after must be a store's name: 1 to 64 of A-Z a-z 0-9 _ . : -",
            ));
        }
        Ok(Self {
            after: after.to_owned(),
            limit: limit.unwrap_or(STORES_MAX),
        })
    }
}

/// The stores that are known, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoresAnswer {
    /// The stores, by name.
    stores: Vec<StoreLine>,
    /// How many stores are known.
    total: usize,
    /// What to give as `after` for those that follow; `null`: none do.
    next: Option<String>,
}

/// One store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Store")]
struct StoreLine {
    /// The store.
    store_id: String,
    /// When the last batch of any of its terminals was received, Unix ms.
    last_report_ms: i64,
    /// How many terminals are known.
    terminals: usize,
    /// How many of them posted within ten minutes.
    terminals_reporting: usize,
}

impl StoreLine {
    fn of(store: &StoreTerminals, now_ms: i64) -> Self {
        let active = store.iter().map(|(_, terminal)| terminal);
        let seen = active
            .filter(|terminal| !terminal.is_retired)
            .map(|terminal| terminal.last_seen_ms);
        let (mut last_report_ms, mut terminals_reporting) = (0, 0);
        for seen_ms in seen {
            last_report_ms = seen_ms.max(last_report_ms);
            terminals_reporting += usize::from(now_ms - seen_ms <= REPORTING_MS);
        }
        Self {
            store_id: store.store_id().to_string(),
            last_report_ms,
            terminals: store.active(),
            terminals_reporting,
        }
    }
}

/// Answers a request, as of `now_ms`. Blocks: the aggregate is read a piece at a time.
#[must_use]
pub fn answer(holdings: &Holdings, request: &StoresRequest, now_ms: i64) -> StoresAnswer {
    let (mut names, mut place, mut total) = (Vec::new(), 0, 0);
    holdings.read_in_pieces(|aggregator| {
        let stores = aggregator.terminals().stores();
        let piece = stores.iter().skip(place).take(PIECE);
        for store in piece.filter(|store| store.active() > 0) {
            total += 1;
            if **store.store_id() > *request.after {
                names.push(Arc::clone(store.store_id()));
            }
        }
        place += PIECE;
        place < stores.len()
    });
    let has_more = names.len() > request.limit;
    if has_more {
        names.select_nth_unstable(request.limit);
        names.truncate(request.limit);
    }
    names.sort_unstable();
    let next = names.last().filter(|_| has_more);
    let next = next.map(|name: &Arc<str>| name.to_string());
    let mut stores = Vec::with_capacity(names.len());
    let mut names = names.into_iter().peekable();
    holdings.read_in_pieces(|aggregator| {
        let mut seen = 0;
        while seen < PIECE
            && let Some(name) = names.next()
        {
            // The store may have been retired since.
            let store = aggregator.terminals().of_store(&name);
            if let Some(store) = store.filter(|store| store.active() > 0) {
                seen += 1 + store.len();
                stores.push(StoreLine::of(store, now_ms));
            }
        }
        names.peek().is_some()
    });
    StoresAnswer {
        stores,
        total,
        next,
    }
}
