//! How many rows each store has made in an hour, and which terminals have made as many as they may.
//!
//! The aggregate keeps whatever reaches it, so nothing here changes a row. The intake is told who has made too many,
//! and puts old data off until the hour is over. A restart forgets the counts, but for what it replays.
//!
//! Half of a store's rows are divided evenly among its terminals, and of the other half a terminal gets more while it
//! has made fewer than are left. Terminals that come later have smaller shares, so together they can make more than
//! the store's rows; at four times as many the whole store waits.

use std::sync::Arc;

use tillwatch_model::ShareRule;
use tillwatch_model::time::HOUR_MS;

/// Rows made in one hour of the journal's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HourRows {
    /// Hours since 1970.
    hour: i64,
    rows: usize,
}

impl HourRows {
    /// Adds rows, and says how many the hour has now.
    pub(super) fn add(&mut self, hour: i64, rows: usize) -> usize {
        // A request that began in the hour before counts in this one. Further back only a clock is put right.
        if hour > self.hour || hour < self.hour - 1 {
            *self = Self { hour, rows: 0 };
        }
        self.rows = self.rows.saturating_add(rows);
        self.rows
    }

    fn of(self, hour: i64) -> usize {
        if self.hour == hour { self.rows } else { 0 }
    }
}

/// Who has made as many rows as may be made in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// A terminal of a store.
    Terminal(Box<str>, Box<str>),
    /// All terminals of a store.
    Store(Box<str>),
    /// All stores but these, which have names of their own.
    Unnamed(Vec<Arc<str>>),
}

/// Somebody who has made as many rows as may be made in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdrawn {
    /// Who has made them.
    pub maker: Maker,
    /// The hour, in hours since 1970.
    pub hour: i64,
    /// The rows that the store has made in that hour.
    pub store_rows: usize,
}

/// The rows of all stores in the hour.
#[derive(Debug)]
pub struct RowQuota {
    /// The most that a store may make in an hour. Unit: rows.
    rows_max: usize,
    /// By number of the store.
    by_store: Vec<HourRows>,
    /// The hour in which it was said that stores without a name have made theirs.
    unnamed_hour: i64,
    overdrawn: Vec<Overdrawn>,
}

/// Those who are waiting to be told of. Whoever finds no place is told of after its next batch.
const OVERDRAWN_MAX: usize = 1_024;

/// With so many times a store's rows, all its terminals wait.
const STORE_OVER: usize = 4;

impl RowQuota {
    /// No row is made yet.
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            by_store: Vec::new(),
            unnamed_hour: i64::MIN,
            overdrawn: Vec::new(),
        }
    }

    /// Adds what one batch has made. Says how many rows the store has made in the hour, if they are so many that
    /// [`RowQuota::judge`] must be asked.
    #[inline]
    pub fn charge(&mut self, store: u32, hour: i64, rows: usize) -> Option<usize> {
        let store = store as usize;
        if self.by_store.len() <= store {
            self.by_store.resize(store + 1, HourRows::default());
        }
        let store_rows = self.by_store[store].add(hour, rows);
        // Below a quarter, what is left of the common half is more than anybody can have made.
        (store_rows >= self.rows_max / 4).then_some(store_rows)
    }

    /// Whether a terminal has made as many rows as it may, when its store has so many terminals.
    #[must_use]
    pub fn judge(&self, terminal_rows: usize, store_rows: usize, terminals: usize) -> Judgement {
        let rule = ShareRule::new(self.rows_max, terminals.saturating_sub(1));
        if store_rows / STORE_OVER >= self.rows_max {
            Judgement::StoreOver
        } else if rule.has_room(terminal_rows, store_rows) {
            Judgement::Within
        } else {
            Judgement::TerminalOver
        }
    }

    /// Whether stores without a name have made what one store may, and it was not said in this hour.
    pub fn is_used_up(&mut self, rows: usize, hour: i64) -> bool {
        rows >= self.rows_max && std::mem::replace(&mut self.unnamed_hour, hour) != hour
    }

    /// Notes somebody to be told of.
    pub fn note(&mut self, overdrawn: Overdrawn) {
        if self.overdrawn.len() < OVERDRAWN_MAX {
            self.overdrawn.push(overdrawn);
        }
    }

    /// Those who have made as many rows as they may, since the last call.
    pub fn take(&mut self) -> Vec<Overdrawn> {
        std::mem::take(&mut self.overdrawn)
    }

    /// A store's number may become that of another.
    pub fn forget_store(&mut self, store: u32) {
        if let Some(rows) = self.by_store.get_mut(store as usize) {
            *rows = HourRows::default();
        }
    }

    /// The most that a store may make in an hour. Unit: rows.
    #[must_use]
    pub fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// The most rows that a store has made in the hour of `now_ms`; stores without a name are one.
    #[must_use]
    pub fn largest(&self, now_ms: i64) -> usize {
        let hour = now_ms.div_euclid(HOUR_MS);
        let stores = self.by_store.iter();
        stores.map(|rows| rows.of(hour)).max().unwrap_or(0)
    }
}

/// What [`RowQuota::judge`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// More may come.
    Within,
    /// The terminal has made as many as it may.
    TerminalOver,
    /// All terminals of the store together have.
    StoreOver,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_asked_about_from_a_quarter_on_and_begins_anew_with_the_hour() {
        let mut quota = RowQuota::new(1_000);
        assert_eq!(quota.charge(3, 7, 249), None);
        assert_eq!(quota.charge(3, 7, 1), Some(250));
        assert_eq!(quota.charge(2, 7, 100), None, "another store");
        assert_eq!(quota.charge(3, 8, 100), None, "another hour");
        assert_eq!(
            quota.charge(3, 7, 200),
            Some(300),
            "a slow request of the hour before"
        );
        assert_eq!(quota.largest(8 * HOUR_MS), 300);
        assert_eq!(quota.largest(9 * HOUR_MS), 0);
        quota.charge(3, 8, 500);
        quota.forget_store(3);
        assert_eq!(quota.charge(3, 8, 1), None, "its number is another's");
        assert_eq!(quota.charge(3, 2, 1), None, "the clock was put right");
        assert!(!quota.is_used_up(999, 5) && quota.is_used_up(1_000, 5));
        assert!(!quota.is_used_up(1_000, 5), "it is said once an hour");
    }

    #[test]
    fn one_terminal_makes_half_and_leaves_the_others_theirs() {
        let quota = RowQuota::new(1_000);
        let fill = |terminals: usize, before: usize| {
            let may =
                |rows: &usize| quota.judge(*rows, before + *rows, terminals) == Judgement::Within;
            (0..2_000).take_while(may).count()
        };
        // It is alone: half is its own.
        assert_eq!(fill(1, 0), 500);
        // One of ten takes a quarter, and the last of them still has its share.
        assert_eq!(fill(10, 0), 250);
        assert_eq!(fill(10, 900), 50);
        // Whoever comes later still has its share, but not without end.
        assert_eq!(quota.judge(0, 1_000, 10), Judgement::Within);
        assert_eq!(quota.judge(50, 1_000, 10), Judgement::TerminalOver);
        assert_eq!(quota.judge(0, 4_000, 10), Judgement::StoreOver);
    }

    #[test]
    fn only_so_many_wait_to_be_told_of() {
        let mut quota = RowQuota::new(1);
        for _ in 0..OVERDRAWN_MAX + 5 {
            quota.note(Overdrawn {
                maker: Maker::Store("s".into()),
                hour: 1,
                store_rows: 1,
            });
        }
        assert_eq!(quota.take().len(), OVERDRAWN_MAX);
        assert!(quota.take().is_empty());
    }
}
