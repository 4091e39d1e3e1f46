//! The terminals of one store, apart from those of the others and counted as they change.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::aggregate::cells::Chunks;
use crate::aggregate::terminal::{Gaps, Terminal, TerminalKey};

pub(super) type ById = HashMap<Box<str>, Terminal, foldhash::fast::RandomState>;

/// The terminals of one store.
#[derive(Debug)]
pub struct StoreTerminals {
    pub(super) store_id: Arc<str>,
    pub(super) by_id: ById,
    /// How many terminals have posted since the store was last retired.
    pub(super) active: usize,
    pub(super) gaps: Gaps,
    /// Number of the store as of its last batch.
    pub(super) number: u32,
}

impl StoreTerminals {
    pub(super) fn new(store_id: &str) -> Self {
        Self {
            store_id: Arc::from(store_id),
            by_id: ById::default(),
            active: 0,
            gaps: Gaps::default(),
            number: 0,
        }
    }

    /// The shop.
    #[must_use]
    pub fn store_id(&self) -> &Arc<str> {
        &self.store_id
    }

    /// The store's number, as of the store's last batch.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many terminals of the store are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is known: the place is free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether no terminal but this one is known.
    pub(super) fn is_alone(&self, terminal_id: &str) -> bool {
        self.by_id.len() <= usize::from(self.by_id.contains_key(terminal_id))
    }

    /// How many terminals have posted since the store was last retired.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// Batches of the terminals' queues that are missing, and that are lost.
    #[must_use]
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// The terminal of an id.
    #[must_use]
    pub fn get(&self, terminal_id: &str) -> Option<&Terminal> {
        self.by_id.get(terminal_id)
    }

    /// Gives each terminal with its id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Terminal)> {
        self.by_id.iter().map(|(id, terminal)| (&**id, terminal))
    }

    /// Changes its terminals, and notes those of which `change_one` says that they did.
    pub(super) fn change(
        &mut self,
        dirty: &mut Chunks<TerminalKey>,
        mut change_one: impl FnMut(&mut Terminal) -> bool,
    ) {
        for (terminal_id, terminal) in &mut self.by_id {
            if change_one(terminal) {
                note(&self.store_id, (terminal_id, terminal), dirty);
            }
        }
    }

    /// Changes one of its terminals, if there is one of this id.
    pub(super) fn change_one(
        &mut self,
        terminal_id: &str,
        dirty: &mut Chunks<TerminalKey>,
        change: impl FnOnce(&mut Terminal),
    ) {
        if let Some(terminal) = self.by_id.get_mut(terminal_id) {
            change(terminal);
            note(&self.store_id, (terminal_id, terminal), dirty);
        }
    }
}

/// Notes that a terminal has changed, once between two cuts.
fn note(
    store_id: &str,
    (terminal_id, terminal): (&str, &mut Terminal),
    dirty: &mut Chunks<TerminalKey>,
) {
    if terminal.changed.is_none() {
        terminal.changed = u32::try_from(dirty.len()).ok();
        dirty.push(TerminalKey {
            store_id: store_id.into(),
            terminal_id: terminal_id.into(),
        });
    }
}
