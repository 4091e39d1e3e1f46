//! What has become of batches that were missing, and of samples that terminals had to drop: the ledger of losses.
//!
//! A gap in the numbers of a queue is open while its batches may still come; the queue's window knows it
//! ([`SeqWindow::missing_ranges`](crate::SeqWindow::missing_ranges)). What it came to in the end is a row here.

use crate::dimension::enumerated;

enumerated! {
    /// What it came to.
    LossState {
        /// The batches have come.
        Closed = 1 "closed",
        /// The terminal has said that it dropped them, and why.
        Explained = 2 "explained",
        /// They will not come any more, or nothing of them would count.
        Lost = 3 "lost",
    } else Later
}

/// Rows for gaps that closed sooner are not kept: two posts have overtaken each other. Unit: ms.
pub const CLOSED_AFTER_MS: i64 = 10 * 60_000;

/// One row at rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LossRow {
    /// The shop.
    pub store_id: Box<str>,
    /// The terminal in the store.
    pub terminal_id: Box<str>,
    /// UUID of the queue; zero: the terminal has dropped what never had a number.
    pub queue: [u8; 16],
    /// What it came to.
    pub state: LossState,
    /// Why: the label of `dropped_samples`, or what made the collector give up.
    pub reason: Box<str>,
    /// The first of the numbers.
    pub from: u64,
    /// The last of the numbers.
    pub to: u64,
    /// Batches between the two that this is about; others may have come.
    pub batches: u64,
    /// How many samples they held: as the terminal said, else about.
    pub samples: u64,
    /// Since when they were missing, or when they were dropped, Unix ms.
    pub opened_at_ms: i64,
    /// When it ended, Unix seconds.
    pub ended_at_s: u32,
}

/// How many samples a terminal's batches hold, about: what the samples of those that are missing are estimated by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSize(
    /// Sixteenths of a sample.
    pub u32,
);

impl BatchSize {
    /// Notes a batch with so many samples. The last sixteen or so count.
    #[inline]
    pub fn note(&mut self, samples: u64) {
        let sixteenths = u32::try_from(samples.saturating_mul(16)).unwrap_or(u32::MAX);
        self.0 = if self.0 == 0 {
            sixteenths
        } else {
            self.0 - self.0 / 16 + sixteenths / 16
        };
    }

    /// How many samples so many batches hold, about.
    #[must_use]
    pub fn of(self, batches: u64) -> u64 {
        batches.saturating_mul(u64::from(self.0)) / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_batches_follows_those_that_came_last() {
        let mut size = BatchSize::default();
        assert_eq!(size.of(7), 0);
        size.note(40);
        assert_eq!(size.of(3), 120);
        for _ in 0..200 {
            size.note(10);
        }
        assert!((10..=12).contains(&size.of(1)), "{size:?}");
        size.note(u64::MAX);
        assert!(size.of(u64::MAX) > 0);
    }
}
