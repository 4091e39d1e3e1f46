//! Values of another type than the format has: taken as what people mean by them, or named.

use serde_json::{Value, json};

use crate::support::{Batch, Server, many, now_ms, run_with_input};

const QUEUE: &str = "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10";

/// Posts a body in both formats, each for a terminal of its own.
async fn in_both(server: &Server, body: impl Fn(&str) -> Value) -> [Value; 2] {
    let json = server.post(&body("json")).await;
    let packed = rmp_serde::to_vec(&body("messagepack")).unwrap();
    let headers = [("content-type", "application/msgpack")];
    let packed = server.post_with(&headers, packed).await;
    [json, packed].map(|reply| {
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.json()
    })
}

#[tokio::test]
async fn digits_stand_for_text_where_people_number_things() {
    let server = Server::start().await;
    // How it is written, and the text that it stands for.
    let numbers = [
        (json!(17), "17"),
        (json!(17.0), "17"),
        (json!(-5), "-5"),
        (json!(1_763_683_200_123_u64), "1763683200123"),
        (json!(u64::MAX), "18446744073709551615"),
    ];
    for (number, text) in &numbers {
        // The number first, then its text: it is the same terminal of the same store.
        for (key, others) in [("store_id", "terminal_id"), ("terminal_id", "store_id")] {
            let batch = Batch::new("x").filled(1).with(others, "plain");
            let as_number = batch.clone().with(key, number.clone());
            let as_text = batch.with(key, *text);
            assert_eq!(
                server.taken(&as_number.0).await,
                (1, 0, 0),
                "{key}: {number}"
            );
            assert_eq!(server.taken(&as_text.0).await, (0, 1, 0), "{key}: {number}");
        }
    }
    // Of a release a float may have lost digits: 2.10 is 2.1.
    let releases = [
        (json!(241), "241", json!([])),
        (
            json!(2.10),
            "__invalid__",
            json!([{"batch": 0, "sample": null, "reason": "ignored_release"}]),
        ),
        (
            json!(3.0),
            "__invalid__",
            json!([{"batch": 0, "sample": null, "reason": "ignored_release"}]),
        ),
        (
            json!(true),
            "__invalid__",
            json!([{"batch": 0, "sample": null, "reason": "ignored_release"}]),
        ),
        (json!("pos@2.4.1+7"), "pos@2.4.1+7", json!([])),
    ];
    for (index, (release, name, reasons)) in releases.iter().enumerate() {
        let store_id = format!("release-{index}");
        let body = |terminal: &str| {
            let batch = Batch::new(&store_id)
                .filled(1)
                .with("terminal_id", terminal);
            batch.with("release", release.clone()).0
        };
        for answer in in_both(&server, body).await {
            assert_eq!(
                (&answer["accepted"], &answer["reasons"]),
                (&json!(1), reasons),
                "{release}"
            );
        }
        let answer = server
            .percentiles(&[
                ("metric", "lcp_ms"),
                ("store_id", &store_id),
                ("group_by", "release"),
            ])
            .await;
        assert_eq!(
            answer["series"][0]["release"],
            json!(name),
            "{release}: {answer}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_may_be_a_number_and_what_cannot_be_one_is_named() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let with = |session: Value| {
        move |terminal: &str| {
            let batch = Batch::new("odoo").filled(1).with("terminal_id", terminal);
            batch.with("session_id", session.clone()).0
        }
    };
    for session in [json!(591), json!(591.0), json!("591")] {
        for answer in in_both(&server, with(session.clone())).await {
            assert_eq!(answer["reasons"], json!([]), "{session}");
        }
    }
    let line = json!([{"batch": 0, "sample": null, "reason": "ignored_session_id"}]);
    for session in [json!(true), json!(5.5), json!({"id": 591}), json!([591])] {
        for answer in in_both(&server, with(session.clone())).await {
            assert_eq!(
                (&answer["accepted"], &answer["reasons"]),
                (&json!(1), &line),
                "{session}"
            );
        }
    }
    for session in [json!(null), json!("")] {
        for answer in in_both(&server, with(session.clone())).await {
            assert_eq!(answer["reasons"], json!([]), "{session}");
        }
    }
    server.wait_applied().await;
    // All six are one session.
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let data = server.folder().join("data").display().to_string();
    let arguments = ["--day", &day, "--data-dir", &data].map(str::to_owned);
    let output = run_with_input("pseudonym", &arguments, "591\n".to_owned()).await;
    let pseudonym = String::from_utf8(output.stdout).unwrap();
    let path = format!("/api/v1/sessions/{}", pseudonym.trim());
    let answer = server.get(&path, &[]).await.json();
    assert_eq!(answer["days"][0]["samples"], 6, "{answer}");
    let page = server.metrics().await;
    let ignored = page.value(
        "tillwatch_ignored_values_total",
        &[("value", "session_id_type")],
    );
    assert_eq!(ignored, 8.0);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_of_the_wrong_type_is_named_and_an_unknown_one_counted() {
    let server = Server::start().await;
    let connections = [
        (json!("online"), None),
        (json!("unknown"), None),
        (json!(null), None),
        (json!("4g"), Some("connection_unknown")),
        (json!(""), Some("connection_unknown")),
        (json!(true), Some("connection_type")),
        (json!(3), Some("connection_type")),
        (json!({"effectiveType": "4g"}), Some("connection_type")),
    ];
    for (index, (connection, _)) in connections.iter().enumerate() {
        let store_id = format!("connection-{index}");
        let t_ms = now_ms() / 60_000 * 60_000 - 60_000;
        let body = |terminal: &str| {
            let batch = Batch::new(&store_id).with("terminal_id", terminal);
            let batch = batch.push(json!({"m": "lcp_ms", "t": t_ms, "v": 1, "connection": "slow"}));
            let batch =
                batch.push(json!({"m": "lcp_ms", "t": t_ms, "v": 1, "connection": connection}));
            batch
                .push(json!({"m": "lcp_ms", "t": t_ms, "v": 1, "connection": connection}))
                .push_histogram(json!({"m": "idb_write_ms", "t": t_ms, "span_ms": 60_000, "connection": connection,
                    "buckets": [[5, 1]], "sum": 0.005, "min": 0.005, "max": 0.005}))
                .0
        };
        for answer in in_both(&server, body).await {
            assert_eq!(answer["accepted"], 4, "{connection}: {answer}");
            let named = connections[index].1 == Some("connection_type");
            let line = json!({"batch": 0, "sample": 1, "reason": "ignored_connection"});
            let lines = if named { json!([line]) } else { json!([]) };
            assert_eq!(answer["reasons"], lines, "{connection}");
        }
    }
    let page = server.metrics().await;
    for (value, kinds) in [("connection_unknown", 2.0), ("connection_type", 3.0)] {
        let ignored = page.value("tillwatch_ignored_values_total", &[("value", value)]);
        assert_eq!(ignored, kinds * 6.0, "{value}");
    }
    server.stop().await;
}

#[tokio::test]
async fn null_is_absent_wherever_it_stands() {
    let server = Server::start().await;
    let lists = [
        ("no histograms", json!({"histograms": null})),
        ("no samples", json!({"samples": null})),
        ("neither", json!({"samples": null, "histograms": null})),
        ("no batches", json!({"batches": null})),
        (
            "nothing that may be left out",
            json!({"batches": null, "histograms": null, "sent_at_ms": null,
            "session_id": null, "release": null, "source": null}),
        ),
    ];
    for (name, nulls) in &lists {
        let body = |terminal: &str| {
            let mut batch = Batch::new("null").filled(2).with("terminal_id", terminal);
            for (key, null) in nulls.as_object().unwrap() {
                batch = batch.with(key, null.clone());
            }
            batch.0
        };
        let samples = if nulls.get("samples").is_some() { 0 } else { 2 };
        let expected = json!({"accepted": samples, "duplicate": 0, "rejected": 0, "reasons": []});
        for answer in in_both(&server, body).await {
            assert_eq!(answer, expected, "{name}");
        }
        let among = |terminal: &str| many([&Batch(body(&format!("among-{terminal}")))]);
        for answer in in_both(&server, among).await {
            assert_eq!(answer, expected, "{name}, among many");
        }
    }
    // Where something must be, null is as good as nothing.
    let reply = server.post(&json!({"batches": null})).await;
    assert_eq!(reply.code(), "unsupported_version");
    for wrong in [json!(5), json!("x"), json!({}), json!(true), json!(false)] {
        let reply = server
            .post(&Batch::new("null").with("samples", wrong.clone()).0)
            .await;
        assert_eq!(reply.code(), "malformed_body", "{wrong}");
        let reply = server.post(&json!({"batches": wrong})).await;
        assert_eq!(reply.code(), "malformed_body", "{wrong}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_whole_number_is_that_number_however_it_is_written() {
    let server = Server::start().await;
    // A text, because a tree would write the second like the first.
    let text = |terminal: &str, seq: &str, version: &str| {
        let batch = Batch::new("whole").filled(1).with("terminal_id", terminal);
        let batch = batch
            .with("queue", QUEUE)
            .with("seq", "SEQ")
            .with("v", "VERSION");
        let text = batch.0.to_string().replace("\"SEQ\"", seq);
        text.replace("\"VERSION\"", version)
    };
    let pairs = [
        ("7", "7.0"),
        ("8.0", "8"),
        ("1000", "1e3"),
        ("1.5e1", "15"),
        ("9007199254740991", "9007199254740991.0"),
        ("0", "-0.0"),
    ];
    for (index, (first, second)) in pairs.iter().enumerate() {
        let terminal = format!("till-{index}");
        for (seq, version, expected) in [
            (first, "1", (1, 0, 0)),
            (second, "1.0", (0, 1, 0)),
            (first, "1e0", (0, 1, 0)),
        ] {
            let reply = server.post_with(&[], text(&terminal, seq, version)).await;
            assert_eq!(reply.status, 202, "{seq}: {}", reply.text());
            assert_eq!(reply.counts(), expected, "{seq}");
        }
        // Packed as a float of 64 bits, which some encoders make of every number.
        let value: f64 = second.parse().unwrap();
        let packed = Batch::new("whole").filled(1).with("terminal_id", terminal);
        let packed = packed
            .with("queue", QUEUE)
            .with("seq", value)
            .with("v", 1.0);
        let packed = rmp_serde::to_vec(&packed.0).unwrap();
        let reply = server
            .post_with(&[("content-type", "application/msgpack")], packed)
            .await;
        assert_eq!(reply.counts(), (0, 1, 0), "{second}");
    }
    // From 2^53 on a float may stand for several numbers.
    for (seq, version, code) in [
        ("9007199254740992.0", "1", "invalid_seq"),
        ("1e30", "1", "invalid_seq"),
        ("0.5", "1", "invalid_seq"),
        ("-1.0", "1", "invalid_seq"),
        ("1", "1.0000001", "unsupported_version"),
        ("1", "2.0", "unsupported_version"),
    ] {
        let reply = server.post_with(&[], text("till-x", seq, version)).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (422, code),
            "{seq} {version}"
        );
    }
    server.stop().await;
}
