//! What terminals reported of events, by what happened and by hour: everything since the last seal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use tillwatch_model::dimension::{OVERFLOW, UNKNOWN_RELEASE};
use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::event::{
    EventGroup, EventGroupKey, EventKind, EventReading, EventSums, Example, NAMES_MAX,
    OVERFLOW_FINGERPRINT,
};
use tillwatch_model::time::{HOUR_MS, window_start_ms};
use tillwatch_model::{BatchHeader, Source};
use xxhash_rust::xxh3::xxh3_64;

use crate::aggregate::brought::Shared;
use crate::aggregate::known_errors::KnownErrors;
use crate::aggregate::names::NameSet;
use crate::aggregate::open::Tables;

/// Groups that a store may have in an hour between two seals. What comes beyond them is one group for each kind.
const GROUPS_MAX: usize = 200;
/// What a group takes beside its example, about, and what a row of `rollup_1m` does: how much groups weigh.
const ROW_BYTES: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GroupKey {
    store: u32,
    /// Hours since 1970.
    hour: u32,
    kind: EventKind,
    fingerprint: Fingerprint,
    release: u32,
    source: Source,
}

/// Groups by their keys.
#[derive(Debug, Default)]
pub struct OpenEventGroups {
    groups: HashMap<GroupKey, EventSums, foldhash::fast::RandomState>,
    /// How many groups each store has in each hour.
    by_hour: HashMap<(u32, u32), usize, foldhash::fast::RandomState>,
    /// What their examples take. Unit: bytes.
    example_bytes: usize,
}

/// Names of custom events, by the release that reported them: the first of each release, and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EventNames(BTreeMap<String, BTreeSet<String>>);

impl EventNames {
    /// Whether a release may report events of this name.
    ///
    /// Releases without a name of their own never make room, so whoever came first would keep their places for ever. They
    /// have none: the groups of a store in an hour are their bound.
    fn admit(&mut self, release: &str, name: &str) -> bool {
        if release.starts_with("__") || release == UNKNOWN_RELEASE {
            return true;
        }
        let Some(names) = self.0.get_mut(release) else {
            let names = BTreeSet::from([name.to_owned()]);
            self.0.insert(release.to_owned(), names);
            return true;
        };
        names.contains(name) || (names.len() < NAMES_MAX && names.insert(name.to_owned()))
    }

    /// Lets go of a release that has made room for another.
    pub fn forget(&mut self, release: &str) {
        self.0.remove(release);
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl OpenEventGroups {
    /// Groups that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many rows of `rollup_1m` take as much memory.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.groups.len() + self.example_bytes / ROW_BYTES
    }

    /// Adds a batch's events, and says how many rows they make that were not there.
    #[inline]
    pub fn add(
        &mut self,
        events: Vec<EventReading>,
        batch: (&BatchHeader<'_>, Shared),
        releases: &NameSet,
        books: (&mut EventNames, &mut KnownErrors),
    ) -> usize {
        if events.is_empty() {
            return 0;
        }
        self.add_all(events, batch, releases, books)
    }

    #[cold]
    fn add_all(
        &mut self,
        events: Vec<EventReading>,
        batch: (&BatchHeader<'_>, Shared),
        releases: &NameSet,
        (names, known): (&mut EventNames, &mut KnownErrors),
    ) -> usize {
        let before = self.groups.len();
        let release = releases.name(batch.1.release);
        for event in events {
            if event.kind == EventKind::Error {
                let (header, shared) = batch;
                let t_ms = event.t_raw_ms.saturating_add(header.applied_offset_ms);
                let when = (t_ms, header.received_at_ms);
                known.note(event.fingerprint, (&release, shared.store), when);
            }
            self.add_one(event, batch, &release, names);
        }
        self.groups.len() - before
    }

    fn add_one(
        &mut self,
        event: EventReading,
        (header, shared): (&BatchHeader<'_>, Shared),
        release: &str,
        names: &mut EventNames,
    ) {
        let t_ms = event.t_raw_ms.saturating_add(header.applied_offset_ms);
        let hour = window_start_ms(t_ms, HOUR_MS) / HOUR_MS;
        let mut key = GroupKey {
            store: shared.store,
            hour: u32::try_from(hour).unwrap_or(0),
            kind: event.kind,
            fingerprint: event.fingerprint,
            release: shared.release,
            source: shared.source,
        };
        let has_name = event.kind != EventKind::Custom || names.admit(release, &event.name);
        if !(has_name && self.has_place(key)) {
            key.fingerprint = OVERFLOW_FINGERPRINT;
        }
        if !self.groups.contains_key(&key) {
            let (name, example) = of_first(event.name, event.example, key.fingerprint);
            self.example_bytes += example.bytes();
            *self.by_hour.entry((key.store, key.hour)).or_default() += 1;
            let sums = EventSums {
                name,
                example: Arc::new(example),
                ..EventSums::default()
            };
            self.groups.insert(key, sums);
        }
        if let Some(sums) = self.groups.get_mut(&key) {
            sums.count = sums.count.saturating_add(event.count);
            if event.is_fatal {
                sums.fatal = sums.fatal.saturating_add(event.count);
            }
            sums.note_terminal(terminal_hash(header.store_id, header.terminal_id));
        }
    }

    fn has_place(&self, key: GroupKey) -> bool {
        let of_hour = self.by_hour.get(&(key.store, key.hour));
        of_hour.is_none_or(|groups| *groups < GROUPS_MAX) || self.groups.contains_key(&key)
    }

    /// The groups as rows; they stay open.
    #[must_use]
    pub fn rows_now(&self, tables: &Tables) -> Vec<EventGroup> {
        let groups = self.groups.iter();
        let groups = groups.map(|(key, sums)| (*key, sums.clone()));
        TakenEventGroups(groups.collect()).into_rows(tables)
    }

    /// Empties the groups.
    pub fn take(&mut self) -> TakenEventGroups {
        TakenEventGroups(std::mem::take(self).groups.into_iter().collect())
    }
}

/// What a group keeps of its first event. A group of all that found no place is like none of them.
fn of_first(name: Box<str>, example: Example, fingerprint: Fingerprint) -> (Arc<str>, Example) {
    if fingerprint == OVERFLOW_FINGERPRINT {
        (Arc::from(OVERFLOW), Example::default())
    } else {
        (Arc::from(name), example)
    }
}

/// What stands for a terminal: the same on every collector, whatever the release.
#[must_use]
pub fn terminal_hash(store_id: &str, terminal_id: &str) -> u64 {
    let mut name = Vec::with_capacity(store_id.len() + 1 + terminal_id.len());
    name.extend_from_slice(store_id.as_bytes());
    name.push(0);
    name.extend_from_slice(terminal_id.as_bytes());
    xxh3_64(&name)
}

/// Groups taken out at a seal.
#[derive(Debug)]
pub struct TakenEventGroups(Vec<(GroupKey, EventSums)>);

impl TakenEventGroups {
    /// The rows, in the order of their keys.
    #[must_use]
    pub fn into_rows(self, tables: &Tables) -> Vec<EventGroup> {
        let mut groups = self.0;
        // By number first: what has one name under two numbers is then merged as it came.
        groups.sort_unstable_by_key(|(key, _)| *key);
        let rows = groups
            .into_iter()
            .filter_map(|group| resolve(group, tables));
        let mut rows: Vec<EventGroup> = rows.collect();
        rows.sort_by(|left, right| left.key.cmp(&right.key));
        rows.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.sums.merge(&later.sums);
            }
            is_same
        });
        rows
    }
}

fn resolve((key, sums): (GroupKey, EventSums), tables: &Tables) -> Option<EventGroup> {
    let name = |table: &[Arc<str>], index: u32| table.get(index as usize).cloned();
    let key = EventGroupKey {
        store_id: name(&tables.stores, key.store)?,
        kind: key.kind,
        fingerprint: key.fingerprint,
        hour_start_s: key.hour * 3_600,
        release: name(&tables.releases, key.release)?,
        source: key.source,
    };
    Some(EventGroup { key, sums })
}

#[cfg(test)]
mod tests {
    use tillwatch_model::Catalogue;

    use super::*;

    const BASE_MS: i64 = 1_763_683_200_000;

    fn tables() -> Tables {
        Tables {
            catalogue: Arc::new(Catalogue::default()),
            // A store gave up its place and came back: two numbers, one name.
            stores: vec!["a".into(), "b".into(), "a".into()],
            releases: vec!["1".into(), "2".into()],
        }
    }

    fn event(kind: EventKind, fingerprint: u64, name: &str) -> EventReading {
        EventReading {
            kind,
            is_fatal: fingerprint.is_multiple_of(2),
            t_raw_ms: BASE_MS,
            count: 3,
            fingerprint,
            name: name.into(),
            example: Example {
                type_name: "TypeError".into(),
                message: format!("message {fingerprint}").into(),
                frames_json: "".into(),
            },
        }
    }

    struct Groups(OpenEventGroups, EventNames);

    impl Groups {
        fn add(&mut self, store: u32, terminal_id: &str, event: EventReading) {
            let header = BatchHeader {
                received_at_ms: BASE_MS,
                offset_ms: 7_200_000,
                applied_offset_ms: 7_200_000,
                store_id: "a",
                terminal_id,
                queue: [0; 16],
                seq: 0,
                is_keyed: false,
                browser: None,
                release: "1",
                source: Source::Rum,
                session: None,
            };
            let shared = Shared {
                store,
                release: 0,
                source: Source::Rum,
            };
            self.0.add_one(event, (&header, shared), "1", &mut self.1);
        }

        fn rows(&mut self) -> Vec<EventGroup> {
            self.0.take().into_rows(&tables())
        }
    }

    #[test]
    fn events_of_one_group_are_one_row_with_the_first_as_its_example() {
        let mut groups = Groups(OpenEventGroups::default(), EventNames::default());
        for (store, terminal_id) in [(0, "till-1"), (0, "till-2"), (2, "till-1"), (1, "till-1")] {
            let mut event = event(EventKind::Error, 8, "");
            event.example.message = format!("of {store} {terminal_id}").into();
            groups.add(store, terminal_id, event);
        }
        groups.add(0, "till-1", event(EventKind::Error, 9, ""));
        assert_eq!((groups.0.len(), groups.0.is_empty()), (4, false));
        let rows = groups.rows();
        assert!(groups.0.is_empty());
        let of: Vec<_> = rows
            .iter()
            .map(|row| {
                let sums = (row.sums.count, row.sums.fatal, row.sums.terminals.len());
                (&*row.key.store_id, row.key.fingerprint, sums)
            })
            .collect();
        let expected = [
            ("a", 8, (9, 9, 2)),
            ("a", 9, (3, 0, 1)),
            ("b", 8, (3, 3, 1)),
        ];
        assert_eq!(of, expected);
        assert_eq!(&*rows[0].sums.example.message, "of 0 till-1");
        // The clock was two hours behind.
        let hour_start_s = u32::try_from(BASE_MS / 3_600_000 + 2).unwrap() * 3_600;
        assert_eq!(rows[0].key.hour_start_s, hour_start_s);
    }

    #[test]
    fn what_finds_no_place_is_one_group_and_the_known_ones_go_on() {
        let mut groups = Groups(OpenEventGroups::default(), EventNames::default());
        for round in 0..2 {
            for fingerprint in 1..=300 {
                groups.add(0, "till-1", event(EventKind::Error, fingerprint, ""));
            }
            assert_eq!(groups.0.len(), GROUPS_MAX + 1, "{round}");
        }
        groups.add(1, "till-1", event(EventKind::Error, 300, ""));
        let rows = groups.rows();
        assert_eq!(rows.len(), GROUPS_MAX + 2);
        let sum: u64 = rows.iter().map(|row| row.sums.count).sum();
        assert_eq!(sum, 601 * 3);
        assert_eq!(rows[0].key.fingerprint, OVERFLOW_FINGERPRINT);
        assert_eq!((&*rows[0].sums.name, rows[0].sums.count), (OVERFLOW, 600));
        assert_eq!(*rows[0].sums.example, Example::default());
        assert!(rows[1..].iter().all(|row| row.sums.count <= 6));
    }

    #[test]
    fn a_release_has_so_many_names_until_it_makes_room() {
        let mut groups = Groups(OpenEventGroups::default(), EventNames::default());
        let add = |groups: &mut Groups, number: u64| {
            let name = format!("name-{number}");
            groups.add(0, "till-1", event(EventKind::Custom, number + 1, &name));
        };
        (0..30).for_each(|number| add(&mut groups, number));
        assert_eq!(groups.rows().len(), NAMES_MAX + 1);
        // A seal keeps the names, and what a start reads from it has them.
        let saved = serde_json::to_string(&groups.1).unwrap();
        groups.1 = serde_json::from_str(&saved).unwrap();
        (25..30).for_each(|number| add(&mut groups, number));
        add(&mut groups, 3);
        let rows = groups.rows();
        let names: Vec<&str> = rows.iter().map(|row| &*row.sums.name).collect();
        assert_eq!(names, [OVERFLOW, "name-3"]);
        groups.1.forget("1");
        assert!(groups.1.is_empty());
        add(&mut groups, 29);
        assert_eq!(&*groups.rows()[0].sums.name, "name-29");
    }
}
