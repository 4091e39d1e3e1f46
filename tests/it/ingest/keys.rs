//! Idempotency keys, as a sender without a queue sees them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, many, now_ms};

/// A batch of a sender that keeps no queue.
fn batch(store_id: &str, samples: usize) -> Batch {
    Batch::new(store_id)
        .without("queue")
        .without("seq")
        .filled(samples)
}

async fn post(server: &Server, key: &str, body: &Value) -> Reply {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    server.post_with(&headers, body.to_string()).await
}

/// Asserts what was answered, and whether it had been answered before.
fn is(reply: &Reply, counts: (u64, u64, u64), is_replayed: bool) {
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.counts(), counts);
    assert_eq!(
        reply.header("idempotent-replayed"),
        if is_replayed { "true" } else { "" }
    );
}

/// Samples of a store, as the query API counts them.
async fn counted(server: &Server, store_id: &str) -> u64 {
    let (from, to) = (
        (now_ms() - 86_400_000).to_string(),
        (now_ms() + 60_000).to_string(),
    );
    let answer = server
        .percentiles(&[
            ("metric", "lcp_ms"),
            ("store_id", store_id),
            ("from", &from),
            ("to", &to),
        ])
        .await;
    answer["series"][0]["points"][0]["count"]
        .as_u64()
        .unwrap_or(0)
}

#[tokio::test]
async fn a_key_counts_once_and_is_answered_the_same_whatever_comes_with_it() {
    let server = Server::start().await;
    let mixed = batch("keys", 3).push(json!({"m": "nope"})).push(json!(5));
    is(&post(&server, "k1", &mixed.0).await, (3, 0, 2), false);
    is(&post(&server, "k1", &mixed.0).await, (3, 0, 2), true);
    is(
        &post(&server, "k1", &batch("keys", 40).0).await,
        (3, 0, 2),
        true,
    );
    is(
        &post(&server, "k1", &batch("keys", 0).0).await,
        (3, 0, 2),
        true,
    );
    is(&post(&server, "k2", &mixed.0).await, (3, 0, 2), false);
    // A key is one terminal's: another's may be the same by chance.
    is(
        &post(
            &server,
            "k1",
            &mixed.clone().with("terminal_id", "till-2").0,
        )
        .await,
        (3, 0, 2),
        false,
    );
    is(
        &post(&server, "k1", &batch("keys-2", 1).0).await,
        (1, 0, 0),
        false,
    );
    // What was counted as duplicate is what was sent again: 5 + 40 + 0 samples.
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_samples_total", &[("outcome", "duplicate")]),
        45.0
    );
    assert_eq!(page.value("tillwatch_idempotent_replays_total", &[]), 3.0);
    assert_eq!(page.value("tillwatch_idempotency_keys", &[]), 4.0);
    assert_eq!(counted(&server, "keys").await, 9);

    // Many batches: each has its place. In the same request sequence rules hold for those with a queue.
    let queued = Batch::new("keys").filled(2);
    let all = many([
        &batch("keys", 1),
        &batch("keys", 2),
        &queued,
        &batch("keys-2", 4),
    ]);
    is(&post(&server, "m", &all).await, (9, 0, 0), false);
    is(&post(&server, "m", &all).await, (7, 2, 0), true);
    let more = many([
        &batch("keys", 1),
        &batch("keys", 2),
        &queued.next().filled(1),
        &batch("keys-2", 4),
        &batch("keys", 8),
    ]);
    is(&post(&server, "m", &more).await, (16, 0, 0), false);
    is(&post(&server, "m", &more).await, (15, 1, 0), true);

    // A single batch with queue and number has no use for a key.
    let queued = Batch::new("keys").filled(1);
    is(&post(&server, "k1", &queued.0).await, (1, 0, 0), false);
    is(&post(&server, "k9", &queued.0).await, (0, 1, 0), false);
    // Half an identity is none.
    for (body, code) in [
        (queued.clone().without("seq"), "invalid_seq"),
        (queued.clone().without("queue"), "invalid_queue"),
        (batch("keys", 1).with("seq", "x"), "invalid_seq"),
    ] {
        let reply = post(&server, "half", &body.0).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, code));
    }
    let reply = server.post(&batch("keys", 1).0).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "invalid_seq"));
    assert!(reply.text().contains("Idempotency-Key"), "{}", reply.text());
    // There is no limit of sixteen, and no gap.
    for number in 0..40 {
        is(
            &post(&server, &format!("n{number}"), &batch("keys-3", 1).0).await,
            (1, 0, 0),
            false,
        );
    }
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_missing_batches", &[]),
        0.0
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_does_not_use_up_its_key() {
    let server = Server::start_with(&[
        ("TILLWATCH_STORE_REQUESTS_PER_S", "1"),
        ("TILLWATCH_STORE_BURST", "3"),
        ("TILLWATCH_IDEMPOTENCY_KEYS_MAX", "6"),
    ])
    .await;
    let long = "x".repeat(256);
    for key in ["", " ", "a b", "ä", long.as_str(), "a\tb"] {
        let reply = post(&server, key, &batch("form", 1).0).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "invalid_idempotency_key"),
            "{key:?}"
        );
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    let reply = server
        .post_with(&twice, batch("form", 1).0.to_string())
        .await;
    assert_eq!(reply.code(), "invalid_idempotency_key");
    is(
        &post(&server, &long[1..], &batch("form", 1).0).await,
        (1, 0, 0),
        false,
    );
    is(
        &post(&server, "!~\"#", &batch("form", 1).0).await,
        (1, 0, 0),
        false,
    );

    let refused = [
        (
            "no consent",
            batch("k", 1).with("consent", false),
            422,
            "no_consent",
        ),
        (
            "no version",
            batch("k", 1).with("v", 2),
            422,
            "unsupported_version",
        ),
        (
            "no source",
            batch("k", 1).with("source", "x"),
            422,
            "invalid_source",
        ),
    ];
    for (number, (name, body, status, code)) in refused.into_iter().enumerate() {
        let body = body.with("store_id", format!("refused-{number}"));
        let reply = post(&server, "k", &body.0).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{name}"
        );
    }
    let reply = server.post_with(&[("idempotency-key", "k")], "{").await;
    assert_eq!(reply.status, 400);
    is(
        &post(&server, "k", &batch("refused-0", 2).0).await,
        (2, 0, 0),
        false,
    );
    is(
        &post(
            &server,
            "k",
            &batch("refused-0", 2).with("consent", false).0,
        )
        .await,
        (2, 0, 0),
        true,
    );

    // 429: the same key counts when it comes again.
    let burst = |key: &'static str| {
        let server = &server;
        async move { post(server, key, &batch("busy", 1).0).await }
    };
    let mut replies = vec![burst("b0").await, burst("b0").await, burst("b0").await];
    let refused = loop {
        let reply = burst("b1").await;
        if reply.status == 429 {
            break reply;
        }
        replies.push(reply);
        assert!(replies.len() < 20, "never limited");
    };
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(
        counted(&server, "busy").await,
        if replies.len() > 3 { 2 } else { 1 }
    );

    // As many keys as may be: known ones are still answered, new ones have to wait.
    let mut number = 0;
    let full = loop {
        let reply = post(
            &server,
            &format!("f{number}"),
            &batch(&format!("full-{number}"), 1).0,
        )
        .await;
        if reply.status != 202 {
            break reply;
        }
        number += 1;
        assert!(number < 20, "never full");
    };
    assert_eq!(
        (full.status, full.code().as_str()),
        (503, "idempotency_keys_full")
    );
    assert!(full.header("retry-after").parse::<u32>().unwrap() >= 30);
    // Nothing of it was kept.
    let asked = [
        ("metric", "lcp_ms"),
        ("store_id", &format!("full-{number}")),
    ];
    let reply = server.get("/api/v1/percentiles", &asked).await;
    assert_eq!(reply.code(), "unknown_store");
    is(
        &post(&server, "f0", &batch("full-0", 7).0).await,
        (1, 0, 0),
        true,
    );
    assert_eq!(
        server
            .post(&Batch::new("queued").filled(1).0)
            .await
            .counts(),
        (1, 0, 0)
    );
    server.stop().await;
}

#[tokio::test]
async fn samples_with_a_key_are_at_most_a_day_old() {
    let server = Server::start().await;
    let now = now_ms();
    let (hour, minute) = (3_600_000, 60_000);
    let aged = batch("age", 0)
        .value("lcp_ms", now - 24 * hour + minute, 1.0)
        .value("lcp_ms", now - 24 * hour - minute, 1.0)
        .value("lcp_ms", now - 7 * 24 * hour, 1.0);
    let reply = post(&server, "age", &aged.0).await;
    is(&reply, (1, 0, 2), false);
    let old = |sample| (0, Some(sample), "too_old".to_owned());
    assert_eq!(reply.reasons(), [old(1), old(2)]);
    // A batch with a queue may hold all of these samples, because eight days are allowed there.
    let queued = Batch::new("age").with("samples", aged.0["samples"].clone());
    assert_eq!(server.post(&queued.0).await.counts(), (3, 0, 0));
    server.stop().await;
}

#[tokio::test]
async fn keys_are_known_after_restarts_and_deaths_also_those_that_are_not_cached() {
    for cached in ["0", "2", "1000"] {
        let server = Server::start_with(&[
            ("TILLWATCH_SEAL_INTERVAL", "1h"),
            ("TILLWATCH_IDEMPOTENCY_KEYS_CACHED", cached),
        ])
        .await;
        let body = batch("again", 2).push(json!({"m": "nope"}));
        for number in 0..10 {
            is(
                &post(&server, &number.to_string(), &body.0).await,
                (2, 0, 1),
                false,
            );
        }
        // The keys are only in the journal.
        let server = server.kill_and_restart().await;
        for number in 0..10 {
            is(
                &post(&server, &number.to_string(), &batch("again", 1).0).await,
                (2, 0, 1),
                true,
            );
        }
        is(&post(&server, "10", &body.0).await, (2, 0, 1), false);
        // Sealed on the way down; the state file has them.
        let server = server.restart().await;
        for number in 0..11 {
            is(
                &post(&server, &number.to_string(), &body.0).await,
                (2, 0, 1),
                true,
            );
        }
        is(&post(&server, "11", &body.0).await, (2, 0, 1), false);
        let server = server.kill_and_restart().await;
        for number in (0..12).rev() {
            is(
                &post(&server, &number.to_string(), &body.0).await,
                (2, 0, 1),
                true,
            );
        }
        let page = server.metrics().await;
        assert_eq!(page.value("tillwatch_idempotency_keys", &[]), 12.0);
        assert_eq!(counted(&server, "again").await, 24);
        server.stop().await;
    }
}

#[tokio::test]
async fn of_fifty_posts_of_one_key_at_once_one_counts_and_all_are_told_so() {
    let seals = [
        ("TILLWATCH_SEAL_INTERVAL", "100ms"),
        ("TILLWATCH_IDEMPOTENCY_KEYS_CACHED", "1"),
    ];
    let server = Arc::new(Server::start_with(&seals).await);
    for round in 0..6 {
        let posts: Vec<_> = (0..50)
            .map(|_| {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    post(&server, &format!("race-{round}"), &batch("race", 7).0).await
                })
            })
            .collect();
        let mut fresh = 0;
        for posted in posts {
            let reply = posted.await.unwrap();
            assert_eq!(
                (reply.status, reply.counts()),
                (202, (7, 0, 0)),
                "{}",
                reply.text()
            );
            fresh += usize::from(reply.header("idempotent-replayed").is_empty());
        }
        assert_eq!(fresh, 1, "round {round}");
    }
    assert_eq!(counted(&server, "race").await, 42);
    Arc::into_inner(server).unwrap().stop().await;
}

/// Forty keys, of which four each are guaranteed to four stores and to all others; of the rest one store gets half.
#[tokio::test]
async fn one_store_cannot_use_up_the_keys_and_a_restart_remembers_whose_they_are() {
    let settings = [
        ("TILLWATCH_IDEMPOTENCY_KEYS_MAX", "40"),
        ("TILLWATCH_STORES_MAX", "4"),
    ];
    let mut server = Server::start_with(&settings).await;
    for number in 0..10 {
        let reply = post(&server, &format!("g{number}"), &batch("greedy", 1).0).await;
        is(&reply, (1, 0, 0), false);
    }
    // First what is in memory, then what the journal holds, then what a seal has written.
    for round in 0..3 {
        let reply = post(&server, "g10", &batch("greedy", 1).0).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (503, "idempotency_keys_full")
        );
        let reply = post(&server, &format!("h{round}"), &batch("honest", 1).0).await;
        is(&reply, (1, 0, 0), false);
        let known = post(&server, "g3", &batch("greedy", 1).0).await;
        is(&known, (1, 0, 0), true);
        server = if round == 0 {
            server.kill_and_restart().await
        } else {
            server.restart().await
        };
    }
    server.stop().await;
}
