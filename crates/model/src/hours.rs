//! Hours of stores, and which of them are dirty: the hourly rollups do not hold all of their minutes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::time::IN_FUTURE_MS_MAX;

/// Seconds in an hour.
pub const HOUR_S: u32 = 3_600;
/// Hours in a day.
const DAY_HOURS: u32 = 24;

/// One hour of one store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreHour {
    /// Hours since 1970.
    pub hour: u32,
    /// The shop.
    pub store_id: Arc<str>,
}

impl StoreHour {
    /// The day that the hour is in, days since 1970.
    #[must_use]
    pub fn day(&self) -> u32 {
        self.hour / DAY_HOURS
    }
}

/// Since when, and by what, an hour of a store is dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The last epoch with rows of the hour.
    pub epoch: u64,
    /// When the hour became dirty, Unix ms.
    pub since_ms: i64,
    /// When the last of these epochs was sealed, Unix ms.
    pub touched_ms: i64,
}

/// When a dirty hour is summed up anew.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Now, Unix ms.
    pub now_ms: i64,
    /// No data have come for so long.
    pub quiet_ms: i64,
    /// Nor later than this after it became dirty, however much comes.
    pub dirty_ms_max: i64,
    /// Every epoch up to this one is confirmed.
    pub confirmed: u64,
}

type Stores = HashMap<Arc<str>, Touch>;

/// The dirty hours. A copy is cheap: an hour's stores are copied only when they change while a copy lives.
#[derive(Debug, Clone, Default)]
pub struct DirtyHours {
    hours: BTreeMap<u32, Arc<Stores>>,
    /// Days of which nobody knows which hours are dirty, and the epoch that has to be confirmed before
    /// that can be found out.
    unchecked: Arc<BTreeMap<u32, u64>>,
}

impl DirtyHours {
    /// Marks hours that an epoch has rows of.
    pub fn mark(&mut self, hours: &[StoreHour], epoch: u64, now_ms: i64) {
        for StoreHour { hour, store_id } in hours {
            let stores = Arc::make_mut(self.hours.entry(*hour).or_default());
            let touch = stores.entry(Arc::clone(store_id)).or_insert(Touch {
                epoch,
                since_ms: now_ms,
                touched_ms: now_ms,
            });
            touch.epoch = touch.epoch.max(epoch);
            touch.touched_ms = touch.touched_ms.max(now_ms);
        }
    }

    /// Puts back an hour as it was marked.
    pub fn restore(&mut self, hour: StoreHour, touch: Touch) {
        let stores = Arc::make_mut(self.hours.entry(hour.hour).or_default());
        stores.insert(hour.store_id, touch);
    }

    /// These hours hold every epoch up to this one; those that a later one has touched stay dirty.
    pub fn clean(&mut self, hours: &[StoreHour], epoch: u64) {
        for StoreHour { hour, store_id } in hours {
            let Some(stores) = self.hours.get_mut(hour) else {
                continue;
            };
            if stores
                .get(store_id)
                .is_some_and(|touch| touch.epoch <= epoch)
            {
                Arc::make_mut(stores).remove(store_id);
            }
            if stores.is_empty() {
                self.hours.remove(hour);
            }
        }
    }

    /// Nobody knows which hours of these days are dirty, until `epoch` is confirmed and they are looked at.
    pub fn uncheck(&mut self, days: impl IntoIterator<Item = u32>, epoch: u64) {
        let unchecked = Arc::make_mut(&mut self.unchecked);
        for day in days {
            let known = unchecked.entry(day).or_default();
            *known = epoch.max(*known);
        }
    }

    /// A day was looked at when every epoch up to this one was confirmed: only what is marked is dirty.
    pub fn check(&mut self, day: u32, epoch: u64) {
        if self
            .unchecked
            .get(&day)
            .is_some_and(|needs| *needs <= epoch)
        {
            Arc::make_mut(&mut self.unchecked).remove(&day);
        }
    }

    /// The latest day that can be looked at.
    #[must_use]
    pub fn next_unchecked(&self, confirmed: u64) -> Option<u32> {
        let mut days = self.unchecked.iter().rev();
        days.find(|(_, epoch)| **epoch <= confirmed)
            .map(|(day, _)| *day)
    }

    /// How many hours of stores are dirty, and how many days are unchecked.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let pairs = self.hours.values().map(|stores| stores.len()).sum();
        (pairs, self.unchecked.len())
    }

    /// A copy of what touches these hours.
    #[must_use]
    pub fn within(&self, hours: Range<u32>) -> Self {
        let touched = if hours.is_empty() {
            BTreeMap::new()
        } else {
            let range = self.hours.range(hours);
            range
                .map(|(hour, stores)| (*hour, Arc::clone(stores)))
                .collect()
        };
        Self {
            hours: touched,
            unchecked: Arc::clone(&self.unchecked),
        }
    }

    /// Whether the hour's day is unchecked.
    #[must_use]
    pub fn is_unchecked(&self, hour: u32) -> bool {
        self.unchecked.contains_key(&(hour / DAY_HOURS))
    }

    /// The stores of which this hour is dirty.
    pub fn stores_of(&self, hour: u32) -> impl Iterator<Item = &Arc<str>> {
        self.hours
            .get(&hour)
            .into_iter()
            .flat_map(|stores| stores.keys())
    }

    /// Hours that are to be summed up anew, at most `count_max` and all of one day: from `first_hour` on, then
    /// the earlier ones. The hour that is under way is none of them: every seal would make it dirty again.
    #[must_use]
    pub fn due(&self, due: &Due, first_hour: u32, count_max: usize) -> Vec<StoreHour> {
        let mut found: Vec<StoreHour> = Vec::new();
        let is_over = |hour: u32| {
            let end_ms = (i64::from(hour) + 1) * i64::from(HOUR_S) * 1_000;
            end_ms + due.quiet_ms <= due.now_ms
        };
        let is_due = |touch: &Touch| {
            // What was noted while the clock was ahead must not wait until it is as late as that.
            let since_ms = |noted_ms: i64| {
                let is_wrong = noted_ms > due.now_ms + IN_FUTURE_MS_MAX;
                if is_wrong {
                    i64::MAX
                } else {
                    due.now_ms - noted_ms
                }
            };
            let is_quiet = since_ms(touch.touched_ms) >= due.quiet_ms;
            let is_overdue = since_ms(touch.since_ms) >= due.dirty_ms_max;
            touch.epoch <= due.confirmed && (is_quiet || is_overdue)
        };
        let later = self.hours.range(first_hour..);
        for (hour, stores) in later.chain(self.hours.range(..first_hour)) {
            let day = found.first().map_or(*hour / DAY_HOURS, StoreHour::day);
            if found.len() >= count_max || day != *hour / DAY_HOURS {
                break;
            }
            if !is_over(*hour) {
                continue;
            }
            let first = found.len();
            let names = stores.iter().filter(|(_, touch)| is_due(touch));
            found.extend(names.map(|(store_id, _)| StoreHour {
                hour: *hour,
                store_id: Arc::clone(store_id),
            }));
            // Neighbours in the table stay together when the hour is cut.
            if let Some(of_hour) = found.get_mut(first..) {
                of_hour.sort_unstable();
            }
            found.truncate(count_max);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(hour: u32, store_id: &str) -> StoreHour {
        StoreHour {
            hour,
            store_id: Arc::from(store_id),
        }
    }

    fn due(now_ms: i64, confirmed: u64) -> Due {
        Due {
            now_ms,
            quiet_ms: 600_000,
            dirty_ms_max: 3_600_000,
            confirmed,
        }
    }

    #[test]
    fn an_hour_is_due_once_it_is_over_quiet_and_confirmed() {
        let hour_ms = i64::from(HOUR_S) * 1_000;
        let end_ms = 11 * hour_ms;
        let mut dirty = DirtyHours::default();
        dirty.mark(&[pair(10, "a")], 3, end_ms - 1_000);
        assert_eq!(dirty.due(&due(end_ms + 599_999, 3), 0, 9), []);
        assert_eq!(dirty.due(&due(end_ms + 600_000, 2), 0, 9), []);
        assert_eq!(dirty.due(&due(end_ms + 600_000, 3), 0, 9), [pair(10, "a")]);
        // Late data come, and go on coming.
        dirty.mark(&[pair(10, "a")], 4, end_ms + 700_000);
        assert_eq!(dirty.due(&due(end_ms + 1_200_000, 4), 0, 9), []);
        dirty.mark(&[pair(10, "a")], 5, end_ms + 3_590_000);
        assert_eq!(
            dirty.due(&due(end_ms + 3_600_000, 5), 0, 9),
            [pair(10, "a")]
        );
    }

    #[test]
    fn what_a_later_epoch_touched_stays_dirty() {
        let mut dirty = DirtyHours::default();
        dirty.mark(&[pair(10, "a"), pair(10, "b")], 3, 0);
        dirty.mark(&[pair(10, "b")], 4, 0);
        let copy = dirty.clone();
        dirty.clean(&[pair(10, "a"), pair(10, "b")], 3);
        assert_eq!(dirty.stores_of(10).collect::<Vec<_>>(), [&Arc::from("b")]);
        assert_eq!(copy.counts(), (2, 0), "a copy does not change");
        dirty.clean(&[pair(10, "b")], 4);
        assert_eq!(dirty.counts(), (0, 0));
    }

    #[test]
    fn what_is_due_is_of_one_day_and_bounded() {
        let mut dirty = DirtyHours::default();
        let hours: Vec<StoreHour> = (20..30)
            .flat_map(|hour| [pair(hour, "b"), pair(hour, "a")])
            .collect();
        dirty.mark(&hours, 1, 0);
        let now = due(1_000_000_000, 1);
        assert_eq!(
            dirty.due(&now, 0, 99).len(),
            8,
            "four hours of the first day"
        );
        let three = dirty.due(&now, 0, 3);
        assert_eq!(three, [pair(20, "a"), pair(20, "b"), pair(21, "a")]);
        // What cannot be summed up does not keep others waiting.
        assert_eq!(dirty.due(&now, 29, 9), [pair(29, "a"), pair(29, "b")]);
        assert_eq!(dirty.due(&now, 30, 1), [pair(20, "a")]);
    }

    #[test]
    fn an_unchecked_day_waits_for_its_epoch() {
        let mut dirty = DirtyHours::default();
        dirty.uncheck([7, 8], 5);
        dirty.uncheck([7], 4);
        assert!(dirty.is_unchecked(7 * 24) && !dirty.is_unchecked(7 * 24 - 1));
        assert_eq!(dirty.next_unchecked(4), None);
        assert_eq!(dirty.next_unchecked(5), Some(8));
        dirty.check(8, 4);
        dirty.check(7, 5);
        assert_eq!(dirty.counts(), (0, 1));
    }
}
