//! Drawn stores without the release: how many would have failed, and what a slowdown is found from.

use tillwatch::rollout::groups::Group;
use tillwatch::rollout::placebo::placebo;
use tillwatch::rollout::probability::normal_quantile;
use tillwatch::rollout::{Evidence, Look, Verdict, judge};

use crate::support::{CANDIDATE, DAY, SYNC, evidence, plan, store, values};

/// Stores whose days differ far more than those of a fleet that trades, at the look with the most of the error.
fn noisy() -> Evidence {
    let mut noisy = evidence(1.0);
    noisy.look = Some(Look(0));
    let count = noisy.stores.len() as f64;
    for (number, store) in (0_u32..).zip(&mut noisy.stores) {
        let place = (f64::from(number * 17 % 50) + 0.5) / count;
        let values_now = store.values.get_mut(SYNC).unwrap();
        values_now.before = values(1_000.0);
        values_now.now = values(1_000.0 * (0.4 * normal_quantile(place)).exp());
    }
    noisy
}

#[test]
fn a_calm_fleet_fails_no_draw_and_a_noisy_one_some() {
    let calm = placebo(&plan(), &evidence(1.0), 5).unwrap();
    assert_eq!(
        (calm.draws, calm.stores, calm.of, calm.failed),
        (1_000, 5, 45, 0)
    );
    assert!(
        calm.line()
            .contains("of 1000 draws of 5 from the 45 other stores 0.0 %"),
        "{}",
        calm.line()
    );
    let noisy = placebo(&plan(), &noisy(), 5).unwrap();
    assert!((1..30).contains(&noisy.failed), "{noisy:?}");
    assert!(noisy.found[SYNC] > calm.found[SYNC], "{noisy:?}");
}

#[test]
fn the_draws_are_the_same_in_whatever_order_the_stores_come() {
    let one = noisy();
    let mut other = one.clone();
    other.stores.reverse();
    assert_eq!(placebo(&plan(), &one, 5), placebo(&plan(), &other, 5));
}

#[test]
fn what_is_slower_than_the_factor_that_is_found_fails() {
    let found = placebo(&plan(), &evidence(1.0), 5).unwrap().found[SYNC];
    assert!((1.15..1.35).contains(&found), "{found}");
    let fails = |factor: f64| judge(&plan(), &evidence(factor)).verdict == Verdict::Fail;
    assert!(fails(found * 1.05));
    assert!(!fails(found * 0.9));
    // After an hour less is sure than after a day, if less was measured; of the same values the first look has the most of
    // the error.
    let mut first = evidence(1.0);
    first.look = Some(Look(0));
    assert!(placebo(&plan(), &first, 5).unwrap().found[SYNC] <= found + 1e-9);
}

#[test]
fn too_few_stores_are_not_drawn_from() {
    let mut few = evidence(1.0);
    few.stores.truncate(17);
    assert_eq!(placebo(&plan(), &few, 2), None, "two stores show nothing");
    assert_eq!(
        placebo(&plan(), &few, 3),
        None,
        "nine are left to be held against"
    );
    few.stores
        .push(store("store-x".to_owned(), Group::Control, 800.0, 800.0));
    assert!(placebo(&plan(), &few, 3).is_some());
    let mut without = evidence(1.0);
    without.look = None;
    assert_eq!(placebo(&plan(), &without, 5), None);
    // Stores of the release and those that the plan leaves out are not drawn.
    let mut excluded = evidence(1.0);
    excluded.look = Some(DAY);
    excluded.stores[10].group = CANDIDATE;
    let mut plan = plan();
    plan.exclude
        .insert(excluded.stores[20].name.clone(), "rebuilt".to_owned());
    assert_eq!(placebo(&plan, &excluded, 5).unwrap().of, 43);
}
