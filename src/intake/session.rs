//! A session's pseudonym: an HMAC under a key of the day, so that a session can be followed for a
//! day and its person cannot be found, not even by trying every cashier number, once the key is gone.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use tillwatch_model::SessionKey;

/// Where the keys of the days are kept.
pub trait KeySource: Send + Sync + 'static {
    /// The key of a day (days since 1970), made when first asked for. `None` when it cannot be had.
    fn session_key(&self, day: i32) -> Option<[u8; 32]>;
}

/// Days whose keys are held in memory: nine that samples may be of, and some.
const DAYS_HELD: usize = 16;

/// Makes pseudonyms.
pub struct Pseudonyms {
    source: Box<dyn KeySource>,
    keys: RwLock<BTreeMap<i32, SessionKey>>,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    /// Makes pseudonyms under the keys of `source`.
    #[must_use]
    pub fn new(source: Box<dyn KeySource>) -> Self {
        Self {
            source,
            keys: RwLock::default(),
        }
    }

    /// Makes the pseudonym of a session on a day. `None` when the day's key cannot be had.
    #[must_use]
    pub fn of(&self, session_id: &str, day: i32) -> Option<[u8; 16]> {
        Some(self.keyed(day)?.pseudonym(session_id).0)
    }

    /// Has the key of a day at hand, made if need be. Blocks; called ahead of the day, it keeps the day's
    /// first session from waiting for the disk.
    pub fn prepare(&self, day: i32) {
        let _known = self.keyed(day).is_some();
    }

    fn keyed(&self, day: i32) -> Option<SessionKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&day) {
            return Some(key.clone());
        }
        drop(keys);
        let key = self.source.session_key(day)?;
        let key = SessionKey::new(&key);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(day, key.clone());
        while keys.len() > DAYS_HELD {
            keys.pop_first();
        }
        Some(key)
    }
}
