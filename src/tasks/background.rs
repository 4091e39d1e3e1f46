//! Work that only takes what others leave of the processors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::tasks::apart::step_aside;

/// Runs a job on a thread of its own, because a thread that has stood back once may not step forward again.
pub(super) async fn run_in_background<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, is_done) = oneshot::channel();
    let job = move || {
        stand_back(&PRESS);
        // Whoever asked may have gone.
        let _unheard = done.send(catch_unwind(AssertUnwindSafe(job)));
    };
    let thread = std::thread::Builder::new().name("background".to_owned());
    let unstarted = thread.spawn(job).err();
    match is_done.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_dropped) => {
            // The job is lost with the thread that was not started: its question is never answered, and times out.
            tracing::warn!(error = ?unstarted, "no thread could be started for work in the background");
            std::future::pending().await
        }
    }
}

/// Does that part of a job for which no lock is held that the path of batches waits for, with what others leave of the
/// processors, see [`Jobs::in_background`](crate::tasks::Jobs::in_background). Blocks until it is done. It is called once.
///
/// If others leave next to nothing, whoever waits for the part would wait for seconds. So once a part was held up, the
/// following ones, and jobs in the background, only step aside for a while.
pub fn standing_back<T: Send>(part: impl FnMut() -> T + Send) -> T {
    standing_back_by(&PRESS, part)
}

fn standing_back_by<T: Send>(press: &Press, mut part: impl FnMut() -> T + Send) -> T {
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("background".to_owned());
        let standing = || {
            let (began, before) = (Instant::now(), worked());
            stand_back(press);
            let done = part();
            let worked = worked().saturating_sub(before);
            press.note(began.elapsed().saturating_sub(worked));
            done
        };
        Some(thread.spawn_scoped(scope, standing).ok()?.join())
    });
    match done {
        Some(Ok(done)) => done,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        // The system starts no more threads, so the part is done on this one.
        None => part(),
    }
}

/// How long the current thread has had a processor.
fn worked() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Whether who stands back gets a processor at all.
#[derive(Debug)]
struct Press(Mutex<Option<Instant>>);

static PRESS: Press = Press(Mutex::new(None));

impl Press {
    /// How long a part may wait for a processor.
    const HELD_UP_MAX: Duration = Duration::from_millis(250);
    /// For so long nobody stands back after one was held up for longer.
    const FORWARD: Duration = Duration::from_secs(10);

    /// A part that stood back, or would have, had to wait for so long.
    fn note(&self, held_up: Duration) {
        if held_up > Self::HELD_UP_MAX {
            *self.last() = Some(Instant::now());
        }
    }

    fn is_on(&self) -> bool {
        self.last()
            .is_some_and(|last| last.elapsed() < Self::FORWARD)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From now on the current thread only gets the processor when nobody else wants it, or only steps aside if those who did
/// so were held up lately. On a kernel that has no such threads it goes on as it is.
fn stand_back(press: &Press) {
    if press.is_on() {
        return step_aside();
    }
    #[cfg(target_os = "linux")]
    {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id, thread_schedule_policy,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let lowest = thread_priority::ThreadPriority::Min;
        let set = set_thread_priority_and_policy(thread_native_id(), lowest, idle);
        // It also sets a nice value, which may be refused and says nothing beside this policy.
        if thread_schedule_policy() != Ok(idle) {
            tracing::debug!(?set, "a job in the background runs like any other");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_part_of_a_job_stands_back_alone() {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };
        let before = thread_schedule_policy().unwrap();
        let press = Press(Mutex::new(None));
        let policy = standing_back_by(&press, || thread_schedule_policy().unwrap());
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!((policy, thread_schedule_policy().unwrap()), (idle, before));
        let panics = catch_unwind(|| standing_back(|| panic!("as a test does")));
        let _: () = panics
            .unwrap_err()
            .downcast_ref::<&str>()
            .map(|_| ())
            .unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn once_a_part_was_held_up_the_next_ones_only_step_aside_for_a_while() {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        let press = Press(Mutex::new(None));
        press.note(Press::HELD_UP_MAX);
        assert!(!press.is_on());
        // A part that waits is held up, one that works is not.
        standing_back_by(&press, || {
            std::thread::sleep(Press::HELD_UP_MAX + Duration::from_millis(50));
        });
        assert!(press.is_on());
        let policy = standing_back_by(&press, || thread_schedule_policy().unwrap());
        assert_eq!(policy, batch);
        *press.last() = Instant::now().checked_sub(Press::FORWARD);
        assert!(!press.is_on());
    }
}
