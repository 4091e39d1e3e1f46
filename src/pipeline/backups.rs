//! Makes backups by itself: when the newest one in `backup_dir` is as old as `backup_interval`, it seals, copies the
//! state file, reads the copy back, and removes the oldest beyond `backup_keep`.
//!
//! How old the newest is, is read from the folder and not counted from the start: a restart makes none before it is due.
//! Nothing here is waited for by a terminal. A folder that is not there, full or read-only costs a line in the log, and
//! another try.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tillwatch_model::metric::to_float;
use tillwatch_model::time::millis;
use tokio::time::Instant;

use crate::admin::Acts;
use crate::chance::Chance;
use crate::config::Config;
use crate::persist::State;
use crate::persist::backup::{BackupError, Kept, Manifest};
use crate::pipeline::error::ServeError;
use crate::self_metrics as names;
use crate::world::World;

/// How often it is looked whether a backup is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the age of the newest backup is told. It rises even while the folder hangs.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failure; it doubles with each.
const RETRY_FIRST_MS: u64 = 5_000;
/// The longest pause after a failure: a copy that fails costs as much as one that does not.
const RETRY_MAX_MS: u64 = 600_000;
/// Failures that are logged one by one; then one in six is, which is one an hour.
const FAILURES_TOLD: u32 = 3;

/// The schedule, of which each step may block.
#[derive(Debug)]
pub(super) struct Schedule {
    kept: Kept,
    keep: usize,
    interval: Duration,
    data_dir: std::path::PathBuf,
    state: Arc<State>,
    world: World,
    /// From when the age of the newest backup counts, Unix ms.
    from_ms: AtomicI64,
}

/// Why there is no other backup.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// There was nothing to read back.
    #[error("no backup was made")]
    Failed(#[source] BackupError),
    /// It was not as it was written.
    #[error("a backup could not be read back as it was written, and is removed")]
    Unverified(#[source] BackupError),
    /// The thread that did it is gone.
    #[error("no backup was made: the work panicked or was stopped")]
    Gone,
}

/// Refuses a folder for backups that leads into the data folder, by whatever links.
///
/// # Errors
/// When it does.
pub(super) fn check_apart(config: &Config) -> Result<(), ServeError> {
    let Some(dir) = &config.backup.dir else {
        return Ok(());
    };
    // One that is not there now may be mounted later.
    let (Ok(dir), Ok(data_dir)) = (dir.canonicalize(), config.data.dir.canonicalize()) else {
        return Ok(());
    };
    if dir.starts_with(&data_dir) {
        return Err(ServeError::Setup(format!(
            "backup_dir is {}, which lies in data_dir and would be lost with it; choose a folder on another disk",
            dir.display()
        )));
    }
    Ok(())
}

/// Makes backups if a folder is set for them, until it is aborted.
pub(super) async fn run(config: Config, state: Arc<State>, acts: Arc<Acts>, world: World) {
    let Some(schedule) = Schedule::of(&config, state, world) else {
        return;
    };
    names::start(
        names::BACKUPS,
        "result",
        ["ok", "failed", "unverified"],
        &[names::BACKUP_SECONDS],
    );
    gauge!(names::BACKUP_INTERVAL).set(schedule.interval.as_secs_f64());
    let schedule = Arc::new(schedule);
    tokio::join!(tell_age(&schedule), make_when_due(&schedule, &acts));
}

async fn tell_age(schedule: &Schedule) {
    let mut every = tokio::time::interval(TELL_EVERY);
    loop {
        every.tick().await;
        let age_ms = schedule.age_ms();
        gauge!(names::BACKUP_AGE).set(to_float(age_ms) / 1_000.0);
    }
}

async fn make_when_due(schedule: &Arc<Schedule>, acts: &Acts) {
    blocking(schedule, Schedule::begin).await.ok();
    let mut failures = 0;
    loop {
        let pause = match round(schedule, acts).await {
            Ok(()) => {
                failures = 0;
                LOOK_EVERY
            }
            Err(error) => {
                tell(&error, failures);
                failures = failures.saturating_add(1);
                back_off(failures, &schedule.world.chance)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Makes a backup if one is due.
async fn round(schedule: &Arc<Schedule>, acts: &Acts) -> Result<(), NotMade> {
    let is_due = blocking(schedule, Schedule::is_due).await?;
    if !is_due.map_err(NotMade::Failed)? {
        return Ok(());
    }
    let started = Instant::now();
    if acts.seal().await.is_none() {
        tracing::warn!(
            "the seal before a backup did not end in time: what was acknowledged since the last seal is not in it"
        );
    }
    let manifest = blocking(schedule, Schedule::make).await??;
    counter!(names::BACKUPS, "result" => "ok").increment(1);
    histogram!(names::BACKUP_SECONDS).record(started.elapsed());
    tracing::info!(
        last_epoch = manifest.last_epoch,
        bytes = manifest.state_bytes,
        duration_ms = millis(started.elapsed()),
        "made a backup and read it back"
    );
    let removed = blocking(schedule, |schedule| {
        schedule.kept.remove_beyond(schedule.keep)
    });
    match removed.await? {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed the oldest backups"),
        // The new one is there all the same; they go after the next.
        Err(error) => tracing::warn!(
            error = crate::logging::chain(&error),
            "the oldest backups could not be removed; it is tried again after the next backup"
        ),
    }
    Ok(())
}

/// Works on the folder where blocking is allowed: it may be on a network.
async fn blocking<T: Send + 'static>(
    schedule: &Arc<Schedule>,
    work: impl FnOnce(&Schedule) -> T + Send + 'static,
) -> Result<T, NotMade> {
    let schedule = Arc::clone(schedule);
    let done = tokio::task::spawn_blocking(move || work(&schedule)).await;
    done.map_err(|_panicked| NotMade::Gone)
}

/// How long to wait after so many failures in a row, drawn between half and all.
fn back_off(failures: u32, chance: &Chance) -> Duration {
    let doubled = RETRY_FIRST_MS << failures.saturating_sub(1).min(10);
    let full_ms = doubled.min(RETRY_MAX_MS);
    Duration::from_millis(chance.between(full_ms / 2..=full_ms))
}

fn tell(error: &NotMade, failures: u32) {
    let result = match error {
        NotMade::Failed(_) | NotMade::Gone => "failed",
        NotMade::Unverified(_) => "unverified",
    };
    counter!(names::BACKUPS, "result" => result).increment(1);
    if failures < FAILURES_TOLD || failures.is_multiple_of(6) {
        tracing::error!(
            error = crate::logging::chain(error),
            failures,
            "there is no new backup; it is tried again, and earlier backups stay. Look at backup_dir: does the folder \
             exist, is its disk mounted, may this user write there, is there room?"
        );
    }
}

impl Schedule {
    /// The schedule of the settings, if they name a folder.
    fn of(config: &Config, state: Arc<State>, world: World) -> Option<Self> {
        let dir = config.backup.dir.clone()?;
        Some(Self {
            kept: Kept::new(dir, state.collector_id()),
            keep: config.backup.keep,
            interval: config.backup.interval.0,
            data_dir: config.data.dir.clone(),
            from_ms: AtomicI64::new(world.clock.now_ms()),
            state,
            world,
        })
    }

    /// Finds out from when the age counts until a backup is seen: from the last one that was made, or else from the
    /// first start with a folder for backups. A restart does not make it young.
    fn begin(&self) {
        let now_ms = self.world.clock.now_ms();
        match self.state.backed_up_ms() {
            Ok(Some(at_ms)) => self.from_ms.store(at_ms.min(now_ms), Ordering::Relaxed),
            Ok(None) => self.note(now_ms),
            Err(error) => tracing::warn!(
                error = crate::logging::chain(&error),
                "when the last backup was made could not be read"
            ),
        }
    }

    fn note(&self, at_ms: i64) {
        self.from_ms.store(at_ms, Ordering::Relaxed);
        if let Err(error) = self.state.keep_backed_up_ms(at_ms) {
            tracing::warn!(
                error = crate::logging::chain(&error),
                "when the last backup was made could not be kept"
            );
        }
    }

    fn age_ms(&self) -> u64 {
        let age_ms = self.world.clock.now_ms() - self.from_ms.load(Ordering::Relaxed);
        age_ms.max(0).cast_unsigned()
    }

    /// Whether a backup is due. By a clock that is in doubt none is.
    fn is_due(&self) -> Result<bool, BackupError> {
        let clock = &self.world.clock;
        let now_ms = clock.now_ms();
        let newest = self.kept.newest(now_ms)?;
        if let Some(newest) = &newest {
            self.from_ms.store(newest.created_at_ms, Ordering::Relaxed);
            gauge!(names::BACKUP_BYTES).set(to_float(newest.state_bytes));
        }
        let interval_ms = millis(self.interval);
        let is_old = newest.is_none_or(|newest| now_ms - newest.created_at_ms >= interval_ms);
        Ok(is_old && clock.received_at_ms().is_ok())
    }

    fn make(&self) -> Result<Manifest, NotMade> {
        let now_ms = self.world.clock.now_ms();
        let made = self
            .kept
            .make(&self.data_dir, now_ms, &self.world.chance)
            .map_err(NotMade::Failed)?;
        let manifest = made.finish().map_err(NotMade::Unverified)?;
        self.note(now_ms);
        gauge!(names::BACKUP_BYTES).set(to_float(manifest.state_bytes));
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS};

    use super::*;
    use crate::clock::{Clock, Hand, RELEASED_MS};
    use crate::config::Flags;

    const NOW_MS: i64 = RELEASED_MS + 29 * DAY_MS;

    /// A collector with the default schedule, and the hand of its clock.
    fn schedule(folder: &std::path::Path, hand: &Hand) -> Schedule {
        let flags = Flags {
            data_dir: Some(folder.join("data")),
            backup_dir: Some(folder.join("backups")),
            ..Flags::default()
        };
        let config = Config::load(flags, None).unwrap();
        std::fs::create_dir_all(&config.data.dir).unwrap();
        let clock = Clock::by_hand(hand.clone());
        clock.start(0);
        let world = World {
            clock,
            ..World::of_machine()
        };
        let state = Arc::new(State::open(&config.data.dir, &world).unwrap());
        let schedule = Schedule::of(&config, state, world).unwrap();
        schedule.begin();
        schedule
    }

    #[test]
    fn a_backup_is_due_by_the_age_of_the_newest_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("backups")).unwrap();
        let hand = Hand::at(NOW_MS);
        let first = schedule(folder.path(), &hand);
        assert!(first.is_due().unwrap());
        first.make().unwrap();
        assert!(!first.is_due().unwrap());
        hand.pass(DAY_MS - MINUTE_MS);
        drop(first);
        let second = schedule(folder.path(), &hand);
        assert!(!second.is_due().unwrap());
        assert_eq!(i64::try_from(second.age_ms()).unwrap(), DAY_MS - MINUTE_MS);
        hand.pass(MINUTE_MS);
        assert!(second.is_due().unwrap());
        second.make().unwrap();
        assert!(!second.is_due().unwrap());
        assert_eq!(second.age_ms(), 0);
    }

    #[test]
    fn without_a_backup_the_age_counts_from_the_first_start_and_then_from_the_last_one_known() {
        let folder = tempfile::tempdir().unwrap();
        let hand = Hand::at(NOW_MS);
        let age_ms = |schedule: &Schedule| i64::try_from(schedule.age_ms()).unwrap();
        // The folder is not there: it fails, nothing is made, and the age goes on over restarts.
        for starts in 0..3 {
            let schedule = schedule(folder.path(), &hand);
            assert!(schedule.is_due().is_err());
            assert_eq!(age_ms(&schedule), starts * HOUR_MS);
            hand.pass(HOUR_MS);
        }
        std::fs::create_dir(folder.path().join("backups")).unwrap();
        schedule(folder.path(), &hand).make().unwrap();
        // Its disk is gone: the last one is remembered.
        std::fs::rename(
            folder.path().join("backups"),
            folder.path().join("unmounted"),
        )
        .unwrap();
        hand.pass(5 * DAY_MS);
        let schedule = schedule(folder.path(), &hand);
        assert!(schedule.is_due().is_err());
        assert_eq!(age_ms(&schedule), 5 * DAY_MS);
    }

    #[test]
    fn by_a_clock_in_doubt_none_is_due() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("backups")).unwrap();
        let hand = Hand::at(NOW_MS);
        let schedule = schedule(folder.path(), &hand);
        schedule.make().unwrap();
        hand.set_wall(NOW_MS + 300 * DAY_MS);
        assert!(!schedule.is_due().unwrap());
        assert_eq!(schedule.age_ms(), 0);
        hand.set_wall(NOW_MS);
        hand.pass(DAY_MS);
        assert!(schedule.is_due().unwrap());
    }

    #[test]
    fn a_folder_that_leads_into_the_data_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("data/backups")).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("data/backups"), &link).unwrap();
        let load = |dir: &std::path::Path| {
            let flags = Flags {
                data_dir: Some(folder.path().join("data")),
                backup_dir: Some(dir.to_owned()),
                ..Flags::default()
            };
            Config::load(flags, None).unwrap()
        };
        let said = check_apart(&load(&link)).unwrap_err().to_string();
        assert!(said.contains("lies in data_dir"), "{said}");
        check_apart(&load(folder.path())).unwrap();
        check_apart(&load(&folder.path().join("not there"))).unwrap();
    }

    #[test]
    fn pauses_double_and_end_at_ten_minutes() {
        let chance = Chance::seeded(1);
        for (failures, full_ms) in [
            (1, 5_000),
            (2, 10_000),
            (7, 320_000),
            (8, 600_000),
            (99, 600_000),
        ] {
            let pause = back_off(failures, &chance).as_millis();
            assert!(
                (full_ms / 2..=full_ms).contains(&pause),
                "{failures}: {pause}"
            );
        }
    }
}
