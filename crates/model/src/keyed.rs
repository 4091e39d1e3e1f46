//! Batches that come with an idempotency key because their sender keeps no sequence.

use crate::time::{DAY_MS, HOUR_MS};

/// Identity of a keyed batch: a digest of who sent it, its key, and its place in the request.
pub type KeyId = [u8; 16];

/// Samples of a keyed batch may be this old: when its key is forgotten, all in it is too old.
pub const KEYED_AGE_MS_MAX: i64 = DAY_MS;
/// A key is kept an hour longer than samples may be old: for those that lie a little in the future, and
/// for a clock that is corrected a little otherwise the second time.
pub const KEY_KEPT_MS: i64 = DAY_MS + HOUR_MS;

/// What the first post of a keyed batch came to; each later one is answered the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstResult {
    /// When the batch was received, Unix ms.
    pub received_at_ms: i64,
    /// Samples accepted; a histogram weighs its counts.
    pub accepted: u64,
    /// Samples rejected.
    pub rejected: u64,
}

/// How many keys of a store came in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreKeys {
    /// The shop; empty: all stores that have no series of their own.
    pub store_id: Box<str>,
    /// Hours since 1970.
    pub hour: i64,
    /// How many keys.
    pub keys: usize,
}
