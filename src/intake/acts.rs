//! Takes an operator's act through the journal, so that it is durable and in order, as a batch is.

use std::time::Duration;

use tillwatch_journal::{AppendError, Completion, Journal, Payloads, Position};
use tillwatch_model::journal_act_v1::{self, Act};
use tokio::sync::oneshot;

use crate::intake::acknowledge::{Acknowledgement, Waiting};

/// Where acts are handed in.
#[derive(Debug, Clone)]
pub struct Desk {
    journal: Journal<Acknowledgement>,
    /// How long an act waits for the disk.
    acknowledge_max: Duration,
}

impl Desk {
    /// Makes a desk before this journal.
    #[must_use]
    pub fn new(journal: Journal<Acknowledgement>, acknowledge_max: Duration) -> Self {
        Self {
            journal,
            acknowledge_max,
        }
    }

    /// Appends an act; gives its position once it is durable.
    ///
    /// # Errors
    /// When the journal refuses it, or does not answer in time: then it may still take effect.
    pub async fn act(&self, act: &Act<'_>) -> Result<Position, AppendError> {
        let (reply, durable) = oneshot::channel();
        let payloads = Payloads::one(&journal_act_v1::encode(act));
        let acknowledgement = Acknowledgement(Waiting::Act(reply));
        if let Err((error, acknowledgement)) = self.journal.append(payloads, acknowledgement) {
            acknowledgement.complete(Err(error));
        }
        match tokio::time::timeout(self.acknowledge_max, durable).await {
            Ok(Ok(told)) => told.map(|durable| durable.position),
            // The journal is gone, or the disk is not answering.
            Ok(Err(_)) | Err(_) => Err(AppendError::Halted),
        }
    }

    /// The last position that is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.journal.durable()
    }
}
