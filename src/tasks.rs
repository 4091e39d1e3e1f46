//! Starts each task and thread, gives it a name, and notices when it panics.
//!
//! A panic ends only its own task. The process would then continue without the task: it would accept
//! batches and, for instance, never seal them. [`Tasks::died`] therefore tells of the panic and the process
//! ends; the next start finds every acknowledged batch in the journal.

use std::future::Future;
use std::io;

use tokio::sync::watch;
use tokio::task::JoinHandle;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
