//! The aggregate: what it holds, what a seal takes out of it, what readers see.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hashbrown::HashMap;
use tillwatch_model::time::DAY_MS;
use tillwatch_model::{Catalogue, FirstResult, KeyId, StoreKeys};

use crate::aggregate::cut::{Cut, NameAges, Restored, Totals};
use crate::aggregate::event_groups::{EventNames, OpenEventGroups};
use crate::aggregate::known_errors::KnownErrors;
use crate::aggregate::layout::Layout;
use crate::aggregate::live::LiveSeries;
use crate::aggregate::losses::OpenLosses;
use crate::aggregate::name_rules::Rules;
use crate::aggregate::names::NameSet;
use crate::aggregate::open::{OpenWindows, Tables};
use crate::aggregate::proposals::Proposals;
use crate::aggregate::row_quota::{Overdrawn, RowQuota};
use crate::aggregate::saved::{SavedSeries, SavedTerminal};
use crate::aggregate::sessions::OpenSessions;
use crate::aggregate::summaries::OpenSummaries;
use crate::aggregate::terminal_hours::OpenTerminalHours;
use crate::aggregate::terminals::{Limits, Terminal, TerminalKey, Terminals};

/// Caps of the aggregate.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Stores with rollups and series of their own. Unit: stores.
    pub stores_max: usize,
    /// The only stores that have them, if the operator lists the fleet's stores.
    pub store_list: Option<Arc<HashSet<Box<str>>>>,
    /// Releases with rollups and series of their own. Unit: releases.
    pub releases_max: usize,
    /// Whether live histograms have exponential buckets beside the exact ones.
    pub native_histograms: bool,
    /// How many terminals there may be.
    pub terminals: Limits,
    /// Memory for the minutes that window gauges read. Unit: bytes.
    pub window_bytes_max: usize,
    /// What a store may make in an hour before it is told of. Unit: rows.
    pub store_rows_per_hour: usize,
}

/// A release silent for longer than any sample may be late can give up its place.
const RELEASE_IDLE_MS: i64 = 9 * DAY_MS;
/// A store silent for this long is retired.
const STORE_IDLE_MS: i64 = 30 * DAY_MS;
/// Numbers that releases may have between two cuts: open windows keep them in 16 bits.
const RELEASE_NUMBERS_MAX: usize = 65_000;
/// Young names that may make room in an hour, for each place, and at least. Unit: names.
const MADE_ROOM_A_PLACE: usize = 20;
const MADE_ROOM_MIN: usize = 5_000;

/// Windows, series, sets and terminals, up to one position of the journal.
#[derive(Debug)]
pub struct Aggregator {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) layout: Arc<Layout>,
    pub(super) stores: NameSet,
    pub(super) releases: NameSet,
    pub(super) proposals: Proposals,
    pub(super) windows: OpenWindows,
    pub(super) terminal_hours: OpenTerminalHours,
    pub(super) sessions: OpenSessions,
    pub(super) event_groups: OpenEventGroups,
    pub(super) summaries: OpenSummaries,
    pub(super) losses: OpenLosses,
    pub(super) event_names: EventNames,
    pub(super) known_errors: KnownErrors,
    pub(super) live: LiveSeries,
    pub(super) terminals: Terminals,
    /// Keys of the batches since the last cut.
    pub(super) keys: HashMap<KeyId, FirstResult, foldhash::fast::RandomState>,
    /// How many these are, by number of the store and hour.
    pub(super) key_counts: BTreeMap<(u32, i64), usize>,
    pub(super) row_quota: RowQuota,
    pub(super) totals: Totals,
    pub(super) applied: u64,
    pub(super) journal_ms: i64,
}

impl Aggregator {
    /// Makes the aggregate as a state file left it.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, settings: Caps, restored: Restored) -> Self {
        let layout = Arc::new(Layout::new(&catalogue));
        let listed = settings.store_list.as_ref().map(|stores| stores.len());
        let rules = |count_max: usize| Rules {
            count_max,
            idle_ms_max: STORE_IDLE_MS,
            numbers_max: usize::MAX,
            made_room_max: (MADE_ROOM_A_PLACE * count_max).max(MADE_ROOM_MIN),
            listed: None,
        };
        let of_stores = Rules {
            listed: settings.store_list,
            ..rules(listed.unwrap_or(settings.stores_max))
        };
        let of_releases = Rules {
            idle_ms_max: RELEASE_IDLE_MS,
            numbers_max: RELEASE_NUMBERS_MAX,
            ..rules(settings.releases_max)
        };
        let ages = &restored.name_ages;
        let mut aggregator = Self {
            stores: NameSet::new(of_stores, &restored.stores, &ages.stores),
            releases: NameSet::new(of_releases, &restored.releases, &ages.releases),
            proposals: ages.proposals.clone(),
            windows: OpenWindows::default(),
            terminal_hours: OpenTerminalHours::default(),
            sessions: OpenSessions::new(&catalogue),
            event_groups: OpenEventGroups::default(),
            summaries: OpenSummaries::default(),
            losses: OpenLosses::default(),
            event_names: ages.event_names.clone(),
            known_errors: ages.known_errors.clone().restored(restored.journal_ms),
            live: LiveSeries::new(
                Arc::clone(&layout),
                settings.native_histograms,
                settings.window_bytes_max,
            ),
            terminals: Terminals::new(settings.terminals),
            keys: HashMap::default(),
            key_counts: BTreeMap::new(),
            row_quota: RowQuota::new(settings.store_rows_per_hour),
            totals: restored.totals,
            applied: restored.applied,
            journal_ms: restored.journal_ms,
            catalogue,
            layout,
        };
        aggregator.restore(restored);
        aggregator
    }

    fn restore(&mut self, restored: Restored) {
        let layout = Arc::clone(&self.layout);
        for (name, saved) in &restored.store_series {
            if let Some(index) = self.stores.find(name) {
                saved.restore_store(self.live.store_mut(index), &layout);
            }
        }
        for (name, saved) in &restored.release_series {
            if let Some(index) = self.releases.find(name) {
                saved.restore_release(self.live.release_mut(index), &layout);
            }
        }
        let mut terminals: BTreeMap<TerminalKey, Terminal> = restored
            .terminals
            .into_iter()
            .map(|(key, saved)| {
                let mut terminal = Terminal {
                    store: self.stores.find(&key.store_id).unwrap_or(0),
                    release: self.releases.find(&saved.release).unwrap_or(0),
                    last_seen_ms: saved.last_seen_ms,
                    offset_ms: saved.offset_ms,
                    offset_at_ms: saved.offset_at_ms,
                    clock_jumps: saved.clock_jumps,
                    is_retired: saved.is_retired,
                    ..Terminal::default()
                };
                saved.restore_levels(&mut terminal, &layout, &self.catalogue);
                saved.restore_habit(&mut terminal);
                (key, terminal)
            })
            .collect();
        for (key, queue, window) in restored.queues {
            let terminal = terminals.entry(key).or_default();
            terminal.restore_queue(queue, window);
        }
        for (key, terminal) in terminals {
            let is_named = self.stores.find(&key.store_id).is_some();
            self.terminals.restore(key, terminal, is_named);
        }
        // What was just restored counts as no change.
        self.live.take_changed();
    }

    /// Takes everything applied since the last cut.
    pub fn take(&mut self) -> Cut {
        let layout = Arc::clone(&self.layout);
        self.forget_freed_releases();
        let (stores, releases) = self.live.take_changed();
        let dropped = (self.stores.take_dropped(), self.releases.take_dropped());
        let name_ages = NameAges {
            stores: self.stores.ages(),
            releases: self.releases.ages(),
            proposals: self.proposals.clone(),
            event_names: self.event_names.clone(),
            known_errors: self.known_errors.clone(),
        };
        // A store that left its set may still have changed before.
        let current = |index: &&u32| self.stores.is_current(**index);
        let store_series = stores.iter().filter(current).filter_map(|index| {
            let store = self.live.stores().get(*index as usize)?;
            let name = self.stores.name(*index).to_string();
            Some((name, SavedSeries::of_store(store, &layout)))
        });
        let current = |index: &&u32| self.releases.is_current(**index);
        let release_series = releases.iter().filter(current).filter_map(|index| {
            let release = self.live.releases().get(*index as usize)?;
            let name = self.releases.name(*index).to_string();
            Some((name, SavedSeries::of_release(release, &layout)))
        });
        let (store_series, release_series) = (store_series.collect(), release_series.collect());
        let terminal_hours = self.terminal_hours.take(self.terminals.changed_ids());
        let changes = self.terminals.take_changes().into_iter().map(|change| {
            let saved = change
                .terminal
                .as_ref()
                .map_or_else(SavedTerminal::default, |terminal| {
                    SavedTerminal::of(terminal, &self.releases.name(terminal.release), &layout)
                });
            (change, saved)
        });
        let cut = Cut {
            dropped,
            name_ages,
            applied: self.applied,
            totals: self.totals,
            journal_ms: self.journal_ms,
            samples: self.windows.samples,
            terminals: changes.collect(),
            keys_by_store: self.keys_by_store(),
            keys: self.take_keys(),
            windows: self.windows.take(),
            terminal_hours,
            sessions: self.sessions.take(),
            event_groups: self.event_groups.take(),
            summaries: self.summaries.take(),
            losses: self.losses.take(),
            tables: self.tables(),
            stores: self.stores.saved(),
            releases: self.releases.saved(),
            store_series,
            release_series,
        };
        self.stores.cut();
        self.releases.cut();
        cut
    }

    /// Terminals that last reported a release whose name has left report none: its number may be another's.
    fn forget_freed_releases(&mut self) {
        let freed: HashSet<u32> = self.releases.freed().collect();
        if !freed.is_empty() {
            self.terminals.change_all(|terminal| {
                let is_gone = freed.contains(&terminal.release);
                terminal.release = if is_gone { 0 } else { terminal.release };
                is_gone
            });
        }
    }

    fn take_keys(&mut self) -> Vec<(KeyId, FirstResult)> {
        let mut keys: Vec<_> = std::mem::take(&mut self.keys).into_iter().collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        self.key_counts.clear();
        keys
    }

    /// How many idempotency keys each store has used since the last cut, by hour. Stores without series are one,
    /// which has no name.
    #[must_use]
    pub fn keys_by_store(&self) -> Vec<StoreKeys> {
        let counts = self.key_counts.iter();
        let of = |((store, hour), keys): (&(u32, i64), &usize)| StoreKeys {
            store_id: if self.stores.is_named(*store) {
                (&*self.stores.name(*store)).into()
            } else {
                "".into()
            },
            hour: *hour,
            keys: *keys,
        };
        counts.map(of).collect()
    }

    /// Idempotency keys of the batches since the last cut.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &FirstResult)> {
        self.keys.iter()
    }

    /// Rows that a seal would write now. Those by terminal and session have no buckets and weigh half.
    #[must_use]
    pub fn rows(&self) -> usize {
        let without_buckets = self.terminal_hours.len()
            + self.sessions.len()
            + self.summaries.len()
            + self.losses.len();
        self.windows.rows() + without_buckets / 2 + self.event_groups.rows()
    }

    /// Those who have made as many rows as they may in an hour, since the last call.
    pub fn take_overdrawn(&mut self) -> Vec<Overdrawn> {
        self.row_quota.take()
    }

    /// How many rows each store has made in the hour.
    #[must_use]
    pub fn row_quota(&self) -> &RowQuota {
        &self.row_quota
    }

    /// Samples in open windows.
    #[must_use]
    pub fn open_samples(&self) -> u64 {
        self.windows.samples
    }

    /// Position of the last record applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The time of the last record applied, Unix ms.
    #[must_use]
    pub fn journal_ms(&self) -> i64 {
        self.journal_ms
    }

    /// Sums over everything applied.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The live series.
    #[must_use]
    pub fn live(&self) -> &LiveSeries {
        &self.live
    }

    /// Lets go of minutes that no window gauge can read at `now_ms`. What records give does not depend on
    /// them, so a clock may come in here.
    pub fn forget_minutes(&mut self, now_ms: i64) {
        self.live.forget_minutes(now_ms);
    }

    /// The terminals.
    #[must_use]
    pub fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    /// What resolves the numbers of stores and releases.
    #[must_use]
    pub fn tables(&self) -> Tables {
        Tables {
            catalogue: Arc::clone(&self.catalogue),
            stores: self.stores.table(),
            releases: self.releases.table(),
        }
    }

    /// The errors that are known.
    #[must_use]
    pub fn known_errors(&self) -> &KnownErrors {
        &self.known_errors
    }

    /// The sets of stores and releases.
    #[must_use]
    pub fn names(&self) -> (&NameSet, &NameSet) {
        (&self.stores, &self.releases)
    }

    /// How many stores and releases have series of their own.
    #[must_use]
    pub fn name_counts(&self) -> (usize, usize) {
        (self.stores.len(), self.releases.len())
    }
}
