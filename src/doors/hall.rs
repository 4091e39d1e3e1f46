//! Holds what every door needs: limits, memory, and the intake behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use axum::extract::Request;

use crate::audit_log::AuditLog;
use crate::auth::Gate;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::doors::backlog::Backlog;
use crate::doors::cors::Origins;
use crate::doors::counters::Counters;
use crate::doors::faro::Visits;
use crate::doors::foreign;
use crate::doors::limits::Limits;
use crate::doors::recent::Recent;
use crate::doors::trace::{Noted, Trace};
use crate::doors::turns::Turns;
use crate::intake::Intake;
use crate::mapping::{Door, Lookup};
use crate::peer::Networks;
use crate::request_id::RequestId;
use crate::room::Room;
use crate::tap::Tap;

/// What every request needs, whatever door it comes to.
#[derive(Debug)]
pub struct Hall {
    limits: ArcSwap<Limits>,
    /// Who is let in.
    pub(super) gate: Arc<Gate>,
    /// Whom to believe about addresses.
    pub(super) networks: ArcSwap<Networks>,
    /// The origins whose pages may post.
    pub(super) origins: Arc<Origins>,
    /// The turns of requests that bring a backlog.
    pub(super) backlog: Backlog,
    /// Where refused credentials are written down.
    pub(super) audit_log: AuditLog,
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
    /// What the doors of foreign formats take for granted.
    pub(super) rules: foreign::Rules,
    /// Where operators watch what arrives.
    tap: Arc<Tap>,
    /// Where the records of the last requests lie.
    recent: Recent,
    /// The page visits of which Faro's web vitals have been counted.
    pub(super) visits: Visits,
    /// Set once the process is stopping.
    is_stopping: Arc<AtomicBool>,
}

/// What a hall is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Whom to believe about addresses.
    pub networks: Networks,
    /// The origins whose pages may post.
    pub origins: Arc<Origins>,
    /// Where refused credentials are written down.
    pub audit_log: AuditLog,
    /// Memory for requests under way.
    pub room: Arc<Room>,
    /// The intake that offers go to.
    pub intake: Arc<Intake>,
    /// The clock that batches are judged by.
    pub clock: Clock,
    /// Draws the names of requests, and when a client comes back.
    pub chance: Chance,
    /// What the doors of foreign formats take for granted.
    pub rules: foreign::Rules,
    /// Where operators watch what arrives.
    pub tap: Arc<Tap>,
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
            networks: ArcSwap::from_pointee(parts.networks),
            origins: parts.origins,
            backlog: Backlog::default(),
            audit_log: parts.audit_log,
            room: parts.room,
            turns: Turns::default(),
            counters: Counters::default(),
            intake: parts.intake,
            clock: parts.clock,
            chance: parts.chance,
            rules: parts.rules,
            tap: parts.tap,
            recent: Recent::default(),
            visits: Visits::default(),
            is_stopping: parts.is_stopping,
        })
    }

    /// Takes other limits from now on; requests under way end under the old ones or the new.
    pub fn reload(&self, limits: Limits, networks: Networks) {
        self.limits.store(Arc::new(limits));
        self.networks.store(Arc::new(networks));
    }

    /// Where the records of the last requests lie.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Where operators watch what arrives.
    #[must_use]
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    pub(super) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// What the names of metrics mean that come to a foreign door.
    pub(super) fn lookup(&self, door: Door) -> Lookup<'_> {
        Lookup {
            catalogue: self.intake.catalogue(),
            mapping: &self.rules.mapping,
            door,
            heard: None,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Begins to note what a request takes.
    pub(super) fn trace(&self, door: &'static str, request: &Request) -> Trace<'_> {
        let id = request.extensions().get::<RequestId>().cloned();
        let id = id.unwrap_or_else(|| RequestId::make(&self.chance));
        let noted = Noted {
            counters: &self.counters,
            tap: &self.tap,
            recent: &self.recent,
        };
        Trace::begin(noted, door, id, self.limits().slow)
    }
}
