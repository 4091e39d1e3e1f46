//! Appends wait here for the writer. The queue is limited, an append costs one lock, and the writer takes
//! all appends at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Completion;
use super::error::AppendError;
use super::format::PAYLOAD_BYTES_MAX;
use super::payloads::Payloads;
use super::pool::Pool;
use super::settings::Settings;

/// What appending threads and the writer share.
#[derive(Debug)]
pub(super) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    wake: Condvar,
    pub(super) pool: Arc<Pool>,
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) under_way: UnderWay,
}

#[derive(Debug)]
struct Queue<C> {
    waiting: VecDeque<Pending<C>>,
    /// Bytes of appends taken in and not completed, also of those the writer has in hand.
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
pub(super) struct Pending<C> {
    pub(super) payloads: Payloads,
    pub(super) completion: C,
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

/// Since when the writer has waited for the disk: a disk that hangs fails nothing, and the writer
/// cannot say so itself.
#[derive(Debug)]
pub(super) struct UnderWay {
    base: Instant,
    /// When the wait began, since `base`; 0: the writer does not wait.
    since_ns: AtomicU64,
}

impl UnderWay {
    /// Notes that the writer calls the disk.
    pub(super) fn begin(&self) {
        let since = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since_ns.store(since.max(1), Ordering::Relaxed);
    }

    /// Notes that the disk has answered.
    pub(super) fn end(&self) {
        self.since_ns.store(0, Ordering::Relaxed);
    }

    /// How long the call under way has taken so far.
    pub(super) fn age(&self) -> Duration {
        match self.since_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => (self.base.elapsed()).saturating_sub(Duration::from_nanos(since)),
        }
    }
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
            under_way: UnderWay {
                base: Instant::now(),
                since_ns: AtomicU64::new(0),
            },
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
            let append_bytes_max = PAYLOAD_BYTES_MAX as u64;
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

    /// Counts appends and bytes that wait or are being written.
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
    pub(super) fn halt(&self) {
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

    pub(super) fn finished(&self, appends: usize, bytes: usize) {
        let mut queue = self.lock();
        queue.appends = queue.appends.saturating_sub(appends);
        queue.bytes = queue.bytes.saturating_sub(bytes);
    }

    /// Swaps the whole queue for `spare`, once there is something in it.
    pub(super) fn take(&self, spare: VecDeque<Pending<C>>, needs_mark: bool) -> Taken<C> {
        let mut queue = self.lock();
        let needs_mark = needs_mark && !self.settings.idle_mark.is_zero();
        while queue.waiting.is_empty() {
            if queue.state != State::Open {
                return Taken::Closed;
            }
            queue.is_idle = true;
            if needs_mark {
                let pause = self.settings.idle_mark;
                let (after, timeout) = self
                    .wake
                    .wait_timeout(queue, pause)
                    .unwrap_or_else(PoisonError::into_inner);
                queue = after;
                if timeout.timed_out() && queue.waiting.is_empty() && queue.state == State::Open {
                    return Taken::Idle;
                }
            } else {
                queue = self
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        let linger = self.settings.linger;
        if !linger.is_zero() && queue.state == State::Open {
            let is_open = |queue: &mut Queue<C>| queue.state == State::Open;
            queue = self
                .wake
                .wait_timeout_while(queue, linger, is_open)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        queue.is_idle = false;
        Taken::Appends(std::mem::replace(&mut queue.waiting, spare))
    }
}

/// What the queue had for the writer.
pub(super) enum Taken<C> {
    Appends(VecDeque<Pending<C>>),
    /// The queue had nothing for the time of `Settings::idle_mark`.
    Idle,
    Closed,
}
