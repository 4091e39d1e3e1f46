//! Takes a request from its head to its body, by the steps that are the same at every door.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use bytes::Bytes;
use tillwatch_model::Browser;

use crate::auth::Who;
use crate::clock::InDoubt;
use crate::doors::admission::{Admission, BEACON_BYTES_MAX};
use crate::doors::backlog::Turn;
use crate::doors::body;
use crate::doors::hall::Hall;
use crate::doors::idempotency;
use crate::doors::refusal::Refusal;
use crate::doors::trace::Trace;
use crate::intake::keys::Key;
use crate::intake::limits::Class;
use crate::room::Held;

/// A request whose body is there.
pub(super) struct Received<'h, W> {
    /// When the request's head arrived. Unit: Unix ms.
    pub(super) received_at_ms: i64,
    /// The browser that sends it, by its own word.
    pub(super) browser: Option<Browser>,
    pub(super) who: Who,
    pub(super) class: Class,
    pub(super) key: Option<Key<'h>>,
    /// How the request's headers say that the body is wrapped.
    pub(super) wrapping: W,
    pub(super) body: Bytes,
    /// The memory that the request has.
    pub(super) held: Held,
    /// The request's turn, if it brings a backlog: until it is answered.
    pub(super) turn: Option<Turn<'h>>,
}

/// What a request's head says.
struct Head<'h, W> {
    received_at_ms: i64,
    admission: Admission,
    wrapping: W,
    key: Option<Key<'h>>,
    /// How long the body is, if the head says so. Unit: bytes.
    announced: Option<usize>,
}

/// Receives a request of a format whose wrapping `wrapping_of` knows. One that is refused by its head is
/// refused before its body is read.
pub(super) async fn receive<'h, W>(
    hall: &'h Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    parts: &'h Parts,
    body: Body,
    wrapping_of: impl FnOnce(&HeaderMap) -> Result<W, Refusal>,
    trace: &mut Trace<'_>,
) -> Result<Received<'h, W>, Refusal> {
    if hall.is_stopping() {
        return Err(Refusal::Stopping);
    }
    let mut limits = **hall.limits();
    let headers = &parts.headers;
    let head = || {
        hall.pass_address(&parts.extensions, &parts.headers)?;
        let announced = body::announced(headers, &limits)?;
        let received_at_ms = arrived_at_ms.map_err(|InDoubt| Refusal::ClockUnsure)?;
        Ok(Head {
            admission: hall.admit(parts, received_at_ms, announced)?,
            received_at_ms,
            wrapping: wrapping_of(headers)?,
            key: idempotency::key_of(headers)?,
            announced,
        })
    };
    let head = match head() {
        Ok(head) => head,
        Err(refusal) => {
            body::discard(headers, body).await;
            return Err(refusal);
        }
    };
    let class = head.admission.class;
    if class == Class::Backlog
        && let Err(refusal) = hall.backlog.look(&hall.room)
    {
        body::discard(headers, body).await;
        return Err(refusal);
    }
    if head.admission.who.is_none() {
        limits.body_bytes_max = limits.body_bytes_max.min(BEACON_BYTES_MAX);
    }
    let (body, held) = body::read(body, head.announced, &limits, &hall.room).await?;
    trace.read(body.len());
    hall.counters.body_bytes.increment(body.len() as u64);
    let mut admission = head.admission;
    let who = match admission.who.take() {
        Some(who) => who,
        None => hall.admit_body(admission, headers, &body, head.received_at_ms)?,
    };
    // Only now: whoever brings a body slowly must not hold a turn meanwhile.
    let turn = match class {
        Class::Live => None,
        Class::Backlog => Some(Box::pin(hall.backlog.turn(&who)).await?),
    };
    Ok(Received {
        received_at_ms: head.received_at_ms,
        browser: browser_of(headers),
        who,
        class,
        key: head.key,
        wrapping: head.wrapping,
        body,
        held,
        turn,
    })
}

fn browser_of(headers: &HeaderMap) -> Option<Browser> {
    let user_agent = headers.get(USER_AGENT)?;
    Browser::of_user_agent(user_agent.to_str().ok()?)
}
