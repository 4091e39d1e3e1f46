//! Histograms that terminals made themselves.

use serde_json::{Value, json};

use super::{Case, each_meets_its_fate};
use crate::support::{Batch, Server, now_ms};

const MINUTE_MS: i64 = 60_000;

/// A good one, of 8 ms to 12.3 ms, in the last whole minute.
fn good() -> Value {
    json!({"m": "idb_write_ms", "t": (now_ms() / MINUTE_MS - 1) * MINUTE_MS, "span_ms": 60_000, "connection": "offline",
        "buckets": [[4048, 1], [4297, 1], [4322, 1], [4609, 1]], "sum": 40.1, "min": 8.0, "max": 12.3})
}

fn but(key: &str, value: impl Into<Value>) -> Value {
    let mut histogram = good();
    histogram[key] = value.into();
    histogram
}

fn without(key: &str) -> Value {
    let mut histogram = good();
    histogram.as_object_mut().unwrap().remove(key);
    histogram
}

fn at(minutes_ago: i64, span_ms: i64) -> Value {
    let mut histogram = but("span_ms", span_ms);
    histogram["t"] = json!((now_ms() - minutes_ago * MINUTE_MS) / span_ms * span_ms);
    histogram
}

fn one_bucket(index: u64, count: u64, value_us: u64) -> Value {
    let mut histogram = but("buckets", json!([[index, count]]));
    let value_ms = value_us as f64 / 1e3;
    histogram["sum"] = json!(value_ms * count as f64);
    histogram["min"] = json!(value_ms);
    histogram["max"] = json!(value_ms);
    histogram
}

#[tokio::test]
async fn each_bad_histogram_is_rejected_alone_and_with_its_reason() {
    let server = Server::start().await;
    let invalid = Some("invalid_histogram");
    let ascending = |pairs: u64| {
        let buckets: Vec<[u64; 2]> = (1..=pairs).map(|index| [index, 1]).collect();
        let mut histogram = but("buckets", json!(buckets));
        // Up to 2,047 a bucket is its index; above it, its lowest value is found by doubling.
        let value = |index: u64| {
            if index < 2_048 {
                index
            } else {
                (1_024 + (index & 1_023)) << ((index >> 10) - 1)
            }
        };
        histogram["sum"] = json!((1..=pairs).map(value).sum::<u64>() as f64 / 1e3);
        histogram["min"] = json!(0.001);
        histogram["max"] = json!(value(pairs) as f64 / 1e3);
        histogram
    };
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("good", good(), None),
        ("five minutes", at(10, 300_000), None),
        ("an hour", at(130, 3_600_000), None),
        ("of a level", { let mut h = but("m", "pending_transactions"); h["buckets"] = json!([[3, 2]]); h["sum"] = json!(6); h["min"] = json!(3); h["max"] = json!(3); h }, None),
        ("one bucket of zero", one_bucket(0, 5, 0), None),
        ("a key that means nothing", but("v", 5), None),
        ("four thousand and ninety-six pairs", ascending(4_096), None),
        ("one pair more", ascending(4_097), invalid),
        ("many pairs more", ascending(20_000), invalid),
        ("of a counter", but("m", "sync_items_count"), Some("not_a_distribution")),
        ("of nothing known", but("m", "nope"), Some("unknown_metric")),
        ("whole numbers as floats", { let mut h = good(); h["buckets"] = json!([[4048.0, 1.0], [4297, 1e0], [4322.0, 1], [4609, 1]]); h["span_ms"] = json!(6e4); h }, None),
        ("another span", but("span_ms", 120_000), invalid),
        ("a span of zero", but("span_ms", 0), invalid),
        ("no span", without("span_ms"), invalid),
        ("a span as text", but("span_ms", "60000"), invalid),
        ("not at the start of a minute", but("t", good()["t"].as_i64().unwrap() + 1_000), invalid),
        ("not at the start of an hour", { let mut h = at(130, 3_600_000); h["t"] = json!(h["t"].as_i64().unwrap() + MINUTE_MS); h }, invalid),
        ("no time", without("t"), Some("invalid_time")),
        ("no buckets", without("buckets"), invalid),
        ("empty buckets", but("buckets", json!([])), invalid),
        ("buckets descending", but("buckets", json!([[4297, 1], [4048, 1]])), invalid),
        ("a bucket twice", but("buckets", json!([[4048, 2], [4048, 2]])), invalid),
        ("a count of zero", but("buckets", json!([[4048, 1], [4297, 0], [4609, 3]])), invalid),
        ("a negative count", but("buckets", json!([[4048, -1]])), invalid),
        ("a fractional count", but("buckets", json!([[4048, 1.5]])), invalid),
        ("a negative index", but("buckets", json!([[-1, 1]])), invalid),
        ("an index past the range", but("buckets", json!([[4048, 1], [60_000, 1]])), Some("out_of_range")),
        ("an index past everything", but("buckets", json!([[u64::MAX, 1]])), Some("out_of_range")),
        ("a pair of three", but("buckets", json!([[4048, 1, 1]])), invalid),
        ("a pair of one", but("buckets", json!([[4048]])), invalid),
        ("no pair", but("buckets", json!([4048, 1])), invalid),
        ("a pair of texts", but("buckets", json!([["4048", "1"]])), invalid),
        ("an object", but("buckets", json!({"4048": 1})), invalid),
        ("no sum", without("sum"), invalid),
        ("a sum too small", but("sum", 39.0), invalid),
        ("a sum too large", but("sum", 41.0), invalid),
        ("a negative sum", but("sum", -40.1), Some("out_of_range")),
        ("a least value of another bucket", but("min", 7.9), invalid),
        ("a greatest value of another bucket", but("max", 12.4), invalid),
        ("no least value", without("min"), invalid),
        ("a greatest value as text", but("max", "12.3"), invalid),
        ("eight days old", at(11_525, 60_000), Some("too_old")),
        ("ten minutes ahead", at(-10, 60_000), Some("in_future")),
        ("not an object", json!([[4048, 1]]), Some("malformed_sample")),
    ];
    each_meets_its_fate(&server, Batch::new("bad-histograms"), "histograms", &cases).await;
    let accepted = server
        .metrics()
        .await
        .value("tillwatch_samples_total", &[("outcome", "accepted")]);
    assert_eq!(
        accepted,
        5.0 * 4.0 + 2.0 + 5.0 + 4_096.0,
        "a histogram weighs its counts"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_histogram_may_stand_for_as_many_values_as_its_span_can_hold() {
    let server = Server::start().await;
    let too_heavy = Some("histogram_too_heavy");
    let heavy = |span_ms: i64, count: u64| {
        let mut histogram = one_bucket(1_000, count, 1_000);
        histogram["span_ms"] = json!(span_ms);
        histogram["t"] = json!((now_ms() - 2 * span_ms) / span_ms * span_ms);
        histogram
    };
    let mut spanless = one_bucket(1_000, 1 << 31, 1_000);
    spanless.as_object_mut().unwrap().remove("span_ms");
    let cases: Vec<Case> = vec![
        ("a minute", heavy(MINUTE_MS, 60_000), None),
        ("a minute, and one", heavy(MINUTE_MS, 60_001), too_heavy),
        ("five minutes", heavy(5 * MINUTE_MS, 300_000), None),
        ("and one", heavy(5 * MINUTE_MS, 300_001), too_heavy),
        ("an hour", heavy(60 * MINUTE_MS, 3_600_000), None),
        ("and one", heavy(60 * MINUTE_MS, 3_600_001), too_heavy),
        ("no end", heavy(60 * MINUTE_MS, u64::MAX), too_heavy),
        ("without a span", spanless, Some("invalid_histogram")),
    ];
    each_meets_its_fate(&server, Batch::new("heavy"), "histograms", &cases).await;
    let page = server.metrics().await;
    let samples = |outcome| page.value("tillwatch_samples_total", &[("outcome", outcome)]);
    assert_eq!(samples("accepted"), 3_960_000.0);
    for (reason, samples) in [("histogram_too_heavy", 4.0), ("invalid_histogram", 1.0)] {
        assert_eq!(
            page.value("tillwatch_samples_rejected_total", &[("reason", reason)]),
            samples,
            "{reason}: counts that are not believed do not outweigh the others here either"
        );
    }
    server.outcomes_add_up().await;
    server.stop().await;
}

/// The setting raises it, up to what a count can be trusted to hold.
#[tokio::test]
async fn a_histogram_may_stand_for_two_to_the_thirty_two_values_if_it_is_let() {
    let most_per_s = ("TILLWATCH_HISTOGRAM_VALUES_PER_S", "71582788");
    let server = Server::start_with(&[most_per_s]).await;
    let most = 1_u64 << 32;
    let hour = |count: u64| {
        let mut histogram = one_bucket(1_000, count, 1_000);
        histogram["span_ms"] = json!(60 * MINUTE_MS);
        histogram["t"] = json!((now_ms() / (60 * MINUTE_MS) - 2) * 60 * MINUTE_MS);
        histogram
    };
    let batch = Batch::new("heavy").push_histogram(hour(most));
    assert_eq!(server.taken(&batch.0).await, (most, 0, 0));
    assert_eq!(server.taken(&batch.0).await, (0, most, 0));
    let over = batch.next().push_histogram(hour(most + 1));
    let reply = server.post(&over.0).await;
    assert_eq!(
        (reply.counts(), reply.reasons()[0].2.as_str()),
        ((0, 0, 1), "histogram_too_heavy")
    );
    let huge = batch
        .next()
        .next()
        .push_histogram(but("buckets", json!([[1, u64::MAX], [2, u64::MAX]])));
    assert_eq!(server.taken(&huge.0).await, (0, 0, 1));
    let from = (now_ms() - 240 * MINUTE_MS).to_string();
    let answer = server
        .percentiles(&[
            ("metric", "idb_write_ms"),
            ("store_id", "heavy"),
            ("from", &from),
        ])
        .await;
    assert_eq!(answer["series"][0]["points"][0]["count"], most);
    server.stop().await;
}

#[tokio::test]
async fn one_histogram_does_not_outweigh_a_fleet() {
    let server = Server::start().await;
    for store in 0..10 {
        let mut batch = Batch::new(&format!("honest-{store}"));
        for _ in 0..1_000 {
            batch = batch.value_now("lcp_ms", 1_000.0);
        }
        assert_eq!(server.taken(&batch.0).await, (1_000, 0, 0));
    }
    // 2 ms, 2^32 times: valid but for its weight.
    let mut histogram = one_bucket(2_000, 1 << 32, 2_000);
    histogram["m"] = json!("lcp_ms");
    let batch = Batch::new("mistaken").push_histogram(histogram);
    let reply = server.post(&batch.0).await;
    assert_eq!(
        (reply.counts(), reply.reasons()[0].2.as_str()),
        ((0, 0, 1), "histogram_too_heavy")
    );
    let answer = server
        .percentiles(&[("metric", "lcp_ms"), ("q", "0.5")])
        .await;
    let point = &answer["series"][0]["points"][0];
    assert_eq!(point["count"], 10_000);
    let p50 = point["values"]["0.5"].as_f64().unwrap();
    assert!((p50 / 1_000.0 - 1.0).abs() <= 0.001, "{p50}");
    server.stop().await;
}

#[tokio::test]
async fn its_window_holds_its_middle_after_correction() {
    let server = Server::start().await;
    let now = now_ms();
    let minute_ms = (now / MINUTE_MS - 5) * MINUTE_MS;
    // A clock that is ten minutes and a bit behind: what it calls a whole minute lies across two.
    for (store_id, off_ms) in [
        ("less", 10 * MINUTE_MS + 20_000),
        ("more", 10 * MINUTE_MS + 40_000),
    ] {
        let mut histogram = good();
        histogram["t"] = json!(minute_ms - 10 * MINUTE_MS);
        let batch = Batch::new(store_id)
            .with("sent_at_ms", now_ms() - off_ms)
            .push_histogram(histogram);
        assert_eq!(server.taken(&batch.0).await, (4, 0, 0));
    }
    for (store_id, expected_ms) in [("less", minute_ms), ("more", minute_ms + MINUTE_MS)] {
        let answer = server
            .percentiles(&[
                ("metric", "idb_write_ms"),
                ("store_id", store_id),
                ("step", "60"),
            ])
            .await;
        assert_eq!(
            answer["series"][0]["points"][0]["t"], expected_ms,
            "{store_id}"
        );
    }
    // Single values and a histogram of the same minute add up to one distribution.
    let batch = Batch::new("both")
        .push_histogram(good())
        .push(json!({"m": "idb_write_ms", "t": good()["t"], "v": 100}));
    assert_eq!(server.taken(&batch.0).await, (5, 0, 0));
    let answer = server
        .percentiles(&[
            ("metric", "idb_write_ms"),
            ("store_id", "both"),
            ("q", "0.5,1"),
        ])
        .await;
    let point = &answer["series"][0]["points"][0];
    assert_eq!((&point["count"], &point["max"]), (&json!(5), &json!(100.0)));
    assert_eq!(point["values"], json!({"0.5": 10.007, "1": 100}));
    server.stop().await;
}
