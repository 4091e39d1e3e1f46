//! The fleet while it happens: answers, the stream, changes, and what a stop and a restart make of them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Batch, Server, now_ms, openapi};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// One who reads the stream.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(server: &Server, topics: &str) -> Self {
        let url = format!("{}/api/v1/live?topics={topics}", server.admin_url());
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; `None`: the stream is over.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<&str> = event.lines().collect();
                let of = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
                let found = of("event: ").zip(of("data: "));
                let found = found.map(|(name, data)| {
                    (name.to_owned(), serde_json::from_str(data).expect("JSON"))
                });
                self.text = rest.to_owned();
                if let Some((_, data)) = &found {
                    let answer = (200, "text/event-stream");
                    let faults = openapi::faults("get", "/api/v1/live", answer, data);
                    assert!(faults.is_empty(), "{data}: {faults:?}");
                    return found;
                }
                continue;
            }
            let bytes = timeout(PATIENCE, self.response.chunk()).await;
            let bytes = bytes.expect("in time").ok()??;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The data of the next event of this name for which `is` holds.
    async fn wait(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (event, data) = self.next().await.expect("the stream goes on");
            if event == name && is(&data) {
                return data;
            }
        }
    }
}

fn slow(store_id: &str, sync_ms: f64) -> Batch {
    let mut batch = Batch::new(store_id);
    for _ in 0..30 {
        batch = batch.value_now("sync_duration_ms", sync_ms);
    }
    batch
}

fn row<'v>(rows: &'v Value, store_id: &str) -> Option<&'v Value> {
    let rows = rows["stores"].as_array()?;
    rows.iter().find(|row| row["store_id"] == store_id)
}

#[tokio::test]
async fn a_store_that_gets_slow_is_told_of_as_the_answer_has_it_then() {
    let server = Server::start().await;
    server.taken(&slow("store-1", 700.0).0).await;
    let mut stream = Stream::open(&server, "fleet,store:store-1").await;
    let first = stream.wait("snapshot", |_| true).await;
    assert_eq!(row(&first["fleet"], "store-1").unwrap()["state"], "fine");
    assert_eq!(first["topic"], "fleet");
    server.taken(&slow("store-2", 9_000.0).0).await;
    let is_there = |data: &Value| row(data, "store-2").is_some();
    let told = stream.wait("rows", is_there).await;
    let told_row = row(&told, "store-2").unwrap();
    assert_eq!(told_row["state"], "critical");
    assert_eq!(told["all"]["critical"], 1);
    assert!(told["seq"].as_u64() > first["seq"].as_u64());
    // The answer says the same, with the worst store first.
    let answer = server.get("/api/v1/fleet", &[]).await.json();
    assert_eq!(&answer["stores"][0], told_row);
    assert_eq!(answer["all"]["stores"], 2);
    // A percentile is that of the query API, which merges the same samples.
    let asked = [
        ("metric", "sync_duration_ms"),
        ("q", "0.95"),
        ("store_id", "store-2"),
    ];
    let exact = server.percentiles(&asked).await;
    let exact = exact["series"][0]["points"][0]["values"]["0.95"]
        .as_f64()
        .unwrap();
    let shown = told_row["sync_p95_ms"].as_f64().unwrap();
    assert!(
        exact <= shown && shown <= exact * 1.001,
        "{shown} for {exact}"
    );
    server.taken(&slow("store-1", 700.0).0).await;
    let is_new = |data: &Value| data["store"]["batches"]["received"] == 2;
    let detail = stream.wait("store", is_new).await["store"].clone();
    assert_eq!(detail["row"]["store_id"], "store-1");
    let terminal = &detail["terminals"][0];
    let beats = u64::from_str_radix(terminal["beats"].as_str().unwrap(), 16).unwrap();
    // A minute may have ended since.
    assert!(beats & 0b11 != 0, "{beats:b}");
    let now = server.get("/api/v1/stores/store-1/now", &[]).await.json();
    assert_eq!(now["batches"], detail["batches"]);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_says_goodbye_at_a_stop_and_goes_on_after_a_restart_with_a_snapshot() {
    let mut server = Server::start().await;
    server.taken(&slow("store-1", 700.0).0).await;
    let mut stream = Stream::open(&server, "fleet,pipeline").await;
    let first = stream
        .wait("snapshot", |data| data["topic"] == "fleet")
        .await;
    let pipeline = stream.wait("pipeline", |_| true).await;
    assert!(
        pipeline["series"]["tillwatch_ledger_samples{place=\"accepted\"}"].as_f64() >= Some(30.0)
    );
    let stopped = async {
        let mut last = None;
        while let Some((event, _)) = stream.next().await {
            last = Some(event);
        }
        last
    };
    let (again, last) = tokio::join!(server.restart(), stopped);
    server = again;
    assert_eq!(last.as_deref(), Some("bye"));
    let since = first["seq"].as_u64().unwrap();
    let mut stream = Stream::open(&server, &format!("fleet&since={since}")).await;
    let again = stream.wait("snapshot", |_| true).await;
    assert!(again["seq"].as_u64().unwrap() > since);
    assert!(row(&again["fleet"], "store-1").is_some());
    server.stop().await;
}

#[tokio::test]
async fn whoever_has_the_last_frame_is_sent_no_snapshot() {
    let server = Server::start().await;
    server.taken(&slow("store-1", 700.0).0).await;
    let mut first = Stream::open(&server, "fleet").await;
    let seq = first.wait("snapshot", |_| true).await["seq"]
        .as_u64()
        .unwrap();
    let mut second = Stream::open(&server, &format!("fleet&since={seq}")).await;
    server.taken(&slow("store-2", 700.0).0).await;
    let (event, data) = second.next().await.unwrap();
    assert_eq!(event, "rows", "{data}");
    server.stop().await;
}

#[tokio::test]
async fn what_changed_is_told_after_a_while_and_known_after_a_restart() {
    let server = Server::start().await;
    server.taken(&slow("store-1", 700.0).0).await;
    let mut stream = Stream::open(&server, "fleet").await;
    stream.wait("snapshot", |_| true).await;
    server.taken(&slow("store-1", 9_000.0).0).await;
    let change = stream.wait("change", |_| true).await;
    assert_eq!(
        (&change["store_id"], &change["from"], &change["to"]),
        (&json!("store-1"), &json!("fine"), &json!("critical"))
    );
    assert_eq!(change["why"][0]["metric"], "sync_duration_ms");
    let server = server.kill_and_restart().await;
    let changes = server
        .get("/api/v1/changes", &[("limit", "5")])
        .await
        .json();
    assert_eq!(changes["changes"], json!([change]));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_a_word() {
    let server = Server::start().await;
    for (path, code) in [
        ("/api/v1/live", "bad_parameter"),
        ("/api/v1/live?topics=stores", "bad_parameter"),
        ("/api/v1/live?topics=store:a%20b", "bad_parameter"),
        ("/api/v1/live?topics=fleet&since=x", "bad_parameter"),
        ("/api/v1/changes?limit=0", "bad_parameter"),
        ("/api/v1/fleet?limit=3", "bad_parameter"),
        ("/api/v1/stores/nobody/now", "unknown_store"),
    ] {
        let reply = server.get_with(path, &[]).await;
        assert_eq!(reply.code(), code, "{path}: {}", reply.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn the_settings_are_told_as_they_are_in_force() {
    let grafana = [("TILLWATCH_GRAFANA_URL", "https://grafana.example.com")];
    let server = Server::start_with(&grafana).await;
    let answer = server.get("/api/v1/settings", &[]).await.json();
    let settings = answer["settings"].as_array().unwrap();
    let of = |name: &str| {
        settings
            .iter()
            .find(|setting| setting["name"] == name)
            .unwrap()
    };
    assert_eq!(of("grafana_url")["value"], "https://grafana.example.com");
    assert_eq!(of("grafana_url")["is_given"], true);
    assert_eq!(of("seal_interval")["is_given"], false);
    assert_eq!(of("seal_interval")["value"], of("seal_interval")["default"]);
    let about = server.get("/api/v1/about", &[]).await.json();
    assert_eq!(about["grafana_url"], "https://grafana.example.com");
    assert_eq!(about["auth"], "off");
    assert!(about["started_at"].as_i64().unwrap() <= now_ms());
    let runbook = server
        .get("/runbooks/PosFleetSyncLatencyHigh.md", &[])
        .await;
    assert!(runbook.text().starts_with("# PosFleetSyncLatencyHigh"));
    assert_eq!(
        server.get("/runbooks/..%2FREADME.md", &[]).await.status,
        404
    );
    server.stop().await;
}

#[tokio::test]
async fn the_hour_before_is_filled_in_from_what_is_stored() {
    let server = Server::start().await;
    let then_ms = now_ms() - 20 * 60_000;
    let mut batch = slow("store-1", 700.0);
    for _ in 0..30 {
        batch = batch.value("sync_duration_ms", then_ms, 12_000.0);
    }
    server.taken(&batch.0).await;
    let mut stream = Stream::open(&server, "fleet").await;
    let has_it = |data: &Value| {
        let spark = data["fleet"]["sparks"]["stores"]["store-1"]
            .as_str()
            .unwrap_or_default();
        // It was too late to move anything live.
        spark.len() == 60 && spark[..50].contains('/')
    };
    stream.wait("snapshot", has_it).await;
    server.stop().await;
}

/// How long each thread of this name has had a processor so far, ns.
#[cfg(target_os = "linux")]
fn worked(server: &Server, name: &str) -> HashMap<PathBuf, u64> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let paths = threads.filter_map(|thread| Some(thread.ok()?.path()));
    // A thread may have ended meanwhile.
    let of_name = paths.filter(|path| {
        let said = std::fs::read_to_string(path.join("comm"));
        said.is_ok_and(|said| said.starts_with(name))
    });
    let worked = of_name.filter_map(|path| {
        let said = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let ns = said.split_whitespace().next()?.parse().ok()?;
        Some((path, ns))
    });
    worked.collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_looks_is_not_served_by_the_threads_that_serve_terminals() {
    let server = Server::start().await;
    let names = ["apart", "tokio"];
    let before = names.map(|name| worked(&server, name));
    assert!(before.iter().all(|threads| !threads.is_empty()));
    for _ in 0..1_000 {
        assert_eq!(server.get("/healthz", &[]).await.status, 200);
    }
    let [apart, others] = [0, 1].map(|at| {
        let after = worked(&server, names[at]);
        let more = after.iter().map(|(thread, ns)| {
            let before = before[at].get(thread);
            before.map_or(0, |before| ns.saturating_sub(*before))
        });
        more.sum::<u64>()
    });
    assert!(
        apart > others,
        "{apart} ns apart, {others} ns on the others"
    );
    server.stop().await;
}
