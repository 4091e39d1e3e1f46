//! A batch as a whole: identity, consent, release, and many at once.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Batch, Server, many, now_ms};

#[tokio::test]
async fn a_batch_that_cannot_be_identified_is_refused_with_its_reason() {
    let server = Server::start().await;
    let good = || {
        let terminal_id = Uuid::new_v4().to_string();
        Batch::new("store")
            .with("terminal_id", terminal_id)
            .filled(2)
    };
    let odd = [
        json!(null),
        json!(7.5),
        json!(1e16),
        json!(""),
        json!(["a"]),
        json!({"a": 1}),
        json!(true),
        json!("läden"),
        json!("a b"),
        json!("x".repeat(65)),
        json!("a/b"),
        json!("\u{0}"),
        json!("🏪"),
    ];
    let mut cases: Vec<(Batch, &str)> = Vec::new();
    for value in &odd {
        cases.push((good().with("store_id", value.clone()), "invalid_store_id"));
        cases.push((
            good().with("terminal_id", value.clone()),
            "invalid_terminal_id",
        ));
        cases.push((good().with("queue", value.clone()), "invalid_queue"));
    }
    cases.push((good().without("store_id"), "invalid_store_id"));
    cases.push((good().without("terminal_id"), "invalid_terminal_id"));
    cases.push((good().without("queue"), "invalid_queue"));
    cases.push((
        good().with("queue", "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f1"),
        "invalid_queue",
    ));
    for seq in [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(1e30),
        json!([1]),
        json!(true),
    ] {
        cases.push((good().with("seq", seq), "invalid_seq"));
    }
    cases.push((good().without("seq"), "invalid_seq"));
    for v in [
        json!(null),
        json!(0),
        json!(2),
        json!("1"),
        json!(-1),
        json!(1.5),
    ] {
        cases.push((good().with("v", v), "unsupported_version"));
    }
    cases.push((good().without("v"), "unsupported_version"));
    for source in [json!("RUM"), json!(""), json!(1), json!("probe")] {
        cases.push((good().with("source", source), "invalid_source"));
    }
    for (batch, reason) in &cases {
        let reply = server.post(&batch.0).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (422, *reason),
            "{}",
            batch.0
        );
        // In the form of many it is refused alone, and the answer says which.
        let beside = good();
        let reply = server.post(&many([batch, &beside])).await;
        assert_eq!(
            (reply.status, reply.counts()),
            (202, (2, 0, 2)),
            "{}",
            batch.0
        );
        let expected = json!([{"batch": 0, "sample": null, "reason": reason}]);
        assert_eq!(reply.json()["reasons"], expected, "{}", batch.0);
    }
    let page = server.metrics().await;
    let refused = cases
        .iter()
        .filter(|(_, reason)| *reason == "invalid_queue")
        .count();
    let counted = page.value(
        "tillwatch_samples_rejected_total",
        &[("reason", "invalid_queue")],
    );
    assert_eq!(
        counted,
        (refused * 4) as f64,
        "two samples, posted alone and among others"
    );

    for good in [
        good().with("store_id", "A.b_c:9-Z"),
        good().with("terminal_id", "x".repeat(64)),
        good().without("source"),
        good().with("source", "synthetic"),
        good().with("seq", u64::MAX),
        good().with("queue", Uuid::new_v4().simple().to_string()),
    ] {
        assert_eq!(server.taken(&good.0).await, (2, 0, 0), "{}", good.0);
    }
    server.stop().await;
}

#[tokio::test]
async fn without_consent_nothing_is_stored_and_the_number_is_known() {
    let server = Server::start().await;
    for (index, consent) in [
        json!(false),
        json!(null),
        json!("true"),
        json!(1),
        Value::Null,
    ]
    .into_iter()
    .enumerate()
    {
        let batch = Batch::new("private")
            .filled(3)
            .with("session_id", "cashier-4711");
        let batch = if index == 4 {
            batch.without("consent")
        } else {
            batch.with("consent", consent.clone())
        };
        let reply = server.post(&batch.0).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (422, "no_consent"),
            "{consent}"
        );
        let again = server.post(&batch.clone().with("consent", true).0).await;
        assert_eq!(
            (again.status, again.counts()),
            (202, (0, 3, 0)),
            "{consent}: the first content wins"
        );
        let reply = server
            .post(&many([&batch
                .next()
                .filled(3)
                .with("consent", consent.clone())]))
            .await;
        assert_eq!(
            (reply.status, reply.counts()),
            (202, (0, 0, 3)),
            "{consent}"
        );
        assert_eq!(reply.reasons(), [(0, None, "no_consent".to_owned())]);
    }
    let answer = server
        .percentiles(&[("metric", "lcp_ms"), ("store_id", "private")])
        .await;
    assert_eq!(answer["series"], json!([]));
    // What the cashier is called stands nowhere on the disk, with consent or without.
    let batch = Batch::new("private")
        .filled(1)
        .with("session_id", "cashier-4711-secret");
    assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    for file in files_below(&server.folder().join("data")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let is_there = bytes.windows(12).any(|window| window == b"cashier-4711");
        assert!(!is_there, "a session's name in {}", file.display());
    }
    server.stop().await;
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn an_odd_release_is_taken_under_a_name_that_says_so() {
    let server = Server::start().await;
    let odd = [
        json!(""),
        json!("2.4.1 beta"),
        json!("v".repeat(65)),
        json!(2.10),
        json!(3.0),
        json!("ä"),
        json!({"a": 1}),
        json!([]),
    ];
    for release in &odd {
        let batch = Batch::new("odd").filled(1).with("release", release.clone());
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0), "{release}");
    }
    for release in [json!("2.4.1+build.7"), json!("v".repeat(64)), json!(null)] {
        assert_eq!(
            server
                .taken(&Batch::new("odd").filled(1).with("release", release).0)
                .await,
            (1, 0, 0)
        );
    }
    assert_eq!(
        server
            .taken(&Batch::new("odd").filled(1).without("release").0)
            .await,
        (1, 0, 0)
    );
    let answer = server
        .percentiles(&[("metric", "lcp_ms"), ("group_by", "release")])
        .await;
    let counts: Vec<(&str, u64)> = answer["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            (
                series["release"].as_str().unwrap(),
                series["points"][0]["count"].as_u64().unwrap(),
            )
        })
        .collect();
    let long = "v".repeat(64);
    assert_eq!(
        counts,
        [
            ("2.4.1+build.7", 1),
            ("__invalid__", odd.len() as u64),
            ("unknown", 2),
            (long.as_str(), 1)
        ]
    );
    let invalid = server
        .metrics()
        .await
        .value("tillwatch_invalid_releases_total", &[]);
    assert_eq!(invalid, odd.len() as f64);
    server.stop().await;
}

#[tokio::test]
async fn of_many_batches_each_has_its_own_outcome() {
    let server = Server::start().await;
    let t_ms = now_ms();
    let first = Batch::new("a").filled(2);
    let second = Batch::new("b").filled(3).value("no_such_metric", t_ms, 1.0);
    let nameless = Batch::new("c").filled(4).without("store_id");
    let refused = Batch::new("d").filled(5).with("consent", false);
    let histogram = json!({"m": "idb_write_ms", "t": 0, "span_ms": 60_000, "buckets": [[1, 7]], "sum": 0.007, "min": 0.001, "max": 0.001});
    let third = Batch::new("a").filled(1).push_histogram(histogram);
    let batches = [&first, &second, &nameless, &first, &refused, &third];
    let mut body = many(batches);
    // Inside a batch of many this key means nothing, not even when it is wrong.
    body["batches"][0]["sent_at_ms"] = json!(1);
    body["batches"][1]["sent_at_ms"] = json!("yesterday");
    let reply = server.post(&body).await;
    let expected = json!({"accepted": 6, "duplicate": 2, "rejected": 17, "reasons": [
        {"batch": 1, "sample": 3, "reason": "unknown_metric"},
        {"batch": 2, "sample": null, "reason": "invalid_store_id"},
        {"batch": 4, "sample": null, "reason": "no_consent"},
        // A histogram is numbered after the samples, and weighs its counts.
        {"batch": 5, "sample": 1, "reason": "too_old"},
    ]});
    assert_eq!((reply.status, reply.json()), (202, expected));
    assert_eq!(
        server.taken(&body).await,
        (0, 2 + 4 + 2 + 5 + 8, 4),
        "sent again"
    );
    assert_eq!(server.taken(&json!({"batches": []})).await, (0, 0, 0));

    // Things in the list that are no batches spoil only themselves.
    let body =
        json!({"batches": [null, 5, "batch", [], {}, first.next().filled(1).0, {"samples": 5}]});
    let reply = server.post(&body).await;
    assert_eq!(
        (reply.status, reply.counts().0),
        (202, 1),
        "{}",
        reply.text()
    );
    assert_eq!(reply.reasons().len(), 6);
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_unknown_keys_total", &[]),
        0.0
    );

    // The list of reasons is capped, the counts are not.
    let bad = (0..300).fold(Batch::new("a"), |batch, _| batch.value("nope", t_ms, 1.0));
    let reply = server.post(&bad.0).await;
    assert_eq!((reply.counts(), reply.reasons().len()), ((0, 0, 300), 100));
    server.stop().await;
}

/// Past the cap a name is no series of its own, but nothing is lost, and the cap is durable.
#[tokio::test]
async fn names_past_the_cap_share_one() {
    let server = Server::start_with(&[
        ("TILLWATCH_STORE_LIST", "cap-0,cap-1,cap-2"),
        ("TILLWATCH_RELEASES_MAX", "8"),
    ])
    .await;
    let posts = async |server: &Server| {
        for number in 0..6 {
            let batch = Batch::new(&format!("cap-{number}")).with("release", "0.0");
            assert_eq!(server.taken(&batch.filled(2).0).await, (2, 0, 0));
        }
        // One store may bring two new releases a day.
        for release in ["1.0", "2.0", "3.0"] {
            let batch = Batch::new("cap-0").with("release", release);
            assert_eq!(server.taken(&batch.filled(2).0).await, (2, 0, 0));
        }
    };
    posts(&server).await;
    let server = server.kill_and_restart().await;
    posts(&server).await;
    let by = async |server: &Server, column: &str| -> Vec<(String, u64)> {
        let answer = server
            .percentiles(&[("metric", "lcp_ms"), ("group_by", column)])
            .await;
        let series = answer["series"].as_array().unwrap().iter();
        let pair = |one: &Value| {
            let name = one[column].as_str().unwrap().to_owned();
            (name, one["points"][0]["count"].as_u64().unwrap())
        };
        series.map(pair).collect()
    };
    let stores = by(&server, "store_id").await;
    let named = |names: &[(&str, u64)]| {
        let pairs = names.iter();
        pairs
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        stores,
        named(&[
            ("__overflow__", 12),
            ("cap-0", 16),
            ("cap-1", 4),
            ("cap-2", 4)
        ])
    );
    let releases = by(&server, "release").await;
    assert_eq!(
        releases,
        named(&[("0.0", 24), ("1.0", 4), ("__overflow__", 8)])
    );
    server.stop().await;
}
