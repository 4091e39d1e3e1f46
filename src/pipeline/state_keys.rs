//! The state file as the intake asks it for keys: those of the days, for sessions, and idempotency keys.

use std::sync::Arc;

use tillwatch_model::{FirstResult, KeyId};

use crate::intake::keys::KeySource as IdempotencyKeys;
use crate::intake::session::KeySource;
use crate::persist::{State, StateError};
use crate::throttle::Throttle;

static NO_KEY: Throttle = Throttle::new("no key for session pseudonyms");

/// Keys of the days in the state file.
pub(super) struct StateKeys(pub(super) Arc<State>);

impl KeySource for StateKeys {
    fn session_key(&self, day: i32) -> Option<[u8; 32]> {
        let key = self.0.session_key(day);
        key.inspect_err(|error| {
            // Every batch with a session asks for the key, so the line is throttled.
            if let Some(suppressed) = NO_KEY.pass() {
                tracing::error!(
                    error = crate::logging::chain(error),
                    suppressed,
                    "no key for session pseudonyms: batches with a session are answered 503"
                );
            }
        })
        .ok()
    }
}

impl IdempotencyKeys for StateKeys {
    fn find(&self, ids: &[KeyId]) -> Option<Vec<(KeyId, FirstResult)>> {
        let found = self.0.find_keys(ids);
        found.inspect_err(log_keys).ok()
    }

    fn forget(&self, before_ms: i64, at_most: usize) -> usize {
        let forgotten = self.0.forget_keys(before_ms, at_most);
        forgotten.inspect_err(log_keys).unwrap_or(0)
    }
}

fn log_keys(error: &StateError) {
    tracing::error!(
        error = crate::logging::chain(error),
        "idempotency keys could not be read or deleted"
    );
}
