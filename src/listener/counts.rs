//! What is counted of a listener's connections.

use crate::listener::ListenerSettings;
use crate::self_metrics as names;

/// The metrics of one listener, there from its start.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) open: metrics::Gauge,
    pub(super) accepted: metrics::Counter,
    pub(super) errors: metrics::Counter,
    pub(super) no_room: metrics::Counter,
    pub(super) made_room: metrics::Counter,
    pub(super) head_timeout: metrics::Counter,
    pub(super) idle_timeout: metrics::Counter,
    pub(super) body_timeout: metrics::Counter,
    pub(super) unread: metrics::Counter,
    pub(super) left: metrics::Counter,
}

impl Counts {
    pub(super) fn new(settings: ListenerSettings) -> Self {
        let name = settings.name;
        let closed = |reason: &'static str| metrics::counter!(names::CONNECTIONS_CLOSED, "listener" => name, "reason" => reason);
        let limit = u32::try_from(settings.connections_max).unwrap_or(u32::MAX);
        metrics::gauge!(names::CONNECTIONS_MAX, "listener" => name).set(limit);
        Self {
            open: metrics::gauge!(names::CONNECTIONS, "listener" => name),
            accepted: metrics::counter!(names::CONNECTIONS_ACCEPTED, "listener" => name),
            errors: metrics::counter!(names::ACCEPT_ERRORS, "listener" => name),
            no_room: closed("no_room"),
            made_room: closed("made_room"),
            head_timeout: closed("head_timeout"),
            idle_timeout: closed("idle_timeout"),
            body_timeout: closed("body_timeout"),
            unread: closed("unread"),
            left: closed("left"),
        }
    }
}
