//! What comes on a socket and is not one request after the other.

use std::time::{Duration, Instant};

use crate::support::{Batch, Raw, Server};

const PATIENCE: Duration = Duration::from_secs(10);

fn batch() -> String {
    let terminal = uuid::Uuid::new_v4().to_string();
    let batch = Batch::new("connections").with("terminal_id", terminal);
    batch.filled(1).0.to_string()
}

fn head(length: usize) -> String {
    format!("POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n")
}

async fn answer(server: &Server, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let mut raw = server.raw().await;
    raw.send(bytes).await;
    raw.answer(PATIENCE).await.expect("an answer")
}

#[tokio::test]
async fn a_batch_is_answered_whatever_stands_behind_it() {
    let server = Server::start().await;
    let text = batch();
    for tail in [
        "",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "POST /v1/bat",
        "x",
        "\u{16}\u{3}\u{1}",
    ] {
        let (status, _) = answer(&server, format!("{}{text}{tail}", head(text.len()))).await;
        assert_eq!(status, 202, "{tail:?}");
    }
    // A length in characters: the sender hears that its body is no JSON, and what was left of it is no
    // request.
    let text = text.replace("connections", "caf\u{e9}");
    let mut raw = server.raw().await;
    raw.send(format!("{}{text}", head(text.chars().count())))
        .await;
    let (status, body) = raw.answer(PATIENCE).await.unwrap();
    assert_eq!(
        (status, body.contains("malformed_body")),
        (400, true),
        "{body}"
    );
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 400);
    assert!(raw.closes_within(PATIENCE).await);
    // The client closes its side and waits.
    let text = batch();
    let mut raw = server.raw().await;
    raw.send(format!("{}{text}", head(text.len()))).await;
    raw.finish().await;
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 202);
    let mut raw = Raw::connect(server.admin).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n\r\n")
        .await;
    raw.finish().await;
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_never_became_a_request_is_counted_and_said_on_both_listeners() {
    let server = Server::start_with(&[("TILLWATCH_HEAD_TIMEOUT", "1s")]).await;
    let cookies = "Cookie: secret\r\n".repeat(200) + &"x".repeat(16_000);
    let large = format!("GET / HTTP/1.1\r\n{cookies}\r\n\r\n");
    let cases = [
        (large.as_str(), "too_large", 431),
        ("secret\r\n\r\n", "malformed", 400),
        ("\u{16}\u{3}\u{1}secret", "tls", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", 400),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 1 2\r\n", "proxy", 400),
        ("GET /secret HT", "timeout", 408),
    ];
    let finished = ("GET /secret HT", "incomplete", 400);
    for (listener, address) in [("ingest", server.ingest), ("admin", server.admin)] {
        for (bytes, reason, expected) in cases.into_iter().chain([finished]) {
            let mut raw = Raw::connect(address).await;
            raw.send(bytes).await;
            if reason == "incomplete" {
                raw.finish().await;
            }
            let (status, body) = raw.answer(PATIENCE).await.unwrap();
            assert_eq!(
                (status, body.as_str()),
                (expected, ""),
                "{listener} {reason}"
            );
            assert!(raw.closes_within(PATIENCE).await, "{listener} {reason}");
            let labels = [("listener", listener), ("reason", reason)];
            let page = server.metrics().await;
            assert_eq!(
                page.value("tillwatch_heads_refused_total", &labels),
                1.0,
                "{labels:?}"
            );
        }
    }
    let log = server.log();
    for (_, reason, _) in cases.into_iter().chain([finished]) {
        assert!(
            log.contains(&format!("reason=\"{reason}\"")),
            "{reason}: {log}"
        );
    }
    assert!(
        !log.contains("secret") && !log.contains("203.0.113.9"),
        "{log}"
    );
    server.stop().await;
}

/// A container is killed ten seconds after it was asked to stop.
#[tokio::test]
async fn slow_clients_do_not_hold_up_the_end() {
    let server = Server::start().await;
    let text = batch();
    let mut clients = Vec::new();
    for address in [server.ingest, server.admin] {
        for bytes in [
            String::new(),
            "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
            "GET /heal".to_owned(),
            format!("{}{{", head(text.len())),
            // Reads none of it.
            "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(500),
        ] {
            let mut raw = Raw::connect(address).await;
            raw.send(&bytes).await;
            clients.push(raw);
        }
    }
    let mut dripping = server.raw().await;
    dripping.send(head(text.len())).await;
    let drip = tokio::spawn(async move {
        while dripping.send(" ").await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let stopping = Instant::now();
    tokio::task::spawn_blocking(|| tokio::runtime::Handle::current().block_on(server.stop()))
        .await
        .unwrap();
    let took = stopping.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    drip.await.unwrap();
}
