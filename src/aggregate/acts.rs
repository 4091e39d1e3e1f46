//! What an operator's act or the clock's changes, and what has become of batches that were missing.

use std::sync::Arc;

use tillwatch_model::event::DropReading;
use tillwatch_model::journal_act_v1::Act;
use tillwatch_model::sequence::Ended;
use tillwatch_model::{BatchHeader, BatchSize};

use crate::aggregate::aggregator::Aggregator;
use crate::aggregate::losses::{Missed, OpenLosses};
use crate::aggregate::names::OVERFLOW_INDEX;
use crate::aggregate::terminals::{Terminal, TerminalRef};

impl Aggregator {
    /// Gives up what has been silent for too long.
    fn age(&mut self, now_ms: i64) {
        self.known_errors.begin(now_ms);
        let (live, losses) = (&mut self.live, &mut self.losses);
        let lost = |mut missed: Missed<'_>| {
            live.lost(missed.store, missed.lost());
            if missed.store == OVERFLOW_INDEX {
                missed.terminal = TerminalRef::OVERFLOW;
            }
            losses.note(&missed, now_ms);
        };
        self.totals.lost_batches += self.terminals.age(now_ms, lost);
        for store_id in self.stores.silent() {
            self.retire_store(&store_id);
        }
    }

    /// Puts right what was noted while the clock was ahead.
    fn set_right(&mut self, at_ms: i64) {
        self.terminals.set_right(at_ms);
        self.live.set_right(at_ms);
        self.stores.set_right(at_ms);
        self.releases.set_right(at_ms);
        self.known_errors.set_right(at_ms);
    }

    pub(super) fn apply_act(&mut self, act: Act<'_>) {
        self.journal_ms = act.at_ms();
        match act {
            Act::RetireStore { store_id, .. } => self.retire_store(store_id),
            Act::RetireTerminal {
                store_id,
                terminal_id,
                ..
            } => self.terminals.retire_one(store_id, terminal_id),
            Act::Unknown { .. } => self.totals.unknown_acts += 1,
            Act::Clock { at_ms, is_settled } => {
                self.set_right(at_ms);
                // No batch's time is good enough: one that came while the clock was wrong would do.
                if is_settled {
                    self.age(at_ms);
                }
            }
        }
    }

    /// Ends a store's series. Its open windows, its rows at rest and its sequence windows stay: a batch
    /// sent again is still known.
    fn retire_store(&mut self, store_id: &str) {
        if let Some(index) = self.stores.remove(store_id) {
            self.live.forget_store(index);
            self.row_quota.forget_store(index);
        }
        self.terminals.retire(store_id);
        self.terminals.lose_name(store_id);
    }

    /// Notes what a terminal has said that it dropped.
    #[cold]
    pub(super) fn note_drops(
        &mut self,
        drops: &[DropReading],
        header: &BatchHeader<'_>,
        store: u32,
    ) {
        let mut ended = Vec::new();
        for drop in drops {
            let note = |one| ended.push((drop.queue, one));
            let terminal = TerminalRef::of(header);
            let explained = if drop.is_numbered() {
                self.terminals.explain(terminal, drop, note)
            } else {
                0
            };
            self.live.explained(store, explained);
            let catalogue = Arc::clone(&self.catalogue);
            let terminal = TerminalRef::named(header, store);
            self.losses
                .explain((terminal, header), drop, explained, &catalogue);
        }
        let of_store = self.terminals.of_store(header.store_id);
        let terminal = of_store.and_then(|store| store.get(header.terminal_id));
        let lost = note_ended((&mut self.losses, store), header, terminal, &ended);
        self.live.lost(store, lost);
    }
}

/// Notes what has become of numbers of a terminal that were missing; how many batches are lost by that.
#[inline]
pub(super) fn note_ended(
    losses: (&mut OpenLosses, u32),
    header: &BatchHeader<'_>,
    terminal: Option<&Terminal>,
    ended: &[([u8; 16], Ended)],
) -> u64 {
    if ended.is_empty() {
        return 0;
    }
    let size = terminal.map(|terminal| terminal.batch_size);
    note_all(losses, header, size.unwrap_or_default(), ended)
}

#[cold]
fn note_all(
    (losses, store): (&mut OpenLosses, u32),
    header: &BatchHeader<'_>,
    size: BatchSize,
    ended: &[([u8; 16], Ended)],
) -> u64 {
    let missed = ended.iter().map(|(queue, ended)| Missed {
        store,
        terminal: TerminalRef::named(header, store),
        size,
        queue: *queue,
        ended: *ended,
    });
    missed
        .map(|missed| {
            losses.note(&missed, header.received_at_ms);
            missed.lost()
        })
        .sum()
}
