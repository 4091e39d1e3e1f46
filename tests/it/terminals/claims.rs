//! How often a terminal is called silent although nothing is wrong, and how long a dead one stays unnoticed: a week of
//! 200 simulated stores after four weeks of habit, with people as they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch::fleet::{State, Watch};
use tillwatch_model::Catalogue;
use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::support::records::{START_MS, one_sample_of, settings};

const STORES: usize = 200;
const WEEKS_BEFORE: i64 = 4;
/// The simulated clock begins at midnight.
const MIDNIGHT_MS: i64 = START_MS / DAY_MS * DAY_MS;
const LOOK_EVERY_MS: i64 = 15 * MINUTE_MS;
const REPORT_EVERY_MS: i64 = 5 * MINUTE_MS;

struct Till {
    store: usize,
    number: usize,
    /// Minutes of the day.
    opens: i64,
    closes: i64,
    has_sundays: bool,
    /// The share of days on which it is used.
    used: f64,
    seq: u64,
    /// From when on it is dead; `i64::MAX`: it lives.
    dead_from_ms: i64,
}

/// When a till reports on a day, from midnight on.
fn reports(till: &Till, day: i64, shift_ms: i64, random: &mut fastrand::Rng) -> Vec<i64> {
    if (day % 7 == 6 && !till.has_sundays) || random.f64() > till.used {
        return Vec::new();
    }
    let opens = (till.opens + random.i64(-10..25)) * MINUTE_MS + shift_ms;
    let closes = (till.closes + random.i64(-20..30)) * MINUTE_MS + shift_ms;
    // Somebody goes to lunch, and sometimes the line is gone for a while.
    let lunch = (random.f64() < 0.3).then(|| random.i64(12 * 60..13 * 60) * MINUTE_MS + shift_ms);
    let outage = (random.f64() < 0.05).then(|| random.i64(till.opens..till.closes) * MINUTE_MS);
    let (lunch_ms, outage_ms) = (
        random.i64(20..50) * MINUTE_MS,
        random.i64(10..50) * MINUTE_MS,
    );
    let is_away = |t: i64| {
        let within = |begin: Option<i64>, length: i64| {
            begin.is_some_and(|begin| (begin..begin + length).contains(&t))
        };
        within(lunch, lunch_ms) || within(outage, outage_ms)
    };
    let mut times = Vec::new();
    let mut t = opens;
    while t < closes {
        if !is_away(t) {
            times.push(t);
        }
        t += REPORT_EVERY_MS;
    }
    times
}

fn record(till: &Till, t_ms: i64) -> Vec<u8> {
    let mut queue = [1; 16];
    queue[0] = u8::try_from(till.store).unwrap();
    queue[1] = u8::try_from(till.number).unwrap();
    let names = (till.store_id(), format!("till-{}", till.number));
    one_sample_of(
        (&names.0, &names.1),
        (queue, till.seq, false),
        t_ms,
        (t_ms, 1_000),
    )
}

impl Till {
    fn store_id(&self) -> String {
        format!("store-{}", self.store)
    }
}

/// Till-days on which a till is called silent, by whether it is dead, and after how many minutes of trade a dead one was.
struct Claims {
    till_days: u64,
    wrong: u64,
    wrong_of_daily: u64,
    found_after_ms: Vec<i64>,
    missed: u64,
}

fn week(seed: u64, dead_share: f64, are_clocks_changed: bool) -> Claims {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tills: Vec<Till> = Vec::new();
    for store in 0..STORES {
        let opens = random.i64(7 * 60..10 * 60);
        let closes = random.i64(18 * 60..21 * 60);
        let has_sundays = random.f64() < 0.4;
        for number in 0..random.usize(2..6) {
            let used = [1.0, 1.0, 0.98, 0.9][number.min(3)];
            let dead_from_ms = if number > 0 && random.f64() < dead_share {
                // On a day on which it is used, in the week that counts.
                MIDNIGHT_MS
                    + (7 * WEEKS_BEFORE + random.i64(0..4)) * DAY_MS
                    + random.i64(9 * 60..16 * 60) * MINUTE_MS
            } else {
                i64::MAX
            };
            tills.push(Till {
                store,
                number,
                opens,
                closes,
                has_sundays,
                used,
                seq: 0,
                dead_from_ms,
            });
        }
    }
    let catalogue = Arc::new(Catalogue::default());
    let mut aggregator = Aggregator::new(catalogue, settings(), Restored::default());
    let watch = Watch {
        after: Duration::from_secs(3_600),
        ..Watch::default()
    };
    let mut claims = Claims {
        till_days: 0,
        wrong: 0,
        wrong_of_daily: 0,
        found_after_ms: Vec::new(),
        missed: 0,
    };
    let mut position = 0;
    let mut found = vec![false; tills.len()];
    for day in 0..7 * (WEEKS_BEFORE + 1) {
        let midnight_ms = MIDNIGHT_MS + day * DAY_MS;
        let is_counted = day >= 7 * WEEKS_BEFORE;
        // Everything is an hour earlier from the fourth day of the week on.
        let is_shifted = are_clocks_changed && day >= 7 * WEEKS_BEFORE + 3;
        let shift_ms = if is_shifted { -HOUR_MS } else { 0 };
        let mut times: Vec<(i64, usize)> = Vec::new();
        // A shop is closed for a day, now and then.
        let mut closed = HashSet::new();
        for store in 0..STORES {
            if random.f64() < 0.01 {
                closed.insert(store);
            }
        }
        for (at, till) in tills.iter().enumerate() {
            if closed.contains(&till.store) {
                continue;
            }
            let of_day = reports(till, day, shift_ms, &mut random);
            let alive = of_day
                .into_iter()
                .map(|t| midnight_ms + t)
                .filter(|t| *t < till.dead_from_ms);
            times.extend(alive.map(|t| (t, at)));
        }
        times.sort_unstable();
        let mut times = times.into_iter().peekable();
        let mut wrong = vec![false; tills.len()];
        for look in 1..=DAY_MS / LOOK_EVERY_MS {
            let now_ms = midnight_ms + look * LOOK_EVERY_MS;
            while let Some((t_ms, at)) = times.next_if(|(t_ms, _)| *t_ms <= now_ms) {
                // Habit is by the hour: before it counts, every second report says the same.
                if is_counted || t_ms % (2 * REPORT_EVERY_MS) < REPORT_EVERY_MS {
                    position += 1;
                    aggregator
                        .apply(position, &record(&tills[at], t_ms))
                        .unwrap();
                    tills[at].seq += 1;
                }
            }
            watch.readiness.note(now_ms, LOOK_EVERY_MS, true);
            if !is_counted {
                continue;
            }
            let silence = watch.at(now_ms);
            let mut claimed: HashSet<(String, String)> = HashSet::new();
            for store in aggregator.terminals().stores() {
                let mut of_store = Vec::new();
                let judged = silence.judge_store(store, |terminal_id, _, judged| {
                    if judged.state == State::Silent {
                        of_store.push((store.store_id().to_string(), terminal_id.to_owned()));
                    }
                });
                if judged.is_reporting {
                    assert_eq!(judged.silent, of_store.len() as u64);
                    claimed.extend(of_store);
                }
            }
            for (at, till) in tills.iter().enumerate() {
                if !claimed.contains(&(till.store_id(), format!("till-{}", till.number))) {
                    continue;
                }
                if now_ms < till.dead_from_ms {
                    wrong[at] = true;
                } else if !found[at] {
                    found[at] = true;
                    claims.found_after_ms.push(now_ms - till.dead_from_ms);
                }
            }
        }
        if is_counted {
            claims.till_days += tills.len() as u64;
            for (till, _) in tills.iter().zip(&wrong).filter(|(_, wrong)| **wrong) {
                claims.wrong += 1;
                // Tills that are used every day are held to more.
                claims.wrong_of_daily += u64::from(till.used >= 1.0);
            }
        }
        aggregator.take();
    }
    let dead = tills
        .iter()
        .enumerate()
        .filter(|(_, till)| till.dead_from_ms < i64::MAX);
    claims.missed = dead.filter(|(at, _)| !found[*at]).count() as u64;
    claims.found_after_ms.sort_unstable();
    claims
}

fn told(name: &str, claims: &Claims) {
    println!(
        "{name}: {} till-days, {} with a false claim ({:.2} %), {} of them of tills that are used every day; {} dead tills \
         found after {} minutes at the median, {} not within the week",
        claims.till_days,
        claims.wrong,
        100.0 * claims.wrong as f64 / claims.till_days as f64,
        claims.wrong_of_daily,
        claims.found_after_ms.len(),
        claims.median_ms() / MINUTE_MS,
        claims.missed,
    );
}

impl Claims {
    fn median_ms(&self) -> i64 {
        let found = &self.found_after_ms;
        found.get(found.len() / 2).copied().unwrap_or(0)
    }
}

/// The figures are in `docs/figures.md`.
#[test]
fn a_healthy_fleet_has_few_false_claims_and_dead_tills_are_found() {
    let healthy = week(1, 0.0, false);
    told("healthy", &healthy);
    // What is left are tills that are not used on a day for the first time in four weeks: nobody can tell them from dead.
    assert!(
        healthy.wrong_of_daily * 1_000 <= healthy.till_days,
        "{}",
        healthy.wrong_of_daily
    );
    assert!(healthy.wrong * 50 <= healthy.till_days, "{}", healthy.wrong);
    let changed = week(1, 0.0, true);
    told("clocks changed", &changed);
    assert!(changed.wrong * 40 <= changed.till_days, "{}", changed.wrong);
    let troubled = week(2, 0.1, false);
    told("troubled", &troubled);
    let dead = troubled.found_after_ms.len() as u64 + troubled.missed;
    assert!(
        dead > 30 && troubled.missed * 20 <= dead,
        "{} of {dead}",
        troubled.missed
    );
    assert!(
        troubled.median_ms() <= 2 * HOUR_MS,
        "{}",
        troubled.median_ms()
    );
}
