//! Where each metric's live series stand in the arrays of a store, a release and a terminal.

use std::sync::Arc;

use tillwatch_model::metric::Metric;
use tillwatch_model::{Catalogue, Kind, Reading};

/// Where each metric's series stand.
#[derive(Debug)]
pub struct Layout {
    catalogue: Arc<Catalogue>,
    /// The places of the metrics, by metric code.
    places: Vec<Place>,
    pub(super) counters: usize,
    pub(super) release_counters: usize,
    pub(super) store_histograms: usize,
    pub(super) release_histograms: usize,
    levels: usize,
    synchronisations: Synchronisations,
}

/// By what a terminal's synchronisations are known to fail, or to be slow.
#[derive(Debug, Clone, Copy, Default)]
struct Synchronisations {
    /// The metric that counts attempts, and the label of one that failed.
    failed: Option<(u16, u8)>,
    /// The metric of their durations, and the value over which one is critical.
    slow: Option<(u16, u64)>,
}

/// What a reading says of its terminal's synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The synchronisation failed.
    Failed,
    /// The synchronisation took longer than the catalogue's critical limit.
    Slow,
}

/// Where one metric's series stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// The first of the metric's counters: one for each label value, and one for those of later releases.
    pub counter: Option<usize>,
    /// The first of the metric's counters in each release.
    pub release_counter: Option<usize>,
    /// The metric's histogram in each store.
    pub store_histogram: Option<usize>,
    /// The metric's histogram in each release.
    pub release_histogram: Option<usize>,
    /// The metric's last values in each terminal.
    pub level: Option<usize>,
}

impl Synchronisations {
    fn of(catalogue: &Catalogue) -> Self {
        let attempts = catalogue.named("sync_attempts");
        let failure = attempts.and_then(|metric| {
            let values = metric.label?.values;
            let place = values.iter().position(|value| *value == "failure")?;
            Some((metric.code, u8::try_from(place).ok()?))
        });
        let durations = catalogue.named("sync_duration_ms");
        let critical = durations.and_then(|metric| Some((metric.code, metric.thresholds[1]?)));
        Self {
            failed: failure,
            slow: critical,
        }
    }
}

impl Layout {
    /// The places of a catalogue's metrics.
    #[must_use]
    pub fn new(catalogue: &Arc<Catalogue>) -> Self {
        let mut layout = Self {
            places: Vec::new(),
            counters: 0,
            release_counters: 0,
            store_histograms: 0,
            release_histograms: 0,
            levels: 0,
            synchronisations: Synchronisations::of(catalogue),
            catalogue: Arc::clone(catalogue),
        };
        let take = |next: &mut usize, length: usize| {
            *next += length;
            Some(*next - length)
        };
        for metric in catalogue.metrics() {
            let code = usize::from(metric.code);
            if layout.places.len() <= code {
                layout.places.resize(code + 1, Place::default());
            }
            let mut place = Place::default();
            match metric.kind {
                Kind::Counter => {
                    let counters = metric.counters();
                    place.counter = take(&mut layout.counters, counters);
                    if metric.per_release {
                        place.release_counter = take(&mut layout.release_counters, counters);
                    }
                }
                Kind::Distribution => {
                    place.release_histogram = take(&mut layout.release_histograms, 1);
                    if metric.per_store {
                        place.store_histogram = take(&mut layout.store_histograms, 1);
                    }
                }
                Kind::Level => place.level = take(&mut layout.levels, 1),
            }
            if let Some(slot) = layout.places.get_mut(code) {
                *slot = place;
            }
        }
        layout
    }

    /// Where a metric's series stand.
    #[must_use]
    pub fn place(&self, metric: &Metric) -> Place {
        let place = self.places.get(usize::from(metric.code));
        place.copied().unwrap_or_default()
    }

    /// What a reading, whose greatest value is `greatest`, says against its terminal. Asked for every live reading:
    /// two comparisons for most of them.
    #[must_use]
    pub fn trouble(&self, reading: &Reading, greatest: u64) -> Option<Trouble> {
        let Synchronisations { failed, slow } = self.synchronisations;
        if failed == Some((reading.metric, reading.label)) {
            return (greatest > 0).then_some(Trouble::Failed);
        }
        let (metric, limit) = slow?;
        (metric == reading.metric && greatest > limit).then_some(Trouble::Slow)
    }

    /// The catalogue the places are of.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// How many level metrics there are.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels
    }
}
