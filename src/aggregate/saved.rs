//! Live series and terminals' last values as the state file keeps them: JSON by metric name, so that
//! a later release with other metrics or bounds still reads what it can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tillwatch_model::{BatchSize, Browser, Catalogue, EventKind, Habit, Metric};

use crate::aggregate::exponential::ExponentialHistogram;
use crate::aggregate::layout::Layout;
use crate::aggregate::live::{
    Buckets, ClassicHistogram, LATE_AGES, ReleaseLive, SKEW_BOUNDS_MS, StoreLive,
};
use crate::aggregate::terminals::{LastValue, Said, Terminal};

/// A histogram with the bounds it was counted in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedHistogram {
    bounds: Vec<u64>,
    counts: Vec<u64>,
    sum: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Box<ExponentialHistogram>>,
}

impl SavedHistogram {
    fn of(bounds: &[u64], histogram: &ClassicHistogram) -> Option<Self> {
        (!histogram.counts.is_empty()).then(|| Self {
            bounds: bounds.to_vec(),
            counts: histogram.counts.clone(),
            sum: histogram.sum,
            native: histogram.native.clone(),
        })
    }

    /// Puts the histogram back, unless its bounds have changed since, or exponential buckets are asked
    /// for and were not kept: then it begins anew, which Prometheus sees as any other restart of a
    /// counter. Both kinds of buckets always hold the same values.
    fn restore(&self, bounds: &[u64], histogram: &mut ClassicHistogram) {
        let is_same = self.bounds == bounds && self.counts.len() == bounds.len() + 1;
        if is_same && (histogram.native.is_none() || self.native.is_some()) {
            histogram.counts.clone_from(&self.counts);
            histogram.sum = self.sum;
            if histogram.native.is_some() {
                histogram.native.clone_from(&self.native);
            }
        }
    }
}

/// One store's, or one release's, cumulative series. Files of earlier releases have `windows` beside them,
/// the minutes of the window gauges: passed over, and gone when the store is next written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SavedSeries {
    #[serde(default)]
    last_report_ms: i64,
    #[serde(default)]
    late: Vec<u64>,
    #[serde(default)]
    skew: Option<SavedHistogram>,
    #[serde(default)]
    batches_received: u64,
    #[serde(default)]
    batches_lost: u64,
    #[serde(default)]
    batches_explained: u64,
    /// Of those received; `None`: an earlier release did not count them apart.
    #[serde(default)]
    batches_numbered: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    clock_jumps: u64,
    #[serde(default)]
    counters: BTreeMap<String, Vec<u64>>,
    /// What each counter holds of labels that only a later release knows. It stands apart, because that release
    /// would read one more value as that of a label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    later_counters: BTreeMap<String, u64>,
    #[serde(default)]
    histograms: BTreeMap<String, SavedHistogram>,
}

impl SavedSeries {
    /// Saves the series of a store.
    #[must_use]
    pub fn of_store(store: &StoreLive, layout: &Layout) -> Self {
        let mut saved = Self {
            last_report_ms: store.last_report_ms,
            late: store.late.to_vec(),
            skew: SavedHistogram::of(&SKEW_BOUNDS_MS, &store.skew),
            batches_received: store.batches_received,
            batches_lost: store.batches_lost,
            batches_explained: store.batches_explained,
            batches_numbered: Some(store.batches_numbered),
            clock_jumps: store.clock_jumps,
            ..Self::default()
        };
        for metric in layout.catalogue().metrics() {
            let place = layout.place(metric);
            saved.keep_counters(metric, place.counter, &store.counters);
            let histogram = place
                .store_histogram
                .and_then(|at| store.histograms.get(at));
            saved.keep(Buckets::by_store(metric), histogram);
        }
        saved
    }

    /// Saves the series of a release.
    #[must_use]
    pub fn of_release(release: &ReleaseLive, layout: &Layout) -> Self {
        let mut saved = Self::default();
        for metric in layout.catalogue().metrics() {
            let place = layout.place(metric);
            saved.keep_counters(metric, place.release_counter, &release.counters);
            let histogram = place.release_histogram;
            let buckets = Buckets::by_release(metric);
            saved.keep(buckets, histogram.and_then(|at| release.histograms.get(at)));
        }
        saved
    }

    fn keep_counters(&mut self, metric: &Metric, first: Option<usize>, counters: &[u64]) {
        let counters = first.and_then(|first| counters.get(first..first + metric.counters()));
        let Some((known, later)) =
            counters.and_then(|counters| counters.split_at_checked(metric.label_values()))
        else {
            return;
        };
        self.counters.insert(metric.name.to_owned(), known.to_vec());
        if let Some(later) = later.first().filter(|later| **later > 0) {
            self.later_counters.insert(metric.name.to_owned(), *later);
        }
    }

    fn restore_counters(&self, metric: &Metric, first: Option<usize>, counters: &mut [u64]) {
        let Some((first, saved)) = first.zip(self.counters.get(metric.name)) else {
            return;
        };
        let slots = counters.iter_mut().skip(first).take(metric.label_values());
        for (slot, value) in slots.zip(saved) {
            *slot = *value;
        }
        // A release that has learnt the label cannot tell which of these were of it.
        if let Some(later) = self.later_counters.get(metric.name)
            && metric.label.is_some()
            && let Some(slot) = counters.get_mut(first + metric.label_values())
        {
            *slot = *later;
        }
    }

    fn keep(
        &mut self,
        Buckets { metric, bounds }: Buckets<'_>,
        histogram: Option<&ClassicHistogram>,
    ) {
        let saved = histogram.and_then(|histogram| SavedHistogram::of(bounds, histogram));
        if let Some(saved) = saved {
            self.histograms.insert(metric.name.to_owned(), saved);
        }
    }

    fn restore_histogram(
        &self,
        Buckets { metric, bounds }: Buckets<'_>,
        slot: Option<&mut ClassicHistogram>,
    ) {
        if let Some((saved, slot)) = self.histograms.get(metric.name).zip(slot) {
            saved.restore(bounds, slot);
        }
    }

    /// Puts a store's series back.
    pub fn restore_store(&self, store: &mut StoreLive, layout: &Layout) {
        store.last_report_ms = self.last_report_ms;
        for (slot, late) in store.late.iter_mut().zip(&self.late).take(LATE_AGES.len()) {
            *slot = *late;
        }
        store.batches_received = self.batches_received;
        store.batches_lost = self.batches_lost;
        store.batches_explained = self.batches_explained;
        store.batches_numbered = self.batches_numbered.unwrap_or(self.batches_received);
        store.clock_jumps = self.clock_jumps;
        if let Some(skew) = &self.skew {
            skew.restore(&SKEW_BOUNDS_MS, &mut store.skew);
        }
        for metric in layout.catalogue().metrics() {
            let place = layout.place(metric);
            self.restore_counters(metric, place.counter, &mut store.counters);
            let at = place.store_histogram;
            let buckets = Buckets::by_store(metric);
            self.restore_histogram(buckets, at.and_then(|at| store.histograms.get_mut(at)));
        }
    }

    /// Puts a release's series back.
    pub fn restore_release(&self, release: &mut ReleaseLive, layout: &Layout) {
        for metric in layout.catalogue().metrics() {
            let place = layout.place(metric);
            self.restore_counters(metric, place.release_counter, &mut release.counters);
            let at = place.release_histogram;
            let buckets = Buckets::by_release(metric);
            self.restore_histogram(buckets, at.and_then(|at| release.histograms.get_mut(at)));
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One terminal's last state, beside its queues.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SavedTerminal {
    /// The release that the terminal last reported.
    pub release: String,
    /// When the terminal's last batch was received, Unix ms.
    pub last_seen_ms: i64,
    /// How far the terminal's clock is behind, ms.
    pub offset_ms: i64,
    /// When the batch that told the offset was received, Unix ms.
    #[serde(default)]
    pub offset_at_ms: i64,
    /// How often the terminal's clock was moved between two posts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_jumps: u64,
    /// Whether the terminal's store was retired since the terminal last posted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_retired: bool,
    /// Whether a machine caused all that the terminal posted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_synthetic: bool,
    /// How many samples the terminal's batches hold, in sixteenths.
    #[serde(default)]
    batch_size: u32,
    /// When the terminal is used to report.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    habit: String,
    /// What the terminal last reported of its state, and when that was, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<(String, i64)>,
    /// The browser that the terminal last posted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<String>,
    levels: BTreeMap<String, (i64, u64)>,
    /// By how much the time of each level was corrected, for those whose was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    corrected_ms: BTreeMap<String, i64>,
}

impl SavedTerminal {
    /// Saves a terminal, whose release has this name.
    #[must_use]
    pub fn of(terminal: &Terminal, release: &str, layout: &Layout) -> Self {
        let level = |metric: &Metric| {
            let last = (*terminal.levels.get(layout.place(metric).level?)?)?;
            Some((metric.name.to_owned(), last))
        };
        let known = layout.catalogue().metrics().iter();
        let levels: Vec<(String, LastValue)> = known.filter_map(level).collect();
        let corrected = levels.iter().filter(|(_, last)| last.t_ms != last.t_raw_ms);
        Self {
            release: release.to_owned(),
            last_seen_ms: terminal.last_seen_ms,
            offset_ms: terminal.offset_ms,
            offset_at_ms: terminal.offset_at_ms,
            clock_jumps: terminal.clock_jumps,
            is_retired: terminal.is_retired,
            is_synthetic: terminal.is_synthetic,
            batch_size: terminal.batch_size.0,
            habit: if terminal.habit.is_empty() {
                String::new()
            } else {
                terminal.habit.to_text()
            },
            said: terminal
                .said
                .map(|said| (said.kind.name().to_owned(), said.t_ms)),
            browser: terminal.browser.and_then(Browser::text),
            corrected_ms: corrected
                .map(|(name, last)| (name.clone(), last.t_ms - last.t_raw_ms))
                .collect(),
            levels: levels
                .iter()
                .map(|(name, last)| (name.clone(), (last.t_ms, last.value)))
                .collect(),
        }
    }

    /// Puts back when the terminal is used to report, and what it last said.
    pub fn restore_habit(&self, terminal: &mut Terminal) {
        terminal.batch_size = BatchSize(self.batch_size);
        terminal.habit = Habit::from_text(&self.habit);
        terminal.said = self.said.as_ref().map(|(kind, t_ms)| Said {
            kind: EventKind::of_name(kind),
            t_ms: *t_ms,
        });
        terminal.is_synthetic = self.is_synthetic;
        terminal.browser = self.browser.as_deref().and_then(Browser::of_text);
    }

    /// Puts the last values back.
    pub fn restore_levels(&self, terminal: &mut Terminal, layout: &Layout, catalogue: &Catalogue) {
        terminal.levels.resize(layout.levels(), None);
        for (name, (t_ms, value)) in &self.levels {
            let place = catalogue
                .named(name)
                .and_then(|metric| layout.place(metric).level);
            if let Some(slot) = place.and_then(|at| terminal.levels.get_mut(at)) {
                let corrected_ms = self.corrected_ms.get(name).copied().unwrap_or(0);
                *slot = Some(LastValue {
                    t_ms: *t_ms,
                    t_raw_ms: t_ms.saturating_sub(corrected_ms),
                    value: *value,
                });
            }
        }
    }
}
