//! Each sample's own outcome.

use serde_json::{Value, json};

use super::{Case, each_meets_its_fate};
use crate::support::{Batch, Server, now_ms};

/// The catalogue as the collector tells it.
async fn catalogue(server: &Server) -> Vec<Value> {
    let reply = server.get("/api/v1/metrics", &[]).await;
    reply.json()["metrics"].as_array().unwrap().clone()
}

fn label_of(metric: &Value) -> Option<String> {
    metric["label"]["values"][0].as_str().map(str::to_owned)
}

#[tokio::test]
async fn every_metric_alias_and_label_is_taken_and_found_under_its_own_name() {
    let server = Server::start().await;
    let metrics = catalogue(&server).await;
    assert_eq!(metrics.len(), 46, "the catalogue of the wire format");
    let t_ms = now_ms();
    let mut batch = Batch::new("every");
    let mut expected = Vec::new();
    for metric in &metrics {
        let name = metric["metric"].as_str().unwrap();
        let labels: Vec<&str> = metric["label"]["values"]
            .as_array()
            .map_or(vec![""], |values| {
                values.iter().map(|value| value.as_str().unwrap()).collect()
            });
        let mut names = vec![name];
        names.extend(
            metric["aliases"]
                .as_array()
                .unwrap()
                .iter()
                .map(|alias| alias.as_str().unwrap()),
        );
        for (number, label) in (1_u64..).zip(&labels) {
            // A different number of samples for each label, so that none can stand for another.
            for name in (0..number).flat_map(|_| &names) {
                let mut sample = json!({"m": name, "t": t_ms, "v": 1});
                if !label.is_empty() {
                    sample["label"] = json!(label);
                }
                batch = batch.push(sample);
            }
            expected.push((
                name.to_owned(),
                (*label).to_owned(),
                number * names.len() as u64,
            ));
        }
    }
    let samples: u64 = expected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(server.taken(&batch.0).await, (samples, 0, 0));
    for (name, label, count) in &expected {
        let mut parameters = vec![("metric", name.as_str()), ("store_id", "every")];
        parameters.extend((!label.is_empty()).then_some(("label", label.as_str())));
        let answer = server.percentiles(&parameters).await;
        assert_eq!(
            answer["series"][0]["points"][0]["count"], *count,
            "{name} {label}: {answer}"
        );
        assert_eq!(answer["metric"], name.as_str());
    }
    server.stop().await;
}

#[tokio::test]
async fn every_range_has_its_edges() {
    let server = Server::start().await;
    let t_ms = now_ms();
    let mut cases: Vec<Case> = Vec::new();
    for metric in catalogue(&server).await {
        let sample = |value: Value| {
            let mut sample = json!({"m": metric["metric"], "t": t_ms, "v": value});
            if let Some(label) = label_of(&metric) {
                sample["label"] = json!(label);
            }
            sample
        };
        let most = metric["max"].as_f64().unwrap();
        let step = match metric["unit"].as_str().unwrap() {
            "ms" => 0.001,
            "score" | "ratio" => 0.000_1,
            "MB" => 0.000_001,
            _ => 1.0,
        };
        cases.push(("the greatest value", sample(json!(most)), None));
        cases.push(("zero", sample(json!(0)), None));
        // One recording unit; a fortieth of a float's precision at a million megabytes.
        let above = most + f64::max(step, most * 1e-15);
        cases.push(("just above", sample(json!(above)), Some("out_of_range")));
        cases.push(("negative", sample(json!(-step)), Some("out_of_range")));
    }
    let ranges = [
        ("lcp_ms", 604_800_000.0),
        ("cls_score", 100.0),
        ("sync_payload_bytes", 1_099_511_627_776.0),
    ];
    for (name, most) in ranges {
        assert!(
            cases
                .iter()
                .any(|(_, sample, _)| sample["m"] == name && sample["v"] == most),
            "{name}"
        );
    }
    for (index, cases) in (0_u64..).zip(cases.chunks(80)) {
        each_meets_its_fate(&server, Batch::new("ranges").seq(index), "samples", cases).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn each_bad_sample_is_rejected_alone_and_with_its_reason() {
    let server = Server::start().await;
    let t = now_ms();
    let day_ms = 86_400_000;
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("good", json!({"m": "lcp_ms", "t": t, "v": 1.5}), None),
        ("fractional time", json!({"m": "lcp_ms", "t": 0.9 + t as f64, "v": 1}), None),
        ("time in scientific notation", json!({"m": "lcp_ms", "t": (t as f64), "v": 1e3}), None),
        ("an unknown key", json!({"m": "lcp_ms", "t": t, "v": 1, "colour": "red", "nested": {"a": [1]}}), None),
        ("an unknown connection", json!({"m": "lcp_ms", "t": t, "v": 1, "connection": "carrier pigeon"}), None),
        ("a connection of the wrong type", json!({"m": "lcp_ms", "t": t, "v": 1, "connection": 7}), Some("ignored_connection")),
        ("the same again", json!({"m": "lcp_ms", "t": t, "v": 1, "connection": [7]}), None),
        ("a label where none is needed", json!({"m": "lcp_ms", "t": t, "v": 1, "label": "hit"}), None),
        ("unknown metric", json!({"m": "lcp_msx", "t": t, "v": 1}), Some("unknown_metric")),
        ("metric in another case", json!({"m": "LCP_MS", "t": t, "v": 1}), Some("unknown_metric")),
        ("metric of the wrong type", json!({"m": 5, "t": t, "v": 1}), Some("unknown_metric")),
        ("empty metric", json!({"m": "", "t": t, "v": 1}), Some("unknown_metric")),
        ("no metric", json!({"t": t, "v": 1}), Some("unknown_metric")),
        ("missing label", json!({"m": "cache_requests", "t": t, "v": 1}), Some("missing_label")),
        ("null label", json!({"m": "cache_requests", "t": t, "v": 1, "label": null}), Some("missing_label")),
        ("unknown label", json!({"m": "cache_requests", "t": t, "v": 1, "label": "mis"}), Some("unknown_label")),
        ("label of another metric", json!({"m": "cache_requests", "t": t, "v": 1, "label": "success"}), Some("unknown_label")),
        ("label of the wrong type", json!({"m": "cache_requests", "t": t, "v": 1, "label": 1}), Some("unknown_label")),
        ("unknown kind of error", json!({"m": "errors", "t": t, "v": 1, "label": "cosmic_ray"}), None),
        ("errors without a kind", json!({"m": "errors_count", "t": t, "v": 1}), None),
        ("unknown kind of conflict", json!({"m": "conflicts", "t": t, "v": 1, "label": "stock_moved"}), None),
        ("kind of conflict under another name", json!({"m": "conflicts", "t": t, "v": 1, "label": "insufficient_loyalty_points"}), None),
        ("conflict without a kind", json!({"m": "conflicts", "t": t, "v": 1}), Some("missing_label")),
        ("mode switch without a mode", json!({"m": "mode_switches", "t": t, "v": 1}), None),
        ("mode switch alias", json!({"m": "mode_switch_online_to_offline", "t": t, "v": 1}), None),
        ("mode switch with two underscores", json!({"m": "mode_switch_offline_sync_to_offline_sync", "t": t, "v": 1}), None),
        ("mode switch to nowhere", json!({"m": "mode_switch_online_to_mars", "t": t, "v": 1}), Some("unknown_label")),
        ("mode switch from nowhere", json!({"m": "mode_switch_mars_to_online", "t": t, "v": 1}), Some("unknown_metric")),
        ("half a mode switch", json!({"m": "mode_switch_online", "t": t, "v": 1}), Some("unknown_metric")),
        ("no value", json!({"m": "lcp_ms", "t": t}), Some("invalid_value")),
        ("null value", json!({"m": "lcp_ms", "t": t, "v": null}), Some("invalid_value")),
        ("value as text", json!({"m": "lcp_ms", "t": t, "v": "1"}), Some("invalid_value")),
        ("value true", json!({"m": "lcp_ms", "t": t, "v": true}), Some("invalid_value")),
        ("value a list", json!({"m": "lcp_ms", "t": t, "v": [1]}), Some("invalid_value")),
        ("value 2^64 - 1", json!({"m": "lcp_ms", "t": t, "v": u64::MAX}), Some("out_of_range")),
        ("value 1e308", json!({"m": "lcp_ms", "t": t, "v": 1e308}), Some("out_of_range")),
        ("no time", json!({"m": "lcp_ms", "v": 1}), Some("invalid_time")),
        ("null time", json!({"m": "lcp_ms", "t": null, "v": 1}), Some("invalid_time")),
        ("time as text", json!({"m": "lcp_ms", "t": "2026-11-21T10:00:00Z", "v": 1}), Some("invalid_time")),
        ("time in seconds", json!({"m": "lcp_ms", "t": t / 1_000, "v": 1}), Some("too_old")),
        ("time in microseconds", json!({"m": "lcp_ms", "t": t * 1_000, "v": 1}), Some("in_future")),
        ("time zero", json!({"m": "lcp_ms", "t": 0, "v": 1}), Some("too_old")),
        ("negative time", json!({"m": "lcp_ms", "t": -1, "v": 1}), Some("too_old")),
        ("time 2^64 - 1", json!({"m": "lcp_ms", "t": u64::MAX, "v": 1}), Some("in_future")),
        ("almost eight days old", json!({"m": "lcp_ms", "t": t - 8 * day_ms + 60_000, "v": 1}), None),
        ("over eight days old", json!({"m": "lcp_ms", "t": t - 8 * day_ms - 1_000, "v": 1}), Some("too_old")),
        ("almost five minutes ahead", json!({"m": "lcp_ms", "t": t + 299_000, "v": 1}), None),
        ("over five minutes ahead", json!({"m": "lcp_ms", "t": t + 360_000, "v": 1}), Some("in_future")),
        ("not an object", json!(5), Some("malformed_sample")),
        ("a list", json!(["lcp_ms", t, 1]), Some("malformed_sample")),
        ("null", json!(null), Some("malformed_sample")),
        ("an empty object", json!({}), Some("unknown_metric")),
    ];
    let batch = Batch::new("bad").with("rubbish", json!([1, {"a": 2}]));
    each_meets_its_fate(&server, batch, "samples", &cases).await;

    // What is ignored of a sample does not reject it.
    let is_good = |reason: &str| reason.starts_with("ignored_");
    let good = cases
        .iter()
        .filter(|(_, _, reason)| reason.is_none_or(is_good));
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_samples_total", &[("outcome", "accepted")]),
        good.count() as f64
    );
    assert_eq!(
        page.value("tillwatch_unknown_keys_total", &[]),
        3.0,
        "rubbish, colour, nested"
    );

    // What was mapped stands under its new name.
    let grouped = async |metric: &str, by: &str| {
        let from = (t - 600_000).to_string();
        let to = (t + 600_000).to_string();
        let found = server
            .percentiles(&[
                ("metric", metric),
                ("group_by", by),
                ("from", &from),
                ("to", &to),
            ])
            .await;
        let series = found["series"].as_array().unwrap().iter();
        let pairs = series.map(|one| {
            (
                one[by].as_str().unwrap().to_owned(),
                one["points"][0]["count"].as_u64().unwrap(),
            )
        });
        pairs.collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect::<Vec<_>>()
    };
    assert_eq!(grouped("errors", "label").await, pairs(&[("other", 2)]));
    assert_eq!(
        grouped("conflicts", "label").await,
        pairs(&[("loyalty_points", 1), ("other", 1)])
    );
    assert_eq!(
        grouped("mode_switches", "label").await,
        pairs(&[("offline", 1), ("offline_sync", 1), ("unknown", 1)])
    );
    assert_eq!(
        grouped("lcp_ms", "connection").await,
        pairs(&[("unknown", 9)])
    );
    server.stop().await;
}

#[tokio::test]
async fn values_are_kept_to_the_recording_unit_and_times_to_the_millisecond_below() {
    let server = Server::start().await;
    let minute_ms = now_ms() / 60_000 * 60_000;
    // 59,999.9 ms into the minute before: cut off, not rounded up into the next.
    let batch = Batch::new("exact")
        .push(json!({"m": "cls_score", "t": minute_ms as f64 - 0.1, "v": 0.123_44}))
        .push(json!({"m": "ttfb_ms", "t": minute_ms, "v": 1.2346}))
        .push(json!({"m": "memory_used_mb", "t": minute_ms, "v": 0.001_5}))
        .push(json!({"m": "sync_items_count", "t": minute_ms, "v": 2.5}));
    assert_eq!(server.taken(&batch.0).await, (4, 0, 0));
    let at = async |metric: &str, from: i64| {
        let (from, to) = (from.to_string(), (from + 60_000).to_string());
        server
            .percentiles(&[("metric", metric), ("from", &from), ("to", &to)])
            .await["series"][0]["points"][0]
            .clone()
    };
    assert_eq!(at("cls_score", minute_ms - 60_000).await["sum"], 0.123_4);
    assert_eq!(at("cls_score", minute_ms).await, Value::Null);
    assert_eq!(at("ttfb_ms", minute_ms).await["sum"], 1.235);
    assert_eq!(at("memory_used_mb", minute_ms).await["sum"], 0.001_5);
    assert_eq!(at("sync_items_count", minute_ms).await["sum"], 3.0);
    server.stop().await;
}
