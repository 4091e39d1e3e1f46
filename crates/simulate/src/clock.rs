//! Wall time of a run.

use std::time::{Duration, Instant};

use tillwatch_model::time::millis;

/// Wall time that never jumps during a run.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    started_ms: i64,
    started: Instant,
}

impl RunClock {
    /// A clock that shows this now, Unix ms.
    pub fn starting_at(started_ms: i64) -> Self {
        Self {
            started_ms,
            started: Instant::now(),
        }
    }

    /// What passed since.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When the run began, Unix ms.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// The true time, Unix µs.
    pub fn now_us(&self) -> i64 {
        let passed_us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.started_ms
            .saturating_mul(1_000)
            .saturating_add(passed_us)
    }

    /// The true time, Unix ms.
    pub fn now_ms(&self) -> i64 {
        self.started_ms
            .saturating_add(millis(self.started.elapsed()))
    }
}
