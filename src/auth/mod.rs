//! Says who posts, and who may ask. A terminal shows a token (`crates/token`), a server a static key; [`Gate`] tells
//! whose it is, before anything else of the request is looked at.
//!
//! **Promises**
//! 1. What a token says is believed only after its signature, its audience and its times were checked, and of its
//!    times only while the collector's clock can be trusted.
//! 2. What was revoked is refused from the next request on.
//! 3. A refusal costs no more than the check of one signature, is counted by its reason, and tells nothing of the
//!    credential.
//! 4. Keys of another issuer count only while its key set is not too old, and never in the place of an own one.
//! 5. A private key lies in one file of the data folder, which only its owner can read, and is never printed. Of a
//!    static key only the digest is kept.
//!
//! | file | what |
//! |---|---|
//! | `gate.rs` | from the head of a request to whoever sent it |
//! | `bearer.rs` | who may post, as a token says |
//! | `static_key.rs` | keys that do not expire, and their scopes |
//! | `session.rs` | what a browser holds instead of a key |
//! | `revocations.rs` | tokens that were ended before their time |
//! | `denied.rs` | why somebody is not let in |
//! | `key_folder.rs` | the collector's own keys, on disk |
//! | `key_folder_error.rs` | why they cannot be read or written |
//! | `jwks/` | public keys of the shop's own backend, from a file or a URL |

mod bearer;
mod denied;
mod gate;
pub mod jwks;
mod key_folder;
mod key_folder_error;
mod revocations;
mod session;
mod static_key;

pub use bearer::Bearer;
pub use denied::Denied;
pub use gate::{Gate, GateSettings, Mode, Renewed, Shown, Who};
pub use jwks::{Jwks, JwksLooked, JwksSettings, JwksSource};
pub use key_folder::{KeyFolder, Keys, Looked};
pub use key_folder_error::KeyFolderError;
pub use revocations::{KEPT_MS, REVOCATIONS_MAX, Revocation, Revocations, Revoked};
pub use session::{SESSION_S, SessionKey};
pub use static_key::{
    ID_BYTES, SECRET_BYTES, STATIC_KEYS_MAX, STORES_MAX, Scope, Secret, StaticKey, StaticKeys,
};
