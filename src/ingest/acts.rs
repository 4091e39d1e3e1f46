//! An operator's act on its way through the journal: durable and in order, as a batch is.

use std::sync::Arc;

use tillwatch_journal::{AppendError, Completion, Payloads, Position};
use tillwatch_model::journal_act_v1::{self, Act};
use tokio::sync::oneshot;

use crate::ingest::acknowledge::{Acknowledgement, Weighed};
use crate::ingest::routes::Ingest;

impl Ingest {
    /// Appends an act; gives its position once it is durable.
    ///
    /// # Errors
    /// When the journal refuses it, or does not answer in time: then it may still take effect.
    pub async fn act(&self, act: &Act<'_>) -> Result<Position, AppendError> {
        let (reply, durable) = oneshot::channel();
        let acknowledgement = Acknowledgement {
            dedup: Arc::clone(&self.dedup),
            keys: Arc::clone(&self.keys),
            counters: Arc::clone(&self.counters),
            weighed: Weighed::default(),
            reserved: Vec::new(),
            keyed: Vec::new(),
            received_at_ms: act.at_ms(),
            _held: None,
            reply,
        };
        let payloads = Payloads::one(&journal_act_v1::encode(act));
        if let Err((error, acknowledgement)) = self.journal.append(payloads, acknowledgement) {
            acknowledgement.complete(Err(error));
        }
        match tokio::time::timeout(self.settings.load().acknowledge_max, durable).await {
            Ok(Ok(result)) => result.map(|(position, _times)| position),
            // The journal is gone, or the disk is not answering.
            Ok(Err(_)) | Err(_) => Err(AppendError::Halted),
        }
    }
}
