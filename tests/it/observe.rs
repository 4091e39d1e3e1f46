//! Following a request from its answer to the log, and what the log never holds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Batch, Reply, Server, now_ms, wait_until};

const SLOW: (&str, &str) = ("TILLWATCH_LOG_SLOW_REQUEST", "400ms");
const JSON: (&str, &str) = ("TILLWATCH_LOG_FORMAT", "json");

/// All of the log, as text.
fn log(server: &Server) -> String {
    std::fs::read_to_string(server.folder().join("log")).unwrap()
}

/// Every line of the log, which must be an object with a time in UTC.
fn events(server: &Server) -> Vec<Value> {
    let text = log(server);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = whole.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
        assert!(
            event["timestamp"].as_str().unwrap().ends_with('Z'),
            "{line}"
        );
        event
    });
    events.collect()
}

/// The events that name a request.
fn about(server: &Server, request_id: &str) -> Vec<Value> {
    let mut events = events(server);
    events.retain(|event| event["fields"]["request_id"] == request_id);
    events
}

/// The one event about a request, once it is there.
async fn one_line(server: &Server, request_id: &str) -> Value {
    let found = wait_until("the line", || {
        let found = about(server, request_id);
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1, "one line a request: {found:?}");
    found[0]["fields"].clone()
}

#[tokio::test]
async fn every_answer_of_both_listeners_has_a_name() {
    let server = Server::start().await;
    let batch = Batch::new("named").filled(1);
    let id_of = |reply: &Reply| reply.header("x-request-id").to_owned();
    let mut ids = vec![
        id_of(&server.post(&batch.0).await),
        id_of(&server.post_with(&[], "{").await),
        id_of(&server.get("/metrics", &[]).await),
        id_of(&server.get("/api/v1/percentiles", &[]).await),
        id_of(&server.get("/none", &[]).await),
    ];
    for (method, path) in [("GET", "/none"), ("GET", "/v1/batches"), ("GET", "/readyz")] {
        let request = server.request(method.parse().unwrap(), path);
        ids.push(id_of(&Reply::of(request.send().await.unwrap()).await));
    }
    for id in &ids {
        let is_plain =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        assert!(id.len() == 13 && id.chars().all(is_plain), "{ids:?}");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");

    let given = server
        .post_with(&[("x-request-id", "till-3.2026_11")], batch.0.to_string())
        .await;
    assert_eq!(given.header("x-request-id"), "till-3.2026_11");
    let refused = server
        .post_with(&[("x-request-id", "a b"), ("origin", "https://x")], "{")
        .await;
    assert_eq!(refused.header("x-request-id").len(), 13);
    // A restart goes on elsewhere.
    let server = server.restart().await;
    let after = id_of(&server.post(&batch.0).await);
    assert!(!ids.contains(&after));
    server.stop().await;
}

#[tokio::test]
async fn a_failed_batch_is_followed_from_its_answer_to_the_log() {
    let server = Server::start_with(&[JSON]).await;
    let batch = Batch::new("failing").seq(7).filled(3);
    let reply = server.post(&batch.clone().with("consent", false).0).await;
    assert_eq!(reply.code(), "no_consent");
    let line = one_line(&server, reply.header("x-request-id")).await;
    for (field, value) in [
        ("message", json!("request failed")),
        ("store_id", json!("failing")),
        ("terminal_id", json!("till-1")),
        ("seq", json!(7)),
        ("release", json!("2.4.1")),
        ("code", json!("no_consent")),
        ("status", json!(422)),
        ("batches", json!(1)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    // Who knows a queue can post in its place: no line has it.
    let queue = batch.0["queue"].as_str().unwrap();
    assert!(!log(&server).contains(queue), "{line}");
    // The batch was journalled, and the line says what that took.
    for field in [
        "read_ms",
        "decode_ms",
        "check_ms",
        "journal_wait_ms",
        "journal_commit_ms",
    ] {
        assert!(line[field].as_f64().is_some(), "{field} of {line}");
    }
    let sum: f64 = [
        "read",
        "decode",
        "check",
        "journal_wait",
        "journal_commit",
        "hand_on",
    ]
    .iter()
    .map(|stage| line[format!("{stage}_ms")].as_f64().unwrap())
    .sum();
    let duration = line["duration_ms"].as_f64().unwrap();
    assert!(sum <= duration + 0.01 && sum > 0.0, "{sum} of {duration}");

    // One that is not understood has no identity, and did not come to the journal.
    let reply = server.post_with(&[], "{").await;
    let line = one_line(&server, reply.header("x-request-id")).await;
    assert_eq!(line["code"], "malformed_body");
    assert!(
        line["store_id"].is_null() && line["journal_wait_ms"].is_null(),
        "{line}"
    );

    // The engine writes to the same place, and in the same way.
    let engine = crate::support::children(server.pid());
    assert_eq!(engine.len(), 1);
    let arguments = std::fs::read(format!("/proc/{}/cmdline", engine[0])).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(arguments.contains("--log-format\0json"), "{arguments:?}");

    // At the default level there is not a word about a good batch.
    let reply = server.post(&batch.next().filled(1).0).await;
    let last = server.post_with(&[], "{").await;
    one_line(&server, last.header("x-request-id")).await;
    assert!(!log(&server).contains(reply.header("x-request-id")));
    server.stop().await;
}

#[tokio::test]
async fn a_slow_batch_says_which_part_of_it_was_slow() {
    let server = Server::start_with(&[JSON, SLOW]).await;
    let text = Batch::new("slow").filled(2).0.to_string();
    let mut raw = server.raw().await;
    let (first, rest) = text.split_at(20);
    raw.send(format!(
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nX-Request-Id: slow-one\r\nContent-Length: {}\r\n\r\n{first}",
        text.len(),
    ))
    .await;
    // The slowness is the point: the body comes in two pieces.
    tokio::time::sleep(Duration::from_millis(700)).await;
    raw.send(rest).await;
    let (status, body) = raw.answer(Duration::from_secs(10)).await.unwrap();
    assert_eq!(status, 202, "{body}");
    let line = one_line(&server, "slow-one").await;
    assert_eq!(line["message"], "slow request");
    assert_eq!(line["store_id"], "slow");
    assert_eq!(line["accepted"], 2);
    let ms = |stage: &str| line[stage].as_f64().unwrap_or(-1.0);
    assert!(
        ms("read_ms") >= 400.0 && ms("duration_ms") >= ms("read_ms"),
        "{line}"
    );
    assert!(
        ms("journal_commit_ms") >= 0.0 && ms("decode_ms") < ms("read_ms"),
        "{line}"
    );
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_requests_slow_total", &[]), 1.0);
    let read = [("stage", "read"), ("le", "0.25")];
    assert_eq!(
        page.value("tillwatch_request_stage_duration_seconds_bucket", &read),
        0.0
    );
    server.stop().await;
}

/// From the answer's id to the journal's position, and on to the epoch that ClickHouse holds.
#[tokio::test]
async fn at_debug_level_a_good_batch_is_followed_to_its_epoch() {
    let environment = [
        JSON,
        ("TILLWATCH_LOG_LEVEL", "info,tillwatch=debug"),
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
    ];
    let server = Server::start_with(&environment).await;
    let reply = server.post(&Batch::new("followed").filled(4).0).await;
    let line = one_line(&server, reply.header("x-request-id")).await;
    assert_eq!(line["message"], "request answered");
    let position = line["position"].as_u64().unwrap();
    server.wait_confirmed().await;
    let events = events(&server);
    let sealed = events.iter().map(|event| &event["fields"]).find(|fields| {
        let at = |name: &str| fields[name].as_u64().unwrap_or(0);
        fields["message"] == "sealed"
            && (at("first_position")..=at("last_position")).contains(&position)
    });
    let epoch = &sealed.unwrap_or_else(|| panic!("{events:?}"))["epoch"];
    let confirmed = events.iter().any(|event| {
        let epochs = event["fields"]["epochs"].as_str().unwrap_or_default();
        event["fields"]["message"] == "confirmed" && epochs.contains(&epoch.to_string())
    });
    assert!(confirmed, "epoch {epoch} in {events:?}");
    server.stop().await;
}

/// 100,000 requests that are refused: few lines, and they add up.
#[tokio::test]
async fn a_flood_of_refused_requests_writes_few_lines_that_add_up() {
    const CONNECTIONS: usize = 10;
    const EACH: usize = 10_000;
    let server = Server::start_with(&[JSON]).await;
    let started = Instant::now();
    let flood = || {
        let address = server.ingest;
        tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut reader, mut writer) = stream.into_split();
            let request = "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n{";
            let sending = tokio::spawn(async move {
                for _ in 0..EACH / 100 {
                    let hundred = request.repeat(100);
                    writer.write_all(hundred.as_bytes()).await.unwrap();
                }
                writer
            });
            // Answers end in a body that is always the same.
            let (mut answers, mut text, mut buffer) = (0, Vec::new(), vec![0; 64 * 1024]);
            while answers < EACH {
                let read = reader.read(&mut buffer).await.unwrap();
                assert!(read > 0, "closed after {answers}");
                text.extend_from_slice(&buffer[..read]);
                let mark = b"HTTP/1.1 400";
                let found: Vec<usize> = (0..text.len().saturating_sub(mark.len() - 1))
                    .filter(|at| text[*at] == b'H' && text[*at..].starts_with(mark))
                    .collect();
                answers += found.len();
                if let Some(last) = found.last() {
                    text.drain(..last + mark.len());
                }
            }
            drop(sending.await.unwrap());
        })
    };
    let floods: Vec<_> = (0..CONNECTIONS).map(|_| flood()).collect();
    for flood in floods {
        flood.await.unwrap();
    }
    let count = (CONNECTIONS * EACH) as u64;
    let lines = wait_until("the lines to add up", || {
        let events = events(&server);
        let said = events.iter().map(|event| &event["fields"]);
        let said = said.filter(|fields| {
            fields["code"] == "malformed_body" || fields["about"] == "malformed_body"
        });
        let (mut sum, mut lines) = (0, 0);
        for fields in said {
            lines += 1;
            sum += u64::from(fields["message"] == "request failed");
            sum += fields["suppressed"].as_u64().unwrap_or(0);
        }
        assert!(sum <= count, "{sum}");
        (sum == count).then_some(lines)
    })
    .await;
    // A burst of ten, one in six seconds, and one in ten about those held back.
    let most = 10 + started.elapsed().as_secs() / 6 + started.elapsed().as_secs() / 10 + 2;
    assert!(
        (11..=most).contains(&lines),
        "{lines} lines, at most {most}"
    );
    let page = server.metrics().await;
    let refused = [("code", "malformed_body")];
    assert_eq!(
        page.value("tillwatch_requests_refused_total", &refused),
        100_000.0
    );
    server.stop().await;
}

/// At the most talkative level: no session, nothing of a body, no address, no forged line.
#[tokio::test]
async fn the_log_holds_nothing_that_names_a_person_and_no_forged_line() {
    let environment = [
        ("TILLWATCH_LOG_LEVEL", "trace"),
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
    ];
    let server = Server::start_with(&environment).await;
    let secrets = [
        "cashier-anna-4711",
        "anna@example.com",
        "Anna Example",
        "/etc/secret-path",
        "Bearer abc.def",
    ];
    let [session, mail, name, path, token] = secrets;
    let batch = Batch::new("private").filled(1).with("session_id", session);
    let headers = [
        ("content-type", "application/json"),
        ("authorization", token),
        ("x-forwarded-for", "203.0.113.77"),
        ("user-agent", name),
        ("x-request-id", "a\tb forged"),
    ];
    assert_eq!(
        server.post_with(&headers, batch.0.to_string()).await.status,
        202
    );
    // As it was, as no session, as a name, as a value, in a body that is not one.
    let cases = [
        batch.clone().next().with("consent", false),
        batch.clone().next().with("store_id", name),
        batch.clone().next().with("terminal_id", mail),
        batch.clone().next().with("release", mail),
        batch.clone().next().with("queue", session),
        batch.clone().next().with("source", mail),
        batch
            .clone()
            .next()
            .with("store_id", "x\nERROR forged\u{1b}[31m\r"),
        batch.clone().next().value(mail, now_ms(), 1.0),
        batch.clone().next().with("samples", path),
    ];
    for case in &cases {
        server.post(&case.0).await;
    }
    server
        .post_with(&[], format!("{session} \n\u{1b}[2J forged"))
        .await;
    server.post_with(&[("content-type", name)], "{}").await;
    server.post_with(&[("content-encoding", mail)], "{}").await;
    let _nothing = server.get(&format!("/none/{session}"), &[]).await;
    server.percentiles(&[("metric", "lcp_ms")]).await;
    server.wait_confirmed().await;
    let last = server.post_with(&[], "{").await;
    let id = last.header("x-request-id").to_owned();
    wait_until("the last line", || log(&server).contains(&id).then_some(())).await;

    let log = log(&server);
    assert!(
        log.contains("DEBUG") && log.contains("TRACE"),
        "the level is set"
    );
    assert!(log.contains("code=\"no_consent\"") && log.contains("store_id=\"private\""));
    for secret in secrets.iter().chain(&["203.0.113.77", "forged"]) {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    for line in log.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            line.starts_with("20"),
            "a line begins with its time: {line:?}"
        );
    }
    server.stop().await;
}
