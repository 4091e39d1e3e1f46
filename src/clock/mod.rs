//! Tells the time, and whether this machine's clock can be trusted.
//!
//! The collector judges batches and destroys old data by this machine's clock, so a wrong clock loses
//! acknowledged data. The wall clock is therefore compared with the clock that runs since the machine was
//! started (also while it sleeps), with the journal's last time and with the date of this release. If they
//! do not fit, the clock is in *doubt*, and no batch is judged until the doubt has ended.
//!
//! | file | what |
//! |---|---|
//! | `line.rs` | the rules: when a doubt begins and on what grounds it ends; no clock is read there |
//! | `fleet.rs` | what the terminals' clocks say: the second witness |
//! | `kernel.rs` | the two clocks of the machine, and whether it says that it is synchronised |
//! | `hand.rs` | clocks that a test sets |
//! | `words.rs` | a doubt and a time in words |
//!
//! A [`Clock`] is made once and given to every part that needs the time. Until [`Clock::start`] is called, as
//! in a command that accepts no batches, the wall clock is trusted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod fleet;
mod hand;
mod kernel;
mod line;
mod words;

use fleet::Fleet;
pub use hand::Hand;
pub use line::{Change, Doubt, Grounds, RELEASED_MS, STEADY_MS, STEP_MS_MAX};
use line::{Line, Reading};
pub use words::{DoubtKind, time_text};

/// The wall clock is not watched.
const NOT_STARTED: i64 = i64::MAX;
/// There is a doubt.
const IN_DOUBT: i64 = i64::MIN;

/// The clock; clones are of the same one.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// Wall clock minus boot-time clock, as it is believed to be; or one of the two above.
    trusted_ms: AtomicI64,
    watch: Mutex<Watch>,
    fleet: Fleet,
}

/// Where the time comes from.
#[derive(Debug)]
enum Source {
    Machine,
    Hand(Hand),
}

#[derive(Debug)]
struct Watch {
    line: Option<Line>,
    /// What nobody has been told of yet: a few, because a doubt has to end before the next begins.
    changes: Vec<Change>,
}

/// The clock cannot be believed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDoubt;

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What the wall clock says, Unix ms.
    pub wall_ms: i64,
    /// The best that is known, Unix ms.
    pub now_ms: i64,
    /// Why the wall clock is not believed.
    pub doubt: Option<Doubt>,
    /// Whether what is too old by this clock may be destroyed.
    pub is_settled: bool,
    /// By how much the terminals' clocks, at their median, are ahead of the wall clock, and how many
    /// terminals say so.
    pub fleet: Option<(i64, usize)>,
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new(Source::Machine)
    }

    /// A clock that stands still until `hand` is moved.
    #[must_use]
    pub fn by_hand(hand: Hand) -> Self {
        Self::new(Source::Hand(hand))
    }

    fn new(source: Source) -> Self {
        Self(Arc::new(Inner {
            source,
            trusted_ms: AtomicI64::new(NOT_STARTED),
            watch: Mutex::new(Watch {
                line: None,
                changes: Vec::new(),
            }),
            fleet: Fleet::new(),
        }))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, as well as it is known: by the wall clock if that is
    /// believed, else as it was before the doubt, carried on by the boot-time clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.received_at_ms().unwrap_or_else(|_in_doubt| {
            let wall_ms = self.wall_ms();
            let line = self.watch().line;
            line.map_or(wall_ms, |line| {
                self.boot_ms().saturating_add(line.trusted_ms())
            })
        })
    }

    /// The time at which a request arrived: what its batches are judged by.
    ///
    /// # Errors
    /// When the clock cannot be believed.
    #[inline]
    pub fn received_at_ms(&self) -> Result<i64, InDoubt> {
        let trusted_ms = self.0.trusted_ms.load(Ordering::Relaxed);
        let wall_ms = self.wall_ms();
        if trusted_ms == NOT_STARTED {
            return Ok(wall_ms);
        }
        // In doubt the difference is out of every bound.
        let step_ms = wall_ms
            .saturating_sub(self.boot_ms())
            .saturating_sub(trusted_ms);
        if (-STEP_MS_MAX..=STEP_MS_MAX).contains(&step_ms) {
            return Ok(wall_ms);
        }
        self.look();
        let is_believed = self.0.trusted_ms.load(Ordering::Relaxed) != IN_DOUBT;
        is_believed.then(|| self.wall_ms()).ok_or(InDoubt)
    }

    /// Begins to watch the clock. `journal_ms` is the last time that the journal bears, 0 if it is empty.
    pub fn start(&self, journal_ms: i64) {
        let mut watch = self.watch();
        let (line, change) = Line::start(self.read(), journal_ms);
        self.note(&mut watch, line, change);
    }

    /// Reads the clocks and judges them: every second, and for each request while there is a doubt.
    pub fn look(&self) {
        let mut watch = self.watch();
        if let Some(mut line) = watch.line {
            let change = line.observe(self.read());
            self.note(&mut watch, line, change);
        }
    }

    /// Believes the wall clock from now on, because an operator says so.
    ///
    /// # Errors
    /// When it lies before the date of this release: no operator can be right then.
    pub fn accept(&self) -> Result<(), Doubt> {
        let mut watch = self.watch();
        if let Some(mut line) = watch.line {
            let change = line.accept(self.read())?;
            self.note(&mut watch, line, change);
        }
        Ok(())
    }

    /// What has changed since the last call.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.watch().changes)
    }

    /// Notes what a terminal's clock says now. `terminal` is any number that tells terminals apart.
    #[inline]
    pub fn heard(&self, terminal: u64, sent_at_ms: i64) {
        /// The year 2200. Beyond it, and before 1970, is no clock but a mistake.
        const LATEST_MS: i64 = 7_258_118_400_000;
        if (0..LATEST_MS).contains(&sent_at_ms) {
            let boot_ms = self.boot_ms();
            self.0.fleet.heard(terminal, sent_at_ms - boot_ms, boot_ms);
        }
    }

    /// Whether what is too old by this clock may be destroyed: there is no doubt, the clock has not moved
    /// for ten minutes, and the terminals do not agree on another time.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.status().is_settled
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.look();
        let now_ms = self.now_ms();
        let (reading, opinion) = (self.read(), self.0.fleet.opinion(self.boot_ms()));
        let line = self.watch().line;
        let offset_ms = reading.wall_ms - reading.boot_ms;
        let contradicts =
            |line: &Line| opinion.is_some_and(|fleet| fleet.contradicts(line.trusted_ms()));
        Status {
            wall_ms: reading.wall_ms,
            now_ms,
            doubt: line.and_then(|line| line.doubt()),
            is_settled: line
                .is_none_or(|line| line.is_steady(reading.boot_ms) && !contradicts(&line)),
            fleet: opinion.map(|fleet| (fleet.median_ms - offset_ms, fleet.terminals)),
        }
    }

    #[inline]
    fn wall_ms(&self) -> i64 {
        match &self.0.source {
            Source::Machine => kernel::wall_ms(),
            Source::Hand(hand) => hand.wall_ms(),
        }
    }

    /// The clock that runs since the machine was started.
    #[inline]
    fn boot_ms(&self) -> i64 {
        match &self.0.source {
            Source::Machine => kernel::boot_ms(),
            Source::Hand(hand) => hand.boot_ms(),
        }
    }

    fn read(&self) -> Reading {
        let (wall_ms, boot_ms) = (self.wall_ms(), self.boot_ms());
        Reading {
            wall_ms,
            boot_ms,
            is_synchronised: match &self.0.source {
                Source::Machine => kernel::is_synchronised(wall_ms),
                Source::Hand(_) => false,
            },
            fleet_ms: self.0.fleet.opinion(boot_ms).map(|fleet| fleet.median_ms),
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, watch: &mut Watch, line: Line, change: Option<Change>) {
        /// More are not kept: whoever takes them looks every second.
        const CHANGES_MAX: usize = 64;
        watch.line = Some(line);
        if watch.changes.len() < CHANGES_MAX {
            watch.changes.extend(change);
        }
        let trusted_ms = match line.doubt() {
            None => line.trusted_ms(),
            Some(_) => IN_DOUBT,
        };
        self.0.trusted_ms.store(trusted_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tillwatch_model::time::{DAY_MS, HOUR_MS};

    use super::*;

    const NOW_MS: i64 = RELEASED_MS + 100 * DAY_MS;

    #[test]
    fn a_clock_that_is_not_watched_is_believed() {
        let hand = Hand::at(5);
        let clock = Clock::by_hand(hand.clone());
        hand.set_wall(NOW_MS);
        assert_eq!(clock.received_at_ms(), Ok(NOW_MS));
        assert!(clock.is_settled());
    }

    #[test]
    fn a_step_is_doubted_and_time_goes_on_as_it_was_until_it_ends() {
        let hand = Hand::at(NOW_MS);
        let clock = Clock::by_hand(hand.clone());
        clock.start(NOW_MS);
        assert!(!clock.is_settled());
        hand.pass(STEADY_MS);
        assert!(clock.is_settled());
        assert_eq!(clock.received_at_ms(), Ok(NOW_MS + STEADY_MS));
        assert_eq!(clock.take_changes(), []);

        hand.set_wall(NOW_MS + 2 * HOUR_MS);
        // Seen by another holder of the same clock, too.
        assert_eq!(clock.clone().received_at_ms(), Err(InDoubt));
        hand.pass(1_000);
        assert_eq!(clock.now_ms(), NOW_MS + STEADY_MS + 1_000);
        assert!(matches!(clock.status().doubt, Some(Doubt::Moved { .. })));

        hand.set_wall(NOW_MS + STEADY_MS + 1_000);
        assert_eq!(clock.received_at_ms(), Ok(NOW_MS + STEADY_MS + 1_000));
        let changes = clock.take_changes();
        assert!(
            matches!(
                changes.as_slice(),
                [Change::Doubted(_), Change::Believed { .. }]
            ),
            "{changes:?}"
        );
    }

    #[test]
    fn clocks_of_one_process_know_nothing_of_each_other() {
        let (one, other) = (Hand::at(NOW_MS), Hand::at(NOW_MS));
        let (doubted, believed) = (Clock::by_hand(one.clone()), Clock::by_hand(other));
        doubted.start(NOW_MS);
        believed.start(NOW_MS);
        one.set_wall(0);
        assert_eq!(doubted.received_at_ms(), Err(InDoubt));
        assert_eq!(believed.received_at_ms(), Ok(NOW_MS));
    }
}
