//! One terminal, and what it is known by.

use crate::model::SeqWindow;
use crate::model::sequence::LOST_AFTER_MS;
use crate::model::time::{IN_FUTURE_MS_MAX, put_right};

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

    /// Forgets silent queues, and counts as lost what has been missing for too long. Says how many batches
    /// were lost with the queues; tells `lost` of every one that was not counted before.
    pub(super) fn age(&mut self, now_ms: i64, lost: &mut impl FnMut(u32, u64)) -> u64 {
        let mut lost_with_queues = 0;
        let store = self.store;
        self.queues.retain(|(_, window)| {
            let is_kept = now_ms.saturating_sub(window.last_seen_ms()) <= LOST_AFTER_MS;
            if !is_kept {
                lost_with_queues += window.lost() + window.open_gaps();
                lost(store, window.open_gaps());
            }
            is_kept
        });
        for (_, window) in &mut self.queues {
            let before = window.lost();
            window.age(now_ms);
            lost(store, window.lost() - before);
        }
        lost_with_queues
    }

    /// The clock was trusted at this time. Whether anything was noted of a later one.
    pub(super) fn set_right(&mut self, at_ms: i64) -> bool {
        let mut is_wrong = put_right(&mut self.last_seen_ms, at_ms);
        for (_, window) in &mut self.queues {
            is_wrong |= window.set_right(at_ms);
        }
        for level in self.levels.iter_mut().flatten() {
            if level.t_ms > at_ms + IN_FUTURE_MS_MAX {
                // When it was measured nobody knows; whatever comes now is newer.
                level.t_ms = at_ms - IN_FUTURE_MS_MAX;
                is_wrong = true;
            }
        }
        is_wrong
    }
}

/// Batches of queues, counted as they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Missing, and may still come.
    pub missing: u64,
    /// Will not come any more.
    pub lost: u64,
}

impl Gaps {
    pub(super) fn of(terminal: &Terminal) -> Self {
        let windows = terminal.queues.iter().map(|(_, window)| window);
        windows.fold(Self::default(), |sum, window| Self {
            missing: sum.missing + window.open_gaps(),
            lost: sum.lost + window.lost(),
        })
    }

    /// What has become of `before`.
    pub(super) fn change(&mut self, before: Self, after: Self) {
        self.missing = self.missing + after.missing - before.missing;
        self.lost = self.lost + after.lost - before.lost;
    }
}
