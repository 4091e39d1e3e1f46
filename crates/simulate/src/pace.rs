//! Simulated time: how fast it passes, and when stores are open.

use std::time::Duration;

use tillwatch_model::time::{HOUR_MS, MINUTE_MS, window_start_ms};

const DAY_MS: i64 = 24 * HOUR_MS;

/// Stores open one after the other within this time, as shops do.
const STAGGER_MS: i64 = 20 * MINUTE_MS;

/// The hours of the day in which terminals measure, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    open_hour: i64,
    close_hour: i64,
}

/// Why a text is not opening hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not opening hours; write two full hours of a day in UTC, such as 8-20")]
pub struct HoursError;

impl Hours {
    /// Reads `8-20`.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, HoursError> {
        let (open, close) = text.split_once('-').ok_or(HoursError)?;
        let hour = |text: &str| text.trim().parse::<i64>().ok().ok_or(HoursError);
        let (open_hour, close_hour) = (hour(open)?, hour(close)?);
        if (0..close_hour).contains(&open_hour) && close_hour <= 24 {
            Ok(Self {
                open_hour,
                close_hour,
            })
        } else {
            Err(HoursError)
        }
    }

    /// The first moment from `at_ms` on at which a store is open; stores open within twenty minutes of
    /// each other.
    pub fn next_open_ms(self, at_ms: i64, store: usize) -> i64 {
        let day_ms = window_start_ms(at_ms, DAY_MS);
        let stagger_ms = i64::try_from(store).unwrap_or(0) * 7 * MINUTE_MS % STAGGER_MS;
        let open_ms = day_ms + self.open_hour * HOUR_MS + stagger_ms;
        if at_ms < open_ms {
            open_ms
        } else if at_ms < day_ms + self.close_hour * HOUR_MS {
            at_ms
        } else {
            open_ms + DAY_MS
        }
    }

    /// Whether a store is open.
    pub fn is_open(self, at_ms: i64, store: usize) -> bool {
        self.next_open_ms(at_ms, store) == at_ms
    }

    /// How busy an open store is, as a share of the busiest time: most around noon and before closing,
    /// less just after opening and before that.
    pub fn activity(self, at_ms: i64) -> f64 {
        const LEAST: f64 = 0.35;
        /// Where noon lies between opening and closing.
        const NOON_SHARE: f64 = 0.375;
        const NOON_WIDTH: f64 = 2.6;
        const EVENING_BEFORE_CLOSING: f64 = 2.5;
        const EVENING_WIDTH: f64 = 2.2;
        const EVENING_SIZE: f64 = 0.9;
        let hour = |ms: i64| tillwatch_model::metric::to_float(ms.unsigned_abs()) / 3_600_000.0;
        let of_day = hour(at_ms - window_start_ms(at_ms, DAY_MS));
        let (open, close) = (
            hour(self.open_hour * HOUR_MS),
            hour(self.close_hour * HOUR_MS),
        );
        let near = |peak: f64, width: f64| (-((of_day - peak) / width).powi(2)).exp();
        let noon = near(open + NOON_SHARE * (close - open), NOON_WIDTH);
        let evening = EVENING_SIZE * near(close - EVENING_BEFORE_CLOSING, EVENING_WIDTH);
        LEAST + (1.0 - LEAST) * noon.max(evening)
    }

    /// How busy this store is, as a share of the busiest time of the busiest: stores differ in size and
    /// in when their customers come, Saturdays are the busiest days, and Sundays the quietest.
    pub fn activity_of(self, at_ms: i64, store: usize) -> f64 {
        const SIZES: [f64; 5] = [0.94, 0.82, 1.0, 0.76, 0.88];
        const SHIFTS_MS: [i64; 3] = [0, -15 * MINUTE_MS, 15 * MINUTE_MS];
        const SATURDAY: i64 = 2;
        const SUNDAY: i64 = 3;
        const WEEKDAY_SIZE: f64 = 0.85;
        const SUNDAY_SIZE: f64 = 0.5;
        // The first day of Unix time was a Thursday.
        let day = match at_ms.div_euclid(DAY_MS).rem_euclid(7) {
            SATURDAY => 1.0,
            SUNDAY => SUNDAY_SIZE,
            _ => WEEKDAY_SIZE,
        };
        let size = SIZES.get(store % SIZES.len()).copied().unwrap_or(1.0);
        let shift_ms = SHIFTS_MS.get(store % SHIFTS_MS.len()).copied();
        size * day * self.activity(at_ms + shift_ms.unwrap_or(0))
    }
}

/// When terminals stop measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After so many batches of the normal trade.
    Batches(u64),
    /// When told to.
    Never,
}

/// How simulated time passes.
///
/// It ends when the run does, so that nothing is measured in the future: a day at a speed of 1,440
/// begins a day ago, and takes a minute.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    started_ms: i64,
    from_ms: i64,
    speed: i64,
}

impl Pace {
    /// Simulated time of this length, at this many times the real speed, from a real moment on.
    pub fn new(started_ms: i64, length_ms: i64, speed: u32) -> Self {
        let speed = i64::from(speed.max(1));
        let from_ms = if speed == 1 {
            started_ms
        } else {
            started_ms - length_ms + length_ms / speed
        };
        Self {
            started_ms,
            from_ms,
            speed,
        }
    }

    /// Where simulated time begins, Unix ms.
    pub fn begin_ms(&self) -> i64 {
        self.from_ms
    }

    /// Whether simulated time passes faster than real time.
    pub fn is_compressed(&self) -> bool {
        self.speed > 1
    }

    /// The real moment at which a simulated one has come.
    pub fn real_ms(&self, simulated_ms: i64) -> i64 {
        let passed_ms = simulated_ms.saturating_sub(self.from_ms);
        let real_ms = passed_ms / self.speed + i64::from(passed_ms % self.speed > 0);
        self.started_ms.saturating_add(real_ms)
    }

    /// The simulated moment at a real one.
    #[cfg(test)]
    pub fn simulated_ms(&self, real_ms: i64) -> i64 {
        self.from_ms + (real_ms - self.started_ms) * self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_220_280_653;

    #[test]
    fn a_day_ends_when_the_run_does() {
        let pace = Pace::new(NOW_MS, DAY_MS, 1_440);
        assert_eq!(pace.begin_ms(), NOW_MS - DAY_MS + 60_000);
        assert_eq!(pace.real_ms(pace.begin_ms() + DAY_MS), NOW_MS + 60_000);
        assert_eq!(pace.simulated_ms(NOW_MS + 60_000), NOW_MS + 60_000);
        // Nothing comes before its time, and so nothing is measured in the future.
        for simulated_ms in pace.begin_ms()..pace.begin_ms() + 3_000 {
            assert!(pace.simulated_ms(pace.real_ms(simulated_ms)) >= simulated_ms);
        }
        let real = Pace::new(NOW_MS, DAY_MS, 1);
        assert_eq!(
            (real.begin_ms(), real.real_ms(NOW_MS + 7)),
            (NOW_MS, NOW_MS + 7)
        );
    }

    #[test]
    fn a_day_has_two_peaks_and_a_week_its_days() {
        let hours = Hours::parse("7-21").unwrap();
        let day_ms = window_start_ms(NOW_MS, DAY_MS);
        let quarters = 7 * 4..21 * 4;
        let curve: Vec<f64> = quarters
            .map(|quarter| hours.activity(day_ms + quarter * 15 * MINUTE_MS))
            .collect();
        let is_peak = |three: &[f64]| three[1] > three[0] && three[1] >= three[2];
        assert_eq!(curve.windows(3).filter(|three| is_peak(three)).count(), 2);
        assert!(curve.iter().all(|share| (0.35..=1.0).contains(share)));
        // NOW_MS is a Saturday.
        let of_day = |day: i64, store| -> f64 {
            (7..21)
                .map(|hour| hours.activity_of(day_ms + day * DAY_MS + hour * HOUR_MS, store))
                .sum()
        };
        let of_week: Vec<f64> = (0..7).map(|day| of_day(day, 0)).collect();
        assert!(
            of_week[2..]
                .iter()
                .all(|sum| *sum > of_week[1] && *sum < of_week[0])
        );
        // Stores differ, and not by much.
        let of_stores: Vec<f64> = (0..50).map(|store| of_day(0, store)).collect();
        let smallest = of_stores.iter().copied().fold(f64::MAX, f64::min);
        let largest = of_stores.iter().copied().fold(0.0, f64::max);
        assert!((1.1..1.5).contains(&(largest / smallest)));
    }

    #[test]
    fn stores_are_closed_at_night_and_busy_at_noon() {
        let hours = Hours::parse("8-20").unwrap();
        let day_ms = window_start_ms(NOW_MS, DAY_MS);
        assert_eq!(hours.next_open_ms(day_ms, 0), day_ms + 8 * HOUR_MS);
        assert_eq!(
            hours.next_open_ms(day_ms, 1),
            day_ms + 8 * HOUR_MS + 7 * MINUTE_MS
        );
        assert_eq!(
            hours.next_open_ms(day_ms + 9 * HOUR_MS, 1),
            day_ms + 9 * HOUR_MS
        );
        assert_eq!(
            hours.next_open_ms(day_ms + 20 * HOUR_MS, 0),
            day_ms + 32 * HOUR_MS
        );
        assert!(hours.activity(day_ms + 12 * HOUR_MS + HOUR_MS / 2) > 0.99);
        assert!(hours.activity(day_ms + 9 * HOUR_MS) < 0.51);
        for store in 0..20 {
            assert!(!hours.is_open(day_ms + 3 * HOUR_MS, store));
            assert!(hours.is_open(day_ms + 9 * HOUR_MS, store));
            assert!(!hours.is_open(day_ms + 20 * HOUR_MS, store));
        }
        for bad in ["8", "20-8", "8-25", "-1-3", "a-b", ""] {
            assert_eq!(Hours::parse(bad), Err(HoursError), "{bad}");
        }
    }
}
