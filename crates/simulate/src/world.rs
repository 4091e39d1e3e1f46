//! What all terminals share: what there is to measure, how much of it, and when.

use tillwatch_model::Catalogue;

use crate::pace::Hours;
use crate::values::Mix;

/// Where some metrics stand in the mix.
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    /// Transactions that wait.
    pub pending: usize,
    /// Changes of connection.
    pub switches: usize,
    /// Errors, of which events make samples.
    pub errors: usize,
    /// Samples that were given up, of which drops make samples.
    pub dropped: usize,
    /// Tries to synchronise.
    pub attempts: usize,
    /// Transactions that were tried again.
    pub retries: usize,
    /// Transactions that were given up.
    pub dead_letters: usize,
    /// How long a transaction waited.
    pub waits: usize,
}

impl Positions {
    fn in_mix(mix: &Mix) -> Self {
        Self {
            pending: mix.position("pending_transactions"),
            switches: mix.position("mode_switches"),
            errors: mix.position("errors"),
            dropped: mix.position("dropped_samples"),
            attempts: mix.position("sync_attempts"),
            retries: mix.position("sync_retries"),
            dead_letters: mix.position("sync_dead_letters"),
            waits: mix.position("queue_wait_ms"),
        }
    }
}

/// What all terminals share.
#[derive(Debug)]
pub struct World {
    /// What there is to measure.
    pub mix: Mix,
    /// Samples in each batch.
    pub samples_per_batch: u32,
    /// When stores are open; none: always.
    pub hours: Option<Hours>,
    batches_per_minute: f64,
    /// Where the metrics stand that terminals keep themselves, or that events are samples of.
    pub at: Positions,
    /// Where those stand that only a synchronisation measures.
    of_syncs: Vec<usize>,
}

/// What only a synchronisation measures that succeeds.
const OF_SYNCS: [&str; 6] = [
    "sync_duration_ms",
    "sync_items_count",
    "sync_payload_bytes",
    "sync_100_duration_ms",
    "reconnect_to_synced_ms",
    "queue_wait_ms",
];

impl World {
    /// Terminals that measure the built-in catalogue.
    pub fn new(samples_per_batch: u32, hours: Option<Hours>) -> Self {
        let mix = Mix::new(&Catalogue::default());
        Self {
            at: Positions::in_mix(&mix),
            of_syncs: OF_SYNCS.iter().map(|name| mix.position(name)).collect(),
            mix,
            samples_per_batch,
            batches_per_minute: 1.0,
            hours,
        }
    }

    /// Whether only a synchronisation that succeeds measures the metric at this position.
    pub fn is_of_syncs(&self, position: usize) -> bool {
        self.of_syncs.contains(&position)
    }

    /// How busy a store is, as a share of the busiest time.
    pub fn activity(&self, at_ms: i64, store: usize) -> f64 {
        self.hours
            .map_or(1.0, |hours| hours.activity_of(at_ms, store))
    }

    /// Lets the terminals of this world make a batch this often.
    pub fn measured_every(mut self, interval_ms: Option<u64>) -> Self {
        if let Some(interval_ms) = interval_ms {
            self.batches_per_minute =
                60_000.0 / tillwatch_model::metric::to_float(interval_ms.max(1));
        }
        self
    }

    /// Samples in a minute, as a share of the forty of a usual one.
    pub fn share_of_usual(&self) -> f64 {
        f64::from(self.samples_per_batch) * self.batches_per_minute / 40.0
    }

    /// Samples in a batch of a store's terminal made at this time.
    pub fn samples_at(&self, at_ms: i64, store: usize) -> u32 {
        let activity = self.activity(at_ms, store);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small number"
        )]
        let samples = (f64::from(self.samples_per_batch) * activity).round() as u32;
        samples.max(1)
    }
}
