//! Which hours are compared: those of the step so far, and the same hours of the day in the week before the release.
//!
//! Hours are numbered from the beginning of Unix time, in UTC. Where clocks are changed within the week, local hours move
//! against these by one; they do so for all stores alike, so that the comparison with the others cancels it.

use std::ops::Range;

use super::looks::Look;

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;
const DAY_HOURS: i64 = 24;
/// How long before the release a store's own habit is taken from.
pub const DAYS_BEFORE: i64 = 7;

/// The hours that one look compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// The first hour of the step that counts.
    pub start: i64,
    /// The end of the hours now, exclusive.
    pub until: i64,
    /// The first hour of the hour in which the release was first seen anywhere: the week before ends here.
    pub before_until: i64,
}

impl Windows {
    /// The windows of a look: `start` as by [`start_hour`], and the time of the release's first sample anywhere.
    #[must_use]
    pub fn of(start: i64, first_sample_ms: i64, look: Look) -> Self {
        Self {
            start,
            until: start.saturating_add(i64::from(look.hours())),
            before_until: first_sample_ms.div_euclid(HOUR_MS),
        }
    }

    /// The same for a store that has the release only since `hour`: its first full hour after that and one more do not
    /// count, and neither do their hours of the day in the week before.
    #[must_use]
    pub fn since(self, hour: i64) -> Self {
        Self {
            start: self.start.max(hour.saturating_add(2)).min(self.until),
            ..self
        }
    }

    /// The hours now.
    #[must_use]
    pub fn now(&self) -> Range<i64> {
        self.start..self.until
    }

    /// Whether an hour is one of the week before: night meets night.
    #[must_use]
    pub fn is_before(&self, hour: i64) -> bool {
        let week = self.before_until.saturating_sub(DAYS_BEFORE * DAY_HOURS)..self.before_until;
        week.contains(&hour)
            && hour.saturating_sub(self.start).rem_euclid(DAY_HOURS) < self.until - self.start
    }

    /// The hours of the week before, ascending.
    #[must_use]
    pub fn before(&self) -> Vec<i64> {
        let week = self.before_until.saturating_sub(DAYS_BEFORE * DAY_HOURS)..self.before_until;
        week.filter(|hour| self.is_before(*hour)).collect()
    }

    /// Which day of the week before an hour belongs to, 0 to 6, counted in steps of 24 hours.
    #[must_use]
    pub fn day_before(&self, hour: i64) -> Option<usize> {
        let first = self.before_until.saturating_sub(DAYS_BEFORE * DAY_HOURS);
        let day = hour.checked_sub(first)?.div_euclid(DAY_HOURS);
        usize::try_from(day).ok().filter(|_| self.is_before(hour))
    }
}

/// The hour in which a step begins to count: the first full hour after its share was reached, and one hour more, because
/// the first synchronisations of a new release carry everything.
#[must_use]
pub fn start_hour(reached_ms: i64) -> i64 {
    reached_ms
        .saturating_add(HOUR_MS - 1)
        .div_euclid(HOUR_MS)
        .saturating_add(1)
}

/// How many of `stores` a step of `percent` means: rounded, and at least one.
#[must_use]
pub fn stores_of_step(stores: usize, percent: u32) -> usize {
    let whole = (stores as u64 * u64::from(percent.min(100)) + 50) / 100;
    usize::try_from(whole.max(1)).unwrap_or(usize::MAX)
}

/// When a step's share was reached: the time at which so many stores had reported the release, from each store's first
/// sample of it. `None`: it has not been.
#[must_use]
pub fn reached_ms(first_samples_ms: &[i64], stores: usize, percent: u32) -> Option<i64> {
    let mut sorted = first_samples_ms.to_vec();
    sorted.sort_unstable();
    sorted.get(stores_of_step(stores, percent) - 1).copied()
}

/// The step that a rollout has reached, and when: the greatest whose share was reached. Before the first it is the first,
/// from the release's first sample on.
#[must_use]
pub fn step_reached(first_samples_ms: &[i64], stores: usize, steps: &[u32]) -> Option<(u32, i64)> {
    let reached = steps.iter().rev().find_map(|percent| {
        reached_ms(first_samples_ms, stores, *percent).map(|at_ms| (*percent, at_ms))
    });
    reached.or_else(|| Some((*steps.first()?, *first_samples_ms.iter().min()?)))
}
