//! Events and drops on the wire: what is taken, and what each refusal costs.

use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, many, now_ms};

const QUEUE: &str = "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10";

/// Posts a batch in both formats, each for a queue of its own.
async fn in_both(server: &Server, batch: impl Fn() -> Batch) -> [Reply; 2] {
    let json = server.post(&batch().0).await;
    let packed = rmp_serde::to_vec(&batch().0).unwrap();
    let headers = [("content-type", "application/msgpack")];
    [json, server.post_with(&headers, packed).await]
}

/// The reasons of an answer, as the number of the event or drop and the reason.
fn reasons(reply: &Reply, part: &str) -> Vec<(u64, String)> {
    let json = reply.json();
    let lines = json["reasons"].as_array().unwrap().iter();
    let lines = lines.map(|line| {
        assert_eq!((&line["batch"], &line["sample"]), (&json!(0), &Value::Null));
        assert_eq!(line.as_object().unwrap().len(), 4, "{line}");
        let number = line[part].as_u64().unwrap();
        (number, line["reason"].as_str().unwrap().to_owned())
    });
    lines.collect()
}

type Case = (&'static str, Value, Option<&'static str>);

/// Each must meet its own fate and no other's, in both formats.
async fn each_meets_its_fate(server: &Server, (list, part): (&str, &str), cases: &[Case]) {
    let items: Vec<Value> = cases.iter().map(|(_, item, _)| item.clone()).collect();
    let expected: Vec<(u64, String)> = (0..)
        .zip(cases)
        .filter_map(|(number, (.., reason))| Some((number, (*reason)?.to_owned())))
        .collect();
    for reply in in_both(server, || Batch::new("s").with(list, items.clone())).await {
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(reasons(&reply, part), expected, "{}", reply.text());
        let rejected = expected.len() as u64;
        let accepted = items.len() as u64 - rejected;
        assert_eq!(reply.counts(), (accepted, 0, rejected));
    }
}

#[tokio::test]
async fn each_event_meets_its_fate() {
    let server = Server::start().await;
    let t = now_ms();
    let day_ms = 86_400_000;
    let error = |key: &str, value: Value| {
        let mut error = json!({"k": "error", "t": t, "type": "TypeError", "message": "m", "frames": [{"fn": "pay", "module": "app.js"}]});
        error[key] = value;
        error
    };
    let custom = |name: Value| json!({"k": "custom", "t": t, "name": name});
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("all that there is", error("fingerprint", json!("9f3c2a7b1d40e6aa")), None),
        ("nothing but a kind and a time", json!({"k": "error", "t": t}), None),
        ("offline", json!({"k": "offline", "t": t}), None),
        ("online", json!({"k": "online", "t": t, "count": 2}), None),
        ("shutdown", json!({"k": "shutdown", "t": t, "fatal": true}), None),
        ("battery", json!({"k": "battery", "t": t}), None),
        ("custom", custom(json!("drawer_opened")), None),
        ("a fingerprint of another make is made anew", error("fingerprint", json!("9F3C2A7B1D40E6AA")), None),
        ("and so is one of another type", error("fingerprint", json!(5)), None),
        ("null is absent", error("frames", Value::Null), None),
        ("keys that nobody knows", error("stack", json!("at pay (app.js:1)")), None),
        ("more frames than are kept", error("frames", json!(vec![json!({"fn": "f"}); 60])), None),
        ("an unknown label is other", error("label", json!("printer")), None),
        ("a label of another type, too", error("label", json!([1])), None),
        ("eight days old, nearly", error("t", json!(t - 8 * day_ms + 60_000)), None),
        ("the most there can be", error("count", json!(1_000_000)), None),
        ("a line that is none", error("frames", json!([{"fn": "f", "line": -1, "col": 1.5}])), None),
        ("no object", json!(5), Some("malformed_event")),
        ("a list", json!([]), Some("malformed_event")),
        ("no kind", json!({"t": t}), Some("unknown_kind")),
        ("another kind", error("k", json!("Error")), Some("unknown_kind")),
        ("a kind of another type", error("k", json!(1)), Some("malformed_event")),
        ("no name", json!({"k": "custom", "t": t}), Some("invalid_name")),
        ("an empty name", custom(json!("")), Some("invalid_name")),
        ("a name with spaces", custom(json!("Anna Schmidt")), Some("invalid_name")),
        ("a long name", custom(json!("x".repeat(65))), Some("invalid_name")),
        ("a name of another type", custom(json!(5)), Some("invalid_name")),
        ("none", error("count", json!(0)), Some("invalid_count")),
        ("too many", error("count", json!(1_000_001)), Some("invalid_count")),
        ("half", error("count", json!(0.5)), Some("invalid_count")),
        ("a count as text", error("count", json!("3")), Some("invalid_count")),
        ("fatal as text", error("fatal", json!("true")), Some("malformed_event")),
        ("a message of another type", error("message", json!({"a": 1})), Some("malformed_event")),
        ("a type of another type", error("type", json!(1)), Some("malformed_event")),
        ("frames that are none", error("frames", json!("at pay")), Some("malformed_event")),
        ("a frame that is none", error("frames", json!([{"fn": "f"}, 5])), Some("malformed_event")),
        ("a function of another type", error("frames", json!([{"fn": 5}])), Some("malformed_event")),
        ("a line of another type", error("frames", json!([{"line": "5"}])), Some("malformed_event")),
        ("no time", error("t", Value::Null), Some("invalid_time")),
        ("a time as text", error("t", json!("1763683190000")), Some("invalid_time")),
        ("too old", error("t", json!(t - 8 * day_ms - 60_000)), Some("too_old")),
        ("ahead", error("t", json!(t + 6 * 60_000)), Some("in_future")),
    ];
    each_meets_its_fate(&server, ("events", "event"), &cases).await;
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn each_drop_meets_its_fate() {
    let server = Server::start().await;
    let t = now_ms();
    let with = |key: &str, value: Value| {
        let mut dropped = json!({"queue": QUEUE, "from": 410, "to": 415, "samples": 230, "reason": "quota", "t": t});
        dropped[key] = value;
        dropped
    };
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("all that there is", with("from", json!(410)), None),
        ("never numbered", json!({"samples": 0, "reason": "other", "t": t}), None),
        ("as many numbers as may be", with("to", json!(410 + 999_999)), None),
        ("the highest number there is", json!({"queue": QUEUE, "from": u64::MAX, "to": u64::MAX, "samples": 1, "reason": "age", "t": t}), None),
        ("no object", json!("x"), Some("malformed_event")),
        ("no reason", with("reason", Value::Null), Some("missing_label")),
        ("another reason", with("reason", json!("tired")), Some("unknown_label")),
        ("a reason of another type", with("reason", json!(1)), Some("malformed_event")),
        ("no samples", with("samples", Value::Null), Some("invalid_drop")),
        ("too many samples", with("samples", json!(1_000_000_001)), Some("invalid_drop")),
        ("backwards", with("to", json!(409)), Some("invalid_drop")),
        ("one number too many", with("to", json!(410 + 1_000_000)), Some("invalid_drop")),
        ("half a queue", with("queue", json!("5f0c6a52")), Some("invalid_drop")),
        ("no queue", with("queue", Value::Null), Some("invalid_drop")),
        ("only the first", with("to", Value::Null), Some("invalid_drop")),
        ("no time", with("t", Value::Null), Some("invalid_time")),
        ("too old", with("t", json!(t - 9 * 86_400_000)), Some("too_old")),
    ];
    each_meets_its_fate(&server, ("drops", "drop"), &cases).await;
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_past_fifty_is_named_and_lists_that_are_none_cost_the_batch() {
    let server = Server::start().await;
    let t = now_ms();
    let events = json!(vec![json!({"k": "online", "t": t}); 52]);
    for reply in in_both(&server, || Batch::new("s").with("events", events.clone())).await {
        assert_eq!(reply.counts(), (50, 0, 2));
        let expected = [50, 51].map(|number| (number, "too_many".to_owned()));
        assert_eq!(reasons(&reply, "event"), expected);
    }
    let drops = json!(vec![json!({"samples": 1, "reason": "age", "t": t}); 51]);
    for reply in in_both(&server, || Batch::new("s").with("drops", drops.clone())).await {
        assert_eq!(reply.counts(), (50, 0, 1));
        assert_eq!(reasons(&reply, "drop"), [(50, "too_many".to_owned())]);
    }
    for list in ["events", "drops"] {
        let of = |value: Value| move || Batch::new("s").filled(1).with(list, value.clone());
        for reply in in_both(&server, of(json!({}))).await {
            assert_eq!(
                (reply.status, &*reply.code()),
                (400, "malformed_body"),
                "{list}"
            );
        }
        for reply in in_both(&server, of(Value::Null)).await {
            assert_eq!(reply.counts(), (1, 0, 0), "{list}");
        }
        for reply in in_both(&server, of(json!([]))).await {
            assert_eq!(reply.counts(), (1, 0, 0), "{list}");
        }
    }
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn events_share_the_fate_of_their_batch() {
    let server = Server::start().await;
    let t = now_ms();
    let with_both = |batch: Batch| {
        let drops = json!([{"samples": 5, "reason": "age", "t": t}]);
        batch
            .filled(2)
            .with("events", json!([{"k": "error", "t": t, "message": "m"}]))
            .with("drops", drops)
    };
    // Sent again it is a duplicate, with all that is in it; with another event it is another batch.
    let batch = with_both(Batch::new("s"));
    assert_eq!(server.taken(&batch.0).await, (4, 0, 0));
    assert_eq!(server.taken(&batch.0).await, (0, 4, 0));
    let other = batch
        .clone()
        .with("events", json!([{"k": "online", "t": t}]));
    let reply = server.post(&other.0).await;
    assert_eq!(
        (reply.counts(), &reply.json()["conflicting"]),
        ((0, 4, 0), &json!(1))
    );

    // Without consent nothing is kept, neither of the event nor of the drop.
    let refused = with_both(Batch::new("s")).with("consent", false);
    let reply = server.post(&refused.0).await;
    assert_eq!((reply.status, &*reply.code()), (422, "no_consent"));
    let reply = server
        .post(&many([&refused, &with_both(Batch::new("s"))]))
        .await;
    assert_eq!(reply.counts(), (4, 4, 0), "its number is known");

    // The times of events are corrected as those of samples are, and speak for a stamp as these do.
    let back = t - 400 * 86_400_000;
    let mut late = Batch::new("s").with("events", json!([{"k": "error", "t": back}]));
    late.0["sent_at_ms"] = json!(back + 5_000);
    assert_eq!(server.taken(&late.0).await, (1, 0, 0));
    let mut odd = Batch::new("s").with("drops", json!([{"samples": 5, "reason": "age", "t": t}]));
    odd.0["sent_at_ms"] = json!(back);
    let reply = server.post(&odd.0).await;
    assert_eq!((reply.status, &*reply.code()), (422, "implausible_sent_at"));

    // Keyed batches count them, and are answered as they were.
    let keyed = with_both(Batch::new("s")).without("queue").without("seq");
    let headers = [
        ("idempotency-key", "k-1"),
        ("content-type", "application/json"),
    ];
    for _ in 0..2 {
        let reply = server.post_with(&headers, keyed.0.to_string()).await;
        assert_eq!(reply.counts(), (4, 0, 0));
    }
    // A backlog that holds a fresh event is live.
    let fresh = Batch::new("s").with("events", json!([{"k": "online", "t": t}]));
    let request = server.request(reqwest::Method::POST, "/v1/batches?class=backlog");
    let answer = request.body(fresh.0.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_false_backlog_total", &[]), 1.0);
    server.outcomes_add_up().await;
    server.stop().await;
}
