//! The collector's own clock is wrong, or is moved: nothing is judged by it, nothing is destroyed by it, and
//! what was noted meanwhile is put right.
//!
//! The clock of a real process is moved by a library that is loaded before it, `shim.c`. The engine, its
//! child, has the same clock.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Batch, Reply, Server, now_ms};

/// How long a condition may take to become true.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A data folder and the clock that processes on it have.
struct Clock {
    folder: tempfile::TempDir,
    ahead: File,
}

impl Clock {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock/shim.c");
        let made = Command::new(std::env::var("CC").unwrap_or_else(|_unset| "cc".to_owned()))
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(source)
            .status()
            .expect("a C compiler is there, as for building");
        assert!(made.success());
        let ahead = File::create_new(folder.path().join("ahead_ms")).unwrap();
        ahead.write_all_at(&[0; 8], 0).unwrap();
        Self { folder, ahead }
    }

    /// Sets the clock so much ahead of the real one.
    fn set(&self, ahead_ms: i64) {
        self.ahead.write_all_at(&ahead_ms.to_le_bytes(), 0).unwrap();
    }

    async fn start(&self) -> Server {
        let in_folder = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (shim, ahead) = (in_folder("shim.so"), in_folder("ahead_ms"));
        let environment = [
            ("LD_PRELOAD", shim.as_str()),
            ("CLOCK_AHEAD_MS_FILE", ahead.as_str()),
            ("TILLWATCH_SEAL_INTERVAL", "1s"),
        ];
        Server::start_on(self.folder.path(), &environment).await
    }
}

/// A batch with a sample and a stamp, as a terminal with a right clock sends it.
fn batch(store_id: &str) -> Batch {
    Batch::new(store_id)
        .value_now("sync_duration_ms", 100.0)
        .with("session_id", "cashier 4711")
        .with("sent_at_ms", now_ms())
}

fn assert_unsure(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], "clock_unsure");
    assert!(reply.headers.contains_key("retry-after"));
}

async fn keyed(server: &Server, key: &str) -> Reply {
    let body = batch("keyed").without("queue").without("seq").0.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    server.post_with(&headers, body).await
}

/// Samples of a store in the last days, wherever they are.
async fn samples(server: &Server, store_id: &str) -> u64 {
    let (from, to) = (
        (now_ms() - 8 * DAY_MS).to_string(),
        (now_ms() + HOUR_MS).to_string(),
    );
    let answer = server
        .percentiles(&[
            ("metric", "sync_duration_ms"),
            ("q", "0.5"),
            ("store_id", store_id),
            ("from", &from),
            ("to", &to),
        ])
        .await;
    let series = answer["series"].as_array().unwrap();
    let points = series
        .iter()
        .flat_map(|line| line["points"].as_array().unwrap());
    points.map(|point| point["count"].as_u64().unwrap()).sum()
}

async fn wait_for(server: &Server, what: &str, is_so: impl AsyncFn(&Server) -> bool) {
    let started = Instant::now();
    while !is_so(server).await {
        assert!(
            started.elapsed() < PATIENCE,
            "not so: {what}\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_ready(server: &Server) -> bool {
    server.get("/readyz", &[]).await.status == 200
}

/// Days of which there is a key for session pseudonyms, and idempotency keys, in the state file.
fn kept(server: &Server) -> (i64, i64) {
    let state = server.folder().join("data/state.sqlite");
    let state = rusqlite::Connection::open(state).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        state.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    (count("session_key"), count("idempotency_key"))
}

#[tokio::test]
async fn while_the_clock_is_moved_nothing_is_judged_and_nothing_is_destroyed() {
    let clock = Clock::new();
    let server = clock.start().await;
    let first = batch("moved");
    assert_eq!(server.taken(&first.0).await, (1, 0, 0));
    assert_eq!(keyed(&server, "a-key").await.status, 202);
    server.wait_confirmed().await;
    let kept_before = kept(&server);
    assert_eq!(kept_before.1, 1);
    let mut last = first.clone();
    for ahead_ms in [
        2 * HOUR_MS,
        -2 * HOUR_MS,
        25 * HOUR_MS,
        -25 * HOUR_MS,
        100 * DAY_MS,
        -100 * DAY_MS,
        -26 * 365 * DAY_MS,
    ] {
        clock.set(ahead_ms);
        assert_unsure(&server.post(&batch("moved").0).await);
        let ready = server.get("/readyz", &[]).await;
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["faults"], json!(["clock unsure"]));
        let page = server.metrics().await;
        assert_eq!(page.value("tillwatch_clock_unsure", &[]), 1.0);
        assert_eq!(page.value("tillwatch_clock_settled", &[]), 0.0);
        // What asks for the time is told the one that went on.
        let status: Value = server.get("/api/v1/clock", &[]).await.json();
        assert!(
            (status["now_ms"].as_i64().unwrap() - now_ms()).abs() < 60_000,
            "{status}"
        );
        assert_unsure(&keyed(&server, "a-key").await);

        clock.set(0);
        last = last
            .next()
            .value_now("sync_duration_ms", 100.0)
            .with("sent_at_ms", now_ms());
        assert_eq!(server.taken(&last.0).await, (1, 0, 0), "{ahead_ms}");
        assert!(is_ready(&server).await);
        assert_eq!(server.taken(&first.0).await, (0, 1, 0));
        let again = keyed(&server, "a-key").await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
    }
    server.wait_confirmed().await;
    assert_eq!(samples(&server, "moved").await, 8);
    assert_eq!(samples(&server, "keyed").await, 1);
    assert_eq!(kept(&server), kept_before);
    for said in [
        "it was moved ahead by 7200 s",
        "it lies before the date of this release",
        "the clock is trusted again: it is where it has to be",
    ] {
        wait_for(&server, said, async |server| server.log().contains(said)).await;
    }
    server.stop().await;
}

/// The engine has the clock of the machine. Rows must not go by it.
#[tokio::test]
async fn rows_at_rest_outlive_a_clock_that_is_far_ahead() {
    let clock = Clock::new();
    let server = clock.start().await;
    assert_eq!(server.taken(&batch("rest").0).await, (1, 0, 0));
    server.wait_confirmed().await;
    let sql = |statement: &str| {
        let data = server.folder().join("data");
        let done = Server::command("sql")
            .arg("--data-dir")
            .arg(data)
            .arg(statement)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    clock.set(120 * DAY_MS);
    // A merge is when a TTL is applied.
    sql("OPTIMIZE TABLE rollup_1m FINAL");
    sql("OPTIMIZE TABLE session FINAL");
    assert_eq!(sql("SELECT count() > 0 FROM rollup_1m FORMAT TSV"), "1");
    assert_eq!(sql("SELECT count() > 0 FROM session FORMAT TSV"), "1");
    clock.set(0);
    assert_eq!(samples(&server, "rest").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_starts_in_the_year_2000_waits_for_its_clock() {
    let clock = Clock::new();
    let in_2000_ms = 946_684_800_000 - now_ms();
    clock.set(in_2000_ms);
    let server = clock.start().await;
    assert_unsure(&server.post(&batch("early").0).await);
    assert!(!is_ready(&server).await);
    let accepted = Server::command("clock")
        .args(["accept", "--admin-url", &format!("http://{}", server.admin)])
        .output()
        .unwrap();
    assert!(!accepted.status.success(), "no operator can be right");
    assert!(String::from_utf8_lossy(&accepted.stderr).contains("before the date of this release"));
    clock.set(0);
    assert_eq!(server.taken(&batch("early").0).await, (1, 0, 0));
    assert_eq!(samples(&server, "early").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_start_before_the_journals_last_time_waits_until_an_operator_says_so() {
    let clock = Clock::new();
    clock.set(25 * HOUR_MS);
    let server = clock.start().await;
    let ahead = batch("accept").with("sent_at_ms", now_ms());
    assert_eq!(server.taken(&ahead.0).await, (1, 0, 0));
    server.stop().await;
    clock.set(0);
    let server = clock.start().await;
    assert_unsure(&server.post(&batch("accept").0).await);
    let said = "it lies before the last time in the journal";
    wait_for(&server, said, async |server| server.log().contains(said)).await;
    let accepted = Server::command("clock")
        .args(["accept", "--admin-url", &format!("http://{}", server.admin)])
        .output()
        .unwrap();
    assert!(
        accepted.status.success(),
        "{}",
        String::from_utf8_lossy(&accepted.stderr)
    );
    assert!(String::from_utf8_lossy(&accepted.stdout).starts_with("The clock is trusted"));
    assert_eq!(server.taken(&batch("other").0).await, (1, 0, 0));
    // The store that has been silent since is put right, too.
    wait_for(
        &server,
        "the last report is not in the future",
        async |server| {
            let name = "pos_store_last_report_timestamp_seconds";
            let last = server.fleet().await.value(name, &[("store_id", "accept")]);
            last <= now_ms() as f64 / 1_000.0 + 1.0
        },
    )
    .await;
    let server = server.restart().await;
    assert!(
        is_ready(&server).await,
        "the journal's last time is right now"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_was_noted_while_the_clock_was_ahead_is_put_right_when_it_is_set_back() {
    for ahead_ms in [4 * 60_000, 2 * HOUR_MS, 100 * DAY_MS] {
        let clock = Clock::new();
        clock.set(ahead_ms);
        let server = clock.start().await;
        let full = Batch::new("back")
            .value_now("pending_transactions", 1_200.0)
            .with("sent_at_ms", now_ms());
        assert_eq!(server.taken(&full.0).await, (1, 0, 0));
        assert_eq!(server.taken(&batch("silent").0).await, (1, 0, 0));
        assert_eq!(keyed(&server, "ahead").await.status, 202);
        server.wait_confirmed().await;
        clock.set(0);
        // The terminals say that it is right now: there is nothing to wait for.
        let empty = full
            .next()
            .value_now("pending_transactions", 0.0)
            .with("sent_at_ms", now_ms());
        assert_eq!(server.taken(&empty.0).await, (1, 0, 0), "{ahead_ms}");
        assert_eq!(server.taken(&full.0).await, (0, 1, 0));
        assert_eq!(
            keyed(&server, "ahead").await.headers["idempotent-replayed"],
            "true"
        );
        server.wait_applied().await;
        let page = server.fleet().await;
        let pending = [("store_id", "back"), ("stat", "max")];
        assert_eq!(
            page.value("pos_pending_transactions", &pending),
            0.0,
            "the old value wins"
        );
        let name = "pos_store_last_report_timestamp_seconds";
        let last = page.value(name, &[("store_id", "back")]);
        assert!(last <= now_ms() as f64 / 1_000.0, "{ahead_ms}: {last}");
        if ahead_ms > 5 * 60_000 {
            wait_for(
                &server,
                "a silent store's last report is put right",
                async |server| {
                    let last = server.fleet().await.value(name, &[("store_id", "silent")]);
                    last <= now_ms() as f64 / 1_000.0
                },
            )
            .await;
        }
        server.stop().await;
    }
}
