//! Stands between a socket and the intake: a door is the way in for one format.
//!
//! Every door does the same: it receives a request (head, body, memory), unpacks it, reads of its format
//! what it can, and makes **offers** of that; `Intake::submit` decides about them; of the receipt, or of
//! the refusal, the door makes its format's answer. What all doors share lies in this folder; what one
//! format needs lies in a folder of its own.
//!
//! **To add a door**
//! 1. A folder beside `terminal_v1/`, with `routes()` for its paths, and a line in `router.rs`.
//! 2. `receive` brings the body; `Packing` unpacks it. Bodies and what is made of them ask `Held` for
//!    memory before they take any.
//! 3. What the format says becomes `intake::offer::Offer`s. What cannot be read stays in them, as a field
//!    that is wrong or as a reason: everything that was sent is counted.
//!    After `submit` has returned nothing may fail or wait before `Pending::durable` is called: the numbers of the
//!    batches are reserved until then.
//! 4. The answer is made of `intake::Receipt`, or of `Refusal` and its `Verdict`.
//!
//! **Promise**: the memory of bodies, decoded bytes, batches and samples is bounded before anything is read.
//!
//! | file | what |
//! |---|---|
//! | `router.rs` | which path leads to which door |
//! | `hall.rs` | what all doors open into |
//! | `admission.rs` | who is let in, by the head of a request |
//! | `backlog.rs` | the turns of what terminals kept while they were offline |
//! | `renewal.rs` | the next token of a terminal |
//! | `library.rs` | the terminal's library, for pages that do not bundle it |
//! | `receive.rs` | from a request to its body |
//! | `limits.rs` | what a request may take |
//! | `body.rs` | reads the body, whole and in time |
//! | `codings.rs` | undoes compression, under a cap |
//! | `turns.rs` | where long work is done, so that it holds up no other request |
//! | `idempotency.rs` | the headers of a sender without numbers |
//! | `cors.rs` | which pages of browsers may post |
//! | `refusal.rs` | why a request was not taken, and what HTTP calls that |
//! | `answer.rs` | answers that are the same at every door |
//! | `trace.rs` | what a request took; the line about a slow or failed one |
//! | `recent.rs` | where the records of the last requests lie |
//! | `counters.rs` | requests and what they took, as metrics |
//! | `terminal_v1/` | the door of terminals: native format v1 |
//! | `legacy/` | the door of reports with percentiles that pages make themselves |
//! | `foreign/` | what the doors of foreign formats share |
//! | `otlp/` | the door of OpenTelemetry's exporters: OTLP/HTTP metrics |
//! | `faro/` | the door of Grafana Faro's Web SDK |
//! | `trial/` | what would become of a payload from a file |

mod admission;
mod answer;
mod backlog;
mod body;
pub mod codings;
pub mod cors;
pub mod counters;
pub mod faro;
pub mod foreign;
mod hall;
mod legacy;
pub mod idempotency;
mod library;
mod limits;
pub mod otlp;
mod receive;
pub mod recent;
pub mod refusal;
mod renewal;
mod router;
pub mod terminal_v1;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod trial;
mod turns;

pub use hall::{Hall, Parts};
pub use limits::{BODY_FIRST, Limits};
pub use router::router;
