//! When a URL is asked again. It knows no clock and no chance.

use std::time::Duration;

use crate::auth::jwks::age;

/// Tokens of unknown keys make the URL be asked once in this time: whoever sends them cannot make it more.
const EARLY_AFTER: Duration = Duration::from_secs(60);
/// The shortest pause after the first failure; it doubles with each one.
const BACK_OFF_MIN_MS: u64 = 5_000;
/// The shortest pause after many failures.
const BACK_OFF_MAX_MS: u64 = 200_000;

/// When the URL was asked, and how that went.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    last: Option<Attempt>,
    failures: u32,
}

#[derive(Debug)]
struct Attempt {
    at_ms: i64,
    /// How long after it the next one is due.
    pause: Duration,
}

impl Schedule {
    /// Whether the URL should be asked now.
    pub(super) fn is_due(&self, now_ms: i64, wants_early: bool) -> bool {
        let Some(last) = &self.last else {
            return true;
        };
        // A clock that was set back says nothing of how long ago the attempt was.
        if now_ms < last.at_ms {
            return true;
        }
        let age = age(last.at_ms, now_ms);
        age >= last.pause || (wants_early && age >= EARLY_AFTER)
    }

    /// Notes an attempt that brought a set.
    pub(super) fn succeeded(&mut self, now_ms: i64, refresh: Duration) {
        self.failures = 0;
        let (at_ms, pause) = (now_ms, refresh);
        self.last = Some(Attempt { at_ms, pause });
    }

    /// Notes an attempt that brought none. The next one is due after 5 s, doubling up to 200 s, and up to half as
    /// much again as `draw` has it; but not later than after `refresh`.
    pub(super) fn failed(&mut self, now_ms: i64, refresh: Duration, draw: u64) {
        let doubled = BACK_OFF_MIN_MS.saturating_mul(1 << self.failures.min(6));
        let least = doubled.min(BACK_OFF_MAX_MS);
        let pause = Duration::from_millis(least + draw % (least / 2 + 1));
        self.failures = self.failures.saturating_add(1);
        let (at_ms, pause) = (now_ms, pause.min(refresh));
        self.last = Some(Attempt { at_ms, pause });
    }
}

const _: () = assert!(
    BACK_OFF_MAX_MS + BACK_OFF_MAX_MS / 2 <= 300_000,
    "a server that is back is noticed within five minutes"
);

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(600);

    #[test]
    fn a_url_is_asked_at_the_start_when_it_is_due_and_early_once_a_minute() {
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(0, false));
        schedule.succeeded(1_000, REFRESH);
        assert!(!schedule.is_due(600_999, false) && schedule.is_due(601_000, false));
        assert!(!schedule.is_due(60_999, true) && schedule.is_due(61_000, true));
        assert!(schedule.is_due(999, false), "the clock was set back");
    }

    #[test]
    fn failures_double_the_pause_from_5_s_to_5_min_and_a_success_ends_that() {
        let pauses = |draw| {
            let mut schedule = Schedule::default();
            let pauses: Vec<Duration> = (0..9)
                .map(|_| {
                    schedule.failed(0, REFRESH, draw);
                    schedule.last.as_ref().unwrap().pause
                })
                .collect();
            schedule.succeeded(0, REFRESH);
            schedule.failed(0, REFRESH, 0);
            assert_eq!(schedule.last.unwrap().pause, Duration::from_secs(5));
            pauses
        };
        let least = [5, 10, 20, 40, 80, 160, 200, 200, 200];
        assert_eq!(pauses(0), least.map(Duration::from_secs));
        for draw in [1, 2_500, 99_999, u64::MAX] {
            for (pause, least) in pauses(draw).iter().zip(pauses(0)) {
                assert!((least..=least * 3 / 2).contains(pause), "{pause:?}");
            }
        }
        let mut often = Schedule::default();
        (0..9).for_each(|_| often.failed(0, Duration::from_secs(30), 7));
        assert!(often.is_due(30_000, false), "as soon as without failures");
    }
}
