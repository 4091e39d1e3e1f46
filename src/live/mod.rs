//! Stage 5c shows people the fleet while it happens: rows of stores with what is worst about each, told to all who look
//! as soon as they change.
//!
//! Nothing on the path of a batch knows of it. Whether a store has reported is seen from the number of its batches, which
//! the aggregate counts anyway. While nobody looks, each store is looked at every fifteen seconds, because what changed in
//! the last hour must be known to whoever comes.
//!
//! | file | what |
//! |---|---|
//! | `look.rs` | copies what a row says of a store out of the aggregate |
//! | `shown.rs` | where the numbers that are shown stand among all that is held |
//! | `row.rs` | a store as a row: how it is, and why |
//! | `all.rs` | the fleet as a whole |
//! | `held.rs`, `board.rs` | the rows as they were looked at last, and what is another since |
//! | `spark.rs` | the last hour, a character a minute |
//! | `changes.rs` | which stores came into trouble or out of it |
//! | `detail.rs` | one store, with its terminals |
//! | `pulse.rs` | the path of batches, second by second |
//! | `packed.rs` | events, packed once for all who read |
//! | `bell.rs` | wakes those who read, a few at a time |
//! | `hub.rs` | what is on its way to those who read |
//! | `answer.rs` | what is answered and sent |
//! | `reader.rs` | one who reads |
//! | `refresh.rs` | looks, and tells |
//! | `hand_over.rs` | hands over what a reader has not got yet |
//!
//! **Promises**
//! 1. What was applied before a question is in its answer. A stream tells of it within a quarter of a second.
//! 2. A reader who is too slow gets a new snapshot in place of what it missed; what waits is bounded, and shared.
//! 3. A store is told of at most four times a second.

mod all;
mod answer;
mod bell;
mod board;
mod changes;
mod detail;
mod hand_over;
mod held;
mod hub;
mod look;
mod packed;
mod pulse;
mod reader;
mod refresh;
mod row;
mod shown;
mod spark;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::fleet::Watch;
use crate::holdings::Holdings;
use crate::self_metrics as names;
use crate::tasks::Jobs;

pub use answer::{FleetAnswer, LiveEvent, PipelineAnswer};
pub use board::Past;
pub use changes::{CHANGES_MAX, Change, ChangesAnswer, OfRelease};
pub use detail::Detail;
pub use pulse::Counted;
pub use reader::{Reader, Topics};

use bell::Bell;
use board::Board;
use changes::Changes;
use hub::Hub;

/// Streams that may be open at once.
pub const READERS_MAX: usize = 1_000;
/// A stream that says nothing for so long says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Looks at once: one at the board, others wait for it. What is looked at is copied on threads that get their
/// share of a processor ([`Apart`](crate::tasks::Apart)), because the lock of the aggregate is held for moments, and whoever
/// waits for that lock waits for the copying. What is made of the copy stands back: only those who ask about the fleet wait
/// for it.
const JOBS: usize = 2;

/// What `Live` is made of.
pub struct Parts {
    /// What is held.
    pub holdings: Arc<Holdings>,
    /// What the silence of terminals is judged by.
    pub watch: Arc<Watch>,
    /// The time.
    pub clock: Clock,
    /// The position up to which the journal is durable.
    pub durable: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Every counter and gauge of the collector as a JSON object.
    pub series: Box<dyn Fn() -> String + Send + Sync>,
    /// Keeps a change over restarts.
    pub keep: Box<dyn Fn(&Change) + Send + Sync>,
    /// Changes that were kept, the latest first.
    pub kept: Vec<Change>,
}

/// The fleet while it happens.
pub struct Live {
    holdings: Arc<Holdings>,
    watch: Arc<Watch>,
    clock: Clock,
    durable: Box<dyn Fn() -> u64 + Send + Sync>,
    series: Box<dyn Fn() -> String + Send + Sync>,
    keep: Box<dyn Fn(&Change) + Send + Sync>,
    started_ms: i64,
    board: Mutex<Board>,
    pulse: Mutex<pulse::Pulse>,
    hub: Mutex<Hub>,
    /// Rung whenever there is something to read.
    bell: Bell,
    /// Told when the first reader comes.
    wanted: Notify,
    readers: AtomicUsize,
    is_over: AtomicBool,
    jobs: Jobs,
    /// Held by whoever makes a snapshot, so that a crowd makes one.
    snapshots: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Nobody looks yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            holdings,
            watch,
            clock,
            durable,
            series,
            keep,
            kept,
        } = parts;
        let layout = holdings.read(|aggregator| Arc::clone(aggregator.live().layout()));
        let started_ms = clock.now_ms();
        // They start at 0.
        metrics::gauge!(names::LIVE_STREAMS).set(0.0);
        metrics::counter!(names::LIVE_SNAPSHOTS).absolute(0);
        Self {
            board: Mutex::new(Board::new(layout, Changes::restored(kept))),
            pulse: Mutex::default(),
            hub: Mutex::new(Hub::new(started_ms)),
            bell: Bell::new(READERS_MAX),
            wanted: Notify::new(),
            readers: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            jobs: Jobs::new(JOBS),
            snapshots: tokio::sync::Mutex::default(),
            holdings,
            watch,
            clock,
            durable,
            series,
            keep,
            started_ms,
        }
    }

    /// Opens a stream, from behind this frame if it is known; `None`: as many are open as may be.
    #[must_use]
    pub fn read(
        self: &Arc<Self>,
        topics: Topics,
        since: Option<u64>,
        is_gzip: bool,
    ) -> Option<Reader> {
        let more = |open: usize| (open < READERS_MAX).then_some(open + 1);
        let before = self
            .readers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        let mut hub = self.hub();
        let place = hub.take_place();
        if let Some(store_id) = &topics.store_id {
            hub.stores.entry(store_id.clone()).or_default().readers += 1;
        }
        drop(hub);
        metrics::gauge!(names::LIVE_STREAMS).increment(1.0);
        if before == 0 {
            self.wanted.notify_waiters();
        }
        Some(Reader::new(
            Arc::clone(self),
            topics,
            since,
            (place, is_gzip),
        ))
    }

    /// When this process started, Unix ms.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Streams that are open.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Acquire)
    }

    /// Tells all who read that the collector stops.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.bell.ring_all();
    }

    fn leave(&self, place: u32, store_id: Option<&str>) {
        let mut hub = self.hub();
        hub.leave_place(place);
        if let Some(store_id) = store_id
            && let Some(topic) = hub.stores.get_mut(store_id)
        {
            topic.readers -= 1;
            if topic.readers == 0 {
                hub.stores.remove(store_id);
            }
        }
        metrics::gauge!(names::LIVE_STREAMS).decrement(1.0);
        if self.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            hub.clear();
        }
    }

    /// Wakes those who read whenever there is something to read, until it is aborted.
    pub async fn wake(&self) {
        self.bell.walk().await;
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
