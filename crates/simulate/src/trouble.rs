//! Describes what is wrong in a store: which values get worse, and from when on.

use std::time::Duration;

use humantime::parse_duration;
use tillwatch_model::time::millis;

/// What may be wrong in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Synchronisations take many times as long, and more of them fail.
    SlowSync,
    /// Round trips are long, the network comes and goes, samples are dropped.
    BadNetwork,
    /// Memory and queues fill up, and the terminals become slow.
    Memory,
    /// The store is not heard of any more.
    Silent,
    /// One till is not heard of any more: the store's second, or its only one.
    DeadTill,
    /// One till cannot synchronise any more: the store's second, or its only one. It goes on reporting.
    Stuck,
    /// The tills lose sealed batches: some they tell of, some nobody ever hears of, and some come late.
    Lost,
    /// A build has a fault: an error that nobody has seen before, in this store first and then in others.
    NewError,
}

/// The names of the troubles on the command line.
const KINDS: [(&str, TroubleKind); 8] = [
    ("slow-sync", TroubleKind::SlowSync),
    ("bad-network", TroubleKind::BadNetwork),
    ("memory", TroubleKind::Memory),
    ("silent", TroubleKind::Silent),
    ("dead-till", TroubleKind::DeadTill),
    ("stuck", TroubleKind::Stuck),
    ("lost", TroubleKind::Lost),
    ("new-error", TroubleKind::NewError),
];

/// Without a store's number, so many stores have one that has the trouble.
const STORES_PER_TROUBLE: u32 = 10;
/// A new error reaches a quarter of the stores, and as many as this if there are so many.
const NEW_ERROR_STORES_MIN: u32 = 3;
/// Every so many tills of a store one has the build with the new error.
const NEW_ERROR_EVERY: u32 = 2;

/// Trouble in one store, or in a tenth of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub kind: TroubleKind,
    /// The store's number, from 1; none: a tenth of the stores, each kind in others.
    pub store: Option<u32>,
    /// How long after the beginning of the run the trouble begins, ms.
    pub from_ms: i64,
}

/// Why a text is no trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no trouble; write slow-sync, bad-network, memory, silent, dead-till, stuck, lost or new-error, a store's number and when it begins, such as silent:7@20m"
)]
pub struct TroubleError;

/// Where a till stands in the fleet. Everything is counted from 0.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// The store.
    pub store: u32,
    /// How many stores there are.
    pub stores: u32,
    /// The till in its store.
    pub till: u32,
    /// How many tills the store has.
    pub tills: u32,
}

impl Trouble {
    /// Reads `silent:7@20m`; without a time it is there from the beginning, without a store in a tenth of them.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, TroubleError> {
        let (place, from) = match text.split_once('@') {
            Some((place, from)) => (place, parse_duration(from).ok().ok_or(TroubleError)?),
            None => (text, Duration::ZERO),
        };
        let (name, store) = match place.split_once(':') {
            Some((name, store)) => (name, Some(store.parse().ok().ok_or(TroubleError)?)),
            None => (place, None),
        };
        let kind = KINDS.iter().find(|(known, _)| *known == name);
        match (kind, store) {
            (None, _) | (_, Some(0)) => Err(TroubleError),
            (Some((_, kind)), store) => Ok(Self {
                kind: *kind,
                store,
                from_ms: millis(from),
            }),
        }
    }

    /// How long after the beginning of the run the trouble comes to a till, ms; `None`: never. What spreads takes
    /// `spread_ms` for that.
    pub fn comes_to(&self, spot: Spot, spread_ms: i64) -> Option<i64> {
        let stores = spot.stores.max(1);
        let first = self.first_store(stores);
        let is_here = match self.store {
            Some(_) => spot.store == first,
            None => spot.store % STORES_PER_TROUBLE.min(stores) == first,
        };
        match self.kind {
            TroubleKind::NewError => {
                let reach = (stores / 4).max(NEW_ERROR_STORES_MIN).min(stores);
                let distance = (spot.store + stores - first) % stores;
                let is_reached = distance < reach && spot.till.is_multiple_of(NEW_ERROR_EVERY);
                let later_ms = spread_ms * i64::from(distance) / i64::from(reach);
                is_reached.then(|| self.from_ms.saturating_add(later_ms))
            }
            TroubleKind::DeadTill | TroubleKind::Stuck => {
                let is_second = spot.till == 1.min(spot.tills.saturating_sub(1));
                (is_here && is_second).then_some(self.from_ms)
            }
            TroubleKind::SlowSync
            | TroubleKind::BadNetwork
            | TroubleKind::Memory
            | TroubleKind::Silent
            | TroubleKind::Lost => is_here.then_some(self.from_ms),
        }
    }

    /// The first store that has the trouble, from 0. Without a number the kinds begin in different stores, so that
    /// each can be told from the others.
    fn first_store(&self, stores: u32) -> u32 {
        let place = KINDS.iter().zip(0_u32..);
        let own = place.filter(|((_, kind), _)| *kind == self.kind);
        let own = own.map(|(_, number)| number).next().unwrap_or(0);
        match self.store {
            Some(store) => store.saturating_sub(1),
            None => own % STORES_PER_TROUBLE.min(stores),
        }
    }
}

impl TroubleKind {
    /// How much larger the trouble makes the values of a metric.
    pub fn factor(self, metric: &str) -> f64 {
        match (self, metric) {
            (Self::SlowSync, "sync_duration_ms") => 6.5,
            (Self::SlowSync, "queue_wait_ms") => 5.0,
            (Self::SlowSync, "reconnect_to_synced_ms") => 2.0,
            (Self::BadNetwork, "network_latency_ms") => 7.0,
            (Self::BadNetwork, "ttfb_ms") => 3.0,
            (Self::BadNetwork, "lcp_ms" | "fcp_ms" | "page_load_ms") => 1.5,
            (Self::BadNetwork, "sync_duration_ms") => 1.4,
            (Self::Memory, "memory_used_mb") => 1.75,
            (Self::Memory, "inp_ms") => 2.6,
            (Self::Memory, "idb_write_ms") => 3.0,
            (Self::Memory, "product_search_ms") => 1.8,
            _ => 1.0,
        }
    }

    /// The share of a metric's attempts that fails on top of what fails anyway.
    pub fn failing(self, metric: &str) -> f64 {
        match (self, metric) {
            (Self::SlowSync, "sync_attempts") => 0.03,
            (Self::BadNetwork, "sync_attempts") => 0.02,
            (Self::Stuck, "sync_attempts") => 1.0,
            _ => 0.0,
        }
    }

    /// What else it measures: a metric, and its share of a minute's samples.
    pub fn extra(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::BadNetwork => &[("errors", 0.025), ("dropped_samples", 0.03)],
            Self::SlowSync => &[("errors", 0.008)],
            Self::Memory => &[("errors", 0.004)],
            Self::Silent | Self::DeadTill | Self::Stuck | Self::Lost | Self::NewError => &[],
        }
    }

    /// Transactions that wait in each terminal at least.
    pub fn pending_least(self) -> u64 {
        if self == Self::Memory { 810 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_a_kind_a_store_and_a_time() {
        let trouble = Trouble::parse("silent:7@20m").unwrap();
        assert_eq!(
            (trouble.kind, trouble.store),
            (TroubleKind::Silent, Some(7))
        );
        assert_eq!(trouble.from_ms, 1_200_000);
        assert_eq!(Trouble::parse("memory:3").unwrap().from_ms, 0);
        let anywhere = Trouble::parse("new-error@5m").unwrap();
        assert_eq!((anywhere.store, anywhere.from_ms), (None, 300_000));
        for bad in [
            "silent:0",
            "silent:x",
            "silent:",
            "loud:3",
            "loud",
            "silent:3@soon",
            "silent@",
            "",
        ] {
            assert_eq!(Trouble::parse(bad), Err(TroubleError), "{bad}");
        }
    }

    #[test]
    fn what_is_made_worse_is_measured() {
        let mix = crate::values::Mix::new(&tillwatch_model::Catalogue::default());
        let known = |name: &str| mix.measured()[mix.position(name)].metric.name == name;
        for (_, kind) in KINDS {
            assert!(kind.extra().iter().all(|(name, _)| known(name)));
            let is_worse = |name: &str| kind.factor(name) > 1.0 || kind.failing(name) > 0.0;
            let worse = mix.measured().iter().any(|one| is_worse(one.metric.name));
            let is_of_values = !matches!(
                kind,
                TroubleKind::Silent
                    | TroubleKind::DeadTill
                    | TroubleKind::Lost
                    | TroubleKind::NewError
            );
            assert_eq!(worse, is_of_values);
        }
    }

    /// Stores and tills that a trouble comes to, with when it does.
    fn reached(text: &str, stores: u32, tills: u32) -> Vec<(u32, u32, i64)> {
        let trouble = Trouble::parse(text).unwrap();
        let spots = (0..stores).flat_map(|store| (0..tills).map(move |till| (store, till)));
        let comes = spots.filter_map(|(store, till)| {
            let spot = Spot {
                store,
                stores,
                till,
                tills,
            };
            Some((store, till, trouble.comes_to(spot, 900)?))
        });
        comes.collect()
    }

    #[test]
    fn trouble_comes_to_a_till_a_store_or_spreads() {
        assert_eq!(reached("dead-till:3@1s", 4, 3), [(2, 1, 1_000)]);
        assert_eq!(reached("stuck:3", 4, 1), [(2, 0, 0)]);
        assert_eq!(reached("lost:1", 2, 2), [(0, 0, 0), (0, 1, 0)]);
        // First in one store, then in others, on every other till.
        let spread = [
            (0, 0, 1_300),
            (0, 2, 1_300),
            (1, 0, 1_600),
            (1, 2, 1_600),
            (3, 0, 1_000),
            (3, 2, 1_000),
        ];
        assert_eq!(reached("new-error:4@1s", 4, 3), spread);
        // Without a number a tenth of the stores, each kind in others.
        let stores = |text: &str| -> Vec<u32> {
            reached(text, 30, 1)
                .iter()
                .map(|(store, _, _)| *store)
                .collect()
        };
        assert_eq!(stores("dead-till"), [4, 14, 24]);
        assert_eq!(stores("lost"), [6, 16, 26]);
        assert_eq!(stores("new-error").len(), 7);
    }
}
