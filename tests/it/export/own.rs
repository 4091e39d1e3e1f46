//! `/metrics`: the collector about itself.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Batch, Server, now_ms};

#[tokio::test]
async fn every_line_has_help_and_type_and_every_request_is_in_the_counts() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let now = now_ms();
    let good = Batch::new("own")
        .filled(3)
        .value("nope", now, 1.0)
        .push(json!({"m": "errors", "t": now, "v": 1}));
    server.taken(&good.0).await;
    server.taken(&good.0).await;
    server
        .post(&good.next().with("consent", false).filled(2).0)
        .await;
    server.post_with(&[], "{").await;
    server.percentiles(&[("metric", "lcp_ms")]).await;
    server.wait_confirmed().await;

    let reply = server.get("/metrics", &[]).await;
    assert!(
        reply.header("content-type").starts_with("text/plain"),
        "{}",
        reply.header("content-type")
    );
    let page = server.metrics().await;
    let names_after = |prefix: &str| -> BTreeSet<String> {
        let lines = page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix));
        lines
            .map(|rest| rest.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let (helped, typed) = (names_after("# HELP "), names_after("# TYPE "));
    for series in page.lines.keys() {
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            name.strip_suffix(suffix)
                .filter(|stem| typed.contains(*stem))
        });
        let family = family.unwrap_or(name);
        assert!(name.starts_with("tillwatch_"), "{series}");
        assert!(helped.contains(family), "no help for {series}");
        assert!(typed.contains(family), "no type for {series}");
    }
    #[rustfmt::skip]
    let expected: [(&str, &[(&str, &str)], f64); 14] = [
        ("tillwatch_samples_received_total", &[], 12.0),
        ("tillwatch_samples_total", &[("outcome", "accepted")], 3.0),
        ("tillwatch_samples_total", &[("outcome", "duplicate")], 5.0),
        ("tillwatch_samples_total", &[("outcome", "deferred")], 0.0),
        ("tillwatch_samples_rejected_total", &[("reason", "unknown_metric")], 1.0),
        ("tillwatch_samples_rejected_total", &[("reason", "missing_label")], 1.0),
        ("tillwatch_samples_rejected_total", &[("reason", "no_consent")], 2.0),
        ("tillwatch_batches_received_total", &[], 3.0),
        ("tillwatch_requests_total", &[("status", "202")], 2.0),
        ("tillwatch_requests_total", &[("status", "422")], 1.0),
        ("tillwatch_requests_total", &[("status", "400")], 1.0),
        ("tillwatch_ledger_samples", &[("place", "confirmed")], 3.0),
        ("tillwatch_stores", &[], 1.0),
        ("tillwatch_clickhouse_up", &[], 1.0),
    ];
    for (name, labels, value) in expected {
        assert_eq!(page.get(name, labels), Some(value), "{name} {labels:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn missing_batches_are_counted_while_they_may_still_come() {
    let server = Server::start().await;
    let queue = Batch::new("gaps").filled(1);
    for seq in [10, 12, 20] {
        server.taken(&queue.clone().seq(seq).0).await;
    }
    let missing = async || {
        server.outcomes_add_up().await;
        server
            .metrics()
            .await
            .value("tillwatch_missing_batches", &[])
    };
    assert_eq!(missing().await, 1.0 + 7.0);
    server.taken(&queue.clone().seq(15).0).await;
    assert_eq!(missing().await, 7.0);
    // What lies before the first that came is not missed.
    server.taken(&queue.clone().seq(2).0).await;
    assert_eq!(missing().await, 7.0);
    let server = server.kill_and_restart().await;
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_missing_batches", &[]),
        7.0
    );
    server.stop().await;
}

/// The ledger is of one moment: what is being sealed is neither sealed nor confirmed.
#[tokio::test]
async fn the_ledger_is_never_ahead_of_what_has_happened() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "150ms")]).await;
    let queue = Batch::new("ledger").filled(40);
    let started = std::time::Instant::now();
    let (mut seq, mut confirmed) = (0, 0.0);
    while started.elapsed() < std::time::Duration::from_secs(4) {
        server.taken(&queue.clone().seq(seq).0).await;
        seq += 1;
        for _ in 0..3 {
            let page = server.metrics().await;
            let at = |place| page.value("tillwatch_ledger_samples", &[("place", place)]);
            assert_eq!(at("accepted"), at("sealed") + at("open"));
            assert_eq!(at("sealed"), at("confirmed") + at("outbox"));
            assert!(
                at("confirmed") >= confirmed,
                "confirmed fell from {confirmed} to {}",
                at("confirmed")
            );
            confirmed = at("confirmed");
        }
    }
    assert!(confirmed > 0.0);
    server.wait_confirmed().await;
    server.stop().await;
}
