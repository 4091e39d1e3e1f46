//! What all requests share: the engine, the settings, the turns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::sync::Semaphore;

use super::session::Sessions;
use crate::engine::{Engine, EngineSettings};

/// How the front is run.
#[derive(Debug, Clone)]
pub struct FrontSettings {
    /// How the engine is opened.
    pub engine: EngineSettings,
    /// Where to listen. Port 0 takes a free one and announces it.
    pub listen: SocketAddr,
    /// Whether a request that came over loopback was meant for it, by its `Host` and `Origin`.
    pub is_meant_for_loopback: fn(&Parts) -> bool,
    /// The password of the user `default`; `None` lets everybody in who reaches the address.
    pub password: Option<String>,
    /// How long the head of a request may take, and how long an idle connection is kept.
    /// Default: 30 s.
    pub header_timeout: Duration,
    /// How long the next piece of a body may take. Default: 30 s.
    pub body_timeout: Duration,
    /// Statements at once; more wait for their turn. Default: 8.
    pub statement_count_max: usize,
}

impl FrontSettings {
    /// The defaults.
    pub fn new(
        engine: EngineSettings,
        listen: SocketAddr,
        is_meant_for_loopback: fn(&Parts) -> bool,
    ) -> Self {
        Self {
            engine,
            listen,
            is_meant_for_loopback,
            password: None,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            statement_count_max: 8,
        }
    }
}

/// What all requests share.
pub(super) struct Front {
    pub(super) engine: Arc<Engine>,
    pub(super) settings: FrontSettings,
    pub(super) sessions: Sessions,
    /// One permit per statement, held by the statement's thread until it has ended.
    pub(super) turns: Arc<Semaphore>,
    /// Held by the thread of a pulse.
    pub(super) pulse: Arc<Semaphore>,
    /// Sweeps so far: a coarse clock.
    pub(super) sweeps: AtomicU64,
    /// The sweep after which the last statement began.
    pub(super) last_used_sweep: AtomicU64,
}
