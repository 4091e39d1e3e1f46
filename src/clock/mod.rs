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
//!
//! The whole process shares one clock. Until [`start`] is called, as in a command that accepts no batches,
//! the wall clock is trusted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

mod fleet;
mod kernel;
mod line;

use fleet::Fleet;
use kernel::{boot_ms, wall_ms};
pub use line::{Change, Doubt, Grounds, RELEASED_MS, STEADY_MS, STEP_MS_MAX};
use line::{Line, Reading};

/// Wall clock minus boot-time clock, as it is believed to be; or one of the two below.
static TRUSTED_MS: AtomicI64 = AtomicI64::new(NOT_STARTED);
/// The wall clock is not watched.
const NOT_STARTED: i64 = i64::MAX;
/// There is a doubt.
const IN_DOUBT: i64 = i64::MIN;

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    line: None,
    changes: Vec::new(),
});
static FLEET: Fleet = Fleet::new();

struct Watch {
    line: Option<Line>,
    /// What nobody has been told of yet: a few, because a doubt has to end before the next begins.
    changes: Vec<Change>,
}

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Whether it may be destroyed what is too old by it.
    pub is_settled: bool,
    /// By how much the terminals' clocks, at their median, are ahead of the wall clock, and how many
    /// terminals say so.
    pub fleet: Option<(i64, usize)>,
}

/// Milliseconds since 1970-01-01T00:00:00Z, as well as it is known: by the wall clock if that is
/// believed, else as it was before the doubt, carried on by the boot-time clock.
#[must_use]
pub fn now_ms() -> i64 {
    received_at_ms().unwrap_or_else(|_in_doubt| {
        let wall_ms = wall_ms();
        let line = watch().line;
        line.map_or(wall_ms, |line| boot_ms().saturating_add(line.trusted_ms()))
    })
}

/// The time at which a request arrived: what its batches are judged by.
///
/// # Errors
/// When the clock cannot be believed.
#[inline]
pub fn received_at_ms() -> Result<i64, InDoubt> {
    let trusted_ms = TRUSTED_MS.load(Ordering::Relaxed);
    let wall_ms = wall_ms();
    if trusted_ms == NOT_STARTED {
        return Ok(wall_ms);
    }
    // In doubt the difference is out of every bound.
    let step_ms = wall_ms.saturating_sub(boot_ms()).saturating_sub(trusted_ms);
    if (-STEP_MS_MAX..=STEP_MS_MAX).contains(&step_ms) {
        return Ok(wall_ms);
    }
    look();
    let is_believed = TRUSTED_MS.load(Ordering::Relaxed) != IN_DOUBT;
    is_believed.then(kernel::wall_ms).ok_or(InDoubt)
}

/// Begins to watch the clock. `journal_ms` is the last time that the journal bears, 0 if it is empty.
pub fn start(journal_ms: i64) {
    let mut watch = watch();
    let (line, change) = Line::start(read(), journal_ms);
    note(&mut watch, line, change);
}

/// Reads the clocks and judges them: every second, and for each request while there is a doubt.
pub fn look() {
    let mut watch = watch();
    if let Some(mut line) = watch.line {
        let change = line.observe(read());
        note(&mut watch, line, change);
    }
}

/// Believes the wall clock from now on, because an operator says so.
///
/// # Errors
/// When it lies before the date of this release: no operator can be right then.
pub fn accept() -> Result<(), Doubt> {
    let mut watch = watch();
    if let Some(mut line) = watch.line {
        let change = line.accept(read())?;
        note(&mut watch, line, change);
    }
    Ok(())
}

/// What has changed since the last call.
pub fn take_changes() -> Vec<Change> {
    std::mem::take(&mut watch().changes)
}

/// Notes what a terminal's clock says now. `terminal` is any number that tells terminals apart.
#[inline]
pub fn heard(terminal: u64, sent_at_ms: i64) {
    /// The year 2200. Beyond it, and before 1970, is no clock but a mistake.
    const LATEST_MS: i64 = 7_258_118_400_000;
    if (0..LATEST_MS).contains(&sent_at_ms) {
        let boot_ms = boot_ms();
        FLEET.heard(terminal, sent_at_ms - boot_ms, boot_ms);
    }
}

/// Whether what is too old by this clock may be destroyed: there is no doubt, the clock has not moved for
/// ten minutes, and the terminals do not agree on another time.
#[must_use]
pub fn is_settled() -> bool {
    status().is_settled
}

/// How things stand.
#[must_use]
pub fn status() -> Status {
    look();
    let now_ms = now_ms();
    let (reading, opinion) = (read(), FLEET.opinion(boot_ms()));
    let line = watch().line;
    let offset_ms = reading.wall_ms - reading.boot_ms;
    let contradicts =
        |line: &Line| opinion.is_some_and(|fleet| fleet.contradicts(line.trusted_ms()));
    Status {
        wall_ms: reading.wall_ms,
        now_ms,
        doubt: line.and_then(|line| line.doubt()),
        is_settled: line.is_none_or(|line| line.is_steady(reading.boot_ms) && !contradicts(&line)),
        fleet: opinion.map(|fleet| (fleet.median_ms - offset_ms, fleet.terminals)),
    }
}

fn read() -> Reading {
    let (wall_ms, boot_ms) = (wall_ms(), boot_ms());
    Reading {
        wall_ms,
        boot_ms,
        is_synchronised: kernel::is_synchronised(wall_ms),
        fleet_ms: FLEET.opinion(boot_ms).map(|fleet| fleet.median_ms),
    }
}

fn note(watch: &mut Watch, line: Line, change: Option<Change>) {
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
    TRUSTED_MS.store(trusted_ms, Ordering::Relaxed);
}
