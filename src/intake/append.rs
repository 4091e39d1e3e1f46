//! Keeps what a request has written, until the journal has it.

use std::sync::Arc;

use tillwatch_journal::{Completion, Journal, Payloads};
use tillwatch_model::{FirstResult, KeyId, QueueKey, Reason};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::intake::acknowledge::{Acknowledgement, Batches, Durable, Waiting, Weighed};
use crate::intake::books::Books;
use crate::intake::identity::{Identity, Numbered};
use crate::intake::refusal::Refusal;
use crate::intake::validate::Written;
use crate::room::Held;

/// What an allocation takes beside its bytes, about.
const ALLOCATION_BYTES: usize = 16;

/// What waits for the journal.
#[derive(Debug, Default)]
pub(super) struct Append {
    payloads: Payloads,
    /// Where one record is written before it is framed.
    scratch: Vec<u8>,
    reserved: Vec<(QueueKey, u64)>,
    /// What each batch in `reserved` holds.
    contents: Vec<u32>,
    keyed: Vec<(KeyId, FirstResult)>,
    pub(super) weighed: Weighed,
    /// What is answered once the append is durable, because a batch beside it could not be taken.
    pub(super) refused: Option<Refusal>,
    /// Names of stores and terminals in `reserved`.
    names_bytes: usize,
}

impl Append {
    /// Adds a batch of this identity, whose record `write` writes.
    pub(super) fn write(
        &mut self,
        identity: Identity<'_>,
        received_at_ms: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Written,
    ) -> Written {
        self.scratch.clear();
        let written = write(&mut self.scratch);
        if self.payloads.is_empty() {
            self.payloads = Payloads::with_capacity(self.scratch.len());
        }
        self.payloads.push(&self.scratch);
        match identity {
            Identity::Keyed(keyed) => {
                let first = FirstResult {
                    received_at_ms,
                    accepted: written.accepted,
                    rejected: written.rejected.iter().sum(),
                };
                self.keyed.push((keyed.id, first));
            }
            Identity::Numbered(numbered) => {
                let names_bytes = numbered.store_id.len() + numbered.terminal_id.len();
                self.names_bytes += names_bytes + 2 * ALLOCATION_BYTES;
                self.reserved.push(numbered.to_owned());
                self.contents.push(numbered.content);
            }
        }
        self.weighed.accepted += written.accepted;
        let rejected = (0_u8..).zip(written.rejected);
        let rejected = rejected.filter(|(_, samples)| *samples > 0);
        self.weighed.rejected.extend(
            rejected.filter_map(|(code, samples)| {
                Reason::from_code(code).map(|reason| (reason, samples))
            }),
        );
        written
    }

    /// Whether there is nothing that could become durable.
    pub(super) fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Whether a batch of this number is in it, and if so, whether it holds the same.
    pub(super) fn holds(&self, numbered: Numbered<'_>) -> Option<bool> {
        let (key, seq) = numbered.to_owned();
        let is_it = |other: &(QueueKey, u64)| other.1 == seq && other.0 == key;
        let at = self.reserved.iter().position(is_it)?;
        Some(self.contents.get(at) == Some(&numbered.content))
    }

    /// Notes that no more will be written.
    pub(super) fn finish(&mut self) {
        self.scratch = Vec::new();
    }

    /// The memory that the append takes.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.held_bytes()
            + self.scratch.capacity()
            + self.reserved.capacity() * size_of::<(QueueKey, u64)>()
            + self.contents.capacity() * size_of::<u32>()
            + self.keyed.capacity() * size_of::<(KeyId, FirstResult)>()
            + self.weighed.rejected.capacity() * size_of::<(Reason, u64)>()
            + self.names_bytes
    }

    /// Hands the append to the journal; ends when it is durable, or is not, or at the deadline. What was
    /// written counts under what becomes of it, also when that is later.
    pub(super) async fn send(
        self,
        journal: &Journal<Acknowledgement>,
        books: &Arc<Books>,
        received_at_ms: i64,
        held: Held,
        deadline: Instant,
    ) -> Result<Durable, Refusal> {
        let (reply, durable) = oneshot::channel();
        let batches = Batches {
            books: Arc::clone(books),
            weighed: self.weighed,
            reserved: self.reserved,
            keyed: self.keyed,
            received_at_ms,
            _held: held,
            reply,
        };
        let acknowledgement = Acknowledgement(Waiting::Batches(batches));
        if let Err((error, acknowledgement)) = journal.append(self.payloads, acknowledgement) {
            acknowledgement.complete(Err(error));
        }
        // The journal completes every append; a closed channel means that it is gone.
        match timeout_at(deadline, durable).await {
            Ok(Ok(told)) => Ok(told?),
            Ok(Err(_closed)) => Err(Refusal::Stopping),
            // The record may still become durable: then a resend is a duplicate.
            Err(_elapsed) => Err(Refusal::Busy),
        }
    }
}
