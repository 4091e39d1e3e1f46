//! Which store holds how many of the places that all stores share: queues, missing ranges, idempotency keys.
//!
//! [`ShareRule`] says who gets another place. Every store has an account here while it holds something, up to as
//! many stores as may have a share of their own; the stores beyond that have one account together. If the
//! operator lists the fleet's stores, those in the list have accounts and all others share one, so that invented
//! stores cannot take more than one store can. Nothing here is asked for a batch that comes in order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tillwatch_model::ShareRule;

use crate::self_metrics as names;
use crate::throttle::Throttle;

/// What there is only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Queues whose sequence numbers are remembered.
    Queues,
    /// Ranges of missing numbers in queues.
    Gaps,
    /// Idempotency keys.
    Keys,
}

impl What {
    /// All of them, in the order of their numbers, with their names in metrics and in the log.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Queues, "queues"),
        (Self::Gaps, "gaps"),
        (Self::Keys, "idempotency_keys"),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

const KINDS: usize = What::ALL.len();

static REFUSED: [Throttle; KINDS] = [
    Throttle::new("stores that have as many queues as they may"),
    Throttle::new("stores that have as many gaps as they may"),
    Throttle::new("stores that have as many idempotency keys as they may"),
];

/// How many places there are of each kind, and for whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Queues in all. Unit: queues.
    pub queues_max: usize,
    /// Missing ranges in all. A range takes two numbers of memory. Unit: ranges.
    pub gaps_max: usize,
    /// Idempotency keys in all, on disk and in memory. Unit: keys.
    pub keys_max: usize,
    /// Stores that may have a share of their own. Unit: stores.
    pub stores_max: usize,
    /// The stores that have a share of their own, if the operator lists them.
    pub listed: Option<Arc<HashSet<Box<str>>>>,
}

/// The value of [`Settings::gaps_max`].
pub const GAPS_MAX: usize = 1_000_000;

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            queues_max: 400_000,
            gaps_max: GAPS_MAX,
            keys_max: 5_000_000,
            stores_max: 5_000,
            listed: None,
        }
    }
}

/// Where a store's places are counted. Valid as long as a place is held in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(u32);

/// The account of all stores that have none of their own.
const OTHERS: Account = Account(0);

impl Account {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one account holds.
#[derive(Debug, Default)]
struct Holding {
    store_id: Box<str>,
    held: [usize; KINDS],
}

#[derive(Debug)]
struct Accounts {
    by_store: HashMap<Box<str>, Account, foldhash::fast::RandomState>,
    /// By number; the first is that of the others.
    holdings: Vec<Holding>,
    free: Vec<Account>,
    totals: [usize; KINDS],
}

/// How much of one kind is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Places that are held.
    pub held: usize,
    /// Places that there are.
    pub places: usize,
    /// Places that the store with most of them holds.
    pub largest: usize,
}

/// The accounts of all stores.
#[derive(Debug)]
pub struct Shares {
    rules: [ShareRule; KINDS],
    stores_max: usize,
    listed: Option<Arc<HashSet<Box<str>>>>,
    accounts: Mutex<Accounts>,
    refused: [metrics::Counter; KINDS],
}

impl Shares {
    /// Shares of which nothing is held yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        let listed = settings.listed.as_ref().map(|stores| stores.len());
        let stores_max = listed.unwrap_or(settings.stores_max);
        let rule = |places| ShareRule::new(places, stores_max);
        Arc::new(Self {
            rules: [settings.queues_max, settings.gaps_max, settings.keys_max].map(rule),
            stores_max,
            listed: settings.listed.clone(),
            accounts: Mutex::new(Accounts {
                by_store: HashMap::default(),
                holdings: vec![Holding::default()],
                free: Vec::new(),
                totals: [0; KINDS],
            }),
            refused: What::ALL
                .map(|(_, what)| metrics::counter!(names::SHARE_REFUSED, "what" => what)),
        })
    }

    /// Takes a place for a store, if the rule gives it one.
    pub fn take(&self, what: What, store_id: &str) -> Option<Account> {
        let mut accounts = self.lock();
        let account = self.account(&mut accounts, store_id);
        let held = accounts.holdings[account.index()].held[what as usize];
        let total = accounts.totals[what as usize];
        if self.rules[what as usize].has_room(held, total) {
            accounts.add(what, account, 1);
            return Some(account);
        }
        accounts.close_if_empty(account);
        drop(accounts);
        self.refuse(what, store_id, held, total);
        None
    }

    /// Whether the rule gives an account another place. It is not taken.
    pub fn has_room(&self, what: What, account: Account) -> bool {
        let accounts = self.lock();
        let held = accounts.holdings[account.index()].held[what as usize];
        self.rules[what as usize].has_room(held, accounts.totals[what as usize])
    }

    /// As [`Shares::has_room`], for somebody who is turned away if there is none.
    pub fn admits(&self, what: What, account: Account, store_id: &str) -> bool {
        let has_room = self.has_room(what, account);
        if !has_room {
            let accounts = self.lock();
            let held = accounts.holdings[account.index()].held[what as usize];
            let total = accounts.totals[what as usize];
            drop(accounts);
            self.refuse(what, store_id, held, total);
        }
        has_room
    }

    /// Takes places for a store whatever the rule says: those that a start finds.
    pub fn restore(&self, what: What, store_id: &str, places: usize) -> Account {
        let mut accounts = self.lock();
        let account = self.account(&mut accounts, store_id);
        accounts.add(what, account, places);
        account
    }

    /// Takes places in an account, which were granted before.
    pub fn add(&self, what: What, account: Account, places: usize) {
        self.lock().add(what, account, places);
    }

    /// Gives places back.
    pub fn give(&self, what: What, account: Account, places: usize) {
        let mut accounts = self.lock();
        let held = &mut accounts.holdings[account.index()].held[what as usize];
        *held = held.saturating_sub(places);
        let total = &mut accounts.totals[what as usize];
        *total = total.saturating_sub(places);
        accounts.close_if_empty(account);
    }

    /// How many places of a kind all stores hold together.
    #[must_use]
    pub fn held(&self, what: What) -> usize {
        self.lock().totals[what as usize]
    }

    /// How much of a kind is held, and by whom most. Looks at every account: for a page, not for a batch.
    #[must_use]
    pub fn usage(&self, what: What) -> Usage {
        let accounts = self.lock();
        let of_stores = accounts.holdings.iter().skip(1);
        let largest = of_stores.map(|one| one.held[what as usize]).max();
        Usage {
            held: accounts.totals[what as usize],
            places: self.rules[what as usize].places(),
            largest: largest.unwrap_or(0),
        }
    }

    /// The account of a store: a new one if it has none and may have one.
    fn account(&self, accounts: &mut Accounts, store_id: &str) -> Account {
        if let Some(account) = accounts.by_store.get(store_id) {
            return *account;
        }
        let may_have_one = match &self.listed {
            Some(listed) => listed.contains(store_id),
            // The empty name is that of the others.
            None => accounts.by_store.len() < self.stores_max && !store_id.is_empty(),
        };
        if may_have_one {
            accounts.open(store_id)
        } else {
            OTHERS
        }
    }

    #[cold]
    fn refuse(&self, what: What, store_id: &str, held: usize, total: usize) {
        self.refused[what as usize].increment(1);
        if let Some(suppressed) = REFUSED[what as usize].pass() {
            let rule = self.rules[what as usize];
            tracing::warn!(
                store_id,
                what = what.name(),
                held,
                held_by_all = total,
                places = rule.places(),
                guaranteed = rule.guaranteed(),
                suppressed,
                "a store holds as much as it may while others need room, and is answered 503 for more"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn open(&mut self, store_id: &str) -> Account {
        let holding = Holding {
            store_id: store_id.into(),
            held: [0; KINDS],
        };
        let account = if let Some(account) = self.free.pop() {
            self.holdings[account.index()] = holding;
            account
        } else {
            self.holdings.push(holding);
            // There are at most as many as stores may have shares.
            Account(u32::try_from(self.holdings.len() - 1).unwrap_or(0))
        };
        self.by_store.insert(store_id.into(), account);
        account
    }

    fn add(&mut self, what: What, account: Account, places: usize) {
        self.holdings[account.index()].held[what as usize] += places;
        self.totals[what as usize] += places;
    }

    /// An account in which nothing is held is closed: its number may become that of another store.
    fn close_if_empty(&mut self, account: Account) {
        let holding = &mut self.holdings[account.index()];
        if account == OTHERS || holding.held != [0; KINDS] {
            return;
        }
        let store_id = std::mem::take(&mut holding.store_id);
        if self.by_store.remove(&store_id).is_some() {
            self.free.push(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(queues_max: usize, stores_max: usize, listed: Option<&[&str]>) -> Arc<Shares> {
        Shares::new(&Settings {
            queues_max,
            stores_max,
            listed: listed
                .map(|listed| Arc::new(listed.iter().map(|name| (*name).into()).collect())),
            ..Settings::default()
        })
    }

    /// As many queues as a store gets.
    fn take_all(shares: &Shares, store_id: &str) -> Vec<Account> {
        std::iter::from_fn(|| shares.take(What::Queues, store_id)).collect()
    }

    #[test]
    fn the_largest_gives_way_first_and_every_store_keeps_its_share() {
        let shares = shares(1_000, 9, None);
        // Fifty each are guaranteed to nine stores and to the others; five hundred are common.
        let greedy = take_all(&shares, "greedy");
        assert_eq!(greedy.len(), 250);
        assert_eq!(take_all(&shares, "second").len(), 125);
        for store in 0..7 {
            let store_id = format!("s-{store}");
            assert!(take_all(&shares, &store_id).len() >= 50, "{store_id}");
        }
        // Nine stores have accounts: all that come later have one together.
        assert_eq!(take_all(&shares, "tenth").len(), 50);
        assert_eq!(take_all(&shares, "eleventh").len(), 0);
        assert!(shares.take(What::Queues, "greedy").is_none());
        let usage = shares.usage(What::Queues);
        assert_eq!((usage.largest, usage.places), (250, 1_000));
        assert!(usage.held <= 1_000);
        // What is given back is free again, and so is the account.
        shares.give(What::Queues, greedy[0], greedy.len());
        assert!(take_all(&shares, "s-0").len() + take_all(&shares, "twelfth").len() > 0);
        assert_eq!(shares.lock().by_store.len(), 9);
    }

    #[test]
    fn stores_that_are_not_in_the_list_share_what_one_store_gets() {
        let shares = shares(1_000, 5_000, Some(&["a", "b", "c"]));
        let mut invented = 0;
        for store in 0..2_000 {
            invented += usize::from(shares.take(What::Queues, &format!("x-{store}")).is_some());
        }
        assert_eq!(invented, 250);
        for store_id in ["a", "b", "c"] {
            assert!(take_all(&shares, store_id).len() >= 125, "{store_id}");
        }
        assert_eq!(shares.lock().by_store.len(), 3);
    }

    #[test]
    fn an_account_lives_as_long_as_anything_is_held_in_it() {
        let shares = shares(1_000, 1, None);
        let account = shares.take(What::Queues, "a").unwrap();
        shares.add(What::Gaps, account, 3);
        assert_eq!(shares.take(What::Keys, "a"), Some(account));
        shares.give(What::Keys, account, 1);
        shares.give(What::Queues, account, 1);
        assert_eq!(shares.restore(What::Queues, "b", 1), OTHERS);
        shares.give(What::Gaps, account, 3);
        let other = shares.take(What::Queues, "b").unwrap();
        assert_eq!((other, shares.lock().holdings.len()), (account, 2));
        assert_eq!(shares.usage(What::Gaps).held, 0);
    }
}
