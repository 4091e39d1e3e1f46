//! Says who posts. A terminal shows a token (`crates/token`); [`Gate`] tells whose it is, before anything else of
//! the request is looked at.
//!
//! **Promises**
//! 1. What a token says is believed only after its signature, its audience and its times were checked, and of its
//!    times only while the collector's clock can be trusted.
//! 2. A refusal costs no more than the check of one signature, is counted by its reason, and tells nothing of the
//!    token.
//! 3. A private key lies in one file of the data folder, which only its owner can read, and is never printed.
//!
//! | file | what |
//! |---|---|
//! | `gate.rs` | from the head of a request to its bearer |
//! | `bearer.rs` | who may post, as a token says |
//! | `denied.rs` | why somebody is not let in |
//! | `key_folder.rs` | the collector's own keys, on disk |

mod bearer;
mod denied;
mod gate;
mod key_folder;

pub use bearer::Bearer;
pub use denied::Denied;
pub use gate::{Gate, Mode};
pub use key_folder::{KeyFolder, KeyFolderError, Keys, Looked};
