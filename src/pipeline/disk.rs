//! Looks up, on a thread of its own, the numbers that only the disk can tell, and whether the disk answers.
//!
//! A disk that hangs (a controller that resets, a network volume that is gone, a frozen file system)
//! reports no error: every call to it just waits. A task that must answer in time therefore never calls the
//! disk. `/metrics` waits a moment for the thread and then shows the last known numbers with their age;
//! `/readyz` looks at how long the journal's thread has been in a write or a sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use metrics::gauge;
use tillwatch_journal::Keeper;
use tillwatch_model::metric::to_float;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::health::Health;
use crate::persist::State;
use crate::pipeline::error::ServeError;
use crate::pipeline::process;
use crate::self_metrics as names;
use crate::throttle::Throttle;
use crate::world::World;

/// How long `/metrics` waits for the disk. A look takes a millisecond.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A write or sync that has been under way for so long is no slow one: then the collector is not ready.
/// The slowest healthy disks, under a burst of another program, take about a second.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// How often the time of a write or sync is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(250);

static NO_OUTBOX: Throttle = Throttle::new("the outbox could not be read");

/// Looks at the disk when asked.
pub(super) struct DiskLook {
    asked: SyncSender<()>,
    tickets: Arc<AtomicU64>,
    done: watch::Receiver<Done>,
}

/// What the last look found.
#[derive(Clone, Copy)]
struct Done {
    ticket: u64,
    at: Instant,
}

impl DiskLook {
    /// Starts the thread, which ends when this is dropped and it has come back from the disk.
    pub(super) fn start(
        state: Arc<State>,
        data_dir: PathBuf,
        world: &World,
    ) -> Result<Self, ServeError> {
        // One question that waits is enough: one look answers all who ask until then.
        let (asked, questions) = std::sync::mpsc::sync_channel(1);
        let tickets = Arc::new(AtomicU64::new(0));
        let first = Done {
            ticket: 0,
            at: Instant::now(),
        };
        let (done, look) = watch::channel(first);
        let looker = Looker {
            questions,
            tickets: Arc::clone(&tickets),
            done,
            state,
            data_dir,
            clock: world.clock.clone(),
        };
        let looking = world.tasks.thread("disk-look", move || looker.run());
        looking.map_err(|error| ServeError::Setup(error.to_string()))?;
        Ok(Self {
            asked,
            tickets,
            done: look,
        })
    }

    /// Looks again, and waits a moment for what is found.
    pub(super) async fn refresh(&self) {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        // The channel is full when one question waits, whose look begins after this.
        let _waits = self.asked.try_send(());
        let mut done = self.done.clone();
        let looked = done.wait_for(|done| done.ticket >= ticket);
        let _is_late = tokio::time::timeout(LOOK_MAX, looked).await.is_err();
        let age = self.done.borrow().at.elapsed();
        gauge!(names::DISK_LOOK_AGE).set(age.as_secs_f64());
    }
}

struct Looker {
    questions: Receiver<()>,
    tickets: Arc<AtomicU64>,
    done: watch::Sender<Done>,
    state: Arc<State>,
    data_dir: PathBuf,
    clock: Clock,
}

impl Looker {
    fn run(self) {
        while self.questions.recv().is_ok() {
            let ticket = self.tickets.load(Ordering::SeqCst);
            process::look_at_disk(&self.data_dir);
            self.look_at_outbox();
            let at = Instant::now();
            self.done.send_replace(Done { ticket, at });
        }
    }

    fn look_at_outbox(&self) {
        match self.state.outbox_totals() {
            Ok(totals) => {
                gauge!(names::OUTBOX_EPOCHS).set(to_float(totals.epochs));
                gauge!(names::OUTBOX_BYTES).set(to_float(totals.bytes));
                let oldest_ms = totals.oldest_ms.unwrap_or(0).max(0).cast_unsigned();
                gauge!(names::OUTBOX_OLDEST).set(to_float(oldest_ms) / 1_000.0);
                let age_ms = |oldest_ms| self.clock.now_ms() - oldest_ms;
                let age_ms = totals.oldest_ms.map_or(0, age_ms);
                let age_ms = age_ms.max(0).cast_unsigned();
                gauge!(names::OUTBOX_LAG).set(to_float(age_ms) / 1_000.0);
            }
            Err(error) => {
                if let Some(suppressed) = NO_OUTBOX.pass() {
                    tracing::warn!(
                        error = crate::logging::chain(&error),
                        suppressed,
                        "the outbox could not be read"
                    );
                }
            }
        }
    }
}

/// Tells health, and the log, when the disk stops answering and when it answers again.
pub(super) async fn watch(journal: Keeper, health: Arc<Health>) {
    let mut was_silent = false;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let wait = journal.disk_wait();
        let is_silent = wait >= SILENT_AFTER;
        if is_silent && !was_silent {
            tracing::error!(
                "the disk does not answer: a write or sync of the journal has been under way for {} s. Batches wait \
                 for it unacknowledged; /readyz says 503",
                wait.as_secs()
            );
        } else if was_silent && !is_silent {
            tracing::info!("the disk answers again");
        }
        was_silent = is_silent;
        health.is_disk_silent.store(is_silent, Ordering::Relaxed);
    }
}
