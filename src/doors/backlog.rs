//! Lets what terminals kept while they were offline wait for what is measured now.
//!
//! A thousand tills that come back at once bring a week each. Only some of those requests are worked on at a time; the
//! next wait a moment, and are then told to come again, by when those before them should be done at the present pace. A
//! turn begins when the body is there, so that nobody holds one by being slow, and one store has only a part of the
//! places where others wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::auth::Who;
use crate::doors::refusal::Refusal;
use crate::room::Room;

const WAIT_MAX: Duration = Duration::from_secs(2);
/// How many may wait. The memory of their bodies is bounded by itself.
const WAITING_MAX: usize = 256;
/// How many of one store may wait.
const STORE_WAITING_MAX: usize = WAITING_MAX / 4;
/// The longest that a client is told to stay away. Unit: s.
const AWAY_S_MAX: u64 = 60;
/// How long a client is told to stay away while memory is short. Unit: s.
const MEMORY_S: u64 = 10;
/// The pace before it was measured. Unit: requests a second.
const PACE_AT_FIRST: f64 = 20.0;
/// A pace that was measured longer ago says nothing of now.
const PACE_AGE_MAX: Duration = Duration::from_secs(10);
/// While more than this part of the memory for requests is taken, no backlog is let in.
const ROOM_PART: usize = 2;

/// The turns of requests that bring a backlog.
#[derive(Debug)]
pub(super) struct Backlog {
    turns: Semaphore,
    /// How long a request waits for its turn before it is told to come again.
    wait_max: Duration,
    waiting: Mutex<Waiting>,
    done: AtomicU64,
    pace: Mutex<Pace>,
}

/// How many were done a second, when this was last asked.
#[derive(Debug)]
struct Pace {
    since: Instant,
    done: u64,
    per_s: f64,
}

/// A request's turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'b> {
    backlog: &'b Backlog,
    _permit: SemaphorePermit<'b>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.backlog.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who waits.
#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_store: HashMap<Box<str>, usize>,
}

/// One who waits.
struct Waiter<'b> {
    waiting: &'b Mutex<Waiting>,
    store_id: Option<Box<str>>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(self.waiting);
        waiting.all -= 1;
        if let Some(store_id) = &self.store_id
            && let Some(count) = waiting.by_store.get_mut(store_id)
        {
            *count -= 1;
            if *count == 0 {
                waiting.by_store.remove(store_id);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Backlog {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(4 * processors, WAIT_MAX)
    }
}

impl Backlog {
    fn new(turns: usize, wait_max: Duration) -> Self {
        Self {
            wait_max,
            turns: Semaphore::new(turns),
            waiting: Mutex::default(),
            done: AtomicU64::new(0),
            pace: Mutex::new(Pace {
                since: Instant::now(),
                done: 0,
                per_s: PACE_AT_FIRST,
            }),
        }
    }

    /// Whether there is memory for a backlog.
    ///
    /// # Errors
    /// [`Refusal::BacklogWaits`] when live requests need the memory.
    pub(super) fn look(&self, room: &Room) -> Result<(), Refusal> {
        let (used, all) = room.used();
        if used > all / ROOM_PART {
            return Err(Refusal::BacklogWaits { wait_s: MEMORY_S });
        }
        Ok(())
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Refusal::BacklogWaits`] when there is none soon.
    pub(super) async fn turn(&self, who: &Who) -> Result<Turn<'_>, Refusal> {
        let permit = match self.turns.try_acquire() {
            Ok(permit) => permit,
            Err(_none) => self.wait(who).await?,
        };
        Ok(Turn {
            backlog: self,
            _permit: permit,
        })
    }

    async fn wait(&self, who: &Who) -> Result<SemaphorePermit<'_>, Refusal> {
        let _waiter = self.enter(who).ok_or_else(|| self.refuse())?;
        let acquired = tokio::time::timeout(self.wait_max, self.turns.acquire()).await;
        acquired
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| self.refuse())
    }

    /// Takes a place where requests wait, if there is one for this sender.
    fn enter(&self, who: &Who) -> Option<Waiter<'_>> {
        let store_id = match who {
            Who::Bearer(bearer) => Some(bearer.store_id.clone()),
            Who::Server(key) | Who::App(key) => Some(key.id.clone()),
            Who::Anybody => None,
        };
        let mut waiting = lock(&self.waiting);
        if waiting.all >= WAITING_MAX {
            return None;
        }
        if let Some(store_id) = &store_id {
            let of_store = waiting.by_store.entry(store_id.clone()).or_default();
            if *of_store >= STORE_WAITING_MAX {
                return None;
            }
            *of_store += 1;
        }
        waiting.all += 1;
        drop(waiting);
        Some(Waiter {
            waiting: &self.waiting,
            store_id,
        })
    }

    #[cold]
    fn refuse(&self) -> Refusal {
        let waiting = lock(&self.waiting).all;
        let wait_s = self.wait_s(waiting, Instant::now());
        Refusal::BacklogWaits { wait_s }
    }

    /// When so many should be done, at the pace of the last second or longer. Unit: s.
    fn wait_s(&self, waiting: usize, now: Instant) -> u64 {
        let mut pace = lock(&self.pace);
        let elapsed = now.saturating_duration_since(pace.since);
        let done = self.done.load(Ordering::Relaxed);
        if elapsed > PACE_AGE_MAX {
            // Nobody was refused for long: what was done meanwhile was done at leisure.
            (pace.since, pace.done) = (now, done);
            pace.per_s = PACE_AT_FIRST;
        } else if elapsed >= Duration::from_secs(1) {
            let new = u32::try_from(done - pace.done).unwrap_or(u32::MAX);
            pace.per_s = (f64::from(new) / elapsed.as_secs_f64()).max(0.1);
            (pace.since, pace.done) = (now, done);
        }
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let wait = Duration::try_from_secs_f64(f64::from(waiting) / pace.per_s);
        wait.map_or(AWAY_S_MAX, |wait| wait.as_secs())
            .clamp(1, AWAY_S_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_turn_waits_a_moment_and_is_told_when_to_come_again() {
        let backlog = Backlog::new(1, Duration::from_millis(50));
        let who = Who::Anybody;
        let first = backlog.turn(&who).await.unwrap();
        let refused = backlog.turn(&who).await;
        assert!(matches!(
            refused,
            Err(Refusal::BacklogWaits { wait_s: 1.. })
        ));
        assert_eq!(lock(&backlog.waiting).all, 0);
        let waits = backlog.turn(&who);
        tokio::pin!(waits);
        let early = tokio::time::timeout(Duration::from_millis(5), &mut waits);
        assert!(early.await.is_err());
        drop(first);
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn a_store_takes_only_a_part_of_the_places_where_others_wait() {
        let backlog = Backlog::new(1, WAIT_MAX);
        let server = |id: &str| {
            Who::Server(std::sync::Arc::new(crate::auth::StaticKey {
                id: id.into(),
                digest: [0; 32],
                scopes: Vec::new(),
                stores: None,
                name: "".into(),
                created_at_ms: 0,
            }))
        };
        let one = server("one");
        let waiters: Vec<_> = (0..WAITING_MAX)
            .map_while(|_| backlog.enter(&one))
            .collect();
        assert_eq!(waiters.len(), STORE_WAITING_MAX);
        assert!(backlog.enter(&server("other")).is_some());
        drop(waiters);
        assert!(lock(&backlog.waiting).by_store.is_empty());
    }

    #[test]
    fn the_wait_follows_from_how_many_wait_and_how_fast_they_are_done() {
        let backlog = Backlog::new(1, WAIT_MAX);
        let start = backlog.pace.lock().unwrap().since;
        backlog.done.store(20, Ordering::Relaxed);
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(backlog.wait_s(100, at(2)), 10, "ten a second");
        assert_eq!(backlog.wait_s(3, at(2)), 1);
        assert_eq!(backlog.wait_s(100_000, at(2)), AWAY_S_MAX);
        assert_eq!(backlog.wait_s(1, at(4)), 10, "nothing was done since");
        assert_eq!(
            backlog.wait_s(40, at(100)),
            2,
            "what was long ago says nothing"
        );
    }
}
