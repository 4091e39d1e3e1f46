//! The capped, durable sets of stores and releases.

use std::collections::HashMap;
use std::sync::Arc;

use tillwatch_model::dimension::{INVALID_RELEASE, OVERFLOW, UNKNOWN_RELEASE};
use tillwatch_model::time::put_right;

/// A name that found no place is looked for a place again after this much journal time.
const RETRY_MS: i64 = 60_000;

/// Index of [`OVERFLOW`].
const OVERFLOW_INDEX: u32 = 0;

/// Names in the order in which the journal brought them, each with a small number.
#[derive(Debug)]
pub struct NameSet {
    count_max: usize,
    idle_ms_max: i64,
    names: Vec<Arc<str>>,
    last_seen_ms: Vec<i64>,
    by_name: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    full_at_ms: i64,
    /// When the clock was last known to be right: what a name's silence is measured by.
    settled_ms: i64,
    /// Names that have left since the last cut.
    dropped: Vec<String>,
    /// Batches whose name found no place.
    pub overflowed: u64,
}

impl NameSet {
    /// A set of at most `count_max` names. When it is full, a name silent for `idle_ms_max` of journal
    /// time makes room, so that a year of releases does not end in `__overflow__`.
    #[must_use]
    pub fn new(count_max: usize, idle_ms_max: i64, restored: &[(String, i64)]) -> Self {
        let mut set = Self {
            count_max,
            idle_ms_max,
            names: Vec::new(),
            last_seen_ms: Vec::new(),
            by_name: HashMap::default(),
            full_at_ms: i64::MIN,
            settled_ms: i64::MIN,
            dropped: Vec::new(),
            overflowed: 0,
        };
        set.add(OVERFLOW, i64::MAX);
        for (name, last_seen_ms) in restored {
            set.add(name, *last_seen_ms);
        }
        set
    }

    /// The number of `name`, which a batch received at `now_ms` bears.
    pub fn index(&mut self, name: &str, now_ms: i64) -> u32 {
        if let Some(index) = self.by_name.get(name).copied() {
            if let Some(seen) = self.last_seen_ms.get_mut(index as usize) {
                *seen = now_ms;
            }
            return index;
        }
        let is_reserved = name == INVALID_RELEASE || name == UNKNOWN_RELEASE;
        if is_reserved || self.by_name.len() <= self.count_max || self.makes_room(now_ms) {
            return self.add(name, now_ms);
        }
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

    /// Takes a name out; gives its number, which from now on is not current.
    pub fn remove(&mut self, name: &str) -> Option<u32> {
        // `__overflow__` is where the others go, and stays.
        let index = self.find(name).filter(|index| *index != OVERFLOW_INDEX)?;
        self.by_name.remove(name);
        self.dropped.push(name.to_owned());
        Some(index)
    }

    /// The clock was right at this time: later ones were noted when it was wrong. From now on it is known
    /// who has been silent until then.
    pub fn set_right(&mut self, at_ms: i64) {
        for seen_ms in self.last_seen_ms.iter_mut().skip(1) {
            put_right(seen_ms, at_ms);
        }
        put_right(&mut self.full_at_ms, at_ms);
        self.settled_ms = at_ms;
    }

    /// Names that have been silent for as long as this set allows.
    #[must_use]
    pub fn silent(&self) -> Vec<Arc<str>> {
        let is_silent = |index: u32| {
            let seen = self.last_seen_ms.get(index as usize);
            seen.is_some_and(|seen| self.settled_ms.saturating_sub(*seen) > self.idle_ms_max)
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

    fn add(&mut self, name: &str, now_ms: i64) -> u32 {
        // Numbers are never used twice in a process: open windows hold them.
        let index = u32::try_from(self.names.len()).unwrap_or(OVERFLOW_INDEX);
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.last_seen_ms.push(now_ms);
        self.by_name.insert(name, index);
        index
    }

    fn makes_room(&mut self, now_ms: i64) -> bool {
        if now_ms < self.full_at_ms.saturating_add(RETRY_MS) {
            return false;
        }
        let oldest = self
            .by_name
            .iter()
            .filter_map(|(name, index)| Some((*self.last_seen_ms.get(*index as usize)?, name)))
            .min();
        if let Some((seen_ms, name)) = oldest
            && self.settled_ms.saturating_sub(seen_ms) > self.idle_ms_max
        {
            let name = Arc::clone(name);
            return self.remove(&name).is_some();
        }
        self.full_at_ms = now_ms;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_cap_a_name_overflows_until_one_falls_silent() {
        let mut set = NameSet::new(2, 1_000, &[]);
        let (a, b) = (set.index("a", 0), set.index("b", 500_000));
        assert_ne!(a, b);
        assert_eq!(set.index("a", 500_001), a);
        assert_eq!(set.index("c", 500_002), OVERFLOW_INDEX);
        assert_eq!(set.overflowed, 1);
        // `b` has been silent for longer than the others and than allowed.
        set.index("a", 600_000);
        assert_eq!(
            set.index("c", 600_001),
            OVERFLOW_INDEX,
            "a batch's time is no reason to forget"
        );
        set.set_right(600_002);
        assert_ne!(set.index("c", 700_000), OVERFLOW_INDEX);
        assert_eq!(set.find("b"), None);
        assert_eq!(&*set.name(b), "b", "open windows still resolve it");
    }

    #[test]
    fn a_restored_set_gives_the_same_numbers() {
        let mut set = NameSet::new(8, 1_000, &[]);
        let numbers: Vec<u32> = ["x", "y", "z"]
            .iter()
            .map(|name| set.index(name, 5))
            .collect();
        let mut again = NameSet::new(8, 1_000, &set.saved());
        let same: Vec<u32> = ["x", "y", "z"]
            .iter()
            .map(|name| again.index(name, 5))
            .collect();
        assert_eq!(numbers, same);
    }
}
