//! Holds together what is known of the batches that have been taken in.

use std::sync::Arc;

use crate::intake::counters::Counters;
use crate::intake::dedup::Dedup;
use crate::intake::held_back::HeldBack;
use crate::intake::keys::Keys;

/// Which batches have been taken in, and how many samples met which outcome. Whoever waits for the disk
/// keeps hold of it, to write down what came of the wait.
#[derive(Debug)]
pub struct Books {
    /// Batches with numbers.
    pub dedup: Arc<Dedup>,
    /// Batches with keys.
    pub keys: Arc<Keys>,
    /// Senders whose batches wait for the next hour.
    pub held_back: HeldBack,
    /// Outcomes.
    pub counters: Counters,
}
