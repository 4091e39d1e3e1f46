//! The last minutes of one metric in one store: what a window gauge reads.

use std::collections::BTreeMap;

use crate::aggregate::live::Brought;
use crate::model::SparseHistogram;
use crate::model::time::{MINUTE_MS, window_start_ms};

/// Minutes that are kept: the six a gauge looks back and some for clocks that are off.
const KEPT: i64 = 12;
/// A window gauge reads the event-time minutes in (now − 6 min, now − 1 min].
pub const WINDOW_MINUTES: i64 = 5;

/// Minutes as the state file keeps them: bucket indices and counts.
pub type SavedMinutes = BTreeMap<i64, (Vec<u32>, Vec<u64>)>;

/// Histograms by minute of event time, the latest ones.
#[derive(Debug, Clone, Default)]
pub struct RecentMinutes(BTreeMap<i64, SparseHistogram>);

impl RecentMinutes {
    /// Adds a reading at its corrected time, if that is recent as of when it was received.
    pub fn add(&mut self, (t_ms, received_at_ms): (i64, i64), brought: Brought<'_>) {
        let span_ms = brought.span_ms();
        if span_ms > MINUTE_MS {
            // Spread over more minutes than a window gauge reads; it says nothing of one of them.
            return;
        }
        let middle_ms = t_ms.saturating_add(span_ms / 2);
        let minute = window_start_ms(middle_ms, MINUTE_MS) / MINUTE_MS;
        let oldest_kept = window_start_ms(received_at_ms, MINUTE_MS) / MINUTE_MS - KEPT;
        if minute <= oldest_kept {
            return;
        }
        let histogram = self.0.entry(minute).or_default();
        match brought {
            Brought::Value(value) => histogram.record(value),
            Brought::Histogram(reading) => histogram.merge(&reading.indices, &reading.counts),
        }
        while let Some(oldest) = self.0.first_entry()
            && *oldest.key() <= oldest_kept
        {
            oldest.remove();
        }
    }

    /// Everything in the minutes that the gauge reads at `now_ms`.
    #[must_use]
    pub fn read(&self, now_ms: i64) -> SparseHistogram {
        let last = window_start_ms(now_ms, MINUTE_MS) / MINUTE_MS - 1;
        let mut merged = SparseHistogram::default();
        for (_, minute) in self.0.range(last - WINDOW_MINUTES + 1..=last) {
            let (indices, counts) = minute.clone().into_parts();
            merged.merge(&indices, &counts);
        }
        merged
    }

    /// For the state file.
    #[must_use]
    pub fn saved(&self) -> SavedMinutes {
        let minutes = self.0.iter();
        minutes
            .map(|(minute, histogram)| (*minute, histogram.clone().into_parts()))
            .collect()
    }

    /// From the state file. Pairs that do not belong together are not worth a gauge.
    pub fn restore(&mut self, saved: &SavedMinutes) {
        for (minute, (indices, counts)) in saved {
            if indices.len() == counts.len() && indices.is_sorted() {
                let histogram = SparseHistogram::from_parts(indices.clone(), counts.clone());
                self.0.insert(*minute, histogram);
            }
        }
    }
}
