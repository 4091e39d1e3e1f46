//! When the collector was ready to take batches in, by quarters of an hour, for the last nine days.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The finest time that is told apart. Unit: ms.
pub const QUARTER_MS: i64 = 15 * 60_000;
/// Quarters that are remembered: nine days, after which a terminal is forgotten.
const QUARTERS: u16 = 9 * 96;

/// When the collector was ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The latest quarter, since 1970.
    newest: i64,
    /// How long it was ready in each quarter up to the latest, seconds. No more than there are in nine days.
    ready_s: Vec<u16>,
    /// Since when it has been ready without a break, Unix ms; `None`: it is not. Unknown after a start.
    #[serde(skip)]
    since_ms: Option<i64>,
    /// What is less than a second of what was noted. Unit: ms.
    #[serde(skip)]
    rest_ms: i64,
}

impl Ready {
    /// Reads what a state file kept; of what cannot be read nothing is known.
    fn of_saved(text: &str) -> Self {
        let saved: Self = serde_json::from_str(text).unwrap_or_default();
        let is_whole = saved.ready_s.len() <= usize::from(QUARTERS) && saved.newest >= 0;
        if is_whole { saved } else { Self::default() }
    }

    /// How long the collector was ready in a quarter. Unit: ms.
    #[must_use]
    pub fn in_quarter(&self, quarter: i64) -> i64 {
        let back = usize::try_from(self.newest - quarter).ok();
        let at = back.and_then(|back| self.ready_s.len().checked_sub(back + 1));
        let ready_s = at.and_then(|at| self.ready_s.get(at));
        i64::from(ready_s.copied().unwrap_or(0)) * 1_000
    }

    /// Since when it has been ready without a break, Unix ms.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// The first quarter that is remembered.
    #[must_use]
    pub fn first(&self) -> i64 {
        self.newest + 1 - i64::try_from(self.ready_s.len()).unwrap_or(0)
    }

    fn note(&mut self, now_ms: i64, elapsed_ms: i64, is_ready: bool) {
        let quarter = now_ms.div_euclid(QUARTER_MS);
        let ahead = quarter - self.newest;
        if ahead.unsigned_abs() > u64::from(QUARTERS) {
            // The clock was wrong, or the collector was away for longer than anything is remembered.
            self.ready_s.clear();
            self.newest = quarter - 1;
        }
        while self.newest < quarter {
            self.newest += 1;
            self.ready_s.push(0);
            if self.ready_s.len() > usize::from(QUARTERS) {
                self.ready_s.remove(0);
            }
        }
        if !is_ready {
            self.since_ms = None;
            return;
        }
        self.since_ms.get_or_insert(now_ms);
        let back = usize::try_from(self.newest - quarter).unwrap_or(usize::MAX);
        let at = self.ready_s.len().checked_sub(back.saturating_add(1));
        if let Some(ready_s) = at.and_then(|at| self.ready_s.get_mut(at)) {
            let noted_ms = elapsed_ms.max(0) + self.rest_ms;
            self.rest_ms = noted_ms % 1_000;
            let more = u16::try_from(noted_ms / 1_000).unwrap_or(0);
            let most = u16::try_from(QUARTER_MS / 1_000).unwrap_or(u16::MAX);
            *ready_s = ready_s.saturating_add(more).min(most);
        }
    }
}

/// What one thread notes and others read.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Arc<Ready>>);

impl Readiness {
    /// Goes on with what a state file kept.
    #[must_use]
    pub fn of_saved(text: Option<&str>) -> Self {
        let ready = text.map(Ready::of_saved).unwrap_or_default();
        Self(Mutex::new(Arc::new(ready)))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Ready>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the collector was ready in the time up to `now_ms`, and how long that was.
    pub fn note(&self, now_ms: i64, elapsed_ms: i64, is_ready: bool) {
        Arc::make_mut(&mut self.lock()).note(now_ms, elapsed_ms, is_ready);
    }

    /// What is known now.
    #[must_use]
    pub fn look(&self) -> Arc<Ready> {
        Arc::clone(&self.lock())
    }

    /// Writes it for the state file.
    ///
    /// # Errors
    /// Never in practice: there are only numbers.
    pub fn to_saved(&self) -> serde_json::Result<String> {
        serde_json::to_string(&*self.look())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_763_683_200_000 / QUARTER_MS;

    fn at(quarter: i64) -> i64 {
        (START + quarter) * QUARTER_MS
    }

    #[test]
    fn time_counts_in_its_quarter_and_only_while_ready() {
        let readiness = Readiness::default();
        for minute in 0..45 {
            // The third quarter is one in which the disk was full.
            let is_ready = minute < 30;
            readiness.note(at(0) + minute * 60_000, 60_000, is_ready);
        }
        let ready = readiness.look();
        let quarters = [-1, 0, 1, 2, 3].map(|quarter| ready.in_quarter(START + quarter) / 60_000);
        assert_eq!(quarters, [0, 15, 15, 0, 0]);
        assert_eq!(ready.since_ms(), None);
        readiness.note(at(3), 60_000, true);
        readiness.note(at(3) + 60_000, 60_000, true);
        assert_eq!(readiness.look().since_ms(), Some(at(3)));
        // Over a restart nothing is lost, and what passed meanwhile does not count.
        let again = Readiness::of_saved(Some(&readiness.to_saved().unwrap()));
        assert_eq!(again.look().since_ms(), None);
        again.note(at(20), 5_000, true);
        let ready = again.look();
        let quarters =
            [0, 1, 3, 4, 19, 20].map(|quarter| ready.in_quarter(START + quarter) / 1_000);
        assert_eq!(quarters, [900, 900, 120, 0, 0, 5]);
    }

    #[test]
    fn nine_days_are_remembered_and_a_clock_that_leaps_leaves_nothing() {
        let readiness = Readiness::default();
        for quarter in 0..1_000 {
            readiness.note(at(quarter), QUARTER_MS, true);
        }
        let ready = readiness.look();
        assert_eq!(ready.first(), START + 1_000 - i64::from(QUARTERS));
        assert_eq!(ready.in_quarter(ready.first()), QUARTER_MS);
        // A little back is noted where it belongs.
        readiness.note(at(990), QUARTER_MS, true);
        assert_eq!(readiness.look().in_quarter(START + 990), QUARTER_MS);
        readiness.note(at(100_000), 5_000, true);
        assert_eq!(readiness.look().in_quarter(START + 999), 0);
        for damaged in ["", "{}", "[1]", r#"{"newest":-5,"ready_s":[1]}"#] {
            let readiness = Readiness::of_saved(Some(damaged));
            readiness.note(at(0), 5_000, true);
            assert_eq!(readiness.look().in_quarter(START), 5_000, "{damaged}");
        }
    }
}
