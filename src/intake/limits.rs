//! Limits how often whoever has shown a credential may post, and how often one address may.
//!
//! Each limit is a bucket of *cells*, which refills by a cell in 60 µs and holds so many that a request of the least
//! frequent sender fits: how many cells a request takes says how often its sender may post. So one limiter serves stores
//! of different rates (each store gets more the more terminals it has). Buckets are told apart by keyed hashes: no name
//! and no address is kept.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::intake::refusal::Refusal;
use crate::listed::listed;
use crate::self_metrics as names;

/// What a bucket refills in. Unit: ns.
const CELL_NS: u64 = 60_000;
/// Cells of a minute.
const MINUTE_CELLS: u32 = 1_000_000;
/// Buckets of each kind at most, however many senders are invented: then two of them share one.
const BUCKETS_MAX: u64 = 1 << 24;
/// So many terminals of a store are counted for its rate: whoever holds a token of the whole store could invent more.
const TERMINALS_COUNTED_MAX: u32 = 200;
/// How many stores are counted by name. Unit: stores.
const NAMED_MAX: usize = 1_000;

/// The time between two requests, in the long run; `None`: no limit.
pub type Interval = Option<Duration>;

listed! {
    /// What is limited.
    pub enum Limited {
        /// Requests from one address.
        Address = "address",
        /// Requests of one terminal.
        Terminal = "terminal",
        /// Requests of one store.
        Store = "store",
        /// Requests of one browser application.
        App = "app",
    }
}

/// Whether a request brings what is measured now, or what was kept while a terminal was offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// What is measured now.
    Live,
    /// What was kept. It gives way to live requests, and has buckets of its own.
    Backlog,
}

/// How often senders may post.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// One terminal.
    pub terminal: Interval,
    /// Requests of one terminal at once, after a quiet time.
    pub terminal_burst: u32,
    /// One store, whatever terminals it has.
    pub store: Interval,
    /// One store, for each terminal known in it; the shorter of both intervals counts.
    pub per_terminal: Interval,
    /// Stores with an interval of their own.
    pub stores: HashMap<Box<str>, Interval>,
    /// One browser application, with all its pages.
    pub app: Interval,
    /// One address.
    pub address: Interval,
}

/// Buckets of one kind.
#[derive(Debug)]
struct Buckets {
    limiter: DefaultKeyedRateLimiter<u64>,
    cells_max: u32,
}

impl Buckets {
    fn new(cells_max: u32) -> Self {
        let cell = Duration::from_nanos(CELL_NS);
        let cells_max = cells_max.max(1);
        let burst = NonZeroU32::new(cells_max).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(cell).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::keyed(quota.allow_burst(burst)),
            cells_max,
        }
    }

    /// Takes a request's cells; `Err`: how long until they are there. Unit: ms.
    fn take(&self, bucket: u64, interval: Duration, clock: &DefaultClock) -> Result<(), u64> {
        let cells = NonZeroU32::new(cells(interval).min(self.cells_max));
        let cells = cells.unwrap_or(NonZeroU32::MIN);
        match self.limiter.check_key_n(&(bucket % BUCKETS_MAX), cells) {
            // A request never takes more cells than a bucket holds.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(clock.now());
                Err(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// How many cells a request takes whose sender may post once in this time.
fn cells(interval: Duration) -> u32 {
    let cells = interval.as_nanos() / u128::from(CELL_NS);
    u32::try_from(cells).unwrap_or(u32::MAX)
}

#[derive(Debug)]
struct Made {
    settings: Settings,
    terminals: Buckets,
    stores: Buckets,
    addresses: Buckets,
    apps: Buckets,
}

impl Made {
    fn new(settings: Settings) -> Self {
        let of_terminal = settings.terminal.map_or(1, cells);
        Self {
            terminals: Buckets::new(of_terminal.saturating_mul(settings.terminal_burst.max(1))),
            // A minute's worth, whatever the rate is.
            stores: Buckets::new(MINUTE_CELLS),
            addresses: Buckets::new(MINUTE_CELLS),
            apps: Buckets::new(MINUTE_CELLS),
            settings,
        }
    }
}

/// Lets requests in, or says when to come again.
#[derive(Debug)]
pub struct SenderLimits {
    made: ArcSwap<Made>,
    hasher: foldhash::quality::RandomState,
    clock: DefaultClock,
    /// Stores that were refused, which are counted by name.
    named: Mutex<HashSet<Box<str>>>,
}

impl SenderLimits {
    /// Makes limits whose buckets are full.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        for limited in Limited::ALL {
            let name = limited.name();
            metrics::counter!(names::RATE_LIMITED, "limit" => name, "store_id" => "").increment(0);
        }
        Self {
            made: ArcSwap::from_pointee(Made::new(settings)),
            hasher: foldhash::quality::RandomState::default(),
            clock: DefaultClock::default(),
            named: Mutex::default(),
        }
    }

    /// Takes other limits; every bucket is full then.
    pub fn set(&self, settings: Settings) {
        if self.made.load().settings != settings {
            self.made.store(Arc::new(Made::new(settings)));
        }
    }

    /// Takes one request from an address's bucket.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when the bucket is empty.
    pub fn pass_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let made = self.made.load();
        let Some(interval) = made.settings.address else {
            return Ok(());
        };
        let bucket = self.hasher.hash_one(address);
        let taken = made.addresses.take(bucket, interval, &self.clock);
        taken.map_err(|wait_ms| self.refuse(Limited::Address, "", wait_ms))
    }

    /// Takes one request from a browser application's bucket.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when the bucket is empty.
    pub fn pass_app(&self, name: &str) -> Result<(), Refusal> {
        let made = self.made.load();
        let Some(interval) = made.settings.app else {
            return Ok(());
        };
        let bucket = self.hasher.hash_one(name);
        let taken = made.apps.take(bucket, interval, &self.clock);
        taken.map_err(|wait_ms| self.refuse(Limited::App, "", wait_ms))
    }

    /// Takes one request from a terminal's bucket, if it is known which one posts, and one from its store's.
    /// `terminals` says how many terminals are known in the store.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when a bucket is empty.
    pub fn pass(
        &self,
        store_id: &str,
        terminal_id: Option<&str>,
        class: Class,
        terminals: impl FnOnce() -> usize,
    ) -> Result<(), Refusal> {
        let made = self.made.load();
        if let (Some(terminal_id), Some(interval)) = (terminal_id, made.settings.terminal) {
            let bucket = self.hasher.hash_one((store_id, terminal_id, class));
            let taken = made.terminals.take(bucket, interval, &self.clock);
            taken.map_err(|wait_ms| self.refuse(Limited::Terminal, store_id, wait_ms))?;
        }
        let own = made.settings.stores.get(store_id);
        let interval = own.copied().unwrap_or_else(|| {
            let store = made.settings.store?;
            let known = u32::try_from(terminals()).unwrap_or(u32::MAX);
            let known = known.min(TERMINALS_COUNTED_MAX);
            let all = made.settings.per_terminal.map(|one| one / known.max(1));
            Some(all.map_or(store, |all| all.min(store)))
        });
        let Some(interval) = interval else {
            return Ok(());
        };
        let bucket = self.hasher.hash_one((store_id, class));
        let taken = made.stores.take(bucket, interval, &self.clock);
        taken.map_err(|wait_ms| self.refuse(Limited::Store, store_id, wait_ms))
    }

    #[cold]
    fn refuse(&self, limited: Limited, store_id: &str, wait_ms: u64) -> Refusal {
        let store_id = self.name(store_id);
        let limit = limited.name();
        metrics::counter!(names::RATE_LIMITED, "limit" => limit, "store_id" => store_id)
            .increment(1);
        Refusal::RateLimited { limited, wait_ms }
    }

    /// The name under which a store is counted.
    fn name(&self, store_id: &str) -> String {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(store_id) || store_id.is_empty() {
            return store_id.to_owned();
        }
        if named.len() >= NAMED_MAX {
            return tillwatch_model::dimension::OVERFLOW.to_owned();
        }
        named.insert(store_id.into());
        store_id.to_owned()
    }

    /// Forgets the buckets that are full again.
    pub fn forget(&self) {
        let made = self.made.load();
        for buckets in [&made.terminals, &made.stores, &made.addresses, &made.apps] {
            buckets.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits() -> SenderLimits {
        SenderLimits::new(Settings {
            terminal: Some(MINUTE / 20),
            terminal_burst: 60,
            store: Some(MINUTE / 100),
            per_terminal: Some(MINUTE / 12),
            stores: HashMap::from([("large".into(), Some(MINUTE / 600)), ("free".into(), None)]),
            app: Some(MINUTE / 1_000),
            address: Some(MINUTE / 1_000),
        })
    }

    /// How many requests pass at once, before one does not, and how long that one waits. Unit: ms.
    fn passing(mut pass: impl FnMut() -> Result<(), Refusal>) -> (usize, u64) {
        for passed in 0..100_000 {
            match pass() {
                Ok(()) => {}
                Err(Refusal::RateLimited { wait_ms, .. }) => return (passed, wait_ms),
                Err(other) => panic!("{other}"),
            }
        }
        (usize::MAX, 0)
    }

    fn near((passed, wait_ms): (usize, u64), expected: usize, interval_ms: u64) {
        // Time goes on while they pass.
        assert!(
            (expected..expected + expected / 20 + 3).contains(&passed),
            "{passed}"
        );
        assert!(wait_ms <= interval_ms, "{wait_ms} ms");
    }

    #[test]
    fn a_terminal_has_its_burst_and_takes_nothing_of_another_store() {
        let limits = limits();
        let one = |store, terminal| limits.pass(store, Some(terminal), Class::Live, || 1);
        near(passing(|| one("s1", "t1")), 60, 3_000);
        near(passing(|| one("s1", "t2")), 40, 600);
        near(passing(|| one("s2", "t1")), 60, 3_000);
        let backlog = || limits.pass("s1", Some("t1"), Class::Backlog, || 1);
        near(passing(backlog), 60, 3_000);
    }

    #[test]
    fn a_store_has_a_hundred_or_twelve_for_each_of_its_terminals_or_what_is_set() {
        let limits = limits();
        let of = |store: &'static str, terminals| {
            passing(|| limits.pass(store, None, Class::Live, || terminals))
        };
        near(of("small", 3), 100, 600);
        near(of("middle", 50), 600, 100);
        near(of("large", 1), 600, 100);
        assert_eq!(of("free", 1).0, usize::MAX);
    }

    #[test]
    fn an_address_has_its_own_and_no_setting_means_no_limit() {
        let limits = limits();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        near(
            passing(|| limits.pass_address(address("192.0.2.1"))),
            1_000,
            60,
        );
        assert!(limits.pass_address(address("192.0.2.2")).is_ok());
        limits.set(Settings::default());
        assert_eq!(
            passing(|| limits.pass_address(address("192.0.2.1"))).0,
            usize::MAX
        );
        assert_eq!(
            passing(|| limits.pass("s", Some("t"), Class::Live, || 1)).0,
            usize::MAX
        );
    }
}
