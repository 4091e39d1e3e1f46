//! How many idempotency keys each store has.
//!
//! The keys that are kept are counted by the hour in which they came, because that is how they are forgotten:
//! nobody remembers the store of a single key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tillwatch_model::StoreKeys;
use tillwatch_model::time::HOUR_MS;

use crate::intake::shares::{Account, Shares, What};

type ByHour = BTreeMap<i64, HashMap<Account, usize, foldhash::fast::RandomState>>;

/// The keys' part of what all stores share.
#[derive(Debug)]
pub(super) struct KeyShares {
    shares: Arc<Shares>,
    /// Keys of durable batches by the hour in which they came, since 1970, and by account.
    by_hour: Mutex<ByHour>,
}

impl KeyShares {
    /// Takes a place for each key that a start finds.
    pub(super) fn new(shares: Arc<Shares>, found: Vec<StoreKeys>) -> Self {
        let mut by_hour = ByHour::default();
        for of_store in found {
            let account = shares.restore(What::Keys, &of_store.store_id, of_store.keys);
            let of_hour = by_hour.entry(of_store.hour).or_default();
            *of_hour.entry(account).or_default() += of_store.keys;
        }
        Self {
            shares,
            by_hour: Mutex::new(by_hour),
        }
    }

    /// Takes a place for a key, if its store gets one.
    pub(super) fn take(&self, store_id: &str) -> Option<Account> {
        self.shares.take(What::Keys, store_id)
    }

    /// The key with this place is kept from the time at which its batch was received; or (`None`) it is not used.
    pub(super) fn settle(&self, account: Account, received_at_ms: Option<i64>) {
        match received_at_ms {
            None => self.shares.give(What::Keys, account, 1),
            Some(received_at_ms) => {
                let hour = received_at_ms.div_euclid(HOUR_MS);
                let mut by_hour = self.lock();
                *by_hour.entry(hour).or_default().entry(account).or_default() += 1;
            }
        }
    }

    /// Gives back the places of keys that came in hours that were over at this time.
    pub(super) fn forget(&self, before_ms: i64) {
        let mut by_hour = self.lock();
        let kept = by_hour.split_off(&before_ms.div_euclid(HOUR_MS));
        let gone = std::mem::replace(&mut *by_hour, kept);
        drop(by_hour);
        for (account, keys) in gone.into_values().flatten() {
            self.shares.give(What::Keys, account, keys);
        }
    }

    /// Places that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.shares.held(What::Keys)
    }

    fn lock(&self) -> MutexGuard<'_, ByHour> {
        self.by_hour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
