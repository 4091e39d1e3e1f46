//! Clients that send too much, too slowly, or from elsewhere.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{Batch, Raw, Server, many};

const PATIENCE: Duration = Duration::from_secs(10);

/// A request as bytes.
fn request(body: &str) -> String {
    format!(
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn batch(store_id: &str) -> Batch {
    Batch::new(store_id)
        .with("terminal_id", uuid::Uuid::new_v4().to_string())
        .filled(1)
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn one_busy_store_does_not_starve_another() {
    let server = Server::start_with(&[
        ("TILLWATCH_STORE_REQUESTS_PER_S", "5"),
        ("TILLWATCH_STORE_BURST", "5"),
    ])
    .await;
    let started = Instant::now();
    let (mut taken, mut refused) = (0, Vec::new());
    for _ in 0..30 {
        let batch = batch("busy");
        let reply = server.post(&batch.0).await;
        if reply.status == 202 {
            taken += 1;
            continue;
        }
        assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
        let wait: u32 = reply.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        refused.push(batch);
        // Everyone else is served as ever.
        let other = format!("quiet-{}", refused.len());
        assert_eq!(server.post(&self::batch(&other).0).await.status, 202);
    }
    let allowed = 5 + 5 * (started.elapsed().as_secs() + 1);
    assert!(
        taken >= 5 && taken <= allowed,
        "{taken} of at most {allowed}"
    );
    assert!(!refused.is_empty());
    let page = server.metrics().await;
    let deferred = page.value("tillwatch_samples_total", &[("outcome", "deferred")]);
    assert_eq!(deferred, refused.len() as f64);
    // In one request, a busy store holds up the others' batches, and all of them may come again.
    while server.post(&batch("busy").0).await.status == 202 {}
    let together = many([&batch("quiet"), &batch("busy"), &batch("quiet")]);
    assert_eq!(server.post(&together).await.status, 429);
    pause(1_300).await;
    assert_eq!(server.taken(&together).await, (3, 0, 0));
    // What was refused was not remembered: it counts when it comes again.
    assert_eq!(server.taken(&refused[0].0).await, (1, 0, 0));
    server.stop().await;
}

/// Waits until a metric without labels has this value.
async fn until(server: &Server, metric: &str, value: f64) {
    let started = Instant::now();
    while server.metrics().await.value(metric, &[]) != value {
        assert!(started.elapsed() < PATIENCE, "{metric} is never {value}");
        pause(10).await;
    }
}

/// Who announces much and sends little holds little; where there is no room, the slowest bodies go.
#[tokio::test]
async fn half_requests_hold_what_they_have_sent_and_the_slowest_make_room() {
    const LIMIT: f64 = 256.0 * 1024.0;
    let server = Server::start_with(&[("TILLWATCH_IN_FLIGHT_BYTES_MAX", "256KiB")]).await;
    let padded = |text: String| format!("{text}{}", " ".repeat(60_000));
    let set_aside = async || {
        let page = server.metrics().await;
        page.value("tillwatch_request_in_flight_bytes", &[])
    };

    let mut silent: Vec<Raw> = Vec::new();
    for _ in 0..100 {
        let mut raw = server.raw().await;
        raw.send("POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 65536\r\n\r\n")
            .await;
        silent.push(raw);
    }
    until(&server, "tillwatch_requests_in_flight", 100.0).await;
    assert_eq!(set_aside().await, 0.0);
    let whole = padded(batch("flight").0.to_string());
    assert_eq!(server.post_with(&[], whole).await.status, 202);

    // Each sends most of its body and then stands still: three of them fit in.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let bytes = request(&padded(batch("flight").0.to_string())).into_bytes();
        let mut raw = server.raw().await;
        raw.send(&bytes[..45_000]).await;
        slow.push((raw, bytes));
        assert_eq!(server.post(&batch("flight").0).await.status, 202);
        assert!(set_aside().await <= LIMIT);
    }
    let (mut taken, mut sent_away) = (0, 0);
    until(&server, "tillwatch_requests_in_flight", 103.0).await;
    for (raw, bytes) in &mut slow {
        raw.send(&bytes[45_000..]).await;
        let (status, text) = raw.answer(PATIENCE).await.unwrap();
        if status == 202 {
            taken += 1;
            continue;
        }
        assert_eq!(
            (status, text.contains("\"body_timeout\"")),
            (503, true),
            "{text}"
        );
        assert!(
            text.contains("came slowest") && text.contains("fewer batches"),
            "{text}"
        );
        sent_away += 1;
    }
    assert_eq!((taken, sent_away), (3, 5));

    // What a body becomes counts as well: empty samples are many times as long in memory.
    let long = batch("flight").with("samples", vec![json!({}); 3_000]);
    let reply = server.post(&long.0).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "busy"));
    let wait: u32 = reply.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    drop(silent);
    until(&server, "tillwatch_requests_in_flight", 0.0).await;
    until(&server, "tillwatch_request_in_flight_bytes", 0.0).await;
    server.stop().await;
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_idle_ones_are_kept() {
    let server = Server::start_with(&[
        ("TILLWATCH_HEAD_TIMEOUT", "1s"),
        ("TILLWATCH_BODY_TIMEOUT", "2s"),
        ("TILLWATCH_IDLE_TIMEOUT", "60s"),
    ])
    .await;
    let started = Instant::now();
    let mut half_head = server.raw().await;
    half_head.send("POST /v1/batches HTTP/1.1\r\nHost:").await;
    let mut dripping = server.raw().await;
    let mut half_body = server.raw().await;
    half_body
        .send("POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{")
        .await;
    let mut never_used = server.raw().await;
    let mut used = server.raw().await;
    used.send(request(&batch("slow").0.to_string())).await;
    assert_eq!(used.answer(PATIENCE).await.unwrap().0, 202);

    let drip = async {
        let mut text = "POST /v1/batches HTTP/1.1\r\nX-Long: ".to_owned();
        text.push_str(&"x".repeat(40));
        for byte in text.bytes() {
            if !dripping.send([byte]).await {
                return true;
            }
            pause(150).await;
        }
        dripping.closes_within(Duration::from_millis(1)).await
    };
    let (head_closed, was_cut, body) = tokio::join!(
        half_head.closes_within(PATIENCE),
        drip,
        half_body.answer(PATIENCE)
    );
    assert!(head_closed && started.elapsed() > Duration::from_millis(900));
    assert!(was_cut, "a head that comes byte by byte is cut off too");
    let (status, text) = body.unwrap();
    assert_eq!(
        (status, text.contains("\"body_timeout\"")),
        (503, true),
        "{text}"
    );
    assert!(
        half_body.closes_within(PATIENCE).await,
        "nothing more can be read from it"
    );

    // Idle for much longer than a head may take, both are served.
    let least = Duration::from_millis(4_500);
    tokio::time::sleep(least.saturating_sub(started.elapsed())).await;
    for raw in [&mut used, &mut never_used] {
        assert!(raw.send(request(&batch("slow").0.to_string())).await);
        assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 202);
    }
    server.stop().await;
}

/// `Expect: 100-continue`, as curl sends it with larger bodies: the interim answer is not the answer.
#[tokio::test]
async fn a_client_told_to_continue_has_the_time_of_a_body() {
    let server = Server::start_with(&[
        ("TILLWATCH_HEAD_TIMEOUT", "1s"),
        ("TILLWATCH_BODY_TIMEOUT", "20s"),
    ])
    .await;
    let text = batch("continue").0.to_string();
    let mut raw = server.raw().await;
    raw.send(format!("POST /v1/batches HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", text.len())).await;
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 100);
    raw.send(&text[..10]).await;
    pause(3_500).await;
    raw.send(&text[10..]).await;
    assert_eq!(
        raw.answer(PATIENCE).await.map(|(status, _)| status),
        Some(202)
    );
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_time() {
    let server = Server::start_with(&[("TILLWATCH_IDLE_TIMEOUT", "1s")]).await;
    let started = Instant::now();
    let mut never_used = server.raw().await;
    let mut used = server.raw().await;
    used.send(request(&batch("idle").0.to_string())).await;
    assert_eq!(used.answer(PATIENCE).await.unwrap().0, 202);
    assert!(never_used.closes_within(PATIENCE).await && used.closes_within(PATIENCE).await);
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_make_room_and_half_open_ones_cannot_keep_it() {
    let server = Server::start_with(&[
        ("TILLWATCH_CONNECTIONS_MAX", "8"),
        ("TILLWATCH_HEAD_TIMEOUT", "1s"),
    ])
    .await;
    let mut idle: Vec<Raw> = Vec::new();
    for _ in 0..30 {
        let mut raw = server.raw().await;
        raw.send(request(&batch("room").0.to_string())).await;
        assert_eq!(
            raw.answer(PATIENCE).await.unwrap().0,
            202,
            "connection {}",
            idle.len()
        );
        idle.push(raw);
    }
    let mut closed = 0;
    for raw in &mut idle {
        closed += usize::from(raw.closes_within(Duration::from_millis(5)).await);
    }
    assert!(
        (22..=23).contains(&closed),
        "{closed} of 30 were closed for 8 to stay"
    );
    drop(idle);
    // Half-open ones make room as well: whoever comes first goes first, so that a request that is there
    // at once gets through however many open connections.
    let mut half: Vec<Raw> = Vec::new();
    for begin in [
        "POST /v1/batches HTTP/1.1\r\n",
        &format!("{}P", request("{")),
    ] {
        for _ in 0..20 {
            let mut raw = server.raw().await;
            raw.send(begin).await;
            half.push(raw);
        }
        for _ in 0..10 {
            let mut raw = server.raw().await;
            raw.send(request(&batch("room").0.to_string())).await;
            assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 202, "locked out");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_carries_many_requests_also_sent_at_once() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let good: Vec<String> = (0..20).map(|_| batch("pipe").0.to_string()).collect();
    let mut bytes: Vec<String> = good.iter().map(|text| request(text)).collect();
    bytes.insert(3, request(&good[0]));
    bytes.insert(7, request("{"));
    raw.send(bytes.concat()).await;
    let mut answers = Vec::new();
    for _ in 0..bytes.len() {
        answers.push(raw.answer(PATIENCE).await.unwrap());
    }
    for (index, (status, body)) in answers.iter().enumerate() {
        let expected = match index {
            7 => (400, "malformed_body"),
            3 => (202, "\"duplicate\":1"),
            _ => (202, "\"accepted\":1"),
        };
        assert!(
            (*status, body.contains(expected.1)) == (expected.0, true),
            "answer {index}: {status} {body}"
        );
    }
    // What is no HTTP is refused, and costs its own connection only.
    let long = format!(
        "POST /v1/batches HTTP/1.1\r\nX-Long: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let many_headers = format!(
        "POST /v1/batches HTTP/1.1\r\n{}\r\n",
        "X-A: b\r\n".repeat(3_000)
    );
    for bytes in [
        "hello\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "POST /v1/batches HTTP/9.9\r\n\r\n",
        &long,
        &many_headers,
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        let mut bad = server.raw().await;
        bad.send(bytes).await;
        bad.finish().await;
        let answer = bad.answer(PATIENCE).await;
        let status = answer.map(|(status, _)| status);
        assert!(
            status.is_none_or(|status| (400..500).contains(&status) || status == 505),
            "{status:?}: {:?}",
            &bytes[..20.min(bytes.len())]
        );
    }
    // Cut off in the middle of a body: nothing of it was taken.
    let text = batch("pipe").0.to_string();
    let mut cut = server.raw().await;
    let bytes = request(&text);
    cut.send(&bytes[..bytes.len() - 5]).await;
    cut.finish().await;
    let answer = cut.answer(PATIENCE).await;
    assert!(answer.is_none_or(|(status, _)| status == 400));
    assert_eq!(server.post_with(&[], text).await.counts(), (1, 0, 0));
    raw.send(request(&good[1])).await;
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 202);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_post_and_no_others() {
    let server = Server::start_with(&[(
        "TILLWATCH_CORS_ORIGINS",
        "https://pos.example.com, http://localhost:5173, capacitor://localhost",
    )])
    .await;
    let preflight = async |origin: &str| {
        let request = server
            .request(Method::OPTIONS, "/v1/batches")
            .header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header(
                "access-control-request-headers",
                "authorization,content-type,content-encoding,idempotency-key",
            )
            .header("access-control-request-private-network", "true")
            .send()
            .await
            .unwrap()
    };
    let header = |response: &reqwest::Response, name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_ascii_lowercase())
    };
    let allowed = "access-control-allow-origin";
    let credentials = "access-control-allow-credentials";
    for origin in [
        "https://pos.example.com",
        "http://localhost:5173",
        "capacitor://localhost",
    ] {
        let answer = preflight(origin).await;
        assert!(answer.status().is_success(), "{origin}");
        assert_eq!(header(&answer, allowed).as_deref(), Some(origin));
        assert_eq!(
            header(&answer, "access-control-allow-methods").as_deref(),
            Some("post")
        );
        let headers = header(&answer, "access-control-allow-headers").unwrap();
        for name in [
            "authorization",
            "content-type",
            "content-encoding",
            "idempotency-key",
            "x-request-id",
            "traceparent",
            "tracestate",
            "baggage",
            "sentry-trace",
        ] {
            assert!(headers.contains(name), "{headers}");
        }
        // A collector in the shop's own network is one that browsers ask about.
        let network = "access-control-allow-private-network";
        assert_eq!(header(&answer, network).as_deref(), Some("true"));
        let age = header(&answer, "access-control-max-age");
        assert_eq!(age.as_deref(), Some("86400"));
        // A beacon never leaves its page without this word.
        assert_eq!(header(&answer, credentials).as_deref(), Some("true"));
        // Refusals can be read as well, with the time to wait.
        for body in [
            batch("cors").0.to_string(),
            "{".to_owned(),
            json!({"v": 2}).to_string(),
        ] {
            let answer = server
                .request(Method::POST, "/v1/batches")
                .header("origin", origin)
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(header(&answer, allowed).as_deref(), Some(origin));
            assert_eq!(header(&answer, credentials).as_deref(), Some("true"));
            assert_eq!(
                header(&answer, "access-control-expose-headers").as_deref(),
                Some("retry-after,date,idempotent-replayed,x-request-id,x-faro-session-status")
            );
            assert!(header(&answer, "date").is_some());
            assert!(header(&answer, "vary").unwrap().contains("origin"));
        }
    }
    for origin in [
        "https://pos.example.com.evil.test",
        "http://pos.example.com",
        "https://pos.example.com:8443",
        "null",
        "https://POS.example.com",
    ] {
        let answer = preflight(origin).await;
        assert_eq!(header(&answer, allowed), None, "{origin}");
        assert_eq!(header(&answer, credentials), None, "{origin}");
        let network = "access-control-allow-private-network";
        assert_eq!(header(&answer, network), None, "{origin}");
        let answer = server
            .request(Method::POST, "/v1/batches")
            .header("origin", origin)
            .body("{")
            .send()
            .await
            .unwrap();
        assert_eq!(header(&answer, allowed), None, "{origin}");
    }
    server.stop().await;

    let server = Server::start().await;
    let request = server
        .request(Method::OPTIONS, "/v1/batches")
        .header("origin", "https://pos.example.com");
    let answer = request
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(header(&answer, allowed), None);
    let post = server
        .request(Method::POST, "/v1/batches")
        .header("origin", "https://pos.example.com");
    let answer = post.body(batch("cors").0.to_string()).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, allowed)),
        (202, None)
    );
    server.stop().await;
}

/// A full journal refuses; what it refused has one outcome, deferred, also the samples in it that
/// would have been rejected.
#[tokio::test]
async fn what_a_full_journal_refuses_is_deferred_and_nothing_else() {
    let server = Server::start_with(&[
        ("TILLWATCH_JOURNAL_SEGMENT", "4MiB"),
        ("TILLWATCH_JOURNAL_BUDGET", "32MiB"),
        ("TILLWATCH_SEAL_JOURNAL_BYTES", "1GiB"),
        ("TILLWATCH_SEAL_INTERVAL", "1h"),
    ])
    .await;
    let sample = format!(r#"{{"m":"lcp","t":{},"v":1}}"#, crate::support::now_ms());
    let body = |seq: u64| {
        let samples = format!("{},{{}}", vec![sample.as_str(); 40_000].join(","));
        let text = Batch::new("full")
            .with("queue", uuid::Uuid::from_u128(1).to_string())
            .seq(seq)
            .0
            .to_string();
        text.replace("\"samples\":[]", &format!("\"samples\":[{samples}]"))
    };
    let mut seq = 0;
    let refused = loop {
        let reply = server.post_with(&[], body(seq)).await;
        if reply.status != 202 {
            break reply;
        }
        assert_eq!(reply.counts(), (40_000, 0, 1));
        seq += 1;
        assert!(seq < 400, "32 MiB hold less");
    };
    assert!(seq > 10, "{seq}");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "storage_full")
    );
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((30..=120).contains(&wait), "{wait}");
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_samples_total", &[("outcome", "deferred")]),
        40_001.0
    );
    assert_eq!(
        page.sum("tillwatch_samples_rejected_total", &[]),
        seq as f64
    );
    assert_eq!(page.value("tillwatch_journal_full", &[]), 1.0);
    // What it holds is still known.
    assert_eq!(
        server.post_with(&[], body(0)).await.counts(),
        (0, 40_001, 0)
    );
    // A restart seals, and there is room again for what was refused.
    let server = server.restart().await;
    assert_eq!(
        server.post_with(&[], body(seq)).await.counts(),
        (40_000, 0, 1)
    );
    server.stop().await;
}

/// The network drops answers as often as requests: a terminal that has gone away before it is
/// answered leaves counts that add up, and its batch is counted once when it comes again.
#[tokio::test]
async fn a_client_that_leaves_before_its_answer_leaves_no_gap_in_the_counts() {
    let server = Server::start().await;
    let mut sent = Vec::new();
    for _ in 0..150 {
        let bad = batch("gone").without("store_id").filled(2);
        let body = many([
            &bad,
            &batch("gone").filled(3),
            &batch("gone").value("nope", 1, 1.0),
        ])
        .to_string();
        let mut raw = server.raw().await;
        raw.send(request(&body)).await;
        drop(raw);
        sent.push(body);
    }
    pause(500).await;
    server.outcomes_add_up().await;
    for body in sent {
        let (accepted, duplicate, rejected) = server.post_with(&[], body).await.counts();
        assert!(
            [(5, 0, 4), (0, 6, 3)].contains(&(accepted, duplicate, rejected)),
            "{accepted} {duplicate} {rejected}"
        );
    }
    let answer = server
        .percentiles(&[("metric", "lcp_ms"), ("store_id", "gone")])
        .await;
    assert_eq!(answer["series"][0]["points"][0]["count"], 150 * 5);
    server.stop().await;
}
