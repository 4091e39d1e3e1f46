//! OpenTelemetry's exporters, as the collector sees them and as they see it.

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, now_ms};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const SETTING: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn nanos(ms: i64) -> String {
    format!("{ms}000000")
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
        .collect()
}

fn gauge(name: &str, value: f64) -> Value {
    json!({"name": name, "gauge": {"dataPoints": [{"timeUnixNano": nanos(now_ms()), "asDouble": value}]}})
}

fn sum(name: &str, temporality: u8, value: u64) -> Value {
    let point = json!({"startTimeUnixNano": nanos(now_ms() - 60_000), "timeUnixNano": nanos(now_ms()), "asInt": value.to_string()});
    json!({"name": name, "sum": {"aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point]}})
}

/// 100 values from 1 to 100 ms, in buckets of scale 5.
fn exponential(name: &str, end_ms: i64) -> Value {
    let index = |value: f64| ((value.log2() * 32.0).ceil() as usize).saturating_sub(1);
    let mut counts = vec![0_u64; index(100.0) + 1];
    for value in 1..=100 {
        counts[index(f64::from(value))] += 1;
    }
    // 1 ms is the upper bound of the bucket before the first; here it is said to lie in the first.
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    let point = json!({"startTimeUnixNano": nanos(end_ms - 60_000), "timeUnixNano": nanos(end_ms), "count": "100", "sum": 5050.0,
        "scale": 5, "positive": {"offset": 0, "bucketCounts": counts}, "min": 1.0, "max": 100.0});
    json!({"name": name, "unit": "ms", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [point]}})
}

fn explicit(name: &str, end_ms: i64) -> Value {
    let point = json!({"startTimeUnixNano": nanos(end_ms - 60_000), "timeUnixNano": nanos(end_ms), "count": 4, "sum": 1.0,
        "explicitBounds": [0.1, 0.5], "bucketCounts": ["2", 1, "1"], "min": 0.05, "max": 0.6});
    json!({"name": name, "unit": "s", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}})
}

fn of(store: &[(&str, &str)], metrics: &[Value]) -> Value {
    json!({"resourceMetrics": [{"resource": {"attributes": attributes(store)}, "scopeMetrics": [{"scope": {"name": "pos"}, "metrics": metrics}]}]})
}

fn request(store_id: &str, metrics: &[Value]) -> Value {
    let store = [
        ("store.id", store_id),
        ("service.instance.id", "till-1"),
        ("consent", "granted"),
    ];
    of(&store, metrics)
}

fn protobuf(request: &Value) -> Vec<u8> {
    let request: ExportMetricsServiceRequest = serde_json::from_value(request.clone()).unwrap();
    request.encode_to_vec()
}

async fn post(server: &Server, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
    let mut request = server.request(Method::POST, "/v1/metrics").body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request.send().await.unwrap()).await
}

async fn post_json(server: &Server, body: &Value) -> Reply {
    post(server, &[("content-type", JSON)], body.to_string()).await
}

async fn post_protobuf(server: &Server, body: Vec<u8>) -> Reply {
    post(server, &[("content-type", PROTOBUF)], body).await
}

/// Count, sum and the value of a quantile of all that a store has posted of a metric.
async fn read(server: &Server, store_id: &str, metric: &str) -> (u64, f64, f64) {
    let (from, to) = (
        (now_ms() - 86_400_000).to_string(),
        (now_ms() + 3_600_000).to_string(),
    );
    let parameters = [
        ("metric", metric),
        ("store_id", store_id),
        ("q", "0.95"),
        ("from", &*from),
        ("to", &*to),
    ];
    let answer = server.percentiles(&parameters).await;
    let point = &answer["series"][0]["points"][0];
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    (
        point["count"].as_u64().unwrap_or(0),
        number(&point["sum"]),
        number(&point["values"]["0.95"]),
    )
}

#[tokio::test]
async fn gauges_sums_and_histograms_are_taken_in_both_encodings() {
    let server = Server::start().await;
    for (store_id, encoding) in [("otlp-json", JSON), ("otlp-protobuf", PROTOBUF)] {
        let minute = now_ms() / 60_000 * 60_000;
        let body = request(
            store_id,
            &[
                gauge("memory.used.mb", 42.0),
                sum("sync.items", 1, 7),
                exponential("idb.write.ms", minute),
                explicit("sync.duration", minute),
            ],
        );
        let body = if encoding == JSON {
            body.to_string().into_bytes()
        } else {
            protobuf(&body)
        };
        let reply = post(&server, &[("content-type", encoding)], body.clone()).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, encoding),
            "{}",
            reply.text()
        );
        assert_eq!(reply.text(), if encoding == JSON { "{}" } else { "" });
        // A resend that nobody has seen the answer of.
        let again = post(&server, &[("content-type", encoding)], body).await;
        assert_eq!((again.status, again.text()), (200, reply.text()));
        assert_eq!(read(&server, store_id, "memory_used_mb").await.0, 1);
        let (count, sum, p95) = read(&server, store_id, "idb_write_ms").await;
        assert_eq!((count, sum), (100, 5_050.0));
        assert!((p95 - 95.0).abs() <= 95.0 * (0.0109 + 0.001), "{p95}");
        let (count, sum, p95) = read(&server, store_id, "sync_duration_ms").await;
        assert_eq!((count, sum, p95), (4, 1_000.0, 600.0));
    }
    let page = server.metrics().await;
    let outcome = |outcome| page.value("tillwatch_samples_total", &[("outcome", outcome)]);
    assert_eq!(
        (outcome("accepted"), outcome("duplicate")),
        (2.0 * 106.0, 2.0 * 106.0)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_partial_success_counts_data_points_and_says_what_to_change() {
    let server = Server::start().await;
    let mut metrics = vec![
        gauge("lcp_ms", 1_000.0),
        sum("sync_items", 2, 7),
        gauge("http.server.duration", 1.0),
        gauge("lcp_ms", -1.0),
    ];
    let mut cumulative = exponential("idb_write_ms", now_ms());
    cumulative["exponentialHistogram"]["aggregationTemporality"] = json!(2);
    metrics.push(cumulative);
    let mut broken = explicit("sync.duration", now_ms());
    broken["histogram"]["dataPoints"][0]["count"] = json!(5);
    metrics.push(broken);
    let body = request("otlp-partial", &metrics);
    let reply = post_json(&server, &body).await;
    assert_eq!(reply.status, 200);
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "5", "{partial}");
    let message = partial["errorMessage"].as_str().unwrap();
    for wanted in [
        "5 of 6",
        SETTING,
        "cumulative: 2",
        "unknown_metric: 1",
        "http.server.duration",
        "out_of_range: 1",
        "invalid_histogram: 1",
    ] {
        assert!(message.contains(wanted), "{wanted} is not in: {message}");
    }
    let mut other = body;
    other["resourceMetrics"][0]["resource"]["attributes"][1]["value"]["stringValue"] =
        json!("till-2");
    let reply = post_protobuf(&server, protobuf(&other)).await;
    let response = ExportMetricsServiceResponse::decode(reply.body.clone()).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 5);
    assert_eq!(partial.error_message, message);
    // What the door refuses counts as what the intake refuses.
    let page = server.metrics().await;
    for (reason, count) in [
        ("cumulative", 4.0),
        ("unknown_metric", 2.0),
        ("out_of_range", 2.0),
        ("invalid_histogram", 2.0),
    ] {
        assert_eq!(
            page.value("tillwatch_samples_rejected_total", &[("reason", reason)]),
            count,
            "{reason}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn more_than_a_hundred_rejected_points_are_all_counted_and_so_are_those_of_refused_batches() {
    let server = Server::start().await;
    let many: Vec<Value> = (0..250).map(|_| gauge("no.such.metric", 1.0)).collect();
    let mut body = request("otlp-many", &many);
    // The second resource consents to nothing, so that its batch is refused whole.
    let refused = of(
        &[("store.id", "otlp-many")],
        &[gauge("lcp", 1.0), gauge("lcp", 2.0)],
    );
    body["resourceMetrics"]
        .as_array_mut()
        .unwrap()
        .push(refused["resourceMetrics"][0].clone());
    let reply = post_json(&server, &body).await;
    assert_eq!(reply.status, 200);
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "252", "{partial}");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("unknown_metric: 250") && message.contains("no_consent: 2"),
        "{message}"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_whole_is_told_by_a_status_that_no_exporter_sends_again() {
    let server = Server::start().await;
    let nobody = of(&[("consent", "granted")], &[gauge("lcp", 1.0)]);
    let unasked = of(&[("store.id", "s")], &[gauge("lcp", 1.0)]);
    let native = Batch::new("s").value_now("lcp_ms", 1.0).0;
    for (body, wanted) in [
        (nobody, "store.id"),
        (unasked, "consent"),
        (native.clone(), "/v1/batches"),
        (json!({"batches": [native]}), "/v1/batches"),
        (json!({"resourceSpans": []}), "no traces"),
        (json!({"resourceMetrics": 5}), "list"),
    ] {
        let reply = post_json(&server, &body).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (400, JSON),
            "{body}"
        );
        let status = reply.json();
        assert_eq!(status["code"], 3, "{status}");
        assert!(
            status["message"].as_str().unwrap().contains(wanted),
            "{status}"
        );
    }
    let reply = post_protobuf(&server, b"\x0a\x05?".to_vec()).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (400, PROTOBUF)
    );
    let status = Status::decode(reply.body.clone()).unwrap();
    assert!(
        status.code == 3 && status.message.contains("ends early"),
        "{status:?}"
    );
    let reply = post(&server, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(reply.status, 415);
    let reply = post(
        &server,
        &[("content-type", JSON), ("content-encoding", "rot13")],
        "{}",
    )
    .await;
    assert_eq!(reply.status, 415);
    let reply = Reply::of(
        server
            .request(Method::GET, "/v1/metrics")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(reply.status, 405);
    // Nothing is something that may be sent.
    for (encoding, body) in [(JSON, "{}"), (PROTOBUF, "")] {
        assert_eq!(
            post(&server, &[("content-type", encoding)], body)
                .await
                .status,
            200
        );
    }
    // The other way round.
    let reply = server.post(&request("s", &[gauge("lcp", 1.0)])).await;
    assert!(
        reply.status == 400 && reply.text().contains("/v1/metrics"),
        "{} {}",
        reply.status,
        reply.text()
    );
    let reply = server
        .post_with(&[("content-type", PROTOBUF)], protobuf(&request("s", &[])))
        .await;
    assert!(
        reply.status == 415 && reply.text().contains("/v1/metrics"),
        "{}",
        reply.text()
    );
    server.stop().await;
}

#[tokio::test]
async fn the_settings_of_the_door_stand_in_for_what_a_payload_does_not_say() {
    let settings = [
        ("TILLWATCH_DOORS_OTLP_CONSENT", "assumed"),
        ("TILLWATCH_DOORS_OTLP_STORE", "store-7"),
    ];
    let server = Server::start_with(&settings).await;
    let reply = post_json(&server, &of(&[], &[gauge("lcp", 1_000.0)])).await;
    assert_eq!((reply.status, reply.text()), (200, "{}".to_owned()));
    assert_eq!(read(&server, "store-7", "lcp_ms").await.0, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_thousand_points_in_a_body_are_too_many() {
    let server = Server::start().await;
    let before = server.peak_memory();
    let mut points = vec![];
    for _ in 0..100_000 {
        points.extend_from_slice(&[0x0a, 0x00]);
    }
    // Around them: a gauge, a metric, a scope, a resource.
    for tag in [0x2a, 0x12, 0x12, 0x0a] {
        let mut around = vec![tag];
        prost::encoding::encode_varint(points.len() as u64, &mut around);
        around.extend_from_slice(&points);
        points = around;
    }
    let reply = post_protobuf(&server, points).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert!(server.peak_memory() < before + 64 * 1_024 * 1_024);
    server.stop().await;
}
