//! Which hours of the week a terminal is used to report in, as bits: 168 for each of the last five weeks.
//!
//! A terminal is expected in an hour if it reported in the same hour of most of the weeks before: if it measured something
//! then and posted it at once. What it measured without posting, it is not used to report: a till without a line by day
//! posts in the evening. Only of the time before it first posted at once is what was measured enough, so that history
//! that is delivered late teaches the same. They are hours of UTC: where clocks change twice a year, the first and the last hour of trade move, which is
//! why only inner hours count ([`Habit::is_due`]).

use crate::time::HOUR_MS;

/// Hours of a week.
const HOURS: u32 = 168;
const BYTES: usize = (HOURS / 8) as usize;
/// The week that runs, and the four that it is held against.
const WEEKS: u32 = 5;
const SLOTS: usize = WEEKS as usize;
/// A sample is posted at once within this time. Unit: ms.
const AT_ONCE_MS: i64 = 15 * 60_000;
/// Of the weeks that are known, this share and more must have had the hour.
const OF_FOUR: u32 = 3;

/// When a terminal is used to report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Habit {
    /// The week of number n stands at n modulo five.
    weeks: [[u8; BYTES]; SLOTS],
    /// The number of the latest week, since 1970.
    newest: u32,
    /// The first hour that is known, since 1970; 0: none is.
    since: u32,
    /// The hour that was noted last.
    last: u32,
    /// The first hour of which something was posted at once, since 1970; 0: none was.
    live_since: u32,
}

impl Habit {
    /// Notes that something was measured at `t_ms`, and received later.
    #[inline]
    pub fn note(&mut self, t_ms: i64, received_at_ms: i64) {
        let hour = u32::try_from(t_ms.div_euclid(HOUR_MS)).unwrap_or(0);
        if hour != self.last {
            self.note_hour(hour, received_at_ms.saturating_sub(t_ms) < AT_ONCE_MS);
        }
    }

    #[cold]
    fn note_hour(&mut self, hour: u32, is_at_once: bool) {
        if is_at_once {
            self.live_since = if self.live_since == 0 {
                hour
            } else {
                self.live_since.min(hour)
            };
        } else if self.live_since != 0 && hour >= self.live_since {
            return;
        }
        self.last = hour;
        let (week, at) = (hour / HOURS, hour % HOURS);
        if week > self.newest {
            // What lies between had no hours; of a long silence nothing is left.
            for gone in (self.newest + 1..=week).rev().take(SLOTS) {
                self.weeks[gone as usize % SLOTS] = [0; BYTES];
            }
            self.newest = week;
        } else if self.newest - week >= WEEKS {
            return;
        }
        if self.since == 0 || hour < self.since {
            self.since = hour;
        }
        self.weeks[week as usize % SLOTS][at as usize / 8] |= 1 << (at % 8);
    }

    /// Whether something was measured in the hour, as far as is known.
    #[must_use]
    pub fn has(&self, hour: u32) -> bool {
        let (week, at) = (hour / HOURS, hour % HOURS);
        week <= self.newest
            && self.newest - week < WEEKS
            && self.weeks[week as usize % SLOTS][at as usize / 8] & (1 << (at % 8)) != 0
    }

    /// Whether the terminal is used to report in this hour of the week; `None`: it is not known for a week yet.
    #[must_use]
    pub fn expects(&self, hour: u32) -> Option<bool> {
        let before = (1..WEEKS).map_while(|weeks| hour.checked_sub(weeks * HOURS));
        let known = before.filter(|hour| self.since != 0 && *hour >= self.since);
        let (known, had) = known.fold((0, 0), |(known, had), hour| {
            (known + 1, had + u32::from(self.has(hour)))
        });
        (known > 0).then_some(4 * had >= OF_FOUR * known)
    }

    /// Whether the terminal should report all through this hour: it is used to report in this hour, and in those
    /// before and after. The first and the last hour of trade are left out, because nobody opens to the minute.
    #[must_use]
    pub fn is_due(&self, hour: u32) -> bool {
        self.expects(hour) == Some(true)
            && self.expects(hour.saturating_sub(1)) != Some(false)
            && self.expects(hour + 1) != Some(false)
    }

    /// Adds the hours of another: what is left is in which hours any of them reported.
    pub fn join(&mut self, other: &Self) {
        if other.newest > self.newest {
            for gone in (self.newest + 1..=other.newest).rev().take(SLOTS) {
                self.weeks[gone as usize % SLOTS] = [0; BYTES];
            }
            self.newest = other.newest;
        }
        let first = self.newest.saturating_sub(WEEKS - 1);
        let first = first.max(other.newest.saturating_sub(WEEKS - 1));
        for week in first..=other.newest {
            let at = week as usize % SLOTS;
            for (byte, others) in self.weeks[at].iter_mut().zip(other.weeks[at]) {
                *byte |= others;
            }
        }
    }

    /// The most due hours in a row in which it did not report, before this hour, as far as is known. Hours in which it
    /// need not report, or that do not count for another reason, neither count nor end a row. Unit: hours.
    #[must_use]
    pub fn longest_missed(&self, before_hour: u32, does_count: impl Fn(u32) -> bool) -> u32 {
        let first = self
            .since
            .max(before_hour.saturating_sub((WEEKS - 1) * HOURS));
        let (mut longest, mut row) = (0, 0);
        for hour in first..before_hour {
            if self.has(hour) {
                row = 0;
            } else if does_count(hour) && self.is_due(hour) {
                row += 1;
                longest = longest.max(row);
            }
        }
        longest
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since == 0
    }

    /// The clock was trusted at this time: of a habit that reaches beyond, nobody knows which hours are right.
    pub fn set_right(&mut self, at_ms: i64) -> bool {
        let is_wrong = i64::from(self.last) > at_ms.div_euclid(HOUR_MS) + 1
            || i64::from(self.newest) > at_ms.div_euclid(HOUR_MS * i64::from(HOURS));
        if is_wrong {
            *self = Self::default();
        }
        is_wrong
    }

    /// Writes the habit for the state file: hexadecimal digits.
    #[must_use]
    pub fn to_text(&self) -> String {
        let numbers = [self.newest, self.since, self.last, self.live_since];
        let numbers = numbers.map(u32::to_le_bytes);
        hex::encode([numbers.as_flattened(), self.weeks.as_flattened()].concat())
    }

    /// Reads the habit from the state file; nothing is known of one that cannot be read.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let bytes = hex::decode(text).unwrap_or_default();
        let (words, _) = bytes.as_chunks::<4>();
        let (Some([newest, since, last, live_since]), true) =
            (words.first_chunk::<4>(), bytes.len() == 16 + BYTES * SLOTS)
        else {
            return Self::default();
        };
        let mut habit = Self {
            newest: u32::from_le_bytes(*newest),
            since: u32::from_le_bytes(*since),
            last: u32::from_le_bytes(*last),
            live_since: u32::from_le_bytes(*live_since),
            ..Self::default()
        };
        for (slot, byte) in habit
            .weeks
            .as_flattened_mut()
            .iter_mut()
            .zip(bytes.iter().skip(16))
        {
            *slot = *byte;
        }
        habit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Some week's first hour.
    const START: u32 = 2_900 * HOURS;

    fn noted(hours: impl IntoIterator<Item = u32>) -> Habit {
        let mut habit = Habit::default();
        for hour in hours {
            let t_ms = i64::from(hour) * HOUR_MS + 7;
            habit.note(t_ms, t_ms);
        }
        habit
    }

    /// Nine to seventeen, six days a week.
    fn trade(week: u32) -> impl Iterator<Item = u32> {
        let days = (0..6).map(move |day| START + week * HOURS + day * 24);
        days.flat_map(|day| day + 9..day + 18)
    }

    #[test]
    fn a_terminal_is_due_in_the_inner_hours_of_its_week_once_a_week_is_known() {
        // It was there in the hour before, so that more than the first day's first hour is known.
        let habit = noted([START].into_iter().chain(trade(0)));
        // On the same days of the next week, but for the first and the last hour.
        let due: Vec<u32> = (START + HOURS..START + 2 * HOURS)
            .filter(|hour| habit.is_due(*hour))
            .collect();
        let expected = trade(1).filter(|hour| (10..17).contains(&(hour % 24)));
        assert_eq!(due, expected.collect::<Vec<_>>());
        // In its first week nothing is expected of it.
        assert!((START..START + HOURS).all(|hour| !habit.is_due(hour)));
        assert_eq!(habit.expects(START + HOURS - 1), None);
    }

    #[test]
    fn one_week_off_in_four_is_no_new_habit_and_two_are() {
        for (off, is_due) in [
            (&[][..], true),
            (&[3], true),
            (&[1, 3], false),
            (&[0], true),
        ] {
            let weeks = (0..4).filter(|week| !off.contains(week));
            let mut habit = noted(weeks.flat_map(trade));
            // It was there then, in other hours.
            let t_ms = i64::from(START + 3 * HOURS + 6 * 24) * HOUR_MS;
            habit.note(t_ms, t_ms);
            assert_eq!(habit.is_due(START + 4 * HOURS + 12), is_due, "{off:?}");
        }
        // Of what is older than four weeks nothing is left.
        let habit = noted(trade(0).chain([START + 30 * HOURS]));
        assert!(!habit.is_due(START + 31 * HOURS + 12));
        assert!(!habit.has(START + 12));
    }

    #[test]
    fn the_longest_silence_of_the_last_weeks_is_known() {
        let habit = noted((0..4).flat_map(trade));
        let all = |_| true;
        assert_eq!(habit.longest_missed(START + 4 * HOURS, all), 0);
        // Not used on a Tuesday of the second week and for three hours of the fourth.
        let is_off = |hour: &u32| {
            let at = *hour - START;
            (at / 24 == 7 + 1) || (at / 24 == 21 + 3 && (12..15).contains(&(at % 24)))
        };
        let habit = noted((0..4).flat_map(trade).filter(|hour| !is_off(hour)));
        assert_eq!(habit.longest_missed(START + 4 * HOURS, all), 7);
        assert_eq!(habit.longest_missed(START + HOURS + 24, all), 0);
        let in_afternoon = |hour: u32| hour % 24 >= 14;
        assert_eq!(habit.longest_missed(START + 4 * HOURS, in_afternoon), 3);
    }

    #[test]
    fn what_was_not_posted_at_once_teaches_only_of_the_time_before() {
        let at = |hour: u32| i64::from(hour) * HOUR_MS;
        let evening = at(START + HOURS + 19);
        let mut habit = Habit::default();
        // History, delivered at once in the evening; then every day the same.
        for hour in trade(0) {
            habit.note(at(hour), evening);
        }
        habit.note(evening, evening);
        assert!(habit.is_due(START + HOURS + 12));
        for hour in START + HOURS + 24 + 9..START + HOURS + 24 + 18 {
            habit.note(at(hour), evening + 24 * HOUR_MS);
        }
        assert!(!habit.has(START + HOURS + 24 + 12));
        assert_eq!(Habit::from_text(&habit.to_text()), habit);
    }

    #[test]
    fn a_habit_from_the_future_is_forgotten() {
        let mut habit = noted(trade(0));
        let now_ms = i64::from(START + HOURS) * HOUR_MS;
        assert!(!habit.clone().set_right(now_ms));
        let ahead_ms = now_ms + 400 * 24 * HOUR_MS;
        habit.note(ahead_ms, ahead_ms);
        assert!(habit.set_right(now_ms));
        assert!(habit.is_empty());
    }

    proptest! {
        #[test]
        fn joined_it_has_the_hours_of_both(one in prop::collection::vec(0_u32..8 * HOURS, 0..60), other in prop::collection::vec(0_u32..8 * HOURS, 0..60)) {
            let (one, other) = (noted(one.into_iter().map(|hour| START + hour)), noted(other.into_iter().map(|hour| START + hour)));
            let mut both = one.clone();
            both.join(&other);
            let newest = one.newest.max(other.newest);
            for hour in START..START + 8 * HOURS {
                let is_kept = newest - (hour / HOURS).min(newest) < WEEKS;
                prop_assert_eq!(both.has(hour), is_kept && (one.has(hour) || other.has(hour)), "{}", hour);
            }
        }

        #[test]
        fn agrees_with_a_set_of_hours_and_is_read_back(hours in prop::collection::vec(0_u32..8 * HOURS, 1..200)) {
            let hours: Vec<u32> = hours.into_iter().map(|hour| START + hour).collect();
            let habit = noted(hours.iter().copied());
            prop_assert_eq!(&Habit::from_text(&habit.to_text()), &habit);
            // What was noted while it was no older than five weeks, and is not now.
            let newest = hours.iter().max().unwrap() / HOURS;
            let (mut set, mut latest) = (BTreeSet::new(), 0);
            for hour in hours {
                latest = latest.max(hour / HOURS);
                if latest - hour / HOURS < 5 {
                    set.insert(hour);
                }
            }
            for hour in START..START + 8 * HOURS {
                let is_kept = newest - (hour / HOURS).min(newest) < 5 && set.contains(&hour);
                prop_assert_eq!(habit.has(hour), is_kept, "{}", hour);
            }
        }
    }
}
