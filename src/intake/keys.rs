//! Batches with an idempotency key: for senders that keep no sequence numbers.
//!
//! A key is *reserved* while its batch is on its way to the disk, *pending* once that is durable, and
//! *kept* once a seal has written it. Pending keys are all in memory; of those kept, the ones last
//! used are cached, and the rest are looked up. A second post of a reserved key waits for the first.
//!
//! Each key takes a place of its store's share, until it is forgotten.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tillwatch_model::keyed::KEY_KEPT_MS;
use tillwatch_model::{FirstResult, KeyId, StoreKeys};

use crate::intake::key_shares::KeyShares;
use crate::intake::refusal::Refusal;
use crate::intake::shares::{Account, Shares};
use crate::intake::under_way::{UnderWay, Waiter};
use crate::tasks::Jobs;

const KEY_BYTES_MAX: usize = 255;
/// A lock for each of these; two threads rarely want the same one.
const SHARDS: usize = 64;
/// Requests whose keys are searched for on the disk at once. It has one connection for readers.
const SEARCHES_MAX: usize = 2;
/// Keys forgotten at once: a seal waits no longer for this than for another seal.
const FORGET_MAX: usize = 50_000;

/// A request's key.
#[derive(Debug, Clone, Copy)]
pub struct Key<'h>(&'h [u8]);

impl<'h> Key<'h> {
    /// Takes these bytes as a key if they can be one: visible ASCII characters, and not too many.
    #[must_use]
    pub fn new(key: &'h [u8]) -> Option<Self> {
        let is_visible = key.iter().all(u8::is_ascii_graphic);
        (is_visible && (1..=KEY_BYTES_MAX).contains(&key.len())).then_some(Self(key))
    }

    /// What stands for a batch that came with it. Senders choose keys without knowing of each other, so
    /// a key means something only together with the terminal; batches of one request differ by place.
    #[must_use]
    pub fn id(self, store_id: &str, terminal_id: &str, place: usize) -> KeyId {
        digest(
            [store_id.as_bytes(), terminal_id.as_bytes(), self.0],
            &(place as u64).to_le_bytes(),
        )
    }

    /// What stands for a batch that came with nothing, by what it holds. No key is empty, so none can
    /// stand for the same.
    #[must_use]
    pub fn id_of_content(store_id: &str, terminal_id: &str, content: &[u8]) -> KeyId {
        digest([store_id.as_bytes(), terminal_id.as_bytes(), &[]], content)
    }
}

/// Makes the digest of parts, whose lengths tell where each ends, and of a rest.
fn digest(parts: [&[u8]; 3], rest: &[u8]) -> KeyId {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.update(rest);
    let digest: [u8; 32] = digest.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Where keys are kept.
pub trait KeySource: Send + Sync + 'static {
    /// Finds those of these keys that are on disk. Blocks. `None` when the disk cannot say.
    fn find(&self, ids: &[KeyId]) -> Option<Vec<(KeyId, FirstResult)>>;
    /// Forgets keys received before this time, some at once, and says how many. Blocks.
    fn forget(&self, before_ms: i64, at_most: usize) -> usize;
}

/// Bounds of the memory for keys.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Keys in all, on disk and in memory; past it a new one is answered 503. Unit: keys.
    pub keys_max: usize,
    /// Keys cached beside those that are pending. Unit: keys.
    pub cached_max: usize,
}

/// Keys that a start finds on disk.
#[derive(Debug, Default)]
pub struct OnDisk {
    /// How many keys there are.
    pub count: usize,
    /// All of the keys, if the cache can hold them; else none.
    pub cached: Vec<(KeyId, FirstResult)>,
    /// How many keys each store has, with those that no seal has written yet.
    pub by_store: Vec<StoreKeys>,
}

/// What became of an attempt to reserve a key.
#[derive(Debug)]
pub enum Reserve {
    /// The key is new, and reserved until [`Keys::settle`].
    Fresh,
    /// The key's batch is durable; this is what it came to.
    Known(FirstResult),
    /// The key's batch is on its way to the disk. When that is over, ask again.
    InFlight(Waiter),
    /// Only the disk knows the key: look it up (again) and ask again.
    LookUp,
    /// There is no room for the key now, or none in its store's share.
    Full,
}

/// What a look-up found.
#[derive(Debug, Default)]
pub struct LookedUp {
    found: Vec<(KeyId, FirstResult)>,
    /// How many seals came before the look-up: a later one may have moved a key from memory to the disk.
    as_of: Option<u64>,
}

#[derive(Debug)]
enum Entry {
    Reserved {
        under_way: UnderWay,
        /// Whether a seal has been quicker than the word that the batch is durable.
        is_sealed: bool,
        /// Where the key's place is counted.
        account: Account,
    },
    Pending(FirstResult),
}

type Shard = HashMap<KeyId, Entry, foldhash::fast::RandomState>;

/// The idempotency keys of all senders.
pub struct Keys {
    settings: Settings,
    source: Arc<dyn KeySource>,
    /// Where the disk is searched, a few requests at once: the threads that may block have other work, too.
    searches: Jobs,
    shards: Vec<Mutex<Shard>>,
    cache: Cache<KeyId, FirstResult, foldhash::fast::RandomState>,
    /// Keys ever put into the cache. While it is within the cache's bound, nothing has left it.
    cached: AtomicUsize,
    /// Keys on disk.
    kept: AtomicUsize,
    /// Keys reserved or pending.
    in_memory: AtomicUsize,
    /// Keys received before this are forgotten, Unix ms. No batch's time is good enough for that: one that
    /// came while the clock was wrong would make keys fresh that were counted.
    kept_since_ms: AtomicI64,
    /// Seals that moved keys from memory to the disk.
    seals: AtomicU64,
    /// How many keys each store has.
    shares: KeyShares,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Keys({})", self.count())
    }
}

impl Keys {
    /// Keys as a start finds them: those on disk, and those of batches that no seal has written yet.
    pub fn new<'k>(
        settings: Settings,
        source: Arc<dyn KeySource>,
        on_disk: OnDisk,
        pending: impl Iterator<Item = (&'k KeyId, &'k FirstResult)>,
        shares: Arc<Shares>,
    ) -> Arc<Self> {
        let cache = Cache::builder()
            .max_capacity(settings.cached_max as u64)
            // The default policy would rather keep what is asked for often than what is new.
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(foldhash::fast::RandomState::default());
        let keys = Self {
            settings,
            source,
            searches: Jobs::new(SEARCHES_MAX),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            cache,
            cached: AtomicUsize::new(0),
            kept: AtomicUsize::new(on_disk.count),
            in_memory: AtomicUsize::new(0),
            kept_since_ms: AtomicI64::new(i64::MIN),
            seals: AtomicU64::new(0),
            shares: KeyShares::new(shares, on_disk.by_store),
        };
        // The cache has fewer keys than there are on disk: it never holds all.
        if on_disk.cached.len() < on_disk.count {
            keys.cached.store(usize::MAX / 2, Ordering::SeqCst);
        }
        for (id, first) in on_disk.cached {
            keys.put_in_cache(id, first);
        }
        for (id, first) in pending {
            let entry = Entry::Pending(*first);
            if keys.shard(id).insert(*id, entry).is_none() {
                keys.in_memory.fetch_add(1, Ordering::Relaxed);
            }
        }
        Arc::new(keys)
    }

    /// Looks up those of these keys that memory does not know.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the disk cannot say.
    pub async fn look_up(&self, mut ids: Vec<KeyId>) -> Result<LookedUp, Refusal> {
        // While the cache holds all, no look-up is needed; should it fill up now, there has been none.
        if self.is_cache_complete() {
            return Ok(LookedUp::default());
        }
        let as_of = Some(self.seals.load(Ordering::SeqCst));
        let mut found = Vec::new();
        // A found key is noted, because it may be pushed out of the cache before it is asked for.
        ids.retain(|id| match self.cache.get(id) {
            Some(first) => {
                found.push((*id, first));
                false
            }
            None => true,
        });
        if !ids.is_empty() {
            let source = Arc::clone(&self.source);
            let search = self.searches.run(move || source.find(&ids));
            found.extend(search.await.ok_or(Refusal::Internal)?);
        }
        Ok(LookedUp { found, as_of })
    }

    /// Reserves a key of a store's batch, or says what is known of it.
    pub fn reserve(&self, id: &KeyId, store_id: &str, looked_up: &LookedUp) -> Reserve {
        let mut shard = self.shard(id);
        match shard.get_mut(id) {
            Some(Entry::Pending(first)) => return Reserve::Known(*first),
            Some(Entry::Reserved { under_way, .. }) => {
                return Reserve::InFlight(under_way.waiter());
            }
            None => {}
        }
        let was_found = || looked_up.found.iter().find(|(found, _)| found == id);
        let known = self
            .cache
            .get(id)
            .or_else(|| was_found().map(|(_, first)| *first));
        // What has been forgotten may still be cached.
        let kept_since_ms = self.kept_since_ms.load(Ordering::Relaxed);
        if let Some(first) = known.filter(|first| first.received_at_ms >= kept_since_ms) {
            return Reserve::Known(first);
        }
        let is_current = looked_up.as_of == Some(self.seals.load(Ordering::SeqCst));
        if known.is_none() && !is_current && !self.is_cache_complete() {
            return Reserve::LookUp;
        }
        if self.count() >= self.settings.keys_max {
            return Reserve::Full;
        }
        let Some(account) = self.shares.take(store_id) else {
            return Reserve::Full;
        };
        self.in_memory.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::Reserved {
            under_way: UnderWay::default(),
            is_sealed: false,
            account,
        };
        shard.insert(*id, entry);
        Reserve::Fresh
    }

    /// Ends a reservation: the batch is durable, and this is what it came to; or (`None`) it is not, and
    /// the key has not been used. Whoever waits for it is told to ask again.
    pub fn settle(&self, id: &KeyId, durable: Option<FirstResult>) {
        let mut shard = self.shard(id);
        // Dropping what is under way wakes those who wait.
        let (is_sealed, account) = match shard.get(id) {
            Some(Entry::Reserved {
                is_sealed, account, ..
            }) => (*is_sealed, *account),
            _ => return,
        };
        let received_at_ms = durable.map(|first| first.received_at_ms);
        self.shares.settle(account, received_at_ms);
        match durable {
            Some(first) if !is_sealed => drop(shard.insert(*id, Entry::Pending(first))),
            _ => {
                shard.remove(id);
                self.in_memory.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// A seal has written these keys: the disk knows them now.
    pub fn sealed(&self, keys: &[(KeyId, FirstResult)]) {
        if keys.is_empty() {
            return;
        }
        self.seals.fetch_add(1, Ordering::SeqCst);
        self.kept.fetch_add(keys.len(), Ordering::Relaxed);
        for (id, first) in keys {
            let mut shard = self.shard(id);
            self.put_in_cache(*id, *first);
            match shard.get_mut(id) {
                Some(Entry::Reserved { is_sealed, .. }) => *is_sealed = true,
                Some(Entry::Pending(_)) => {
                    shard.remove(id);
                    self.in_memory.fetch_sub(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }

    /// Forgets keys that have been kept for long enough by a clock that can be trusted. Blocks.
    pub fn forget(&self, now_ms: i64) {
        let since_ms = now_ms.saturating_sub(KEY_KEPT_MS);
        self.kept_since_ms.fetch_max(since_ms, Ordering::Relaxed);
        let forgotten = self.source.forget(since_ms, FORGET_MAX);
        self.shares.forget(since_ms);
        let less = |kept: usize| Some(kept.saturating_sub(forgotten));
        let _always_some = self
            .kept
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Keys known, on disk and in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.load(Ordering::Relaxed) + self.in_memory.load(Ordering::Relaxed)
    }

    /// Counts the posts that wait for another one of the same key.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let mut waiting = 0;
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values() {
                if let Entry::Reserved { under_way, .. } = entry {
                    waiting += under_way.waiting();
                }
            }
        }
        waiting
    }

    fn put_in_cache(&self, id: KeyId, first: FirstResult) {
        // The count rises first: what pushes another key out must not be taken for a cache that holds all.
        self.cached.fetch_add(1, Ordering::SeqCst);
        self.cache.insert(id, first);
    }

    /// Whether every key on disk is in the cache: then one that is not there is new.
    fn is_cache_complete(&self) -> bool {
        self.cached.load(Ordering::SeqCst) <= self.settings.cached_max
    }

    fn shard(&self, id: &KeyId) -> MutexGuard<'_, Shard> {
        // The id is a digest: any of its bytes is as good as a hash.
        let index = usize::from(id[0]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use tillwatch_model::StoreKeys;
    use tillwatch_model::time::HOUR_MS;

    use super::*;
    use crate::intake::shares;

    /// A disk that remembers.
    #[derive(Default)]
    struct Disk(Mutex<HashMap<KeyId, FirstResult>>);

    impl KeySource for Disk {
        fn find(&self, ids: &[KeyId]) -> Option<Vec<(KeyId, FirstResult)>> {
            let disk = self.0.lock().unwrap();
            let known = |id: &KeyId| Some((*id, *disk.get(id)?));
            Some(ids.iter().filter_map(known).collect())
        }

        fn forget(&self, before_ms: i64, at_most: usize) -> usize {
            let mut disk = self.0.lock().unwrap();
            let old = disk
                .iter()
                .filter(|(_, first)| first.received_at_ms < before_ms);
            let old: Vec<KeyId> = old.map(|(id, _)| *id).take(at_most).collect();
            old.iter().filter(|id| disk.remove(*id).is_some()).count()
        }
    }

    fn keys(cached_max: usize, keys_max: usize) -> (Arc<Keys>, Arc<Disk>) {
        let disk = Arc::new(Disk::default());
        let settings = Settings {
            keys_max,
            cached_max,
        };
        let source = Arc::clone(&disk) as Arc<dyn KeySource>;
        let none = std::iter::empty();
        let shares = Shares::new(&shares::Settings {
            keys_max,
            stores_max: 1,
            ..shares::Settings::default()
        });
        let keys = Keys::new(settings, source, OnDisk::default(), none, shares);
        (keys, disk)
    }

    fn id(number: u8) -> KeyId {
        let mut id = [0; 16];
        id[0] = number;
        id
    }

    fn first(received_at_ms: i64, accepted: u64) -> FirstResult {
        FirstResult {
            received_at_ms,
            accepted,
            rejected: 1,
        }
    }

    /// What the pipeline does: the state file first, then the word of it.
    fn seal(keys: &Keys, disk: &Disk, cut: &mut Vec<(KeyId, FirstResult)>) {
        disk.0.lock().unwrap().extend(cut.iter().copied());
        keys.sealed(cut);
        cut.clear();
    }

    #[tokio::test]
    async fn however_posts_failures_and_seals_follow_each_other_a_key_counts_once() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (keys, disk) = keys(random.usize(0..6), 1_000);
            let held = || keys.shares.held();
            let mut counted: HashMap<KeyId, FirstResult> = HashMap::new();
            let mut cut = Vec::new();
            for step in 0..2_000_u64 {
                let id = id(random.u8(0..40));
                let mut looked_up = keys.look_up(vec![id]).await.unwrap();
                // A seal, or several, between the look-up and what follows from it.
                for _ in 0..random.u8(0..3) {
                    seal(&keys, &disk, &mut cut);
                }
                let mut reserved = keys.reserve(&id, "s", &looked_up);
                while matches!(reserved, Reserve::LookUp) {
                    looked_up = keys.look_up(vec![id]).await.unwrap();
                    reserved = keys.reserve(&id, "s", &looked_up);
                }
                match reserved {
                    Reserve::Known(known) => {
                        assert_eq!(counted.get(&id), Some(&known), "seed {seed}")
                    }
                    Reserve::Fresh => {
                        assert!(!counted.contains_key(&id), "seed {seed}: counted twice");
                        if random.u8(0..4) == 0 {
                            keys.settle(&id, None);
                            continue;
                        }
                        let result = first(0, step);
                        counted.insert(id, result);
                        cut.push((id, result));
                        // The aggregate, and so a seal, may be quicker than the word to the sender.
                        if random.bool() {
                            seal(&keys, &disk, &mut cut);
                        }
                        keys.settle(&id, Some(result));
                    }
                    other => panic!("{other:?}"),
                }
            }
            seal(&keys, &disk, &mut cut);
            assert_eq!(
                keys.in_memory.load(Ordering::Relaxed),
                0,
                "nothing is left behind"
            );
            assert_eq!((keys.count(), counted.len(), held()), (40, 40, 40));
        }
    }

    #[tokio::test]
    async fn a_second_post_waits_and_takes_over_when_the_first_fails() {
        let (keys, _) = keys(10, 10);
        let nothing = LookedUp::default();
        assert!(matches!(
            keys.reserve(&id(1), "s", &nothing),
            Reserve::Fresh
        ));
        let wait = || match keys.reserve(&id(1), "s", &nothing) {
            Reserve::InFlight(waiter) => waiter,
            other => panic!("it is not durable yet: {other:?}"),
        };
        let (waiter, goes_away) = (wait(), wait());
        let too_late = wait().over(Instant::now()).await;
        assert!(matches!(too_late, Err(Refusal::Busy)));
        assert_eq!(
            keys.waiting(),
            2,
            "who has given up is no longer waited for"
        );
        drop(goes_away);
        assert_eq!(keys.waiting(), 1);
        keys.settle(&id(1), None);
        let an_hour = Instant::now() + Duration::from_secs(3_600);
        assert!(waiter.over(an_hour).await.is_ok());
        assert_eq!(keys.count(), 0, "the key is not used up");
        assert!(matches!(
            keys.reserve(&id(1), "s", &nothing),
            Reserve::Fresh
        ));
        keys.settle(&id(1), Some(first(5, 7)));
        assert!(
            matches!(keys.reserve(&id(1), "s", &nothing), Reserve::Known(known) if known == first(5, 7))
        );
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_25_hours_and_its_place_is_free_again() {
        // Of twenty places five are guaranteed to each of two accounts, and of ten others one takes half.
        let (keys, disk) = keys(10, 20);
        let mut cut = Vec::new();
        let reserve = |number, store_id| keys.reserve(&id(number), store_id, &LookedUp::default());
        for number in 1..=5 {
            assert!(matches!(reserve(number, "s"), Reserve::Fresh));
            keys.settle(&id(number), Some(first(0, 1)));
            cut.push((id(number), first(0, 1)));
        }
        seal(&keys, &disk, &mut cut);
        assert!(matches!(reserve(6, "s"), Reserve::Full));
        assert!(
            matches!(reserve(7, "other"), Reserve::Fresh),
            "the others have their own"
        );
        keys.settle(&id(7), None);
        keys.forget(KEY_KEPT_MS);
        assert!(matches!(reserve(1, "s"), Reserve::Known(_)));
        assert!(matches!(reserve(6, "s"), Reserve::Full));
        keys.forget(KEY_KEPT_MS + 1);
        assert_eq!(keys.count(), 0);
        // A share counts by the hour.
        assert!(matches!(reserve(1, "s"), Reserve::Full));
        keys.forget(KEY_KEPT_MS + HOUR_MS);
        assert!(matches!(reserve(1, "s"), Reserve::Fresh));
        assert!(matches!(reserve(6, "s"), Reserve::Fresh));
        assert_eq!(keys.shares.held(), 2);
    }

    #[test]
    fn a_start_knows_how_many_keys_each_store_has() {
        let keys_max = 20;
        let shares = Shares::new(&shares::Settings {
            keys_max,
            stores_max: 1,
            ..shares::Settings::default()
        });
        let settings = Settings {
            keys_max,
            cached_max: 0,
        };
        let by_store = [("s", 5), ("", 2)].map(|(store_id, keys)| StoreKeys {
            store_id: store_id.into(),
            hour: 7,
            keys,
        });
        let on_disk = OnDisk {
            count: 7,
            by_store: by_store.into(),
            ..OnDisk::default()
        };
        let source = Arc::new(Disk::default());
        let keys = Keys::new(settings, source, on_disk, std::iter::empty(), shares);
        let looked_up = LookedUp {
            found: Vec::new(),
            as_of: Some(0),
        };
        let reserve = |number, store_id| keys.reserve(&id(number), store_id, &looked_up);
        assert!(matches!(reserve(1, "s"), Reserve::Full));
        assert!(matches!(reserve(1, "other"), Reserve::Fresh));
        keys.forget(8 * HOUR_MS + KEY_KEPT_MS);
        assert!(matches!(reserve(2, "s"), Reserve::Fresh));
        assert_eq!(keys.shares.held(), 2);
    }

    #[test]
    fn an_identity_is_one_senders_one_keys_and_one_places() {
        let key = |text: &'static str| Key(text.as_bytes());
        let one = key("k").id("s", "t", 0);
        assert_eq!(one, key("k").id("s", "t", 0));
        for other in [
            key("k2").id("s", "t", 0),
            key("k").id("s2", "t", 0),
            key("k").id("s", "t2", 0),
            key("k").id("s", "t", 1),
            // The parts cannot run into each other.
            key("k").id("st", "", 0),
            key("tk").id("s", "", 0),
        ] {
            assert_ne!(one, other);
        }
    }
}
