//! When a terminal tries again, and what of its history it makes into batches.

use std::time::Duration;

use tillwatch_model::time::millis;

use crate::batch::Batch;
use crate::random::full_jitter_ms;
use crate::tally::Counts;
use crate::terminal::{REQUEST_BYTES_MAX, Terminal};
use crate::world::World;

/// The first wait is at most this long, ms.
const BACKOFF_BASE_MS: u64 = 1_000;
/// Added to `Retry-After`, at most, so that terminals told the same second do not come back as one, ms.
const RETRY_AFTER_JITTER_MS: u64 = 1_000;

impl Terminal {
    pub(super) fn wait(&mut self, now_ms: i64, retry_after: Option<Duration>) {
        let rng = &mut self.rng;
        let backoff_ms = full_jitter_ms(
            rng,
            BACKOFF_BASE_MS,
            self.rules.backoff_ms_max,
            self.failures,
        );
        let backoff_ms = i64::try_from(backoff_ms).unwrap_or(i64::MAX);
        let asked_ms = retry_after.map_or(0, |after| {
            let jitter_ms = rng.u64(0..RETRY_AFTER_JITTER_MS);
            millis(after.saturating_add(Duration::from_millis(jitter_ms)))
        });
        self.failures = self.failures.saturating_add(1);
        self.send_at_ms = now_ms.saturating_add(backoff_ms.max(asked_ms));
    }

    /// Makes history into batches, as many as one request carries.
    pub(super) fn fill_backlog(&mut self, world: &World, counts: &mut Counts) {
        let mut bytes: usize = self.backlog.iter().map(Batch::bytes).sum();
        while bytes < REQUEST_BYTES_MAX
            && self.backlog.len() < self.request_batches_max
            && counts.has_room()
        {
            let Some(batch) = self.history.next_batch(&mut self.meter, world) else {
                break;
            };
            bytes += batch.bytes();
            counts.add_made(&batch);
            self.backlog.push_back(batch);
        }
    }
}
