//! Takes a request from its head to its body, by the steps that are the same at every door.

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::clock::InDoubt;
use crate::doors::body;
use crate::doors::hall::Hall;
use crate::doors::idempotency;
use crate::doors::refusal::Refusal;
use crate::doors::trace::Trace;
use crate::intake::Who;
use crate::intake::keys::Key;
use crate::room::Held;

/// A request whose body is there.
pub(super) struct Received<'h, W> {
    /// When the request's head arrived. Unit: Unix ms.
    pub(super) received_at_ms: i64,
    pub(super) who: Who,
    pub(super) key: Option<Key<'h>>,
    /// How the request's headers say that the body is wrapped.
    pub(super) wrapping: W,
    pub(super) body: Bytes,
    /// The memory that the request has.
    pub(super) held: Held,
}

/// What a request's head says.
struct Head<'h, W> {
    received_at_ms: i64,
    who: Who,
    wrapping: W,
    key: Option<Key<'h>>,
    /// How long the body is, if the head says so. Unit: bytes.
    announced: Option<usize>,
}

/// Receives a request of a format whose wrapping `wrapping_of` knows. One that is refused by its head is
/// refused before its body is read.
pub(super) async fn receive<'h, W>(
    hall: &Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    headers: &'h HeaderMap,
    body: Body,
    wrapping_of: impl FnOnce(&HeaderMap) -> Result<W, Refusal>,
    trace: &mut Trace<'_>,
) -> Result<Received<'h, W>, Refusal> {
    if hall.is_stopping() {
        return Err(Refusal::Stopping);
    }
    let limits = **hall.limits();
    let head = || {
        let shown = headers.get_all(AUTHORIZATION).iter();
        let bearer = hall.gate.admit(
            shown.map(HeaderValue::as_bytes),
            arrived_at_ms.as_ref().ok().copied(),
        )?;
        Ok(Head {
            who: bearer.map_or(Who::Unproven, Who::Bearer),
            received_at_ms: arrived_at_ms.map_err(|InDoubt| Refusal::ClockUnsure)?,
            wrapping: wrapping_of(headers)?,
            key: idempotency::key_of(headers)?,
            announced: body::announced(headers, &limits)?,
        })
    };
    let head = match head() {
        Ok(head) => head,
        Err(refusal) => {
            body::discard(headers, body).await;
            return Err(refusal);
        }
    };
    let (body, held) = body::read(body, head.announced, &limits, &hall.room).await?;
    trace.read(body.len());
    hall.counters.body_bytes.increment(body.len() as u64);
    Ok(Received {
        received_at_ms: head.received_at_ms,
        who: head.who,
        key: head.key,
        wrapping: head.wrapping,
        body,
        held,
    })
}
