//! What a request has written, until the journal has it.

use std::sync::Arc;

use tillwatch_journal::{CommitTimes, Completion, Payloads, Position};
use tillwatch_model::{FirstResult, KeyId, QueueKey, Reason};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::ingest::acknowledge::{Acknowledgement, Weighed};
use crate::ingest::dedup::Identity;
use crate::ingest::error::IngestError;
use crate::ingest::room::Held;
use crate::ingest::routes::Ingest;
use crate::ingest::validate::Written;

/// What an allocation takes beside its bytes, about.
const ALLOCATION_BYTES: usize = 16;

/// What waits for the journal.
#[derive(Default)]
pub(super) struct Append {
    payloads: Payloads,
    /// Where one record is written before it is framed.
    scratch: Vec<u8>,
    reserved: Vec<(QueueKey, u64)>,
    /// What each of those holds.
    contents: Vec<u32>,
    keyed: Vec<(KeyId, FirstResult)>,
    pub(super) weighed: Weighed,
    /// What will be answered once this is durable: a batch beside it could not be taken.
    pub(super) refused: Option<IngestError>,
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
        if identity.is_keyed {
            let first = FirstResult {
                received_at_ms,
                accepted: written.accepted,
                rejected: written.rejected.iter().sum(),
            };
            self.keyed.push((identity.queue, first));
        } else {
            let names_bytes = identity.store_id.len() + identity.terminal_id.len();
            self.names_bytes += names_bytes + 2 * ALLOCATION_BYTES;
            self.reserved.push(identity.to_owned());
            self.contents.push(identity.content);
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

    /// Whether a batch of this identity is in it, and if so, whether it holds the same.
    pub(super) fn holds(&self, identity: Identity<'_>) -> Option<bool> {
        let (key, seq) = identity.to_owned();
        let is_it = |other: &(QueueKey, u64)| other.1 == seq && other.0 == key;
        let at = self.reserved.iter().position(is_it)?;
        Some(self.contents.get(at) == Some(&identity.content))
    }

    /// No more will be written.
    pub(super) fn finish(&mut self) {
        self.scratch = Vec::new();
    }

    /// The memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.held_bytes()
            + self.scratch.capacity()
            + self.reserved.capacity() * size_of::<(QueueKey, u64)>()
            + self.contents.capacity() * size_of::<u32>()
            + self.keyed.capacity() * size_of::<(KeyId, FirstResult)>()
            + self.weighed.rejected.capacity() * size_of::<(Reason, u64)>()
            + self.names_bytes
    }

    /// To the journal; ends when it is durable, or is not, or at the deadline. What was written counts
    /// under what becomes of it, also when that is later.
    pub(super) async fn send(
        self,
        ingest: &Ingest,
        (received_at_ms, held): (i64, Held),
        deadline: Instant,
    ) -> Result<(Position, Option<CommitTimes>), IngestError> {
        let (reply, durable) = oneshot::channel();
        let acknowledgement = Acknowledgement {
            dedup: Arc::clone(&ingest.dedup),
            keys: Arc::clone(&ingest.keys),
            counters: Arc::clone(&ingest.counters),
            weighed: self.weighed,
            reserved: self.reserved,
            keyed: self.keyed,
            received_at_ms,
            _held: Some(held),
            reply,
        };
        if let Err((error, acknowledgement)) = ingest.journal.append(self.payloads, acknowledgement)
        {
            acknowledgement.complete(Err(error));
        }
        // The journal completes every append; a closed channel means that it is gone.
        match timeout_at(deadline, durable).await {
            Ok(Ok(told)) => Ok(told?),
            Ok(Err(_closed)) => Err(IngestError::Stopping),
            // It may still become durable: then a resend is a duplicate.
            Err(_elapsed) => Err(IngestError::Busy),
        }
    }
}
