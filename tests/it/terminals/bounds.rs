//! How many terminals there may be, and what becomes of those past it.

use std::sync::Arc;

use serde_json::{Value, json};
use tillwatch::aggregate::terminals::Limits;
use tillwatch::aggregate::{Aggregator, Caps, Restored};
use tillwatch::persist::State;
use tillwatch::world::World;
use tillwatch_model::sequence::LOST_AFTER_MS;
use tillwatch_model::{Catalogue, Seen, ShareRule};

use crate::support::records::{START_MS, one_sample_of, settings, settled};
use crate::support::{Batch, Server, many, now_ms};

const AT: (i64, u64) = (START_MS, 5);

fn aggregator(
    (terminals_max, store_terminals_max): (usize, usize),
    restored: Restored,
) -> Aggregator {
    let settings = Caps {
        stores_max: 3,
        terminals: Limits {
            terminals_max,
            store_terminals_max,
            ..settings().terminals
        },
        ..settings()
    };
    Aggregator::new(Arc::new(Catalogue::default()), settings, restored)
}

/// A batch with a key of its own, of a terminal.
fn keyed(aggregator: &mut Aggregator, store_id: &str, terminal_id: &str) {
    let position = aggregator.applied() + 1;
    let key = u128::from(position).to_be_bytes();
    let record = one_sample_of((store_id, terminal_id), (key, 0, true), START_MS, AT);
    aggregator.apply(position, &record).unwrap();
}

/// A batch of a terminal's queue.
fn queued(aggregator: &mut Aggregator, store_id: &str, terminal_id: &str, seq: u64) {
    let position = aggregator.applied() + 1;
    let record = one_sample_of((store_id, terminal_id), ([7; 16], seq, false), START_MS, AT);
    aggregator.apply(position, &record).unwrap();
}

fn seal(state: &State, aggregator: &mut Aggregator) {
    let epoch = state.last_epoch().unwrap() + 1;
    let sealing = state.encode(aggregator.take(), epoch).unwrap();
    state.seal(&sealing, START_MS).unwrap();
}

fn names(aggregator: &Aggregator) -> Vec<String> {
    let all = aggregator.terminals().iter();
    let mut names: Vec<String> = all
        .map(|(key, _)| format!("{}/{}", key.store_id, key.terminal_id))
        .collect();
    names.sort();
    names
}

#[test]
fn past_the_bound_keyed_terminals_are_one_and_those_with_queues_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut first = aggregator((5, 3), Restored::default());
    queued(&mut first, "a", "till", 1);
    for terminal in 0..100 {
        // Three of store a, with the one that has a queue; two of store b; none of a store without series.
        for store in ["a", "b", "c", "past-the-cap"] {
            keyed(&mut first, store, &format!("t-{terminal}"));
        }
    }
    let known = ["a/t-0", "a/t-1", "a/till", "b/t-0", "c/t-0"];
    assert_eq!(names(&first), known);
    let totals = first.totals();
    assert_eq!(
        (totals.accepted, totals.terminals_overflowed),
        (401, 400 - 4)
    );
    // Those with queues come in whatever there is.
    queued(&mut first, "a", "late-till", 1);
    assert_eq!(names(&first).len(), 6);
    // What has no place counts, as one terminal of its store.
    let cut = first.take();
    let by_terminal: u64 = {
        let hours = cut.terminal_hours.into_rows(&cut.tables);
        hours.iter().map(|row| row.scalars.count).sum()
    };
    assert_eq!(by_terminal, 0, "LCP is not kept by terminal");
    drop(cut.terminals);

    let mut second = aggregator((5, 3), Restored::default());
    queued(&mut second, "a", "till", 1);
    keyed(&mut second, "a", "t-0");
    keyed(&mut second, "a", "t-1");
    seal(&state, &mut second);
    let mut again = aggregator((5, 3), state.restore().unwrap());
    keyed(&mut again, "a", "t-2");
    assert_eq!(
        names(&again),
        ["a/t-0", "a/t-1", "a/till"],
        "after a restart as before"
    );
    queued(&mut again, "a", "till", 1);
    assert_eq!(again.totals().repeated, 1, "its window is there");
}

#[test]
fn what_an_earlier_release_let_in_is_forgotten_by_the_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut lavish = aggregator((1_000, 1_000), Restored::default());
    queued(&mut lavish, "a", "till", 1);
    for terminal in 0..500 {
        keyed(&mut lavish, "a", &format!("t-{terminal:03}"));
    }
    seal(&state, &mut lavish);
    let mut sparing = aggregator((1_000, 10), state.restore().unwrap());
    assert_eq!(sparing.terminals().len(), 11);
    queued(&mut sparing, "a", "till", 2);
    seal(&state, &mut sparing);
    assert_eq!(state.restore().unwrap().terminals.len(), 11);
    queued(&mut sparing, "a", "till", 2);
    assert_eq!(sparing.totals().repeated, 1);
}

#[test]
fn a_queue_that_made_room_is_a_tombstone_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let batch = |aggregator: &mut Aggregator, queue: u8, seq: u64, at_ms: i64| {
        let position = aggregator.applied() + 1;
        let terminal = ("a", "till");
        let record = one_sample_of(terminal, ([queue; 16], seq, false), at_ms, AT);
        aggregator.apply(position, &record).unwrap();
    };
    let known = |aggregator: &Aggregator| {
        let (_, terminal) = aggregator.terminals().iter().next().unwrap();
        let queues = terminal.queues.iter().map(|(queue, _)| queue[0]);
        let mut queues: Vec<u8> = queues.collect();
        queues.sort_unstable();
        let mut tombstones = terminal.tombstones.clone();
        tombstones.sort_unstable();
        (queues, tombstones)
    };
    let mut first = aggregator((5, 3), Restored::default());
    // The first of them misses two batches.
    for (queue, seq) in [(1, 1), (1, 4)]
        .into_iter()
        .chain((2..=16).map(|queue| (queue, 1)))
    {
        batch(&mut first, queue, seq, START_MS + i64::from(queue));
    }
    assert_eq!(first.terminals().gaps().missing, 2);
    for queue in [17, 18] {
        batch(&mut first, queue, 1, START_MS + 1_000);
    }
    let expected = (
        (3..=18).collect::<Vec<u8>>(),
        vec![([1; 16], START_MS + 1_000), ([2; 16], START_MS + 1_000)],
    );
    assert_eq!(known(&first), expected);
    let lost = |aggregator: &Aggregator| {
        let gaps = aggregator.terminals().gaps();
        (gaps.missing, gaps.lost + aggregator.totals().lost_batches)
    };
    assert_eq!(
        lost(&first),
        (0, 2),
        "what was missing will not be counted any more"
    );
    seal(&state, &mut first);
    // A release that knows no tombstones reads a window that refuses whatever comes.
    let restored = state.restore().unwrap();
    let of_first = restored
        .queues
        .iter()
        .find(|(_, queue, _)| *queue == [1; 16]);
    let (_, _, window) = of_first.unwrap();
    assert_eq!(
        [0, 1, 2, 9].map(|seq| window.seen(seq)),
        [Seen::BeyondWindow; 4]
    );

    let mut again = aggregator((5, 3), restored);
    assert_eq!((known(&again), lost(&again)), (expected, (0, 2)));
    // What the intake let in while it still knew the queue counts, and brings the queue not back.
    batch(&mut again, 1, 5, START_MS + 2_000);
    assert_eq!(again.totals().accepted, 20);
    assert_eq!(known(&again).1.len(), 2);
    // After nine days the state file forgets it as well.
    let later = START_MS + 1_001 + LOST_AFTER_MS;
    let position = again.applied() + 1;
    again.apply(position, &settled(later)).unwrap();
    seal(&state, &mut again);
    let left = state.restore().unwrap().queues.into_iter();
    assert!(
        left.map(|(_, queue, _)| queue)
            .all(|queue| ![[1; 16], [2; 16]].contains(&queue))
    );
}

#[test]
fn ranges_of_missing_numbers_are_bounded_whatever_the_intake_lets_in() {
    let settings = Caps {
        terminals: Limits {
            gaps: ShareRule::new(40, 1),
            ..settings().terminals
        },
        ..settings()
    };
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        settings,
        Restored::default(),
    );
    queued(&mut aggregator, "greedy", "till", 10_000);
    for seq in (1..10_000).step_by(2) {
        queued(&mut aggregator, "greedy", "till", seq);
    }
    let ranges = |aggregator: &Aggregator| aggregator.terminals().gaps().ranges;
    assert_eq!(ranges(&aggregator), 10);
    for seq in [1, 3, 5, 2] {
        queued(&mut aggregator, "honest", "till", seq);
    }
    let of = |store_id: &str| aggregator.terminals().of_store(store_id).unwrap().gaps();
    assert_eq!((of("honest").missing, of("honest").ranges), (1, 2));
    assert_eq!(
        aggregator.totals().accepted,
        5_001 + 4,
        "nothing is rejected"
    );
}

/// Batches without a queue, each of a store and a terminal of its own with the longest names there are.
fn invented(request: usize, batches: usize) -> Value {
    let name = |number| format!("{}{request:06}{number:06}", "m".repeat(52));
    let batches: Vec<Batch> = (0..batches)
        .map(|number| {
            let batch = Batch::new(&name(number)).with("terminal_id", name(number));
            let batch = batch.without("queue").without("seq");
            batch.value_now("memory_used_mb", 1.0)
        })
        .collect();
    many(&batches)
}

#[tokio::test]
async fn invented_terminals_neither_crowd_others_out_nor_fill_a_page() {
    let server = Server::start_with(&[
        ("TILLWATCH_QUEUES_MAX", "50"),
        ("TILLWATCH_STORE_TERMINALS_MAX", "3"),
        ("TILLWATCH_STORES_MAX", "2000"),
    ])
    .await;
    let honest = Batch::new("honest").value_now("lcp_ms", 1.0);
    server.taken(&honest.0).await;
    for request in 0..4 {
        let key = format!("k-{request}");
        let headers = [("idempotency-key", &*key)];
        let body = invented(request, 400).to_string();
        assert_eq!(server.post_with(&headers, body).await.status, 202);
    }
    // Everything counts; only the names have a bound.
    let check = async |server: &Server| {
        server.wait_applied().await;
        let page = server.metrics().await;
        assert_eq!(page.value("tillwatch_terminals", &[]), 50.0);
        let accepted = page.value("tillwatch_ledger_samples", &[("place", "accepted")]);
        assert_eq!(accepted, 1_601.0);
        let overflowed = [("what", "overflowed_terminals")];
        assert_eq!(
            page.value("tillwatch_journal_samples", &overflowed),
            1_551.0
        );
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let (_, duplicate, _) = server.taken(&honest.0).await;
    assert_eq!(duplicate, 1);

    // Stores are told some at a time, by name.
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let query = [("limit", "7"), ("after", &*after)];
        let answer = server.get("/api/v1/stores", &query).await.json();
        assert_eq!(answer["total"], 50);
        let stores = answer["stores"].as_array().unwrap();
        found.extend(
            stores
                .iter()
                .map(|store| store["store_id"].as_str().unwrap().to_owned()),
        );
        match answer["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
        assert_eq!(stores.len(), 7);
    }
    assert_eq!(
        (found.len(), found.is_sorted(), &*found[0]),
        (50, true, "honest")
    );
    for (query, word) in [
        ([("limit", "0")], "1 to 5000"),
        ([("limit", "5001")], "1 to 5000"),
        ([("after", "a b")], "A-Z"),
        ([("store_id", "s")], "limit, after"),
    ] {
        let reply = server.get("/api/v1/stores", &query).await;
        assert_eq!((reply.status, &*reply.code()), (400, "bad_parameter"));
        assert!(reply.text().contains(word), "{}", reply.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn one_store_cannot_use_up_the_queues_and_the_log_and_the_metrics_say_which_it_is() {
    // Four queues each are guaranteed to four stores and to all others, and twenty are common.
    let settings = [
        ("TILLWATCH_QUEUES_MAX", "40"),
        ("TILLWATCH_STORES_MAX", "4"),
    ];
    let server = Server::start_with(&settings).await;
    let of = |store_id: &str, terminal: u32| {
        Batch::new(store_id)
            .with("terminal_id", format!("till-{terminal}"))
            .value_now("lcp_ms", 1.0)
    };
    let greedy: Vec<Batch> = (0..10).map(|terminal| of("greedy", terminal)).collect();
    for batch in &greedy {
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    }
    let refused = of("greedy", 10);
    let honest = of("honest", 1);
    let check = async |server: &Server| {
        let reply = server.post(&refused.0).await;
        assert_eq!((reply.status, &*reply.code()), (503, "queues_full"));
        assert!(reply.text().contains("queues_max"), "{}", reply.text());
        let wait_s: u32 = reply.header("retry-after").parse().unwrap();
        assert!((30..=120).contains(&wait_s));
        assert_eq!(server.taken(&greedy[0].0).await, (0, 1, 0));
        let page = server.metrics().await;
        let queues = [("what", "queues")];
        assert_eq!(page.value("tillwatch_share_largest_store", &queues), 10.0);
        assert_eq!(page.value("tillwatch_share_places", &queues), 40.0);
        assert_eq!(page.value("tillwatch_share_refusals_total", &queues), 1.0);
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.contains("holds as much as it may"));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("greedy") && line.contains("queues"), "{line}");
    };
    check(&server).await;
    assert_eq!(server.taken(&honest.0).await, (1, 0, 0));
    // A restart does not forget who holds what.
    let server = server.kill_and_restart().await;
    check(&server).await;
    assert_eq!(server.taken(&honest.0).await, (0, 1, 0));
    assert_eq!(server.taken(&of("late", 1).0).await, (1, 0, 0));
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn a_store_with_all_its_terminals_is_told_to_wait_and_they_go_on() {
    let server = Server::start_with(&[("TILLWATCH_STORE_TERMINALS_MAX", "2")]).await;
    let of = |store_id: &str, terminal: u32| {
        Batch::new(store_id)
            .with("terminal_id", format!("till-{terminal}"))
            .push(json!({"m": "lcp_ms", "t": now_ms(), "v": 1}))
    };
    let known = [of("full", 1), of("full", 2)];
    for batch in &known {
        server.taken(&batch.0).await;
    }
    let third = of("full", 3);
    let reply = server.post(&third.0).await;
    assert_eq!((reply.status, &*reply.code()), (503, "terminals_full"));
    assert!(
        reply.text().contains("store_terminals_max"),
        "{}",
        reply.text()
    );
    let wait_s: u32 = reply.header("retry-after").parse().unwrap();
    assert!((30..=120).contains(&wait_s));
    for batch in [known[0].next().value_now("lcp_ms", 1.0), of("other", 3)] {
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    }
    // Who was there first is remembered over a restart.
    let server = server.kill_and_restart().await;
    assert_eq!(server.taken(&known[1].0).await, (0, 1, 0));
    assert_eq!(server.post(&third.0).await.code(), "terminals_full");
    server.outcomes_add_up().await;
    server.stop().await;
}
