//! What is known of each terminal: its queues' sequence windows, its release, its last values.
//!
//! The number of terminals is bounded. A terminal with a queue always has a place, because its sequence
//! window makes a resend count once; `intake` bounds queues before the journal, in all and by store. A
//! terminal that posts with keys alone gets a place while there is room. Without room its batches still
//! count, under the name `__overflow__` in its store. Stores keep and count their own terminals, so that no
//! number needs a look at all terminals.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use tillwatch_model::loss::CLOSED_AFTER_MS;
use tillwatch_model::sequence::{Ended, How};
use tillwatch_model::{Seen, SeqWindow, ShareRule};

use crate::aggregate::cells::Chunks;
pub use crate::aggregate::store_terminals::StoreTerminals;
pub use crate::aggregate::terminal::{
    Applied, Gaps, LastValue, Said, Terminal, TerminalChange, TerminalKey, TerminalRef,
};

/// How many terminals there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many terminals may be known; past it one without a queue gets no place. Unit: terminals.
    pub terminals_max: usize,
    /// How many terminals of one store may be known, likewise. Unit: terminals.
    pub store_terminals_max: usize,
    /// How stores share the ranges of missing numbers. What the intake lets in past that costs its queue the lowest.
    pub gaps: ShareRule,
}

/// All terminals.
#[derive(Debug)]
pub struct Terminals {
    pub(super) limits: Limits,
    /// Places by store.
    pub(super) by_store: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    pub(super) stores: Vec<StoreTerminals>,
    /// Places of stores that are forgotten.
    pub(super) free: Vec<usize>,
    pub(super) count: usize,
    pub(super) gaps: Gaps,
    /// By number, until the next cut.
    pub(super) dirty: Chunks<TerminalKey>,
    pub(super) forgotten: Vec<TerminalKey>,
}

impl Terminals {
    /// Makes an empty set of terminals.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_store: HashMap::default(),
            stores: Vec::new(),
            free: Vec::new(),
            count: 0,
            gaps: Gaps::default(),
            dirty: Chunks::default(),
            forgotten: Vec::new(),
        }
    }

    /// Puts back what a state file held. A terminal without a queue for which there is no room, or whose
    /// store has no series (`is_named`), is forgotten there, too.
    pub fn restore(&mut self, key: TerminalKey, terminal: Terminal, is_named: bool) {
        let has_room = is_named && self.has_room(&key.store_id);
        if !terminal.has_queues() && !has_room {
            self.forgotten.push(key);
            return;
        }
        let place = self.place(&key.store_id);
        let gaps = Gaps::of(&terminal);
        self.count += 1;
        self.gaps.change(Gaps::default(), gaps);
        let store = &mut self.stores[place];
        store.gaps.change(Gaps::default(), gaps);
        store.active += usize::from(!terminal.is_retired);
        store.number = terminal.store;
        store.by_id.insert(key.terminal_id, terminal);
    }

    fn has_room(&self, store_id: &str) -> bool {
        let of_store = self.of_store(store_id).map_or(0, StoreTerminals::len);
        self.count < self.limits.terminals_max && of_store < self.limits.store_terminals_max
    }

    /// The place of a store; it gets a new one if it has none.
    fn place(&mut self, store_id: &str) -> usize {
        if let Some(place) = self.by_store.get(store_id) {
            return *place;
        }
        let store = StoreTerminals::new(store_id);
        let name = Arc::clone(&store.store_id);
        let place = match self.free.pop() {
            Some(place) => {
                self.stores[place] = store;
                place
            }
            None => {
                self.stores.push(store);
                self.stores.len() - 1
            }
        };
        self.by_store.insert(name, place);
        place
    }

    /// Notes that a keyed batch of a terminal was applied, and gives the terminal to fill in; `None` when
    /// it is not known and there is no room for it.
    pub fn touch(
        &mut self,
        terminal: TerminalRef<'_>,
        store: u32,
        now_ms: i64,
    ) -> Option<&mut Terminal> {
        let known = self.of_store(terminal.store_id);
        let is_known = known.is_some_and(|store| store.by_id.contains_key(terminal.terminal_id));
        if !is_known && !self.has_room(terminal.store_id) {
            return None;
        }
        Some(self.enter(terminal, store, now_ms).0)
    }

    /// Enters a terminal if it is new, and gives it, with what is counted of its store and of all.
    fn enter(
        &mut self,
        terminal: TerminalRef<'_>,
        number: u32,
        now_ms: i64,
    ) -> (&mut Terminal, &mut Gaps, &mut Gaps) {
        let place = self.place(terminal.store_id);
        let store = &mut self.stores[place];
        store.number = number;
        let entry = match store.by_id.entry_ref(terminal.terminal_id) {
            EntryRef::Occupied(known) => {
                let entry = known.into_mut();
                store.active += usize::from(entry.is_retired);
                entry
            }
            EntryRef::Vacant(free) => {
                self.count += 1;
                store.active += 1;
                free.insert_with_key(terminal.terminal_id.into(), Terminal::default())
            }
        };
        if entry.changed.is_none() {
            entry.changed = u32::try_from(self.dirty.len()).ok();
            self.dirty.push((&terminal).into());
        }
        entry.store = number;
        // The last time wins, not the latest of all: the clock may have been set back.
        entry.last_seen_ms = now_ms;
        entry.beats.note(now_ms);
        entry.is_retired = false;
        (entry, &mut store.gaps, &mut self.gaps)
    }

    /// Notes that a batch of this sequence number was applied.
    pub fn apply(
        &mut self,
        terminal: TerminalRef<'_>,
        (queue, seq): ([u8; 16], u64),
        store: u32,
        now_ms: i64,
    ) -> Applied<'_> {
        let rule = self.limits.gaps;
        let (terminal, of_store, of_all) = self.enter(terminal, store, now_ms);
        let mut applied = Applied {
            is_fresh: true,
            lost: 0,
            forgotten: 0,
            ended: Vec::new(),
            terminal,
        };
        let queues = &mut applied.terminal.queues;
        let (before, after) = if let Some(at) = queues.iter().position(|(known, _)| *known == queue)
        {
            let window = &mut queues[at].1;
            // The intake has let the batch in; only a second copy is not counted.
            applied.is_fresh = window.seen(seq) != Seen::Duplicate;
            let before = Gaps::of_window(window);
            let ended = &mut applied.ended;
            let mut note = |one: Ended| {
                // Two posts that have overtaken each other are no news.
                if one.how != How::Came || now_ms.saturating_sub(one.since_ms) >= CLOSED_AFTER_MS {
                    ended.push((queue, one));
                }
            };
            window.insert_noting(seq, now_ms, &mut note);
            let (held, total) = (of_store.ranges, of_all.ranges);
            let has_room = || match store {
                // Stores without a name have no share.
                0 => rule.has_common_room(held, total),
                _ => rule.has_room(held, total),
            };
            if window.gap_count() > before.ranges && !has_room() {
                window.give_up_lowest(note);
            }
            let after = Gaps::of_window(window);
            applied.lost = after.lost - before.lost;
            (before, after)
        } else if applied.terminal.has_tombstone(queue) {
            // The intake still knew the queue when the batch came.
            return applied;
        } else {
            let mut before = Gaps::default();
            if let Some((gone, window)) = applied.terminal.make_room(now_ms) {
                before = Gaps::of_window(&window);
                let ended = window.all_ended(How::GivenUp);
                applied.ended.extend(ended.map(|ended| (gone, ended)));
            }
            applied.lost = before.missing;
            applied.forgotten = before.missing + before.lost;
            let window = SeqWindow::new(seq, now_ms);
            let after = Gaps::of_window(&window);
            let queues = &mut applied.terminal.queues;
            // Most terminals have one queue for long.
            queues.reserve_exact(1);
            queues.push((queue, window));
            (before, after)
        };
        of_store.change(before, after);
        of_all.change(before, after);
        applied
    }

    /// The ids of the terminals that have changed since the last cut, by their numbers.
    #[must_use]
    pub fn changed_ids(&self) -> Vec<Arc<str>> {
        let ids = self.dirty.iter();
        ids.map(|key| Arc::from(&*key.terminal_id)).collect()
    }

    /// Keeps the terminals that have changed since the last cut, by their numbers.
    #[must_use]
    pub fn changed(&self) -> Chunks<TerminalKey> {
        self.dirty.keep()
    }

    /// What has changed since the last cut.
    pub fn take_changes(&mut self) -> Vec<TerminalChange> {
        let mut changes: Vec<TerminalChange> = Vec::with_capacity(self.dirty.len());
        for key in self.forgotten.drain(..) {
            changes.push(TerminalChange {
                key,
                terminal: None,
            });
        }
        for key in self.dirty.take() {
            let place = self.by_store.get(&*key.store_id);
            let store = place.and_then(|place| self.stores.get_mut(*place));
            if let Some(terminal) = store.and_then(|store| store.by_id.get_mut(&key.terminal_id)) {
                terminal.changed = None;
                let terminal = Some(terminal.clone());
                changes.push(TerminalChange { key, terminal });
            }
        }
        changes
    }

    /// Every terminal. To be asked where nobody waits: there may be hundreds of thousands.
    pub fn iter(&self) -> impl Iterator<Item = (TerminalRef<'_>, &Terminal)> {
        self.stores.iter().flat_map(|store| {
            let terminals = store.iter();
            terminals.map(|(terminal_id, terminal)| {
                let store_id = &store.store_id;
                (
                    TerminalRef {
                        store_id,
                        terminal_id,
                    },
                    terminal,
                )
            })
        })
    }

    /// The stores by place. A place may be empty, and get another store.
    #[must_use]
    pub fn stores(&self) -> &[StoreTerminals] {
        &self.stores
    }

    /// The terminals of a store.
    #[must_use]
    pub fn of_store(&self, store_id: &str) -> Option<&StoreTerminals> {
        self.stores.get(*self.by_store.get(store_id)?)
    }

    /// Batches of all queues that are missing, and that are lost.
    #[must_use]
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// How many terminals are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no terminal is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
