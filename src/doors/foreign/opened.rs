//! The steps from a foreign request to its receipt.

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use tillwatch_model::{Browser, Outcomes};

use crate::auth::Who;
use crate::clock::InDoubt;
use crate::doors::backlog::Turn;
use crate::doors::codings::Packing;
use crate::doors::foreign::{Batch, Rule, Visitor};
use crate::doors::hall::Hall;
use crate::doors::receive::{Received, receive};
use crate::doors::refusal::Refusal;
use crate::doors::trace::Trace;
use crate::intake::counters::Counters;
use crate::intake::keys::Key;
use crate::intake::laps::Stage;
use crate::intake::limits::Class;
use crate::intake::offer::{Field, Mark, Number};
use crate::intake::{self, Offers, Receipt};
use crate::mapping::Door;
use crate::room::{Held, REQUEST_BYTES};

/// A body that is longer is unpacked and read aside, because the other connections of the thread would wait. Unit: bytes.
const INLINE_BYTES_MAX: usize = 16 * 1024;
/// How much memory is set aside for what is read of a body, in bodies.
const READING: usize = 12;
/// How much of that is for what stays, if the rest is for what is read on the way to it; in bodies.
const STAYING: usize = 6;
/// More memory is asked for in pieces of this size. Unit: bytes.
const SPACE_BYTES: usize = 64 * 1024;

/// A request whose body is unpacked.
#[derive(Debug)]
pub struct Opened<'h, T> {
    hall: &'h Hall,
    received_at_ms: i64,
    browser: Option<Browser>,
    who: Who,
    class: Class,
    key: Option<Key<'h>>,
    held: Held,
    /// Kept until the request is answered.
    _turn: Option<Turn<'h>>,
    /// What its headers say that the body is.
    pub kind: T,
    /// The body.
    pub body: Bytes,
}

/// Memory for what is read of a body, of which more is set aside as it is used up.
#[derive(Debug)]
pub struct Space<'s> {
    held: &'s mut Held,
    free: usize,
}

impl Space<'_> {
    /// Takes some.
    ///
    /// # Errors
    /// When there is none left.
    pub fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.free {
            let more = (bytes - self.free).max(SPACE_BYTES);
            self.held.add(more)?;
            self.free += more;
        }
        self.free -= bytes;
        Ok(())
    }
}

/// Receives a request and unpacks its body. `kind_of` knows the format's content types.
pub async fn open<'h, T>(
    hall: &'h Hall,
    arrived_at_ms: Result<i64, InDoubt>,
    parts: &'h Parts,
    body: Body,
    kind_of: impl FnOnce(&HeaderMap) -> Result<T, Refusal>,
    trace: &mut Trace<'_>,
) -> Result<Opened<'h, T>, Refusal> {
    let wrapping = |headers: &HeaderMap| Ok((Packing::of(headers)?, kind_of(headers)?));
    let received = receive(hall, arrived_at_ms, parts, body, wrapping, trace).await?;
    let Received {
        wrapping: (packing, kind),
        mut held,
        ..
    } = received;
    let decoded_bytes_max = hall.limits().decoded_bytes_max;
    let is_long = received.body.len() > INLINE_BYTES_MAX;
    let unpacking = || packing.open(received.body, decoded_bytes_max, is_plain);
    let unpacked = hall.turns.aside(is_long, unpacking).await?;
    if unpacked.is_mislabelled {
        hall.counters.mislabelled.increment(1);
    }
    held.set(REQUEST_BYTES + READING * unpacked.body.len())?;
    Ok(Opened {
        hall,
        received_at_ms: received.received_at_ms,
        browser: received.browser,
        who: received.who,
        class: received.class,
        key: received.key,
        held,
        _turn: received.turn,
        kind,
        body: unpacked.body,
    })
}

/// Whether a body begins as JSON does: whoever unpacked it on the way left its mark.
fn is_plain(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

impl<T> Opened<'_, T> {
    /// When the request's head arrived. Unit: Unix ms.
    pub fn received_at_ms(&self) -> i64 {
        self.received_at_ms
    }

    /// Does the reading of a body where it holds up nobody.
    pub async fn read<R>(&self, read: impl FnOnce() -> Result<R, Refusal>) -> Result<R, Refusal> {
        let is_long = self.body.len() > INLINE_BYTES_MAX;
        self.hall.turns.aside(is_long, read).await
    }

    /// The same, for a reader that says what it keeps: a body of many small parts takes more memory than is set aside
    /// for all.
    pub async fn read_within<R>(
        &mut self,
        read: impl FnOnce(&mut Space<'_>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let is_long = self.body.len() > INLINE_BYTES_MAX;
        let mut space = Space {
            held: &mut self.held,
            free: STAYING * self.body.len(),
        };
        self.hall.turns.aside(is_long, || read(&mut space)).await
    }

    /// Whose page visits the values of a batch are of.
    pub fn visitor<'r>(
        &'r self,
        batch: &'r Batch<'_>,
        rule: &'r Rule,
        nameless: &'static str,
    ) -> Visitor<'r> {
        batch.visitor(&self.who, rule, nameless)
    }

    /// Hands the batches of the body to the intake, and waits until what it has taken is durable. A payload that names
    /// no terminal is of the one called `nameless`.
    pub async fn submit(
        self,
        batches: Vec<Batch<'_>>,
        sent_at_ms: Field<Number>,
        rule: &Rule,
        nameless: &'static str,
        trace: &mut Trace<'_>,
    ) -> Result<Receipt, Refusal> {
        let limits = **self.hall.limits();
        if batches.len() > limits.batches_max {
            return Err(Refusal::TooManyBatches(limits.batches_max));
        }
        if batches.iter().map(Batch::len).sum::<usize>() > limits.samples_max {
            return Err(Refusal::TooManySamples(limits.samples_max));
        }
        trace.lap(Stage::Decode);
        trace.note(batches.len(), batches.first().map(Batch::sender));
        let content = Key::id_of_content("", "", &self.body);
        // The parts of one body are no resends of one another.
        let contents: Vec<_> = (0..batches.len() as u64)
            .map(|place| [&content[..], &place.to_le_bytes()].concat())
            .collect();
        let offers: Vec<_> = std::iter::zip(&batches, &contents)
            .enumerate()
            .map(|(place, (batch, content))| {
                let mark = match self.key {
                    Some(key) => Mark::Key { key, place },
                    None => Mark::Content(content),
                };
                batch.offer(&self.who, rule, nameless, mark)
            })
            .collect();
        let offered = Offers {
            received_at_ms: self.received_at_ms,
            sent_at_ms,
            class: self.class,
            browser: self.browser,
            batches: &offers,
            watched: trace.watched(),
        };
        let intake = &self.hall.intake;
        let submitted = intake.submit(&self.who, &offered, self.held, trace.laps());
        let submitted = submitted.await;
        // What waits for the disk is no more than what is written.
        drop(offers);
        let is_one = batches.len() == 1;
        let repeated = batches.iter().map(|batch| batch.repeated).sum();
        drop(batches);
        let receipt = match submitted {
            Ok(pending) => pending.durable(trace.laps()).await,
            Err(refusal) => Err(refusal),
        };
        let receipt = count_repeated(&intake.books().counters, receipt, repeated)?;
        match receipt.refused {
            Some(reason) if is_one => Err(Refusal::Batch(reason)),
            _ => Ok(receipt),
        }
    }
}

/// Counts values that the intake never saw, because they were known before: they share the fate of the request.
fn count_repeated(
    counters: &Counters,
    receipt: Result<Receipt, intake::Refusal>,
    repeated: u64,
) -> Result<Receipt, Refusal> {
    let mut receipt = receipt.inspect_err(|_| counters.defer(repeated))?;
    let outcomes = &mut receipt.outcomes;
    match receipt.refused {
        Some(reason) if outcomes.accepted + outcomes.duplicate == 0 => {
            counters.reject(reason, repeated);
            outcomes.rejected += repeated;
        }
        _ => {
            counters.duplicate(repeated);
            outcomes.duplicate += repeated;
        }
    }
    Ok(receipt)
}

/// A request as it comes to a door.
#[derive(Debug)]
pub struct Arriving<'h> {
    /// When the head of the request arrived, by a clock that is trusted. Unit: Unix ms.
    pub arrived_at_ms: Result<i64, InDoubt>,
    /// What the request takes.
    pub trace: Trace<'h>,
}

impl<'h> Arriving<'h> {
    /// Notes that a request is here.
    pub fn note(hall: &'h Hall, door: Door, request: &Request) -> Self {
        Self {
            arrived_at_ms: hall.clock.received_at_ms(),
            trace: hall.trace(door.name(), request),
        }
    }

    /// The span of the request, for the log.
    pub fn span(&self) -> tracing::Span {
        tracing::debug_span!("request", request_id = %self.trace.id())
    }

    /// Writes down what the request took, and gives its answer.
    pub fn answered(
        self,
        taken: Result<(Response, Outcomes), Refusal>,
        refused: impl FnOnce(&Refusal) -> Response,
    ) -> Response {
        let (response, code, outcomes) = match taken {
            Ok((response, outcomes)) => (response, None, outcomes),
            Err(refusal) => {
                let code = refusal.verdict().code;
                (refused(&refusal), Some(code), Outcomes::default())
            }
        };
        self.trace.finish(response.status(), code, outcomes);
        response
    }
}
