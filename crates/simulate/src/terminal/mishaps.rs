//! Decides which batches a terminal loses that has the trouble `lost`, and what becomes of them.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::batch::Batch;
use crate::random::derive_seed;
use crate::terminal::story::Fate;

/// Batches that are not lost between two losses, at least: the first ones are not, so that the collector knows the queue.
const CALM_BATCHES: u32 = 4;
/// Of the batches after, the share at which a loss begins.
const LOSS_SHARE: f64 = 0.15;
/// Batches that are lost in a row.
const IN_A_ROW: std::ops::Range<u32> = 1..5;
/// How many batches later what is late comes: some within the ten minutes after which a gap is noted, some after.
const LATER_BATCHES: std::ops::Range<u64> = 3..30;
/// How many batches later a terminal says what it has dropped.
const TOLD_AFTER: std::ops::Range<u32> = 0..3;

/// What becomes of lost batches, in turn.
const TURNS: [Fate; 3] = [Fate::Explained, Fate::Unexplained, Fate::Late];

/// What one terminal loses.
#[derive(Debug)]
pub struct Mishaps {
    rng: Rng,
    calm: u32,
    turn: usize,
    /// Batches that are still to be lost in this row.
    left: u32,
    /// When those in this row that come late are sent, as a number of the queue.
    due_seq: u64,
    /// Whether and after how many batches the last loss is to be told.
    untold: Option<u32>,
    /// Late ones.
    late: VecDeque<(u64, Batch)>,
}

impl Mishaps {
    /// Nothing is lost yet.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(derive_seed(seed, "mishaps"));
        Self {
            calm: CALM_BATCHES,
            // Terminals begin with different ones.
            turn: rng.usize(0..TURNS.len()),
            rng,
            left: 0,
            due_seq: 0,
            untold: None,
            late: VecDeque::new(),
        }
    }

    /// Whether the next batch is to say what was dropped last.
    pub fn must_tell(&mut self) -> bool {
        match self.untold {
            Some(0) => {
                self.untold = None;
                true
            }
            Some(batches) if self.left == 0 => {
                self.untold = Some(batches - 1);
                false
            }
            Some(_) | None => false,
        }
    }

    /// What becomes of the batch with this number; `None`: it is sent.
    pub fn fate(&mut self, seq: u64) -> Option<Fate> {
        if self.left == 0 {
            self.calm = self.calm.saturating_sub(1);
            // One loss is told before the next begins.
            if self.calm > 0 || self.untold.is_some() || self.rng.f64() >= LOSS_SHARE {
                return None;
            }
            self.left = self.rng.u32(IN_A_ROW);
            self.turn += 1;
            self.due_seq = seq + u64::from(self.left) + self.rng.u64(LATER_BATCHES);
        }
        self.left -= 1;
        let fate = TURNS.get(self.turn % TURNS.len()).copied();
        let fate = fate.unwrap_or(Fate::Unexplained);
        if self.left == 0 {
            self.calm = CALM_BATCHES;
            let after = self.rng.u32(TOLD_AFTER);
            self.untold = (fate == Fate::Explained).then_some(after);
        }
        Some(fate)
    }

    /// Keeps a batch that is to come late.
    pub fn hold_back(&mut self, batch: Batch) {
        self.late.push_back((self.due_seq, batch));
    }

    /// Late batches that are to be sent when the number of the next one is this; all with `u64::MAX`.
    pub fn take_due(&mut self, next_seq: u64) -> Vec<Batch> {
        let is_due = |(due_seq, _): &(u64, Batch)| *due_seq <= next_seq;
        let (due, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.late).into_iter().partition(is_due);
        self.late = kept;
        due.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Late batches that are not sent yet.
    pub fn held(&self) -> impl Iterator<Item = &Batch> {
        self.late.iter().map(|(_, batch)| batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_of_every_kind_and_are_told_before_the_next_begins() {
        let mut mishaps = Mishaps::new(1);
        let mut counts = [0; 3];
        let (mut told, mut before) = (0, None);
        for seq in 1..=3_000 {
            let must_tell = mishaps.must_tell();
            told += usize::from(must_tell);
            let fate = mishaps.fate(seq);
            assert!(seq > u64::from(CALM_BATCHES) - 1 || fate.is_none());
            assert!(!(must_tell && fate.is_some()), "{seq}");
            if let Some(fate) = fate.filter(|_| before.is_none()) {
                counts[TURNS.iter().position(|one| *one == fate).unwrap()] += 1;
            }
            before = fate;
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
        assert!(told + 1 >= counts[0], "{told} of {counts:?}");
    }
}
