//! Which errors have been seen on which release, so that a new one is told from an old one.
//!
//! What is known is bounded: so many errors of each release. An error beyond them is never called new, and one that no
//! current release has reported is new again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::event::OVERFLOW_FINGERPRINT;
use tillwatch_model::time::{DAY_MS, HOUR_MS, put_right};

/// Errors of one release that are known.
const KNOWN_MAX: usize = 256;
/// New errors of which it is known in which stores they are.
const FRESH_MAX: usize = 64;
/// How long an error is new.
const NEW_MS: i64 = DAY_MS;

/// Errors that are known, by release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownErrors {
    /// Since when errors are known, Unix ms; 0: not yet. On the first day every error would be new, so none is.
    since_ms: i64,
    /// When an error was first reported, by fingerprint and release.
    by_release: BTreeMap<String, BTreeMap<Fingerprint, i64>>,
    /// Errors that no release had reported before.
    #[serde(skip)]
    fresh: Vec<Fresh>,
}

/// A new error.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fresh {
    fingerprint: Fingerprint,
    release: String,
    first_ms: i64,
    /// When it was last reported by each store. Not kept over a restart.
    stores: BTreeMap<u32, i64>,
}

/// What is new on a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewErrors {
    /// Errors first reported within the last hour.
    pub errors: u64,
    /// Of the new errors of the last day, the stores within the last hour of the one that is in most.
    pub stores: u64,
}

impl KnownErrors {
    /// Begins to know errors, or goes on. What was first reported lately is new still.
    pub(super) fn begin(&mut self, now_ms: i64) {
        if self.since_ms == 0 {
            self.since_ms = now_ms;
        }
    }

    /// Puts back what is not kept, after a start.
    pub(super) fn restored(mut self, journal_ms: i64) -> Self {
        let mut fresh = Vec::new();
        for (release, errors) in &self.by_release {
            for (fingerprint, first_ms) in errors {
                let others = self.by_release.values();
                let earliest = others.filter_map(|errors| errors.get(fingerprint)).min();
                if self.is_new(*first_ms, journal_ms) && earliest == Some(first_ms) {
                    fresh.push(Fresh {
                        fingerprint: *fingerprint,
                        release: release.clone(),
                        first_ms: *first_ms,
                        stores: BTreeMap::new(),
                    });
                }
            }
        }
        fresh.sort_by_key(|one| one.first_ms);
        fresh.drain(..fresh.len().saturating_sub(FRESH_MAX));
        self.fresh = fresh;
        self
    }

    fn is_new(&self, first_ms: i64, now_ms: i64) -> bool {
        let is_past_first_day = self.since_ms != 0 && first_ms - self.since_ms >= NEW_MS;
        is_past_first_day && now_ms - first_ms < NEW_MS
    }

    /// Notes an error that happened at `t_ms` in a store, as it is received.
    pub(super) fn note(
        &mut self,
        fingerprint: Fingerprint,
        (release, store): (&str, u32),
        (t_ms, now_ms): (i64, i64),
    ) {
        if fingerprint == OVERFLOW_FINGERPRINT {
            return;
        }
        if !self.has(release, fingerprint) {
            let is_known = self
                .by_release
                .values()
                .any(|errors| errors.contains_key(&fingerprint));
            let of_release = self.by_release.entry(release.to_owned()).or_default();
            if of_release.len() == KNOWN_MAX {
                return;
            }
            of_release.insert(fingerprint, t_ms.min(now_ms));
            // What a terminal brings from days ago is no news of today.
            if !is_known && now_ms - t_ms < NEW_MS && self.is_new(now_ms, now_ms) {
                if self.fresh.len() == FRESH_MAX {
                    self.fresh.remove(0);
                }
                self.fresh.push(Fresh {
                    fingerprint,
                    release: release.to_owned(),
                    first_ms: now_ms,
                    stores: BTreeMap::new(),
                });
            }
        }
        if now_ms - t_ms < HOUR_MS
            && let Some(fresh) = self
                .fresh
                .iter_mut()
                .find(|one| one.fingerprint == fingerprint)
        {
            fresh.stores.insert(store, now_ms);
        }
    }

    fn has(&self, release: &str, fingerprint: Fingerprint) -> bool {
        let of_release = self.by_release.get(release);
        of_release.is_some_and(|errors| errors.contains_key(&fingerprint))
    }

    /// Lets go of a release that has made room for another.
    pub(super) fn forget(&mut self, release: &str) {
        self.by_release.remove(release);
        self.fresh.retain(|one| one.release != release);
    }

    /// The clock was trusted at this time: what is noted of later times was noted when it was wrong.
    pub(super) fn set_right(&mut self, at_ms: i64) {
        put_right(&mut self.since_ms, at_ms);
        for first_ms in self.by_release.values_mut().flat_map(BTreeMap::values_mut) {
            put_right(first_ms, at_ms);
        }
        for fresh in &mut self.fresh {
            put_right(&mut fresh.first_ms, at_ms);
            fresh.stores.values_mut().for_each(|last_ms| {
                put_right(last_ms, at_ms);
            });
        }
    }

    /// What is new at `now_ms` on a release.
    #[must_use]
    pub fn new_on(&self, release: &str, now_ms: i64) -> NewErrors {
        let mut found = NewErrors::default();
        let of_release = self.fresh.iter().filter(|one| one.release == release);
        for fresh in of_release.filter(|one| now_ms - one.first_ms < NEW_MS) {
            found.errors += u64::from(now_ms - fresh.first_ms < HOUR_MS);
            let lately = fresh
                .stores
                .values()
                .filter(|last_ms| now_ms - **last_ms < HOUR_MS);
            found.stores = found.stores.max(lately.count() as u64);
        }
        found
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since_ms == 0 && self.by_release.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_763_683_200_000;
    const LATER_MS: i64 = START_MS + 2 * DAY_MS;

    fn begun() -> KnownErrors {
        let mut known = KnownErrors::default();
        known.begin(START_MS);
        known
    }

    fn new_on(known: &KnownErrors, release: &str, now_ms: i64) -> (u64, u64) {
        let new = known.new_on(release, now_ms);
        (new.errors, new.stores)
    }

    #[test]
    fn an_error_that_no_release_had_is_new_for_an_hour_and_its_stores_are_counted() {
        let mut known = begun();
        // On the first day nothing is.
        known.note(1, ("1.0", 7), (START_MS + HOUR_MS, START_MS + HOUR_MS));
        assert_eq!(new_on(&known, "1.0", START_MS + HOUR_MS), (0, 0));
        known.note(1, ("2.0", 7), (LATER_MS, LATER_MS));
        known.note(OVERFLOW_FINGERPRINT, ("2.0", 7), (LATER_MS, LATER_MS));
        assert_eq!(new_on(&known, "2.0", LATER_MS), (0, 0));
        for store in [7, 8, 8, 9] {
            known.note(2, ("2.0", store), (LATER_MS, LATER_MS));
        }
        // Days old when it came: known from now on, and no news.
        known.note(3, ("2.0", 7), (START_MS, LATER_MS));
        assert_eq!(new_on(&known, "2.0", LATER_MS + HOUR_MS - 1), (1, 3));
        assert_eq!(new_on(&known, "1.0", LATER_MS), (0, 0));
        assert_eq!(new_on(&known, "2.0", LATER_MS + HOUR_MS), (0, 0));
        // It spreads to another store six hours later, from another release.
        let now_ms = LATER_MS + 6 * HOUR_MS;
        known.note(2, ("2.1", 10), (now_ms, now_ms));
        assert_eq!(new_on(&known, "2.0", now_ms), (0, 1));
        // After a start it is known that it is new, and not where.
        let saved = serde_json::to_string(&known).unwrap();
        let again: KnownErrors = serde_json::from_str(&saved).unwrap();
        let mut again = again.restored(LATER_MS);
        assert_eq!(new_on(&again, "2.0", LATER_MS + 1), (1, 0));
        assert_eq!(new_on(&again, "2.1", LATER_MS + 1), (0, 0));
        again.forget("2.0");
        assert_eq!(new_on(&again, "2.0", LATER_MS + 1), (0, 0));
    }

    #[test]
    fn what_is_known_is_bounded_and_what_finds_no_place_is_never_new() {
        let mut known = begun();
        for fingerprint in 1..=400 {
            known.note(fingerprint, ("1.0", 7), (LATER_MS, LATER_MS));
        }
        assert_eq!(known.by_release["1.0"].len(), KNOWN_MAX);
        assert_eq!(new_on(&known, "1.0", LATER_MS), (FRESH_MAX as u64, 1));
        let saved = serde_json::to_string(&known).unwrap();
        assert!(saved.len() < KNOWN_MAX * 40, "{}", saved.len());
    }
}
