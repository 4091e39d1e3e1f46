//! Copies what a page needs out of the aggregate, so that rendering holds no lock.

use std::collections::HashMap;
use std::sync::Arc;

use tillwatch_model::Quantile;
use tillwatch_model::histogram::values_at;

use crate::aggregate::Aggregator;
use crate::aggregate::layout::Layout;
use crate::aggregate::live::{ReleaseLive, StoreLive};
use crate::aggregate::minutes::{RecentCopies, Series};
use crate::aggregate::terminals::Terminal;

/// A terminal that posted within this time is reporting, and its last values count.
const REPORTING_MS: i64 = 10 * 60_000;

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
    /// What window gauges are made of.
    recent: RecentCopies,
}

/// Terminals looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 4_096;

/// A snapshot that is being taken: first the terminals, a piece at a time, then the rest.
#[derive(Debug)]
pub struct Taking {
    now_ms: i64,
    /// Stores whose terminals have been looked at.
    looked_at: usize,
    of_release: HashMap<u32, u64>,
    of_store: HashMap<u32, (Counted, Vec<Levels>)>,
    missing: HashMap<u32, u64>,
}

impl Taking {
    /// Begins to take what the page shows at `now_ms`; nothing is taken yet.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            looked_at: 0,
            of_release: HashMap::new(),
            of_store: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    /// Looks at the next terminals; says whether there are more.
    pub fn look(&mut self, aggregator: &Aggregator) -> bool {
        let stores = aggregator.terminals().stores();
        let mut seen = 0;
        for store in stores.iter().skip(self.looked_at) {
            *self.missing.entry(store.number()).or_default() += store.gaps().missing;
            for (_, terminal) in store.iter() {
                self.add(terminal, aggregator.live().layout().levels());
            }
            self.looked_at += 1;
            seen += 1 + store.len();
            if seen >= PIECE {
                break;
            }
        }
        self.looked_at < stores.len()
    }

    fn add(&mut self, terminal: &Terminal, level_count: usize) {
        if terminal.is_retired || self.now_ms - terminal.last_seen_ms > REPORTING_MS {
            return;
        }
        *self.of_release.entry(terminal.release).or_default() += 1;
        let (counted, levels) = self.of_store.entry(terminal.store).or_default();
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

    /// The snapshot, with everything else as it is now.
    #[must_use]
    pub fn finish(self, aggregator: &Aggregator) -> Snapshot {
        let Self {
            now_ms,
            of_release,
            mut of_store,
            mut missing,
            ..
        } = self;
        let (live, tables) = (aggregator.live(), aggregator.tables());
        let layout = Arc::clone(live.layout());
        // A name that gave up its place and came back has two numbers: only the newer one counts.
        let (stores_known, releases_known) = aggregator.names();
        let mut stores = Vec::new();
        for (index, series) in (0_u32..).zip(live.stores()) {
            if series.last_report_ms == 0 || !stores_known.is_current(index) {
                continue;
            }
            let (terminals, mut levels) = of_store.remove(&index).unwrap_or_default();
            for level in &mut levels {
                level.values.sort_unstable();
            }
            let Some(store_id) = tables.stores.get(index as usize) else {
                continue;
            };
            stores.push(StoreSnapshot {
                store_id: Arc::clone(store_id),
                number: index,
                series: series.clone(),
                levels,
                terminals,
                batches_missing: missing.remove(&index).unwrap_or(0),
            });
        }
        let release = |(index, series): (u32, &ReleaseLive)| {
            if !releases_known.is_current(index) {
                return None;
            }
            let name = tables.releases.get(index as usize)?;
            let reporting = of_release.get(&index).copied().unwrap_or(0);
            Some((Arc::clone(name), series.clone(), reporting))
        };
        Snapshot {
            releases: (0_u32..).zip(live.releases()).filter_map(release).collect(),
            layout,
            stores,
            recent: live.recent().copies(now_ms),
        }
    }
}

impl Snapshot {
    /// What the page shows at `now_ms`, in one go.
    #[must_use]
    pub fn take(aggregator: &Aggregator, now_ms: i64) -> Self {
        let mut taking = Taking::new(now_ms);
        while taking.look(aggregator) {}
        taking.finish(aggregator)
    }

    /// The window gauges by store and metric. Merged here, and not while the aggregate waits.
    pub(super) fn windows(&mut self) -> HashMap<Series, Window> {
        let quantiles: Vec<Quantile> = WINDOW_QUANTILES
            .iter()
            .filter_map(|text| Quantile::parse(text))
            .collect();
        let mut windows = HashMap::new();
        std::mem::take(&mut self.recent).merge(|series, indices, counts| {
            if let Some(values) = values_at(indices, counts, &quantiles) {
                let samples = counts.iter().sum();
                windows.insert(series, Window { samples, values });
            }
        });
        windows
    }
}
