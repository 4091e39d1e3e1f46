//! Holds what every door needs: limits, memory, and the intake behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use axum::extract::Request;

use crate::auth::Gate;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::doors::counters::Counters;
use crate::doors::limits::Limits;
use crate::doors::trace::Trace;
use crate::doors::turns::Turns;
use crate::intake::Intake;
use crate::request_id::RequestId;
use crate::room::Room;

/// What every request needs, whatever door it comes to.
#[derive(Debug)]
pub struct Hall {
    limits: ArcSwap<Limits>,
    /// Who is let in.
    pub(super) gate: Arc<Gate>,
    /// Memory for requests under way.
    pub(super) room: Arc<Room>,
    pub(super) turns: Turns,
    pub(super) counters: Counters,
    /// The intake that offers go to.
    pub(super) intake: Arc<Intake>,
    /// The clock that batches are judged by.
    pub(super) clock: Clock,
    /// Draws the names of requests, and when a client comes back.
    pub(super) chance: Chance,
    /// Set once the process is stopping.
    is_stopping: Arc<AtomicBool>,
}

/// What a hall is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Memory for requests under way.
    pub room: Arc<Room>,
    /// The intake that offers go to.
    pub intake: Arc<Intake>,
    /// The clock that batches are judged by.
    pub clock: Clock,
    /// Draws the names of requests, and when a client comes back.
    pub chance: Chance,
    /// Set once the process is stopping.
    pub is_stopping: Arc<AtomicBool>,
}

impl Hall {
    /// Makes a hall before this intake.
    #[must_use]
    pub fn new(limits: Limits, parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            gate: parts.gate,
            room: parts.room,
            turns: Turns::default(),
            counters: Counters::default(),
            intake: parts.intake,
            clock: parts.clock,
            chance: parts.chance,
            is_stopping: parts.is_stopping,
        })
    }

    /// Takes other limits from now on; requests under way end under the old ones or the new.
    pub fn reload(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    pub(super) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Begins to note what a request takes.
    pub(super) fn trace(&self, request: &Request) -> Trace<'_> {
        let id = request.extensions().get::<RequestId>().cloned();
        let id = id.unwrap_or_else(|| RequestId::make(&self.chance));
        Trace::begin(&self.counters, id, self.limits().slow)
    }
}
