//! The capped, durable sets of stores and releases.
//!
//! When a set is full, a name makes room for a new one. A name that has reported for less than a day makes room
//! once it has been silent for longer than it reported, so that names which somebody invents and posts once take
//! no place from others for long. A name that has reported for a day makes room only after days of silence.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use tillwatch_model::dimension::{INVALID_RELEASE, NEW_RELEASE, OVERFLOW, UNKNOWN_RELEASE};
use tillwatch_model::time::{DAY_MS, HOUR_MS, put_right};

use crate::aggregate::name_rules::{Rules, SavedAges};

/// A name that found no place is looked for a place again after this much journal time.
const RETRY_MS: i64 = 60_000;

/// Index of [`OVERFLOW`].
pub(super) const OVERFLOW_INDEX: u32 = 0;

/// Stands for the first time of a name that has reported for a day.
const LONG_AGO: i64 = i64::MIN;

/// Names by a time, the earliest on top.
type Young = BinaryHeap<Reverse<(i64, Arc<str>)>>;

/// Names in the order in which the journal brought them, each with a small number.
#[derive(Debug)]
pub struct NameSet {
    rules: Rules,
    names: Vec<Arc<str>>,
    first_seen_ms: Vec<i64>,
    last_seen_ms: Vec<i64>,
    by_name: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    /// Young names by when they can make room at the earliest; made when the set is full. A name's time only
    /// rises while it stands here, and is looked at when it comes to the top.
    young: Option<Young>,
    /// The hour in which young names last made room, and how many did.
    made_room: (i64, usize),
    full_at_ms: i64,
    /// When the clock was last known to be right: what the silence of other names is measured by.
    settled_ms: i64,
    /// Names that have left since the last cut.
    dropped: Vec<String>,
    /// Names that have made room, and their numbers, until somebody takes note.
    evicted: Vec<(Arc<str>, u32)>,
    /// Numbers of names that have left since the last cut. One that comes back gets its own again, so that there
    /// are no two numbers of one name in a cut.
    freed: BTreeMap<Arc<str>, u32>,
    /// Numbers that nothing holds any more.
    free: Vec<u32>,
    /// Batches whose name found no place.
    pub overflowed: u64,
}

impl NameSet {
    /// A set as a state file left it. Names that are not listed, if names are, leave it.
    #[must_use]
    pub fn new(rules: Rules, restored: &[(String, i64)], ages: &SavedAges) -> Self {
        let mut set = Self {
            rules,
            names: Vec::new(),
            first_seen_ms: Vec::new(),
            last_seen_ms: Vec::new(),
            by_name: HashMap::default(),
            young: None,
            made_room: ages.made_room,
            full_at_ms: i64::MIN,
            settled_ms: i64::MIN,
            dropped: Vec::new(),
            evicted: Vec::new(),
            freed: BTreeMap::new(),
            free: Vec::new(),
            overflowed: 0,
        };
        set.add(OVERFLOW, LONG_AGO, i64::MAX);
        for (name, last_seen_ms) in restored {
            if set.may_have_place(name) {
                let first_seen_ms = ages.young.get(name).copied().unwrap_or(LONG_AGO);
                set.add(name, first_seen_ms, *last_seen_ms);
            } else {
                set.dropped.push(name.clone());
            }
        }
        set
    }

    /// Whether a name is not asked for by those who post, but stands for something.
    #[must_use]
    pub fn is_reserved(name: &str) -> bool {
        [OVERFLOW, INVALID_RELEASE, UNKNOWN_RELEASE, NEW_RELEASE].contains(&name)
    }

    fn may_have_place(&self, name: &str) -> bool {
        let listed = self.rules.listed.as_ref();
        listed.is_none_or(|listed| listed.contains(name))
    }

    /// The number of a name that is in the set, and that a batch received at `now_ms` bears.
    pub fn known(&mut self, name: &str, now_ms: i64) -> Option<u32> {
        let index = self.by_name.get(name).copied()?;
        if let Some(seen) = self.last_seen_ms.get_mut(index as usize)
            && index != OVERFLOW_INDEX
        {
            *seen = now_ms;
        }
        Some(index)
    }

    /// The number of `name`, which a batch received at `now_ms` bears: a new one if there is a place.
    pub fn index(&mut self, name: &str, now_ms: i64) -> u32 {
        if let Some(index) = self.known(name, now_ms) {
            return index;
        }
        let has_place = || self.by_name.len() <= self.rules.count_max;
        if Self::is_reserved(name)
            || self.may_have_place(name) && (has_place() || self.makes_room(now_ms))
        {
            return self.add(name, now_ms, now_ms);
        }
        self.overflow()
    }

    /// The number of all names without a place, for a batch that gets none.
    pub fn overflow(&mut self) -> u32 {
        self.overflowed += 1;
        OVERFLOW_INDEX
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, index: u32) -> Arc<str> {
        self.names
            .get(index as usize)
            .map_or_else(|| Arc::from(OVERFLOW), Arc::clone)
    }

    /// The number of a name that is in the set.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Whether a number is still that of its name: one that gave up its place is not.
    #[must_use]
    pub fn is_current(&self, index: u32) -> bool {
        let name = self.names.get(index as usize);
        name.is_some_and(|name| self.by_name.get(name) == Some(&index))
    }

    /// Whether a number stands for one name, and not for all that found no place.
    #[must_use]
    pub fn is_named(&self, index: u32) -> bool {
        index != OVERFLOW_INDEX
    }

    /// Every name by its number, for resolving them elsewhere.
    #[must_use]
    pub fn table(&self) -> Vec<Arc<str>> {
        self.names.clone()
    }

    /// The names in use with when they were last seen, in the order of their numbers.
    #[must_use]
    pub fn saved(&self) -> Vec<(String, i64)> {
        let mut used: Vec<u32> = self.by_name.values().copied().collect();
        used.sort_unstable();
        let name = |index: u32| {
            let seen = self.last_seen_ms.get(index as usize).copied();
            (self.name(index).to_string(), seen.unwrap_or(0))
        };
        used.into_iter()
            .filter(|index| *index != OVERFLOW_INDEX)
            .map(name)
            .collect()
    }

    /// The names in use, and those that have a place whenever they come.
    #[must_use]
    pub fn placed(&self) -> Vec<Arc<str>> {
        let listed = self.rules.listed.iter().flat_map(|listed| listed.iter());
        let listed = listed.map(|name| Arc::from(&**name));
        self.by_name.keys().cloned().chain(listed).collect()
    }

    /// What the state file keeps beside [`NameSet::saved`].
    #[must_use]
    pub fn ages(&self) -> SavedAges {
        let names = self.by_name.iter();
        let young = names.filter_map(|(name, index)| {
            self.due_ms(*index)?;
            let first_ms = *self.first_seen_ms.get(*index as usize)?;
            Some((name.to_string(), first_ms))
        });
        SavedAges {
            young: young.filter(|(name, _)| !Self::is_reserved(name)).collect(),
            made_room: self.made_room,
        }
    }

    /// Numbers that are no name's since the last cut.
    pub fn freed(&self) -> impl Iterator<Item = u32> {
        self.freed.values().copied()
    }

    /// Nothing holds the numbers any more that are no name's: they may be given again.
    pub fn cut(&mut self) {
        let freed = std::mem::take(&mut self.freed);
        self.free.extend(freed.into_values());
    }

    /// Names that have made room since the last call, with the numbers that they had.
    pub fn take_evicted(&mut self) -> Vec<(Arc<str>, u32)> {
        std::mem::take(&mut self.evicted)
    }

    /// Takes a name out; gives its number, which from now on is not current.
    pub fn remove(&mut self, name: &str) -> Option<u32> {
        // `__overflow__` is where the others go, and stays.
        let index = self.find(name).filter(|index| *index != OVERFLOW_INDEX)?;
        let (name, _) = self.by_name.remove_entry(name)?;
        self.dropped.push((*name).to_owned());
        self.freed.insert(name, index);
        Some(index)
    }

    /// The clock was right at this time: later ones were noted when it was wrong. From now on it is known
    /// who has been silent until then.
    pub fn set_right(&mut self, at_ms: i64) {
        let first = self.first_seen_ms.iter_mut();
        for (first_ms, last_ms) in first.zip(&mut self.last_seen_ms).skip(1) {
            // Whoever has reported for a day stays one who has.
            if last_ms.saturating_sub(*first_ms) >= DAY_MS {
                *first_ms = LONG_AGO;
            }
            put_right(first_ms, at_ms);
            put_right(last_ms, at_ms);
        }
        self.young = None;
        self.made_room.0 = self.made_room.0.min(at_ms.div_euclid(HOUR_MS));
        put_right(&mut self.full_at_ms, at_ms);
        self.settled_ms = at_ms;
    }

    /// Names that have been silent for as long as this set allows.
    #[must_use]
    pub fn silent(&self) -> Vec<Arc<str>> {
        let is_silent = |index: u32| {
            let seen = self.last_seen_ms.get(index as usize);
            seen.is_some_and(|seen| self.settled_ms.saturating_sub(*seen) > self.rules.idle_ms_max)
        };
        let silent = self.by_name.iter().filter(|(_, index)| is_silent(**index));
        silent.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Names that have left since the last call; some may have come back.
    pub fn take_dropped(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dropped)
    }

    /// How many names are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len() - 1
    }

    /// Whether no name is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, name: &str, first_seen_ms: i64, last_seen_ms: i64) -> u32 {
        let name: Arc<str> = Arc::from(name);
        let index = if let Some(index) = self.freed.remove(&name).or_else(|| self.free.pop()) {
            let at = index as usize;
            self.names[at] = Arc::clone(&name);
            self.first_seen_ms[at] = first_seen_ms;
            self.last_seen_ms[at] = last_seen_ms;
            index
        } else {
            self.names.push(Arc::clone(&name));
            self.first_seen_ms.push(first_seen_ms);
            self.last_seen_ms.push(last_seen_ms);
            u32::try_from(self.names.len() - 1).unwrap_or(OVERFLOW_INDEX)
        };
        self.by_name.insert(Arc::clone(&name), index);
        if let Some(due_ms) = self.due_ms(index)
            && !Self::is_reserved(&name)
            && let Some(young) = &mut self.young
        {
            young.push(Reverse((due_ms, name)));
        }
        index
    }

    /// When a name that has reported for less than a day has been silent for as long as it reported.
    fn due_ms(&self, index: u32) -> Option<i64> {
        let first_ms = *self.first_seen_ms.get(index as usize)?;
        let last_ms = *self.last_seen_ms.get(index as usize)?;
        let reported_ms = last_ms.saturating_sub(first_ms);
        (reported_ms < DAY_MS).then(|| last_ms.saturating_add(reported_ms.max(0)))
    }

    fn makes_room(&mut self, now_ms: i64) -> bool {
        if self.free.is_empty() && self.names.len() >= self.rules.numbers_max {
            return false;
        }
        self.a_young_one_makes_room(now_ms) || self.an_old_one_makes_room(now_ms)
    }

    /// Takes out the young name that is due first, if it is due.
    fn a_young_one_makes_room(&mut self, now_ms: i64) -> bool {
        let hour = now_ms.div_euclid(HOUR_MS);
        if self.made_room.0 != hour {
            self.made_room = (hour, 0);
        }
        if self.made_room.1 >= self.rules.made_room_max {
            return false;
        }
        let mut young = self.young.take().unwrap_or_else(|| self.all_young());
        let mut leaves = None;
        while let Some(Reverse((noted_ms, name))) = young.pop() {
            let due_ms = self.find(&name).and_then(|index| self.due_ms(index));
            match due_ms {
                // It has left, or is young no longer.
                None => {}
                Some(due_ms) if due_ms > noted_ms => young.push(Reverse((due_ms, name))),
                Some(due_ms) => {
                    if due_ms < now_ms {
                        leaves = Some(name);
                    } else {
                        young.push(Reverse((due_ms, name)));
                    }
                    break;
                }
            }
        }
        self.young = Some(young);
        let Some(name) = leaves else { return false };
        self.made_room.1 += 1;
        self.evict(&name)
    }

    fn all_young(&self) -> Young {
        let names = self.by_name.iter();
        let names = names.filter(|(name, _)| !Self::is_reserved(name));
        let due = names.filter_map(|(name, index)| Some((self.due_ms(*index)?, Arc::clone(name))));
        due.map(Reverse).collect()
    }

    fn an_old_one_makes_room(&mut self, now_ms: i64) -> bool {
        if now_ms < self.full_at_ms.saturating_add(RETRY_MS) {
            return false;
        }
        let oldest = self
            .by_name
            .iter()
            .filter_map(|(name, index)| Some((*self.last_seen_ms.get(*index as usize)?, name)))
            .min();
        if let Some((seen_ms, name)) = oldest
            && self.settled_ms.saturating_sub(seen_ms) > self.rules.idle_ms_max
        {
            let name = Arc::clone(name);
            return self.evict(&name);
        }
        self.full_at_ms = now_ms;
        false
    }

    fn evict(&mut self, name: &Arc<str>) -> bool {
        let index = self.remove(name);
        let evicted = index.map(|index| (Arc::clone(name), index));
        self.evicted.extend(evicted);
        index.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn rules(count_max: usize) -> Rules {
        Rules {
            count_max,
            idle_ms_max: 9 * DAY_MS,
            numbers_max: 1_000,
            made_room_max: 3,
            listed: None,
        }
    }

    fn set(count_max: usize) -> NameSet {
        NameSet::new(rules(count_max), &[], &SavedAges::default())
    }

    fn has(set: &NameSet, names: &[&str]) -> bool {
        names.iter().all(|name| set.find(name).is_some())
    }

    #[test]
    fn names_posted_once_make_room_for_one_another_and_for_one_that_comes_to_stay() {
        let mut set = set(3);
        // It has reported for an hour.
        for minute in 0..=60 {
            set.index("honest", minute * 60_000);
        }
        let now_ms = HOUR_MS;
        for number in 0..50 {
            let name = format!("invented-{number}");
            let is_named = set.index(&name, now_ms + number) != OVERFLOW_INDEX;
            // Three an hour make room.
            assert_eq!(is_named, number < 5, "{number}");
        }
        assert!(has(&set, &["honest", "invented-3", "invented-4"]));
        assert_eq!(set.overflowed, 45);
        let evicted: Vec<_> = set
            .take_evicted()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(evicted.len(), 3);
        // In the next hour a new store gets its place, and no name that has reported for longer gives its own.
        let now_ms = 2 * HOUR_MS + 1;
        assert_ne!(set.index("new", now_ms), OVERFLOW_INDEX);
        assert!(has(&set, &["honest", "new", "invented-4"]));
    }

    #[test]
    fn a_name_is_kept_for_as_long_a_silence_as_it_reported_and_after_a_day_for_nine() {
        let mut set = set(1);
        for minute in [0, 30] {
            set.index("a", minute * 60_000);
        }
        assert_eq!(set.index("b", 60 * 60_000), OVERFLOW_INDEX);
        set.index("a", 80 * 60_000);
        // It has been due after 60 minutes, and has reported again: it is due after 160.
        assert_eq!(set.index("b", 160 * 60_000), OVERFLOW_INDEX);
        let b = set.index("b", 160 * 60_000 + 1);
        assert_ne!(b, OVERFLOW_INDEX);
        assert!(!has(&set, &["a"]));
        assert_eq!(&*set.name(b), "b");
        let day = DAY_MS + 160 * 60_000 + 1;
        set.index("b", day);
        assert_eq!(
            set.index("c", day + 30 * DAY_MS),
            OVERFLOW_INDEX,
            "a batch's time is no reason to forget what has reported for a day"
        );
        set.set_right(day + 9 * DAY_MS + 1);
        assert_ne!(set.index("c", day + 9 * DAY_MS + 60_001), OVERFLOW_INDEX);
        assert!(!has(&set, &["b"]));
    }

    #[test]
    fn a_number_is_given_again_only_after_a_cut() {
        let mut set = set(1);
        let a = set.index("a", 0);
        let b = set.index("b", 1);
        assert_ne!(a, b);
        assert_eq!(&*set.name(a), "a", "open windows still resolve it");
        assert!(!set.is_current(a) && set.is_current(b));
        set.cut();
        let c = set.index("c", HOUR_MS);
        assert_eq!(c, a);
        assert_eq!(&*set.name(c), "c");
        let again = set.index("b", 2 * HOUR_MS);
        assert_eq!(again, b, "what comes back before a cut is the same");
        // There are only so many between two cuts.
        let rules = Rules {
            numbers_max: 3,
            ..rules(1)
        };
        let mut set = NameSet::new(rules, &[], &SavedAges::default());
        for (number, is_named) in [(0, true), (1, true), (2, false)] {
            let index = set.index(&number.to_string(), number * HOUR_MS);
            assert_eq!(index != OVERFLOW_INDEX, is_named);
        }
        set.cut();
        assert_ne!(set.index("3", 3 * HOUR_MS), OVERFLOW_INDEX);
    }

    #[test]
    fn where_names_are_listed_no_other_gets_a_place() {
        let listed: HashSet<Box<str>> = ["a", "b"].map(Box::from).into();
        let rules = Rules {
            listed: Some(Arc::new(listed)),
            ..rules(2)
        };
        let restored = ["x", "a"].map(|name| (name.to_owned(), 5));
        let mut set = NameSet::new(rules, &restored, &SavedAges::default());
        assert_eq!(set.take_dropped(), ["x"]);
        assert_eq!(set.index("x", 9), OVERFLOW_INDEX);
        assert_ne!(set.index("b", 9), OVERFLOW_INDEX);
        assert!(has(&set, &["a", "b"]) && set.overflowed == 1);
    }

    #[test]
    fn a_restart_at_any_place_changes_nothing() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut whole, mut restarted) = (set(4), set(4));
            let mut now_ms = 0;
            for _ in 0..300 {
                now_ms += random.i64(0..HOUR_MS);
                let name = random.u8(b'a'..b'k');
                let name = std::str::from_utf8(std::slice::from_ref(&name)).unwrap();
                let named = [&mut whole, &mut restarted].map(|set| {
                    let index = set.index(name, now_ms);
                    set.name(index)
                });
                assert_eq!(named[0], named[1], "seed {seed}");
                if random.u8(0..10) == 0 {
                    let (names, ages) = (restarted.saved(), restarted.ages());
                    restarted = NameSet::new(rules(4), &names, &ages);
                } else if random.u8(0..10) == 0 {
                    whole.cut();
                }
            }
        }
    }

    #[test]
    fn a_restored_set_gives_the_same_numbers() {
        let mut set = set(8);
        let numbers: Vec<u32> = ["x", "y", "z"]
            .iter()
            .map(|name| set.index(name, 5))
            .collect();
        let mut again = NameSet::new(rules(8), &set.saved(), &set.ages());
        let same: Vec<u32> = ["x", "y", "z"]
            .iter()
            .map(|name| again.index(name, 5))
            .collect();
        assert_eq!(numbers, same);
    }
}
