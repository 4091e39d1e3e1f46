//! One terminal, and what it is known by.

use std::borrow::Cow;

use tillwatch_model::dimension::OVERFLOW;
use tillwatch_model::event::{EventKind, EventReading};
use tillwatch_model::sequence::{
    Ended, How, LOST_AFTER_MS, QUEUES_PER_TERMINAL_MAX, longest_silent,
};
use tillwatch_model::time::{IN_FUTURE_MS_MAX, MINUTE_MS, put_right};
use tillwatch_model::{BatchHeader, BatchSize, Browser, Habit, SeqWindow};

use crate::aggregate::layout::Trouble;
use crate::aggregate::names::OVERFLOW_INDEX;
use crate::aggregate::row_quota::HourRows;

/// A terminal of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TerminalKey {
    /// The shop.
    pub store_id: Box<str>,
    /// The terminal in the store.
    pub terminal_id: Box<str>,
}

/// A [`TerminalKey`] that is only looked at.
#[derive(Debug, Clone, Copy, Hash)]
pub struct TerminalRef<'a> {
    /// The shop.
    pub store_id: &'a str,
    /// The terminal in the store.
    pub terminal_id: &'a str,
}

impl<'a> TerminalRef<'a> {
    /// The terminal that a batch is of.
    #[must_use]
    pub fn of(header: &BatchHeader<'a>) -> Self {
        Self {
            store_id: header.store_id,
            terminal_id: header.terminal_id,
        }
    }
}

impl<'a> TerminalRef<'a> {
    /// The terminal as rows name it: those of a store without a name of its own have none either.
    #[must_use]
    pub fn named(header: &BatchHeader<'a>, store: u32) -> Self {
        if store == OVERFLOW_INDEX {
            Self::OVERFLOW
        } else {
            Self::of(header)
        }
    }

    /// What stands for all terminals of stores without a name.
    pub const OVERFLOW: TerminalRef<'static> = TerminalRef {
        store_id: OVERFLOW,
        terminal_id: OVERFLOW,
    };
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
    /// When the value was measured, corrected, Unix ms.
    pub t_ms: i64,
    /// When the value was measured by the terminal's clock, Unix ms.
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

/// What a terminal reported of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What has happened.
    pub kind: EventKind,
    /// When it happened, corrected, Unix ms.
    pub t_ms: i64,
}

/// In which of the last 64 minutes something was received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beats {
    /// The latest minute, since 1970.
    newest: i64,
    /// Bit n: something was received n minutes before it.
    bits: u64,
}

impl Beats {
    /// Notes that something was received.
    pub(super) fn note(&mut self, received_at_ms: i64) {
        let minute = received_at_ms.div_euclid(MINUTE_MS);
        self.bits = self.at(minute.max(self.newest));
        self.newest = minute.max(self.newest);
        // A clock that was set back reports earlier minutes.
        let back = u32::try_from(self.newest - minute).unwrap_or(u32::MAX);
        self.bits |= 1_u64.checked_shl(back).unwrap_or(0);
    }

    /// As of this minute, which bit 0 then stands for.
    #[must_use]
    pub fn at(&self, minute: i64) -> u64 {
        let later = minute - self.newest;
        let by = u32::try_from(later.unsigned_abs()).unwrap_or(u32::MAX);
        if later < 0 {
            self.bits.checked_shr(by).unwrap_or(0)
        } else {
            self.bits.checked_shl(by).unwrap_or(0)
        }
    }
}

/// One terminal.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    /// Number of the terminal's store.
    pub store: u32,
    /// Number of the release that the terminal last reported.
    pub release: u32,
    /// When the terminal's last batch was received, Unix ms.
    pub last_seen_ms: i64,
    /// How far its clock is behind, ms, as of the last batch that said so.
    pub offset_ms: i64,
    /// When the batch that told the offset was received, Unix ms; 0: none has told one.
    pub offset_at_ms: i64,
    /// How often its clock was moved between two posts: or, two tills use its name.
    pub clock_jumps: u64,
    /// The terminal's queues.
    pub queues: Vec<([u8; 16], SeqWindow)>,
    /// Queues that made room for others, by id, and when they did: whatever comes of them may have been counted.
    pub tombstones: Vec<([u8; 16], i64)>,
    /// How many samples its batches hold, about.
    pub batch_size: BatchSize,
    /// When the terminal is used to report.
    pub habit: Habit,
    /// What the terminal last reported of its connection, its battery or its end.
    pub said: Option<Said>,
    /// The browser that the terminal last posted with.
    pub browser: Option<Browser>,
    /// Last values of the level metrics, by their position among them.
    pub levels: Vec<Option<LastValue>>,
    /// In which of the last minutes a batch of it was received; not kept over a restart.
    pub beats: Beats,
    /// When a synchronisation of the terminal last failed, corrected, Unix ms; 0: none has since the start. Not kept
    /// over a restart: it matters for ten minutes.
    pub sync_failed_ms: i64,
    /// When a synchronisation of the terminal last took too long, likewise.
    pub sync_slow_ms: i64,
    /// Rows that the terminal's batches have made in the hour; not kept over a restart.
    pub(super) rows: HourRows,
    /// The terminal's store was retired and the terminal has not posted since: only its queues are kept.
    pub is_retired: bool,
    /// Whether a machine caused all that the terminal posted: then it is no till that anybody misses.
    pub is_synthetic: bool,
    /// The terminal's number among those changed since the last cut; `None`: it has not changed.
    pub(super) changed: Option<u32>,
}

/// What has come of a numbered batch.
#[derive(Debug)]
pub struct Applied<'t> {
    /// The batch's terminal, to fill in.
    pub terminal: &'t mut Terminal,
    /// Whether the number is fresh; a second record of one batch is not to be counted.
    pub is_fresh: bool,
    /// What has become of numbers that were missing, by their queues.
    pub ended: Vec<([u8; 16], Ended)>,
    /// How many batches are lost that were not counted so before: they are too far below, or their queue made
    /// room for another.
    pub lost: u64,
    /// How many lost batches the queue that made room had, which nobody counts by queue any more.
    pub forgotten: u64,
}

/// A terminal as it is written at a seal.
#[derive(Debug, Clone)]
pub struct TerminalChange {
    /// The terminal that has changed.
    pub key: TerminalKey,
    /// The terminal as it is at the cut; `None`: it is forgotten.
    pub terminal: Option<Terminal>,
}

/// Two posts no further apart tell of one clock, or of two. Unit: ms.
const JUMP_WITHIN_MS: u64 = 10 * 60_000;
/// What the offset of one clock may change by in that time. Unit: ms.
const JUMP_LEAST_MS: u64 = 60_000;

impl Terminal {
    /// The queues as the state file keeps them, tombstones among them.
    pub fn all_queues(&self) -> impl Iterator<Item = ([u8; 16], Cow<'_, SeqWindow>)> {
        let queues = self.queues.iter();
        let queues = queues.map(|(queue, window)| (*queue, Cow::Borrowed(window)));
        let tombstones = self.tombstones.iter().map(|(queue, since_ms)| {
            let window = SeqWindow::tombstone(*since_ms);
            (*queue, Cow::Owned(window))
        });
        queues.chain(tombstones)
    }

    /// Puts back a queue that [`Terminal::all_queues`] gave.
    pub(super) fn restore_queue(&mut self, queue: [u8; 16], window: SeqWindow) {
        if window.is_tombstone() {
            self.tombstones.push((queue, window.last_seen_ms()));
        } else {
            self.queues.push((queue, window));
        }
    }

    /// Whether there is anything by which a resend is told from a new batch.
    pub(super) fn has_queues(&self) -> bool {
        !self.queues.is_empty() || !self.tombstones.is_empty()
    }

    /// Whether of the queue with this id nothing else is known.
    pub(super) fn has_tombstone(&self, queue: [u8; 16]) -> bool {
        self.tombstones.iter().any(|(known, _)| *known == queue)
    }

    /// Leaves of the queue that has been silent longest a tombstone, if there is no room for another. Gives what
    /// was missing and lost in it.
    pub(super) fn make_room(&mut self, now_ms: i64) -> Option<([u8; 16], SeqWindow)> {
        if self.queues.len() < QUEUES_PER_TERMINAL_MAX {
            return None;
        }
        let seen = self.queues.iter();
        let seen = seen.map(|(queue, window)| Some((window.last_seen_ms(), *queue)));
        let (queue, window) = self.queues.swap_remove(longest_silent(seen)?);
        self.tombstones.push((queue, now_ms));
        Some((queue, window))
    }

    /// Takes the offset that a batch came with (0: it did not say). Says whether the clock was moved
    /// since the post before it.
    pub(super) fn take_offset(&mut self, offset_ms: i64, received_at_ms: i64) -> bool {
        if offset_ms == 0 {
            return false;
        }
        let has_jumped = self.offset_at_ms != 0
            && received_at_ms.abs_diff(self.offset_at_ms) <= JUMP_WITHIN_MS
            && offset_ms.abs_diff(self.offset_ms) > JUMP_LEAST_MS;
        self.clock_jumps += u64::from(has_jumped);
        (self.offset_ms, self.offset_at_ms) = (offset_ms, received_at_ms);
        has_jumped
    }

    /// Keeps the value of a level, unless a newer one is known.
    pub(super) fn keep_level(&mut self, at: usize, last: LastValue) {
        if let Some(slot) = self.levels.get_mut(at)
            && slot.is_none_or(|known| last.is_newer_than(&known))
        {
            *slot = Some(last);
        }
    }

    /// Notes what the terminal reported of its state last.
    pub(super) fn hear(&mut self, events: &[EventReading], applied_offset_ms: i64) {
        for event in events {
            let is_state = matches!(
                event.kind,
                EventKind::Offline | EventKind::Online | EventKind::Shutdown | EventKind::Battery
            );
            let t_ms = event.t_raw_ms.saturating_add(applied_offset_ms);
            if is_state && self.said.is_none_or(|said| said.t_ms <= t_ms) {
                let kind = event.kind;
                self.said = Some(Said { kind, t_ms });
            }
        }
    }

    /// Notes when something was last wrong with the terminal's synchronisation.
    pub(super) fn note_trouble(&mut self, trouble: Trouble, t_ms: i64) {
        let last_ms = match trouble {
            Trouble::Failed => &mut self.sync_failed_ms,
            Trouble::Slow => &mut self.sync_slow_ms,
        };
        *last_ms = t_ms.max(*last_ms);
    }

    /// Forgets silent queues, and counts as lost what has been missing for too long. Says how many batches
    /// were lost with the queues; tells `lost` of every one that was not counted before.
    pub(super) fn age(&mut self, now_ms: i64, lost: &mut impl FnMut([u8; 16], Ended)) -> u64 {
        let mut lost_with_queues = 0;
        self.queues.retain(|(queue, window)| {
            let is_kept = now_ms.saturating_sub(window.last_seen_ms()) <= LOST_AFTER_MS;
            if !is_kept {
                lost_with_queues += window.lost() + window.open_gaps();
                let ended = window.all_ended(How::TooOld);
                ended.for_each(|ended| lost(*queue, ended));
            }
            is_kept
        });
        let is_young = |since_ms: i64| now_ms.saturating_sub(since_ms) <= LOST_AFTER_MS;
        self.tombstones.retain(|(_, since_ms)| is_young(*since_ms));
        for (queue, window) in &mut self.queues {
            window.age(now_ms, |ended| lost(*queue, ended));
        }
        lost_with_queues
    }

    /// Forgets all but what tells a resend from a new batch.
    pub fn retire(&mut self) {
        self.is_retired = true;
        self.levels.clear();
        self.habit = Habit::default();
        self.said = None;
    }

    /// The clock was trusted at this time. Whether anything was noted of a later one.
    pub(super) fn set_right(&mut self, at_ms: i64) -> bool {
        let mut is_wrong = put_right(&mut self.last_seen_ms, at_ms);
        if self.offset_at_ms > at_ms {
            // Measured by a wrong clock: nothing to hold the next one against.
            self.offset_at_ms = 0;
            is_wrong = true;
        }
        for (_, window) in &mut self.queues {
            is_wrong |= window.set_right(at_ms);
        }
        for last_ms in [&mut self.sync_failed_ms, &mut self.sync_slow_ms] {
            // Measured by a wrong clock: it would count as the latest for as long as the clock was ahead.
            *last_ms = if *last_ms > at_ms { 0 } else { *last_ms };
        }
        for (_, since_ms) in &mut self.tombstones {
            is_wrong |= put_right(since_ms, at_ms);
        }
        is_wrong |= self.habit.set_right(at_ms);
        if let Some(said) = &mut self.said {
            is_wrong |= put_right(&mut said.t_ms, at_ms);
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

/// What is missing in queues, counted as it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Batches that are missing, and may still come.
    pub missing: u64,
    /// Batches that will not come any more.
    pub lost: u64,
    /// Ranges of missing numbers, which take memory.
    pub ranges: usize,
}

impl Gaps {
    pub(super) fn of(terminal: &Terminal) -> Self {
        let windows = terminal.queues.iter().map(|(_, window)| window);
        windows.fold(Self::default(), |mut sum, window| {
            sum.change(Self::default(), Self::of_window(window));
            sum
        })
    }

    pub(super) fn of_window(window: &SeqWindow) -> Self {
        Self {
            missing: window.open_gaps(),
            lost: window.lost(),
            ranges: window.gap_count(),
        }
    }

    /// What has become of `before`.
    pub(super) fn change(&mut self, before: Self, after: Self) {
        self.missing = self.missing + after.missing - before.missing;
        self.lost = self.lost + after.lost - before.lost;
        self.ranges = self.ranges + after.ranges - before.ranges;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_has_jumped_when_two_posts_of_minutes_apart_differ_by_more_than_a_minute() {
        let mut terminal = Terminal::default();
        // Minute of arrival, offset, whether that is a jump.
        let posts = [
            (100, 30_000, false),
            (101, 90_000, false),
            (102, 150_001, true),
            (103, 0, false),
            (104, -3_600_000, true),
            // Two tills of one name.
            (105, 1, true),
            (106, -3_600_000, true),
            // The terminal was away for a while.
            (117, 1, false),
            (127, 60_002, true),
        ];
        for (minute, offset_ms, expected) in posts {
            let before = terminal.clock_jumps;
            let has_jumped = terminal.take_offset(offset_ms, minute * 60_000);
            assert_eq!(has_jumped, expected, "{minute}");
            assert_eq!(terminal.clock_jumps, before + u64::from(expected));
        }
        assert_eq!(terminal.offset_ms, 60_002);
        // What the collector's own clock measured while it was ahead is held against nothing.
        assert!(terminal.set_right(126 * 60_000));
        assert!(!terminal.take_offset(1, 128 * 60_000));
    }
}
