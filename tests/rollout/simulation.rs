//! How often a verdict errs: days of simulated fleets, in which a tenth of the stores gets a release that is as good as the
//! last one, or slower by a factor.
//!
//! The test is a small part of it; `make rollout-simulation` runs all of it and prints the table of `docs/figures.md`. The
//! numbers are the same each time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tillwatch::rollout::evidence::{Arrival, Store, Values};
use tillwatch::rollout::groups::Group;
use tillwatch::rollout::{Evidence, Look, Plan, Verdict, judge};

use crate::fleet::{Fleet, LOGIN, LOOK_HOURS, Measure, Measured, SYNC, body_of};
use crate::support::{CANDIDATE, evidence as by_hand, with_shares};

/// What a simulated release does to durations.
const FACTORS: [f64; 5] = [1.0, 1.1, 1.2, 1.3, 1.5];
/// Where 1.0, 1.2 and 1.3 stand in it.
const GOOD: usize = 0;
const AT_LIMIT: usize = 2;
const SLOWER: usize = 3;
const CANDIDATE_SHARE: usize = 10;

/// How many tenths of the stores take their turn as the candidates of one day.
const CHOICES: usize = 4;

/// The verdict after each look, by factor; a verdict once given stays.
type Day = Vec<[Verdict; 6]>;

/// The default plan without what is not simulated. Three metrics still share the error.
fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.ratios.clear();
    plan.values.retain(|_, criterion| !criterion.is_level);
    for criterion in plan.values.values_mut() {
        criterion.is_optional = true;
        // The simulated durations stand for themselves, not for the limits of a shop.
        criterion.green_under = None;
        criterion.rollback_over = None;
    }
    plan
}

/// One day of a fleet, in which `measures` are measured and the release multiplies the first of them: for each choice of
/// candidates what would have been said.
fn day(seed: u64, stores: usize, noise: f64, measures: &[&Measure]) -> Vec<Day> {
    let mut random = fastrand::Rng::with_seed(seed);
    let fleets: Vec<Fleet> = {
        let shared = Fleet::new(&mut random, stores, noise);
        let others = measures.iter().skip(1).map(|_| shared.again(&mut random));
        let others: Vec<Fleet> = others.collect();
        std::iter::once(shared).chain(others).collect()
    };
    let mut order: Vec<usize> = (0..stores).collect();
    random.shuffle(&mut order);
    let bodies: Vec<Vec<f32>> = measures.iter().map(|measure| body_of(measure)).collect();
    let measured: Vec<Vec<Measured>> = (0..stores)
        .map(|store| {
            let all = fleets.iter().zip(measures).zip(&bodies);
            all.map(|((fleet, measure), body)| fleet.measure(&mut random, store, measure, body))
                .collect()
        })
        .collect();
    let plan = plan();
    let tenth = (stores / CANDIDATE_SHARE).max(1);
    let choices: Vec<&[usize]> = order.chunks(tenth).take(CHOICES).collect();
    let mut days = vec![vec![[Verdict::Hold; 6]; FACTORS.len()]; choices.len()];
    for look in 0..LOOK_HOURS.len() {
        let mut evidence = Evidence {
            release: "new".to_owned(),
            against: Some("old".to_owned()),
            step_percent: 10,
            look: Some(Look(u32::try_from(look).unwrap())),
            stores: (0..stores)
                .map(|number| store_of(number, &measured[number], measures, look))
                .collect(),
            arrival: Arrival::default(),
            ..Evidence::default()
        };
        for (treated, verdicts) in choices.iter().zip(&mut days) {
            for store in *treated {
                evidence.stores[*store].group = CANDIDATE;
            }
            for (at, factor) in FACTORS.iter().enumerate() {
                let earlier = look.checked_sub(1).map(|earlier| verdicts[at][earlier]);
                if let Some(given @ (Verdict::Fail | Verdict::Pass)) = earlier {
                    verdicts[at][look] = given;
                    continue;
                }
                for store in *treated {
                    let now = measured[*store][0].now(look, *factor);
                    let values = evidence.stores[*store].values.get_mut(measures[0].name);
                    values.unwrap().now = now;
                }
                verdicts[at][look] = judge(&plan, &evidence).verdict;
            }
            for store in *treated {
                evidence.stores[*store] = store_of(*store, &measured[*store], measures, look);
            }
        }
    }
    days
}

/// A store in which nothing has changed.
fn store_of(number: usize, measured: &[Measured], measures: &[&Measure], look: usize) -> Store {
    let values = measured.iter().zip(measures).map(|(measured, measure)| {
        let values = Values {
            now: measured.now(look, 1.0),
            before: measured.before[look].clone(),
            days: measured.days.clone(),
            ..Values::default()
        };
        (measure.name.to_owned(), values)
    });
    Store {
        name: format!("store-{number:04}"),
        group: Group::Control,
        volume: None,
        values: values.collect(),
        shares: std::collections::BTreeMap::new(),
    }
}

/// So many days, on as many threads as there are processors.
fn days(count: usize, stores: usize, noise: f64, measures: &[&Measure]) -> Vec<Day> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let verdicts = day(number as u64, stores, noise, measures);
                    done.lock().unwrap().extend(verdicts);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// The share of days with this verdict after a look, in percent.
fn share(days: &[Day], factor: usize, look: usize, verdict: Verdict) -> f64 {
    let such = days.iter().filter(|day| day[factor][look] == verdict);
    100.0 * such.count() as f64 / days.len() as f64
}

#[test]
fn verdicts_err_as_rarely_as_is_promised() {
    let days = days(25, 50, 1.0, &[&SYNC]);
    let of = |factor, look, verdict| share(&days, factor, look, verdict);
    // A hundred verdicts tell 0.5 % from 7 %, and 60 % from 40 %, and no more.
    let false_fails = of(GOOD, 5, Verdict::Fail);
    let passes = of(GOOD, 5, Verdict::Pass);
    let wrong_passes = of(AT_LIMIT, 5, Verdict::Pass);
    let found = [0, 5].map(|look| of(SLOWER, look, Verdict::Fail));
    let said = format!("{false_fails} {passes} {wrong_passes} {found:?}");
    assert!(false_fails < 3.0, "{said}");
    assert!(passes >= 85.0, "{said}");
    assert!(wrong_passes <= 12.0, "{said}");
    assert!(found[0] >= 45.0 && found[1] >= 90.0, "{said}");
}

/// How long a verdict over this many stores takes, of everything in the default plan.
fn sweep(stores: usize) -> Duration {
    let fleet = Fleet::new(&mut fastrand::Rng::with_seed(1), stores, 1.0);
    let (mut random, body) = (fastrand::Rng::with_seed(2), body_of(&SYNC));
    // A few stores' histograms, many times: their sizes matter, not their values.
    let measured: Vec<Measured> = (0..20)
        .map(|store| fleet.measure(&mut random, store, &SYNC, &body))
        .collect();
    let plan = Plan::default();
    let mut evidence = by_hand(1.0);
    let like = evidence.stores[0].clone();
    evidence.stores = (0..stores)
        .map(|number| {
            let source = &measured[number % measured.len()];
            let values = Values {
                now: source.now(5, 1.0),
                before: source.before[5].clone(),
                days: source.days.clone(),
                ..Values::default()
            };
            Store {
                name: format!("store-{number:04}"),
                group: if number % CANDIDATE_SHARE == 0 {
                    CANDIDATE
                } else {
                    Group::Control
                },
                values: plan
                    .values
                    .keys()
                    .map(|name| (name.clone(), values.clone()))
                    .collect(),
                ..like.clone()
            }
        })
        .collect();
    for name in plan.ratios.keys() {
        evidence = with_shares(evidence, name, 40, 40);
    }
    let begun = Instant::now();
    let judgement = judge(&plan, &evidence);
    let took = begun.elapsed();
    assert_ne!(judgement.verdict, Verdict::NotJudged);
    took
}

/// `make rollout-simulation` sets the variable: the whole simulation takes a quarter of an hour of processor.
#[test]
fn the_whole_simulation() {
    if std::env::var_os("ROLLOUT_SIMULATION").is_none() {
        assert!(sweep(200) < Duration::from_secs(20));
        return;
    }
    println!(
        "| fleet | days and verdicts | a good release fails | found at 1.3 times within 1 h, 4 h, 24 h | at 1.5 times | a good release passes | passes at 1.1 and, wrongly, at 1.2 times |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, count, stores, noise, measures) in [
        ("50 stores, synchronisation", 400, 50, 1.0, &[&SYNC][..]),
        ("the same, noise doubled", 400, 50, 2.0, &[&SYNC]),
        ("50 stores, offline login", 400, 50, 1.0, &[&LOGIN]),
        ("50 stores, both together", 400, 50, 1.0, &[&SYNC, &LOGIN]),
        ("500 stores, synchronisation", 60, 500, 1.0, &[&SYNC]),
        ("the same, noise doubled", 60, 500, 2.0, &[&SYNC]),
    ] {
        let days = days(count, stores, noise, measures);
        let of = |factor, look, verdict| share(&days, factor, look, verdict);
        let found =
            |factor| [0, 2, 5].map(|look| format!("{:.1} %", of(factor, look, Verdict::Fail)));
        let passed = |factor| format!("{:.1} %", of(factor, 5, Verdict::Pass));
        println!(
            "| {name} | {count}, {} | {:.2} % | {} | {} | {} | {}, {} |",
            days.len(),
            of(GOOD, 5, Verdict::Fail),
            found(SLOWER).join(", "),
            found(SLOWER + 1).join(", "),
            passed(GOOD),
            passed(1),
            passed(AT_LIMIT),
        );
    }
    for stores in [50, 500, 2_000] {
        println!("one verdict over {stores} stores: {:?}", sweep(stores));
    }
}
