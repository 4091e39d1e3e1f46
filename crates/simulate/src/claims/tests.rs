//! Claims, judged: what is planted is found, and what is right is not complained about.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Group, LossLine, SilentAnswer, SilentLine};
use super::*;
use crate::fleet::{Profile, profiles};
use crate::options::tests::options;
use crate::queues::Queues;
use crate::scenario::Page;
use crate::terminal::{Fate, Happened, Range, Story};

const NOW_MS: i64 = 1_795_220_280_653;
const HOUR_MS: i64 = 3_600_000;
const NEW: u64 = 0xabc;

fn span() -> Span {
    Span {
        begin_ms: NOW_MS,
        end_ms: NOW_MS + 600_000,
    }
}

fn range(from: u64, to: u64, fate: Fate) -> Range {
    Range {
        from,
        to,
        samples: 40 * (to - from + 1),
        fate,
        lost_at_ms: NOW_MS,
        came: BTreeSet::new(),
        came_at_ms: None,
        is_told: false,
    }
}

/// A fleet in which each kind of trouble has come once, but for what `change` makes of it.
fn fleet(change: impl Fn(&mut [Story])) -> (Vec<Profile>, Truth) {
    let line = [
        "--stores",
        "4",
        "--terminals",
        "8",
        "--trouble",
        "new-error:1",
    ];
    let mut fleet = profiles(&options(&line), &Queues::new("run".to_owned()));
    for profile in &mut fleet {
        for (_, fingerprint) in &mut profile.new_errors {
            *fingerprint = NEW;
        }
    }
    let mut stories = vec![Story::default(); fleet.len()];
    stories[5].silent_since_ms = Some(NOW_MS);
    stories[6].stuck_since_ms = Some(NOW_MS);
    stories[6].given_up = 3;
    stories[6].pending = Some((NOW_MS, 40));
    let mut late = range(40, 41, Fate::Late);
    late.came_at_ms = Some(NOW_MS);
    let mut told = range(10, 12, Fate::Explained);
    told.is_told = true;
    stories[2].highest = Some(90);
    stories[2].ranges = vec![
        told,
        range(20, 21, Fate::Unexplained),
        late,
        // The last that it had: nobody can know of it.
        range(91, 91, Fate::Unexplained),
    ];
    let happened = Happened {
        count: 7,
        first_ms: NOW_MS,
        unsure: 0,
    };
    stories[0].errors.insert(NEW, happened);
    change(&mut stories);
    let truth = Truth::of(fleet.iter().zip(stories));
    (fleet, truth)
}

fn loss(profile: &Profile, state: &str, from: u64, to: u64) -> LossLine {
    LossLine {
        store_id: profile.store_id.clone(),
        terminal_id: profile.terminal_id.clone(),
        queue: Some(profile.queue.to_string()),
        from_seq: Some(from),
        to_seq: Some(to),
        batches: to - from + 1,
        state: state.to_owned(),
        samples: 40 * (to - from + 1),
    }
}

/// What a collector answers that knows everything.
fn all_right(fleet: &[Profile]) -> Answers {
    let losses = [("explained", 10, 12), ("open", 20, 21), ("closed", 40, 41)];
    let losses = losses.map(|(state, from, to)| loss(&fleet[2], state, from, to));
    let group = Group {
        fingerprint: format!("{NEW:016x}"),
        count: 7,
        first_seen: NOW_MS - NOW_MS % HOUR_MS,
        stores: 1,
        terminals: 1,
        by_store: Vec::new(),
    };
    Answers {
        silent: SilentAnswer {
            ready_since: Some(0),
            silent_after_ms: HOUR_MS,
            terminals_total: 1,
            terminals: vec![SilentLine {
                store_id: fleet[5].store_id.clone(),
                terminal_id: fleet[5].terminal_id.clone(),
                state: "silent".to_owned(),
            }],
        },
        losses: losses.into_iter().collect(),
        errors: BTreeMap::from([(group.fingerprint.clone(), group)]),
        fleet: page(3),
        fleet_before: page(0),
        ..Answers::default()
    }
}

fn page(given_up: u64) -> Page {
    Page::parse(&format!(
        "pos_sync_dead_letters_total{{store_id=\"store-003\",reason=\"server\"}} {given_up}\n\
         pos_pending_transactions{{store_id=\"store-003\",stat=\"max\"}} 40\n"
    ))
}

fn judged(answers: &Answers, truth: &Truth, line: &[&str]) -> Claims {
    let line = [&["--stores", "4", "--terminals", "8"], line].concat();
    Claims::judge(answers, truth, &options(&line), span())
}

/// Right, false, missed and not judged claims of each kind.
fn counts(claims: &Claims) -> Vec<(&'static str, [u64; 4])> {
    let kinds = claims.kinds.iter();
    kinds
        .map(|of| (of.kind, [of.right, of.wrong, of.missed, of.not_judged]))
        .collect()
}

#[test]
fn what_is_right_is_no_fault() {
    let (fleet, truth) = fleet(|_| {});
    let claims = judged(&all_right(&fleet), &truth, &[]);
    let expected = [
        ("dead-till", [1, 0, 0, 0]),
        ("stuck", [1, 0, 0, 0]),
        ("lost", [2, 0, 0, 1]),
        ("new-error", [1, 0, 0, 0]),
    ];
    assert_eq!(counts(&claims), expected, "{claims}");
    assert_eq!(claims.faults(), [""; 0]);
    let text = format!("{truth}{claims}");
    for part in [
        "store-002 till-2 since",
        "3 given up",
        "10..12",
        "7 times, 1 stores",
        "1 not judged",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: serde_json::Value = serde_json::to_value(&truth).unwrap();
    assert_eq!(json["losses"][0]["fate"], "explained");
    let json = serde_json::to_value(&claims).unwrap();
    assert_eq!(
        (&json["kinds"][2]["right"], &json["kinds"][2]["false"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn without_trouble_every_claim_is_false() {
    let (fleet, truth) = fleet(|stories| stories.fill(Story::default()));
    let claims = judged(&all_right(&fleet), &truth, &[]);
    let expected = [
        ("dead-till", [0, 1, 0, 0]),
        ("stuck", [0, 1, 0, 0]),
        ("lost", [0, 2, 0, 0]),
        ("new-error", [0, 1, 0, 0]),
    ];
    assert_eq!(counts(&claims), expected, "{claims}");
    assert_eq!(claims.faults().len(), 4);
    assert!(
        claims
            .to_string()
            .contains("false: store-003 till-1 20..21 is called missing")
    );
    // And without a claim nothing is wrong.
    let claims = judged(&Answers::default(), &truth, &[]);
    assert!(
        counts(&claims).iter().all(|(_, counts)| *counts == [0; 4]),
        "{claims}"
    );
}

#[test]
fn what_is_not_claimed_is_missed_unless_it_cannot_be_known_yet() {
    let (_, truth) = fleet(|_| {});
    let nothing = Answers::default();
    let expected = [
        ("dead-till", [0, 0, 0, 1]),
        ("stuck", [0, 0, 1, 0]),
        ("lost", [0, 0, 2, 1]),
        ("new-error", [0, 0, 1, 0]),
    ];
    let claims = judged(&nothing, &truth, &[]);
    assert_eq!(counts(&claims), expected, "{claims}");
    assert!(
        claims
            .faults()
            .iter()
            .any(|fault| fault.contains("lost: 2 missed"))
    );
    // Live series stand still for what lies in the past.
    let claims = judged(&nothing, &truth, &["--speed", "60"]);
    assert_eq!(counts(&claims)[1], ("stuck", [0, 0, 0, 1]));
    // A week of habit, and three hours of it missed.
    let ready = Answers {
        silent: SilentAnswer {
            ready_since: Some(0),
            silent_after_ms: HOUR_MS,
            ..SilentAnswer::default()
        },
        ..Answers::default()
    };
    let line = ["--stores", "4", "--terminals", "8", "--backfill", "7d"];
    let long = Span {
        begin_ms: NOW_MS,
        end_ms: NOW_MS + 3 * HOUR_MS,
    };
    let claims = Claims::judge(&ready, &truth, &options(&line), long);
    assert_eq!(counts(&claims)[0], ("dead-till", [0, 0, 1, 0]));
}

#[test]
fn lines_of_the_ledger_are_judged_number_by_number() {
    let of = |change: fn(&Profile, &mut BTreeSet<LossLine>)| {
        let (fleet, truth) = fleet(|stories| {
            stories[2].unsettled.insert(60);
        });
        let mut answers = all_right(&fleet);
        change(&fleet[2], &mut answers.losses);
        counts(&judged(&answers, &truth, &[]))[2].1
    };
    assert_eq!(of(|_, _| {}), [2, 0, 0, 1]);
    // What has come is called missing, and so is something beside what never came.
    assert_eq!(
        of(|till, lines| _ = lines.insert(loss(till, "open", 40, 41))),
        [2, 1, 0, 1]
    );
    assert_eq!(
        of(|till, lines| _ = lines.insert(loss(till, "lost", 21, 22))),
        [2, 1, 0, 1]
    );
    // Of what the till still holds nobody knows.
    assert_eq!(
        of(|till, lines| _ = lines.insert(loss(till, "open", 60, 60))),
        [2, 0, 0, 1]
    );
    assert_eq!(
        of(|till, lines| _ = lines.insert(loss(till, "explained", 20, 21))),
        [2, 1, 0, 1]
    );
    assert_eq!(
        of(|till, lines| _ = lines.insert(loss(till, "closed", 20, 21))),
        [2, 1, 0, 1]
    );
    // Half of it is known only.
    let half = |till: &Profile, lines: &mut BTreeSet<LossLine>| {
        lines.remove(&loss(till, "open", 20, 21));
        lines.insert(loss(till, "open", 20, 20));
    };
    assert_eq!(of(half), [1, 0, 1, 1]);
    // Other queues are others' business, samples without a number of our tills are not.
    let other = |till: &Profile, lines: &mut BTreeSet<LossLine>| {
        let mut line = loss(till, "open", 1, 9);
        line.queue = Some("another".to_owned());
        lines.insert(line);
    };
    assert_eq!(of(other), [2, 0, 0, 1]);
    let unnumbered = |till: &Profile, lines: &mut BTreeSet<LossLine>| {
        let mut line = loss(till, "explained", 0, 0);
        (line.queue, line.from_seq) = (None, None);
        lines.insert(line);
    };
    assert_eq!(of(unnumbered), [2, 1, 0, 1]);
}

#[test]
fn a_group_of_errors_must_be_what_was_sent() {
    let of = |change: fn(&mut Group)| {
        let (fleet, truth) = fleet(|_| {});
        let mut answers = all_right(&fleet);
        answers.errors.values_mut().for_each(change);
        counts(&judged(&answers, &truth, &[]))[3].1
    };
    assert_eq!(of(|_| {}), [1, 0, 0, 0]);
    assert_eq!(of(|group| group.count = 6), [0, 0, 1, 0]);
    assert_eq!(of(|group| group.terminals = 2), [0, 0, 1, 0]);
    assert_eq!(of(|group| group.first_seen -= HOUR_MS), [0, 0, 1, 0]);
}

#[test]
fn a_known_error_must_not_look_new_and_is_counted_once() {
    const KNOWN: u64 = 0xdef;
    let of = |before: u64, change: fn(&mut Group)| {
        let (fleet, truth) = fleet(|stories| {
            let happened = Happened {
                count: 5,
                first_ms: NOW_MS,
                unsure: 0,
            };
            stories[1].errors.insert(KNOWN, happened);
        });
        let mut answers = all_right(&fleet);
        let mut group = Group {
            fingerprint: format!("{KNOWN:016x}"),
            count: 5 + before,
            first_seen: NOW_MS - NOW_MS % HOUR_MS,
            stores: 1,
            terminals: 1,
            by_store: Vec::new(),
        };
        change(&mut group);
        answers
            .errors_before
            .insert(group.fingerprint.clone(), before);
        answers.errors.insert(group.fingerprint.clone(), group);
        counts(&judged(&answers, &truth, &[]))[3].1
    };
    assert_eq!(of(0, |_| {}), [1, 0, 0, 0]);
    assert_eq!(of(9, |_| {}), [1, 0, 0, 0]);
    assert_eq!(of(9, |group| group.count += 1), [1, 1, 0, 0]);
    assert_eq!(of(9, |group| group.count -= 1), [1, 0, 1, 0]);
    assert_eq!(of(0, |group| group.first_seen += 2 * HOUR_MS), [1, 1, 0, 0]);
}

#[test]
fn an_error_is_called_new_by_the_series_once_a_day_has_passed() {
    let of = |started_s: i64, called: u64| {
        let (fleet, truth) = fleet(|_| {});
        let mut answers = all_right(&fleet);
        let own = format!("tillwatch_start_timestamp_seconds {started_s}\n");
        answers.own = Page::parse(&own);
        let news = format!("pos_errors_new{{release=\"2.4.1\"}} {called}\n");
        let given_up = "pos_sync_dead_letters_total{store_id=\"store-003\"} 3\n";
        answers.fleet = Page::parse(&format!("{news}{given_up}"));
        let claims = judged(&answers, &truth, &[]);
        (counts(&claims)[3].1, claims.kinds[3].notes.len())
    };
    let (now_s, long_ago_s) = (NOW_MS / 1_000, NOW_MS / 1_000 - 100_000);
    assert_eq!(of(long_ago_s, 1), ([1, 0, 0, 0], 0));
    assert_eq!(of(long_ago_s, 0), ([1, 0, 1, 0], 0));
    assert_eq!(of(now_s, 0), ([1, 0, 0, 0], 1));
    assert_eq!(of(now_s, 2), ([1, 1, 0, 0], 1));
}
