//! The door of terminals: native format v1, read as the terminal wrote it, before anything is believed.
//!
//! A body is JSON or MessagePack; both are read by the same walk into the same structs.
//!
//! | file | what |
//! |---|---|
//! | `door.rs` | `POST /v1/batches`: the steps in order |
//! | `wrapping.rs` | how a body is wrapped: its headers, and the envelope that may be around it |
//! | `offers.rs` | from a batch of this format to an offer, which every door hands to the intake |
//! | `answer.rs` | what a terminal is told |
//! | `request.rs` | what a terminal sends: one batch, or many |
//! | `parse.rs` | takes a body apart; the entry, `parse` |
//! | `context.rs` | what is counted while a body is read, and the memory that is asked for |
//! | `walk.rs` | the objects and lists of a body, member by member, in either format |
//! | `json.rs` | how JSON is walked through; plain values are read in place |
//! | `messagepack.rs` | the same of MessagePack, without trusting a length it claims |
//! | `read.rs` | what each key of an object means |
//! | `read_events.rs` | the same of events and drops |
//! | `field.rs` | a value of any type: what it is, or that it is of the wrong type |
//! | `pieces.rs` | values that have been cut out of a body |
//! | `tolerant.rs` | takes a body apart piece by piece, after the walk has failed |
//!
//! The readers borrow from the body, keep what they know, count keys they do not know, and note a
//! value of the wrong type instead of failing on it, so that one bad sample costs one sample. What
//! even that cannot read (a number past the range of a float, a half surrogate, a MessagePack extension
//! type) makes the whole body be read again by `tolerant.rs`, which takes it apart sample by sample.

mod answer;
mod context;
mod door;
mod field;
mod json;
mod messagepack;
mod offers;
mod parse;
mod pieces;
mod read;
mod read_events;
mod request;
mod tolerant;
mod walk;
mod wrapping;

use crate::intake::offer::{BUCKETS_MAX, Dropped, Event, Field, Frame, Histogram, Number, Sample};

pub use offers::offer;
pub use parse::parse;
pub use request::{Batch, Envelope, Format, Limits, ParseError, Parsed, Request};
pub use wrapping::{Opened, Wrapping, open_envelope};

pub(super) use door::routes;

impl Field<Number> {
    /// Takes a float as `written` has it, since reading JSON may get a float's last digit wrong.
    fn exactly(self, written: impl FnOnce() -> Option<f64>) -> Self {
        match self {
            Self::Is(Number::Float(read)) => Self::Is(Number::Float(written().unwrap_or(read))),
            other => other,
        }
    }
}
