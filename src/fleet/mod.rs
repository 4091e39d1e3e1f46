//! What the fleet tells, judged from what is held: which terminals are silent although they should report.
//!
//! **Promises**
//! 1. Only time counts in which the collector was ready and accepting: after its own downtime, a full disk or an unsure
//!    clock nobody is called silent for it.
//! 2. A terminal is held against its own habit, or the opening hours of its store if the operator gives them, and only in
//!    hours in which its store was heard.
//! 3. Nothing here has a clock or a task of its own; the caller says what time it is. Only the inventory is read from a
//!    file, once.
//!
//! | file | what |
//! |---|---|
//! | `readiness.rs` | when the collector was ready, by quarters of an hour |
//! | `opening.rs` | when a store is open, as an operator writes it |
//! | `inventory.rs` | which terminals exist, if an operator says so |
//! | `expected.rs` | in which hours a terminal should report, and in which its store was heard |
//! | `silence.rs` | whether a terminal is silent, and why it is not called so |

mod expected;
pub mod inventory;
pub mod opening;
pub mod readiness;
pub mod silence;

pub use expected::Heard;
pub use inventory::Inventory;
pub use readiness::{Readiness, Ready};
pub use silence::{OfStore, Silence, State, Watch};
