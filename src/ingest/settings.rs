//! Limits of stage 1.

use std::time::Duration;

use crate::ingest::admission;

/// Limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A body as it comes. Unit: bytes.
    pub body_bytes_max: usize,
    /// A body after decompression. Unit: bytes.
    pub decoded_bytes_max: usize,
    /// From the end of a request's head to the end of its body.
    pub body_timeout: Duration,
    /// No rate is asked of a body in this time: a network may stand still for some seconds.
    pub body_first: Duration,
    /// What a body must bring on average after that. Unit: bytes a second.
    pub body_bytes_per_s_min: u64,
    /// How long a request waits for the disk, or for another post of one of its batches, before it is
    /// told to come again.
    pub acknowledge_max: Duration,
    /// Batches in a request.
    pub batches_max: usize,
    /// Samples and histograms in a request.
    pub samples_max: usize,
    /// Values a terminal's histogram may stand for, for each second of its span.
    pub histogram_values_per_s: u64,
    /// A request that takes this long is logged.
    pub slow: Duration,
    /// What is under way.
    pub admission: admission::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes_max: 2 * 1024 * 1024,
            decoded_bytes_max: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(120),
            body_first: Duration::from_secs(10),
            body_bytes_per_s_min: 1_024,
            acknowledge_max: Duration::from_secs(30),
            batches_max: 500,
            samples_max: 50_000,
            histogram_values_per_s: 1_000,
            slow: Duration::from_secs(1),
            admission: admission::Settings::default(),
        }
    }
}
