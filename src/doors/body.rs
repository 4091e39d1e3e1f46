//! Reads a request's body, whole and in time.
//!
//! A body may take long if it keeps coming: it has a deadline and, after the first seconds, a minimum rate.
//! `room.rs` counts the memory that a body takes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::doors::limits::Limits;
use crate::doors::refusal::Refusal;
use crate::room::{Arriving, Held, Room};

/// Of a body that is refused so much is read off, in this time: a connection that is closed with bytes
/// unread is reset, and the client may lose the answer that says why.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
const DISCARD_MAX: Duration = Duration::from_secs(1);

/// Reads off the body of a request that is refused by its head, unless its client waits for leave to send.
pub(super) async fn discard(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(EXPECT) {
        read_off(body).await;
    }
}

async fn read_off(mut body: Body) {
    let reading = async {
        let mut total = 0;
        while let Some(Ok(frame)) = body.frame().await {
            total += frame.data_ref().map_or(0, Bytes::len);
            if total > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // A client that is slower than this loses its answer.
    let _is_slow = tokio::time::timeout(DISCARD_MAX, reading).await.is_err();
}

/// Says how long a body is by its head; refuses one that is too long.
pub(super) fn announced(headers: &HeaderMap, limits: &Limits) -> Result<Option<usize>, Refusal> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<usize>().ok()) {
        Some(length) if length > limits.body_bytes_max => Err(too_large(limits.body_bytes_max)),
        length => Ok(length),
    }
}

/// Reads a body, whole and in time, and gives the memory that it holds.
pub(super) async fn read(
    mut body: Body,
    announced: Option<usize>,
    limits: &Limits,
    room: &Arc<Room>,
) -> Result<(Bytes, Held), Refusal> {
    let allowed = Allowed::new(limits);
    let first = timeout_at(allowed.due(0), piece(&mut body)).await;
    let first = first.unwrap_or_else(|_elapsed| Err(allowed.over()))?;
    // Most bodies come in one piece and are never copied.
    let taken = if body.is_end_stream() && first.len() <= allowed.bytes_max {
        match Held::new(room, first.len()) {
            Ok(held) => Ok((first, held)),
            Err(no_room) => Err(no_room.into()),
        }
    } else {
        let arriving = Arriving::new(room, announced)?;
        collect(&mut body, first, allowed, arriving).await
    };
    // After these refusals more of the body may be on its way.
    if let Err(Refusal::TooLarge(..) | Refusal::Busy | Refusal::Slowest) = &taken {
        read_off(body).await;
    }
    taken
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::TooLarge(bytes_max, "as sent")
}

/// Collects the rest of a body that comes in pieces.
async fn collect(
    body: &mut Body,
    mut piece: Bytes,
    allowed: Allowed,
    mut arriving: Arriving,
) -> Result<(Bytes, Held), Refusal> {
    // An empty piece is the end.
    while !piece.is_empty() {
        let total = arriving.bytes() + piece.len();
        if total > allowed.bytes_max {
            return Err(too_large(allowed.bytes_max));
        }
        arriving.push(&piece)?;
        // The piece is part of a buffer of the connection, so it is let go before the wait.
        drop(piece);
        piece = tokio::select! {
            biased;
            next = self::piece(body) => next?,
            () = arriving.has_to_go() => return Err(Refusal::Slowest),
            () = tokio::time::sleep_until(allowed.due(total)) => return Err(allowed.over()),
        };
    }
    Ok(arriving.whole()?)
}

/// Gives the next piece with something in it; an empty one at the end.
async fn piece(body: &mut Body) -> Result<Bytes, Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Refusal::Incomplete)?;
        if let Ok(piece) = frame.into_data()
            && !piece.is_empty()
        {
            return Ok(piece);
        }
    }
    Ok(Bytes::new())
}

/// What a body may take: so many bytes; some time in all, and after the first of it a rate to keep.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    bytes_max: usize,
    begun: Instant,
    all: Duration,
    first: Duration,
    bytes_per_s_min: u64,
}

impl Allowed {
    fn new(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.body_bytes_max,
            begun: Instant::now(),
            all: limits.body_timeout,
            first: limits.body_first,
            bytes_per_s_min: limits.body_bytes_per_s_min,
        }
    }

    /// The moment by which more than these bytes must have come.
    fn due(self, bytes: usize) -> Instant {
        let earned_ms = (bytes as u64).saturating_mul(1_000) / self.bytes_per_s_min.max(1);
        let at_this_rate = self.first.saturating_add(Duration::from_millis(earned_ms));
        self.begun + self.all.min(at_this_rate)
    }

    /// Why a body whose time is over is not taken.
    fn over(self) -> Refusal {
        if self.begun.elapsed() >= self.all {
            Refusal::TooSlow(self.all.as_secs())
        } else {
            Refusal::BelowRate(self.bytes_per_s_min)
        }
    }
}
