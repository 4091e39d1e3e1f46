//! Whoever holds a token of store A tries to harm store B: B must notice nothing.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{batch, issue, outcome, post, refused, token};
use crate::support::{Batch, Reply, Server, now_ms};

#[tokio::test]
async fn a_token_of_one_store_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("data");
    token(&["key", "new"], &own, &[]).await;
    let environment = [
        ("TILLWATCH_AUTH", "required"),
        // Small caps, so that the thief can reach each of them.
        ("TILLWATCH_QUEUES_MAX", "400"),
        ("TILLWATCH_STORES_MAX", "20"),
        ("TILLWATCH_IDEMPOTENCY_KEYS_MAX", "400"),
        ("TILLWATCH_TERMINAL_RATE", "off"),
        ("TILLWATCH_STORE_RATE", "off"),
    ];
    let server = Server::start_on(folder.path(), &environment).await;
    let thief = issue(&own, &["--store", "store-a"]).await;
    let honest = issue(&own, &["--store", "store-b", "--terminal", "till-1"]).await;
    let queue = batch("store-b", "till-1");
    assert_eq!(post(&server, &honest, &queue.0).await.counts(), (1, 0, 0));

    // B's queue, under A's name and under B's, far ahead.
    let far = queue.clone().seq(1_000_000);
    let reply = post(&server, &thief, &far.0).await;
    assert_eq!(outcome(&reply), refused(403, "store_mismatch"));
    let as_own = far.with("store_id", "store-a");
    assert_eq!(post(&server, &thief, &as_own.0).await.status, 202);
    let mut next = queue.next().value_now("lcp_ms", 2.0);
    assert_eq!(post(&server, &honest, &next.0).await.counts(), (1, 0, 0));

    // B's idempotency key.
    let keyed = |store: &str| {
        Batch::new(store)
            .without("queue")
            .without("seq")
            .value_now("lcp_ms", 3.0)
    };
    let with_key = async |token: &str, body: &Value, key: &str| {
        let header = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", header.as_str()),
            ("idempotency-key", key),
        ];
        server.post_with(&headers, body.to_string()).await
    };
    assert_eq!(
        with_key(&thief, &keyed("store-a").0, "the-key")
            .await
            .counts(),
        (1, 0, 0)
    );
    let reply = with_key(&honest, &keyed("store-b").0, "the-key").await;
    assert_eq!(
        (reply.counts(), reply.header("idempotent-replayed")),
        ((1, 0, 0), "")
    );

    // Every cap: terminals, queues, keys, names of releases, and a clock of 2015.
    let mut refusals = 0;
    for number in 0..600_u32 {
        let body = batch("store-a", &format!("till-{number}"))
            .with("queue", Uuid::new_v4().to_string())
            .with("release", format!("9.{number}.0"))
            .with("sent_at_ms", 1_430_000_000_000_i64);
        refusals += u32::from(post(&server, &thief, &body.0).await.status == 503);
        let key = format!("key-{number}");
        let body = keyed("store-a").with("terminal_id", format!("keyed-{number}"));
        refusals += u32::from(with_key(&thief, &body.0, &key).await.status == 503);
    }
    assert!(refusals > 100, "the thief met its own caps: {refusals}");
    for number in 0..40_u32 {
        let body = batch("store-a", "till-1").with("queue", Uuid::new_v4().to_string());
        let body = body.seq(u64::from(number) * 50);
        post(&server, &thief, &body.0).await;
    }
    for round in 0..3 {
        next = next.next().value_now("lcp_ms", 2.0);
        let reply = post(&server, &honest, &next.0).await;
        assert_eq!(
            (reply.status, reply.counts()),
            (202, (1, 0, 0)),
            "{round}: {}",
            reply.text()
        );
        let reply = with_key(&honest, &keyed("store-b").0, &format!("own-{round}")).await;
        assert_eq!(reply.counts(), (1, 0, 0), "{}", reply.text());
        let fresh = batch("store-b", "till-1").with("queue", Uuid::new_v4().to_string());
        assert_eq!(
            post(&server, &honest, &fresh.0).await.status,
            202,
            "a new queue of B"
        );
    }
    server.wait_applied().await;
    let series = [("store_id", "store-b")];
    let page = server.fleet().await;
    assert_eq!(page.sum("pos_terminals_reporting", &series), 1.0);
    let last = page.sum("pos_store_last_report_timestamp_seconds", &series);
    assert!((last * 1_000.0 - now_ms() as f64).abs() < 60_000.0);
    assert_eq!(page.sum("pos_sdk_batches_lost_total", &series), 0.0);
    let clock = server.get("/api/v1/clock", &[]).await.json();
    assert_eq!(
        clock["doubt"],
        json!(null),
        "one store does not outvote this machine's clock: {clock}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_terminal_s_token_is_of_no_use_for_its_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    let server = super::start(folder.path()).await;
    let own = folder.path().join("data");
    let thief = issue(&own, &["--store", "store-a", "--terminal", "till-1"]).await;
    let honest = issue(&own, &["--store", "store-a", "--terminal", "till-2"]).await;
    // The limit of a terminal is its own.
    let mut limited = None;
    for seq in 0..200_u64 {
        let reply = post(&server, &thief, &batch("store-a", "till-1").seq(seq).0).await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
    }
    let limited = limited.expect("a terminal may not post 200 times at once");
    assert_eq!(limited.code(), "rate_limited");
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait} s");
    let reply = post(&server, &honest, &batch("store-a", "till-2").0).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let request = server.request(reqwest::Method::POST, "/v1/batches?store=store-b");
    let request = request
        .bearer_auth(&honest)
        .json(&batch("store-a", "till-2").0);
    let reply = Reply::of(request.send().await.unwrap()).await;
    assert_eq!(outcome(&reply), refused(403, "store_mismatch"));
    server.stop().await;
}
