//! What the fleet tells, judged from what is held: which terminals are silent although they should report.
//!
//! **Promises**
//! 1. Only time counts in which the collector was ready and accepting: after its own downtime, a full disk or an unsure
//!    clock nobody is called silent for it.
//! 2. A terminal is held against its own habit, or the opening hours of its store if the operator gives them, and never
//!    against those of others.
//! 3. Nothing here has a clock, a disk or a task of its own; the caller says what time it is.
//!
//! | file | what |
//! |---|---|
//! | `readiness.rs` | when the collector was ready, by quarters of an hour |
//! | `silence.rs` | whether a terminal is silent, and why it is not called so |

pub mod readiness;
pub mod silence;

pub use readiness::{Readiness, Ready};
pub use silence::{Heard, OfStore, Silence, State, Watch};
