//! A session's pseudonym: an HMAC under a key of the day, so that a session can be followed for a
//! day and its person cannot be found, not even by trying every cashier number, once the key is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tillwatch_model::SessionKey;

use crate::tasks::Jobs;

/// Where the keys of the days are kept.
pub trait KeySource: Send + Sync + 'static {
    /// The key of a day (days since 1970), made when first asked for. `None` when it cannot be had. Blocks.
    fn session_key(&self, day: i32) -> Option<[u8; 32]>;
}

/// Days whose keys are held in memory: nine that samples may be of, and some.
const DAYS_HELD: usize = 16;

/// The keys of some days, and where they come from.
struct Keys {
    source: Box<dyn KeySource>,
    held: RwLock<BTreeMap<i32, SessionKey>>,
}

/// Makes pseudonyms.
pub struct Pseudonyms {
    keys: Arc<Keys>,
    /// Where the source is asked: one request at a time, because what one finds serves the others.
    asking: Jobs,
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
        let held = RwLock::default();
        Self {
            keys: Arc::new(Keys { source, held }),
            asking: Jobs::new(1),
        }
    }

    /// Makes the pseudonym of a session on a day. `None` when the day's key is not at hand: [`Pseudonyms::fetch`]
    /// may bring it.
    #[must_use]
    pub fn of(&self, session_id: &str, day: i32) -> Option<[u8; 16]> {
        Some(self.keys.at_hand(day)?.pseudonym(session_id).0)
    }

    /// Brings the key of a day, made if need be, off the threads that serve requests: the disk may be busy for seconds.
    /// Says whether it is at hand then.
    pub async fn fetch(&self, day: i32) -> bool {
        let keys = Arc::clone(&self.keys);
        self.asking.run(move || keys.prepare(day)).await
    }

    /// Has the key of a day at hand, made if need be. Blocks; called ahead of the day, it keeps the day's
    /// first session from waiting for the disk.
    pub fn prepare(&self, day: i32) {
        let _known = self.keys.prepare(day);
    }
}

impl Keys {
    fn at_hand(&self, day: i32) -> Option<SessionKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(&day).cloned()
    }

    fn prepare(&self, day: i32) -> bool {
        if self.at_hand(day).is_some() {
            return true;
        }
        let Some(key) = self.source.session_key(day) else {
            return false;
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(day, SessionKey::new(&key));
        while held.len() > DAYS_HELD {
            held.pop_first();
        }
        true
    }
}
