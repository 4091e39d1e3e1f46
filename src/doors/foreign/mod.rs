//! What the doors of foreign formats have in common: clients that shops already have, and that know nothing of tillwatch.
//!
//! A foreign payload says in its own words who posts and what was measured. A door reads it into a [`Batch`] for each
//! terminal that it names; [`Opened::submit`] makes offers of these and hands them to the intake. What a payload does
//! not say, a [`Rule`] of its door may: whether the person consented, and which store it is.
//!
//! A sender that gives a request no `Idempotency-Key` is known by what the body holds: the same bytes for the same
//! terminal within 24 hours are a resend, and count once.
//!
//! | file | what |
//! |---|---|
//! | `rules.rs` | what a door takes for granted |
//! | `batch.rs` | what a payload brings of one terminal; which attributes say who that is |
//! | `opened.rs` | the steps from a request to its receipt |
//! | `json.rs` | a way through JSON that keeps nothing and lets a wrong value spoil only itself |
//! | `loose.rs` | a value of any type |
//! | `mapped.rs` | from a foreign name to the metric that is meant |
//! | `meant_for.rs` | for which door a body was meant that came to another |

mod batch;
pub mod json;
mod loose;
mod mapped;
mod meant_for;
mod opened;
mod rules;

pub(super) use batch::{Batch, Names, Visitor};
pub(super) use loose::{Loose, whole};
pub(super) use mapped::{map, scale};
pub(super) use meant_for::{meant_for_another, path_of};
pub(super) use opened::{Arriving, open};
pub use rules::{Rule, Rules};
