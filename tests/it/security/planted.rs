//! What may name a person or open a door is planted wherever a client may write text, and looked for on the disk: in the
//! files as they are, in what the outbox has compressed, and in every row of every table.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, data, now_ms, sql};

/// Each is looked for as it stands.
const PLANTED: [&str; 7] = [
    "Annegret",
    "Zwetschkenbaum",
    "4929123456781234",
    "4929 1234 5678 1234",
    "annegret.z@shop.example",
    "tw_live_9f3c2a7b1d40e6aa9f3c",
    "eyJzdWIiOiJ0aWxsLTMifQ",
];

/// A message with all of them, as applications write such messages.
fn message() -> String {
    "cannot sell to 'Annegret Zwetschkenbaum' with card 4929 1234 5678 1234 or 4929123456781234; mail \
     annegret.z@shop.example, key tw_live_9f3c2a7b1d40e6aa9f3c, Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ0aWxsLTMifQ.c2lnbmF0dXJl"
        .to_owned()
}

/// The address of a script or a page with all of them.
const ADDRESS: &str = "https://annegret.z@shop.example/4929123456781234/app.js?name=Annegret&card=4929123456781234&t=eyJzdWIiOiJ0aWxsLTMifQ#Zwetschkenbaum";

fn native(now_ms: i64) -> Value {
    let frame =
        json!({"fn": message(), "module": ADDRESS, "line": 1, "col": 2, "source": message()});
    let error = json!({"k": "error", "t": now_ms, "type": message(), "message": message(), "frames": [frame],
        "user": message(), "name": message(), "connection": message()});
    let mut batch = Batch::new("store-1")
        .value_now("lcp_ms", 1.0)
        .with("session_id", "annegret.z@shop.example")
        .with("events", vec![error])
        .with("cashier", message())
        .0;
    let samples = batch["samples"].as_array_mut().unwrap();
    samples.push(json!({"m": message(), "t": now_ms, "v": 1}));
    samples.push(
        json!({"m": "lcp_ms", "t": now_ms, "v": 1, "connection": message(), "note": message()}),
    );
    samples.push(json!({"m": "errors", "t": now_ms, "v": 1, "label": message()}));
    batch
}

fn faro(now_ms: i64) -> Value {
    let time = jiff::Timestamp::from_millisecond(now_ms)
        .unwrap()
        .to_string();
    let frame = json!({"function": message(), "filename": ADDRESS, "lineno": 1, "colno": 2});
    json!({
        "meta": {
            "app": {"name": "pos", "version": "2.4.1", "environment": message(), "installationId": "till-7"},
            "user": {"id": message(), "username": "Annegret", "email": "annegret.z@shop.example"},
            "session": {"id": "annegret.z@shop.example", "attributes": {"store_id": "store-2", "consent": "true", "cashier": message()}},
            "page": {"url": ADDRESS},
            "view": {"name": message()},
        },
        "exceptions": [{"type": message(), "value": message(), "timestamp": time, "stacktrace": {"frames": [frame]},
            "context": {"customer": message()}}],
        "logs": [{"message": message(), "level": "warn", "timestamp": time}],
        "measurements": [{"type": message(), "timestamp": time, "values": {message(): 1}, "context": {"who": message()}}],
        "events": [{"name": message(), "timestamp": time, "attributes": {"who": message()}}],
    })
}

fn otlp(now_ms: i64) -> Value {
    let pair = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let point = json!({"timeUnixNano": format!("{now_ms}000000"), "asDouble": 1,
        "attributes": [pair("customer", &message()), pair("url", ADDRESS)]});
    json!({"resourceMetrics": [{
        "resource": {"attributes": [pair("store.id", "store-3"), pair("service.instance.id", "till-1"), pair("user", &message())]},
        "scopeMetrics": [{"scope": {"name": message()}, "metrics": [
            {"name": "lcp_ms", "description": message(), "gauge": {"dataPoints": [point]}},
            {"name": message(), "gauge": {"dataPoints": [point]}},
        ]}],
    }]})
}

fn legacy(now_ms: i64) -> Value {
    let stats = json!({"count": 1, "avg": 1, "min": 1, "max": 1, "note": message()});
    json!({"sessionId": "annegret.z@shop.example", "timestamp": now_ms, "user": message(),
        "metrics": {"lcp": stats, message(): stats}})
}

async fn post(server: &Server, path: &str, body: &Value) {
    let request = server
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .header("user-agent", message())
        .header("referer", ADDRESS)
        .body(body.to_string());
    let reply = Reply::of(request.send().await.unwrap()).await;
    assert!(
        matches!(reply.status, 200 | 202),
        "{path}: {}",
        reply.text()
    );
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What the outbox has compressed.
fn outbox(data: &Path) -> Vec<Vec<u8>> {
    let file = rusqlite::Connection::open(data.join("state.sqlite")).unwrap();
    let mut blobs = Vec::new();
    for table in ["outbox", "side_outbox"] {
        let select = format!("SELECT plain_bytes, blob FROM {table}");
        let mut statement = file.prepare(&select).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        for row in rows.unwrap() {
            let (bytes, blob): (i64, Vec<u8>) = row.unwrap();
            let bytes = usize::try_from(bytes).unwrap();
            blobs.push(zstd::bulk::decompress(&blob, bytes).unwrap());
        }
    }
    blobs
}

/// Which of the texts stand in these bytes.
fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let is_there = |text: &&str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    PLANTED.into_iter().filter(is_there).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_in_any_text_of_any_door_is_found_nowhere_on_the_disk() {
    assert_eq!(found_in(message().as_bytes()).len(), PLANTED.len());
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "1h"),
        ("TILLWATCH_DOORS_LEGACY_CONSENT", "assumed"),
        ("TILLWATCH_DOORS_LEGACY_STORE", "store-4"),
        ("TILLWATCH_DOORS_OTLP_CONSENT", "assumed"),
    ];
    let server = Server::start_with(&settings).await;
    let bodies = [
        ("/v1/batches", native(now_ms())),
        ("/collect", faro(now_ms())),
        ("/v1/metrics", otlp(now_ms())),
        ("/pdc_pos_offline/metrics", legacy(now_ms())),
    ];
    for (path, body) in &bodies {
        post(&server, path, body).await;
    }
    server.wait_applied().await;
    let data = data(&server);
    // In the journal, open in memory, then sealed and in the tables: while it runs and after a kill.
    let search = |server: &Server| {
        let mut files = files_below(&data);
        // The whole log, too.
        files.push(server.folder().join("log"));
        let mut found = Vec::new();
        for file in files {
            let here = found_in(&std::fs::read(&file).unwrap_or_default());
            found.extend(here.into_iter().map(|text| (file.clone(), text)));
        }
        for (at, blob) in outbox(&data).into_iter().enumerate() {
            let here = found_in(&blob).into_iter();
            found.extend(here.map(|text| (PathBuf::from(format!("outbox {at}")), text)));
        }
        assert_eq!(found, Vec::new());
    };
    search(&server);
    let server = server.kill_and_restart().await;
    search(&server);
    let server = server.restart().await;
    server.wait_confirmed().await;
    search(&server);
    let tables = "SELECT name FROM system.tables WHERE database = 'tillwatch' AND engine LIKE '%MergeTree%' FORMAT TSV";
    let mut rows = 0;
    for table in sql(&data, tables).await.lines() {
        // Pseudonyms are no text.
        let session = if table == "session" {
            "EXCEPT (session)"
        } else {
            ""
        };
        let text = sql(
            &data,
            &format!("SELECT * {session} FROM {table} FORMAT JSONEachRow"),
        )
        .await;
        assert_eq!(
            found_in(text.as_bytes()),
            Vec::<&str>::new(),
            "{table}: {text}"
        );
        rows += text.lines().count();
    }
    // The errors themselves are there, and what is left of their texts.
    let errors = "SELECT count(), uniqExact(message) FROM v_error_group_1h WHERE kind = 'error' AND message LIKE 'cannot sell to%' FORMAT TSV";
    assert_eq!(sql(&data, errors).await.trim(), "2\t1");
    assert!(rows > 10, "{rows}");
    server.stop().await;
}
