//! Copies what a page needs out of the aggregate, so that rendering holds no lock.

use std::collections::HashMap;
use std::sync::Arc;

use tillwatch_model::Quantile;
use tillwatch_model::histogram::values_at;

use crate::aggregate::Aggregator;
use crate::aggregate::known_errors::NewErrors;
use crate::aggregate::layout::Layout;
use crate::aggregate::live::{ReleaseLive, StoreLive};
use crate::aggregate::minutes::{RecentCopies, Series};
use crate::aggregate::terminals::Terminal;
use crate::fleet::silence::REPORTING_MS;
use crate::fleet::{OfStore, Silence, Watch};

/// The quantiles of window gauges.
pub const WINDOW_QUANTILES: [&str; 3] = ["0.5", "0.75", "0.95"];

/// The window gauge of one metric of one store.
#[derive(Debug)]
pub(super) struct Window {
    /// Samples in the window.
    pub(super) samples: u64,
    /// Values at [`WINDOW_QUANTILES`], recording unit.
    pub(super) values: Vec<u64>,
}

impl Window {
    fn of(indices: &[u32], counts: &[u64], quantiles: &[Quantile]) -> Option<Self> {
        let values = values_at(indices, counts, quantiles)?;
        let samples = counts.iter().sum();
        Some(Self { samples, values })
    }
}

fn window_quantiles() -> Vec<Quantile> {
    let parsed = WINDOW_QUANTILES.iter();
    parsed.filter_map(|text| Quantile::parse(text)).collect()
}

/// Last values of one level over a store's reporting terminals.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Recording unit, ascending.
    pub values: Vec<u64>,
}

/// Terminals of a store that posted in the last ten minutes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// All of them.
    pub reporting: u64,
    /// Those of which a synchronisation failed in this time.
    pub sync_failing: u64,
    /// Those of which a synchronisation took longer than the critical limit in this time.
    pub sync_slow: u64,
}

/// One store.
#[derive(Debug)]
pub struct StoreSnapshot {
    /// The store's name.
    pub store_id: Arc<str>,
    /// The store's number.
    pub(super) number: u32,
    /// The store's cumulative series.
    pub series: StoreLive,
    /// The store's levels, by their places.
    pub levels: Vec<Levels>,
    /// The store's terminals, counted.
    pub terminals: Counted,
    /// The store's terminals that should report and do not.
    pub silence: OfStore,
    /// Batches that are missing and may still come.
    pub batches_missing: u64,
}

/// Everything on a page.
#[derive(Debug)]
pub struct Snapshot {
    /// Where each metric's series stand.
    pub layout: Arc<Layout>,
    /// The stores.
    pub stores: Vec<StoreSnapshot>,
    /// The releases with their reporting terminals.
    pub releases: Vec<(Arc<str>, ReleaseLive, u64)>,
    /// What is new on each release, in the same order.
    pub new_errors: Vec<NewErrors>,
    /// What window gauges are made of.
    recent: RecentCopies,
}

/// Terminals looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 4_096;
/// Stores whose series are copied while the aggregate waits.
const STORES_PIECE: u32 = 64;

/// A snapshot that is being taken, a piece at a time: the terminals, the series of stores, the last minutes.
#[derive(Debug)]
pub struct Taking {
    now_ms: i64,
    silence: Silence,
    silent: HashMap<u32, OfStore>,
    /// Stores whose terminals have been looked at.
    looked_at: usize,
    of_release: HashMap<u32, u64>,
    of_store: HashMap<u32, (Counted, Vec<Levels>)>,
    missing: HashMap<u32, u64>,
    /// Stores whose series have been looked at.
    copied: u32,
    stores: Vec<StoreSnapshot>,
    /// Minutes that have been copied.
    minutes: i64,
    recent: RecentCopies,
}

impl Taking {
    /// Begins to take what the page shows at the moment of `silence`; nothing is taken yet.
    #[must_use]
    pub fn new(silence: Silence) -> Self {
        Self {
            now_ms: silence.now_ms,
            silence,
            silent: HashMap::new(),
            looked_at: 0,
            of_release: HashMap::new(),
            of_store: HashMap::new(),
            missing: HashMap::new(),
            copied: 0,
            stores: Vec::new(),
            minutes: 0,
            recent: RecentCopies::default(),
        }
    }

    /// Takes the next piece; says whether there are more.
    pub fn look(&mut self, aggregator: &Aggregator) -> bool {
        if self.looked_at < aggregator.terminals().stores().len() {
            self.look_at_terminals(aggregator);
            return true;
        }
        if (self.copied as usize) < aggregator.live().stores().len() {
            self.copy_stores(aggregator);
            return true;
        }
        let recent = aggregator.live().recent();
        let is_more = recent.copy(self.now_ms, self.minutes, &mut self.recent);
        self.minutes += 1;
        is_more
    }

    fn look_at_terminals(&mut self, aggregator: &Aggregator) {
        let stores = aggregator.terminals().stores();
        let mut seen = 0;
        for store in stores.iter().skip(self.looked_at) {
            *self.missing.entry(store.number()).or_default() += store.gaps().missing;
            let levels = aggregator.live().layout().levels();
            let number = store.number();
            for (_, terminal) in store.iter() {
                self.add(number, terminal, levels);
            }
            let of_store = self.silence.count_store(store);
            let silent = self.silent.entry(store.number()).or_default();
            silent.silent += of_store.silent;
            silent.with_sales += of_store.with_sales;
            self.looked_at += 1;
            seen += 1 + store.len();
            if seen >= PIECE {
                break;
            }
        }
    }

    fn copy_stores(&mut self, aggregator: &Aggregator) {
        // A name that gave up its place and came back has two numbers: only the newer one counts.
        let (known, _) = aggregator.names();
        let from = self.copied;
        self.copied = from.saturating_add(STORES_PIECE);
        for number in from..self.copied {
            let Some(series) = aggregator.live().stores().get(number as usize) else {
                return;
            };
            if series.last_report_ms == 0 || !known.is_current(number) {
                continue;
            }
            let (terminals, levels) = self.of_store.remove(&number).unwrap_or_default();
            self.stores.push(StoreSnapshot {
                store_id: known.name(number),
                number,
                series: series.clone(),
                levels,
                terminals,
                silence: self.silent.remove(&number).unwrap_or_default(),
                batches_missing: self.missing.remove(&number).unwrap_or(0),
            });
        }
    }

    /// Adds a terminal of the store with this number, if people use it. A terminal knows the number as of its own last batch, and its
    /// store may have got a name since.
    fn add(&mut self, store: u32, terminal: &Terminal, level_count: usize) {
        let is_silent = self.now_ms - terminal.last_seen_ms > REPORTING_MS;
        if terminal.is_retired || terminal.is_synthetic || is_silent {
            return;
        }
        *self.of_release.entry(terminal.release).or_default() += 1;
        let (counted, levels) = self.of_store.entry(store).or_default();
        let is_recent = |at_ms: i64| u64::from(self.now_ms - at_ms <= REPORTING_MS);
        counted.reporting += 1;
        counted.sync_failing += is_recent(terminal.sync_failed_ms);
        counted.sync_slow += is_recent(terminal.sync_slow_ms);
        levels.resize(level_count, Levels::default());
        for (level, last) in levels.iter_mut().zip(&terminal.levels) {
            if let Some(last) = last
                && self.now_ms - last.t_ms <= REPORTING_MS
            {
                level.values.push(last.value);
            }
        }
    }

    /// The snapshot, with the releases as they are now.
    #[must_use]
    pub fn finish(self, aggregator: &Aggregator) -> Snapshot {
        let live = aggregator.live();
        let (_, known) = aggregator.names();
        let release = |(number, series): (u32, &ReleaseLive)| {
            if !known.is_current(number) {
                return None;
            }
            let reporting = self.of_release.get(&number).copied().unwrap_or(0);
            Some((known.name(number), series.clone(), reporting))
        };
        let releases: Vec<_> = (0_u32..).zip(live.releases()).filter_map(release).collect();
        let errors = aggregator.known_errors();
        let new_errors = releases.iter();
        let new_errors = new_errors
            .map(|(name, ..)| errors.new_on(name, self.now_ms))
            .collect();
        let mut stores = self.stores;
        for level in stores.iter_mut().flat_map(|store| &mut store.levels) {
            level.values.sort_unstable();
        }
        Snapshot {
            releases,
            new_errors,
            layout: Arc::clone(live.layout()),
            stores,
            recent: self.recent,
        }
    }
}

impl Snapshot {
    /// What the page shows at `now_ms`, in one go, by a collector that was never ready: nobody is silent.
    #[must_use]
    pub fn take(aggregator: &Aggregator, now_ms: i64) -> Self {
        let mut taking = Taking::new(Watch::default().at(now_ms));
        while taking.look(aggregator) {}
        taking.finish(aggregator)
    }

    /// The window gauges by store and metric. Merged here, and not while the aggregate waits.
    pub(super) fn windows(&mut self) -> HashMap<Series, Window> {
        let mut windows = HashMap::new();
        let quantiles = window_quantiles();
        std::mem::take(&mut self.recent).merge(|series, indices, counts| {
            windows.extend(Window::of(indices, counts, &quantiles).map(|window| (series, window)));
        });
        windows
    }
}
