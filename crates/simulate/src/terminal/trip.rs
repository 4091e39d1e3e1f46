//! Follows a request out of a terminal and its answer back: the rules, the request under way, the counts.

use std::time::Duration;

use crate::batch::Batch;
use crate::client::{Acknowledgement, Failure};
use crate::fleet::Profile;
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::tally::{Counts, Waits};

/// What all terminals go by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How simulated time passes.
    pub pace: Pace,
    /// The simulated time between two batches; none: as soon as the last one is acknowledged.
    pub interval_ms: Option<u64>,
    /// Share of the requests that are sent twice.
    pub resend_share: f64,
    /// The longest wait between two attempts, unless the collector asks for more, ms.
    pub backoff_ms_max: u64,
}

/// Whether terminals go on measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Terminals go on measuring.
    Trade,
    /// Terminals measure no more and only send what they have.
    Drain,
}

/// Which of a terminal's batches a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Measured while running.
    Live,
    /// Made from history.
    Backlog,
    /// Acknowledged before.
    Echo,
}

/// A request under way.
#[derive(Debug)]
pub struct Trip {
    /// What the request carries.
    pub load: Load,
    /// How many batches the request carries, from the front of their queue.
    pub batches: usize,
    /// Whether the batches are sent once more when they were acknowledged.
    pub is_echoed: bool,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The body, not compressed.
    pub body: Vec<u8>,
    /// Whether it brings what was kept while the terminal was offline.
    pub is_backlog: bool,
    /// When the terminal hangs up on purpose.
    pub hang_up_after: Option<Duration>,
}

/// What a terminal's events are written into.
#[derive(Debug)]
pub struct Books<'a> {
    /// Counts.
    pub counts: &'a mut Counts,
    /// What was acknowledged.
    pub ledger: &'a mut Ledger,
    /// How long it took until then.
    pub waits: &'a mut Waits,
    /// Now, Unix µs.
    pub now_us: i64,
}

/// A terminal that came back and has not delivered everything yet.
#[derive(Debug)]
pub struct Back {
    /// When the terminal came back, Unix ms.
    pub at_ms: i64,
    /// Whether the terminal was answered since.
    pub is_answered: bool,
}

impl Books<'_> {
    /// Enters the answer to a request that carried these batches of a terminal.
    pub fn acknowledge(
        &mut self,
        profile: &Profile,
        load: Load,
        carried: &[Batch],
        answer: &Acknowledgement,
    ) {
        let samples: u64 = carried.iter().map(Batch::samples).sum();
        let counts = &mut *self.counts;
        counts.answered_accepted += answer.accepted;
        counts.answered_duplicate += answer.duplicate;
        counts.answered_rejected += answer.rejected;
        for rejected in &answer.reasons {
            counts.add_reason(&rejected.reason, 1);
        }
        let answered = [answer.accepted, answer.duplicate, answer.rejected];
        let sum = answered
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(*part));
        if sum != Some(samples) {
            counts.unbalanced_answers += 1;
        }
        match profile.rejected_as {
            None => counts.wrongly_rejected += answer.rejected,
            Some(_) => counts.wrongly_accepted += answer.accepted,
        }
        if load == Load::Echo {
            counts.echo_accepted += answer.accepted;
            return;
        }
        for batch in carried {
            counts.batches_acknowledged += 1;
            counts.release(batch);
            if let Some(intended_ms) = batch.intended_ms {
                let us = self.now_us - intended_ms.saturating_mul(1_000);
                self.waits.intended.record_us(us);
            }
            if let Some(reason) = profile.rejected_as {
                // Also when the answer that said so was lost and this one says duplicate.
                let expected = counts.expected_rejections.entry(reason).or_default();
                *expected += batch.samples();
            } else if answer.rejected == 0 {
                counts.samples_acknowledged += batch.samples();
                self.ledger.acknowledge(profile.store, batch);
            } else {
                // Nothing here was meant to be rejected. If something is, which of it counts is open.
                self.ledger.doubt(batch);
            }
        }
    }

    /// Notes how long a terminal that came back waited for its first answer, and until it had delivered
    /// everything; whether it has.
    pub fn note_return(&mut self, back: &mut Back, is_caught_up: bool) -> bool {
        let us = self.now_us - back.at_ms.saturating_mul(1_000);
        if !std::mem::replace(&mut back.is_answered, true) {
            self.waits.first_answer.record_us(us);
        }
        if is_caught_up {
            self.waits.caught_up.record_us(us);
        }
        is_caught_up
    }
}

/// Counts a request without a usable answer.
pub fn count_failure(counts: &mut Counts, failure: Failure) {
    match failure {
        Failure::Connect => counts.errors_connect += 1,
        Failure::Timeout => counts.errors_timeout += 1,
        Failure::Broken => counts.errors_broken += 1,
        Failure::Answer => counts.errors_answer += 1,
        Failure::HungUp => counts.hung_up += 1,
    }
}
