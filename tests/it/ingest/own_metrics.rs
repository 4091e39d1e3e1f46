//! Metrics that a shop declares itself, and what the names of foreign clients mean: from the settings to the answer.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Batch, Reply, Server, audit_is_clean, data, in_the_middle_of_a_minute, now_ms, run, said, sql,
};

const SETTINGS: &str = r#"
seal_interval = "1h"
map_sets = ["otel_process"]

[doors.faro]
consent = "assumed"
store = "store-1"

[doors.otlp]
consent = "assumed"
store = "store-1"

[[metrics]]
name = "receipt_print_ms"
aliases = ["receipt_print"]
kind = "distribution"
unit = "ms"
max = 60_000
help = "Measures how long a receipt took to print."
buckets = [100, 1_000]
thresholds = [500]
per_store = true

[[metrics]]
name = "drawer_openings"
kind = "counter"
unit = "count"
help = "Counts how often the drawer was opened."
label = { key = "by", values = ["sale", "manager"] }

[[metrics]]
name = "battery_ratio"
kind = "level"
unit = "ratio"
help = "Says how full the battery of the till is."

[[map]]
name = "shop.print.*"
metric = "receipt_print_ms"
unit = "s"

[[map]]
door = "otlp"
name = "shop.drawer"
metric = "drawer_openings"
label_from = "reason"
labels = { checkout = "sale" }
"#;

fn change(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn drawer(by: &str, times: u64, t_ms: i64) -> Value {
    json!({"m": "drawer_openings", "t": t_ms, "v": times, "label": by})
}

async fn post(server: &Server, path: &str, body: &Value) -> Reply {
    let request = server
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .body(body.to_string());
    Reply::of(request.send().await.unwrap()).await
}

async fn starts_not(folder: &Path, settings: &Path) -> String {
    let arguments = [
        "--data-dir",
        folder.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--config",
        settings.to_str().unwrap(),
    ];
    let (is_good, text) = said(&run("serve", arguments.map(str::to_owned).to_vec()).await);
    assert!(!is_good, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metric_of_ones_own_is_checked_counted_queried_and_exported_as_the_others_are() {
    let now_ms = in_the_middle_of_a_minute().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tillwatch.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let server = Server::start_with(&[("TILLWATCH_CONFIG", settings.to_str().unwrap())]).await;
    let batch = Batch::new("store-1")
        .value("receipt_print_ms", now_ms, 400.0)
        .value("receipt_print", now_ms, 600.0)
        .value("receipt_print_ms", now_ms, 60_001.0)
        .value("battery_ratio", now_ms, 0.25)
        .push(drawer("sale", 3, now_ms))
        .push(drawer("manager", 1, now_ms))
        .push(drawer("burglar", 1, now_ms));
    let reply = server.post(&batch.0).await;
    assert_eq!(reply.counts(), (5, 0, 2), "{}", reply.text());
    let reasons = [
        (0, Some(2), "out_of_range".to_owned()),
        (0, Some(6), "unknown_label".to_owned()),
    ];
    assert_eq!(reply.reasons(), reasons);
    server.wait_applied().await;

    let catalogue = server.get("/api/v1/metrics", &[]).await.json();
    let all = catalogue["metrics"].as_array().unwrap().clone();
    let own: Vec<&Value> = all.iter().filter(|line| line["is_own"] == true).collect();
    assert_eq!(own.len(), 3);
    assert_eq!(own[0]["prometheus"], "pos_own_receipt_print_seconds");
    assert_eq!(own[0]["thresholds"], json!([500.0, null]));
    assert_eq!(
        own[1]["label"],
        json!({"key": "by", "values": ["sale", "manager"]})
    );

    let fleet = server.fleet().await;
    let of = |metric| [("store_id", "store-1"), ("metric", metric)];
    let count = |label| {
        let labels = [of("drawer_openings").as_slice(), &[("by", label)]].concat();
        fleet.value("pos_own_drawer_openings_total", &labels)
    };
    assert_eq!((count("sale"), count("manager")), (3.0, 1.0));
    let bucket = |bound| {
        let labels = [of("receipt_print_ms").as_slice(), &[("le", bound)]].concat();
        fleet.value("pos_own_receipt_print_seconds_bucket", &labels)
    };
    assert_eq!(
        (bucket("0.1"), bucket("0.5"), bucket("1.0")),
        (0.0, 1.0, 2.0)
    );
    let battery = [of("battery_ratio").as_slice(), &[("stat", "max")]].concat();
    assert_eq!(fleet.value("pos_own_battery_ratio", &battery), 0.25);

    let asked = [("metric", "receipt_print_ms"), ("q", "1")];
    let answer = server.percentiles(&asked).await;
    let line = &answer["series"][0]["points"][0];
    assert_eq!(
        (&line["count"], &line["over"]),
        (&json!(2), &json!([1, 0])),
        "{answer}"
    );

    // Not declared any more: what was open reaches its table under its name, and nobody can send it.
    let text = std::fs::read_to_string(&settings).unwrap();
    let (before, rest) = text
        .split_once("[[metrics]]\nname = \"battery_ratio\"")
        .unwrap();
    let (_, after) = rest.split_once("[[map]]").unwrap();
    std::fs::write(&settings, format!("{before}[[map]]{after}")).unwrap();
    let server = server.kill_and_restart().await;
    let unknown = batch.next().value("battery_ratio", now_ms, 0.5);
    let reply = server.post(&unknown.0).await;
    assert!(
        reply
            .reasons()
            .iter()
            .any(|(.., reason)| reason == "unknown_metric"),
        "{}",
        reply.text()
    );
    let folder_of_data = data(&server);
    let server = server.restart().await;
    // It is answered once the engine runs.
    server.percentiles(&asked).await;
    let rows = sql(
        &folder_of_data,
        "SELECT metric, label, sum(count) FROM tillwatch.v_rollup_1m GROUP BY metric, label ORDER BY metric, label",
    );
    let rows = rows.await;
    for row in [
        "battery_ratio\t\t1",
        "drawer_openings\tmanager\t1",
        "drawer_openings\tsale\t1",
        "receipt_print_ms\t\t2",
    ] {
        assert!(rows.contains(row), "{row}: {rows}");
    }
    audit_is_clean(&folder_of_data, &[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_metric_means_is_fixed_once_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tillwatch.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let path = settings.to_str().unwrap().to_owned();
    let environment = [("TILLWATCH_CONFIG", path.as_str())];
    let server = Server::start_on(folder.path(), &environment).await;
    let data = data(&server);
    let batch = Batch::new("store-1").push(drawer("sale", 1, now_ms()));
    assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    server.stop().await;
    for (from, to, expected) in [
        (
            "values = [\"sale\", \"manager\"]",
            "values = [\"manager\", \"sale\"]",
            "[sale, manager]",
        ),
        (
            "key = \"by\"",
            "key = \"why\"",
            "its label was by and is why",
        ),
        (
            "kind = \"level\"",
            "kind = \"distribution\"",
            "its kind was level and is distribution",
        ),
        (
            "unit = \"count\"",
            "unit = \"bytes\"",
            "must end in its unit",
        ),
    ] {
        change(&settings, from, to);
        let text = starts_not(&data, &settings).await;
        assert!(
            text.contains(expected) && text.contains("tillwatch.toml, line "),
            "{text}"
        );
        std::fs::write(&settings, SETTINGS).unwrap();
    }
    // A value may be added behind the others; help, buckets and thresholds may change.
    change(
        &settings,
        "[\"sale\", \"manager\"]",
        "[\"sale\", \"manager\", \"refund\"]",
    );
    change(&settings, "buckets = [100, 1_000]", "buckets = [10, 100]");
    let server = Server::start_on(folder.path(), &environment).await;
    let batch = Batch::new("store-1").push(drawer("refund", 1, now_ms()));
    assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_names_units_and_attributes_become_metrics_by_the_rules() {
    let now_ms = in_the_middle_of_a_minute().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tillwatch.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let server = Server::start_with(&[("TILLWATCH_CONFIG", settings.to_str().unwrap())]).await;
    let faro = json!({
        "meta": {"app": {"version": "1.0.0"}, "session": {"id": "s"}},
        "measurements": [{"type": "custom", "timestamp": now_ms, "values": {"shop.print.receipt": 0.4, "shop.other": 1}}],
    });
    let reply = post(&server, "/collect", &faro).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let time = format!("{now_ms}000000");
    let point = |value: &str, attribute: &str| {
        json!({"startTimeUnixNano": time, "timeUnixNano": time, "asInt": value,
            "attributes": [{"key": "reason", "value": {"stringValue": attribute}}]})
    };
    let otlp = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "shop.drawer", "sum": {"aggregationTemporality": 1, "isMonotonic": true,
            "dataPoints": [point("2", "checkout"), point("3", "manager"), point("4", "burglar")]}},
        {"name": "shop.print.label", "unit": "ms", "gauge": {"dataPoints": [{"timeUnixNano": time, "asDouble": 0.5}]}},
        {"name": "process.memory.usage", "unit": "By", "gauge": {"dataPoints": [{"timeUnixNano": time, "asInt": "42000000"}]}},
    ]}]}]});
    let reply = post(&server, "/v1/metrics", &otlp).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.json()["partialSuccess"]["rejectedDataPoints"],
        "1",
        "{}",
        reply.text()
    );
    server.wait_applied().await;
    let fleet = server.fleet().await;
    let count = |label| fleet.sum("pos_own_drawer_openings_total", &[("by", label)]);
    assert_eq!((count("sale"), count("manager")), (2.0, 3.0));
    assert_eq!(fleet.sum("pos_own_receipt_print_seconds_count", &[]), 2.0);
    assert!((fleet.sum("pos_own_receipt_print_seconds_sum", &[]) - 0.9).abs() < 1e-9);
    assert_eq!(
        fleet.value(
            "pos_terminal_memory_bytes",
            &[("store_id", "store-1"), ("stat", "max")]
        ),
        42e6
    );
    server.stop().await;
}

#[tokio::test]
async fn a_declaration_that_cannot_be_is_named_with_its_line_and_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tillwatch.toml");
    let metric = "[[metrics]]\nname = \"x_ms\"\nkind = \"distribution\"\nunit = \"ms\"\nhelp = \"Measures x.\"\n";
    let counter =
        "[[metrics]]\nname = \"y\"\nkind = \"counter\"\nunit = \"count\"\nhelp = \"Counts y.\"\n";
    for (text, line, expected) in [
        (metric.replace("x_ms", "x"), 1, "must end in its unit, _ms"),
        (
            metric.replace("x_ms", "lcp_ms"),
            1,
            "is a metric of the catalogue",
        ),
        (metric.replace("x_ms", "X_ms"), 1, "must match [a-z]"),
        (
            metric.replace("x_ms", "x_count_ms"),
            1,
            "must not end in \"count\"",
        ),
        (counter.replace("\"y\"", "\"y_ms\""), 1, "its unit"),
        (format!("{metric}{metric}"), 6, "declared twice"),
        (format!("\n\n{metric}colour = 1\n"), 8, "colour"),
        (metric.replace("\"ms\"", "\"parsec\""), 4, "parsec"),
        (format!("{metric}buckets = [5, 4]\n"), 1, "ascend"),
        (
            format!("{metric}thresholds = [5, 4]\n"),
            1,
            "lower one must stand first",
        ),
        (format!("{metric}max = -1\n"), 1, "is not from 0"),
        (
            format!("{counter}buckets = [1]\n"),
            1,
            "only a distribution has buckets",
        ),
        (
            format!("{counter}label = {{ key = \"store_id\", values = [\"a\"] }}\n"),
            1,
            "the key \"store_id\"",
        ),
        (
            format!("{counter}label = {{ key = \"k\", values = [\"a\", \"a\"] }}\n"),
            1,
            "twice",
        ),
        (
            "[[map]]\nname = \"a\"\nmetric = \"no_such\"\n".to_owned(),
            1,
            "no metric \"no_such\"",
        ),
        (
            "[[map]]\nname = \"a\"\nmetric = \"lcp_ms\"\nunit = \"By\"\n".to_owned(),
            1,
            "cannot be turned into ms",
        ),
        (
            "[[map]]\nname = \"a\"\nmetric = \"lcp_ms\"\nlabel = \"x\"\n".to_owned(),
            1,
            "has no label",
        ),
        (
            "[[map]]\nname = \"a\"\nmetric = \"errors\"\nlabel = \"sync\"\nlabel_from = \"b\"\n"
                .to_owned(),
            1,
            "not both",
        ),
        (
            "[[map]]\nname = \"a\"\nmetric = \"lcp_ms\"\ndoor = \"front\"\n".to_owned(),
            4,
            "front",
        ),
        (
            "map_sets = \"otel\"\n".to_owned(),
            1,
            "faro, otel_web, otel_process",
        ),
    ] {
        std::fs::write(&settings, &text).unwrap();
        let path = settings.to_str().unwrap().to_owned();
        let (is_good, said) = said(&run("check-config", vec![path]).await);
        assert!(!is_good, "{text}: {said}");
        assert!(said.contains(expected), "{text}: {said}");
        assert!(said.contains(&format!("line {line}:")), "{text}: {said}");
    }
}
