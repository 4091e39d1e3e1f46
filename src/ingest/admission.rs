//! Who may post now: memory for what is under way, and a rate for each store.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use crate::ingest::error::IngestError;
use crate::ingest::room::Room;

/// Limits of what is under way.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes that requests under way take together; past it 503. Unit: bytes.
    pub in_flight_bytes_max: u32,
    /// Requests a second of one store, in the long run; past it 429.
    pub store_requests_per_s: u32,
    /// Requests of one store at once after a quiet time.
    pub store_burst: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_bytes_max: 256 * 1024 * 1024,
            store_requests_per_s: 1_000,
            store_burst: 5_000,
        }
    }
}

/// The stores' buckets, and the rates they were made for.
#[derive(Debug)]
struct Buckets {
    limiter: DefaultKeyedRateLimiter<u64>,
    rates: (u32, u32),
}

impl Buckets {
    fn new(settings: Settings) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(settings.store_requests_per_s))
            .allow_burst(at_least_one(settings.store_burst));
        Self {
            limiter: RateLimiter::keyed(quota),
            rates: (settings.store_requests_per_s, settings.store_burst),
        }
    }
}

/// Buckets at most, however many stores are invented: two stores in a thousand share one at 2,000.
const BUCKETS_MAX: u64 = 1 << 20;

/// Lets requests in, or says when to come again.
#[derive(Debug)]
pub struct Admission {
    room: Arc<Room>,
    /// A turn for each processor, for work that would hold up others.
    turns: Semaphore,
    stores: ArcSwap<Buckets>,
    hasher: foldhash::quality::RandomState,
    clock: DefaultClock,
}

impl Admission {
    /// Admission within these limits.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            room: Room::new(settings.in_flight_bytes_max as usize),
            turns: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            stores: ArcSwap::from_pointee(Buckets::new(settings)),
            hasher: foldhash::quality::RandomState::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Memory for requests under way.
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Does work; what takes long, where it holds up no other request, and as much at once as there are
    /// processors: no more would be done sooner, and each takes memory that bodies have no room set
    /// aside for, such as the window of a decoder.
    pub async fn aside<R>(&self, is_long: bool, work: impl FnOnce() -> R) -> R {
        if !is_long {
            return work();
        }
        // Never closed; and without a turn it would only be slower.
        let turn = self.turns.acquire().await;
        let done = tokio::task::block_in_place(work);
        drop(turn);
        // The rest of the request goes on beside the others again: this thread has given its place away.
        tokio::task::yield_now().await;
        done
    }

    /// Bytes set aside now, and the most that may be.
    #[must_use]
    pub fn in_flight_bytes(&self) -> (usize, usize) {
        self.room.used()
    }

    /// Takes one request from a store's bucket. Stores are told apart by a keyed hash, so that no
    /// name has to be copied.
    ///
    /// # Errors
    /// [`IngestError::RateLimited`] when the bucket is empty.
    pub fn pass(&self, store_id: &str) -> Result<(), IngestError> {
        let key = self.hasher.hash_one(store_id) % BUCKETS_MAX;
        self.stores
            .load()
            .limiter
            .check_key(&key)
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.clock.now());
                IngestError::RateLimited {
                    wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                }
            })
    }

    /// A number that tells terminals apart, and that nobody can choose.
    pub fn number(&self, terminal: (&str, &str)) -> u64 {
        self.hasher.hash_one(terminal)
    }

    /// Takes other rates; every store begins with a full bucket then.
    pub fn set_rates(&self, settings: Settings) {
        let rates = (settings.store_requests_per_s, settings.store_burst);
        if self.stores.load().rates != rates {
            self.stores.store(Arc::new(Buckets::new(settings)));
        }
    }

    /// Forgets the buckets of stores that are full again.
    pub fn forget(&self) {
        let stores = self.stores.load();
        stores.limiter.retain_recent();
        stores.limiter.shrink_to_fit();
    }
}
