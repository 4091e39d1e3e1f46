//! What terminals ran, hour by hour, as the histories of their stores.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::{History, Span, is_no_release};
use super::silence::Heard;

/// The hours in which one terminal reported one release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its store.
    pub store: String,
    /// Its name.
    pub terminal: String,
    /// The release.
    pub release: String,
    /// The hours, ascending.
    pub hours: Vec<i64>,
}

/// What all terminals ran.
#[derive(Debug, Default)]
pub struct Fleet {
    stores: BTreeMap<String, Store>,
}

/// Ascending, each once.
type Hours = Vec<i64>;

#[derive(Debug, Default)]
struct Store {
    /// The hours of each release, by terminal.
    terminals: BTreeMap<String, BTreeMap<String, Hours>>,
}

/// A store as the first verdict of a release sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstHours {
    /// The first hour of the release in each store that has it.
    pub stores: Vec<i64>,
    /// The same of each terminal.
    pub terminals: Vec<i64>,
}

impl Fleet {
    /// Gathers them. Who reported without a release was heard, and no more.
    #[must_use]
    pub fn new(ran: impl IntoIterator<Item = Ran>) -> Self {
        let mut stores: BTreeMap<String, Store> = BTreeMap::new();
        for ran in ran {
            if ran.hours.is_empty() {
                continue;
            }
            let store = stores.entry(ran.store).or_default();
            let terminal = store.terminals.entry(ran.terminal).or_default();
            let hours = terminal.entry(ran.release).or_default();
            hours.extend(ran.hours);
            hours.sort_unstable();
            hours.dedup();
        }
        Self { stores }
    }

    /// The names of the stores.
    pub fn store_names(&self) -> impl Iterator<Item = &String> {
        self.stores.keys()
    }

    /// How many stores and terminals there are.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let terminals = self.stores.values().map(|store| store.terminals.len());
        (self.stores.len(), terminals.sum())
    }

    /// The first hour of a release in each store and in each terminal.
    #[must_use]
    pub fn first_hours(&self, release: &str) -> FirstHours {
        let of_store = |store: &Store| {
            let terminals = store.terminals.values();
            let first = terminals.filter_map(|releases| releases.get(release)?.first().copied());
            first.collect::<Vec<i64>>()
        };
        let by_store: Vec<Vec<i64>> = self.stores.values().map(of_store).collect();
        FirstHours {
            stores: by_store
                .iter()
                .filter_map(|terminals| terminals.iter().min().copied())
                .collect(),
            terminals: by_store.concat(),
        }
    }

    /// The history of each store, as `release` sees it, which was first seen anywhere in the hour `first`.
    #[must_use]
    pub fn histories(&self, release: &str, first: i64) -> Vec<History> {
        let histories = self.stores.iter();
        histories
            .map(|(name, store)| store.history(name, release, first))
            .collect()
    }

    /// The store and the name of each terminal that has had a release.
    pub fn terminals_with<'a>(
        &'a self,
        release: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a String)> {
        self.terminals()
            .filter(move |(_, _, releases)| releases.contains_key(release))
            .map(|(store, terminal, _)| (store, terminal))
    }

    /// When each terminal was heard, from a day before the hour `first` on, and in the weeks before.
    pub fn heard<'a>(
        &'a self,
        release: &'a str,
        first: i64,
    ) -> impl Iterator<Item = Heard> + use<'a> {
        const DAY_HOURS: i64 = 24;
        self.terminals().map(move |(store, terminal, releases)| {
            let mut hours: Hours = releases.values().flatten().copied().collect();
            hours.sort_unstable();
            hours.dedup();
            let from = hours.partition_point(|hour| *hour < first - DAY_HOURS);
            Heard {
                store: store.clone(),
                terminal: terminal.clone(),
                now: hours.get(from..).unwrap_or_default().to_vec(),
                week_before: hours,
                had_release: releases.contains_key(release),
            }
        })
    }

    fn terminals(&self) -> impl Iterator<Item = (&String, &String, &BTreeMap<String, Hours>)> {
        let stores = self.stores.iter();
        stores.flat_map(|(name, store)| {
            let terminals = store.terminals.iter();
            terminals.map(move |(terminal, releases)| (name, terminal, releases))
        })
    }
}

impl Store {
    fn history(&self, name: &str, release: &str, first: i64) -> History {
        let own = self
            .terminals
            .values()
            .filter_map(|releases| releases.get(release));
        let from = own.clone().filter_map(|hours| hours.first()).min().copied();
        let last = own.clone().filter_map(|hours| hours.last()).max().copied();
        // Who was silent before the store got the release is none of those who should have it.
        let since = from.unwrap_or(first);
        let reported = self.terminals.values().filter(|releases| {
            let mut hours = releases.values();
            hours.any(|hours| hours.last().is_some_and(|last| *last >= since))
        });
        let terminals = reported.count() as u64;
        let mut spans = Vec::new();
        for other in self.releases() {
            if other == release {
                continue;
            }
            let hours = self.hours_of(other);
            match from.zip(last) {
                Some((from, last)) => {
                    let stay = Stay {
                        from,
                        last,
                        was_left: self.was_left(release),
                    };
                    spans.extend(self.spans_beside(other, &hours, &stay));
                }
                None => spans.extend(span(other, hours.iter().copied())),
            }
        }
        spans.extend(span(release, self.hours_of(release).into_iter()));
        History {
            store: name.to_owned(),
            spans,
            terminals,
            terminals_on: own.count() as u64,
        }
    }

    fn releases(&self) -> BTreeSet<&str> {
        let releases = self.terminals.values().flat_map(BTreeMap::keys);
        let named = releases.filter(|release| !is_no_release(release));
        named.map(String::as_str).collect()
    }

    /// The hours of all terminals, each as often as there are terminals.
    fn hours_of(&self, release: &str) -> Vec<i64> {
        let terminals = self.terminals.values();
        let hours = terminals.filter_map(|releases| releases.get(release));
        hours.flatten().copied().collect()
    }

    /// Whether most terminals that had the release have run another since. One terminal that still runs the earlier
    /// release now and then does not move a store back.
    fn was_left(&self, release: &str) -> bool {
        let with = self
            .terminals
            .values()
            .filter_map(|releases| Some((releases, releases.get(release)?.last()?)));
        let left = with.clone().filter(|(releases, last)| {
            let others = releases
                .iter()
                .filter(|(name, _)| *name != release && !is_no_release(name));
            let mut last_of_others = others.filter_map(|(_, hours)| hours.last());
            last_of_others.any(|hour| hour > last)
        });
        left.count() * 2 > with.count()
    }

    /// Spans of another release in a store that has had the judged one.
    fn spans_beside(&self, other: &str, hours: &[i64], stay: &Stay) -> Vec<Span> {
        let before = hours.iter().copied().filter(|hour| *hour <= stay.last);
        let after = hours.iter().copied().filter(|hour| *hour > stay.last);
        if stay.was_left {
            return span(other, before)
                .into_iter()
                .chain(span(other, after))
                .collect();
        }
        let Some(whole) = span(other, before) else {
            return Vec::new();
        };
        let with = self
            .terminals
            .values()
            .filter(|releases| releases.contains_key(other));
        // A few terminals with a third release make no second switch of the store.
        let is_stray = whole.from > stay.from && with.count() * 2 < self.terminals.len();
        if is_stray { Vec::new() } else { vec![whole] }
    }
}

/// The hours in which a store had the judged release.
struct Stay {
    from: i64,
    last: i64,
    was_left: bool,
}

/// From the first hour to the last.
fn span(release: &str, hours: impl Iterator<Item = i64> + Clone) -> Option<Span> {
    let (from, last) = (hours.clone().min()?, hours.clone().max()?);
    Some(Span {
        release: release.to_owned(),
        from,
        until: last + 1,
        terminal_hours: hours.count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::groups::{Group, group_of};

    fn ran(terminal: u32, release: &str, hours: impl IntoIterator<Item = i64>) -> Ran {
        Ran {
            store: "store-1".to_owned(),
            terminal: format!("till-{terminal}"),
            release: release.to_owned(),
            hours: hours.into_iter().collect(),
        }
    }

    /// Open from 8 to 20 o'clock on three days.
    fn days(from: i64, until: i64) -> impl Iterator<Item = i64> {
        (from..until).filter(|hour| (8..20).contains(&hour.rem_euclid(24)))
    }

    fn group(ran: Vec<Ran>) -> (Group, History) {
        let history = Fleet::new(ran).histories("new", 30).remove(0);
        (group_of(&history, "new", Some("old"), &(40..70)), history)
    }

    #[test]
    fn nights_and_a_straggler_move_no_store_back() {
        let mut all: Vec<Ran> = (1..10).map(|till| ran(till, "old", days(0, 30))).collect();
        all.extend((1..10).map(|till| ran(till, "new", days(32, 70))));
        // It runs the old one an hour longer than anybody the new one.
        all.push(ran(10, "old", [10, 34, 58, 70]));
        let (group, history) = group(all);
        assert_eq!((history.terminals, history.terminals_on), (10, 9));
        let expected = Group::Candidate {
            from: 32,
            was_moved_back: false,
        };
        assert_eq!(group, expected);
    }

    #[test]
    fn a_store_whose_terminals_went_back_was_moved_back() {
        let all = (1..4).flat_map(|till| {
            [
                ran(till, "old", days(0, 32).chain(days(56, 70))),
                ran(till, "new", days(32, 56)),
            ]
        });
        let (group, history) = group(all.collect());
        assert_eq!((history.terminals, history.terminals_on), (3, 3));
        let expected = Group::Candidate {
            from: 32,
            was_moved_back: true,
        };
        assert_eq!(group, expected);
    }

    #[test]
    fn a_store_is_mixed_while_others_report_and_whole_if_they_fell_silent_before() {
        let of = |others: i64| {
            let mut all = vec![ran(1, "new", days(32, 70)), ran(1, "old", days(0, 31))];
            all.extend((2..4).map(|till| ran(till, "old", days(0, others))));
            group(all).0
        };
        assert_eq!(of(70), Group::Mixed { from: 32 });
        let whole = Group::Candidate {
            from: 32,
            was_moved_back: false,
        };
        assert_eq!(of(30), whole);
    }

    #[test]
    fn who_has_the_release_from_a_third_on_is_no_candidate_of_the_first() {
        let all = (1..4).flat_map(|till| {
            [
                ran(till, "old", days(0, 32)),
                ran(till, "new", days(32, 44)),
                ran(till, "newer", days(56, 70)),
            ]
        });
        assert_eq!(group(all.collect()).0, Group::Neither);
    }

    #[test]
    fn the_first_hours_are_those_of_stores_and_of_terminals() {
        let other = Ran {
            store: "store-2".to_owned(),
            ..ran(1, "new", [50])
        };
        let fleet = Fleet::new([
            ran(1, "new", [32, 33]),
            ran(2, "new", [40]),
            ran(3, "old", [1]),
            ran(3, "unknown", [2]),
            other,
        ]);
        let first = fleet.first_hours("new");
        assert_eq!(first.stores, [32, 50]);
        assert_eq!(first.terminals, [32, 40, 50]);
        assert_eq!(fleet.size(), (2, 4));
        let heard: Vec<Heard> = fleet.heard("new", 32).collect();
        assert_eq!(heard[0].now, [32, 33]);
        assert!(heard[0].had_release && !heard[2].had_release);
        assert_eq!(heard[2].week_before, [1, 2]);
    }
}
