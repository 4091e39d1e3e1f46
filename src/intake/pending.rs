//! Takes a request from the decisions about its batches to what came of them.

use tillwatch_model::{Outcomes, Reason};
use tokio::time::Instant;

use crate::intake::append::Append;
use crate::intake::laps::{Laps, Stage};
use crate::intake::refusal::Refusal;
use crate::intake::report::Report;
use crate::intake::service::Intake;
use crate::room::{Held, REQUEST_BYTES};

/// What came of a request.
#[derive(Debug)]
pub struct Receipt {
    /// What became of the request's samples.
    pub outcomes: Outcomes,
    /// What was wrong with some of the samples.
    pub report: Report,
    /// Whether the request was answered before, and is answered the same.
    pub is_replayed: bool,
    /// Why the last batch that was refused whole was refused.
    pub refused: Option<Reason>,
}

/// What has come of a request so far.
#[derive(Debug)]
pub(super) struct Way<'i> {
    pub(super) intake: &'i Intake,
    pub(super) received_at_ms: i64,
    /// When the request is told to come again, whatever it waits for.
    pub(super) deadline: Instant,
    pub(super) outcomes: Outcomes,
    /// Samples that have met an outcome, deferral included.
    pub(super) counted: u64,
    /// Batches answered as the first of their key was, and batches written.
    pub(super) replayed: usize,
    pub(super) written: usize,
    pub(super) report: Report,
    pub(super) refused: Option<Reason>,
}

impl<'i> Way<'i> {
    pub(super) fn new(intake: &'i Intake, received_at_ms: i64, deadline: Instant) -> Self {
        Self {
            intake,
            received_at_ms,
            deadline,
            outcomes: Outcomes::default(),
            counted: 0,
            replayed: 0,
            written: 0,
            report: Report::default(),
            refused: None,
        }
    }

    /// Makes what was written durable. Only then do its samples count.
    pub(super) async fn append(
        &mut self,
        append: Append,
        held: Held,
        laps: &mut Laps,
    ) -> Result<(), Refusal> {
        laps.lap(Stage::Check);
        if append.is_empty() {
            return Ok(());
        }
        let weighed = append.weighed.clone();
        let Intake { journal, books, .. } = self.intake;
        let sending = append.send(journal, books, self.received_at_ms, held, self.deadline);
        let result = sending.await;
        // The acknowledgement counts the samples under what became of them.
        self.counted += weighed.total();
        laps.durable(&result?);
        self.outcomes.accepted += weighed.accepted;
        self.outcomes.rejected += weighed.rejected();
        Ok(())
    }
}

/// A request about whose batches all is decided. Its records wait for the disk; the body that its offers
/// borrowed from is not needed any more.
#[derive(Debug)]
#[must_use = "nothing is durable before it has been waited for"]
pub struct Pending<'i> {
    pub(super) way: Way<'i>,
    pub(super) append: Append,
    pub(super) held: Held,
}

impl Pending<'_> {
    /// Waits until what was written is durable.
    ///
    /// # Errors
    /// When some batches are to be sent again.
    pub async fn durable(self, laps: &mut Laps) -> Result<Receipt, Refusal> {
        let Self {
            mut way,
            mut append,
            mut held,
        } = self;
        let put_off = append.refused.take();
        let its_own = held.split(REQUEST_BYTES + append.bytes());
        drop(held);
        way.append(append, its_own, laps).await?;
        if let Some(refusal) = put_off {
            return Err(refusal);
        }
        Ok(Receipt {
            outcomes: way.outcomes,
            report: way.report,
            is_replayed: way.replayed > 0 && way.written == 0,
            refused: way.refused,
        })
    }
}
