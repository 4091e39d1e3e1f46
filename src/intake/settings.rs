//! Sets the limits of the intake.

use std::time::Duration;

use crate::intake::{limits, rates};

/// What the intake grants, and for how long it waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a request waits for the disk, or for another post of one of its batches, before it is
    /// told to come again.
    pub acknowledge_max: Duration,
    /// How many values a terminal's histogram may stand for, for each second of its span.
    pub histogram_values_per_s: u64,
    /// How fast a store may post while nobody is asked for a credential.
    pub rates: rates::Settings,
    /// How often whoever has shown a credential may post, and how often an address may.
    pub limits: limits::Settings,
}

/// The value of [`Settings::acknowledge_max`]: longer than a disk stalls that is about to recover.
pub const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(30);

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            acknowledge_max: ACKNOWLEDGE_MAX,
            histogram_values_per_s: 1_000,
            rates: rates::Settings::default(),
            limits: limits::Settings::default(),
        }
    }
}
