//! Which hours of the week a terminal is used to report in, as bits: 168 for each of the last five weeks.
//!
//! A terminal is expected in an hour if it measured something in the same hour of most of the weeks before. Hours are
//! those in which samples were measured, not those in which they arrived, so that history that comes late teaches the
//! same. They are hours of UTC: where clocks change twice a year, the first and the last hour of trade move, which is
//! why only inner hours count ([`Habit::is_due`]).

use crate::time::HOUR_MS;

/// Hours of a week.
const HOURS: u32 = 168;
const BYTES: usize = (HOURS / 8) as usize;
/// The week that runs, and the four that it is held against.
const WEEKS: u32 = 5;
const SLOTS: usize = WEEKS as usize;
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
}

impl Habit {
    /// Notes that something was measured at `t_ms`.
    #[inline]
    pub fn note(&mut self, t_ms: i64) {
        let hour = u32::try_from(t_ms.div_euclid(HOUR_MS)).unwrap_or(0);
        if hour != self.last {
            self.note_hour(hour);
        }
    }

    #[cold]
    fn note_hour(&mut self, hour: u32) {
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
        let numbers = [self.newest, self.since, self.last].map(u32::to_le_bytes);
        hex::encode([numbers.as_flattened(), self.weeks.as_flattened()].concat())
    }

    /// Reads the habit from the state file; nothing is known of one that cannot be read.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let bytes = hex::decode(text).unwrap_or_default();
        let (words, _) = bytes.as_chunks::<4>();
        let (Some([newest, since, last]), true) =
            (words.first_chunk::<3>(), bytes.len() == 12 + BYTES * SLOTS)
        else {
            return Self::default();
        };
        let mut habit = Self {
            newest: u32::from_le_bytes(*newest),
            since: u32::from_le_bytes(*since),
            last: u32::from_le_bytes(*last),
            ..Self::default()
        };
        for (slot, byte) in habit
            .weeks
            .as_flattened_mut()
            .iter_mut()
            .zip(bytes.iter().skip(12))
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
            habit.note(i64::from(hour) * HOUR_MS + 7);
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
            habit.note(i64::from(START + 3 * HOURS + 6 * 24) * HOUR_MS);
            assert_eq!(habit.is_due(START + 4 * HOURS + 12), is_due, "{off:?}");
        }
        // Of what is older than four weeks nothing is left.
        let habit = noted(trade(0).chain([START + 30 * HOURS]));
        assert!(!habit.is_due(START + 31 * HOURS + 12));
        assert!(!habit.has(START + 12));
    }

    #[test]
    fn a_habit_from_the_future_is_forgotten() {
        let mut habit = noted(trade(0));
        let now_ms = i64::from(START + HOURS) * HOUR_MS;
        assert!(!habit.clone().set_right(now_ms));
        habit.note(now_ms + 400 * 24 * HOUR_MS);
        assert!(habit.set_right(now_ms));
        assert!(habit.is_empty());
    }

    proptest! {
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
