//! How what is known of terminals ends: by age, by the terminal's own word, with a store's retirement or name.

use tillwatch_model::event::DropReading;
use tillwatch_model::sequence::{Ended, LOST_AFTER_MS};

use crate::aggregate::losses::Missed;
use crate::aggregate::store_terminals::{ById, StoreTerminals};
use crate::aggregate::terminal::{Gaps, Terminal, TerminalKey, TerminalRef};
use crate::aggregate::terminals::Terminals;

impl Terminals {
    /// Forgets queues, and then terminals, that have been silent for so long that all they could still
    /// send is too old; counts as lost what has been missing for as long.
    /// Says how many batches were lost with what is forgotten, and tells `lost` of every one that
    /// was not counted before.
    pub fn age(&mut self, now_ms: i64, mut lost: impl FnMut(Missed<'_>)) -> u64 {
        let mut lost_with_queues = 0;
        for (place, store) in self.stores.iter_mut().enumerate() {
            let StoreTerminals {
                store_id,
                by_id,
                active,
                gaps,
                ..
            } = store;
            let was_empty = by_id.is_empty();
            by_id.retain(|terminal_id, terminal| {
                let (before, tombstones) = (Gaps::of(terminal), terminal.tombstones.len());
                let (number, size) = (terminal.store, terminal.batch_size);
                let mut lost = |queue, ended| {
                    lost(Missed {
                        store: number,
                        terminal: TerminalRef {
                            store_id,
                            terminal_id,
                        },
                        size,
                        queue,
                        ended,
                    });
                };
                lost_with_queues += terminal.age(now_ms, &mut lost);
                let after = Gaps::of(terminal);
                gaps.change(before, after);
                self.gaps.change(before, after);
                let key = || TerminalKey {
                    store_id: (**store_id).into(),
                    terminal_id: terminal_id.clone(),
                };
                // A terminal that sends with keys has no queues.
                let is_silent = now_ms.saturating_sub(terminal.last_seen_ms) > LOST_AFTER_MS;
                if !terminal.has_queues() && is_silent {
                    self.forgotten.push(key());
                    self.count -= 1;
                    *active -= usize::from(!terminal.is_retired);
                    return false;
                }
                let has_changed = after != before || terminal.tombstones.len() != tombstones;
                if has_changed && terminal.changed.is_none() {
                    terminal.changed = u32::try_from(self.dirty.len()).ok();
                    self.dirty.push(key());
                }
                true
            });
            if by_id.is_empty() && !was_empty {
                // The room that the emptied map had is given back.
                *by_id = ById::default();
                self.by_store.remove(&**store_id);
                self.free.push(place);
            }
        }
        lost_with_queues
    }

    /// A terminal has said that it dropped numbers of one of its queues. Says how many of them had not come, and tells
    /// `note` what has become of others by that: the ranges that are left may take more room than there is.
    pub fn explain(
        &mut self,
        terminal: TerminalRef<'_>,
        drop: &DropReading,
        mut note: impl FnMut(Ended),
    ) -> u64 {
        let rule = self.limits.gaps;
        let place = self.by_store.get(terminal.store_id);
        let Some(store) = place.and_then(|place| self.stores.get_mut(*place)) else {
            return 0;
        };
        let Some(known) = store.by_id.get_mut(terminal.terminal_id) else {
            return 0;
        };
        let queue = known.queues.iter_mut().find(|(id, _)| *id == drop.queue);
        let Some((_, window)) = queue else {
            return 0;
        };
        let before = Gaps::of_window(window);
        let explained = window.explain(drop.from, drop.to);
        let (held, total) = (store.gaps.ranges, self.gaps.ranges);
        let has_room = match store.number {
            // Stores without a name have no share.
            0 => rule.has_common_room(held, total),
            _ => rule.has_room(held, total),
        };
        while window.gap_count() > before.ranges && !has_room {
            window.give_up_lowest(&mut note);
        }
        let after = Gaps::of_window(window);
        store.gaps.change(before, after);
        self.gaps.change(before, after);
        if after != before && known.changed.is_none() {
            known.changed = u32::try_from(self.dirty.len()).ok();
            self.dirty.push((&terminal).into());
        }
        explained
    }

    /// The clock was trusted at this time: what lies behind it was written when it was wrong.
    pub fn set_right(&mut self, at_ms: i64) {
        self.change_all(|terminal| terminal.set_right(at_ms));
    }

    /// Keeps of a store's terminals only what tells a resend from a new batch.
    pub fn retire(&mut self, store_id: &str) {
        let Some(place) = self.by_store.get(store_id) else {
            return;
        };
        let store = &mut self.stores[*place];
        store.active = 0;
        store.change(&mut self.dirty, |terminal| {
            terminal.retire();
            true
        });
    }

    /// Keeps of one terminal only what tells a resend from a new batch. If it posts again, it is back.
    pub fn retire_one(&mut self, store_id: &str, terminal_id: &str) {
        let Some(place) = self.by_store.get(store_id) else {
            return;
        };
        let store = &mut self.stores[*place];
        let is_active = store.get(terminal_id).is_some_and(|one| !one.is_retired);
        if is_active {
            store.active -= 1;
            store.change_one(terminal_id, &mut self.dirty, Terminal::retire);
        }
    }

    /// A store has no name of its own any more, and its number may be that of another one: what is left of its
    /// terminals is their queues, as after a restart.
    pub fn lose_name(&mut self, store_id: &str) {
        let Some(place) = self.by_store.get(store_id).copied() else {
            return;
        };
        let store = &mut self.stores[place];
        store.number = 0;
        let before = store.by_id.len();
        store.by_id.retain(|terminal_id, terminal| {
            terminal.store = 0;
            let is_kept = terminal.has_queues();
            if !is_kept {
                store.active -= usize::from(!terminal.is_retired);
                self.forgotten.push(TerminalKey {
                    store_id: store_id.into(),
                    terminal_id: terminal_id.clone(),
                });
            }
            is_kept
        });
        self.count -= before - store.by_id.len();
        if store.by_id.is_empty() {
            store.by_id = ById::default();
            self.by_store.remove(store_id);
            self.free.push(place);
        }
    }

    pub(super) fn change_all(&mut self, mut change_one: impl FnMut(&mut Terminal) -> bool) {
        for store in &mut self.stores {
            store.change(&mut self.dirty, &mut change_one);
        }
    }
}
