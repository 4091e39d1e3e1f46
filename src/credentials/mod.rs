//! Makes, lists and ends credentials: keys that sign tokens, tokens, static keys, revocations.
//!
//! An [`Order`] is carried out by a running `serve`, which gets it over a socket in the data folder, or by a command
//! that holds the folder's lock. Both do the same here. What was ordered is durable when it is answered, counts from
//! the next request on, and stands in the audit log.
//!
//! | file | what |
//! |---|---|
//! | `order.rs` | what can be ordered, and what is answered |
//! | `desk.rs` | carries orders out |
//! | `new_key.rs` | makes a static key |
//! | `words.rs` | how keys and revocations are listed, and what the audit log says |

mod desk;
mod new_key;
mod order;
mod words;

pub use desk::{Desk, Fault};
pub use order::{Answer, ListedKey, ListedRevocation, ListedSigningKey, Order};
