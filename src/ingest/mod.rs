//! Stage 1 takes a batch from the socket to its acknowledgement.
//!
//! **Promises**
//! 1. The answer 202 is sent only after every accepted sample is on stable storage.
//! 2. Every sample of a request has exactly one outcome, and is counted under it.
//! 3. A bad sample does not spoil its batch, nor a bad batch its request.
//! 4. Nothing that could name a person passes into the journal; without consent, no sample does.
//! 5. Memory is bounded before anything is read: bodies, decoded bytes, batches, samples, connections.
//!
//! | file | step |
//! |---|---|
//! | `routes.rs` | `POST /v1/batches`: from a request to its batches |
//! | `settings.rs` | limits |
//! | `intake.rs` | its batches on their way: identity, outcome, record, acknowledgement |
//! | `admission.rs` | who may post now: memory, rate per store |
//! | `room.rs` | memory for requests under way, and which body goes when there is none |
//! | `body.rs` | reads the body, whole and in time |
//! | `decode.rs` | undoes compression under a cap; says how a body is written |
//! | `request_time.rs` | when a request was sent, whether that can be, and how times are corrected |
//! | `validate.rs` | from what the terminal wrote to a journal record; each sample's outcome |
//! | `weight.rs` | how many samples a batch stands for |
//! | `buckets.rs` | whether a terminal's histogram can be what it says |
//! | `append.rs` | what a request has written, until the journal has it |
//! | `acknowledge.rs` | what is settled and counted when an append is durable, or is not |
//! | `acts.rs` | an operator's act on its way through the journal |
//! | `session.rs` | a session's pseudonym |
//! | `dedup.rs` | which batches have been taken in, by queue and number |
//! | `contents.rs` | whether two batches of one number hold the same |
//! | `keys.rs` | which batches have been taken in, by idempotency key |
//! | `under_way.rs` | how other posts of a batch wait until it is on disk |
//! | `cors.rs` | which pages of browsers may post |
//! | `respond.rs` | the only place where an outcome becomes a status, a header and a body |
//! | `counters.rs` | outcomes and durations, as metrics |
//! | `trace.rs` | what a request took; the line about a slow or failed one |
//! | `error.rs` | why a request was not taken |

pub mod acknowledge;
pub mod admission;
mod acts;
mod append;
mod body;
mod buckets;
mod contents;
pub mod cors;
pub mod counters;
pub mod decode;
pub mod dedup;
pub mod error;
mod intake;
pub mod keys;
pub mod request_time;
pub mod respond;
mod room;
pub mod routes;
pub mod session;
mod settings;
#[cfg(test)]
mod tests;
pub mod trace;
mod under_way;
pub mod validate;
pub mod weight;

pub use acknowledge::Acknowledgement;
pub use dedup::Dedup;
pub use keys::Keys;
pub use routes::{Ingest, router};
pub use settings::Settings;
