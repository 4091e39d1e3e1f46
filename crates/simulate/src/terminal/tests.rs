//! One terminal, step by step, with the time and the answers given.

use super::*;
use crate::client::{Acknowledgement, Failure};
use crate::fleet::profiles;
use crate::ledger::{Keep, Ledger};
use crate::options::tests::options;
use crate::pace::Pace;
use crate::queues::Queues;
use crate::tally::Waits;

const NOW_MS: i64 = 1_795_220_280_653;

struct Bench {
    world: World,
    counts: Counts,
    ledger: Ledger,
    waits: Waits,
    terminal: Terminal,
    now_ms: i64,
}

/// A terminal that measures once a minute, and nothing else happens to it.
fn bench(resend_share: f64, history_ms: i64) -> Bench {
    let rules = Rules {
        pace: Pace::new(NOW_MS, 0, 1),
        interval_ms: Some(60_000),
        resend_share,
        backoff_ms_max: 30_000,
    };
    // The first that is connected all the time the tests need it.
    let profile = profiles(
        &options(&["--late-share", "0"]),
        &Queues::new("run".to_owned()),
    )
    .remove(1);
    let meter = Meter::new(profile);
    assert_eq!(meter.connection(), Connection::Online);
    let history = History::new(&meter, NOW_MS, history_ms, Connection::Online);
    Bench {
        world: World::new(40, None),
        counts: Counts::default(),
        ledger: Ledger::new(64, 1, Keep::Values(1_000_000)),
        waits: Waits::default(),
        terminal: Terminal::new(meter, rules, history, NOW_MS, None),
        now_ms: NOW_MS,
    }
}

impl Bench {
    fn measure(&mut self) {
        self.terminal.measure_at_ms = self.now_ms;
        self.terminal
            .tick(&self.world, self.now_ms, &mut self.counts);
    }

    fn send(&mut self) -> Option<Outgoing> {
        self.terminal
            .start_trip(&self.world, self.now_ms, &mut self.counts)
    }

    fn answer(&mut self, answer: Answer) {
        let mut books = Books {
            counts: &mut self.counts,
            ledger: &mut self.ledger,
            waits: &mut self.waits,
            now_us: self.now_ms * 1_000,
        };
        self.terminal.end_trip(self.now_ms, answer, &mut books);
    }

    fn acknowledged(&self) -> u64 {
        (0..64).map(|metric| self.ledger.count(metric)).sum()
    }

    fn doubted(&self) -> u64 {
        (0..64).map(|metric| self.ledger.unsure(metric)).sum()
    }
}

fn all(accepted: u64, duplicate: u64) -> Answer {
    Answer::Acknowledged(Acknowledgement {
        accepted,
        duplicate,
        ..Acknowledgement::default()
    })
}

fn deferred(seconds: u64) -> Answer {
    Answer::Deferred {
        status: 503,
        retry_after: Some(Duration::from_secs(seconds)),
    }
}

fn parts(outgoing: &Outgoing) -> (u64, Vec<u8>) {
    let text = std::str::from_utf8(&outgoing.body).unwrap();
    let (stamp, content) = text.split_once(',').unwrap();
    let stamp = stamp.trim_start_matches("{\"sent_at_ms\":");
    (stamp.parse().unwrap(), content.as_bytes().to_vec())
}

#[test]
fn a_retry_keeps_its_content_and_is_stamped_anew() {
    let mut bench = bench(0.0, 0);
    bench.measure();
    let first = parts(&bench.send().unwrap());
    assert_eq!(first.1, bench.terminal.live[0].content());
    bench.answer(Answer::Failed(Failure::Broken));
    assert!(bench.send().is_none(), "it waits first");
    bench.now_ms += 2_000;
    let second = parts(&bench.send().unwrap());
    assert_eq!((second.0, second.1), (first.0 + 2_000, first.1));
    bench.answer(all(0, 40));
    assert_eq!((bench.acknowledged(), bench.counts.retries), (40, 1));
    assert!(bench.terminal.is_idle());
}

#[test]
fn retry_after_is_kept_to_and_waits_grow() {
    let mut bench = bench(0.0, 0);
    bench.measure();
    bench.send().unwrap();
    bench.answer(deferred(120));
    let wait_ms = bench.terminal.due_ms(Phase::Drain) - bench.now_ms;
    assert!((120_000..=121_000).contains(&wait_ms), "{wait_ms}");
    bench.now_ms += 119_999;
    assert!(bench.send().is_none());
    let mut longest_ms = [0; 2];
    for attempt in 0..60 {
        bench.now_ms += 200_000;
        bench.send().unwrap();
        bench.answer(Answer::Failed(Failure::Connect));
        let wait_ms = bench.terminal.due_ms(Phase::Drain) - bench.now_ms;
        assert!((1..=30_000).contains(&wait_ms));
        let half = &mut longest_ms[usize::from(attempt >= 2)];
        *half = wait_ms.max(*half);
    }
    assert!(
        longest_ms[0] <= 4_000 && longest_ms[1] > 20_000,
        "{longest_ms:?}"
    );
    assert_eq!(
        (bench.counts.unavailable, bench.counts.errors_connect),
        (1, 60)
    );
    assert_eq!(bench.terminal.held().count(), 1);
}

#[test]
fn a_final_refusal_drops_a_batch_and_doubts_it_only_if_it_was_sent_before() {
    for attempts in [1, 2] {
        let mut bench = bench(0.0, 0);
        bench.measure();
        for _ in 1..attempts {
            bench.send().unwrap();
            bench.answer(Answer::Failed(Failure::Timeout));
            bench.now_ms += 60_000;
        }
        bench.send().unwrap();
        bench.answer(Answer::Refused {
            status: 422,
            code: "no_consent".into(),
        });
        assert_eq!(
            (
                bench.counts.batches_refused,
                bench.counts.reasons["no_consent"]
            ),
            (1, 1)
        );
        assert_eq!(
            (bench.acknowledged(), bench.doubted()),
            (0, if attempts > 1 { 40 } else { 0 })
        );
        assert!(bench.terminal.is_idle());
    }
}

#[test]
fn a_request_that_is_too_long_is_sent_in_halves() {
    let mut bench = bench(0.0, 0);
    for _ in 0..8 {
        bench.measure();
        bench.now_ms += 1;
    }
    let too_long = || Answer::Refused {
        status: 413,
        code: "too_large".into(),
    };
    let many = bench.send().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&many.body).unwrap();
    assert_eq!(json["batches"].as_array().unwrap().len(), 8);
    bench.answer(too_long());
    bench.now_ms += 60_000;
    let half: serde_json::Value = serde_json::from_slice(&bench.send().unwrap().body).unwrap();
    assert_eq!(
        half["batches"],
        serde_json::json!(json["batches"].as_array().unwrap()[..4])
    );
    bench.answer(all(160, 0));
    assert_eq!(
        (bench.acknowledged(), bench.terminal.held().count()),
        (160, 4)
    );
    assert_eq!(bench.counts.batches_refused, 0);
}

#[test]
fn an_echo_is_the_same_batch_again_and_is_acknowledged_once() {
    let mut bench = bench(1.0, 0);
    let (mut echoed, mut hung_up) = (0, 0);
    while echoed == 0 || hung_up == 0 {
        bench.measure();
        let first = bench.send().unwrap();
        if first.hang_up_after.is_some() {
            hung_up += 1;
            bench.answer(Answer::Failed(Failure::HungUp));
            assert_eq!(bench.terminal.held().count(), 1);
            bench.terminal.live.clear();
        } else {
            echoed += 1;
            bench.answer(all(40, 0));
            let second = bench.send().unwrap();
            assert_eq!(parts(&second).1, parts(&first).1);
            bench.answer(all(0, 40));
        }
        bench.now_ms += 60_000;
    }
    assert_eq!(bench.acknowledged(), 40 * echoed);
    assert_eq!(
        (bench.counts.echoes, bench.counts.echo_accepted),
        (echoed, 0)
    );
}

#[test]
fn rejected_samples_and_answers_that_do_not_sum_up_are_noticed() {
    let mut bench = bench(0.0, 0);
    bench.measure();
    bench.send().unwrap();
    bench.answer(Answer::Acknowledged(Acknowledgement {
        accepted: 38,
        rejected: 1,
        ..Acknowledgement::default()
    }));
    assert_eq!(
        (
            bench.counts.unbalanced_answers,
            bench.counts.answered_rejected
        ),
        (1, 1)
    );
    assert_eq!((bench.acknowledged(), bench.doubted()), (0, 40));
}

#[test]
fn history_goes_in_many_batch_requests_after_what_is_live() {
    let mut bench = bench(0.0, 24 * 3_600_000);
    bench.measure();
    let live: serde_json::Value = serde_json::from_slice(&bench.send().unwrap().body).unwrap();
    assert_eq!(
        (&live["seq"], &live["batches"]),
        (&1.into(), &serde_json::Value::Null)
    );
    bench.answer(all(40, 0));
    let mut seqs = Vec::new();
    while !bench.terminal.is_idle() {
        bench.now_ms += 1_000;
        let body = bench.send().unwrap().body;
        assert!(body.len() < 2 * REQUEST_BYTES_MAX);
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
        for batch in request["batches"]
            .as_array()
            .unwrap_or(&vec![request.clone()])
        {
            seqs.push(batch["seq"].as_u64().unwrap());
        }
        let carried = bench.terminal.trip.as_ref().unwrap().batches;
        let samples = bench
            .terminal
            .backlog
            .iter()
            .take(carried)
            .map(Batch::samples)
            .sum();
        bench.answer(all(samples, 0));
    }
    assert_eq!(seqs.len(), 24);
    assert!(seqs.is_sorted());
    assert_eq!(bench.acknowledged(), bench.counts.samples_made);
}

#[test]
fn memory_is_bounded_and_freed() {
    let mut bench = bench(0.0, 24 * 3_600_000);
    bench.measure();
    let held_bytes = bench.counts.held_bytes;
    assert!(held_bytes > 3_000);
    bench.counts.held_bytes = u64::MAX / 2;
    bench.measure();
    assert_eq!(
        (bench.counts.batches_made, bench.counts.batches_skipped),
        (1, 1)
    );
    bench.counts.held_bytes = held_bytes;
    bench.send().unwrap();
    bench.answer(all(40, 0));
    assert_eq!(bench.counts.held_bytes, 0);
    // History waits, and is not forgotten.
    bench.counts.held_bytes = u64::MAX / 2;
    assert!(bench.send().is_none() && bench.terminal.due_ms(Phase::Drain) > bench.now_ms);
    bench.counts.held_bytes = 0;
    bench.now_ms += 1_000;
    assert!(bench.send().is_some() && bench.counts.held_bytes > 0);
}

/// Whatever the collector answers, and whenever history goes between.
#[test]
fn a_seed_makes_the_same_values_whatever_is_answered() {
    let values = |is_troubled: bool| {
        let mut bench = bench(0.5, 5 * 3_600_000);
        let mut made = Vec::new();
        for minute in 0..20 {
            bench.now_ms = NOW_MS + minute * 60_000;
            bench.measure();
            let live = bench.terminal.live.back();
            made.push(live.map(|batch| batch.readings.clone()));
            for attempt in 0..4 {
                bench.now_ms += 10_000;
                let Some(outgoing) = bench.send() else {
                    continue;
                };
                let is_lost = outgoing.hang_up_after.is_some() || (is_troubled && attempt % 2 == 0);
                if is_lost {
                    bench.answer(Answer::Failed(Failure::Timeout));
                } else {
                    let trip = bench.terminal.trip.as_ref().map(|trip| trip.batches);
                    assert!(trip.is_some());
                    bench.answer(Answer::Acknowledged(Acknowledgement::default()));
                }
            }
        }
        made
    };
    let (calm, troubled) = (values(false), values(true));
    assert!(calm.iter().all(Option::is_some));
    assert_eq!(calm, troubled);
}

/// Whatever is lost: what was sent and acknowledged, and what the terminal knows of itself, make up all numbers.
#[test]
fn a_terminal_that_loses_batches_knows_which_and_tells_of_some() {
    let mut bench = bench(0.0, 0);
    let mut profile = bench.terminal.profile().clone();
    profile.troubles = vec![(0, crate::trouble::TroubleKind::Lost)];
    let meter = Meter::new(profile).beginning_at(NOW_MS, true);
    let history = History::new(&meter, NOW_MS, 0, Connection::Online);
    bench.terminal = Terminal::new(meter, bench.terminal.rules, history, NOW_MS, None);
    let mut arrived = std::collections::BTreeSet::new();
    let mut drops = Vec::new();
    for minute in 0..400 {
        bench.now_ms = NOW_MS + minute * 60_000;
        bench.measure();
        if minute == 399 {
            bench.terminal.let_go(u64::MAX);
        }
        while let Some(outgoing) = bench.send() {
            let request: serde_json::Value = serde_json::from_slice(&outgoing.body).unwrap();
            let one = vec![request.clone()];
            let batches = request["batches"].as_array().unwrap_or(&one);
            for batch in batches {
                arrived.insert(batch["seq"].as_u64().unwrap());
                for dropped in batch["drops"].as_array().into_iter().flatten() {
                    let number = |key: &str| dropped[key].as_u64().unwrap();
                    drops.push((number("from"), number("to"), number("samples")));
                }
            }
            bench.answer(all(40 * batches.len() as u64, 0));
            bench.now_ms += 1;
        }
    }
    let story = bench.terminal.story();
    let of = |fate: Fate| story.ranges.iter().filter(move |range| range.fate == fate);
    for fate in [Fate::Explained, Fate::Unexplained, Fate::Late] {
        assert!(of(fate).count() > 2, "{fate:?}");
    }
    let told = of(Fate::Explained).filter(|range| range.is_told);
    let told: Vec<_> = told
        .map(|range| (range.from, range.to, range.samples))
        .collect();
    assert_eq!(told, drops);
    assert!(of(Fate::Late).all(|range| range.came_at_ms.is_some()));
    let lost = of(Fate::Explained).chain(of(Fate::Unexplained));
    let lost: std::collections::BTreeSet<u64> =
        lost.flat_map(|range| range.from..=range.to).collect();
    assert!(arrived.is_disjoint(&lost));
    arrived.extend(&lost);
    let last = *arrived.last().unwrap();
    assert!(arrived.iter().copied().eq(1..=last));
    assert_eq!(bench.counts.batches_lost, lost.len() as u64);
    assert!(story.unsettled.is_empty() && story.highest.is_some());
}
