//! What is known of each terminal: its queues' sequence windows, its release, its last values.

use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::model::sequence::LOST_AFTER_MS;
use crate::model::time::{IN_FUTURE_MS_MAX, put_right};
use crate::model::{Seen, SeqWindow};

/// A terminal of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TerminalKey {
    /// The shop.
    pub store_id: Box<str>,
    /// The terminal in it.
    pub terminal_id: Box<str>,
}

/// A [`TerminalKey`] that is only looked at.
#[derive(Debug, Clone, Copy, Hash)]
pub struct TerminalRef<'a> {
    /// The shop.
    pub store_id: &'a str,
    /// The terminal in it.
    pub terminal_id: &'a str,
}

impl Equivalent<TerminalKey> for TerminalRef<'_> {
    fn equivalent(&self, key: &TerminalKey) -> bool {
        *self.terminal_id == *key.terminal_id && *self.store_id == *key.store_id
    }
}

impl From<&TerminalRef<'_>> for TerminalKey {
    fn from(terminal: &TerminalRef<'_>) -> Self {
        Self {
            store_id: terminal.store_id.into(),
            terminal_id: terminal.terminal_id.into(),
        }
    }
}

/// The last value of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastValue {
    /// When it was measured, corrected, Unix ms.
    pub t_ms: i64,
    /// The same by the terminal's clock.
    pub t_raw_ms: i64,
    /// The value, recording unit.
    pub value: u64,
}

impl LastValue {
    /// Whether this takes the place of `other`. Two clocks may have been moved between the two, the
    /// terminal's and the collector's: what is later by either is later.
    fn is_newer_than(&self, other: &Self) -> bool {
        self.t_ms >= other.t_ms || self.t_raw_ms >= other.t_raw_ms
    }
}

/// One terminal.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    /// Number of its store.
    pub store: u32,
    /// Number of the release it last reported.
    pub release: u32,
    /// When its last batch was received, Unix ms.
    pub last_seen_ms: i64,
    /// How far its clock is behind, ms, as of its last batch.
    pub offset_ms: i64,
    /// Its queues.
    pub queues: Vec<([u8; 16], SeqWindow)>,
    /// Last values of the level metrics, by their position among them.
    pub levels: Vec<Option<LastValue>>,
    /// Its store was retired and it has not posted since: only its queues are kept.
    pub is_retired: bool,
    /// Its number among those that have changed since the last cut; `None`: it has not.
    pub(super) changed: Option<u32>,
}

/// A terminal as it is written at a seal.
#[derive(Debug, Clone)]
pub struct TerminalChange {
    /// Whose.
    pub key: TerminalKey,
    /// As it is at the cut; `None`: forgotten.
    pub terminal: Option<Terminal>,
}

impl Terminal {
    /// Keeps the value of a level, unless a newer one is known.
    pub(super) fn keep_level(&mut self, at: usize, last: LastValue) {
        if let Some(slot) = self.levels.get_mut(at)
            && slot.is_none_or(|known| last.is_newer_than(&known))
        {
            *slot = Some(last);
        }
    }
}

/// All terminals.
#[derive(Debug, Default)]
pub struct Terminals {
    by_key: HashMap<TerminalKey, Terminal, foldhash::fast::RandomState>,
    dirty: Vec<TerminalKey>,
    forgotten: Vec<TerminalKey>,
}

impl Terminals {
    /// Puts back what a state file held.
    pub fn restore(&mut self, key: TerminalKey, terminal: Terminal) {
        self.by_key.insert(key, terminal);
    }

    /// Notes that something of a terminal was applied, and gives the terminal to fill in.
    pub fn touch(&mut self, terminal: TerminalRef<'_>, now_ms: i64) -> &mut Terminal {
        if !self.by_key.contains_key(&terminal) {
            self.by_key.insert((&terminal).into(), Terminal::default());
        }
        let entry = self.by_key.get_mut(&terminal);
        let entry = entry.expect("it was there or has just been put there");
        if entry.changed.is_none() {
            entry.changed = u32::try_from(self.dirty.len()).ok();
            self.dirty.push((&terminal).into());
        }
        // Not the latest of all: the clock may have been set back.
        entry.last_seen_ms = now_ms;
        entry.is_retired = false;
        entry
    }

    /// Notes that a batch of this sequence number was applied, and gives the terminal to fill in.
    /// Then whether the number is fresh; a second record of one batch is not to be counted. Then how
    /// many batches of the queue are lost by it, because they are now too far below.
    pub fn apply(
        &mut self,
        terminal: TerminalRef<'_>,
        queue: [u8; 16],
        (seq, now_ms): (u64, i64),
    ) -> (&mut Terminal, bool, u64) {
        let entry = self.touch(terminal, now_ms);
        let known = entry.queues.iter_mut().find(|(known, _)| *known == queue);
        let (is_fresh, lost) = if let Some((_, window)) = known {
            // Ingest has let it in; only a second copy is not counted.
            let (is_fresh, lost) = (window.seen(seq) != Seen::Duplicate, window.lost());
            window.insert(seq, now_ms);
            (is_fresh, window.lost() - lost)
        } else {
            entry.queues.push((queue, SeqWindow::new(seq, now_ms)));
            (true, 0)
        };
        (entry, is_fresh, lost)
    }

    /// Forgets queues, and then terminals, that have been silent for so long that all they could still
    /// send is too old; counts as lost what has been missing for as long.
    /// Says how many batches were lost with what is forgotten, and tells `lost` of every one that
    /// was not counted before, with the number of its store.
    pub fn age(&mut self, now_ms: i64, mut lost: impl FnMut(u32, u64)) -> u64 {
        let mut lost_with_queues = 0;
        let Self {
            by_key,
            dirty,
            forgotten,
        } = self;
        by_key.retain(|key, terminal| {
            let before = terminal.queues.len();
            terminal.queues.retain(|(_, window)| {
                let is_kept = now_ms.saturating_sub(window.last_seen_ms()) <= LOST_AFTER_MS;
                if !is_kept {
                    lost_with_queues += window.lost() + window.open_gaps();
                    lost(terminal.store, window.open_gaps());
                }
                is_kept
            });
            let mut has_changed = terminal.queues.len() != before;
            for (_, window) in &mut terminal.queues {
                let before = window.lost();
                window.age(now_ms);
                has_changed |= window.lost() != before;
                lost(terminal.store, window.lost() - before);
            }
            // One that sends with keys has no queues.
            let is_silent = now_ms.saturating_sub(terminal.last_seen_ms) > LOST_AFTER_MS;
            if terminal.queues.is_empty() && is_silent {
                forgotten.push(key.clone());
                return false;
            }
            if has_changed && terminal.changed.is_none() {
                terminal.changed = u32::try_from(dirty.len()).ok();
                dirty.push(key.clone());
            }
            true
        });
        lost_with_queues
    }

    /// The clock was trusted at this time: what lies behind it was written when it was wrong.
    pub fn set_right(&mut self, at_ms: i64) {
        let Self { by_key, dirty, .. } = self;
        for (key, terminal) in by_key {
            let mut is_wrong = put_right(&mut terminal.last_seen_ms, at_ms);
            for (_, window) in &mut terminal.queues {
                is_wrong |= window.set_right(at_ms);
            }
            for level in terminal.levels.iter_mut().flatten() {
                if level.t_ms > at_ms + IN_FUTURE_MS_MAX {
                    // When it was measured nobody knows; whatever comes now is newer.
                    level.t_ms = at_ms - IN_FUTURE_MS_MAX;
                    is_wrong = true;
                }
            }
            if is_wrong && terminal.changed.is_none() {
                terminal.changed = u32::try_from(dirty.len()).ok();
                dirty.push(key.clone());
            }
        }
    }

    /// Keeps of a store's terminals only what tells a resend from a new batch.
    pub fn retire(&mut self, store_id: &str) {
        let of_store = self.by_key.iter_mut();
        for (key, terminal) in of_store.filter(|(key, _)| *key.store_id == *store_id) {
            terminal.is_retired = true;
            terminal.levels.clear();
            if terminal.changed.is_none() {
                terminal.changed = u32::try_from(self.dirty.len()).ok();
                self.dirty.push(key.clone());
            }
        }
    }

    /// The ids of the terminals that have changed since the last cut, by their numbers.
    #[must_use]
    pub fn changed_ids(&self) -> Vec<Arc<str>> {
        let ids = self.dirty.iter();
        ids.map(|key| Arc::from(&*key.terminal_id)).collect()
    }

    /// The id of one of them.
    #[must_use]
    pub fn changed_id(&self, number: u32) -> Option<&str> {
        let key = self.dirty.get(number as usize)?;
        Some(&key.terminal_id)
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
        for key in self.dirty.drain(..) {
            if let Some(terminal) = self.by_key.get_mut(&key) {
                terminal.changed = None;
                let terminal = Some(terminal.clone());
                changes.push(TerminalChange { key, terminal });
            }
        }
        changes
    }

    /// Every terminal.
    pub fn iter(&self) -> impl Iterator<Item = (&TerminalKey, &Terminal)> {
        self.by_key.iter()
    }

    /// How many terminals are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
