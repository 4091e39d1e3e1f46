//! The example of the wire format's description, to the letter.

use serde_json::{Value, json};

use crate::support::{Server, now_ms};

const EXAMPLE: &str = include_str!("../../fixtures/wire/v1/example.json");

/// The example as if it were sent now: every time moved by the same whole number of minutes.
fn sent_now() -> Value {
    let mut body: Value = serde_json::from_str(EXAMPLE).unwrap();
    let sent_at_ms = body["sent_at_ms"].as_i64().unwrap();
    let moved = (now_ms() - sent_at_ms) / 60_000 * 60_000;
    let later = |value: &mut Value| *value = json!(value.as_i64().unwrap() + moved);
    later(&mut body["sent_at_ms"]);
    for list in ["samples", "histograms"] {
        for item in body[list].as_array_mut().unwrap() {
            later(&mut item["t"]);
        }
    }
    body
}

#[tokio::test]
async fn the_documented_example_is_taken_once_and_read_back() {
    let server = Server::start().await;
    let body = sent_now();

    let reply = server.post(&body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.text(),
        r#"{"accepted":6,"duplicate":0,"rejected":0,"reasons":[]}"#
    );

    // The values of a histogram's buckets, read back from the open windows.
    let from = (now_ms() - 2 * 86_400_000).to_string();
    let answer = server
        .percentiles(&[
            ("metric", "idb_write_ms"),
            ("q", "0.25,0.5,0.75,1.0"),
            ("from", &from),
        ])
        .await;
    let points = &answer["series"][0]["points"];
    assert_eq!(
        points[0]["values"],
        json!({"0.25": 8.003, "0.5": 9.807, "0.75": 10.007, "1.0": 12.3})
    );
    assert_eq!(points[0]["count"], 4);
    assert_eq!(
        (&points[0]["sum"], &points[0]["min"], &points[0]["max"]),
        (&json!(40.1), &json!(8.0), &json!(12.3))
    );

    // A resend is stamped anew, and may travel with other batches.
    let mut again = body.clone();
    again["sent_at_ms"] = json!(body["sent_at_ms"].as_i64().unwrap() + 30_000);
    for resend in [
        body.clone(),
        again,
        json!({"sent_at_ms": now_ms(), "batches": [body.clone()]}),
    ] {
        let reply = server.post(&resend).await;
        assert_eq!(
            reply.text(),
            r#"{"accepted":0,"duplicate":6,"rejected":0,"reasons":[]}"#
        );
    }
    server.stop().await;
}
