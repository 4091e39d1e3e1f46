//! What changed: stores that came into trouble or out of it, and words on rollouts.
//!
//! A store must be in its new state for 45 s, so that one which goes back and forth around a limit is not told of each time.

use std::collections::{HashMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::live::row::{Row, State};

/// Changes that are kept.
pub const CHANGES_MAX: usize = 200;
/// How long a store must be in its new state. Unit: ms.
const HELD_MS: i64 = 45_000;

/// What changed, as it is kept and sent.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it was told, Unix ms.
    pub t_ms: i64,
    /// The store, and the state that it came into; empty for a word on a rollout.
    pub store_id: String,
    /// The state by its name.
    pub to: String,
    /// All that is told, as JSON.
    pub json: Box<RawValue>,
}

/// A store that came into trouble or out of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreChange")]
pub struct OfStore<'a> {
    /// When it was told, Unix ms.
    t: i64,
    #[schemars(extend("const" = "store"))]
    kind: &'static str,
    /// The store.
    store_id: &'a str,
    /// How it was.
    from: State,
    /// How it is.
    to: State,
    /// What is past its limits, the worst first.
    why: &'a [crate::live::row::Why],
}

/// A word on a rollout.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ReleaseChange")]
pub struct OfRelease {
    /// When it was said, Unix ms.
    pub t: i64,
    #[schemars(extend("const" = "release"))]
    kind: &'static str,
    /// The release.
    pub release: String,
    /// The word.
    pub verdict: String,
    /// Percent of the stores.
    pub step_percent: u32,
    /// Why it was said.
    pub occasion: &'static str,
}

impl OfRelease {
    /// A word on a rollout.
    #[must_use]
    pub fn new(
        t: i64,
        release: String,
        verdict: String,
        step_percent: u32,
        occasion: &'static str,
    ) -> Self {
        Self {
            t,
            kind: "release",
            release,
            verdict,
            step_percent,
            occasion,
        }
    }
}

/// Whether a store is in a state that people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Critical,
    Silent,
}

impl Trouble {
    fn of(state: State) -> Self {
        match state {
            State::Critical => Self::Critical,
            State::Silent => Self::Silent,
            State::Warning | State::Fine | State::Quiet => Self::None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Told {
    state: State,
    /// Since when the store has been in other trouble than was told.
    other_since_ms: Option<(Trouble, i64)>,
}

/// The last changes, and what was told of each store.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The latest first.
    kept: VecDeque<Change>,
    told: HashMap<String, Told>,
}

impl Changes {
    /// Goes on with what was kept, the latest first.
    pub(super) fn restored(kept: Vec<Change>) -> Self {
        let mut told = HashMap::new();
        for change in kept.iter().filter(|change| !change.store_id.is_empty()) {
            let state = serde_json::from_value(serde_json::Value::from(&*change.to));
            told.entry(change.store_id.clone()).or_insert(Told {
                state: state.unwrap_or(State::Fine),
                other_since_ms: None,
            });
        }
        Self {
            kept: kept.into(),
            told,
        }
    }

    /// Notes how a store is now; says what is to be told.
    pub(super) fn look(&mut self, row: &Row, now_ms: i64) -> Option<Change> {
        let Some(told) = self.told.get_mut(&row.store_id) else {
            // Of a store that is seen for the first time it is told only that it is in trouble.
            let state = if Trouble::of(row.state) == Trouble::None {
                row.state
            } else {
                State::Quiet
            };
            let mut told = Told {
                state,
                other_since_ms: None,
            };
            if state != row.state {
                told.other_since_ms = Some((Trouble::of(row.state), now_ms));
            }
            self.told.insert(row.store_id.clone(), told);
            return None;
        };
        let trouble = Trouble::of(row.state);
        // A store ends its silence by a report: after a start nobody is called silent for a while.
        let is_still_silent =
            told.state == State::Silent && trouble == Trouble::None && row.values.reporting == 0;
        if trouble == Trouble::of(told.state) || is_still_silent {
            told.other_since_ms = None;
            return None;
        }
        let since_ms = match told.other_since_ms {
            Some((same, since_ms)) if same == trouble => since_ms,
            _ => now_ms,
        };
        told.other_since_ms = Some((trouble, since_ms));
        if now_ms - since_ms < HELD_MS {
            return None;
        }
        let of_store = OfStore {
            t: now_ms,
            kind: "store",
            store_id: &row.store_id,
            from: told.state,
            to: row.state,
            why: &row.why,
        };
        let to = serde_json::to_value(row.state).ok()?;
        let change = Change {
            t_ms: now_ms,
            store_id: row.store_id.clone(),
            to: to.as_str()?.to_owned(),
            json: serde_json::value::to_raw_value(&of_store).ok()?,
        };
        *told = Told {
            state: row.state,
            other_since_ms: None,
        };
        self.keep(change.clone());
        Some(change)
    }

    /// Notes a word on a rollout.
    pub(super) fn tell(&mut self, of_release: &OfRelease) -> Option<Change> {
        let change = Change {
            t_ms: of_release.t,
            store_id: String::new(),
            to: String::new(),
            json: serde_json::value::to_raw_value(of_release).ok()?,
        };
        self.keep(change.clone());
        Some(change)
    }

    /// A store is not known any more.
    pub(super) fn forget(&mut self, store_id: &str) {
        self.told.remove(store_id);
    }

    fn keep(&mut self, change: Change) {
        self.kept.push_front(change);
        self.kept.truncate(CHANGES_MAX);
    }

    /// The latest ones, the latest first.
    pub(super) fn latest(&self, limit: usize) -> ChangesAnswer {
        let latest = self.kept.iter().take(limit);
        ChangesAnswer {
            changes: latest.map(|change| change.json.clone()).collect(),
        }
    }
}

/// What changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnyChange {
    /// Of a store.
    Store(OfStore<'static>),
    /// Of a release.
    Release(OfRelease),
}

/// The answer to `GET /api/v1/changes`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChangesAnswer {
    /// What changed, the latest first.
    #[schemars(with = "Vec<AnyChange>")]
    changes: Vec<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::row::Values;

    fn row(state: State, reporting: u64) -> Row {
        Row {
            store_id: "store-1".to_owned(),
            state,
            why: Vec::new(),
            values: Values {
                reporting,
                ..Values::default()
            },
            silent: 0,
            release: None,
        }
    }

    #[test]
    fn a_store_is_told_of_once_it_has_been_in_trouble_for_a_while() {
        let mut changes = Changes::default();
        let mut at = |t_ms, state, reporting| {
            let change = changes.look(&row(state, reporting), t_ms)?;
            let value: serde_json::Value = serde_json::from_str(change.json.get()).unwrap();
            Some((value["from"].clone(), value["to"].clone()))
        };
        let told = |from: &str, to: &str| Some((from.into(), to.into()));
        assert_eq!(at(0, State::Fine, 3), None);
        assert_eq!(at(1_000, State::Critical, 3), None);
        // Back and forth: it begins anew.
        assert_eq!(at(30_000, State::Warning, 3), None);
        assert_eq!(at(40_000, State::Critical, 3), None);
        assert_eq!(at(84_000, State::Critical, 3), None);
        assert_eq!(at(85_000, State::Critical, 3), told("fine", "critical"));
        assert_eq!(at(200_000, State::Critical, 3), None);
        assert_eq!(at(300_000, State::Silent, 0), None);
        assert_eq!(at(345_000, State::Silent, 0), told("critical", "silent"));
        // After a start it is not called silent, and has not come back either.
        assert_eq!(at(400_000, State::Quiet, 0), None);
        assert_eq!(at(500_000, State::Quiet, 0), None);
        assert_eq!(at(600_000, State::Fine, 1), None);
        assert_eq!(at(645_000, State::Fine, 1), told("silent", "fine"));
    }

    #[test]
    fn what_was_told_is_known_after_a_restart() {
        let mut changes = Changes::default();
        changes.look(&row(State::Critical, 3), 0);
        let change = changes.look(&row(State::Critical, 3), 45_000).unwrap();
        let mut again = Changes::restored(vec![change]);
        assert!(again.look(&row(State::Critical, 3), 100_000).is_none());
        assert!(again.look(&row(State::Critical, 3), 200_000).is_none());
        assert_eq!(again.latest(10).changes.len(), 1);
        for n in 0..300 {
            let word = OfRelease::new(n, "2.5.0".to_owned(), "hold".to_owned(), 10, "look");
            again.tell(&word).unwrap();
        }
        assert_eq!(again.latest(1_000).changes.len(), CHANGES_MAX);
    }
}
