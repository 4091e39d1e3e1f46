//! What holds for any stores, however many and however strange.

use proptest::prelude::*;
use tillwatch::rollout::evidence::{Count, Shares, Store, Values, Volume};
use tillwatch::rollout::groups::{Group, History, Span, group_of, usual_release};
use tillwatch::rollout::looks::{FAIL_ERROR, PASS_ERROR, SILENCE_ERROR};
use tillwatch::rollout::probability::{binomial_upper, fisher_upper};
use tillwatch::rollout::ranks::{Levels, critical, shift, shift_alone};
use tillwatch::rollout::silence::silent_since;
use tillwatch::rollout::{Evidence, Look, Plan, Verdict, Windows, judge};
use tillwatch_model::SparseHistogram;

use crate::support::{CANDIDATE, SYNC, evidence, plan};

fn changes(most: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-2.0_f64..2.0, 0..most)
}

fn levels() -> impl Strategy<Value = Levels> {
    (0.0005_f64..0.2, 0.0005_f64..0.2).prop_map(|(fail, pass)| Levels { fail, pass })
}

fn histogram() -> impl Strategy<Value = SparseHistogram> {
    let values = prop_oneof![
        Just(0_u64),
        1_u64..5_000,
        1_u64..1_000_000_000,
        Just(u64::MAX)
    ];
    (prop::collection::vec(values, 0..40), 1_usize..8).prop_map(|(values, times)| {
        let mut histogram = SparseHistogram::default();
        for value in values.iter().cycle().take(values.len() * times) {
            histogram.record(*value);
        }
        histogram
    })
}

fn group() -> impl Strategy<Value = Group> {
    prop_oneof![
        Just(CANDIDATE),
        Just(Group::Candidate {
            from: 3,
            was_moved_back: true
        }),
        Just(Group::Mixed { from: -4 }),
        Just(Group::Control),
        Just(Group::Neither),
    ]
}

fn count() -> impl Strategy<Value = Count> {
    (0_u64..500, 0_u64..500).prop_map(|(bad, all)| Count { bad, all })
}

fn any_store() -> impl Strategy<Value = Store> {
    (
        group(),
        histogram(),
        histogram(),
        histogram(),
        (count(), count(), count()),
        prop::collection::vec(prop::option::of(0_u64..10_000_000), 0..8),
        (0_u64..9_999, 0_u32..30, 0_u64..9_999, 0_u32..200),
    )
        .prop_map(|(group, now, before, others, counts, days, volume)| Store {
            name: "store".to_owned(),
            group,
            volume: Some(Volume {
                now: volume.0,
                hours_now: volume.1,
                before: volume.2,
                hours_before: volume.3,
            }),
            values: [(
                SYNC.to_owned(),
                Values {
                    now,
                    before,
                    days,
                    others,
                },
            )]
            .into(),
            shares: [(
                "sync_success".to_owned(),
                Shares {
                    now: counts.0,
                    before: counts.1,
                    others: counts.2,
                },
            )]
            .into(),
        })
}

/// Everything of a judgement that numbers say, to compare two of them.
fn told(judgement: &tillwatch::rollout::Judgement) -> String {
    let findings: Vec<_> = judgement
        .findings
        .iter()
        .map(|finding| (finding.state, finding.worse, finding.now, finding.before))
        .collect();
    format!(
        "{:?} {:?} {findings:?}",
        judgement.verdict, judgement.reasons
    )
}

proptest! {
    #[test]
    fn a_shift_of_all_candidates_moves_the_estimate_and_both_bounds_by_itself(
        (one, other, by, levels) in (changes(12), changes(40), -1.0_f64..1.0, levels()),
    ) {
        let moved: Vec<f64> = one.iter().map(|change| change + by).collect();
        match (shift(&one, &other, levels), shift(&moved, &other, levels)) {
            (Some(before), Some(after)) => {
                prop_assert!((after.estimate - before.estimate - by).abs() < 1e-9);
                for (before, after) in [(before.low, after.low), (before.high, after.high)] {
                    prop_assert_eq!(before.is_some(), after.is_some());
                    if let (Some(before), Some(after)) = (before, after) {
                        prop_assert!((after - before - by).abs() < 1e-9);
                    }
                }
            }
            (before, after) => prop_assert!(before.is_none() && after.is_none()),
        }
    }

    #[test]
    fn swapping_the_groups_turns_the_interval_round(
        (one, other, levels) in (changes(12), changes(40), levels()),
    ) {
        let swapped = Levels { fail: levels.pass, pass: levels.fail };
        match (shift(&one, &other, levels), shift(&other, &one, swapped)) {
            (Some(here), Some(there)) => {
                prop_assert!((here.estimate + there.estimate).abs() < 1e-12);
                prop_assert_eq!(here.low.map(|low| -low), there.high);
                prop_assert_eq!(here.high.map(|high| -high), there.low);
            }
            (here, there) => prop_assert!(here.is_none() && there.is_none()),
        }
    }

    #[test]
    fn the_interval_holds_its_estimate_and_a_stricter_level_widens_it(
        (one, other, levels) in (changes(15), changes(40), levels()),
    ) {
        let strict = Levels { fail: levels.fail / 3.0, pass: levels.pass / 3.0 };
        for (wide, narrow) in [
            (shift(&one, &other, strict), shift(&one, &other, levels)),
            (shift_alone(&one, strict), shift_alone(&one, levels)),
        ] {
            let (Some(wide), Some(narrow)) = (wide, narrow) else { continue };
            if let Some(low) = narrow.low {
                prop_assert!(low <= narrow.estimate);
                prop_assert!(wide.low.is_none_or(|wide| wide <= low));
            }
            if let Some(high) = narrow.high {
                prop_assert!(high >= narrow.estimate);
                prop_assert!(wide.high.is_none_or(|wide| wide >= high));
            }
        }
    }

    #[test]
    fn the_rank_of_a_bound_grows_with_its_level_and_never_reaches_the_middle(
        (n1, n0, level) in (1_usize..60, 1_usize..80, 0.0005_f64..0.2),
    ) {
        let c = critical(n1, n0, level);
        prop_assert!(critical(n1, n0, level / 2.0) <= c);
        prop_assert!(2 * c <= n1 * n0 + 1);
        prop_assert_eq!(critical(n0, n1, level), c);
    }

    #[test]
    fn shares_of_the_error_never_exceed_all_of_it(
        (minimum, compared, looks) in (1_u32..400, 1_usize..12, 1_u32..80),
    ) {
        let looks = (0..looks).map(Look);
        let fail: f64 = looks.clone().map(|look| look.fail_level(compared)).sum();
        let silence: f64 = looks.clone().map(Look::silence_level).sum();
        let pass: f64 = looks.filter_map(|look| look.pass_level(minimum)).sum();
        prop_assert!(fail * compared as f64 <= FAIL_ERROR * (1.0 + 1e-12), "{}", fail);
        prop_assert!(silence <= SILENCE_ERROR * (1.0 + 1e-12), "{}", silence);
        prop_assert!(pass <= PASS_ERROR * (1.0 + 1e-12), "{}", pass);
    }

    #[test]
    fn the_latest_look_is_the_last_whose_hours_have_passed(hours in 0_u32..5_000) {
        let latest = Look::latest(hours);
        prop_assert!(latest.is_none_or(|look| look.hours() <= hours));
        prop_assert!(Look::after(latest).hours() > hours);
        let first = Look::first_pass(hours.max(1));
        prop_assert!(first.hours() >= hours.max(1));
        prop_assert!(first.pass_level(hours.max(1)).is_some());
    }

    #[test]
    fn the_order_of_stores_does_not_matter((factor, seed) in (0.7_f64..1.8, 0_u64..1_000)) {
        let straight = evidence(factor);
        let mut shuffled = straight.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled.stores);
        prop_assert_eq!(told(&judge(&plan(), &straight)), told(&judge(&plan(), &shuffled)));
    }

    #[test]
    fn a_slower_release_never_gets_a_better_verdict((factor, more) in (0.7_f64..1.8, 1.0_f64..1.5)) {
        let badness = |factor: f64| match judge(&plan(), &evidence(factor)).verdict {
            Verdict::Pass => 0,
            Verdict::Hold => 1,
            Verdict::Fail => 2,
            Verdict::NotJudged => 3,
        };
        prop_assert!(badness(factor) <= badness(factor * more));
    }

    #[test]
    fn a_fleet_that_is_all_slower_by_the_same_factor_is_no_worse(
        (factor, all) in (0.7_f64..1.8, 1.0_f64..20.0),
    ) {
        let mut slower = evidence(factor);
        for store in &mut slower.stores {
            for values in store.values.values_mut() {
                for histogram in [&mut values.now, &mut values.before] {
                    let mut scaled = SparseHistogram::default();
                    for (index, count) in histogram.pairs() {
                        let value = tillwatch_model::histogram::bucket_highest(index) as f64 * all;
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
                        (0..count).for_each(|_| scaled.record(value as u64));
                    }
                    *histogram = scaled;
                }
            }
        }
        let mut plan = plan();
        plan.values.values_mut().for_each(|criterion| criterion.rollback_over = None);
        let ratio = |evidence: &Evidence| judge(&plan, evidence).findings[0].worse.unwrap().estimate;
        // Buckets are 0.1 % wide, on both sides of a quotient of quotients.
        prop_assert!((ratio(&slower) / ratio(&evidence(factor)) - 1.0).abs() < 0.005);
    }

    #[test]
    fn nothing_panics_and_little_never_passes(
        (stores, look, percent) in (prop::collection::vec(any_store(), 0..30), prop::option::of(0_u32..9), 0_u32..120),
    ) {
        let has_candidates = stores.iter().filter(|store| store.group.is_candidate()).count();
        let evidence = Evidence {
            release: "2.5.0".to_owned(),
            step_percent: percent,
            look: look.map(Look),
            stores,
            ..Evidence::default()
        };
        let judgement = judge(&Plan::default(), &evidence);
        prop_assert!(!judgement.explained().is_empty());
        if has_candidates < 3 {
            prop_assert!(judgement.verdict != Verdict::Pass && judgement.verdict != Verdict::Fail);
        }
        // The default plan needs three durations, and only one is there.
        prop_assert!(judgement.verdict != Verdict::Pass);
    }

    #[test]
    fn tails_are_probabilities(
        (a, n1, b, n0, p) in (0_u64..60, 0_u64..60, 0_u64..300, 0_u64..300, 0.0_f64..=1.0),
    ) {
        let (a, b) = (a.min(n1), b.min(n0));
        let fisher = fisher_upper(a, n1, b, n0);
        prop_assert!((-1e-9..=1.0 + 1e-9).contains(&fisher), "{}", fisher);
        let binomial = binomial_upper(a, n1, p);
        prop_assert!((-1e-9..=1.0 + 1e-9).contains(&binomial), "{}", binomial);
        prop_assert!(binomial_upper(a + 1, n1, p) <= binomial + 1e-9);
    }

    #[test]
    fn windows_are_whole_and_meet_the_same_hours_of_the_day(
        (start, first_ms, number, since) in (-500_i64..500_000, -1_000_000_i64..1_000_000_000_000, 0_u32..12, -500_i64..500_000),
    ) {
        let windows = Windows::of(start, first_ms, Look(number));
        let before = windows.before();
        prop_assert_eq!(before.len(), 7 * usize::try_from((windows.until - windows.start).min(24)).unwrap());
        for hour in &before {
            prop_assert!(*hour < windows.before_until && windows.day_before(*hour).unwrap() < 7);
            let now = windows.now();
            prop_assert!(now.into_iter().any(|now| (now - hour).rem_euclid(24) == 0));
        }
        let later = windows.since(since);
        prop_assert!(later.start >= windows.start && later.until == windows.until);
        prop_assert!(later.start <= later.until);
    }

    #[test]
    fn a_terminal_that_is_heard_now_is_not_silent(
        (heard, week_before, until) in (prop::collection::vec(0_i64..100, 0..30), prop::collection::vec(-168_i64..-60, 0..40), 0_i64..110),
    ) {
        let since = silent_since(&heard, &week_before, until);
        let last = heard.iter().copied().filter(|hour| *hour < until).max();
        prop_assert!(since.is_none_or(|since| since < until && last.is_none_or(|last| since > last)));
        let mut with_now = heard.clone();
        with_now.push(until - 1);
        prop_assert_eq!(silent_since(&with_now, &week_before, until), None);
    }

    #[test]
    fn whoever_ever_had_the_release_is_no_control(
        spans in prop::collection::vec((0_usize..4, 0_i64..50, 1_i64..50, 0_u64..500), 0..8),
    ) {
        let names = ["2.4.1", "2.5.0", "2.6.0", "unknown"];
        let spans: Vec<Span> = spans
            .iter()
            .map(|(name, from, length, terminal_hours)| Span {
                release: names[*name].to_owned(),
                from: *from,
                until: from + length,
                terminal_hours: *terminal_hours,
            })
            .collect();
        let history = History { store: "s".to_owned(), spans, terminals: 4, terminals_on: 4 };
        let group = group_of(&history, "2.5.0", Some("2.4.1"), &(20..60));
        let had = history.spans.iter().any(|span| span.release == "2.5.0");
        prop_assert!(!(had && group == Group::Control));
        prop_assert!(had || !group.is_candidate());
        let usual = usual_release(std::slice::from_ref(&history), "2.5.0", 40);
        prop_assert!(usual.is_none_or(|usual| usual != "2.5.0" && usual != "unknown"));
    }
}
