//! Threads of their own for those who look: people, scrapers, commands.
//!
//! A thousand open pages are written to within a quarter of a second. On the threads that serve terminals each of these
//! writes could come before the answer to a batch.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// Threads there for what blocks; what comes on top waits. Unit: threads.
const BLOCKING_MAX: usize = 16;

/// The nice value with which this process began.
static USUAL_NICE: LazyLock<i32> =
    LazyLock::new(|| rustix::process::getpriority_process(None).unwrap_or_default());
/// How much above it those are who step aside: they get a quarter of a processor that others want, too.
const ASIDE: i32 = 5;

/// Threads of their own. What waits there is given up when this is dropped.
#[derive(Debug)]
pub struct Apart(Option<Runtime>);

impl Apart {
    /// Starts them: one to two processors.
    ///
    /// # Errors
    /// When the system has no more files to wait with.
    pub fn start() -> io::Result<Self> {
        // Asked for before any thread has another one.
        LazyLock::force(&USUAL_NICE);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .thread_name("apart")
            .worker_threads((processors / 2).max(1))
            .max_blocking_threads(BLOCKING_MAX)
            .on_thread_start(step_aside)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Whatever is spawned, or opened, before the guard is dropped lives on these threads.
    #[must_use]
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    /// What is known of them.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // A runtime that is dropped by itself waits for its threads, which a task must not do.
        self.0
            .take()
            .into_iter()
            .for_each(Runtime::shutdown_background);
    }
}

/// From now on the current thread never interrupts another one, and has less of a processor that both want; but its
/// share, because it may hold the aggregate's lock.
pub(super) fn step_aside() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        use thread_priority::{ThreadPriority, ThreadPriorityValue};
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        let priority = priority_of_nice(*USUAL_NICE + ASIDE);
        let set = ThreadPriorityValue::try_from(priority).map(|priority| {
            let priority = ThreadPriority::Crossplatform(priority);
            set_thread_priority_and_policy(thread_native_id(), priority, batch)
        });
        if !matches!(set, Ok(Ok(()))) {
            tracing::debug!(?set, "a thread that should step aside runs like any other");
        }
    }
}

/// What `thread_priority` calls a nice value of Linux: it puts -20 to 19 on 99 to 0, and rounds down.
#[cfg(target_os = "linux")]
fn priority_of_nice(nice: i32) -> u8 {
    let exact = (2 * 19 - 2 * nice - 1) * 99 / (2 * 39);
    u8::try_from(exact.clamp(0, 99)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_stands_apart_runs_on_other_threads_which_step_aside() {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };
        let usual = rustix::process::getpriority_process(None).unwrap();
        let look = || {
            let nice = rustix::process::getpriority_process(None).unwrap();
            (nice, thread_schedule_policy().unwrap())
        };
        let here = look();
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        let there = ((usual + ASIDE).min(19), batch);
        let apart = Apart::start().unwrap();
        let runtime = apart.handle().unwrap().clone();
        let working = runtime.spawn(async move { look() });
        assert_eq!(runtime.block_on(working).unwrap(), there);
        let blocking = {
            let _there = apart.enter();
            tokio::task::spawn_blocking(look)
        };
        assert_eq!(runtime.block_on(blocking).unwrap(), there);
        assert_eq!(look(), here);
        assert_ne!(here, there);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_nice_value_is_the_one_that_is_set() {
        use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
        use thread_priority::{ThreadPriority, ThreadPriorityValue};
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        for nice in -19..=19 {
            let priority = ThreadPriorityValue::try_from(priority_of_nice(nice)).unwrap();
            let set = ThreadPriority::Crossplatform(priority).to_posix(batch);
            assert_eq!(set.unwrap(), nice);
        }
    }

    #[tokio::test]
    async fn it_may_end_within_a_task() {
        let apart = Apart::start().unwrap();
        let pending = {
            let _there = apart.enter();
            tokio::spawn(std::future::pending::<()>())
        };
        drop(apart);
        assert!(pending.await.unwrap_err().is_cancelled());
    }
}
