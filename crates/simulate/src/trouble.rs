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
}

/// The names of the troubles on the command line.
const KINDS: [(&str, TroubleKind); 5] = [
    ("slow-sync", TroubleKind::SlowSync),
    ("bad-network", TroubleKind::BadNetwork),
    ("memory", TroubleKind::Memory),
    ("silent", TroubleKind::Silent),
    ("dead-till", TroubleKind::DeadTill),
];

/// Trouble in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub kind: TroubleKind,
    /// The store's number, from 1.
    pub store: u32,
    /// How long after the beginning of the run the trouble begins, ms.
    pub from_ms: i64,
}

/// Why a text is no trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no trouble; write slow-sync, bad-network, memory, silent or dead-till, a store's number and when it begins, such as silent:7@20m"
)]
pub struct TroubleError;

impl Trouble {
    /// Reads `silent:7@20m`; without a time it is there from the beginning.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, TroubleError> {
        let (name, place) = text.split_once(':').ok_or(TroubleError)?;
        let (store, from) = match place.split_once('@') {
            Some((store, from)) => (store, parse_duration(from).ok().ok_or(TroubleError)?),
            None => (place, Duration::ZERO),
        };
        let kind = KINDS.iter().find(|(known, _)| *known == name);
        let store: u32 = store.parse().ok().ok_or(TroubleError)?;
        match (kind, store) {
            (None, _) | (_, 0) => Err(TroubleError),
            (Some((_, kind)), store) => Ok(Self {
                kind: *kind,
                store,
                from_ms: millis(from),
            }),
        }
    }
}

impl TroubleKind {
    /// Whether a till of the store has the trouble, by its number there from 0 and how many tills there are.
    pub fn is_of(self, number: u32, tills: u32) -> bool {
        self != Self::DeadTill || number == 1.min(tills.saturating_sub(1))
    }

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
            _ => 0.0,
        }
    }

    /// What else it measures: a metric, and its share of a minute's samples.
    pub fn extra(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::BadNetwork => &[("errors", 0.025), ("dropped_samples", 0.03)],
            Self::SlowSync => &[("errors", 0.008)],
            Self::Memory => &[("errors", 0.004)],
            Self::Silent | Self::DeadTill => &[],
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
        assert_eq!((trouble.kind, trouble.store), (TroubleKind::Silent, 7));
        assert_eq!(trouble.from_ms, 1_200_000);
        assert_eq!(Trouble::parse("memory:3").unwrap().from_ms, 0);
        for bad in [
            "silent",
            "silent:0",
            "silent:x",
            "loud:3",
            "silent:3@soon",
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
            let is_heard = !matches!(kind, TroubleKind::Silent | TroubleKind::DeadTill);
            assert_eq!(worse, is_heard);
        }
    }
}
