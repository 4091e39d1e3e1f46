//! Stage 1 takes a batch from an offer to its acknowledgement.
//!
//! A door hands in what it could read of a request ([`Offers`]) with what is known of its sender
//! ([`Who`]); [`Intake::submit`] decides about each batch and writes it to the journal, and
//! [`Pending::durable`] tells what came of it ([`Receipt`]), or why it is to be sent again ([`Refusal`]).
//! Nothing here knows HTTP or a format.
//!
//! **Promises**
//! 1. A receipt is given only after every accepted sample is on stable storage.
//! 2. Every sample of a request has exactly one outcome, and is counted under it.
//! 3. A bad sample does not spoil its batch, nor a bad batch its request.
//! 4. Nothing that could name a person passes into the journal; without consent, no sample does.
//!
//! | file | step |
//! |---|---|
//! | `service.rs` | the intake, and what it is made of |
//! | `offer.rs` | what a door brings |
//! | `who.rs` | what a batch may say of its store and terminal, by who posts it |
//! | `submission.rs` | a request's batches, until all is decided about them |
//! | `charge.rs` | whom a request is charged to, by what it brings |
//! | `rates.rs` | how fast a store may post while nobody is asked for a credential |
//! | `limits.rs` | how often whoever has shown one may post, and how often an address may |
//! | `held_back.rs` | who has made as many rows as it may this hour |
//! | `identity.rs` | who a batch is |
//! | `request_time.rs` | when a request was sent, whether that can be, and how times are corrected |
//! | `dedup.rs` | which batches have been taken in, by queue and number |
//! | `queues.rs` | the queues of one terminal, and which makes room for another |
//! | `shares.rs` | which store holds how many of the places that all share |
//! | `contents.rs` | whether two batches of one number hold the same |
//! | `keys.rs` | which batches have been taken in, by idempotency key or content |
//! | `key_shares.rs` | how many such keys each store has |
//! | `under_way.rs` | how other posts of a batch wait until it is on disk |
//! | `validate.rs` | from an offer to a journal record; each sample's outcome |
//! | `events.rs` | the same of events and drops |
//! | `summaries.rs` | the same of what a page has summed up itself |
//! | `weight.rs` | how many samples a batch stands for |
//! | `buckets.rs` | whether a terminal's histogram can be what it says |
//! | `session.rs` | a session's pseudonym |
//! | `append.rs` | what a request has written, until the journal has it |
//! | `acknowledge.rs` | what is settled and counted when an append is durable, or is not |
//! | `pending.rs` | what came of a request, once its records are durable |
//! | `rehearsal.rs` | what would become of offers, of a payload from a file |
//! | `report.rs` | what was wrong with a request's batches, for the answer |
//! | `refusal.rs` | why a request is put off |
//! | `watched.rs` | shows a batch to whoever watches |
//! | `laps.rs` | what each part of a request's way took |
//! | `books.rs`, `counters.rs` | what is known of batches; outcomes, as metrics |
//! | `acts.rs` | an operator's act on its way through the journal |
//! | `settings.rs` | limits |

mod acknowledge;
pub mod acts;
mod append;
pub mod books;
mod buckets;
mod charge;
mod contents;
pub mod counters;
pub mod dedup;
mod events;
pub mod identity;
pub mod held_back;
mod key_shares;
pub mod keys;
pub mod laps;
pub mod limits;
pub mod offer;
mod pending;
mod queues;
pub mod rates;
mod refusal;
mod rehearsal;
pub mod report;
pub mod request_time;
mod service;
pub mod session;
mod settings;
pub mod shares;
mod submission;
mod summaries;
#[cfg(test)]
pub(crate) mod tests;
mod under_way;
pub mod validate;
mod watched;
pub mod weight;
mod who;

pub use crate::auth::Who;
pub use acknowledge::Acknowledgement;
pub use acts::Desk;
pub use books::Books;
pub use dedup::Dedup;
pub use held_back::HeldBack;
pub use keys::Keys;
pub use offer::{Offer, Offers};
pub use pending::{Pending, Receipt};
pub use refusal::{NotStored, Refusal};
pub use rehearsal::{Rehearsal, rehearse};
pub use service::{Intake, Parts};
pub use settings::{ACKNOWLEDGE_MAX, Settings};
pub use shares::Shares;
pub use watched::Watched;
