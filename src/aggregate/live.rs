//! Cumulative and window series for Prometheus, kept apart from seals.
//!
//! Only samples of real users that are young enough for their metric's rule (`Live`) move live series; older
//! ones are counted by age and go to ClickHouse alone. Buckets are exact, because each sample is compared
//! with the bounds themselves.

use std::sync::Arc;

use tillwatch_model::metric::Metric;
use tillwatch_model::time::{DAY_MS, HOUR_MS, put_right};
use tillwatch_model::{HistogramReading, Source};

use crate::aggregate::brought::{Arrival, Brought, Shared};
use crate::aggregate::exponential::ExponentialHistogram;
use crate::aggregate::layout::Layout;
use crate::aggregate::minutes::RecentMinutes;

/// Upper bounds of the ages by which late samples are counted, and their names.
pub const LATE_AGES: [(i64, &str); 4] = [
    (HOUR_MS, "1h"),
    (DAY_MS, "24h"),
    (3 * DAY_MS, "3d"),
    (i64::MAX, "8d"),
];

/// Upper bounds of the buckets of clock skew, ms.
pub const SKEW_BOUNDS_MS: [u64; 7] = [1_000, 5_000, 30_000, 60_000, 300_000, 3_600_000, 86_400_000];

/// The buckets of a metric's series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets<'a> {
    pub(super) metric: &'a Metric,
    /// Upper bounds, in the recording unit.
    pub(super) bounds: &'a [u64],
}

impl<'a> Buckets<'a> {
    pub(super) fn by_store(metric: &'a Metric) -> Self {
        let bounds = metric.bounds;
        Self { metric, bounds }
    }

    pub(super) fn by_release(metric: &'a Metric) -> Self {
        let bounds = metric.bounds_by_release();
        Self { metric, bounds }
    }
}

/// A cumulative histogram with exact bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassicHistogram {
    /// Values in each bucket (not cumulative), the last one without an upper bound.
    pub counts: Vec<u64>,
    /// Sum of all values, recording unit.
    pub sum: u64,
    /// All values in exponential buckets too, in Prometheus' unit; only if that is asked for.
    pub native: Option<Box<ExponentialHistogram>>,
}

impl ClassicHistogram {
    fn record(&mut self, Buckets { metric, bounds }: Buckets<'_>, value: u64) {
        self.count(bounds, value, 1);
        self.count_native(metric, value, 1);
        self.sum = self.sum.wrapping_add(value);
    }

    fn count(&mut self, bounds: &[u64], value: u64, count: u64) {
        if self.counts.len() <= bounds.len() {
            self.counts.resize(bounds.len() + 1, 0);
        }
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(slot) = self.counts.get_mut(bucket) {
            *slot += count;
        }
    }

    fn count_native(&mut self, metric: &Metric, value: u64, count: u64) {
        if let Some(native) = &mut self.native {
            native.add(metric.unit.to_prometheus(value), count);
        }
    }

    fn record_histogram(
        &mut self,
        Buckets { metric, bounds }: Buckets<'_>,
        histogram: &HistogramReading,
    ) {
        for (index, count) in histogram.indices.iter().zip(&histogram.counts) {
            let highest = tillwatch_model::histogram::bucket_highest(*index);
            self.count(bounds, highest, *count);
            self.count_native(metric, highest, *count);
        }
        self.sum = self.sum.wrapping_add(histogram.sum);
    }
}

/// The live series of one store.
#[derive(Debug, Clone, Default)]
pub struct StoreLive {
    /// Sums of the counters, by [`counter`](crate::aggregate::layout::Place::counter) and label.
    pub counters: Vec<u64>,
    /// By [`store_histogram`](crate::aggregate::layout::Place::store_histogram).
    pub histograms: Vec<ClassicHistogram>,
    /// When a batch of the store was last received, Unix ms.
    pub last_report_ms: i64,
    /// Samples too old for live series, by [`LATE_AGES`].
    pub late: [u64; LATE_AGES.len()],
    /// How far the terminals' clocks were off, either way, batch by batch, ms: by [`SKEW_BOUNDS_MS`].
    pub skew: ClassicHistogram,
    /// Batches received, each once.
    pub batches_received: u64,
    /// Batches that never came: missing for nine days, or too far below the newest.
    pub batches_lost: u64,
    /// Batches that never will come, because the terminal has dropped them and said so.
    pub batches_explained: u64,
    /// Of those received, the ones that their terminals had numbered.
    pub batches_numbered: u64,
    /// How often a terminal's clock was moved between two posts.
    pub clock_jumps: u64,
    is_dirty: bool,
}

/// The live series of one release over the whole fleet.
#[derive(Debug, Clone, Default)]
pub struct ReleaseLive {
    /// Sums of the counters, by [`release_counter`](crate::aggregate::layout::Place::release_counter) and label.
    pub counters: Vec<u64>,
    /// By [`release_histogram`](crate::aggregate::layout::Place::release_histogram).
    pub histograms: Vec<ClassicHistogram>,
    is_dirty: bool,
}

/// All live series.
#[derive(Debug)]
pub struct LiveSeries {
    layout: Arc<Layout>,
    /// What a histogram begins as.
    empty: ClassicHistogram,
    stores: Vec<StoreLive>,
    releases: Vec<ReleaseLive>,
    /// What window gauges read.
    recent: RecentMinutes,
}

impl LiveSeries {
    /// No series yet; with exponential buckets beside the exact ones if they are asked for, and at most so
    /// many bytes for window gauges.
    #[must_use]
    pub fn new(layout: Arc<Layout>, has_native: bool, window_bytes_max: usize) -> Self {
        Self {
            recent: RecentMinutes::new(layout.store_histograms, window_bytes_max),
            layout,
            empty: ClassicHistogram {
                native: has_native.then(Box::default),
                ..ClassicHistogram::default()
            },
            stores: Vec::new(),
            releases: Vec::new(),
        }
    }

    /// Notes that a batch of this store was received, and how far the terminal's clock was off.
    pub fn report(
        &mut self,
        shared: Shared,
        received_at_ms: i64,
        offset_ms: i64,
        is_numbered: bool,
    ) {
        self.recent.receive(received_at_ms);
        let store = self.store_mut(shared.store);
        store.batches_received += 1;
        store.batches_numbered += u64::from(is_numbered);
        if shared.source == Source::Rum {
            // The last time wins, not the latest of all: the clock may have been set back.
            store.last_report_ms = received_at_ms;
            // The offset is 0 when the terminal did not say, or was right.
            if offset_ms != 0 {
                let off_ms = offset_ms.unsigned_abs();
                store.skew.count(&SKEW_BOUNDS_MS, off_ms, 1);
                store.skew.sum = store.skew.sum.wrapping_add(off_ms);
            }
        }
    }

    /// The clock was trusted at this time: later ones were noted when it was wrong.
    pub fn set_right(&mut self, at_ms: i64) {
        for store in &mut self.stores {
            store.is_dirty |= put_right(&mut store.last_report_ms, at_ms);
        }
    }

    /// Notes that the clock of one of a store's terminals was moved between two posts.
    pub fn clock_jumped(&mut self, store: u32) {
        self.store_mut(store).clock_jumps += 1;
    }

    /// Notes batches of a store that will never come.
    pub fn lost(&mut self, store: u32, batches: u64) {
        if batches > 0 {
            self.store_mut(store).batches_lost += batches;
        }
    }

    /// Notes batches of a store that will never come, because their terminal has dropped them.
    pub fn explained(&mut self, store: u32, batches: u64) {
        if batches > 0 {
            self.store_mut(store).batches_explained += batches;
        }
    }

    /// Adds a reading at its corrected time, unless it is too old to be live; says whether it was live.
    pub fn add(
        &mut self,
        &Arrival {
            shared,
            metric,
            reading,
            t_ms,
            received_at_ms,
            brought,
        }: &Arrival<'_>,
    ) -> bool {
        let at = metric.counter_of(reading.label);
        if shared.source != Source::Rum {
            return false;
        }
        let age_ms = received_at_ms.saturating_sub(t_ms.saturating_add(brought.span_ms()));
        if age_ms > metric.live.age_ms_max() {
            let store = self.store_mut(shared.store);
            let bracket = LATE_AGES.iter().position(|(most, _)| age_ms <= *most);
            if let Some(slot) = bracket.and_then(|bracket| store.late.get_mut(bracket)) {
                *slot += brought.weight();
            }
            return false;
        }
        let place = self.layout.place(metric);
        if let (Some(first), Brought::Value(value)) = (place.counter, brought) {
            let store = self.store_mut(shared.store);
            count(&mut store.counters, first + at, value);
        }
        if let (Some(first), Brought::Value(value)) = (place.release_counter, brought) {
            let release = self.release_mut(shared.release);
            count(&mut release.counters, first + at, value);
        }
        if let Some(index) = place.store_histogram {
            let store = self.store_mut(shared.store);
            add_to(
                &mut store.histograms,
                index,
                Buckets::by_store(metric),
                brought,
            );
            // The catalogue has some dozens of metrics.
            let place = u16::try_from(index).unwrap_or(u16::MAX);
            self.recent.add((shared.store, place), t_ms, brought);
        }
        if let Some(index) = place.release_histogram {
            let release = self.release_mut(shared.release);
            let buckets = Buckets::by_release(metric);
            add_to(&mut release.histograms, index, buckets, brought);
        }
        true
    }

    /// The stores by number; a number without a store has never reported.
    #[must_use]
    pub fn stores(&self) -> &[StoreLive] {
        &self.stores
    }

    /// The releases by number.
    #[must_use]
    pub fn releases(&self) -> &[ReleaseLive] {
        &self.releases
    }

    /// What window gauges read.
    #[must_use]
    pub fn recent(&self) -> &RecentMinutes {
        &self.recent
    }

    /// Lets go of minutes that no window gauge can read at `now_ms`. No rollup depends on them.
    pub fn forget_minutes(&mut self, now_ms: i64) {
        self.recent.forget(now_ms);
    }

    /// Where each metric's series stand.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The series of a store, for restoring.
    pub fn store_mut(&mut self, index: u32) -> &mut StoreLive {
        let (counters, histograms) = (self.layout.counters, self.layout.store_histograms);
        let store = at(&mut self.stores, index);
        store.is_dirty = true;
        store.counters.resize(counters, 0);
        if store.histograms.len() < histograms {
            store.histograms.resize(histograms, self.empty.clone());
        }
        store
    }

    /// Forgets the series of a store: its number is no longer that of a name.
    pub fn forget_store(&mut self, index: u32) {
        if let Some(store) = self.stores.get_mut(index as usize) {
            *store = StoreLive::default();
        }
        self.recent.forget_store(index);
    }

    /// Forgets the series of a release: its number is no longer that of a name.
    pub fn forget_release(&mut self, index: u32) {
        if let Some(release) = self.releases.get_mut(index as usize) {
            *release = ReleaseLive::default();
        }
    }

    /// The series of a release, for restoring.
    pub fn release_mut(&mut self, index: u32) -> &mut ReleaseLive {
        let (counters, histograms) = (self.layout.release_counters, self.layout.release_histograms);
        let release = at(&mut self.releases, index);
        release.is_dirty = true;
        release.counters.resize(counters, 0);
        if release.histograms.len() < histograms {
            release.histograms.resize(histograms, self.empty.clone());
        }
        release
    }

    /// Numbers of the stores and releases that have changed since the last call.
    pub fn take_changed(&mut self) -> (Vec<u32>, Vec<u32>) {
        let stores = self.stores.iter_mut().map(|store| &mut store.is_dirty);
        let stores = changed(stores);
        let releases = self
            .releases
            .iter_mut()
            .map(|release| &mut release.is_dirty);
        (stores, changed(releases))
    }
}

fn changed<'a>(flags: impl Iterator<Item = &'a mut bool>) -> Vec<u32> {
    let numbered = (0_u32..).zip(flags);
    numbered
        .filter_map(|(index, is_dirty)| std::mem::take(is_dirty).then_some(index))
        .collect()
}

fn at<T: Default + Clone>(all: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if all.len() <= index {
        all.resize(index + 1, T::default());
    }
    &mut all[index]
}

fn count(counters: &mut [u64], slot: usize, value: u64) {
    if let Some(counter) = counters.get_mut(slot) {
        *counter = counter.saturating_add(value);
    }
}

fn add_to(all: &mut [ClassicHistogram], index: usize, buckets: Buckets<'_>, brought: Brought<'_>) {
    let Some(classic) = all.get_mut(index) else {
        return;
    };
    match brought {
        Brought::Value(value) => classic.record(buckets, value),
        Brought::Histogram(histogram) => classic.record_histogram(buckets, histogram),
    }
}
