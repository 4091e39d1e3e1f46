//! Clocks that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The two clocks of a machine that stands still. Clones move the same one.
#[derive(Debug, Clone)]
pub struct Hand {
    wall_ms: Arc<AtomicI64>,
    boot_ms: Arc<AtomicI64>,
}

impl Hand {
    /// The wall clock says this, Unix ms, and the machine was started an hour ago.
    #[must_use]
    pub fn at(wall_ms: i64) -> Self {
        Self {
            wall_ms: Arc::new(AtomicI64::new(wall_ms)),
            boot_ms: Arc::new(AtomicI64::new(tillwatch_model::time::HOUR_MS)),
        }
    }

    /// Lets time go on, for both clocks.
    pub fn pass(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.boot_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock, as somebody with too many rights might.
    pub fn set_wall(&self, wall_ms: i64) {
        self.wall_ms.store(wall_ms, Ordering::Relaxed);
    }

    pub(super) fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    pub(super) fn boot_ms(&self) -> i64 {
        self.boot_ms.load(Ordering::Relaxed)
    }
}
