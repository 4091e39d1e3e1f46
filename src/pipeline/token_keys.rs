//! Takes the keys that verify tokens from the data folder, at the start and whenever they change.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Gate, KeyFolder, Keys, Looked, Mode};
use crate::config::Config;
use crate::throttle::Throttle;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Makes the gate with the keys that are there.
pub(super) fn gate(config: &Config) -> Arc<Gate> {
    let gate = Gate::new(config.auth_mode());
    if gate.mode() == Mode::Required {
        let mut keys = KeyFolder::of(&config.data.dir).keys();
        look(&mut keys);
        set(&gate, &keys);
    }
    Arc::new(gate)
}

/// Takes keys that come, and lets go of those that are taken away.
pub(super) async fn watch(gate: Arc<Gate>, folder: KeyFolder) {
    if gate.mode() == Mode::Off {
        return;
    }
    let mut keys = folder.keys();
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let has_changed = look(&mut keys);
            (keys, has_changed)
        });
        let Ok((looked, has_changed)) = looking.await else {
            // Only a runtime that ends gives up the look.
            return;
        };
        keys = looked;
        if has_changed {
            set(&gate, &keys);
            tracing::info!(keys = keys.all().len(), "took the keys of tokens");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks at the folder, and says whether a key has come or gone.
fn look(keys: &mut Keys) -> bool {
    match keys.look() {
        Ok(Looked {
            has_changed,
            faults,
        }) => {
            for fault in faults {
                tracing::error!(
                    error = crate::logging::chain(&fault),
                    "a key of tokens cannot be used; one that was read under this name before still counts"
                );
            }
            has_changed
        }
        Err(error) => {
            if let Some(suppressed) = UNREADABLE.pass() {
                tracing::error!(
                    error = crate::logging::chain(&error),
                    suppressed,
                    "the keys of tokens cannot be read; those from before still count"
                );
            }
            false
        }
    }
}

static UNREADABLE: Throttle = Throttle::new("looks at the keys of tokens that failed");

fn set(gate: &Gate, keys: &Keys) {
    let verifying = keys.verifying();
    if verifying.is_empty() {
        tracing::error!(
            "tokens are required and no key verifies one: nobody can post. Make a key with `tillwatch token key new`"
        );
    }
    gate.set_keys(verifying);
}
