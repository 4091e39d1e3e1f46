//! Answers liveness and readiness on both listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::clock::Clock;

/// Which conditions of readiness hold.
#[derive(Debug)]
pub struct Health {
    /// The clock; while it is in doubt, nothing is taken in.
    clock: Clock,
    /// Set once the process is stopping.
    pub is_stopping: Arc<AtomicBool>,
    /// Set when a write or sync of the journal failed.
    pub is_halted: AtomicBool,
    /// Set while a write or sync has been under way for too long.
    pub is_disk_silent: AtomicBool,
    /// Set while the outbox is over its budget.
    pub is_outbox_full: Arc<AtomicBool>,
}

impl Health {
    /// All is well until something else is said.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            is_stopping: Arc::default(),
            is_halted: AtomicBool::new(false),
            is_disk_silent: AtomicBool::new(false),
            is_outbox_full: Arc::default(),
        }
    }

    /// Whether batches are taken in.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.faults().is_empty()
    }

    fn faults(&self) -> Vec<&'static str> {
        let doubt = self.clock.status().doubt;
        [
            (doubt.is_some(), "clock unsure"),
            (self.is_stopping.load(Ordering::Relaxed), "stopping"),
            (self.is_halted.load(Ordering::Relaxed), "journal halted"),
            (
                self.is_disk_silent.load(Ordering::Relaxed),
                "disk does not answer",
            ),
            (
                self.is_outbox_full.load(Ordering::Relaxed),
                "outbox over its budget",
            ),
        ]
        .into_iter()
        .filter_map(|(is_so, what)| is_so.then_some(what))
        .collect()
    }
}

/// `/healthz`: the process runs. `/readyz`: it takes batches in.
pub fn router(health: Arc<Health>) -> Router {
    let ready = move || {
        let faults = health.faults();
        let status = if faults.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        std::future::ready((
            status,
            Json(json!({"ready": faults.is_empty(), "faults": faults})),
        ))
    };
    Router::new()
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
}
