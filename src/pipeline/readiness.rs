//! Notes when the collector is ready, so that nobody is called silent for what the collector missed.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_journal::Keeper;
use tillwatch_model::time::millis;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::fleet::Watch;
use crate::health::Health;
use crate::persist::State;
use crate::persist::ship::on_disk;

/// How often it is looked whether the collector is ready.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a longer pause the machine slept, or was too busy to answer anybody.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often it is written to the state file. What a kill loses counts as not ready.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What is looked at, and where it is noted.
pub(super) struct ReadyWatcher {
    pub(super) clock: Clock,
    pub(super) health: Arc<Health>,
    pub(super) journal: Keeper,
    pub(super) state: Arc<State>,
    pub(super) watch: Arc<Watch>,
}

impl ReadyWatcher {
    /// Watches until it is aborted.
    pub(super) async fn run(self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        let (mut last, mut kept) = (Instant::now(), Instant::now());
        loop {
            every.tick().await;
            let elapsed = last.elapsed();
            last = Instant::now();
            let is_ready =
                elapsed <= PAUSE_MAX && self.health.is_ready() && !self.journal.stats().is_full;
            let readiness = &self.watch.readiness;
            readiness.note(self.clock.now_ms(), millis(elapsed), is_ready);
            if kept.elapsed() < KEEP_EVERY {
                continue;
            }
            kept = Instant::now();
            let Ok(text) = readiness.to_saved() else {
                continue;
            };
            if let Err(error) = on_disk(&self.state, move |state| state.keep_readiness(&text)).await
            {
                tracing::warn!(
                    error = crate::logging::chain(&error),
                    "when the collector was ready could not be kept; it is tried again in a minute"
                );
            }
        }
    }
}
