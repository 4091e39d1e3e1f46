//! Reports with percentiles that pages have worked out: from the first till's JSON to the table, the query and the series.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::{Reply, Server, audit_is_clean, data, in_the_middle_of_a_minute, sql};

const PATH: &str = "/pdc_pos_offline/metrics";
const ASSUMED: (&str, &str) = ("TILLWATCH_DOORS_LEGACY_CONSENT", "assumed");
const STORE: (&str, &str) = ("TILLWATCH_DOORS_LEGACY_STORE", "store-7");

fn stats(count: u64, avg: f64) -> Value {
    json!({"min": avg / 2.0, "max": avg * 3.0, "avg": avg, "median": avg * 0.9, "p95": avg * 2.0, "p99": avg * 2.5, "count": count})
}

fn report(now_ms: i64) -> Value {
    json!({
        "sessionId": "session-591",
        "timestamp": now_ms,
        "metrics": {
            "sync_duration": stats(12, 800.0),
            "memory_used_mb": stats(3, 41.5),
            "mode_switch_online_to_offline": {"min": 1, "max": 1, "avg": 1, "median": 1, "p95": 1, "p99": 1, "count": 2},
            "idb_transaction_count": 17,
            "no_such_metric": stats(1, 1.0),
            "lcp": {"count": 0, "avg": 1, "min": 1, "max": 1},
        },
    })
}

async fn post(server: &Server, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Reply {
    let mut request = server.request(reqwest::Method::POST, PATH).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request.send().await.unwrap()).await
}

async fn posted(server: &Server, body: &Value) -> Reply {
    post(
        server,
        body.to_string(),
        &[("content-type", "application/json")],
    )
    .await
}

fn outcomes(reply: &Reply) -> [u64; 3] {
    let body: Value = serde_json::from_str(&reply.text()).unwrap();
    ["accepted", "duplicate", "rejected"].map(|key| body[key].as_u64().unwrap())
}

async fn summaries(server: &Server, parameters: &[(&str, &str)]) -> Value {
    let reply = server.get("/api/v1/summaries", parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_str(&reply.text()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_kept_as_what_it_is_through_a_kill_a_seal_and_a_resend() {
    let now_ms = in_the_middle_of_a_minute().await;
    let server = Server::start_with(&[ASSUMED, STORE, ("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let body = report(now_ms);
    let reply = posted(&server, &body).await;
    assert_eq!(
        (reply.status, outcomes(&reply)),
        (202, [4, 0, 2]),
        "{}",
        reply.text()
    );
    let said: Value = serde_json::from_str(&reply.text()).unwrap();
    let mut reasons: Vec<_> = said["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            r#"{"metric":"lcp","reason":"invalid_summary"}"#,
            r#"{"metric":"no_such_metric","reason":"unknown_metric"}"#,
        ]
    );
    assert!(said["note"].as_str().unwrap().contains("never merged"));
    // The same bytes again are a resend: they are answered as the first were.
    assert_eq!(outcomes(&posted(&server, &body).await), [4, 0, 2]);
    let mut other = report(now_ms);
    other["terminal_id"] = json!("till-2");
    other["metrics"] = json!({"sync_duration_ms": {"min": 100, "max": 5000, "sum": 9000, "p95": 4000, "count": 10}});
    assert_eq!(outcomes(&posted(&server, &other).await), [1, 0, 0]);

    let expected = |found: &Value| {
        let lines = found["summaries"].as_array().unwrap();
        assert_eq!(lines.len(), 2, "{found}");
        let line = lines
            .iter()
            .find(|line| line["metric"] == "sync_duration_ms")
            .unwrap();
        assert_eq!(
            (&line["store_id"], &line["unit"]),
            (&json!("store-7"), &json!("ms"))
        );
        assert_eq!(
            (&line["count"], &line["sum"]),
            (&json!(22), &json!(18_600.0))
        );
        assert_eq!(
            (&line["min"], &line["max"]),
            (&json!(100.0), &json!(5000.0))
        );
        assert_eq!(
            line["reports"],
            json!([
                {"count": 12, "p50": 720.0, "p95": 1600.0, "p99": 2000.0},
                {"count": 10, "p50": null, "p95": 4000.0, "p99": null},
            ])
        );
        assert_eq!(found["is_whole"], json!(true));
    };
    expected(&summaries(&server, &[]).await);

    // Nothing is sealed: the journal alone brings all of it back.
    let server = server.kill_and_restart().await;
    server.wait_applied().await;
    assert_eq!(outcomes(&posted(&server, &body).await), [4, 0, 2]);
    expected(&summaries(&server, &[("store_id", "store-7")]).await);
    let fleet = server.fleet().await;
    let store = ("store_id", "store-7");
    assert_eq!(fleet.value("pos_summaries_total", &[store]), 3.0);
    assert_eq!(
        fleet.value("pos_mode_switches_total", &[store, ("to", "offline")]),
        2.0
    );
    // No percentile was made of them.
    let asked = [
        ("metric", "sync_duration_ms"),
        ("q", "0.95"),
        ("group_by", "store_id"),
    ];
    let reply = server.get("/api/v1/percentiles", &asked).await;
    assert_eq!(
        (reply.status, &reply.json()["series"]),
        (200, &json!([])),
        "{}",
        reply.text()
    );

    let server = server.restart().await;
    server.wait_confirmed().await;
    expected(&summaries(&server, &[("hours", "2")]).await);
    let limited = summaries(&server, &[("limit", "1")]).await;
    assert_eq!(
        (
            limited["summaries"].as_array().unwrap().len(),
            &limited["is_whole"]
        ),
        (1, &json!(false))
    );
    let data = data(&server);
    let rows = sql(
        &data,
        "SELECT metric, store_id, connection, count, sum, min, max, length(reports), mean FROM v_summary_1m ORDER BY metric",
    )
    .await;
    assert_eq!(
        rows.trim(),
        "memory_used_mb\tstore-7\tunknown\t3\t124.5\t20.75\t124.5\t1\t41.5\n\
         sync_duration_ms\tstore-7\tunknown\t22\t18600\t100\t5000\t2\t845.4545454545455"
    );
    audit_is_clean(&data, &["--deep"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forms_of_a_report_and_what_is_none() {
    let now_ms = in_the_middle_of_a_minute().await;
    let server = Server::start().await;
    let one = json!({"sync_duration": stats(2, 10.0)});
    // Without a store, and then without consent, nothing is stored.
    let reply = posted(&server, &json!({"metrics": one})).await;
    assert_eq!((reply.status, reply.code()), (422, "no_store".to_owned()));
    let reply = posted(&server, &json!({"metrics": one, "storeId": "s"})).await;
    assert_eq!((reply.status, reply.code()), (422, "no_consent".to_owned()));
    let mut body = json!({"metrics": one, "storeId": "s", "consent": true});
    assert_eq!(outcomes(&posted(&server, &body).await), [1, 0, 0]);
    // Numbers and times as texts.
    body["timestamp"] = json!("2020-01-01T00:00:00.000Z");
    assert_eq!(outcomes(&posted(&server, &body).await), [0, 0, 1]);
    body["timestamp"] = json!(now_ms.to_string());
    body["metrics"]["sync_duration"]["count"] = json!("2");
    assert_eq!(outcomes(&posted(&server, &body).await), [1, 0, 0]);
    // The envelope.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    body["terminalId"] = json!("till-9");
    encoder.write_all(body.to_string().as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let envelope = |data: &[u8]| json!({"compressed": true, "format": "gzip-base64", "data": BASE64_STANDARD.encode(data)});
    assert_eq!(
        outcomes(&posted(&server, &envelope(&gzip)).await),
        [1, 0, 0]
    );
    let reply = posted(&server, &envelope(&gzip[..20])).await;
    assert_eq!(
        (reply.status, reply.code()),
        (400, "damaged_compression".to_owned())
    );
    // A body under Content-Encoding, which pages that know their headers send.
    body["terminalId"] = json!("till-10");
    let reply = post(
        &server,
        gzip,
        &[
            ("content-encoding", "gzip"),
            ("content-type", "application/json"),
        ],
    )
    .await;
    assert_eq!((reply.status, outcomes(&reply)), (202, [1, 0, 0]));
    for (body, status, code) in [
        ("{", 400, "malformed_body"),
        ("[1]", 400, "malformed_body"),
        (r#"{"v":1,"samples":[]}"#, 400, "malformed_body"),
        (r#"{"metrics":[1]}"#, 400, "malformed_body"),
        (r#"{"metrics":{},"metrics":{}}"#, 400, "malformed_body"),
    ] {
        let reply = post(&server, body, &[]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{body}"
        );
    }
    let reply = post(&server, "{}", &[("content-type", "text/xml")]).await;
    assert_eq!(reply.status, 415);
    let reply = server.get("/api/v1/summaries", &[("hours", "0")]).await;
    assert_eq!(
        (reply.status, reply.code()),
        (400, "bad_parameter".to_owned())
    );
    let reply = server
        .get("/api/v1/summaries", &[("metric", "nothing")])
        .await;
    assert_eq!(
        (reply.status, reply.code()),
        (404, "unknown_metric".to_owned())
    );
    server.stop().await;
}
