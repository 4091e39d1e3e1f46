//! Resends, gaps, jumps and races, as a terminal sees them.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::support::{Batch, Reply, Server, many, now_ms};

async fn post_seq(server: &Server, queue: &Batch, seq: u64) -> Reply {
    server.post(&queue.clone().seq(seq).0).await
}

/// Asserts that one sample was taken, or found to be there.
fn is(reply: &Reply, expected: (u64, u64, u64)) {
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.counts(), expected);
}

const FRESH: (u64, u64, u64) = (1, 0, 0);
const SEEN: (u64, u64, u64) = (0, 1, 0);

#[tokio::test]
async fn every_number_counts_once_in_whatever_order_it_comes() {
    let server = Server::start().await;
    let queue = Batch::new("orders").filled(1);
    // Backwards, with gaps, filled later.
    for seq in [100, 103, 101, 0, 99, 102, 16_400, 16_399, 17] {
        is(&post_seq(&server, &queue, seq).await, FRESH);
        is(&post_seq(&server, &queue, seq).await, SEEN);
    }
    for seq in [100, 103, 101, 99, 102, 17] {
        is(&post_seq(&server, &queue, seq).await, SEEN);
    }
    // Other queues, terminals and stores have numbers of their own.
    for other in [
        queue.clone().with("queue", Uuid::new_v4().to_string()),
        queue.clone().with("terminal_id", "till-2"),
        queue.clone().with("store_id", "orders-2"),
    ] {
        is(&post_seq(&server, &other, 100).await, FRESH);
    }
    // A queue's UUID is the same in capitals and without dashes.
    let text = queue.0["queue"].as_str().unwrap().to_owned();
    for same in [text.to_uppercase(), text.replace('-', "")] {
        is(
            &post_seq(&server, &queue.clone().with("queue", same), 100).await,
            SEEN,
        );
    }

    // The first content wins, also over content that would have been rejected.
    let better = queue.clone().seq(103).filled(5).with("release", "3.0");
    is(&server.post(&better.0).await, (0, 6, 0));
    let worse = queue
        .clone()
        .seq(103)
        .with("samples", json!([{"m": "nope"}, 5, null]));
    is(&server.post(&worse.0).await, (0, 3, 0));

    // A batch without anything good is known as well.
    let empty = queue.clone().seq(50).with("samples", json!([]));
    is(&server.post(&empty.0).await, (0, 0, 0));
    is(&post_seq(&server, &queue, 50).await, SEEN);
    let rejected = queue
        .clone()
        .seq(51)
        .with("samples", json!([{"m": "nope"}]));
    is(&server.post(&rejected.0).await, (0, 0, 1));
    is(&post_seq(&server, &queue, 51).await, SEEN);
    server.stop().await;
}

#[tokio::test]
async fn numbers_that_cannot_be_told_apart_are_refused() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let queue = Batch::new("far").filled(1);
    is(&post_seq(&server, &queue, 10).await, FRESH);
    for seq in [10 + 1_000_001, u64::MAX] {
        let reply = post_seq(&server, &queue, seq).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, "seq_jump"));
    }
    let reply = server.post(&many([&queue.clone().seq(5_000_000)])).await;
    assert_eq!(reply.reasons(), [(0, None, "seq_jump".to_owned())]);
    // The window has not moved.
    is(&post_seq(&server, &queue, 9).await, FRESH);
    is(&post_seq(&server, &queue, 11).await, FRESH);
    is(&post_seq(&server, &queue, 11 + 1_000_000).await, FRESH);
    let reply = post_seq(&server, &queue, 11).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (422, "beyond_dedup_window")
    );
    let floor = 11 + 1_000_000 - 16_384;
    is(&post_seq(&server, &queue, floor).await, FRESH);
    is(&post_seq(&server, &queue, floor).await, SEEN);
    assert_eq!(
        post_seq(&server, &queue, floor - 1).await.code(),
        "beyond_dedup_window"
    );

    // A terminal has sixteen queues. The seventeenth takes the place of the one that has been silent longest.
    let queues: Vec<Batch> = (0..17).map(|_| Batch::new("queues").filled(1)).collect();
    for queue in &queues {
        is(&server.post(&queue.0).await, FRESH);
    }
    let gone = async |server: &Server| {
        let mut gone = Vec::new();
        for (number, queue) in queues.iter().enumerate() {
            let reply = server.post(&queue.0).await;
            if reply.status == 202 {
                is(&reply, SEEN);
            } else {
                let later = server.post(&queue.next().0).await;
                for reply in [reply, later] {
                    let code = reply.code();
                    assert_eq!((reply.status, &*code), (422, "beyond_dedup_window"));
                }
                gone.push(number);
            }
        }
        gone
    };
    let made_room = gone(&server).await;
    assert_eq!(made_room.len(), 1);
    assert!(made_room[0] < 16, "not the one that needed the room");

    // All of it is still so after a restart, and after the death of the process.
    let server = server.restart().await;
    is(&post_seq(&server, &queue, floor).await, SEEN);
    is(&post_seq(&server, &queue, floor + 1).await, FRESH);
    assert_eq!(
        post_seq(&server, &queue, 11).await.code(),
        "beyond_dedup_window"
    );
    assert_eq!(gone(&server).await, made_room);
    let server = server.kill_and_restart().await;
    for seq in [floor, floor + 1, 11 + 1_000_000] {
        is(&post_seq(&server, &queue, seq).await, SEEN);
    }
    is(&post_seq(&server, &queue, floor + 2).await, FRESH);
    assert_eq!(gone(&server).await, made_room);
    server.stop().await;
}

#[tokio::test]
async fn of_fifty_posts_of_one_batch_at_once_one_counts() {
    let server = Arc::new(Server::start().await);
    let mut expected = 0;
    for round in 0..4 {
        let batch = Batch::new("race").filled(7).seq(round);
        expected += 7;
        let posts: Vec<_> = (0..50)
            .map(|client| {
                let (server, batch) = (Arc::clone(&server), batch.clone());
                // Half of them send it with another one, in the form of many.
                let body = if client % 2 == 0 {
                    batch.0
                } else {
                    many([
                        &batch,
                        &Batch::new("race-other")
                            .with("terminal_id", format!("t{round}-{client}"))
                            .filled(1),
                    ])
                };
                tokio::spawn(async move { (client, server.post(&body).await) })
            })
            .collect();
        let (mut accepted, mut duplicate) = (0, 0);
        for post in posts {
            let (client, reply) = post.await.unwrap();
            assert_eq!(reply.status, 202, "{}", reply.text());
            let (fresh, seen, rejected) = reply.counts();
            assert_eq!(rejected, 0);
            accepted += fresh - u64::from(client % 2 != 0);
            duplicate += seen;
        }
        assert_eq!((accepted, duplicate), (7, 49 * 7), "round {round}");
    }
    let answer = server
        .percentiles(&[
            ("metric", "lcp_ms"),
            ("store_id", "race"),
            ("to", &(now_ms() + 60_000).to_string()),
        ])
        .await;
    assert_eq!(answer["series"][0]["points"][0]["count"], expected);
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn another_content_under_a_number_is_a_duplicate_and_said_to_be_another() {
    let server = Server::start().await;
    let first = Batch::new("tabs").seq(4).filled(2);
    is(&server.post(&first.0).await, (2, 0, 0));
    let conflicting = |reply: &Reply| reply.json().get("conflicting").cloned();
    // Another request holds the same samples: stamped, ordered and spaced otherwise.
    let text = |samples: &str| {
        format!(
            "{{ \"samples\" :{samples}, \"consent\": true, \"sent_at_ms\":{}, \"seq\":4.0, \"queue\": {},\n\
             \"store_id\": \"tabs\", \"terminal_id\": \"till-1\", \"release\": \"3\", \"v\": 1, \"histograms\":[ ]}}",
            now_ms(),
            first.0["queue"]
        )
    };
    let samples = first.0["samples"].to_string();
    let reply = server.post_with(&[], text(&samples)).await;
    is(&reply, (0, 2, 0));
    assert_eq!(conflicting(&reply), None, "{}", reply.text());
    let reply = server.post(&many([&first, &first])).await;
    assert_eq!((reply.counts(), conflicting(&reply)), ((0, 4, 0), None));

    // Another value, another sample, a histogram beside them: another batch.
    let mut value = first.clone();
    value.0["samples"][1]["v"] = json!(1_001.0);
    let histogram = json!({"m": "idb_write_ms", "t": 0, "span_ms": 60_000, "buckets": [[1, 1]], "sum": 0, "min": 0, "max": 0});
    let others = [
        (value.clone(), 2),
        (first.clone().filled(1), 3),
        (first.clone().push_histogram(histogram), 3),
        (first.clone().with("samples", json!([])), 0),
    ];
    for (other, samples) in &others {
        let reply = server.post(&other.0).await;
        is(&reply, (0, *samples, 0));
        assert_eq!(conflicting(&reply), Some(json!(1)), "{}", other.0);
    }
    // Twice in one request, and new.
    let (one, two) = (first.clone().seq(5), value.clone().seq(5));
    let reply = server.post(&many([&one, &two, &one])).await;
    assert_eq!(
        (reply.counts(), conflicting(&reply)),
        ((2, 4, 0), Some(json!(1)))
    );
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_conflicting_batches_total", &[]), 5.0);
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("has the queue and number of another one"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("store_id=\"tabs\" terminal_id=\"till-1\" seq=4"),
        "{line}"
    );
    let queue = first.0["queue"].as_str().unwrap();
    assert!(!line.contains(queue), "{line}");
    // What was held is remembered since the start alone.
    let server = server.restart().await;
    let reply = server.post(&value.0).await;
    assert_eq!((reply.counts(), conflicting(&reply)), ((0, 2, 0), None));
    server.stop().await;
}
