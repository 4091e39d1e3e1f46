//! Durable records into the aggregate, in order, and how far it is behind.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::holdings::Holdings;
use crate::journal::{Commit, HaltCause, Record, Sink};
use crate::model::metric::to_float;
use crate::pipeline::error::ServeError;
use crate::self_metrics as names;

/// Groups that may wait for the aggregate. Past it the journal waits, and then its queue fills.
pub const GROUPS_MAX: usize = 256;

/// A durable group on its way to the aggregate.
#[derive(Debug)]
pub struct Group {
    records: Vec<Record>,
    durable_since: Instant,
}

/// How far the aggregate is behind the journal: since when each group that is not applied has been
/// durable, oldest first. Touched once a group, not once a batch.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<VecDeque<Instant>>);

impl Backlog {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Groups that wait or are being applied, and for how long the oldest of them has been durable.
    pub fn look(&self) -> (usize, Duration) {
        let groups = self.lock();
        let oldest = groups.front();
        (
            groups.len(),
            oldest.map_or(Duration::ZERO, Instant::elapsed),
        )
    }
}

/// Hands each durable group on, and says when the journal has halted.
#[derive(Debug)]
pub struct GroupSink {
    /// To the aggregate's thread.
    pub groups: SyncSender<Group>,
    /// What is on its way.
    pub backlog: Arc<Backlog>,
    /// Told once the journal has halted.
    pub halted: Arc<Notify>,
    sync_seconds: metrics::Histogram,
    group_records: metrics::Histogram,
}

impl GroupSink {
    /// A sink to `groups`.
    pub fn new(groups: SyncSender<Group>, backlog: Arc<Backlog>, halted: Arc<Notify>) -> Self {
        Self {
            groups,
            backlog,
            halted,
            sync_seconds: metrics::histogram!(names::JOURNAL_COMMIT_SECONDS),
            group_records: metrics::histogram!(names::JOURNAL_GROUP_RECORDS),
        }
    }
}

impl Sink for GroupSink {
    fn committed(&mut self, commit: Commit) {
        self.sync_seconds.record(commit.sync);
        self.group_records.record(to_float(commit.records));
    }

    fn durable(&mut self, records: Vec<Record>) {
        let durable_since = Instant::now();
        self.backlog.lock().push_back(durable_since);
        let group = Group {
            records,
            durable_since,
        };
        if self.groups.send(group).is_err() {
            // Only a panic ends the aggregate's thread: what is durable from now on is applied at the
            // next start.
            self.backlog.lock().pop_back();
            tracing::error!("the aggregate has died");
            self.halted.notify_one();
        }
    }

    fn halted(&mut self, cause: &HaltCause) {
        tracing::error!(
            error = crate::logging::chain(cause),
            "the journal has halted"
        );
        self.halted.notify_one();
    }
}

/// Starts the thread that applies groups until the journal is gone.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    holdings: Arc<Holdings>,
    (groups, backlog): (Receiver<Group>, Arc<Backlog>),
    (rows_max, seal_wanted): (usize, Arc<Notify>),
) -> Result<JoinHandle<()>, ServeError> {
    let apply_seconds = metrics::histogram!(names::APPLY_SECONDS);
    let run = move || {
        while let Ok(group) = groups.recv() {
            // Past twice the rows that ask for a seal, the aggregate waits for it.
            holdings.apply(rows_max.saturating_mul(2), |aggregator| {
                for record in group.records {
                    if let Err(error) = aggregator.apply(record.position.0, &record.payload) {
                        tracing::error!(position = record.position.0, %error, "a record could not be read");
                    }
                }
                if aggregator.rows() >= rows_max {
                    seal_wanted.notify_one();
                }
            });
            apply_seconds.record(group.durable_since.elapsed());
            backlog.lock().pop_front();
        }
    };
    let thread = std::thread::Builder::new().name("aggregate".to_owned());
    thread
        .spawn(run)
        .map_err(|error| ServeError::Setup(error.to_string()))
}
