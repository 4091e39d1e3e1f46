//! Prepares segments ahead of need and takes back released ones, on a thread of its own, so that
//! neither stalls an append.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::AppendError;
use super::note::Note;
use super::segment::{self, Sealed};
use super::settings::Settings;

const ROOM: u8 = 0;
const NO_BUDGET: u8 = 1;
const NO_SEGMENT: u8 = 2;

/// The segments that are not in use: prepared ones, and those that wait to be released.
#[derive(Debug)]
pub(super) struct Pool {
    disk: Arc<dyn Disk>,
    settings: Settings,
    note: Arc<Note>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a segment can be had, as the writer last found out. Read without the lock by every
    /// append; written only under the lock, so that no change is missed.
    room: AtomicU8,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<PathBuf>,
    ready_id_next: u64,
    /// Segments that take no more records; and since when they are released, if they are.
    sealed: VecDeque<(Sealed, Instant)>,
    /// Segments being taken back right now; they still count as holding records.
    retiring: u64,
    applied: u64,
    /// The released position that the note has.
    noted: u64,
    /// The pause before the next try and its end, while making a segment fails.
    pause: Option<(Duration, Instant)>,
    failures: u64,
    stopping: bool,
}

/// How full the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) live_segments: u64,
    pub(super) ready_segments: u64,
    /// Bytes of sealed segments above the released position.
    pub(super) unreleased_bytes: u64,
    pub(super) failures: u64,
}

enum Job {
    Note {
        applied: u64,
    },
    Retire {
        sealed: Sealed,
        ready_id: Option<u64>,
    },
    Prepare {
        id: u64,
    },
    Stop,
}

/// The segments that a start finds beside the one in use.
pub(super) struct Segments {
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) ready: Vec<PathBuf>,
    pub(super) ready_id_next: u64,
}

impl Pool {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        note: Arc<Note>,
        settings: Settings,
        Segments {
            sealed,
            ready,
            ready_id_next,
        }: Segments,
        applied: u64,
    ) -> Self {
        let now = Instant::now();
        let state = State {
            ready,
            ready_id_next,
            sealed: sealed.into_iter().map(|sealed| (sealed, now)).collect(),
            applied,
            noted: applied,
            ..State::default()
        };
        Self {
            disk,
            settings,
            note,
            state: Mutex::new(state),
            changed: Condvar::new(),
            room: AtomicU8::new(ROOM),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; if something did, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a prepared file to the writer. Waits for one only while the disk gives room.
    pub(super) fn take(&self) -> Result<PathBuf, AppendError> {
        let mut state = self.lock();
        loop {
            if state.live_segments() >= self.settings.live_segments_max() {
                self.room.store(NO_BUDGET, Ordering::Relaxed);
                return Err(self.refusal(&state, NO_BUDGET));
            }
            if let Some(path) = state.ready.pop() {
                self.changed.notify_all();
                return Ok(path);
            }
            if state.pause.is_some() || state.stopping {
                self.room.store(NO_SEGMENT, Ordering::Relaxed);
                return Err(self.refusal(&state, NO_SEGMENT));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why an append need not be tried now. One relaxed load while there is room.
    pub(super) fn no_room(&self) -> Option<AppendError> {
        match self.room.load(Ordering::Relaxed) {
            ROOM => None,
            reason => Some(self.refusal(&self.lock(), reason)),
        }
    }

    fn refusal(&self, state: &State, reason: u8) -> AppendError {
        if reason == NO_BUDGET {
            let used_bytes = state.live_segments() * self.settings.segment_bytes;
            AppendError::Full {
                used_bytes,
                budget_bytes: self.settings.budget_bytes,
            }
        } else {
            AppendError::DiskFull
        }
    }

    /// Takes a segment that the writer has filled.
    pub(super) fn seal(&self, sealed: Sealed) {
        self.lock().sealed.push_back((sealed, Instant::now()));
        self.changed.notify_all();
    }

    /// Takes note that every position up to `applied` is at rest elsewhere.
    pub(super) fn release(&self, applied: u64) {
        let mut state = self.lock();
        if applied > state.applied {
            let (before, now) = (state.applied, Instant::now());
            for (sealed, since) in &mut state.sealed {
                if sealed.last_position > before && sealed.last_position <= applied {
                    *since = now;
                }
            }
            state.applied = applied;
            self.changed.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn level(&self) -> Level {
        let state = self.lock();
        let unreleased = state
            .sealed
            .iter()
            .map(|(sealed, _)| sealed)
            .filter(|sealed| sealed.last_position > state.applied);
        Level {
            live_segments: state.live_segments(),
            ready_segments: state.ready.len() as u64,
            unreleased_bytes: unreleased.map(|sealed| sealed.written_bytes).sum(),
            failures: state.failures,
        }
    }

    /// Runs the thread: does what is to be done until told to stop.
    pub(super) fn run(&self) {
        loop {
            match self.next_job() {
                Job::Stop => return,
                Job::Note { applied } => self.note.released(applied),
                Job::Retire { sealed, ready_id } => self.retire(&sealed, ready_id),
                Job::Prepare { id } => self.prepare(id),
            }
        }
    }

    fn next_job(&self) -> Job {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return Job::Stop;
            }
            // The note comes before any reuse: it shows that a copy of what holds the records is older.
            if state.applied > state.noted {
                state.noted = state.applied;
                let applied = state.applied;
                return Job::Note { applied };
            }
            // After a failure nothing is tried before the pause is over, except what frees space.
            let now = Instant::now();
            // A disk that gives no room for a new segment gives none for what is kept for convenience either.
            let is_tight = state.pause.is_some()
                || 2 * state.live_segments() > self.settings.live_segments_max();
            let keep = if is_tight {
                Duration::ZERO
            } else {
                self.settings.keep
            };
            let kept_until = state.kept_until(keep);
            if kept_until.is_some_and(|until| until <= now)
                && let Some((sealed, _)) = state.sealed.pop_front()
            {
                state.retiring += 1;
                let fits = sealed.segment_bytes == self.settings.segment_bytes;
                let wanted = state.ready.len() < self.settings.reserve_segments;
                let ready_id = (fits && wanted).then(|| state.next_ready_id());
                return Job::Retire { sealed, ready_id };
            }
            let wanted = state.ready.len() < self.settings.reserve_segments;
            let paused_until = state
                .pause
                .map(|(_, until)| until)
                .filter(|until| *until > now);
            if wanted && paused_until.is_none() {
                return Job::Prepare {
                    id: state.next_ready_id(),
                };
            }
            let paused_until = paused_until.filter(|_| wanted);
            state = match paused_until.into_iter().chain(kept_until).min() {
                Some(until) => {
                    self.changed
                        .wait_timeout(state, until - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn retire(&self, sealed: &Sealed, ready_id: Option<u64>) {
        let result = segment::retire(&*self.disk, &self.settings.dir, sealed, ready_id);
        let mut state = self.lock();
        state.retiring -= 1;
        match result {
            Ok(kept) => {
                state.ready.extend(kept);
                state.pause = None;
            }
            // The segment is out of the way already, only its sync failed: the next start tidies up.
            Err(_) if self.disk.len(&sealed.path).is_err() => {}
            Err(error) => {
                tracing::error!(sequence = sealed.sequence, %error, "could not free a released journal segment");
                // The segment is left where it is until the next start; trying at once again would spin.
                state.failures += 1;
            }
        }
        self.report_change(&state);
    }

    fn prepare(&self, id: u64) {
        let result = segment::prepare(
            &*self.disk,
            &self.settings.dir,
            id,
            self.settings.segment_bytes,
        );
        let mut state = self.lock();
        match result {
            Ok(path) => {
                state.ready.push(path);
                state.pause = None;
            }
            Err(error) => {
                let pause = state
                    .pause
                    .map_or(self.settings.retry_min, |(pause, _)| pause * 2);
                let pause = pause.min(self.settings.retry_max);
                tracing::warn!(%error, ready_segments = state.ready.len(), "could not prepare a journal segment");
                state.pause = Some((pause, Instant::now() + pause));
                state.failures += 1;
            }
        }
        self.report_change(&state);
    }

    fn report_change(&self, state: &State) {
        if state.live_segments() < self.settings.live_segments_max() && !state.ready.is_empty() {
            self.room.store(ROOM, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }
}

impl State {
    /// Counts the segment in use, the sealed ones, and those being taken back.
    fn live_segments(&self) -> u64 {
        1 + self.sealed.len() as u64 + self.retiring
    }

    /// When the oldest segment may be taken back, if its records are released.
    fn kept_until(&self, keep: Duration) -> Option<Instant> {
        let (sealed, since) = self.sealed.front()?;
        (sealed.last_position <= self.applied).then(|| *since + keep)
    }

    fn next_ready_id(&mut self) -> u64 {
        self.ready_id_next += 1;
        self.ready_id_next
    }
}
