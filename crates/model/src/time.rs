//! Unix milliseconds, windows, and the one place that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds in a minute, the finest window.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970-01-01T00:00:00Z by this machine's wall clock, right or wrong. The parts of
/// the server that judge or destroy by the time ask its `Clock` instead, which knows when this one is wrong.
#[must_use]
pub fn wall_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 reads as 0: every sample is then in the future and refused, nothing breaks.
    millis(since.unwrap_or_default())
}

/// A duration in whole milliseconds; past 292 million years it stays there.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The start of the window of `span_ms` that holds `t_ms`.
#[must_use]
pub fn window_start_ms(t_ms: i64, span_ms: i64) -> i64 {
    t_ms.div_euclid(span_ms) * span_ms
}

/// A sample, corrected, may lie this far ahead of its arrival.
pub const IN_FUTURE_MS_MAX: i64 = 5 * MINUTE_MS;

/// Brings a time that was noted while the clock was ahead down to `at_ms`, when the clock was right again.
/// Requests under way at that moment may bear a slightly later one. Whether it was wrong.
pub fn put_right(noted_ms: &mut i64, at_ms: i64) -> bool {
    let is_wrong = *noted_ms > at_ms.saturating_add(MINUTE_MS);
    if is_wrong {
        *noted_ms = at_ms;
    }
    is_wrong
}

/// The day (days since 1970-01-01, UTC) that holds `t_ms`.
#[must_use]
pub fn day_of(t_ms: i64) -> i32 {
    i32::try_from(t_ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_their_first_and_not_their_last_millisecond() {
        assert_eq!(window_start_ms(119_999, MINUTE_MS), 60_000);
        assert_eq!(window_start_ms(120_000, MINUTE_MS), 120_000);
        assert_eq!(window_start_ms(-1, MINUTE_MS), -60_000);
        assert_eq!(day_of(DAY_MS * 3 - 1), 2);
    }
}
