//! Errors, other events and drops, from the terminal to the tables, the series and the sessions.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Batch, Server, audit_is_clean, data, in_the_middle_of_a_minute, now_ms, sql};

const EXAMPLE: &str = include_str!("../../fixtures/wire/v1/events.json");

/// The example as if it were sent now.
fn sent_now(now_ms: i64) -> Value {
    let mut body: Value = serde_json::from_str(EXAMPLE).unwrap();
    let moved = now_ms - body["sent_at_ms"].as_i64().unwrap();
    let later = |value: &mut Value| *value = json!(value.as_i64().unwrap() + moved);
    later(&mut body["sent_at_ms"]);
    for list in ["events", "drops"] {
        for item in body[list].as_array_mut().unwrap() {
            later(&mut item["t"]);
        }
    }
    body
}

/// Waits until all of it is in ClickHouse, and that answers.
async fn at_rest(server: &Server) {
    server.wait_confirmed().await;
    let is_up = async || server.metrics().await.value("tillwatch_clickhouse_up", &[]) == 1.0;
    let begun = std::time::Instant::now();
    while !is_up().await {
        assert!(begun.elapsed().as_secs() < 60, "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn rows(data: &Path, statement: &str) -> Vec<String> {
    let text = sql(data, statement).await;
    text.lines().map(str::to_owned).collect()
}

const GROUPS: &str =
    "SELECT kind, name, fingerprint, store_id, release, source, type, message, frames_json,
        sum(count), sum(fatal), uniqExactArray(terminals)
    FROM v_error_group_1h GROUP BY ALL ORDER BY kind, name, fingerprint, store_id";

const ROLLUPS: &str = "SELECT metric, label, connection, sum(count), sum(sum) FROM v_rollup_1m
    GROUP BY ALL ORDER BY metric, label, connection";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_found_once_in_every_place_after_a_kill_and_a_resend() {
    let now_ms = in_the_middle_of_a_minute().await;
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let body = sent_now(now_ms);
    assert_eq!(server.taken(&body).await, (4, 0, 0));
    assert_eq!(server.taken(&body).await, (0, 4, 0));
    // The same error on another terminal, which leaves its fingerprint to the collector.
    let mut other = body.clone();
    other["terminal_id"] = json!("till-4");
    other["drops"] = json!([]);
    other["events"].as_array_mut().unwrap().truncate(1);
    other["events"][0]["fingerprint"] = Value::Null;
    other["events"][0]["message"] = json!("y of undefined");
    other["events"][0]["fatal"] = json!(true);
    other["events"][0]["count"] = json!(2);
    other["events"][0]["label"] = json!("sync");
    other["session_id"] = Value::Null;
    assert_eq!(server.taken(&other).await, (1, 0, 0));

    let fleet = server.fleet().await;
    let store = ("store_id", "store-017");
    let value = |name: &str, label: (&str, &str)| fleet.value(name, &[store, label]);
    assert_eq!(value("pos_errors_total", ("kind", "script")), 3.0);
    assert_eq!(value("pos_errors_total", ("kind", "sync")), 2.0);
    assert_eq!(value("pos_events_total", ("kind", "offline")), 1.0);
    assert_eq!(value("pos_events_total", ("kind", "custom")), 1.0);
    assert_eq!(
        value("pos_sdk_dropped_samples_total", ("reason", "quota")),
        230.0
    );

    // Nothing is sealed: the journal alone brings all of it back, and the numbers are known.
    let server = server.kill_and_restart().await;
    server.wait_applied().await;
    assert_eq!(server.taken(&body).await, (0, 4, 0));
    let server = server.restart().await;
    at_rest(&server).await;
    let data = data(&server);
    let frames = r#"[{"fn":"pay","module":"app.js","line":1,"col":5120}]"#;
    let drawer = tillwatch_model::error_event::of_event("custom", "drawer_opened");
    let offline = tillwatch_model::error_event::of_event("offline", "");
    let expected = [
        format!("custom\tdrawer_opened\t{drawer:016x}\tstore-017\t2.4.1\trum\t\t\t\t1\t0\t1"),
        format!(
            "error\t\t655719f3e99bddc5\tstore-017\t2.4.1\trum\tTypeError\tx of undefined for *\t{frames}\t5\t2\t2"
        ),
        format!("offline\t\t{offline:016x}\tstore-017\t2.4.1\trum\t\t\t\t1\t0\t1"),
    ];
    assert_eq!(rows(&data, GROUPS).await, expected);
    let expected = [
        "dropped_samples\tquota\tunknown\t1\t230",
        "errors\tscript\tonline\t1\t3",
        "errors\tsync\tonline\t1\t2",
        "events\tcustom\tunknown\t1\t1",
        "events\toffline\toffline\t1\t1",
    ];
    assert_eq!(rows(&data, ROLLUPS).await, expected);
    let by_terminal = "SELECT terminal_id, label, sum(count), sum(sum) FROM v_rollup_terminal_1h
        WHERE metric = 'errors' GROUP BY ALL ORDER BY terminal_id";
    assert_eq!(
        rows(&data, by_terminal).await,
        ["till-3\tscript\t1\t3", "till-4\tsync\t1\t2"]
    );
    let sessions = "SELECT sum(error_count), sum(sample_count) FROM v_session";
    assert_eq!(rows(&data, sessions).await, ["3\t4"]);
    audit_is_clean(&data, &["--deep"]).await;

    // A second seal makes rows of its own, and the terminals are still two.
    let mut more = other.clone();
    more["seq"] = json!(417);
    more["events"][0]["t"] = json!(now_ms);
    more["sent_at_ms"] = json!(crate::support::now_ms());
    assert_eq!(server.taken(&more).await, (1, 0, 0));
    let server = server.restart().await;
    at_rest(&server).await;
    let sums = "SELECT sum(count), sum(fatal), uniqExactArray(terminals), count(), uniqExact(epoch)
        FROM v_error_group_1h WHERE kind = 'error'";
    assert_eq!(rows(&data, sums).await, ["7\t4\t2\t2\t2"]);
    audit_is_clean(&data, &["--deep"]).await;
    let texts = ["Anna Schmidt".to_owned(), "cashier-4711".to_owned()];
    assert_eq!(super::through::files_with(server.folder(), &texts), [""; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_place_is_counted_without_a_name() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let t = now_ms();
    let mut batch = Batch::new("s");
    for first in (0..250).step_by(50) {
        let errors: Vec<Value> = (first..first + 50)
            .map(|number| json!({"k": "error", "t": t, "fingerprint": format!("{:016x}", number + 1)}))
            .collect();
        assert_eq!(
            server.taken(&batch.clone().with("events", errors).0).await,
            (50, 0, 0)
        );
        batch = batch.next();
    }
    let custom: Vec<Value> = (0..25)
        .map(|number| json!({"k": "custom", "t": t, "name": format!("n-{number}")}))
        .collect();
    let other = Batch::new("other").with("events", custom);
    assert_eq!(server.taken(&other.0).await, (25, 0, 0));
    let server = server.restart().await;
    at_rest(&server).await;
    let data = data(&server);
    let overflow =
        "SELECT store_id, kind, name, fingerprint, sum(count), any(message) FROM v_error_group_1h
        WHERE name = '__overflow__' GROUP BY ALL ORDER BY store_id";
    let expected = [
        "other\tcustom\t__overflow__\t0000000000000000\t5\t",
        "s\terror\t__overflow__\t0000000000000000\t50\t",
    ];
    assert_eq!(rows(&data, overflow).await, expected);
    let all = "SELECT store_id, count(), sum(count) FROM v_error_group_1h GROUP BY store_id ORDER BY store_id";
    assert_eq!(rows(&data, all).await, ["other\t21\t25", "s\t201\t250"]);
    let errors = "SELECT sum(count), sum(sum) FROM v_rollup_1m WHERE metric = 'errors'";
    assert_eq!(rows(&data, errors).await, ["250\t250"]);

    // The names of a release are known after a start.
    let again = Batch::new("other").with(
        "events",
        json!([{"k": "custom", "t": t, "name": "n-24"}, {"k": "custom", "t": t, "name": "n-3"}]),
    );
    assert_eq!(server.taken(&again.0).await, (2, 0, 0));
    let server = server.restart().await;
    at_rest(&server).await;
    let names = "SELECT name FROM v_error_group_1h WHERE store_id = 'other'
        GROUP BY name HAVING sum(count) > 1 ORDER BY name";
    assert_eq!(rows(&data, names).await, ["__overflow__", "n-3"]);
    audit_is_clean(&data, &["--deep"]).await;
    server.stop().await;
}
