//! Decides when a seal is due, and seals.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_journal::{Keeper, Position};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::holdings::Holdings;
use crate::intake::Keys;
use crate::persist::Sealing;
use crate::persist::{EpochInfo, SealedEpoch, State, StateError};
use crate::self_metrics as names;

/// How often it is looked whether a seal is due by the journal's size.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause after a seal that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When a seal is due.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// A seal is due this long after the last one.
    pub interval: Duration,
    /// A seal is due with this much of the journal not released.
    pub journal_bytes: u64,
}

/// Seals what is open.
#[derive(Debug)]
pub struct Sealer {
    /// The holdings, of which a seal takes what is open.
    pub holdings: Arc<Holdings>,
    /// What time it is.
    pub clock: Clock,
    /// The state file that a seal goes to.
    pub state: Arc<State>,
    /// The idempotency keys, which the state file knows after a seal.
    pub keys: Arc<Keys>,
    /// The journal whose records are released after a seal.
    pub journal: Keeper,
    /// Position of the last seal.
    pub sealed_position: watch::Sender<u64>,
    /// Notified when there is something to ship.
    pub ship_wanted: Arc<Notify>,
    /// Notified when the process must end, because a cut is only in the journal.
    pub failed: Arc<Notify>,
}

impl Sealer {
    /// Seals whenever it is due, until `stopping` turns true.
    pub async fn run(
        self: Arc<Self>,
        due: watch::Receiver<Due>,
        seal_wanted: Arc<Notify>,
        mut stopping: watch::Receiver<bool>,
    ) {
        names::start(
            names::SEALS,
            "result",
            ["ok", "error"],
            &[names::SEAL_SECONDS],
        );
        let mut last = Instant::now();
        loop {
            let due = *due.borrow();
            let is_wanted = tokio::select! {
                () = tokio::time::sleep_until((last + due.interval).min(Instant::now() + LOOK_EVERY)) => false,
                () = seal_wanted.notified() => true,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            let is_due = is_wanted
                || last.elapsed() >= due.interval
                || self.journal.stats().unreleased_bytes >= due.journal_bytes;
            if is_due {
                last = Instant::now();
                self.seal().await;
            }
        }
    }

    /// Seals what is open, and tries until that works. Nothing is lost meanwhile: the journal holds it.
    pub async fn seal(self: &Arc<Self>) {
        let started = Instant::now();
        let sealer = Arc::clone(self);
        let encoded = tokio::task::spawn_blocking(move || sealer.encode()).await;
        let sealing = match encoded {
            Ok(None) => return,
            Ok(Some(Ok(sealing))) => sealing,
            // The journal still holds the cut, and the next start replays it. No other cut is taken.
            Ok(Some(Err(error))) => return self.give_up(&crate::logging::chain(&error)),
            Err(panicked) => return self.give_up(&panicked.to_string()),
        };
        loop {
            let (state, again) = (Arc::clone(&self.state), Arc::clone(&sealing));
            let now_ms = self.clock.now_ms();
            let written = tokio::task::spawn_blocking(move || state.seal(&again, now_ms)).await;
            match written {
                Ok(Ok(sealed)) => {
                    let sealer = Arc::clone(self);
                    // Hundreds of thousands of keys may move to the disk with it.
                    let finish = move || sealer.finish(&sealing, sealed);
                    if let Err(panicked) = tokio::task::spawn_blocking(finish).await {
                        return self.give_up(&panicked.to_string());
                    }
                    metrics::counter!(names::SEALS, "result" => "ok").increment(1);
                    metrics::histogram!(names::SEAL_SECONDS)
                        .record(started.elapsed().as_secs_f64());
                    return;
                }
                Ok(Err(error)) => {
                    metrics::counter!(names::SEALS, "result" => "error").increment(1);
                    tracing::error!(
                        error = crate::logging::chain(&error),
                        epoch = sealing.epoch(),
                        "a seal failed; it is tried again, the journal holds its samples"
                    );
                }
                Err(_panicked) => tracing::error!(epoch = sealing.epoch(), "a seal panicked"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn give_up(&self, error: &str) {
        tracing::error!(
            error,
            "a seal could not be encoded: the process ends, the journal holds it"
        );
        self.holdings.abandon_cut();
        self.failed.notify_one();
    }

    fn encode(&self) -> Option<Result<Arc<Sealing>, StateError>> {
        let (cut, epoch) = self.holdings.cut(*self.sealed_position.borrow())?;
        Some(self.state.encode(cut, epoch).map(|sealing| {
            let sealing = Arc::new(sealing);
            self.holdings
                .sealing(Arc::clone(&sealing), self.clock.now_ms());
            sealing
        }))
    }

    fn finish(&self, sealing: &Arc<Sealing>, sealed: SealedEpoch) {
        let now_ms = self.clock.now_ms();
        let info = EpochInfo {
            epoch: sealed.epoch,
            collector_id: self.state.collector_id(),
            sealed_at_ms: now_ms,
            confirmed_at_ms: None,
            days: sealing.days().clone(),
            sides: sealing.side_days(),
        };
        metrics::counter!(names::SEALED_ROWS).increment(sealed.rows);
        metrics::counter!(names::SEALED_SAMPLES).increment(sealed.samples);
        metrics::counter!(names::SEALED_BYTES).increment(sealed.blob_bytes);
        // With the positions, a batch can be followed from its answer to its epoch.
        tracing::debug!(
            epoch = sealed.epoch,
            first_position = *self.sealed_position.borrow() + 1,
            last_position = sealing.applied(),
            rows = sealed.rows,
            samples = sealed.samples,
            bytes = sealed.blob_bytes,
            "sealed"
        );
        self.holdings.sealed(sealed, info);
        self.keys.sealed(sealing.keys());
        self.journal.release(Position(sealing.applied()));
        self.sealed_position.send_replace(sealing.applied());
        metrics::gauge!(names::SEAL_AGE)
            .set(tillwatch_model::metric::to_float(now_ms.cast_unsigned()) / 1_000.0);
        self.ship_wanted.notify_one();
    }
}
