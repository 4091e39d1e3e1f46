//! Applies durable records to the aggregate, in order, and says how far it is behind.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tillwatch_journal::{Commit, HaltCause, Record, Sink};
use tillwatch_model::metric::to_float;
use tokio::sync::Notify;

use crate::aggregate::row_quota::{Maker, Overdrawn};
use crate::holdings::Holdings;
use crate::intake::{Books, HeldBack};
use crate::pipeline::error::ServeError;
use crate::self_metrics as names;
use crate::tasks::Tasks;

/// Groups that may wait for the aggregate. Past it the journal waits, and then its queue fills.
pub const GROUPS_MAX: usize = 256;
/// Payload that may wait for the aggregate, for the same reason: a group can be as large as the journal's queue. One
/// group more than that is in hand at times. Unit: bytes.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Payload that is applied at once, before whoever waits to read may do so: about a millisecond's work. Unit: bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// A durable group on its way to the aggregate.
#[derive(Debug)]
pub struct Group {
    records: Vec<Record>,
    durable_since: Instant,
}

/// How far the aggregate is behind the journal: since when each group that is not applied has been
/// durable, oldest first, and its bytes. Touched once a group, not once a batch.
#[derive(Debug, Default)]
pub struct Backlog {
    waiting: Mutex<Waiting>,
    shrunk: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    groups: VecDeque<(Instant, usize)>,
    bytes: usize,
    /// The aggregate's thread has ended: nothing is taken off any more.
    is_dead: bool,
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room: none is needed when nothing waits.
    fn push(&self, durable_since: Instant, bytes: usize) {
        let mut waiting = self
            .shrunk
            .wait_while(self.lock(), |waiting| {
                waiting.bytes > 0 && waiting.bytes + bytes > WAITING_BYTES_MAX && !waiting.is_dead
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += bytes;
        waiting.groups.push_back((durable_since, bytes));
    }

    fn pop(&self) {
        let mut waiting = self.lock();
        if let Some((_since, bytes)) = waiting.groups.pop_front() {
            waiting.bytes -= bytes;
        }
        drop(waiting);
        self.shrunk.notify_one();
    }

    /// Groups that wait or are being applied, and for how long the oldest of them has been durable.
    pub fn look(&self) -> (usize, Duration) {
        let waiting = self.lock();
        let oldest = waiting.groups.front();
        (
            waiting.groups.len(),
            oldest.map_or(Duration::ZERO, |(since, _bytes)| since.elapsed()),
        )
    }
}

/// Lets the journal go on when the aggregate's thread ends, also by a panic.
struct Ends(Arc<Backlog>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.lock().is_dead = true;
        self.0.shrunk.notify_all();
    }
}

/// Hands each durable group on, and says when the journal has halted.
#[derive(Debug)]
pub struct GroupSink {
    /// The channel to the aggregate's thread.
    pub groups: SyncSender<Group>,
    /// The backlog of groups on their way to the aggregate.
    pub backlog: Arc<Backlog>,
    /// Told once the journal has halted.
    pub halted: Arc<Notify>,
    sync_seconds: metrics::Histogram,
    group_records: metrics::Histogram,
}

impl GroupSink {
    /// Makes a sink that hands on to `groups`.
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
        let bytes = records.iter().map(|record| record.payload.len()).sum();
        self.backlog.push(durable_since, bytes);
        let group = Group {
            records,
            durable_since,
        };
        if self.groups.send(group).is_err() {
            // Only a panic ends the aggregate's thread: what is durable from now on is applied at the
            // next start.
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

/// What the thread needs that applies groups.
pub struct Applier {
    /// Where groups are applied.
    pub holdings: Arc<Holdings>,
    /// Groups as they become durable.
    pub groups: Receiver<Group>,
    /// The backlog that says how many of these wait.
    pub backlog: Arc<Backlog>,
    /// Open rows with which a seal is asked for.
    pub rows_max: usize,
    /// Told when there are so many.
    pub seal_wanted: Arc<Notify>,
    /// The intake's books, which hold senders of too many rows back.
    pub books: Arc<Books>,
}

impl Applier {
    /// Starts the thread, which applies groups until the journal is gone.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(self, tasks: &Tasks) -> Result<JoinHandle<()>, ServeError> {
        tasks
            .thread("aggregate", move || self.run())
            .map_err(|error| ServeError::Setup(error.to_string()))
    }

    fn run(self) {
        let apply_seconds = metrics::histogram!(names::APPLY_SECONDS);
        let _ends = Ends(Arc::clone(&self.backlog));
        while let Ok(group) = self.groups.recv() {
            for piece in pieces(&group.records) {
                self.apply(piece);
            }
            apply_seconds.record(group.durable_since.elapsed());
            self.backlog.pop();
        }
    }

    fn apply(&self, piece: &[Record]) {
        // With twice the rows that ask for a seal, the aggregate waits for it.
        let rows_max = self.rows_max.saturating_mul(2);
        self.holdings.apply(rows_max, |aggregator| {
            for record in piece {
                if let Err(error) = aggregator.apply(record.position.0, &record.payload) {
                    tracing::error!(position = record.position.0, %error, "a record could not be read");
                }
            }
            hold_back(&self.books.held_back, aggregator.take_overdrawn());
            if aggregator.rows() >= self.rows_max {
                self.seal_wanted.notify_one();
            }
        });
    }
}

/// Tells the intake who has made as many rows as it may.
pub(super) fn hold_back(held_back: &HeldBack, overdrawn: Vec<Overdrawn>) {
    for over in overdrawn {
        let (hour, rows) = (over.hour, over.store_rows);
        match over.maker {
            Maker::Terminal(store_id, terminal_id) => {
                held_back.note(&store_id, Some(&terminal_id), hour, rows);
            }
            Maker::Store(store_id) => held_back.note(&store_id, None, hour, rows),
            Maker::Unnamed(named) => held_back.note_unnamed(named, hour, rows),
        }
    }
}

/// Parts of a group that are applied while nobody can read: each is below [`PIECE_BYTES_MAX`], or one record.
fn pieces(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.payload.len();
            bytes <= PIECE_BYTES_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1);
        // An empty rest cannot be split.
        let (piece, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_aggregate_is_bounded_in_bytes() {
        let backlog = Arc::new(Backlog::default());
        // One group may be larger than the bound, or it could never be applied.
        backlog.push(Instant::now(), WAITING_BYTES_MAX * 2);
        let (pushed, is_pushed) = std::sync::mpsc::sync_channel(1);
        let journal = std::thread::spawn({
            let backlog = Arc::clone(&backlog);
            move || {
                backlog.push(Instant::now(), 1);
                let groups = backlog.look().0;
                pushed.send(groups).unwrap();
            }
        });
        is_pushed
            .recv_timeout(Duration::from_millis(50))
            .expect_err("the second group waits");
        backlog.pop();
        assert_eq!(is_pushed.recv().unwrap(), 1);
        journal.join().unwrap();
    }

    #[test]
    fn a_group_is_applied_in_pieces_of_a_bounded_size() {
        let record = |bytes: usize| Record {
            position: tillwatch_journal::Position(1),
            payload: vec![0; bytes].into(),
        };
        let sizes = [10, 2 * PIECE_BYTES_MAX, 1, PIECE_BYTES_MAX - 1, 1, 1];
        let records: Vec<Record> = sizes.map(record).into();
        let found: Vec<usize> = pieces(&records).map(<[Record]>::len).collect();
        assert_eq!(found, [1, 1, 2, 2]);
        assert_eq!(pieces(&[]).count(), 0);
    }

    #[test]
    fn the_journal_does_not_wait_for_a_dead_aggregate() {
        let backlog = Arc::new(Backlog::default());
        backlog.push(Instant::now(), WAITING_BYTES_MAX);
        drop(Ends(Arc::clone(&backlog)));
        backlog.push(Instant::now(), 1);
        assert_eq!(backlog.look().0, 2);
    }
}
