//! What operators see of single batches: while they arrive (`tap`), afterwards (`explain`), and before (`validate`).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Batch, Server, now_ms, openapi, run, said, wait_for, wait_sealed};

/// A tap that prints JSON, and its lines.
struct Tapping(Child, std::sync::mpsc::Receiver<Value>);

impl Tapping {
    fn begin(server: &Server, more: &[&str]) -> Self {
        let mut child = Server::command("tap")
            .args(["--json", "--admin-url", &server.admin_url()])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(1_024);
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                let answer = (200, "application/x-ndjson");
                let faults = openapi::faults("get", "/api/v1/tap", answer, &line);
                assert!(faults.is_empty(), "{faults:?}: {line}");
                let _nobody = sender.send(line);
            }
        });
        Self(child, lines)
    }

    /// The lines up to the first of which this holds.
    fn until(&self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line = self.1.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_none| panic!("no more lines than {lines:?}"));
            let is_over = is_last(&line);
            lines.push(line);
            if is_over {
                return lines;
            }
        }
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Posts to `probe` until the tap has seen it: a tap begins some time after its process.
async fn until_watching(server: &Server, tapping: &Tapping) {
    let mut probe = Batch::new("probe");
    let started = std::time::Instant::now();
    loop {
        server.taken(&probe.value_now("lcp_ms", 1.0).0).await;
        if let Ok(line) = tapping.1.recv_timeout(Duration::from_millis(100)) {
            assert_eq!(line["store_id"], "probe", "{line}");
            return;
        }
        assert!(started.elapsed().as_secs() < 30, "the tap shows nothing");
        probe = Batch::new("probe");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_shows_what_arrives_and_what_becomes_of_it_and_no_secret() {
    let server = Server::start().await;
    let all = Tapping::begin(&server, &[]);
    until_watching(&server, &all).await;
    let rejected = Tapping::begin(&server, &["--store", "store-1", "--outcome", "rejected"]);
    let batch = Batch::new("store-1")
        .with("session_id", "session-of-anna")
        .value_now("lcp_ms", 1.0)
        .value_now("no_such_metric", 1.0)
        .value_now("anna@example.com", 1.0);
    let queue = batch.0["queue"].as_str().unwrap().to_owned();
    server.taken(&batch.0).await;
    server.taken(&batch.0).await;
    assert_eq!(server.post(&json!({"v": 2})).await.status, 422);
    let refused = |line: &Value| line["what"] == "request" && line["status"] == 422;
    let lines = all.until(refused);
    let of_store: Vec<&Value> = lines
        .iter()
        .filter(|line| line["what"] == "batch" && line["store_id"] == "store-1")
        .collect();
    assert_eq!(of_store.len(), 2, "{lines:?}");
    assert_eq!(of_store[0]["accepted"], 1);
    assert_eq!(of_store[0]["rejected"], json!({"unknown_metric": 2}));
    assert_eq!(
        of_store[0]["metrics"],
        json!({"lcp_ms": 1, "no_such_metric": 1, "?": 1})
    );
    assert_eq!(
        (&of_store[0]["door"], &of_store[0]["seq"]),
        (&json!("terminal"), &batch.0["seq"])
    );
    assert_eq!(
        (&of_store[1]["outcome"], &of_store[1]["duplicate"]),
        (&json!("duplicate"), &json!(3))
    );
    assert_eq!(lines.last().unwrap()["code"], "unsupported_version");
    for line in &lines {
        let text = line.to_string();
        for secret in [queue.as_str(), "anna", "session-of"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // What passes the filter, and nothing else: the tap may have begun too late for the first batch.
    let mut next = batch.clone();
    let started = std::time::Instant::now();
    let line = loop {
        next = next.next().value_now("no_such_metric", 1.0);
        server.taken(&next.0).await;
        if let Ok(line) = rejected.1.recv_timeout(Duration::from_millis(100)) {
            break line;
        }
        assert!(started.elapsed().as_secs() < 30, "the tap shows nothing");
    };
    assert_eq!(
        (&line["what"], &line["store_id"]),
        (&json!("batch"), &json!("store-1"))
    );
    // A tap does not hold up a stop.
    server.stop().await;
    let mut tapping = rejected;
    wait_for("the end of the tap", || tapping.0.try_wait().unwrap());
}

async fn explained(server: &Server, path: &str) -> Value {
    let reply = server.get(&format!("/api/v1/explain/{path}"), &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_explained_sample_by_sample_before_and_after_its_seal() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let batch = Batch::new("store-1")
        .seq(5)
        .with("session_id", "anna")
        .value_now("sync_duration_ms", 812.5)
        .push(json!({"m": "cache_requests", "t": now_ms(), "v": 2, "label": "hit"}))
        .value_now("lcp_ms", -1.0);
    let reply = server.post(&batch.0).await;
    let request_id = reply.header("x-request-id").to_owned();
    assert_eq!(reply.counts(), (2, 0, 1));
    server.taken(&batch.clone().seq(8).0).await;
    server.wait_applied().await;
    let text = |key: &str| batch.0[key].as_str().unwrap().to_owned();
    let of = format!("store-1/{}/{}", text("terminal_id"), text("queue"));
    let check = |answer: &Value| {
        let record = &answer["records"][0];
        let accepted = record["accepted"].as_array().unwrap();
        assert_eq!(
            (&accepted[0]["metric"], &accepted[0]["value"]),
            (&json!("sync_duration_ms"), &json!(812.5))
        );
        assert_eq!(
            (&accepted[1]["label"], &accepted[1]["value"]),
            (&json!("hit"), &json!(2.0))
        );
        assert_eq!(record["rejected"][0]["reason"], "out_of_range");
        assert!(!answer.to_string().contains("anna"), "{answer}");
    };
    let answer = explained(&server, &format!("{of}/5")).await;
    assert_eq!(answer["numbers"]["state"], "counted");
    check(&answer);
    check(&explained(&server, &request_id).await);
    for (seq, state, before, after) in [
        (7, "missing", Some(5), Some(8)),
        (6, "missing", Some(5), Some(8)),
        (3, "lost", None, Some(5)),
        (9, "not_arrived", Some(8), None),
    ] {
        let numbers = explained(&server, &format!("{of}/{seq}")).await["numbers"].clone();
        let found = (
            &numbers["state"],
            &numbers["before"],
            &numbers["after"],
            &numbers["high"],
        );
        assert_eq!(
            found,
            (&json!(state), &json!(before), &json!(after), &json!(8)),
            "{seq}"
        );
    }
    let unknown = explained(
        &server,
        "store-1/till-x/7b0e7c0a-5d0f-4c57-9c1c-0c0f3c2f5a11/1",
    )
    .await;
    assert_eq!(
        (&unknown["numbers"]["state"], &unknown["records"]),
        (&json!("unknown"), &json!([]))
    );
    assert_eq!(
        server
            .get(&format!("/api/v1/explain/{of}/x"), &[])
            .await
            .status,
        400
    );

    // Sealed, and a restart later: the journal keeps the record for an hour, and the numbers stay.
    let server = server.restart().await;
    wait_sealed(&server).await;
    check(&explained(&server, &format!("{of}/5")).await);
    let arguments = [
        "store-1",
        &text("terminal_id"),
        &text("queue"),
        "5",
        "--admin-url",
        &server.admin_url(),
    ];
    let (is_good, said) = said(&run("explain", arguments.map(str::to_owned).to_vec()).await);
    assert!(
        is_good && said.contains("812.5 ms") && said.contains("out_of_range"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_journal_keep_is_shown_no_more_although_its_file_is_there() {
    let kept = [
        ("TILLWATCH_SEAL_INTERVAL", "100ms"),
        ("TILLWATCH_JOURNAL_KEEP", "0s"),
    ];
    let server = Server::start_with(&kept).await;
    let batch = Batch::new("store-1").value_now("lcp_ms", 1.0);
    server.taken(&batch.0).await;
    wait_sealed(&server).await;
    let text = |key: &str| batch.0[key].as_str().unwrap().to_owned();
    let path = format!("store-1/{}/{}/0", text("terminal_id"), text("queue"));
    let started = std::time::Instant::now();
    loop {
        let answer = explained(&server, &path).await;
        assert_eq!(answer["numbers"]["state"], "counted");
        if answer["records"] == json!([]) {
            break;
        }
        assert!(started.elapsed().as_secs() < 30, "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_explained_by_the_key() {
    let server = Server::start().await;
    let batch = Batch::new("store-1")
        .without("queue")
        .without("seq")
        .value_now("lcp_ms", 7.0);
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "order-66/a_b"),
    ];
    let reply = server.post_with(&headers, batch.0.to_string()).await;
    assert_eq!(reply.counts(), (1, 0, 0));
    let terminal = batch.0["terminal_id"].as_str().unwrap();
    let arguments = [
        "store-1",
        terminal,
        "--key",
        "order-66/a_b",
        "--json",
        "--admin-url",
        &server.admin_url(),
    ];
    let (is_good, said) = said(&run("explain", arguments.map(str::to_owned).to_vec()).await);
    assert!(is_good, "{said}");
    assert!(
        said.contains("\"value\":7.0") && said.contains("\"seq\":null"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_payload_in_a_file_is_judged_without_a_collector() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch.json");
    let batch = Batch::new("store-1").value_now("lcp_ms", 1.0);
    std::fs::write(&path, batch.0.to_string()).unwrap();
    let validate = async || said(&run("validate", vec![path.to_str().unwrap().to_owned()]).await);
    let (is_good, text) = validate().await;
    assert!(
        is_good && text.contains("1 would be accepted, 0 rejected"),
        "{text}"
    );
    let wrong = batch.value_now("lpc_ms", 1.0).0;
    std::fs::write(&path, serde_json::to_string_pretty(&wrong).unwrap()).unwrap();
    let (is_good, text) = validate().await;
    assert!(
        !is_good && text.contains("samples[1]") && text.contains("unknown_metric"),
        "{text}"
    );
    assert!(
        text.contains("The metric is not in the catalogue."),
        "{text}"
    );
    std::fs::write(&path, "{\"samples\": [").unwrap();
    let (is_good, text) = validate().await;
    assert!(!is_good && text.contains("refused whole"), "{text}");
    let missing = vec!["/nowhere/batch.json".to_owned()];
    let (is_good, text) = said(&run("validate", missing).await);
    assert!(
        !is_good && text.contains("could not read /nowhere/batch.json"),
        "{text}"
    );
}
