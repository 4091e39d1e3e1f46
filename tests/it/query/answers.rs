//! The query API's form: what can be asked, and how it is answered.

use serde_json::{Value, json};

use crate::support::{Batch, Server, now_ms};

const MINUTE_MS: i64 = 60_000;

/// Two stores, two releases, three minutes: six values of one metric, one of them synthetic, and a counter.
async fn filled(server: &Server, base_ms: i64) {
    let one = Batch::new("store-1").with("release", "1.0")
        .push(json!({"m": "sync_duration_ms", "t": base_ms, "v": 100, "connection": "online"}))
        .push(json!({"m": "sync_duration_ms", "t": base_ms + 59_999, "v": 200, "connection": "slow"}))
        .push(json!({"m": "sync_duration_ms", "t": base_ms + 2 * MINUTE_MS, "v": 300, "connection": "online"}))
        .push(json!({"m": "sync_attempts", "t": base_ms, "v": 3, "label": "success"}))
        .push(json!({"m": "sync_attempts", "t": base_ms, "v": 1, "label": "failure"}));
    let two = Batch::new("store-2").with("release", "2.0")
        .push(json!({"m": "sync_duration_ms", "t": base_ms + 1, "v": 400, "connection": "online"}))
        .push(json!({"m": "sync_duration_ms", "t": base_ms + 2 * MINUTE_MS, "v": 500, "connection": "offline"}));
    let probe = Batch::new("store-2")
        .with("release", "2.0")
        .with("source", "synthetic")
        .push(json!({"m": "sync_duration_ms", "t": base_ms, "v": 9_000, "connection": "online"}));
    for batch in [&one, &two, &probe] {
        server.taken(&batch.0).await;
    }
}

#[tokio::test]
async fn answers_have_the_documented_form_wherever_the_rows_are() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let base_ms = (now_ms() / (5 * MINUTE_MS) - 2) * 5 * MINUTE_MS;
    filled(&server, base_ms).await;
    form(&server, base_ms).await;
    // Answers are the same to the letter when a seal and ClickHouse have taken over.
    let server = server.restart().await;
    server.wait_confirmed().await;
    form(&server, base_ms).await;
    server.stop().await;
}

async fn form(server: &Server, base_ms: i64) {
    let (from, to) = (base_ms.to_string(), (base_ms + 5 * MINUTE_MS).to_string());
    let ask = async |more: &[(&str, &str)]| {
        let mut parameters = vec![("metric", "sync_duration_ms"), ("from", &from), ("to", &to)];
        parameters.extend(more);
        server.percentiles(&parameters).await
    };
    let before = now_ms();
    let mut answer = ask(&[("q", "0.50,1,.5"), ("step", "60")]).await;
    let complete_to = answer
        .as_object_mut()
        .unwrap()
        .remove("complete_to")
        .unwrap()
        .as_i64()
        .unwrap();
    assert!((before..=now_ms()).contains(&complete_to), "{complete_to}");
    let expected = json!({
        "metric": "sync_duration_ms", "unit": "ms", "from": base_ms, "to": base_ms + 5 * MINUTE_MS, "step_s": 60,
        "relative_error": 0.001,
        "series": [{"points": [
            {"t": base_ms, "count": 3, "sum": 700.0, "min": 100.0, "max": 400.0, "over": [0, 0],
                "values": {"0.50": 200.063, "1": 400.0, ".5": 200.063}},
            {"t": base_ms + 2 * MINUTE_MS, "count": 2, "sum": 800.0, "min": 300.0, "max": 500.0, "over": [0, 0],
                "values": {"0.50": 300.031, "1": 500.0, ".5": 300.031}},
        ]}],
    });
    assert_eq!(
        without_values(&answer),
        without_values(&expected),
        "{answer}"
    );
    assert_values(&answer, &expected);

    // Without a step one point for the range, which starts where the range does.
    let answer = ask(&[("q", "1")]).await;
    assert_eq!(
        (&answer["step_s"], &answer["series"][0]["points"][0]["t"]),
        (&Value::Null, &json!(base_ms))
    );
    assert_eq!(answer["series"][0]["points"][0]["count"], 5);
    let answer = ask(&[("step", "5m")]).await;
    assert_eq!(
        (
            &answer["step_s"],
            &answer["series"][0]["points"][0]["count"]
        ),
        (&json!(300), &json!(5))
    );

    let counts = |answer: &Value, column: &str| -> Vec<(String, u64)> {
        let series = answer["series"].as_array().unwrap().iter();
        series
            .map(|one| {
                let name = one[column].as_str().unwrap_or_default().to_owned();
                let points = one["points"].as_array().unwrap().iter();
                (
                    name,
                    points.map(|point| point["count"].as_u64().unwrap()).sum(),
                )
            })
            .collect()
    };
    let pairs = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect::<Vec<_>>()
    };
    for (column, expected) in [
        ("store_id", pairs(&[("store-1", 3), ("store-2", 2)])),
        ("release", pairs(&[("1.0", 3), ("2.0", 2)])),
        (
            "connection",
            pairs(&[("offline", 1), ("online", 3), ("slow", 1)]),
        ),
        ("label", pairs(&[("", 5)])),
    ] {
        assert_eq!(
            counts(&ask(&[("group_by", column)]).await, column),
            expected,
            "{column}"
        );
        assert_eq!(
            counts(&ask(&[("group_by", column), ("step", "60")]).await, column),
            expected,
            "{column} by minutes"
        );
    }
    for (filter, expected) in [
        (&[("store_id", "store-1")][..], 3),
        (&[("release", "2.0")], 2),
        (&[("connection", "online")], 3),
        (&[("store_id", "store-2"), ("connection", "online")], 1),
        (&[("source", "all")], 6),
        (&[("source", "synthetic")], 1),
        (&[("source", "rum")], 5),
        (&[("metric_", "")][..0], 5),
    ] {
        assert_eq!(counts(&ask(filter).await, "")[0].1, expected, "{filter:?}");
    }
    // What could be there and is not: an empty answer. A store that nobody knows is named.
    for nothing in [("release", "3.0"), ("connection", "metered")] {
        assert_eq!(ask(&[nothing]).await["series"], json!([]), "{nothing:?}");
    }
    let mut parameters = vec![("metric", "sync_duration_ms"), ("from", &from), ("to", &to)];
    parameters.push(("store_id", "store-3"));
    let reply = server.get("/api/v1/percentiles", &parameters).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (404, "unknown_store")
    );
    assert!(reply.text().contains("store-3"), "{}", reply.text());
    // The greatest value is 500 ms, and a bucket that holds it ends at 500.223: no percentile lies outside.
    let answer = ask(&[("q", "0,0.99,1")]).await;
    let point = &answer["series"][0]["points"][0];
    for greatest in [
        &point["max"],
        &point["values"]["1"],
        &point["values"]["0.99"],
    ] {
        assert_eq!(greatest.as_f64(), Some(500.0));
    }
    let least = point["values"]["0"].as_f64().unwrap();
    assert!((100.0..=100.1).contains(&least), "{least}");
    // The end of the range is not in it, its start is.
    let later = (base_ms + MINUTE_MS).to_string();
    let parameters = [
        ("metric", "sync_duration"),
        ("from", from.as_str()),
        ("to", later.as_str()),
    ];
    let answer = server.percentiles(&parameters).await;
    assert_eq!(
        (counts(&answer, "")[0].1, &answer["metric"]),
        (3, &json!("sync_duration_ms")),
        "an alias asks for the same"
    );

    // A counter adds up and has no percentiles.
    let parameters = [
        ("metric", "sync_attempts"),
        ("from", &from),
        ("to", &to),
        ("group_by", "label"),
    ];
    let mut answer = server.percentiles(&parameters).await;
    for series in answer["series"].as_array_mut().unwrap() {
        let point = series["points"][0].as_object_mut().unwrap();
        assert_eq!(
            (point["min"].take(), point["max"].take()),
            (point["sum"].clone(), point["sum"].clone())
        );
    }
    let point = |sum: f64| json!([{"t": base_ms, "count": 1, "sum": sum, "min": null, "max": null, "over": [0, 0], "values": {}}]);
    let expected = json!([{"label": "failure", "points": point(1.0)}, {"label": "success", "points": point(3.0)}]);
    assert_eq!(answer["series"], expected);
    assert_eq!(answer["unit"], "count");
}

/// An answer without the percentiles themselves, but with their keys.
fn without_values(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for series in answer["series"].as_array_mut().unwrap() {
        for point in series["points"].as_array_mut().unwrap() {
            for value in point["values"].as_object_mut().unwrap().values_mut() {
                *value = json!(0);
            }
        }
    }
    answer
}

fn assert_values(answer: &Value, expected: &Value) {
    let values = |answer: &Value| -> Vec<f64> {
        let series = answer["series"].as_array().unwrap().iter();
        let points = series.flat_map(|series| series["points"].as_array().unwrap().clone());
        points
            .flat_map(|point| {
                point["values"]
                    .as_object()
                    .unwrap()
                    .values()
                    .map(|value| value.as_f64().unwrap())
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    for (found, expected) in values(answer).into_iter().zip(values(expected)) {
        // Never below the exact value, never more than a thousandth above it.
        assert!(
            (found - expected).abs() <= expected * 0.001,
            "{found} for {expected}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_name() {
    let server = Server::start().await;
    let now = now_ms();
    let (now_text, year) = (now.to_string(), (now - 365 * 86_400_000).to_string());
    let long = vec!["0.5"; 21].join(",");
    let cases: Vec<(Vec<(&str, &str)>, u16, &str, &str)> = vec![
        (vec![], 400, "bad_parameter", "metric"),
        (vec![("metric", "")], 400, "bad_parameter", "metric"),
        (vec![("metric", "nope")], 404, "unknown_metric", "nope"),
        (
            vec![("metric", "lcp_ms"), ("q", "95")],
            400,
            "bad_parameter",
            "q ",
        ),
        (
            vec![("metric", "lcp_ms"), ("q", "0.5,,0.9")],
            400,
            "bad_parameter",
            "q ",
        ),
        (
            vec![("metric", "lcp_ms"), ("q", "NaN")],
            400,
            "bad_parameter",
            "q ",
        ),
        (
            vec![("metric", "lcp_ms"), ("q", "-0.5")],
            400,
            "bad_parameter",
            "q ",
        ),
        (
            vec![("metric", "lcp_ms"), ("q", &long)],
            400,
            "bad_parameter",
            "q ",
        ),
        (
            vec![("metric", "lcp_ms"), ("from", "yesterday")],
            400,
            "bad_parameter",
            "from",
        ),
        (
            vec![("metric", "lcp_ms"), ("from", "-1")],
            400,
            "bad_parameter",
            "from",
        ),
        (
            vec![("metric", "lcp_ms"), ("to", "99999999999999999999")],
            400,
            "bad_parameter",
            "to",
        ),
        (
            vec![("metric", "lcp_ms"), ("from", &now_text), ("to", &now_text)],
            400,
            "bad_parameter",
            "from",
        ),
        (
            vec![("metric", "lcp_ms"), ("step", "0")],
            400,
            "bad_parameter",
            "step",
        ),
        (
            vec![("metric", "lcp_ms"), ("step", "61")],
            400,
            "bad_parameter",
            "step",
        ),
        (
            vec![("metric", "lcp_ms"), ("step", "-60")],
            400,
            "bad_parameter",
            "step",
        ),
        (
            vec![("metric", "lcp_ms"), ("step", "1w")],
            400,
            "bad_parameter",
            "step",
        ),
        (
            vec![("metric", "lcp_ms"), ("group_by", "terminal_id")],
            400,
            "bad_parameter",
            "group_by",
        ),
        (
            vec![("metric", "lcp_ms"), ("store", "store-1")],
            400,
            "bad_parameter",
            "store",
        ),
        (
            vec![("metric", "lcp_ms"), ("from", &year), ("step", "60")],
            422,
            "too_large",
            "11000",
        ),
    ];
    for (parameters, status, code, word) in cases {
        let reply = server.get("/api/v1/percentiles", &parameters).await;
        let message = reply.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{parameters:?}: {message}"
        );
        assert!(message.contains(word), "{parameters:?}: {message}");
    }

    // The same of every other address: a parameter that means nothing there, or cannot be right.
    let cases: [(&str, &[(&str, &str)], u16, &str); 9] = [
        (
            "/api/v1/percentiles",
            &[("metric", "lcp_ms"), ("store_id", "a"), ("store_id", "b")],
            400,
            "store_id",
        ),
        (
            "/api/v1/percentiles",
            &[("metric", "lcp_ms"), ("store_id", "nobody")],
            404,
            "nobody",
        ),
        (
            "/api/v1/stores",
            &[("limit", "10"), ("limit", "20")],
            400,
            "limit",
        ),
        ("/api/v1/stores", &[("limit", "")], 400, "limit"),
        (
            "/api/v1/terminals",
            &[("store_id", "a"), ("hours", "1"), ("hours", "2")],
            400,
            "hours",
        ),
        (
            "/api/v1/terminals",
            &[("store_id", "nobody")],
            404,
            "nobody",
        ),
        ("/api/v1/metrics", &[("metric", "lcp_ms")], 400, "metric"),
        (
            "/api/v1/sessions/0123456789abcdef0123456789abcdef",
            &[("store_id", "a")],
            400,
            "store_id",
        ),
        ("/api/v1/clock", &[("at", "1")], 400, "at"),
    ];
    for (path, parameters, status, word) in cases {
        let reply = server.get(path, parameters).await;
        let message = reply.json()["error"]["message"].to_string();
        assert_eq!(reply.status, status, "{path} {parameters:?}: {message}");
        assert!(message.contains(word), "{path} {parameters:?}: {message}");
    }

    // Two hundred series are answered, one more is too many; so are many short ones.
    let stores = |numbers: std::ops::Range<u32>| {
        let batches: Vec<Batch> = numbers
            .map(|number| Batch::new(&format!("s{number:03}")).value("lcp_ms", now, 1.0))
            .collect();
        crate::support::many(&batches)
    };
    server.taken(&stores(0..200)).await;
    let by_store = [("metric", "lcp_ms"), ("group_by", "store_id")];
    assert_eq!(
        server.percentiles(&by_store).await["series"]
            .as_array()
            .unwrap()
            .len(),
        200
    );
    server.taken(&stores(200..201)).await;
    let reply = server.get("/api/v1/percentiles", &by_store).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (422, "too_large"),
        "{}",
        reply.text()
    );

    let listed = server.get("/api/v1/stores", &[]).await.json();
    let stores = listed["stores"].as_array().unwrap();
    assert_eq!(stores.len(), 201);
    let reported = stores[0]["last_report_ms"].as_i64().unwrap();
    assert!((now..=now_ms()).contains(&reported));
    let mut first = stores[0].clone();
    first["last_report_ms"].take();
    assert_eq!(
        first,
        json!({"store_id": "s000", "last_report_ms": null, "terminals": 1, "terminals_reporting": 1})
    );
    server.stop().await;
}

/// The names of an answer's series, in its order.
fn names(answer: &Value) -> Vec<String> {
    let series = answer["series"].as_array().unwrap().iter();
    series
        .map(|one| one["store_id"].as_str().unwrap().to_owned())
        .collect()
}

/// 260 stores, of which half have values that have come to ClickHouse and all have some that have not: more
/// than an answer may have, but for the first of them.
#[tokio::test]
async fn the_worst_of_any_number_of_stores_are_found_wherever_their_rows_are() {
    const STORES: u64 = 260;
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let base_ms = (now_ms() / MINUTE_MS - 5) * MINUTE_MS;
    // Each value is its own bucket, so that percentiles are exact: the p95 of store n is its greatest value.
    let post = async |server: &Server, seq: u64, of: &dyn Fn(u64) -> Option<Vec<u64>>| {
        let batches = (0..STORES).filter_map(|number| {
            let values = of(number)?.into_iter();
            let batch = Batch::new(&format!("w{number:03}"))
                .with(
                    "queue",
                    uuid::Uuid::from_u128(u128::from(number) + 1).to_string(),
                )
                .seq(seq);
            Some(values.fold(batch, |batch, value| {
                batch.push(json!({"m": "pending_transactions", "t": base_ms, "v": value}))
            }))
        });
        server
            .taken(&crate::support::many(&batches.collect::<Vec<_>>()))
            .await;
    };
    // In ClickHouse the even stores are slow, store 100 the most.
    post(&server, 1, &|number| {
        (number % 2 == 0).then(|| vec![1, if number == 100 { 1_700 } else { 500 + number }])
    })
    .await;
    let server = server.restart().await;
    server.wait_confirmed().await;
    // Store 7 has only just become the slowest, and store 100 has been well for most of its values since.
    post(&server, 2, &|number| {
        Some(match number {
            7 => vec![1_900],
            100 => vec![2; 60],
            _ => vec![3],
        })
    })
    .await;
    let ask = async |more: &[(&str, &str)]| {
        let from = (base_ms - MINUTE_MS).to_string();
        let mut parameters = vec![
            ("metric", "pending_transactions"),
            ("group_by", "store_id"),
            ("from", &from),
        ];
        parameters.extend(more);
        server.get("/api/v1/percentiles", &parameters).await
    };
    let reply = ask(&[]).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "too_large"));
    assert!(reply.text().contains("order_by"), "{}", reply.text());
    let first = |order_by: &'static str, limit: &'static str| {
        let ask = &ask;
        async move {
            let reply = ask(&[("order_by", order_by), ("limit", limit), ("q", "0.95")]).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.json()
        }
    };
    let by_p95 = first("0.95", "4").await;
    assert_eq!(names(&by_p95), ["w007", "w258", "w256", "w254"]);
    assert_eq!(by_p95["series_total"], STORES);
    let value = |at: usize| by_p95["series"][at]["points"][0]["values"]["0.95"].as_f64();
    assert_eq!((value(0), value(1)), (Some(1_900.0), Some(758.0)));
    assert_eq!(names(&first("max", "2").await), ["w007", "w100"]);
    assert_eq!(names(&first("count", "2").await), ["w100", "w000"]);
    // Over 1,000: stores 7 and 100, once each; then those over 800 would come: there are none.
    assert_eq!(names(&first("over", "3").await), ["w007", "w100", "w000"]);
    assert_eq!(names(&first("sum", "2").await), ["w007", "w100"]);
    // With a step the order is that of the whole range.
    let stepped = ask(&[("order_by", "0.95"), ("limit", "2"), ("step", "1m")]).await;
    assert_eq!(names(&stepped.json()), ["w007", "w258"]);
    // The same once everything is at rest.
    let server = server.restart().await;
    server.wait_confirmed().await;
    let from = (base_ms - MINUTE_MS).to_string();
    let parameters = [
        ("metric", "pending_transactions"),
        ("group_by", "store_id"),
        ("from", from.as_str()),
        ("order_by", "0.95"),
        ("limit", "4"),
        ("q", "0.95"),
    ];
    let at_rest = server.percentiles(&parameters).await;
    assert_eq!(at_rest["series"], by_p95["series"]);
    // The refusal comes before anything is merged.
    let reads = async || {
        let page = server.metrics().await;
        page.sum("tillwatch_query_reads_total", &[])
    };
    let before = reads().await;
    let refused = server.get("/api/v1/percentiles", &parameters[..3]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "too_large")
    );
    assert_eq!(reads().await, before);
    server.stop().await;
}

/// 60 stores with 190 minutes each: few series, short ones, and yet too many points.
#[tokio::test]
async fn points_are_counted_over_all_series() {
    let server = Server::start().await;
    let now = now_ms();
    for store in 0..60 {
        let mut batch = Batch::new(&format!("p{store}"));
        for minute in 0..190 {
            batch = batch.value("lcp_ms", now - minute * MINUTE_MS, 1.0);
        }
        server.taken(&batch.0).await;
    }
    let from = (now - 191 * MINUTE_MS).to_string();
    let parameters = [
        ("metric", "lcp_ms"),
        ("group_by", "store_id"),
        ("step", "60"),
        ("from", &from),
    ];
    let reply = server.get("/api/v1/percentiles", &parameters).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "too_large"));
    let server = server.restart().await;
    server.wait_confirmed().await;
    let reply = server.get("/api/v1/percentiles", &parameters).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (422, "too_large"),
        "from ClickHouse as well"
    );
    let coarser = [
        ("metric", "lcp_ms"),
        ("group_by", "store_id"),
        ("step", "5m"),
        ("from", &from),
    ];
    let answer = server.percentiles(&coarser).await;
    let counts = answer["series"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|series| series["points"].as_array().unwrap());
    assert_eq!(
        counts
            .map(|point| point["count"].as_u64().unwrap())
            .sum::<u64>(),
        60 * 190
    );
    server.stop().await;
}
