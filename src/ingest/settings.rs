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
            body_timeout: Duration::from_secs(15),
            batches_max: 500,
            samples_max: 50_000,
            histogram_values_per_s: 1_000,
            slow: Duration::from_secs(1),
            admission: admission::Settings::default(),
        }
    }
}
