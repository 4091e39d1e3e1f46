//! Stops everything, in order and in time.
//!
//! The runtime of a container kills a process that has not ended 10 s after it was told to. All steps of a
//! stop therefore share one budget, whatever hangs: clients, the disk, the engine. Each step has a deadline
//! counted from the beginning, and time that one step does not need is left to the next. No acknowledged
//! batch depends on the stop: it is in the journal, and the next start continues from there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tillwatch_engine::Supervisor;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::listener::Drain;
use crate::pipeline::error::ServeError;
use crate::pipeline::running::Running;

/// The moment by which requests under way are answered.
pub(super) const DRAINED_BY: Duration = Duration::from_millis(2_500);
/// How long requests have; what waits for a client (a body, an answer read slowly) has less.
pub(super) const DRAIN: Drain = Drain {
    clients: Duration::from_millis(2_000),
    all: DRAINED_BY,
};
/// The moment by which the journal has synced and closed and the aggregate has applied its last record.
const CLOSED_BY: Duration = Duration::from_millis(4_000);
/// The moment by which what is open is an epoch.
const SEALED_BY: Duration = Duration::from_millis(5_500);
/// The moment by which the outbox is shipped, if ClickHouse answers.
const SHIPPED_BY: Duration = Duration::from_millis(6_500);
/// The moment by which the embedded engine has finished, or is killed.
const ENGINE_BY: Duration = Duration::from_millis(7_200);
/// The moment by which requests to the admin listener are answered and the process ends.
const ENDED_BY: Duration = Duration::from_millis(7_700);
/// How long a request to the admin listener may go on after that.
const ADMIN_GRACE: Duration = Duration::from_millis(400);
pub(super) const ADMIN_DRAIN: Drain = Drain {
    clients: Duration::from_millis(300),
    all: ADMIN_GRACE,
};

/// How long the engine gets at the least, before it is killed.
const ENGINE_MIN: Duration = Duration::from_millis(300);

const _: () = {
    // With the time that the process needs to go, below the 10 s after which it would be killed.
    assert!(ENDED_BY.as_millis() + ADMIN_GRACE.as_millis() < 9_000);
};

/// The switch that ends the tasks, and the tasks: sealing, shipping.
pub(super) type Tasks = (watch::Sender<bool>, JoinHandle<()>, JoinHandle<()>);

/// An end that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    began: Instant,
}

impl Stop {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Waits for what comes of `work`; `None` if it has not by then.
    async fn by<T>(self, moment: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.began + moment, work)
            .await
            .ok()
    }

    /// Waits for a listener's end, and ends it if that does not come.
    pub(super) async fn close(self, listener: JoinHandle<()>, moment: Duration) {
        let abort = listener.abort_handle();
        // A listener ends by itself before; this is for one that hangs.
        if self.by(moment + ADMIN_GRACE, listener).await.is_none() {
            abort.abort();
        }
    }

    pub(super) async fn close_admin(self, listener: JoinHandle<()>) {
        self.close(listener, ENDED_BY).await;
    }

    pub(super) async fn end_engine(self, supervisor: Option<Supervisor>) {
        if let Some(supervisor) = supervisor {
            let left = (self.began + ENGINE_BY).saturating_duration_since(Instant::now());
            supervisor.stop_within(left.max(ENGINE_MIN)).await;
        }
    }
}

impl Running {
    /// Brings all that was taken in to disk, into an epoch and, if ClickHouse answers in time, to it.
    pub(super) async fn drain(&mut self, stop: Stop, tasks: Tasks) -> Result<(), ServeError> {
        let supervisor = self.database.supervisor.take();
        let settled = self.settle(stop, tasks).await;
        stop.end_engine(supervisor).await;
        if !matches!(settled, Ok(true)) {
            // Closing the state file needs the disk, which may be what hangs; its own log is enough for
            // the next start.
            std::mem::forget(Arc::clone(&self.sealer.state));
        }
        settled.map(drop)
    }

    /// Settles everything, and says whether all was done in time.
    async fn settle(&mut self, stop: Stop, tasks: Tasks) -> Result<bool, ServeError> {
        tracing::info!("stopping: sealing and shipping");
        let (end_tasks, sealing, shipping) = tasks;
        let journal = self.sealer.journal.clone();
        let closing = tokio::task::spawn_blocking(move || journal.shutdown());
        match stop.by(CLOSED_BY, closing).await {
            Some(Ok(Ok(()))) => {}
            Some(_) => return Err(ServeError::Halted),
            None => return Err(ServeError::DiskSilent),
        }
        if let Some(aggregate) = self.aggregate.take() {
            let applying = tokio::task::spawn_blocking(move || aggregate.join());
            match stop.by(CLOSED_BY, applying).await {
                Some(Ok(Ok(()))) => {}
                Some(_) => return Err(ServeError::Died("aggregate")),
                None => return Ok(late("the aggregate was behind")),
            }
        }
        // The tasks are told only now: the aggregate may have been waiting for a seal to make room.
        let _running = end_tasks.send(true);
        let last_seal = async {
            let _ended = shipping.await;
            let _ended = sealing.await;
            self.sealer.seal().await;
        };
        if stop.by(SEALED_BY, last_seal).await.is_none() {
            return Ok(late("the last seal takes too long"));
        }
        match stop.by(SHIPPED_BY, self.shipper.ship_rest()).await {
            Some(Ok(())) => tracing::info!("stopped; everything sealed is confirmed"),
            _ => tracing::info!(
                "stopped; what is not confirmed waits in the outbox for the next start"
            ),
        }
        Ok(true)
    }
}

/// Logs that the end comes before everything is done; nothing is lost.
fn late(why: &'static str) -> bool {
    tracing::error!(
        why,
        "stopping without the last seal; its samples wait in the journal for the next start"
    );
    false
}
