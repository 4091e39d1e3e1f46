//! Evidence by hand.

use std::collections::BTreeMap;

use tillwatch::rollout::evidence::{Adoption, Arrival, Count, Shares, Store, Values, Volume};
use tillwatch::rollout::groups::Group;
use tillwatch::rollout::silence::{Counted, Silent};
use tillwatch::rollout::{Evidence, Look, Plan};
use tillwatch_model::SparseHistogram;

pub const SYNC: &str = "sync_duration_ms";

/// The look after a day, at which a pass is possible.
pub const DAY: Look = Look(5);

/// A plan that asks only for what these tests give.
pub fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.values.retain(|name, _| name == SYNC);
    plan.ratios.clear();
    plan
}

/// 200 values whose p95 is `p95` ms.
pub fn values(p95: f64) -> SparseHistogram {
    let mut histogram = SparseHistogram::default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some milliseconds"
    )]
    let micros = (p95 * 1_000.0) as u64;
    (0..180).for_each(|_| histogram.record(micros / 3));
    (0..20).for_each(|_| histogram.record(micros));
    histogram
}

/// A store of a group whose p95 of synchronisation was `before` and is `now`.
pub fn store(name: String, group: Group, before: f64, now: f64) -> Store {
    let synchronisation = Values {
        now: values(now),
        before: values(before),
        days: Vec::new(),
        others: SparseHistogram::default(),
    };
    Store {
        name,
        group,
        volume: Some(Volume {
            now: 2_000,
            hours_now: 24,
            before: 14_000,
            hours_before: 168,
        }),
        values: [(SYNC.to_owned(), synchronisation)].into(),
        shares: BTreeMap::new(),
    }
}

pub const CANDIDATE: Group = Group::Candidate {
    from: 0,
    was_moved_back: false,
};

/// Five candidates that became `factor` times as slow and 45 controls that did not; every store differs a little.
pub fn evidence(factor: f64) -> Evidence {
    let of = |number: u32, group: Group, factor: f64| {
        let before = 800.0 + 37.0 * f64::from(number % 11);
        let wobble = 1.0 + 0.01 * f64::from(number % 7) - 0.03;
        store(
            format!("store-{number:03}"),
            group,
            before,
            before * wobble * factor,
        )
    };
    let candidates = (0..5).map(|number| of(number, CANDIDATE, factor));
    let controls = (5..50).map(|number| of(number, Group::Control, 1.0));
    Evidence {
        release: "2.5.0".to_owned(),
        against: Some("2.4.1".to_owned()),
        step_percent: 10,
        look: Some(DAY),
        stores: candidates.chain(controls).collect(),
        silence: Counted {
            candidates: 50,
            controls: 450,
            ..Counted::default()
        },
        adoption: Some(Adoption {
            adopted: 50,
            expected: 50,
        }),
        arrival: Arrival {
            expected: 50,
            posted: 50,
            ..Arrival::default()
        },
        incidents: BTreeMap::new(),
    }
}

/// The same with shares of failures: of each candidate's 10,000 attempts now, and of each control's.
pub fn with_shares(mut evidence: Evidence, name: &str, candidates: u64, controls: u64) -> Evidence {
    for (number, store) in (0_u64..).zip(&mut evidence.stores) {
        let is_candidate = store.group.is_candidate();
        let bad = if is_candidate { candidates } else { controls };
        let shares = Shares {
            now: Count {
                bad: bad + number % 5,
                all: 10_000,
            },
            before: Count {
                bad: controls + number % 3,
                all: 10_000,
            },
            others: Count::default(),
        };
        store.shares.insert(name.to_owned(), shares);
    }
    evidence
}

pub fn silent(count: usize) -> Vec<Silent> {
    (0..count)
        .map(|number| Silent {
            store: "store-000".to_owned(),
            terminal: format!("till-{number}"),
            since: 30,
        })
        .collect()
}
