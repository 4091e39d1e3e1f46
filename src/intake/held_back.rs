//! Who has made as many rows in ClickHouse as it may this hour: fresh batches wait for the next hour.
//!
//! The aggregate counts the rows and says who is over; see `aggregate/row_quota.rs`. Until somebody is, a batch
//! costs one look at a number here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tillwatch_model::time::HOUR_MS;

use crate::self_metrics as names;
use crate::throttle::Throttle;

/// Terminals of one store that are held back by name; with more, the whole store is.
const TERMINALS_MAX: usize = 1_000;
/// Stores that can be held back at once.
const STORES_MAX: usize = 10_000;

static HELD_BACK: Throttle = Throttle::new("stores that have made as many rows as they may");

/// Those whose batches wait.
#[derive(Debug)]
pub struct HeldBack {
    /// The hour (since 1970) for which the names hold; one that nobody lives in: none is noted.
    hour: AtomicI64,
    stores: Mutex<HashMap<Box<str>, Held>>,
    refused: metrics::Counter,
}

#[derive(Debug)]
enum Held {
    Terminals(HashSet<Box<str>>),
    Whole,
}

/// What is short, as the metrics of shares name it.
pub const WHAT: &str = "rows";

impl Default for HeldBack {
    fn default() -> Self {
        Self {
            hour: AtomicI64::new(i64::MIN),
            stores: Mutex::default(),
            refused: metrics::counter!(names::SHARE_REFUSED, "what" => WHAT),
        }
    }
}

impl HeldBack {
    /// Holds a terminal of a store back until the hour is over, or, without a terminal, the whole store.
    pub fn note(&self, store_id: &str, terminal_id: Option<&str>, hour: i64, store_rows: usize) {
        let mut stores = self.lock();
        if self.hour.swap(hour, Ordering::Relaxed) != hour {
            stores.clear();
        }
        if !stores.contains_key(store_id) && stores.len() >= STORES_MAX {
            return;
        }
        let held = stores
            .entry(store_id.into())
            .or_insert_with(|| Held::Terminals(HashSet::new()));
        let is_new = match (&mut *held, terminal_id) {
            (Held::Whole, _) => false,
            (Held::Terminals(terminals), Some(terminal_id)) if terminals.len() < TERMINALS_MAX => {
                terminals.insert(terminal_id.into())
            }
            (Held::Terminals(_), _) => {
                *held = Held::Whole;
                true
            }
        };
        drop(stores);
        if is_new && let Some(suppressed) = HELD_BACK.pass() {
            tracing::warn!(
                store_id,
                terminal_id = terminal_id.unwrap_or("all"),
                store_rows,
                suppressed,
                "a store has made as many rows as it may in an hour (store_rows_per_hour): batches of this terminal are answered 429 \
                 until the hour is over"
            );
        }
    }

    /// How long a batch of a terminal has to wait; `None`: not at all.
    #[inline]
    pub fn wait_ms(&self, store_id: &str, terminal_id: &str, now_ms: i64) -> Option<u64> {
        let hour = now_ms.div_euclid(HOUR_MS);
        if self.hour.load(Ordering::Relaxed) != hour {
            return None;
        }
        self.held_ms(store_id, terminal_id, now_ms)
    }

    #[cold]
    fn held_ms(&self, store_id: &str, terminal_id: &str, now_ms: i64) -> Option<u64> {
        let is_held = match self.lock().get(store_id)? {
            Held::Whole => true,
            Held::Terminals(terminals) => terminals.contains(terminal_id),
        };
        is_held.then(|| {
            self.refused.increment(1);
            (HOUR_MS - now_ms.rem_euclid(HOUR_MS)).unsigned_abs()
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Held>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 498_683;

    fn at(minute: i64) -> i64 {
        HOUR * HOUR_MS + minute * 60_000
    }

    #[test]
    fn a_terminal_waits_until_its_hour_is_over_and_nobody_else_does() {
        let held = HeldBack::default();
        assert_eq!(held.wait_ms("s", "t", at(0)), None);
        held.note("s", Some("t"), HOUR, 1);
        assert_eq!(held.wait_ms("s", "t", at(45)), Some(15 * 60_000));
        assert_eq!(held.wait_ms("s", "u", at(45)), None);
        assert_eq!(held.wait_ms("r", "t", at(45)), None);
        assert_eq!(held.wait_ms("s", "t", at(60)), None, "the next hour");
        held.note("s", None, HOUR, 1);
        assert_eq!(held.wait_ms("s", "u", at(59)), Some(60_000));
    }

    #[test]
    fn a_new_hour_begins_without_anybody_and_a_flood_of_names_holds_back_the_store() {
        let held = HeldBack::default();
        held.note("s", Some("t"), HOUR, 1);
        held.note("r", Some("t"), HOUR + 1, 1);
        assert_eq!(held.wait_ms("s", "t", at(61)), None);
        assert!(held.wait_ms("r", "t", at(61)).is_some());
        for terminal in 0..=TERMINALS_MAX {
            held.note("r", Some(&format!("t-{terminal}")), HOUR + 1, 1);
        }
        assert!(held.wait_ms("r", "another", at(61)).is_some());
        for store in 0..2 * STORES_MAX {
            held.note(&format!("s-{store}"), None, HOUR + 1, 1);
        }
        assert_eq!(held.lock().len(), STORES_MAX);
    }
}
