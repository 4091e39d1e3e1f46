//! Applies one record after another; takes the cut of a seal.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::aggregate::cut::{Cut, Restored, Totals};
use crate::aggregate::layout::Layout;
use crate::aggregate::live::{Brought, LiveSeries};
use crate::aggregate::names::NameSet;
use crate::aggregate::open::{OpenWindows, Shared, Tables};
use crate::aggregate::saved::{SavedSeries, SavedTerminal};
use crate::aggregate::sessions::OpenSessions;
use crate::aggregate::terminal_hours::{OVERFLOW_TERMINAL, OpenTerminalHours};
use crate::aggregate::terminals::{Terminal, TerminalKey, TerminalRef, Terminals};
use crate::model::metric::Metric;
use crate::model::time::{DAY_MS, HOUR_MS};
use crate::model::{
    Catalogue, Entry, FirstResult, KeyId, Pseudonym, Rollup, SessionDay, TerminalHour,
};
use crate::wire::journal_act_v1::{self, Act};
use crate::wire::journal_record_v1::{self, Entries, RecordError};

/// Caps of the aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Stores with rollups and series of their own. Unit: stores.
    pub stores_max: usize,
    /// Releases with rollups and series of their own. Unit: releases.
    pub releases_max: usize,
    /// Whether live histograms have exponential buckets beside the exact ones.
    pub native_histograms: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stores_max: 5_000,
            releases_max: 32,
            native_histograms: false,
        }
    }
}

/// A release silent for longer than any sample may be late can give up its place.
const RELEASE_IDLE_MS: i64 = 9 * DAY_MS;
/// A store silent for this long is retired.
const STORE_IDLE_MS: i64 = 30 * DAY_MS;
/// How often, in journal time, silent queues are looked for.
const AGE_EVERY_MS: i64 = HOUR_MS;

/// What a reader asks of the open windows.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// First second of the range.
    pub from_s: u32,
    /// First second after the range.
    pub to_s: u32,
    /// Only this store.
    pub store_id: Option<&'a str>,
}

/// Windows, series, sets and terminals, up to one position of the journal.
#[derive(Debug)]
pub struct Aggregator {
    catalogue: Arc<Catalogue>,
    layout: Arc<Layout>,
    stores: NameSet,
    releases: NameSet,
    windows: OpenWindows,
    terminal_hours: OpenTerminalHours,
    sessions: OpenSessions,
    live: LiveSeries,
    terminals: Terminals,
    /// Keys of the batches since the last cut.
    keys: HashMap<KeyId, FirstResult, foldhash::fast::RandomState>,
    totals: Totals,
    applied: u64,
    journal_ms: i64,
    aged_ms: i64,
}

impl Aggregator {
    /// The aggregate as a state file left it.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, settings: Settings, restored: Restored) -> Self {
        let layout = Arc::new(Layout::new(&catalogue));
        let mut aggregator = Self {
            stores: NameSet::new(settings.stores_max, STORE_IDLE_MS, &restored.stores),
            releases: NameSet::new(settings.releases_max, RELEASE_IDLE_MS, &restored.releases),
            windows: OpenWindows::default(),
            terminal_hours: OpenTerminalHours::default(),
            sessions: OpenSessions::new(&catalogue),
            live: LiveSeries::new(Arc::clone(&layout), settings.native_histograms),
            terminals: Terminals::default(),
            keys: HashMap::default(),
            totals: restored.totals,
            applied: restored.applied,
            journal_ms: restored.journal_ms,
            aged_ms: restored.journal_ms,
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
        let mut terminals: std::collections::BTreeMap<TerminalKey, Terminal> = restored
            .terminals
            .into_iter()
            .map(|(key, saved)| {
                let mut terminal = Terminal {
                    store: self.stores.find(&key.store_id).unwrap_or(0),
                    release: self.releases.find(&saved.release).unwrap_or(0),
                    last_seen_ms: saved.last_seen_ms,
                    offset_ms: saved.offset_ms,
                    is_retired: saved.is_retired,
                    ..Terminal::default()
                };
                saved.restore_levels(&mut terminal, &layout, &self.catalogue);
                (key, terminal)
            })
            .collect();
        for (key, queue, window) in restored.queues {
            terminals
                .entry(key)
                .or_default()
                .queues
                .push((queue, window));
        }
        for (key, terminal) in terminals {
            self.terminals.restore(key, terminal);
        }
        // Restoring is no change.
        self.live.take_changed();
    }

    /// Applies the record at `position`. One that cannot be read is counted and passed over.
    ///
    /// # Errors
    /// Says why the record could not be read; the position has moved on all the same.
    pub fn apply(&mut self, position: u64, payload: &[u8]) -> Result<(), RecordError> {
        self.totals.records += 1;
        let result = self.apply_record(payload);
        self.sessions.end();
        if result.is_err() {
            self.totals.unreadable += 1;
        }
        self.applied = position;
        result
    }

    fn apply_record(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        if journal_act_v1::is_act(payload) {
            self.apply_act(journal_act_v1::decode(payload)?);
            return Ok(());
        }
        let (header, entries) = journal_record_v1::decode(payload)?;
        let received_at_ms = header.received_at_ms;
        self.journal_ms = self.journal_ms.max(received_at_ms);
        let overflowed = self.stores.overflowed + self.releases.overflowed;
        let shared = Shared {
            store: self.stores.index(header.store_id, received_at_ms),
            release: self.releases.index(header.release, received_at_ms),
            source: header.source,
        };
        // The sets count since the start, the totals since ever.
        self.totals.overflowed += self.stores.overflowed + self.releases.overflowed - overflowed;
        let key = TerminalRef {
            store_id: header.store_id,
            terminal_id: header.terminal_id,
        };
        let (terminal, is_fresh, lost) = if header.is_keyed {
            let is_fresh = !self.keys.contains_key(&header.queue);
            (self.terminals.touch(key, received_at_ms), is_fresh, 0)
        } else {
            let order = (header.seq, received_at_ms);
            self.terminals.apply(key, header.queue, order)
        };
        if !is_fresh {
            self.totals.repeated += 1;
            return Ok(());
        }
        terminal.store = shared.store;
        terminal.release = shared.release;
        terminal.offset_ms = header.offset_ms;
        terminal.levels.resize(self.layout.levels(), None);
        let number = match terminal.changed {
            Some(number) if self.stores.is_named(shared.store) => number,
            _ => OVERFLOW_TERMINAL,
        };
        self.sessions.begin(header.session, shared.store);
        self.live.report(shared, received_at_ms, header.offset_ms);
        self.live.lost(shared.store, lost);
        if header.is_keyed {
            let first = first_result(entries.clone(), received_at_ms);
            self.keys.insert(header.queue, first);
        }
        for entry in entries {
            let (reading, histogram, value) = match entry? {
                Entry::Rejected(_, samples) => {
                    self.totals.rejected += samples;
                    continue;
                }
                Entry::Sample(reading, value) => (reading, None, value),
                Entry::Histogram(reading, histogram) => (reading, Some(histogram), 0),
            };
            let Some(metric) = self.catalogue.by_code(reading.metric) else {
                self.totals.unknown += 1;
                continue;
            };
            let t_ms = reading.t_raw_ms.saturating_add(header.applied_offset_ms);
            let brought = histogram
                .as_ref()
                .map_or(Brought::Value(value), Brought::Histogram);
            let before = self.windows.samples;
            match &histogram {
                None => self.windows.sample(shared, metric, &reading, (t_ms, value)),
                Some(histogram) => {
                    self.windows
                        .histogram(shared, metric, &reading, (t_ms, histogram));
                }
            }
            self.totals.accepted += self.windows.samples - before;
            self.sessions.add(metric, (t_ms, reading.label), brought);
            if metric.per_terminal {
                let at = (&reading, t_ms);
                self.terminal_hours
                    .add((shared, number), metric, at, brought);
            }
            let times = (t_ms, received_at_ms);
            let is_live = self
                .live
                .add(shared, metric, times, (reading.label, brought));
            if is_live && let Some(at) = self.layout.place(metric).level {
                // Of a histogram the greatest value stands for its end: what limits are about.
                let last = histogram.as_ref().map_or((t_ms, value), |histogram| {
                    (t_ms.saturating_add(histogram.span_ms), histogram.max)
                });
                keep_last(terminal, at, last);
            }
        }
        if self.journal_ms.saturating_sub(self.aged_ms) > AGE_EVERY_MS {
            self.aged_ms = self.journal_ms;
            let live = &mut self.live;
            let lost = |store, batches| live.lost(store, batches);
            self.totals.lost_batches += self.terminals.age(self.journal_ms, lost);
            for store_id in self.stores.silent(self.journal_ms) {
                self.retire_store(&store_id);
            }
        }
        Ok(())
    }

    fn apply_act(&mut self, act: Act<'_>) {
        let Act::RetireStore { store_id, at_ms } = act;
        self.journal_ms = self.journal_ms.max(at_ms);
        self.retire_store(store_id);
    }

    /// Ends a store's series. Its open windows, its rows at rest and its sequence windows stay: a batch
    /// sent again is still known.
    fn retire_store(&mut self, store_id: &str) {
        if let Some(index) = self.stores.remove(store_id) {
            self.live.forget_store(index);
        }
        self.terminals.retire(store_id);
    }

    /// Takes everything applied since the last cut.
    pub fn take(&mut self) -> Cut {
        let layout = Arc::clone(&self.layout);
        let (stores, releases) = self.live.take_changed();
        let dropped = (self.stores.take_dropped(), self.releases.take_dropped());
        // One that left its set may still have changed before.
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
        Cut {
            dropped,
            applied: self.applied,
            totals: self.totals,
            journal_ms: self.journal_ms,
            samples: self.windows.samples,
            terminals: changes.collect(),
            keys: self.take_keys(),
            windows: self.windows.take(),
            terminal_hours,
            sessions: self.sessions.take(),
            tables: self.tables(),
            stores: self.stores.saved(),
            releases: self.releases.saved(),
            store_series,
            release_series,
        }
    }

    fn take_keys(&mut self) -> Vec<(KeyId, FirstResult)> {
        let mut keys: Vec<_> = std::mem::take(&mut self.keys).into_iter().collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        keys
    }

    /// Idempotency keys of the batches since the last cut.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &FirstResult)> {
        self.keys.iter()
    }

    /// Rows that a seal would write now. Those by terminal and session have no buckets and weigh half.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.windows.rows() + (self.terminal_hours.len() + self.sessions.len()) / 2
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

    /// Copies of the open rows that a reader asks for.
    #[must_use]
    pub fn open_rollups(&self, filter: &Filter<'_>) -> Vec<Rollup> {
        let store = filter.store_id.map(|name| self.stores.find(name));
        if store == Some(None) {
            return Vec::new();
        }
        self.windows
            .copies(&self.tables(), |metric, row_store, start_s| {
                metric == filter.metric.code
                    && (filter.from_s..filter.to_s).contains(&start_s)
                    && store.flatten().is_none_or(|wanted| wanted == row_store)
            })
    }
}

/// What a batch came to, as its sender was told.
fn first_result(entries: Entries<'_>, received_at_ms: i64) -> FirstResult {
    let mut first = FirstResult {
        received_at_ms,
        accepted: 0,
        rejected: 0,
    };
    for entry in entries.flatten() {
        match entry {
            Entry::Sample(..) => first.accepted += 1,
            Entry::Histogram(_, histogram) => {
                let counts = histogram.counts.iter();
                first.accepted =
                    counts.fold(first.accepted, |sum, count| sum.saturating_add(*count));
            }
            Entry::Rejected(_, samples) => first.rejected = first.rejected.saturating_add(samples),
        }
    }
    first
}

impl Aggregator {
    /// Copies of the open rows of a store's terminals since an hour (s), of real users.
    #[must_use]
    pub fn open_terminal_hours(&self, store_id: &str, from_s: u32) -> Vec<TerminalHour> {
        let Some(store) = self.stores.find(store_id) else {
            return Vec::new();
        };
        let id_of = |number| self.terminals.changed_id(number);
        self.terminal_hours
            .copies((store, from_s), &self.tables(), id_of)
    }

    /// Copies of the open rows of a session.
    #[must_use]
    pub fn open_session(&self, session: Pseudonym) -> Vec<SessionDay> {
        self.sessions.copies(session, &self.tables())
    }
}

/// Keeps the value of a level with the latest time.
fn keep_last(terminal: &mut Terminal, at: usize, (t_ms, value): (i64, u64)) {
    if let Some(slot) = terminal.levels.get_mut(at)
        && slot.is_none_or(|(last_ms, _)| t_ms >= last_ms)
    {
        *slot = Some((t_ms, value));
    }
}
