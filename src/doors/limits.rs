//! Limits what a request may take before it reaches the intake.

use std::time::Duration;

/// Limits of a request, whatever its format.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a body may be as it comes. Unit: bytes.
    pub body_bytes_max: usize,
    /// How long a body may be after decompression. Unit: bytes.
    pub decoded_bytes_max: usize,
    /// How long a request may take from the end of its head to the end of its body.
    pub body_timeout: Duration,
    /// How long no rate is asked of a body.
    pub body_first: Duration,
    /// What a body must bring on average after [`body_first`](Self::body_first). Unit: bytes a second.
    pub body_bytes_per_s_min: u64,
    /// How many batches a request may have.
    pub batches_max: usize,
    /// How many samples and histograms a request may have.
    pub samples_max: usize,
    /// A request that takes this long is logged.
    pub slow: Duration,
}

/// The value of [`Limits::body_first`]: a network may stand still for some seconds.
pub const BODY_FIRST: Duration = Duration::from_secs(10);

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 2 * 1024 * 1024,
            decoded_bytes_max: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(120),
            body_first: BODY_FIRST,
            body_bytes_per_s_min: 1_024,
            batches_max: 500,
            samples_max: 50_000,
            slow: Duration::from_secs(1),
        }
    }
}
