//! Bodies that no exporter sends.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, NumberDataPoint};
use proptest::prelude::*;

use super::super::wire::put_bytes;
use super::*;

/// A request around the messages of one gauge, as bytes.
fn around(gauge: &[u8]) -> Vec<u8> {
    let mut body = gauge.to_vec();
    for number in [5, 2, 2, 1] {
        let inner = std::mem::take(&mut body);
        put_bytes(&mut body, number, &inner);
    }
    body
}

#[test]
fn a_million_empty_points_are_refused_before_they_take_memory() {
    let body = around(&[0x0a, 0x00].repeat(1_000_000));
    let (read, used) = reading(&body, Encoding::Protobuf);
    assert!(
        matches!(read, Err(Refusal::TooManySamples(50_000))),
        "{read:?}"
    );
    assert!(used < 32 * 1024 * 1024, "{used}");
    let points = "{},".repeat(600_000);
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{points}{{}}]}}}}]}}]}}]}}"#
    );
    let (read, _) = reading(body.as_bytes(), Encoding::Json);
    assert!(
        matches!(read, Err(Refusal::TooManySamples(50_000))),
        "{read:?}"
    );
}

#[test]
fn what_is_kept_is_asked_for() {
    let body = around(&[0x0a, 0x00].repeat(50_000));
    let (read, used) = reading(&body, Encoding::Protobuf);
    let gathered = read.unwrap();
    let samples = &gathered.batches[0].samples;
    assert_eq!(samples.len(), 50_000);
    let kept = samples.capacity() * size_of_val(&samples[0]);
    assert!(kept <= used, "{kept} of {used}");
}

#[test]
fn points_of_more_terminals_than_a_request_may_hold_are_refused() {
    let points = (0..501).map(|number| NumberDataPoint {
        attributes: vec![pair("terminal.id", &format!("till-{number}"))],
        ..NumberDataPoint::default()
    });
    let data_points = points.collect();
    let metric = metric("lcp", "", Data::Gauge(Gauge { data_points }));
    let body = request(vec![metric]).encode_to_vec();
    let (read, _) = reading(&body, Encoding::Protobuf);
    assert!(matches!(read, Err(Refusal::TooManyBatches(500))));
}

#[test]
fn depth_costs_nothing() {
    let mut value = Vec::new();
    for _ in 0..5_000 {
        let inner = std::mem::take(&mut value);
        put_bytes(&mut value, 1, &inner);
        let inner = std::mem::take(&mut value);
        put_bytes(&mut value, 5, &inner);
    }
    let mut attribute = Vec::new();
    put_bytes(&mut attribute, 1, b"store.id");
    put_bytes(&mut attribute, 2, &value);
    let (mut point, mut gauge) = (Vec::new(), Vec::new());
    put_bytes(&mut point, 7, &attribute);
    put_bytes(&mut gauge, 1, &point);
    let body = around(&gauge);
    let (read, _) = reading(&body, Encoding::Protobuf);
    assert_eq!(read.unwrap().tally.points, 1);
    let deep = [
        r#"{"arrayValue":{"values":["#.repeat(20_000),
        "]}}".repeat(20_000),
    ]
    .concat();
    let body = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"store.id","value":{deep}}}]}},"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{{}}]}}}}]}}]}}]}}"#
    );
    let (read, _) = reading(body.as_bytes(), Encoding::Json);
    assert_eq!(read.unwrap().tally.points, 1);
}

#[test]
fn other_formats_are_told_where_they_belong() {
    for (body, wanted) in [
        (r#"{"v":1,"samples":[]}"#, "/v1/batches"),
        (r#"{"sent_at_ms":1,"batches":[]}"#, "/v1/batches"),
        (r#"{"meta":{},"measurements":[]}"#, "/collect"),
        (r#"{"resourceSpans":[]}"#, "no traces"),
        (r#"{"resourceLogs":[]}"#, "no logs"),
        (r#"{"resource_metrics":[]}"#, "lowerCamelCase"),
        (r#"[]"#, "not an object"),
        ("", "not an object"),
        (r#"{"resourceMetrics":{}}"#, "a list"),
        (r#"{"resourceMetrics":[7]}"#, "invalid type"),
        (r#"{"resourceMetrics":["#, "EOF"),
    ] {
        let (read, _) = reading(body.as_bytes(), Encoding::Json);
        let said = read.unwrap_err().to_string();
        assert!(said.contains(wanted), "{body}: {said}");
    }
    for body in [
        r#"{}"#,
        r#"{"resourceMetrics":null}"#,
        r#"{"resourceMetrics":[{}]}"#,
    ] {
        assert!(
            reading(body.as_bytes(), Encoding::Json)
                .0
                .unwrap()
                .batches
                .is_empty()
        );
    }
    assert!(
        reading(b"", Encoding::Protobuf)
            .0
            .unwrap()
            .batches
            .is_empty()
    );
    let (read, _) = reading(br#"{"v":1,"samples":[]}"#, Encoding::Protobuf);
    assert!(read.is_err());
}

proptest! {
    #[test]
    fn no_bytes_do_harm(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _read = reading(&body, Encoding::Protobuf);
        let _read = reading(&body, Encoding::Json);
        let _read = reading(&around(&body), Encoding::Protobuf);
    }

    /// A body that was cut off, or has a wrong byte, is refused or read, and never worse.
    #[test]
    fn no_damage_does_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), is_cut in any::<bool>()) {
        let request = exactness::all_kinds();
        for (mut body, encoding) in [
            (request.encode_to_vec(), Encoding::Protobuf),
            (serde_json::to_vec(&request).unwrap(), Encoding::Json),
        ] {
            let at = at.index(body.len());
            body[at] = byte;
            if is_cut {
                body.truncate(at);
            }
            let _read = reading(&body, encoding);
        }
    }
}
