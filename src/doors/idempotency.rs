//! Reads and names the headers by which a sender without numbers says that a request is a resend.

use axum::http::{HeaderMap, HeaderName};

use crate::doors::refusal::Refusal;
use crate::intake::keys::Key;

/// The header that brings a key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Reads a request's key, if it has one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<Key<'_>>, Refusal> {
    let mut lines = headers.get_all(&KEY).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(Refusal::IdempotencyKey);
    }
    let key = Key::new(line.as_bytes()).ok_or(Refusal::IdempotencyKey)?;
    Ok(Some(key))
}
