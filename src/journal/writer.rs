//! Group commit: what queues up during one sync is written with one write, synced once, handed on
//! and acknowledged together.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{AppendError, HaltCause};
use super::format::{
    HEADER_PAGE_BYTES, Kind, RecordHeader, SegmentHeader, TERMINATOR, push_record, record_bytes,
    seal_record,
};
use super::payloads::{Payloads, frame_bounds};
use super::pool::Pool;
use super::segment::{self, Active, Sealed};
use super::settings::Settings;
use super::{Completion, Position, Sink};

/// What appending threads and the writer share.
#[derive(Debug)]
pub(super) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    wake: Condvar,
    pub(super) pool: Arc<Pool>,
    pub(super) settings: Settings,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct Queue<C> {
    waiting: VecDeque<Pending<C>>,
    /// Of appends taken in and not completed, also of those the writer has in hand.
    bytes: usize,
    appends: usize,
    /// The writer sleeps and must be woken.
    is_idle: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Halted,
}

#[derive(Debug)]
struct Pending<C> {
    payloads: Payloads,
    completion: C,
}

/// What the journal counts about itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) durable: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) appends: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) active_bytes: AtomicU64,
    pub(super) halted: AtomicBool,
}

impl<C: Completion> Shared<C> {
    pub(super) fn new(settings: Settings, pool: Arc<Pool>, durable: u64) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            bytes: 0,
            appends: 0,
            is_idle: false,
            state: State::Open,
        };
        let counters = Counters {
            durable: AtomicU64::new(durable),
            ..Counters::default()
        };
        Self {
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            pool,
            settings,
            counters,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        // Nothing panics while holding it; if something did, the queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, payloads: Payloads, completion: C) -> Result<(), (AppendError, C)> {
        if let Err(error) = self.check(&payloads) {
            return Err((error, completion));
        }
        let bytes = payloads.framed_bytes();
        let mut queue = self.lock();
        let refusal = match queue.state {
            State::Halted => Some(AppendError::Halted),
            State::Closed => Some(AppendError::Closed),
            State::Open => {
                let is_full = queue.appends >= self.settings.queue_appends_max
                    || queue.bytes.saturating_add(bytes) > self.settings.queue_bytes_max;
                is_full.then_some(AppendError::QueueFull {
                    queued_appends: queue.appends,
                    queued_bytes: queue.bytes,
                })
            }
        };
        if let Some(error) = refusal {
            return Err((error, completion));
        }
        queue.bytes += bytes;
        queue.appends += 1;
        queue.waiting.push_back(Pending {
            payloads,
            completion,
        });
        let wake = std::mem::take(&mut queue.is_idle);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn check(&self, payloads: &Payloads) -> Result<(), AppendError> {
        if payloads.is_empty() {
            return Err(AppendError::Empty);
        }
        if let Some(longest_bytes) = payloads.over_limit() {
            let append_bytes_max = super::format::PAYLOAD_BYTES_MAX as u64;
            return Err(AppendError::TooLarge {
                append_bytes: longest_bytes as u64,
                append_bytes_max,
            });
        }
        let append_bytes = payloads.framed_bytes() as u64;
        let append_bytes_max = self
            .settings
            .append_bytes_max()
            .min(self.settings.queue_bytes_max as u64);
        if append_bytes > append_bytes_max {
            return Err(AppendError::TooLarge {
                append_bytes,
                append_bytes_max,
            });
        }
        self.pool.no_room().map_or(Ok(()), Err)
    }

    /// Appends and bytes that wait or are being written.
    pub(super) fn queued(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.appends, queue.bytes)
    }

    /// Takes no more appends; the writer ends once the queue is empty.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        if queue.state == State::Open {
            queue.state = State::Closed;
        }
        queue.is_idle = false;
        drop(queue);
        self.wake.notify_one();
    }

    /// Whatever happens to the writer, nobody waits for it any longer.
    fn halt(&self) {
        self.counters.halted.store(true, Ordering::SeqCst);
        let mut queue = self.lock();
        queue.state = State::Halted;
        let waiting = std::mem::take(&mut queue.waiting);
        queue.bytes = 0;
        queue.appends = 0;
        drop(queue);
        for pending in waiting {
            pending.completion.complete(Err(AppendError::Halted));
        }
    }

    fn finished(&self, appends: usize, bytes: usize) {
        let mut queue = self.lock();
        queue.appends = queue.appends.saturating_sub(appends);
        queue.bytes = queue.bytes.saturating_sub(bytes);
    }
}

/// What the queue had for the writer.
enum Taken<C> {
    Appends(VecDeque<Pending<C>>),
    /// Nothing for the time of `Settings::idle_mark`.
    Idle,
    Closed,
}

/// The thread that owns the segment in use.
pub(super) struct Writer<C, S> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) journal_id: u128,
    pub(super) active: Active,
    /// The highest durable position.
    pub(super) durable: u64,
    pub(super) next_position: u64,
    /// What the last mark or record in the segment says is durable.
    pub(super) marked: u64,
    /// The next group, reused.
    pub(super) buffer: Vec<u8>,
    pub(super) sink: S,
}

impl<C: Completion, S: Sink> Writer<C, S> {
    /// Runs until the journal is shut down or halts.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if let Err(cause) = self.run_until_closed() {
                self.tell_halted(&cause);
            }
        }));
        if outcome.is_err() {
            tracing::error!("the receiver of durable records panicked; the journal is halted");
            shared.halt();
            self.sink.halted(&HaltCause::ReceiverPanicked);
        }
    }

    fn tell_halted(&mut self, cause: &HaltCause) {
        tracing::error!(error = %cause, source = ?std::error::Error::source(cause), "the journal is halted");
        self.shared.halt();
        self.sink.halted(cause);
    }

    fn run_until_closed(&mut self) -> Result<(), HaltCause> {
        let mut spare = VecDeque::new();
        loop {
            match self.take(spare) {
                Taken::Appends(mut appends) => {
                    let result = self.write(&mut appends);
                    for pending in appends.drain(..) {
                        pending.completion.complete(Err(AppendError::Halted));
                    }
                    result?;
                    spare = appends;
                }
                Taken::Idle => {
                    spare = VecDeque::new();
                    self.write_mark()?;
                }
                Taken::Closed => {
                    self.write_mark()?;
                    return self.sync();
                }
            }
        }
    }

    /// Swaps the whole queue for `spare`, once there is something in it.
    fn take(&self, spare: VecDeque<Pending<C>>) -> Taken<C> {
        let mut queue = self.shared.lock();
        let needs_mark = self.marked < self.durable && !self.shared.settings.idle_mark.is_zero();
        while queue.waiting.is_empty() {
            if queue.state != State::Open {
                return Taken::Closed;
            }
            queue.is_idle = true;
            if needs_mark {
                let pause = self.shared.settings.idle_mark;
                let (after, timeout) = self
                    .shared
                    .wake
                    .wait_timeout(queue, pause)
                    .unwrap_or_else(PoisonError::into_inner);
                queue = after;
                if timeout.timed_out() && queue.waiting.is_empty() && queue.state == State::Open {
                    return Taken::Idle;
                }
            } else {
                queue = self
                    .shared
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        let linger = self.shared.settings.linger;
        if !linger.is_zero() && queue.state == State::Open {
            let is_open = |queue: &mut Queue<C>| queue.state == State::Open;
            queue = self
                .shared
                .wake
                .wait_timeout_while(queue, linger, is_open)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        queue.is_idle = false;
        Taken::Appends(std::mem::replace(&mut queue.waiting, spare))
    }

    /// Makes all of `appends` durable, in as many groups as segments ask for. After an error the
    /// ones still in `appends`, and those of the failed group, are not durable.
    fn write(&mut self, appends: &mut VecDeque<Pending<C>>) -> Result<(), HaltCause> {
        while !appends.is_empty() {
            let first_position = self.next_position;
            let group_count = self.gather(appends);
            if group_count > 0 {
                // On an error `appends` still holds the group: the caller completes all of it.
                self.commit()?;
                self.hand_on(appends, group_count, first_position);
                continue;
            }
            if let Err(error) = self.rotate()? {
                let refused = appends.len();
                let refused_bytes = appends
                    .iter()
                    .map(|pending| pending.payloads.framed_bytes())
                    .sum();
                self.shared.finished(refused, refused_bytes);
                for pending in appends.drain(..) {
                    pending.completion.complete(Err(error));
                }
            }
        }
        Ok(())
    }

    /// Puts as many appends from the front into the buffer as the segment has room for.
    fn gather(&mut self, appends: &VecDeque<Pending<C>>) -> usize {
        let room_bytes = self.active.room_bytes();
        self.buffer.clear();
        let mut group_count = 0;
        for pending in appends {
            let frames = pending.payloads.frames();
            let start = self.buffer.len();
            if (start + frames.len()) as u64 > room_bytes {
                break;
            }
            self.buffer.extend_from_slice(frames);
            for (frame_start, payload_bytes) in frame_bounds(frames) {
                let header = RecordHeader {
                    position: self.next_position,
                    sequence: self.active.sequence,
                    durable_upto: self.durable,
                    kind: Kind::Data,
                    payload_bytes,
                };
                let frame_start = start + frame_start;
                seal_record(
                    &mut self.buffer[frame_start..frame_start + record_bytes(payload_bytes)],
                    &header,
                );
                self.next_position += 1;
            }
            group_count += 1;
        }
        group_count
    }

    /// Writes the buffer and syncs.
    fn commit(&mut self) -> Result<(), HaltCause> {
        let marked = self.durable;
        self.write_buffer()?;
        self.sync()?;
        self.durable = self.next_position - 1;
        self.marked = marked;
        Ok(())
    }

    /// Writes the buffer and the zeros that show the end, in one write.
    fn write_buffer(&mut self) -> Result<(), HaltCause> {
        let record_bytes = self.buffer.len() as u64;
        if record_bytes + TERMINATOR.len() as u64 <= self.active.room_bytes() {
            self.buffer.extend_from_slice(&TERMINATOR);
        }
        let written = self.active.file.write_at(&self.buffer, self.active.offset);
        written.map_err(|source| self.cause("write", source))?;
        self.active.offset += record_bytes;
        let counters = &self.shared.counters;
        counters
            .active_bytes
            .store(self.active.offset, Ordering::Relaxed);
        counters
            .written_bytes
            .fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<(), HaltCause> {
        let started = Instant::now();
        self.active
            .file
            .sync_data()
            .map_err(|source| self.cause("sync", source))?;
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters
            .sync_nanos
            .fetch_add(nanos(started.elapsed()), Ordering::Relaxed);
        Ok(())
    }

    fn cause(&self, operation: &'static str, source: io::Error) -> HaltCause {
        HaltCause::Disk {
            operation,
            sequence: self.active.sequence,
            source,
        }
    }

    /// The group at the front of `appends` is durable: to the sink, then to whoever waits.
    fn hand_on(
        &mut self,
        appends: &mut VecDeque<Pending<C>>,
        group_count: usize,
        first_position: u64,
    ) {
        let counters = &self.shared.counters;
        let record_count = self.next_position - first_position;
        counters.durable.store(self.durable, Ordering::Release);
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters
            .appends
            .fetch_add(group_count as u64, Ordering::Relaxed);
        counters.records.fetch_add(record_count, Ordering::Relaxed);

        let mut records = Vec::with_capacity(usize::try_from(record_count).unwrap_or(0));
        let mut completions = Vec::with_capacity(group_count);
        let mut position = first_position;
        let mut group_bytes = 0;
        for pending in appends.drain(..group_count) {
            group_bytes += pending.payloads.framed_bytes();
            let first = position;
            position += pending.payloads.count();
            pending.payloads.into_records(first, &mut records);
            completions.push((pending.completion, Position(position - 1)));
        }
        self.sink.durable(records);
        for (completion, last) in completions {
            completion.complete(Ok(last));
        }
        self.shared.finished(group_count, group_bytes);
    }

    /// Goes on in a new segment. The inner error is not the disk's fault: try again later.
    fn rotate(&mut self) -> Result<Result<(), AppendError>, HaltCause> {
        let ready = match self.shared.pool.take() {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let settings = &self.shared.settings;
        let header = SegmentHeader {
            journal_id: self.journal_id,
            sequence: self.active.sequence + 1,
            first_position: self.durable + 1,
            segment_bytes: settings.segment_bytes,
        };
        let started = segment::start(&*self.disk, &settings.dir, &ready, &header, &[]);
        let active = started.map_err(|source| self.cause("start the one after", source))?;
        let sealed = std::mem::replace(&mut self.active, active);
        self.shared
            .counters
            .active_bytes
            .store(HEADER_PAGE_BYTES as u64, Ordering::Relaxed);
        // The header says it now.
        self.marked = self.durable;
        self.shared.pool.seal(Sealed {
            sequence: sealed.sequence,
            last_position: self.durable,
            segment_bytes: sealed.segment_bytes,
            written_bytes: sealed.offset,
            belongs_in_quarantine: false,
        });
        Ok(Ok(()))
    }

    /// Notes that everything so far is durable. Not synced: it only adds to what is known.
    fn write_mark(&mut self) -> Result<(), HaltCause> {
        if self.marked == self.durable || self.active.room_bytes() < record_bytes(0) as u64 {
            return Ok(());
        }
        let header = RecordHeader {
            position: self.durable,
            sequence: self.active.sequence,
            durable_upto: self.durable,
            kind: Kind::Mark,
            payload_bytes: 0,
        };
        self.buffer.clear();
        push_record(&mut self.buffer, &header, &[]);
        self.write_buffer()?;
        self.marked = self.durable;
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
