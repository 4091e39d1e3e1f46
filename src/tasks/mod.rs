//! Starts each task and thread, gives it a name, and notices when it panics; keeps what blocks away from the threads
//! that serve requests.
//!
//! A panic ends only its own task. The process would then continue without the task: it would accept
//! batches and, for instance, never seal them. [`Tasks::died`] therefore tells of the panic and the process
//! ends; the next start finds every acknowledged batch in the journal.
//!
//! | file | what |
//! |---|---|
//! | `apart.rs` | threads of their own for those who look, so that they never keep terminals waiting |
//! | `background.rs` | work that only takes what others leave of the processors |

mod apart;
mod background;

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

pub use crate::tasks::apart::Apart;
use crate::tasks::background::run_in_background;
pub use crate::tasks::background::standing_back;

/// Starts tasks and threads; clones watch over the same ones.
#[derive(Debug, Clone)]
pub struct Tasks(watch::Sender<Option<&'static str>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

/// Lives as long as the work it is about.
struct Mourner {
    tasks: Tasks,
    name: &'static str,
}

impl Drop for Mourner {
    fn drop(&mut self) {
        // Work that is aborted, or has come to its end, does not panic.
        if std::thread::panicking() {
            self.tasks.0.send_replace(Some(self.name));
        }
    }
}

impl Tasks {
    fn mourner(&self, name: &'static str) -> Mourner {
        Mourner {
            tasks: self.clone(),
            name,
        }
    }

    /// Starts a task that the process cannot go on without.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let mourner = self.mourner(name);
        tokio::spawn(async move {
            let _mourner = mourner;
            work.await
        })
    }

    /// Starts a task for one client: what goes wrong there concerns nobody else.
    pub fn spawn_for_client<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        tokio::spawn(work)
    }

    /// Starts a thread that the process cannot go on without.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<std::thread::JoinHandle<T>> {
        let mourner = self.mourner(name);
        self.thread_for_client(name, move || {
            let _mourner = mourner;
            work()
        })
    }

    /// Starts a thread for one client: what goes wrong there concerns nobody else.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn thread_for_client<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<std::thread::JoinHandle<T>> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(work)
    }

    /// Waits until one of those has panicked that the process cannot go on without; its name.
    pub async fn died(&self) -> &'static str {
        let mut died = self.0.subscribe();
        let name = died.wait_for(Option::is_some).await;
        // The sender is `self`: it cannot be gone.
        name.ok().and_then(|name| *name).unwrap_or("task")
    }
}

/// Runs work that blocks or takes long, beside the few threads that serve requests, and only some of it at once:
/// the rest waits for its turn without a thread. Clones share the turns.
#[derive(Debug, Clone)]
pub struct Jobs {
    turns: Arc<Semaphore>,
    is_background: bool,
}

impl Jobs {
    /// At most so many jobs at once, and at least one.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once.max(1))),
            is_background: false,
        }
    }

    /// The same, of jobs that only take what others leave of the processors. A thread that serves terminals and wakes
    /// up would otherwise wait for some milliseconds until the job's time is over.
    #[must_use]
    pub fn in_background(at_once: usize) -> Self {
        Self {
            is_background: true,
            ..Self::new(at_once)
        }
    }

    /// Waits for a turn, for work that another process does on the same processors. Whoever holds one must not run a
    /// job: it would wait for itself.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Runs a job when it is its turn. Whoever waits may go away: a job that has begun keeps its turn to its end. A
    /// panic of the job is one of whoever waits for it.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let job = move || {
            let done = job();
            drop(turn);
            done
        };
        if self.is_background {
            return run_in_background(job).await;
        }
        match tokio::task::spawn_blocking(job)
            .await
            .map_err(|ended| ended.try_into_panic())
        {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Only a runtime that ends gives up a job, and with it whoever waits.
            Err(Err(_given_up)) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn as_many_jobs_run_at_once_as_there_are_turns_and_the_runtime_goes_on_meanwhile() {
        let jobs = Jobs::new(2);
        let (release, blocked) = std::sync::mpsc::sync_channel::<()>(3);
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let (begun, mut begins) = tokio::sync::mpsc::channel(3);
        let job = || {
            let (jobs, blocked, begun) = (jobs.clone(), Arc::clone(&blocked), begun.clone());
            tokio::spawn(async move {
                let job = move || {
                    begun.try_send(()).unwrap();
                    // Whoever has the lock waits for the word; the other waits for the lock.
                    blocked.lock().unwrap().recv().unwrap();
                };
                jobs.run(job).await;
            })
        };
        let mut all: Vec<_> = (0..3).map(|_| job()).collect();
        for _ in 0..2 {
            begins.recv().await.unwrap();
        }
        // Whoever asked for them has gone; their turns are still taken.
        for asked in all.drain(..2) {
            asked.abort();
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        begins
            .try_recv()
            .expect_err("the third job waits for a turn");
        release.send(()).unwrap();
        begins.recv().await.unwrap();
        release.send(()).unwrap();
        release.send(()).unwrap();
        all.remove(0).await.unwrap();
    }

    #[tokio::test]
    async fn the_panic_of_a_job_is_that_of_whoever_waits_and_gives_the_turn_back() {
        let jobs = Jobs::new(1);
        let waiting = jobs.clone();
        let waits = tokio::spawn(async move { waiting.run(|| panic!("as a test does")).await });
        let ended: Result<(), _> = waits.await;
        assert!(ended.is_err_and(|error| error.is_panic()));
        assert_eq!(jobs.run(|| 7).await, 7);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_job_in_the_background_stands_back_and_its_panic_is_that_of_whoever_waits() {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };
        let jobs = Jobs::in_background(1);
        let policy = jobs.run(thread_schedule_policy).await.unwrap();
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(policy, idle);
        let waiting = jobs.clone();
        let waits = tokio::spawn(async move { waiting.run(|| panic!("as a test does")).await });
        let ended: Result<(), _> = waits.await;
        assert!(ended.is_err_and(|error| error.is_panic()));
        assert_eq!(jobs.run(|| 7).await, 7);
    }

    async fn died(tasks: &Tasks) -> Option<&'static str> {
        let soon = Duration::from_secs(10);
        tokio::time::timeout(soon, tasks.died()).await.ok()
    }

    #[tokio::test]
    async fn the_panic_of_a_task_or_thread_is_noticed() {
        let tasks = Tasks::default();
        let task = tasks.spawn("sealer", async {
            tokio::task::yield_now().await;
            panic!("as a test does");
        });
        assert_eq!(died(&tasks).await, Some("sealer"));
        let ended: Result<(), _> = task.await;
        assert!(ended.is_err_and(|error| error.is_panic()));

        let tasks = Tasks::default();
        let thread = tasks.thread("aggregate", || panic!("as a test does"));
        assert_eq!(died(&tasks).await, Some("aggregate"));
        let ended: std::thread::Result<()> = thread.unwrap().join();
        ended.unwrap_err();
    }

    #[tokio::test]
    async fn what_ends_in_order_or_is_a_client_s_is_not() {
        let tasks = Tasks::default();
        assert_eq!(tasks.spawn("done", async { 7 }).await.unwrap(), 7);
        let waits = tasks.spawn("aborted", std::future::pending::<()>());
        waits.abort();
        assert!(waits.await.unwrap_err().is_cancelled());
        assert_eq!(tasks.thread("done", || 7).unwrap().join().unwrap(), 7);
        let client = tasks.spawn_for_client(async { panic!("as a test does") });
        let ended: Result<(), _> = client.await;
        ended.unwrap_err();
        assert_eq!(*tasks.0.borrow(), None);
    }
}
