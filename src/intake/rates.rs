//! Limits how fast each store may post while nobody is asked for a credential.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::intake::limits::Limited;
use crate::intake::refusal::Refusal;

/// The rate of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Requests a second of one store, in the long run; past it they are put off.
    pub store_requests_per_s: u32,
    /// Requests of one store at once after a quiet time.
    pub store_burst: u32,
}

/// What tests take; `serve` has its rates from the settings.
#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            store_requests_per_s: 1_000,
            store_burst: 5_000,
        }
    }
}

/// The stores' buckets, and the rates they were made for.
#[derive(Debug)]
struct Buckets {
    limiter: DefaultKeyedRateLimiter<u64>,
    settings: Settings,
}

impl Buckets {
    fn new(settings: Settings) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(settings.store_requests_per_s))
            .allow_burst(at_least_one(settings.store_burst));
        Self {
            limiter: RateLimiter::keyed(quota),
            settings,
        }
    }
}

/// Buckets at most, however many stores are invented: two stores in a thousand share one at 2,000.
const BUCKETS_MAX: u64 = 1 << 20;

/// Lets a store's requests in, or says when to come again.
#[derive(Debug)]
pub struct Rates {
    stores: ArcSwap<Buckets>,
    hasher: foldhash::quality::RandomState,
    clock: DefaultClock,
}

impl Rates {
    /// Makes rates whose buckets are full.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            stores: ArcSwap::from_pointee(Buckets::new(settings)),
            hasher: foldhash::quality::RandomState::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request from a store's bucket. Stores are told apart by a keyed hash, so that no
    /// name has to be copied.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when the bucket is empty.
    pub fn pass(&self, store_id: &str) -> Result<(), Refusal> {
        let key = self.hasher.hash_one(store_id) % BUCKETS_MAX;
        self.stores
            .load()
            .limiter
            .check_key(&key)
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.clock.now());
                Refusal::RateLimited {
                    limited: Limited::Store,
                    wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                }
            })
    }

    /// A number that tells terminals apart, and that nobody can choose.
    pub(super) fn number(&self, store_id: &str, terminal_id: &str) -> u64 {
        self.hasher.hash_one((store_id, terminal_id))
    }

    /// Takes other rates; every store begins with a full bucket then.
    pub(super) fn set(&self, settings: Settings) {
        if self.stores.load().settings != settings {
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
