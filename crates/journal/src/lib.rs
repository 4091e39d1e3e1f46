//! The write-ahead journal makes records durable before they are acknowledged.
//!
//! Callers append opaque bytes, which get ascending positions. Many threads append. One thread
//! writes everything that has queued up with one write, makes it durable with one `fdatasync`, hands it
//! to the [`Sink`] in order, and only then completes the appends.
//!
//! # Promises
//!
//! 1. An append completes with `Ok` only after `fdatasync` returned for all of its records.
//! 2. After a crash at any moment, [`Journal::open`] replays every acknowledged record above
//!    `applied`, in order, once, and none that was never appended.
//! 3. After a failed write or sync the journal is halted until the process starts anew: it acknowledges
//!    nothing any more and never retries the sync.
//! 4. While the disk is full or the budget is used up, the journal refuses appends and loses nothing;
//!    when there is room again, it continues by itself.
//! 5. A torn tail was never acknowledged and is cut. Any other unreadable place is damage: it is
//!    counted, the segment is copied to `quarantine/`, and reading goes on behind the place. Nothing is
//!    deleted before it is released.
//! 6. Queue, segments and records have limits, so memory and disk are bounded.
//! 7. [`Journal::open`] reports everything that is missing, unreadable or under another name. It knows
//!    of a missing end only as far as the note beside the folder reaches.
//!
//! The journal does not promise one thing: if the disk destroys the last acknowledged groups, and neither
//! a later record nor the note says that they were durable, the loss looks like a torn tail. The note is
//! written within 100 ms of traffic and [`Settings::idle_mark`] after it. A power cut may take the last
//! seconds of the note, but never the entry that a segment was in use.
//!
//! # On disk
//!
//! ```text
//! LOCK                          locked while open; holds the id of the process
//! j-<sequence>.seg              segments, in the order of their sequence (16 hexadecimal digits)
//! ready-<id>.seg                prepared: zero-filled or released before, taken for the next segment
//! ready-<id>.tmp                being prepared
//! quarantine/j-<sequence>.seg   copies of damaged segments, for people
//! ../<folder>.note              how far the journal has come
//! ```
//!
//! The bytes of a segment are in `format.rs` and `docs/formats/journal_v1.md`.
//!
//! The header of a segment names its first position, and voids that position and all higher ones in
//! earlier segments. Recovery therefore never changes a file that holds records: it cuts or replaces a
//! tail by starting the next segment.
//!
//! # Files
//!
//! | file | holds |
//! |---|---|
//! | `settings.rs` | folder, limits, group commit |
//! | `format.rs` | bytes and checksums |
//! | `payloads.rs` | what an append carries, framed once |
//! | `queue.rs` | where appends wait |
//! | `writer.rs` | the thread that writes, syncs, acknowledges |
//! | `pool.rs` | the thread that prepares segments and takes released ones back |
//! | `segment.rs` | one file: prepared, started, retired |
//! | `reader.rs` | the records in the bytes of a segment, whatever the bytes are |
//! | `listing.rs` | what lies in the folder, by names, first pages and the note |
//! | `survey.rs` | torn tail or damage |
//! | `note.rs` | how far it has come, noted outside the folder |
//! | `keeper.rs` | what callers may do that append nothing: ask how it stands, give up what is sealed, close it |
//! | `quarantine.rs` | copies of damaged segments |
//! | `recovery.rs` | opening after whatever happened |
//! | `told.rs` | what opening finds and tells |
//! | `search.rs` | looks for records in a journal that is in use |
//! | `inspect.rs` | looking without opening |
//! | `disk.rs` | the file system as the journal sees it |
//! | `error.rs` | what can go wrong, and what to do about it |
//!
//! # Words
//!
//! - A **record** is one payload at one position.
//! - An **append** is one or more payloads that become durable together.
//! - A **group** is the appends that share a write and a sync.
//! - A **segment** is a file of records.
//! - A **durable mark** is the highest position known to be durable when a record was written.
//! - The **applied** position is the one up to which the caller has stored everything elsewhere, and a
//!   **release** tells the journal so.
//! - The **note** is the file beside the folder that says how far the journal has come.
//! - A **loss** is acknowledged records that are not there any more.
//!
//! # Not here
//!
//! The journal does not know what payloads mean, and has no async code, metrics, retries, compression or
//! replication.

mod disk;
mod error;
mod format;
mod inspect;
mod keeper;
mod listing;
mod note;
mod payloads;
mod pool;
mod quarantine;
mod queue;
pub mod reader;
mod recovery;
mod search;
mod segment;
mod settings;
mod survey;
mod told;
mod writer;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use self::disk::{Disk, DiskFile, Lock, RealDisk};
pub use self::error::{AppendError, HaltCause, OpenError};
pub use self::format::{
    HeaderFault, Kind, PAYLOAD_BYTES_MAX, RecordHeader, SEGMENT_BYTES_MIN, SegmentHeader,
};
pub use self::inspect::{
    Outline, SegmentReport, Verification, holder, inspect, outline, read_records, verify,
    verify_with,
};
pub use self::keeper::Keeper;
pub use self::note::{Noted, note_path};
pub use self::payloads::{PayloadWriter, Payloads, Record};
pub use self::search::search;
pub use self::settings::Settings;
pub use self::survey::Tally;
pub use self::told::{Loss, Recovery, Replay};

use self::note::Note;
use self::pool::{Pool, Segments};
use self::queue::Shared;
use self::writer::Writer;

/// Where a record lies: 1, 2, 3, …, rising, never used twice. Some numbers may be left out after a
/// crash. 0 stands for nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Who is told that an append is durable, or never will be by this process. Called on the
/// journal's thread, or on the appending one if it is refused there: must be quick.
pub trait Completion: Send + 'static {
    /// `Ok` with the position of the append's last record: it is durable. `Err`: it must not be
    /// acknowledged; after [`AppendError::Halted`] it may still turn up in a later replay.
    fn complete(self, result: Result<Position, AppendError>);

    /// Completes as [`Completion::complete`] with `Ok`, for those who want to know how long it took.
    fn durable(self, position: Position, _times: CommitTimes)
    where
        Self: Sized,
    {
        self.complete(Ok(position));
    }
}

/// When the group of an append was written.
#[derive(Clone, Copy, Debug)]
pub struct CommitTimes {
    /// The journal's thread took the append in hand; until then it waited.
    pub taken: Instant,
    /// When `fdatasync` had returned.
    pub synced: Instant,
}

/// What one `fdatasync` did.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Records that it made durable.
    pub records: u64,
    /// How long the `fdatasync` took.
    pub sync: Duration,
}

impl<F: FnOnce(Result<Position, AppendError>) + Send + 'static> Completion for F {
    fn complete(self, result: Result<Position, AppendError>) {
        self(result);
    }
}

/// Receives every durable group, in order, on the journal's thread, before its appends complete.
pub trait Sink: Send + 'static {
    /// May block: then appends wait in the queue, and past its limits are refused.
    fn durable(&mut self, records: Vec<Record>);

    /// Told of each group before [`Sink::durable`].
    fn committed(&mut self, _commit: Commit) {}

    /// The journal has halted and every waiting append was told. Called once; end the process.
    fn halted(&mut self, _cause: &HaltCause) {}
}

/// What the journal says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments that hold records, the one in use included.
    pub live_segments: u64,
    /// Prepared segments.
    pub ready_segments: u64,
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// Bytes of records that are not released, rounded up to whole sealed segments.
    pub unreleased_bytes: u64,
    /// The budget from the settings.
    pub budget_bytes: u64,
    /// The highest durable position.
    pub durable: Position,
    /// Groups written.
    pub groups: u64,
    /// Appends made durable.
    pub appends: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes written to segments, headers and padding included.
    pub written_bytes: u64,
    /// Syncs of the segment in use.
    pub syncs: u64,
    /// Time spent in the syncs.
    pub sync_time: Duration,
    /// Appends that wait or are being written.
    pub queued_appends: usize,
    /// The bytes of those appends.
    pub queued_bytes: usize,
    /// Failed tries to prepare a segment or to take one back.
    pub segment_failures: u64,
    /// Failed tries to note how far the journal is; the note lags then.
    pub note_failures: u64,
    /// Whether appends are refused because budget or disk are full.
    pub is_full: bool,
    /// Whether a write or a sync failed: end the process.
    pub is_halted: bool,
}

/// An open journal. Clones are the same journal; it is shut down with the last of them at the
/// latest.
pub struct Journal<C: Completion> {
    inner: Arc<Inner<C>>,
}

struct Inner<C: Completion> {
    shared: Arc<Shared<C>>,
    note: Arc<Note>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    pool: JoinHandle<()>,
    /// Given back after both have ended.
    _lock: Box<dyn Any + Send + Sync>,
}

impl<C: Completion> Clone for Journal<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C: Completion> fmt::Debug for Journal<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Journal")
            .field("stats", &self.stats())
            .finish()
    }
}

impl<C: Completion> Journal<C> {
    /// Opens the folder, makes it if need be, and recovers. Hands every record after `applied` to
    /// `replay`, in order, then starts the journal's threads. `sink` gets only what is appended
    /// from then on. If `replay` breaks, nothing is lost and the journal is not open.
    pub fn open<S: Sink>(
        settings: Settings,
        disk: Arc<dyn Disk>,
        applied: Position,
        replay: &mut dyn Replay,
        sink: S,
    ) -> Result<(Self, Recovery), OpenError> {
        settings.check()?;
        let dir = settings.dir.clone();
        disk.create_dir(&dir)
            .map_err(OpenError::disk("create", &dir))?;
        let lock_path = dir.join(segment::LOCK);
        let lock = match disk
            .lock(&lock_path)
            .map_err(OpenError::disk("lock", &lock_path))?
        {
            Lock::Held(lock) => lock,
            Lock::HeldBy(pid) => return Err(OpenError::InUse { dir, pid }),
        };
        let opened = recovery::open(&settings, &*disk, applied.0, replay)?;
        let pool = Arc::new(Pool::new(
            Arc::clone(&disk),
            Arc::clone(&opened.note),
            settings.clone(),
            Segments {
                sealed: opened.sealed,
                ready: opened.ready,
                ready_id_next: opened.ready_id_next,
            },
            applied.0,
        ));
        let shared = Arc::new(Shared::new(settings, Arc::clone(&pool), opened.durable));
        shared
            .counters
            .active_bytes
            .store(opened.active.offset, Ordering::Relaxed);
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk,
            note: Arc::clone(&opened.note),
            journal_id: opened.recovery.journal_id,
            active: opened.active,
            durable: opened.durable,
            next_position: opened.next_position,
            marked: opened.marked,
            buffer: Vec::new(),
            sink,
        };
        let spawning = |source: io::Error| OpenError::Disk {
            operation: "start the threads of",
            path: dir.clone(),
            source,
        };
        let pool_thread = {
            let pool = Arc::clone(&pool);
            thread::Builder::new()
                .name("journal-pool".to_owned())
                .spawn(move || pool.run())
                .map_err(&spawning)?
        };
        let writer_thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run());
        let writer_thread = writer_thread.map_err(|error| {
            pool.stop();
            spawning(error)
        })?;
        let threads = Mutex::new(Some(Threads {
            writer: writer_thread,
            pool: pool_thread,
            _lock: lock,
        }));
        Ok((
            Self {
                inner: Arc::new(Inner {
                    shared,
                    note: opened.note,
                    threads,
                }),
            },
            opened.recovery,
        ))
    }

    /// Queues one append: all of its payloads become durable together, at neighbouring positions.
    /// Never waits. On an error nothing was taken in and the completion is given back, uncalled;
    /// otherwise it will be called, once.
    pub fn append(&self, payloads: Payloads, completion: C) -> Result<(), (AppendError, C)> {
        self.inner.shared.append(payloads, completion)
    }

    /// Every record at or below `applied` is at rest elsewhere, durably: its segments may be
    /// reused. Never goes back.
    pub fn release(&self, applied: Position) {
        // What is not even durable here cannot be at rest elsewhere.
        let applied = applied.0.min(self.durable().0);
        self.inner.shared.pool.release(applied);
        // After a shutdown nobody else notes the released position.
        if self.inner.threads().is_none() {
            self.inner.note.released(applied);
        }
    }

    /// The highest durable position.
    pub fn durable(&self) -> Position {
        Position(self.inner.shared.counters.durable.load(Ordering::Acquire))
    }

    /// Whether a write or a sync failed. Then every append is refused: end the process.
    pub fn is_halted(&self) -> bool {
        self.inner.shared.counters.halted.load(Ordering::SeqCst)
    }

    /// The state of the journal now.
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let counters = &shared.counters;
        let level = shared.pool.level();
        let (queued_appends, queued_bytes) = shared.queued();
        Stats {
            live_segments: level.live_segments,
            ready_segments: level.ready_segments,
            used_bytes: (level.live_segments + level.ready_segments)
                * shared.settings.segment_bytes,
            unreleased_bytes: level.unreleased_bytes
                + counters.active_bytes.load(Ordering::Relaxed),
            budget_bytes: shared.settings.budget_bytes,
            durable: self.durable(),
            groups: counters.groups.load(Ordering::Relaxed),
            appends: counters.appends.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            sync_time: Duration::from_nanos(counters.sync_nanos.load(Ordering::Relaxed)),
            queued_appends,
            queued_bytes,
            segment_failures: level.failures,
            note_failures: self.inner.note.failures(),
            is_full: shared.pool.no_room().is_some(),
            is_halted: self.is_halted(),
        }
    }

    /// How long the write or sync under way has taken so far; zero when there is none. A disk that
    /// hangs fails nothing: this is how it shows.
    pub fn disk_wait(&self) -> Duration {
        self.inner.shared.under_way.age()
    }

    /// The most bytes that may wait for the disk.
    pub fn queue_bytes_max(&self) -> usize {
        self.inner.shared.settings.queue_bytes_max
    }

    /// Takes no more appends, makes durable what is queued, completes it, notes on disk that all
    /// of it is durable, and gives the folder free. Other clones are closed with it.
    ///
    /// Blocks: not for an async thread, and not from a [`Completion`] or a [`Sink`].
    pub fn shutdown(self) -> Result<(), AppendError> {
        self.inner.shut_down();
        if self.is_halted() {
            Err(AppendError::Halted)
        } else {
            Ok(())
        }
    }

    /// The folder of the journal.
    pub fn dir(&self) -> &PathBuf {
        &self.inner.shared.settings.dir
    }
}

impl<C: Completion> Inner<C> {
    fn threads(&self) -> MutexGuard<'_, Option<Threads>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut_down(&self) {
        self.shared.close();
        let threads = self.threads().take();
        let Some(threads) = threads else { return };
        // The last clone may die in a completion, on the writer's own thread, which then ends by
        // itself.
        if threads.writer.thread().id() != thread::current().id() {
            // The writer catches panics and has told of them.
            let _ = threads.writer.join();
        }
        self.shared.pool.stop();
        let _ = threads.pool.join();
    }
}

impl<C: Completion> Drop for Inner<C> {
    fn drop(&mut self) {
        self.shut_down();
    }
}
