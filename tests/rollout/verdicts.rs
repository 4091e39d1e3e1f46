//! One test for each rule of a verdict.

use tillwatch::rollout::criteria::{RATIOS, RatioCriterion, ValueCriterion};
use tillwatch::rollout::evidence::{Adoption, Values};
use tillwatch::rollout::groups::{Group, History, Span, group_of, usual_release};
use tillwatch::rollout::silence::{Heard, count, silent_since};
use tillwatch::rollout::verdict::{Finding, Method, Note, State};
use tillwatch::rollout::windows::{reached_ms, start_hour, step_reached, stores_of_step};
use tillwatch::rollout::{Evidence, Judgement, Look, Plan, Reason, Verdict, Windows, judge};
use tillwatch_model::{Catalogue, Unit};

use crate::support::{CANDIDATE, DAY, SYNC, evidence, plan, silent, store, values, with_shares};

fn codes(judgement: &Judgement) -> Vec<&'static str> {
    judgement.reasons.iter().map(Reason::code).collect()
}

fn of<'a>(judgement: &'a Judgement, metric: &str) -> &'a Finding {
    let mut findings = judgement.findings.iter();
    findings.find(|finding| finding.metric == metric).unwrap()
}

#[track_caller]
fn is(judgement: &Judgement, verdict: Verdict, expected: &[&str]) {
    assert_eq!(judgement.verdict, verdict, "{}", judgement.explained());
    assert_eq!(codes(judgement), expected, "{}", judgement.explained());
}

#[test]
fn a_good_release_passes_after_a_day_and_a_slow_one_fails_at_once() {
    is(&judge(&plan(), &evidence(1.0)), Verdict::Pass, &[]);
    let mut early = evidence(1.0);
    early.look = Some(Look(4));
    let judgement = judge(&plan(), &early);
    is(&judgement, Verdict::Hold, &["too_early"]);
    assert_eq!(judgement.next_look.hours(), 24);
    let mut slow = evidence(1.3);
    slow.look = Some(Look(0));
    let judgement = judge(&plan(), &slow);
    is(&judgement, Verdict::Fail, &["worse"]);
    let worse = of(&judgement, SYNC).worse.unwrap();
    assert!((worse.estimate - 1.3).abs() < 0.03, "{worse:?}");
}

#[test]
fn a_slowdown_that_is_tolerated_does_not_fail_and_one_that_may_be_more_does_not_pass() {
    is(&judge(&plan(), &evidence(1.1)), Verdict::Pass, &[]);
    is(
        &judge(&plan(), &evidence(1.19)),
        Verdict::Hold,
        &["undecided"],
    );
}

#[test]
fn a_slow_day_of_all_stores_is_nobodys_fault() {
    let mut slow_day = evidence(1.0);
    for store in &mut slow_day.stores {
        let now = values(2.0 * 1_000.0);
        store.values.get_mut(SYNC).unwrap().now = now;
    }
    let judgement = judge(&plan(), &slow_day);
    assert_ne!(
        judgement.verdict,
        Verdict::Fail,
        "{}",
        judgement.explained()
    );
}

#[test]
fn before_the_first_look_only_an_incident_decides() {
    let mut begun = evidence(2.0);
    begun.look = None;
    is(&judge(&plan(), &begun), Verdict::Hold, &["first_look"]);
    begun.incidents.insert("data_loss_incidents".to_owned(), 1);
    is(&judge(&plan(), &begun), Verdict::Fail, &["incident"]);
}

#[test]
fn too_few_stores_hold() {
    let mut few = evidence(1.5);
    few.stores.retain(|store| {
        store.name != "store-000" && store.name != "store-001" && store.name != "store-002"
    });
    is(
        &judge(&plan(), &few),
        Verdict::Hold,
        &["too_few_stores", "too_few_stores"],
    );
    let mut alone = evidence(1.5);
    let mut controls = 0;
    alone.stores.retain(|store| {
        controls += usize::from(store.group == Group::Control);
        store.group != Group::Control || controls <= 9
    });
    is(
        &judge(&plan(), &alone),
        Verdict::Hold,
        &["too_few_stores", "too_few_stores"],
    );
    let nobody = Evidence {
        stores: evidence(1.0).stores.split_off(5),
        ..evidence(1.0)
    };
    is(
        &judge(&plan(), &nobody),
        Verdict::NotJudged,
        &["no_candidates"],
    );
}

#[test]
fn a_metric_that_nobody_measured_holds_unless_it_may_be_missing() {
    let mut missing = evidence(1.0);
    missing
        .stores
        .iter_mut()
        .for_each(|store| store.values.clear());
    is(
        &judge(&plan(), &missing),
        Verdict::Hold,
        &["too_few_samples"],
    );
    let mut optional = plan();
    optional.values.get_mut(SYNC).unwrap().is_optional = true;
    let judgement = judge(&optional, &missing);
    is(&judgement, Verdict::Pass, &[]);
    assert_eq!(of(&judgement, SYNC).state, State::Absent);
}

#[test]
fn late_data_may_fail_a_release_and_never_pass_it() {
    let late = |factor| {
        let mut late = evidence(factor);
        late.arrival.posted = 47;
        late.arrival.awaited = vec!["till-3 in store-001".to_owned()];
        late
    };
    let judgement = judge(&plan(), &late(1.0));
    is(&judgement, Verdict::Hold, &["incomplete"]);
    assert!(judgement.explained().contains("till-3 in store-001"));
    is(&judge(&plan(), &late(1.5)), Verdict::Fail, &["worse"]);
    let mut gaps = evidence(1.0);
    gaps.arrival.misses_batches = true;
    is(&judge(&plan(), &gaps), Verdict::Hold, &["incomplete"]);
}

#[test]
fn most_terminals_of_a_step_must_have_the_release_after_a_day() {
    let mut few = evidence(1.0);
    few.adoption = Some(Adoption {
        adopted: 44,
        expected: 50,
    });
    is(&judge(&plan(), &few), Verdict::Hold, &["adoption"]);
}

#[test]
fn terminals_that_fall_silent_fail_a_release_whatever_was_measured() {
    let mut fallen = evidence(1.0);
    fallen.look = Some(Look(1));
    fallen.silence.silent_controls = 4;
    for (count, fails) in [(2, false), (3, false), (5, true)] {
        fallen.silence.silent = silent(count);
        let judgement = judge(&plan(), &fallen);
        assert_eq!(
            judgement.verdict == Verdict::Fail,
            fails,
            "{}",
            judgement.explained()
        );
        assert_eq!(codes(&judgement).contains(&"silence"), fails);
        assert_eq!(judgement.silent.len(), count);
    }
}

#[test]
fn silence_is_charged_to_the_release_that_came_before_it() {
    let week: Vec<i64> = (-188..-68).collect();
    let heard = |store: &str, until: i64, had_release: bool| Heard {
        store: store.to_owned(),
        terminal: "till".to_owned(),
        now: (-20..until).collect(),
        week_before: week.clone(),
        had_release,
    };
    assert_eq!(
        silent_since(&(-20..10).collect::<Vec<_>>(), &week, 30),
        Some(10)
    );
    // One missed hour is none yet, and hours in which it is never heard are no silence.
    assert_eq!(
        silent_since(&(-20..29).collect::<Vec<_>>(), &week, 30),
        None
    );
    assert_eq!(
        silent_since(&(-20..10).collect::<Vec<_>>(), &[-100], 30),
        None
    );
    let group = |store: &str| match store {
        "candidate" => Group::Candidate {
            from: 10,
            was_moved_back: false,
        },
        "control" => Group::Control,
        _ => Group::Neither,
    };
    let terminals = [
        heard("candidate", 30, true),
        heard("candidate", 20, true),
        // Its last batch still named the old release: it never came back from the update.
        heard("candidate", 11, false),
        // Not updated, and silent much later or before: nobody's.
        heard("candidate", 25, false),
        heard("candidate", 5, false),
        heard("control", 30, false),
        heard("control", 15, false),
        heard("control", -5, false),
        heard("elsewhere", 11, false),
    ];
    let counted = count(terminals, group, 0, 30);
    assert_eq!((counted.candidates, counted.silent.len()), (3, 2));
    assert_eq!((counted.controls, counted.silent_controls), (2, 1));
}

#[test]
fn samples_that_do_not_come_fail_a_release() {
    let mut quiet = evidence(1.0);
    for store in quiet
        .stores
        .iter_mut()
        .filter(|store| store.group.is_candidate())
    {
        store.volume.as_mut().unwrap().now = 1_200;
    }
    let judgement = judge(&plan(), &quiet);
    is(&judgement, Verdict::Fail, &["past_limit"]);
    assert_eq!(of(&judgement, "samples").state, State::PastLimit);
    // A quiet day of all is none.
    for store in &mut quiet.stores {
        store.volume.as_mut().unwrap().now = 1_200;
    }
    is(&judge(&plan(), &quiet), Verdict::Pass, &[]);
}

fn with_limits(green_under: Option<f64>, rollback_over: Option<f64>) -> Plan {
    let mut plan = plan();
    let criterion = plan.values.get_mut(SYNC).unwrap();
    *criterion = ValueCriterion {
        green_under,
        rollback_over,
        ..criterion.clone()
    };
    plan
}

#[test]
fn a_limit_fails_only_what_is_worse_than_the_others_and_is_void_where_it_was_broken_before() {
    let of_candidates = |before: f64, factor: f64| {
        let mut all = evidence(1.0);
        for one in all.stores.iter_mut().filter(|one| one.group.is_candidate()) {
            *one = store(one.name.clone(), CANDIDATE, before, before * factor);
        }
        all
    };
    let slower = of_candidates(1_200.0, 1.15);
    let judgement = judge(&with_limits(None, Some(1_300.0)), &slower);
    is(&judgement, Verdict::Fail, &["past_limit"]);
    let judgement = judge(&with_limits(None, Some(900.0)), &slower);
    assert!(of(&judgement, SYNC).limits.is_rollback_broken_before);
    assert_ne!(
        judgement.verdict,
        Verdict::Fail,
        "{}",
        judgement.explained()
    );
    is(
        &judge(&with_limits(Some(1_260.0), None), &slower),
        Verdict::Hold,
        &["between_the_limits"],
    );
    let broken = judge(&with_limits(Some(700.0), None), &evidence(1.0));
    is(&broken, Verdict::Pass, &[]);
    assert!(
        broken
            .explained()
            .contains("limit 700 (pass) broken before")
    );
}

#[test]
fn a_level_whose_limits_were_broken_before_is_only_compared() {
    let mut plan = with_limits(Some(10.0), Some(20.0));
    let criterion = plan.values.get_mut(SYNC).unwrap();
    criterion.worse_at_most = None;
    criterion.is_level = true;
    criterion.unit = Unit::Milliseconds;
    let judgement = judge(&plan, &evidence(3.0));
    assert_eq!(of(&judgement, SYNC).state, State::Compared);
    assert_eq!(judgement.verdict, Verdict::Pass);
}

fn with_success() -> Plan {
    let mut plan = plan();
    let criterion = RatioCriterion {
        green: 0.01,
        rollback: Some(0.05),
        is_optional: false,
        is_success: true,
    };
    plan.ratios.insert("sync_success".to_owned(), criterion);
    plan
}

#[test]
fn a_share_passes_within_green_fails_past_its_limit_and_holds_between() {
    let of_share = |candidates, controls| {
        let evidence = with_shares(evidence(1.0), "sync_success", candidates, controls);
        judge(&with_success(), &evidence)
    };
    is(&of_share(40, 40), Verdict::Pass, &[]);
    is(&of_share(900, 40), Verdict::Fail, &["past_limit"]);
    is(&of_share(300, 40), Verdict::Hold, &["between_the_limits"]);
    // All fail: it is not the release.
    let all = of_share(900, 890);
    assert_ne!(all.verdict, Verdict::Fail, "{}", all.explained());
    assert!(of(&all, "sync_success").limits.is_rollback_broken_before);
}

#[test]
fn one_store_that_is_far_off_withholds_a_pass_and_is_named() {
    let mut one = evidence(1.0);
    let usual: Vec<Option<u64>> = [
        980_000, 1_000_000, 1_020_000, 990_000, 1_010_000, 1_000_000, 1_005_000,
    ]
    .map(Some)
    .to_vec();
    for store in &mut one.stores {
        store.values.get_mut(SYNC).unwrap().days = usual.clone();
    }
    is(&judge(&plan(), &one), Verdict::Pass, &[]);
    let values_now = values(2_000.0);
    one.stores[2].values.get_mut(SYNC).unwrap().now = values_now;
    let judgement = judge(&plan(), &one);
    assert_eq!(
        judgement.verdict,
        Verdict::Hold,
        "{}",
        judgement.explained()
    );
    let named = Reason::SingleStores {
        metric: SYNC.to_owned(),
        stores: vec!["store-002".to_owned()],
    };
    assert!(
        judgement.reasons.contains(&named),
        "{:?}",
        judgement.reasons
    );
    let mut without = plan();
    without
        .exclude
        .insert("store-002".to_owned(), "rebuilt".to_owned());
    let judgement = judge(&without, &one);
    is(&judgement, Verdict::Pass, &[]);
    assert!(
        judgement
            .explained()
            .contains("store-002: left out: rebuilt")
    );
}

#[test]
fn mixed_stores_are_compared_within_themselves() {
    let mixed = |factor: f64| {
        let mut mixed = evidence(1.0);
        mixed.stores.truncate(20);
        for (number, one) in (0_u32..).zip(&mut mixed.stores) {
            let base = 900.0 + 20.0 * f64::from(number);
            let wobble = 1.0 + 0.01 * f64::from(number % 5) - 0.02;
            one.group = Group::Mixed { from: 0 };
            let synchronisation = Values {
                now: values(base * factor * wobble),
                others: values(base),
                ..Values::default()
            };
            one.values.insert(SYNC.to_owned(), synchronisation);
        }
        mixed
    };
    let judgement = judge(&plan(), &mixed(1.0));
    assert_eq!(judgement.method, Method::Within);
    is(&judgement, Verdict::Pass, &[]);
    is(&judge(&plan(), &mixed(1.5)), Verdict::Fail, &["worse"]);
    // One store that is not mixed among them is left out, and named.
    let mut both = mixed(1.0);
    both.stores[3].group = CANDIDATE;
    let notes = judge(&plan(), &both).notes;
    assert_eq!(notes, [("store-003".to_owned(), Note::OtherKind)]);
}

#[test]
fn at_a_hundred_percent_a_verdict_is_weak_and_slowness_alone_is_no_failure() {
    let all = |factor: f64| {
        let mut all = evidence(1.0);
        all.step_percent = 100;
        for one in &mut all.stores {
            *one = store(one.name.clone(), CANDIDATE, 1_000.0, 1_000.0 * factor);
        }
        all
    };
    let judgement = judge(&plan(), &all(1.0));
    is(&judgement, Verdict::Pass, &[]);
    assert_eq!(judgement.method, Method::Alone);
    assert!(judgement.explained().contains("weak"));
    is(&judge(&plan(), &all(1.5)), Verdict::Hold, &["undecided"]);
    is(&judge(&plan(), &all(6.0)), Verdict::Fail, &["past_limit"]);
    // Ten stores that were held back make it as strong as any other step.
    let mut held_back = evidence(1.5);
    held_back.step_percent = 100;
    held_back.stores.truncate(15);
    assert_eq!(judge(&plan(), &held_back).method, Method::Ranks);
}

fn span(release: &str, from: i64, until: i64, terminal_hours: u64) -> Span {
    Span {
        release: release.to_owned(),
        from,
        until,
        terminal_hours,
    }
}

fn history(spans: &[Span], terminals_on: u64) -> History {
    History {
        store: "store".to_owned(),
        spans: spans.to_vec(),
        terminals: 10,
        terminals_on,
    }
}

#[test]
fn stores_are_candidates_controls_or_neither() {
    let group =
        |spans: &[Span], on| group_of(&history(spans, on), "2.5.0", Some("2.4.1"), &(100..124));
    let candidate = |from, was_moved_back| Group::Candidate {
        from,
        was_moved_back,
    };
    let old = span("2.4.1", 0, 90, 900);
    assert_eq!(
        group(&[old.clone(), span("2.5.0", 89, 124, 9)], 10),
        candidate(89, false)
    );
    assert_eq!(group(&[span("2.4.1", 0, 124, 9)], 0), Group::Control);
    assert_eq!(group(&[span("2.3.0", 0, 124, 9)], 0), Group::Neither);
    assert_eq!(group(std::slice::from_ref(&old), 0), Group::Neither);
    assert_eq!(group(&[], 0), Group::Neither);
    assert_eq!(
        group(&[span("2.4.1", 0, 124, 9), span("2.3.0", 110, 112, 1)], 0),
        Group::Neither
    );
    // What terminals did not say is no release.
    assert_eq!(
        group(&[span("2.4.1", 0, 124, 9), span("unknown", 110, 112, 1)], 0),
        Group::Control
    );
    // Some of its terminals.
    let both = [span("2.4.1", 0, 124, 900), span("2.5.0", 89, 124, 9)];
    assert_eq!(group(&both, 3), Group::Mixed { from: 89 });
    // Back to what it had: it stays a candidate.
    let back = [
        old.clone(),
        span("2.5.0", 89, 105, 9),
        span("2.4.1", 105, 124, 9),
    ];
    assert_eq!(group(&back, 10), candidate(89, true));
    // Two candidates: it counts for the one it switched to last, and for the other not at all.
    let switched = [
        old.clone(),
        span("2.6.0", 90, 100, 9),
        span("2.5.0", 100, 124, 9),
    ];
    assert_eq!(group(&switched, 10), candidate(100, false));
    let away = [old, span("2.5.0", 90, 100, 9), span("2.6.0", 100, 124, 9)];
    assert_eq!(group(&away, 10), Group::Neither);
    let other = group_of(&history(&away, 10), "2.6.0", Some("2.4.1"), &(100..124));
    assert_eq!(other, candidate(100, false));
}

#[test]
fn a_release_is_held_against_the_one_that_most_terminals_ran_in_the_week_before() {
    let histories = [
        history(
            &[span("2.4.1", -168, 0, 500), span("2.5.0", 0, 50, 9_000)],
            10,
        ),
        history(
            &[span("2.3.0", -168, 0, 400), span("unknown", -168, 0, 9_000)],
            0,
        ),
        // Only a hundredth of these hours lie in the week.
        history(&[span("2.2.0", -16_800, 0, 20_000)], 0),
    ];
    assert_eq!(
        usual_release(&histories, "2.5.0", 0).as_deref(),
        Some("2.4.1")
    );
    assert_eq!(usual_release(&histories[..0], "2.5.0", 0), None);
}

#[test]
fn a_step_counts_from_the_second_full_hour_after_its_share_was_reached() {
    const HOUR: i64 = 3_600_000;
    assert_eq!(start_hour(10 * HOUR + 1), 12);
    assert_eq!(start_hour(10 * HOUR), 11);
    assert_eq!(
        [
            stores_of_step(50, 10),
            stores_of_step(4, 10),
            stores_of_step(44, 25)
        ],
        [5, 1, 11]
    );
    let first: Vec<i64> = (0..13).rev().collect();
    assert_eq!(reached_ms(&first, 50, 10), Some(4));
    assert_eq!(reached_ms(&first, 50, 50), None);
    assert_eq!(step_reached(&first, 50, &[10, 25, 50]), Some((25, 12)));
    assert_eq!(step_reached(&first[..1], 50, &[10, 25, 50]), Some((10, 12)));
    assert_eq!(step_reached(&[], 50, &[10]), None);
    // Night meets night: of each day of the week before only the hours that the step has had.
    let windows = Windows::of(100, 90 * HOUR + 5, Look(2));
    assert_eq!(windows.now(), 100..104);
    assert_eq!(windows.before().len(), 28);
    assert!(
        windows
            .before()
            .iter()
            .all(|hour| (4..8).contains(&hour.rem_euclid(24)))
    );
    assert_eq!(Windows::of(100, 90 * HOUR, DAY).before().len(), 168);
}

#[test]
fn shares_are_made_of_counters_that_exist() {
    let catalogue = Catalogue::default();
    for source in RATIOS {
        for (name, label) in source.all.iter().chain([&source.bad]) {
            let metric = catalogue.named(name).unwrap();
            let has = |label: &str| metric.label.unwrap().values.contains(&label);
            assert!(label.is_none_or(has), "{name} {label:?}");
        }
    }
    for name in Plan::default().ratios.keys() {
        assert!(RATIOS.iter().any(|source| source.name == name));
    }
}

#[test]
fn a_judgement_is_told_in_ten_lines() {
    let evidence = with_shares(evidence(1.3), "sync_success", 41, 40);
    let mut judgement = judge(&with_success(), &evidence);
    judgement.silent = silent(1);
    let told = judgement.explained();
    assert!(told.lines().count() <= 10, "{told}");
    for words in [
        "FAIL  2.5.0 against 2.4.1, step 10 %, look 24 h, next at 48 h",
        "stores 5 against 45, terminals 50, 1 silent (till-0 in store-000)",
        "sync_duration_ms p95",
        "×1.29 (",
        "<1.20",
        "99.59→99.57 %",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
