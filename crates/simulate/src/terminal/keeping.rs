//! What becomes of a batch that was measured, and what is true once it was acknowledged.

use crate::batch::Batch;
use crate::client::Acknowledgement;
use crate::tally::Counts;
use crate::terminal::trip::{Books, Load, Trip};
use crate::terminal::{Fate, HISTORY_PAUSE_MS, Terminal};
use crate::trouble::TroubleKind;

impl Terminal {
    /// Puts a batch that was just measured into the queue, unless it gets lost on the way there.
    pub(super) fn keep_or_lose(&mut self, batch: Batch, at_ms: i64, counts: &mut Counts) {
        if self.story.stuck_since_ms.is_none() && self.meter.is_in(TroubleKind::Stuck, at_ms) {
            self.story.stuck_since_ms = Some(at_ms);
        }
        let is_losing =
            self.meter.is_in(TroubleKind::Lost, at_ms) && self.meter.profile.rejected_as.is_none();
        let fate = is_losing.then(|| self.mishaps.fate(batch.seq)).flatten();
        if let Some(fate) = fate {
            self.story.lose(&batch, fate, at_ms);
        }
        match fate {
            Some(Fate::Explained | Fate::Unexplained) => counts.batches_lost += 1,
            Some(Fate::Late) => {
                counts.add_made(&batch);
                self.mishaps.hold_back(batch);
            }
            None => {
                counts.add_made(&batch);
                self.live.push_back(batch);
            }
        }
        self.let_go(self.meter.next_seq());
    }

    /// Lets go of late batches whose time has come when the next one has this number; of all with `u64::MAX`.
    pub fn let_go(&mut self, next_seq: u64) {
        for mut batch in self.mishaps.take_due(next_seq) {
            // It is late on purpose, and tells nothing of the collector's answers.
            batch.intended_ms = None;
            self.live.push_back(batch);
        }
    }

    /// Notes what is true of the terminal, now that these batches were acknowledged.
    pub(super) fn note_acknowledged(&mut self, carried: &[Batch], rejected: u64, now_ms: i64) {
        let is_counted = rejected == 0 && self.meter.profile.rejected_as.is_none();
        for batch in carried {
            if is_counted {
                self.story.acknowledge(batch, now_ms);
            } else {
                self.story.doubt(batch);
            }
        }
    }

    /// The batches of a request were acknowledged.
    pub(super) fn acknowledged(
        &mut self,
        now_ms: i64,
        trip: &Trip,
        answer: &Acknowledgement,
        books: &mut Books<'_>,
    ) {
        let carried: Vec<Batch> = self.queue_mut(trip.load).drain(..trip.batches).collect();
        books.acknowledge(&self.meter.profile, trip.load, &carried, answer);
        if trip.load == Load::Echo {
            return;
        }
        self.note_acknowledged(&carried, answer.rejected, now_ms);
        if trip.is_echoed {
            self.echo.extend(carried);
        }
        if trip.load == Load::Backlog {
            self.send_at_ms = now_ms + self.rng.i64(0..=HISTORY_PAUSE_MS);
        }
        let is_caught_up =
            self.live.is_empty() && self.backlog.is_empty() && self.history.is_over();
        if let Some(back) = &mut self.back
            && books.note_return(back, is_caught_up)
        {
            self.back = None;
        }
    }
}
