//! Who has made as many rows in ClickHouse as it may this hour: what is old in its batches waits for the next hour.
//!
//! The aggregate counts the rows and says who is over; see `aggregate/row_quota.rs`. Until somebody is, a batch
//! costs one look at a number here. What was just measured is never held back, because it makes few rows, and a store
//! that is held back must not look as if it were silent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use hashbrown::HashMap;
use tillwatch_model::time::HOUR_MS;

use crate::self_metrics as names;
use crate::throttle::Throttle;

/// Terminals of one store that are held back by name. With more, the whole store soon is.
const TERMINALS_MAX: usize = 1_000;
/// Stores with a name of their own that can be held back at once.
const STORES_MAX: usize = 10_000;

static HELD_BACK: Throttle = Throttle::new("stores that have made as many rows as they may");

/// What is short, as the metrics of shares name it.
pub const WHAT: &str = "rows";

/// The hour of nobody.
const NO_HOUR: i64 = i64::MIN;

type Names<T> = HashMap<Box<str>, T, foldhash::fast::RandomState>;

/// Those whose batches wait.
#[derive(Debug)]
pub struct HeldBack {
    /// The hour (since 1970) for which the names hold.
    hour: AtomicI64,
    names: RwLock<HeldNames>,
    refused: metrics::Counter,
}

#[derive(Debug, Default)]
struct HeldNames {
    stores: Names<Held>,
    /// If stores without a name are held back: the stores that have one.
    named: Option<HashSet<Arc<str>>>,
}

#[derive(Debug)]
enum Held {
    Terminals(Names<()>),
    Whole,
}

impl Default for HeldBack {
    fn default() -> Self {
        Self {
            hour: AtomicI64::new(NO_HOUR),
            names: RwLock::default(),
            refused: metrics::counter!(names::SHARE_REFUSED, "what" => WHAT),
        }
    }
}

impl HeldBack {
    /// Holds a terminal of a store back until the hour is over, or, without a terminal, the whole store.
    pub fn note(&self, store_id: &str, terminal_id: Option<&str>, hour: i64, store_rows: usize) {
        let mut held = self.of_hour(hour);
        let stores = &mut held.stores;
        if !stores.contains_key(store_id) && stores.len() >= STORES_MAX {
            return;
        }
        let held = stores
            .entry(store_id.into())
            .or_insert_with(|| Held::Terminals(Names::default()));
        let is_new = match (&mut *held, terminal_id) {
            (Held::Whole, _) => false,
            (Held::Terminals(terminals), Some(terminal_id)) => {
                terminals.len() < TERMINALS_MAX
                    && terminals.insert(terminal_id.into(), ()).is_none()
            }
            (Held::Terminals(_), None) => {
                *held = Held::Whole;
                true
            }
        };
        if is_new && let Some(suppressed) = HELD_BACK.pass() {
            tracing::warn!(
                store_id,
                terminal_id = terminal_id.unwrap_or("all"),
                store_rows,
                suppressed,
                "a store has made as many rows as it may in an hour (store_rows_per_hour): what is old in the batches of this \
                 terminal is answered 429 until the hour is over"
            );
        }
    }

    /// Holds all stores back that have no name of their own: all but `named`.
    pub fn note_unnamed(&self, named: Vec<Arc<str>>, hour: i64, rows: usize) {
        self.of_hour(hour).named = Some(named.into_iter().collect());
        tracing::warn!(
            rows,
            "stores without a name of their own (__overflow__) have together made as many rows as one store may in an hour \
             (store_rows_per_hour): what is old in their batches is answered 429 until the hour is over"
        );
    }

    /// How long what is old in a batch of a terminal has to wait; `None`: not at all.
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
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let is_held = match names.stores.get(store_id) {
            Some(Held::Whole) => true,
            Some(Held::Terminals(terminals)) => terminals.contains_key(terminal_id),
            None => {
                let named = names.named.as_ref();
                named.is_some_and(|named| !named.contains(store_id))
            }
        };
        is_held.then(|| (HOUR_MS - now_ms.rem_euclid(HOUR_MS)).unsigned_abs())
    }

    /// Counts a batch that was told to wait.
    pub fn refuse(&self) {
        self.refused.increment(1);
    }

    /// Forgets whom another hour held back: it is over, or a clock was put right.
    pub fn forget(&self, now_ms: i64) {
        let hour = self.hour.load(Ordering::Relaxed);
        if hour != NO_HOUR && hour != now_ms.div_euclid(HOUR_MS) {
            drop(self.of_hour(NO_HOUR));
        }
    }

    /// The names of an hour. Those of another one are dropped.
    fn of_hour(&self, hour: i64) -> RwLockWriteGuard<'_, HeldNames> {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if self.hour.swap(hour, Ordering::Relaxed) == hour {
            return names;
        }
        let others = std::mem::take(&mut *names);
        drop(names);
        // Nobody waits while they are freed.
        drop(others);
        self.names.write().unwrap_or_else(PoisonError::into_inner)
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
        held.forget(at(59));
        assert!(held.wait_ms("s", "u", at(59)).is_some());
        // The clock was ahead, and is put right: nobody waits when that hour comes.
        held.forget(at(-60));
        assert_eq!(held.wait_ms("s", "u", at(59)), None);
    }

    #[test]
    fn stores_without_a_name_wait_together_whatever_they_are_called() {
        let held = HeldBack::default();
        held.note_unnamed(vec!["s".into()], HOUR, 1);
        assert!(held.wait_ms("invented", "t", at(1)).is_some());
        assert!(held.wait_ms("another", "t", at(1)).is_some());
        assert_eq!(held.wait_ms("s", "t", at(1)), None);
        held.note("s", Some("t"), HOUR, 1);
        assert!(held.wait_ms("s", "t", at(1)).is_some());
        assert_eq!(held.wait_ms("s", "u", at(1)), None);
    }

    #[test]
    fn an_hour_begins_without_anybody_and_names_are_bounded() {
        let held = HeldBack::default();
        held.note("s", Some("t"), HOUR, 1);
        held.note("r", Some("t"), HOUR + 1, 1);
        assert_eq!(held.wait_ms("s", "t", at(61)), None);
        assert!(held.wait_ms("r", "t", at(61)).is_some());
        for terminal in 0..2 * TERMINALS_MAX {
            held.note("r", Some(&format!("t-{terminal}")), HOUR + 1, 1);
        }
        for store in 0..2 * STORES_MAX {
            held.note(&format!("s-{store}"), None, HOUR + 1, 1);
        }
        let names = held.names.read().unwrap();
        assert_eq!(names.stores.len(), STORES_MAX);
        let Some(Held::Terminals(terminals)) = names.stores.get("r") else {
            panic!("{:?}", names.stores.get("r"));
        };
        assert_eq!(terminals.len(), TERMINALS_MAX);
    }
}
