//! A request's body: the room it needs, and reading it.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::ingest::admission::Admission;
use crate::ingest::error::IngestError;
use crate::ingest::routes::Ingest;

/// Room set aside for a body before any of it has come, at most: a client that announces much and sends
/// nothing holds no more than this.
const FIRST_BYTES: usize = 64 * 1024;
/// Room grows in steps of this, so that a body in many small pieces does not ask for each of them.
const STEP_BYTES: usize = 4 * 1024;

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

impl Ingest {
    /// How long a body says it is; refused when that is too long.
    pub(super) fn announced(&self, headers: &HeaderMap) -> Result<Option<usize>, IngestError> {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        match length.and_then(|text| text.parse::<usize>().ok()) {
            Some(length) if length > self.settings.load().body_bytes_max => Err(self.too_large()),
            length => Ok(length),
        }
    }

    /// The body, whole and in time, and the memory it holds.
    pub(super) async fn read(
        &self,
        body: Body,
        announced: Option<usize>,
    ) -> Result<(Bytes, Held), IngestError> {
        let first_bytes = announced.unwrap_or(FIRST_BYTES).min(FIRST_BYTES);
        let held = Held::new(&self.admission, first_bytes)?;
        match tokio::time::timeout(self.settings.load().body_timeout, self.collect(body, held))
            .await
        {
            Ok(result) => result,
            Err(_elapsed) => Err(IngestError::TooSlow(
                self.settings.load().body_timeout.as_secs(),
            )),
        }
    }

    async fn collect(&self, mut body: Body, mut held: Held) -> Result<(Bytes, Held), IngestError> {
        let mut first = Bytes::new();
        // Most bodies come in one piece and are never copied.
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_broken| IngestError::Incomplete)?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let total = first.len().max(rest.len()) + piece.len();
            if total > self.settings.load().body_bytes_max {
                read_off(body).await;
                return Err(self.too_large());
            }
            held.grow(&self.admission, total)?;
            if first.is_empty() && rest.is_empty() {
                first = piece;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&piece);
            }
        }
        let whole = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok((whole, held))
    }

    fn too_large(&self) -> IngestError {
        IngestError::TooLarge(self.settings.load().body_bytes_max, "as sent")
    }
}

/// Memory set aside for a request, given back when it ends.
pub(super) struct Held {
    bytes: usize,
    permits: OwnedSemaphorePermit,
}

impl Held {
    fn new(admission: &Admission, bytes: usize) -> Result<Self, IngestError> {
        Ok(Self {
            bytes,
            permits: admission.hold(bytes)?,
        })
    }

    /// Sets more aside, if this is more than is held.
    pub(super) fn grow(&mut self, admission: &Admission, bytes: usize) -> Result<(), IngestError> {
        if bytes > self.bytes {
            let more = (bytes - self.bytes).next_multiple_of(STEP_BYTES);
            self.permits.merge(admission.hold(more)?);
            self.bytes += more;
        }
        Ok(())
    }
}
