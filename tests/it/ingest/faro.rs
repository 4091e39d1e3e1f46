//! Payloads of Grafana Faro's Web SDK: what becomes of each item, who they are of, and what counts once.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Reply, Server, now_ms, run, said};

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// A time as the SDK writes it.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// A payload of a page whose person has consented.
fn payload(store: &str, lists: &Value) -> Value {
    let mut payload = json!({"meta": {
        "sdk": {"name": "@grafana/faro-web-sdk", "version": "2.12.1", "integrations": [{"name": "x", "version": "1"}]},
        "app": {"name": "pos", "version": "2.4.1", "environment": "production", "installationId": "till-7"},
        "session": {"id": "aB.c_d@1:2-3", "attributes": {"store_id": store, "consent": "true", "isSampled": "true", "cohort": "canary"}},
        "page": {"url": "https://till.example.com/sale"},
        "browser": {"name": "Chrome", "mobile": false, "brands": [{"brand": "Chromium", "version": "1"}], "viewportWidth": "1024"},
    }});
    for (list, items) in lists.as_object().unwrap() {
        payload[list] = items.clone();
    }
    payload
}

fn vital(metric: &str, value: f64, visit: &str) -> Value {
    json!({"type": "web-vitals", "timestamp": time(now_ms()), "values": {metric: value, "delta": value, "resource_load_delay": 3},
        "context": {"id": visit, "rating": "good", "navigation_type": "navigate"}})
}

async fn post_to(
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Reply {
    let mut request = server.request(reqwest::Method::POST, path).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request.send().await.unwrap()).await
}

async fn post(server: &Server, body: &Value) -> Reply {
    post_to(server, "/collect", &[JSON], body.to_string()).await
}

async fn counts(server: &Server, body: &Value) -> (u64, u64, u64) {
    let reply = post(server, body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.counts()
}

/// How many values of a metric a store has, and the greatest.
async fn found(server: &Server, metric: &str, store: &str) -> (u64, f64) {
    server.wait_applied().await;
    let answer = server
        .percentiles(&[("metric", metric), ("store_id", store)])
        .await;
    let mut found = (0, 0.0_f64);
    for series in answer["series"].as_array().unwrap() {
        for point in series["points"].as_array().unwrap() {
            found.0 += point["count"].as_u64().unwrap();
            found.1 = found.1.max(point["max"].as_f64().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_payload_of_the_sdk_becomes_samples_events_and_errors() {
    let server = Server::start().await;
    let now = time(now_ms());
    let items = json!({
        "measurements": [
            vital("lcp", 1_890.2, "v-1"),
            vital("cls", 0.05, "v-2"),
            {"type": "pos", "timestamp": now, "values": {"sync_duration_ms": "812", "sync_payload_bytes": 4_000, "made_up_ms": 1}, "context": {"connection": "offline"}},
            {"type": "sync_duration_ms", "timestamp": now, "values": {"value": 300}},
            "no measurement",
        ],
        "events": [
            {"name": "session_start", "domain": "browser", "timestamp": now, "attributes": {"who": "Anna"}},
            {"name": "", "timestamp": now},
        ],
        "exceptions": [{"type": "TypeError", "value": "cannot read 'Anna'", "timestamp": now, "fatal": true,
            "stacktrace": {"frames": [{"function": "pay", "filename": "https://till.example.com/app.js", "lineno": 3, "colno": 9, "in_app": true}]}}],
        "logs": [{"message": "secret", "level": "warn", "timestamp": now}, {"message": "x", "level": "warning", "timestamp": now}],
        "traces": {"resourceSpans": [{"scopeSpans": []}]},
    });
    let headers = [JSON, ("x-faro-session-id", "aB.c_d@1:2-3")];
    let reply = post_to(
        &server,
        "/collect/app-key",
        &headers,
        payload("store-1", &items).to_string(),
    )
    .await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.header("x-faro-session-status"), "valid");
    let answer = reply.json();
    let expected = json!([
        {"measurement": 2, "reason": "unknown_metric"},
        {"measurement": 4, "reason": "malformed_sample"},
        {"event": 1, "reason": "invalid_name"},
    ]);
    assert_eq!(
        (reply.counts(), &answer["reasons"]),
        ((7, 0, 3), &expected),
        "{answer}"
    );
    assert_eq!(
        (&answer["ignored"]["logs"], &answer["ignored"]["traces"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(found(&server, "sync_duration_ms", "store-1").await.0, 2);
    assert_eq!(found(&server, "lcp_ms", "store-1").await.0, 1);
    let terminals = server
        .get("/api/v1/terminals", &[("store_id", "store-1")])
        .await
        .text();
    assert!(terminals.contains("till-7"), "{terminals}");
    server.stop().await;
}

#[tokio::test]
async fn of_a_page_visit_one_report_counts_and_a_resend_is_answered_as_before() {
    let server = Server::start().await;
    let of = |reports: &[Value]| payload("visits", &json!({"measurements": reports}));
    let both = of(&[
        vital("inp", 40.0, "v-1"),
        vital("lcp", 900.0, "v-1"),
        vital("inp", 80.0, "v-1"),
    ]);
    assert_eq!(counts(&server, &both).await, (2, 1, 0));
    assert_eq!(found(&server, "inp_ms", "visits").await.0, 1);
    let again = post(&server, &both).await;
    assert_eq!(
        (again.counts(), again.header("idempotent-replayed")),
        ((2, 1, 0), "true")
    );
    // A later request of the same visit.
    assert_eq!(
        counts(
            &server,
            &of(&[vital("inp", 120.0, "v-1"), vital("fcp", 300.0, "v-1")])
        )
        .await,
        (1, 1, 0)
    );
    // Another visit, and one of another store.
    assert_eq!(
        counts(&server, &of(&[vital("inp", 120.0, "v-2")])).await,
        (1, 0, 0)
    );
    let other = payload(
        "visits-2",
        &json!({"measurements": [vital("inp", 9.0, "v-1")]}),
    );
    assert_eq!(counts(&server, &other).await, (1, 0, 0));
    // What was rejected is not known: a report that can be taken counts.
    assert_eq!(
        counts(&server, &of(&[vital("inp", -1.0, "v-3")])).await,
        (0, 0, 1)
    );
    assert_eq!(
        counts(&server, &of(&[vital("inp", 10.0, "v-3")])).await,
        (1, 0, 0)
    );
    assert_eq!(found(&server, "inp_ms", "visits").await.0, 3);
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_makes_a_resend_known_and_more_than_fifty_events_are_taken() {
    let server = Server::start().await;
    let now = time(now_ms());
    let events = vec![json!({"name": "click", "timestamp": now}); 130];
    let body = payload("keys", &json!({"events": events})).to_string();
    let headers = [JSON, ("idempotency-key", "5f0c6a52")];
    for replayed in ["", "true"] {
        let reply = post_to(&server, "/collect", &headers, body.clone()).await;
        assert_eq!(
            (reply.status, reply.counts()),
            (202, (130, 0, 0)),
            "{}",
            reply.text()
        );
        assert_eq!(reply.header("idempotent-replayed"), replayed);
        assert_eq!(reply.header("x-faro-session-status"), "", "nobody asked");
    }
    server.outcomes_add_up().await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_kept_while_offline_counts_when_it_happened_for_a_day() {
    let server = Server::start().await;
    let hour_ms = 3_600_000;
    let at = |ms: i64| json!({"type": "sync_duration_ms", "timestamp": time(ms), "values": {"value": 5}});
    let now = now_ms();
    let body = payload(
        "late",
        &json!({"measurements": [
            at(now - 23 * hour_ms),
            at(now - 25 * hour_ms),
            {"type": "sync_duration_ms", "timestamp": "yesterday", "values": {"value": 5}},
            {"type": "sync_duration_ms", "values": {"value": 5}},
            at(now + hour_ms),
        ]}),
    );
    let reply = post(&server, &body).await;
    let reasons = json!([
        {"measurement": 1, "reason": "too_old"},
        {"measurement": 2, "reason": "invalid_time"},
        {"measurement": 4, "reason": "in_future"},
    ]);
    assert_eq!(
        (reply.counts(), &reply.json()["reasons"]),
        ((2, 0, 3), &reasons)
    );
    server.stop().await;
}

#[tokio::test]
async fn without_consent_or_a_store_nothing_is_stored_unless_the_door_takes_it_for_granted() {
    let now = time(now_ms());
    let items = json!({"events": vec![json!({"name": "e", "timestamp": now}); 60], "logs": [{"timestamp": now}],
        "measurements": [vital("lcp", 5.0, "v-1"), vital("lcp", 6.0, "v-1")]});
    let mut silent = payload("s", &items);
    silent["meta"]["session"]["attributes"] = json!({"store_id": "s"});
    let mut denied = payload("s", &items);
    denied["meta"]["session"]["attributes"]["consent"] = json!(false);
    let mut nowhere = payload("s", &items);
    nowhere["meta"] = json!({"session": {"attributes": {"consent": true}}});

    let server = Server::start().await;
    for (body, expected) in [
        (&silent, "no_consent"),
        (&denied, "no_consent"),
        (&nowhere, "no_store"),
    ] {
        let reply = post(&server, body).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (422, expected),
            "{}",
            reply.text()
        );
    }
    server.stop().await;

    let environment = [
        ("TILLWATCH_DOORS_FARO_CONSENT", "assumed"),
        ("TILLWATCH_DOORS_FARO_STORE", "the-store"),
        ("TILLWATCH_DOORS_FARO_LOGS", "true"),
    ];
    let server = Server::start_with(&environment).await;
    assert_eq!(counts(&server, &silent).await, (62, 1, 0));
    assert_eq!(counts(&server, &nowhere).await, (62, 1, 0));
    let reply = post(&server, &denied).await;
    assert_eq!((reply.status, &*reply.code()), (422, "no_consent"));
    let terminals = server
        .get("/api/v1/terminals", &[("store_id", "the-store")])
        .await
        .text();
    assert!(terminals.contains("\"faro\""), "{terminals}");
    server.stop().await;
}

#[tokio::test]
async fn bodies_are_packed_and_written_as_clients_do_and_what_is_none_is_told_so() {
    let server = Server::start().await;
    let body = payload(
        "packed",
        &json!({"measurements": [vital("lcp", 5.0, "v-1")]}),
    )
    .to_string();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let gzip = [JSON, ("content-encoding", "gzip")];
    let reply = post_to(&server, "/collect", &gzip, packed.clone()).await;
    assert_eq!(reply.counts(), (1, 0, 0));
    // The same body is the same, however it is packed.
    let marked = post_to(&server, "/collect", &gzip, body.clone()).await;
    assert_eq!(
        (marked.status, marked.header("idempotent-replayed")),
        (202, "true")
    );
    let with_mark = format!(
        "\u{feff}{}",
        payload("packed", &json!({"events": [{"name": "e"}]}))
    );
    assert_eq!(
        post_to(&server, "/collect", &[], with_mark).await.counts(),
        (1, 0, 0)
    );

    let native = crate::support::Batch::new("s").filled(1).0.to_string();
    let cut = packed[..packed.len() - 9].to_vec();
    let deep = format!(
        "{{\"meta\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let refused: [(&str, &[(&str, &str)], Vec<u8>, u16, &str); 9] = [
        ("nothing", &[JSON], Vec::new(), 400, "malformed_body"),
        ("a list", &[JSON], b"[]".to_vec(), 400, "malformed_body"),
        (
            "cut off",
            &[JSON],
            body.as_bytes()[..body.len() - 5].to_vec(),
            400,
            "malformed_body",
        ),
        (
            "not UTF-8",
            &[JSON],
            b"{\"meta\":\"\xff\"}".to_vec(),
            400,
            "malformed_body",
        ),
        ("bad gzip", &gzip, cut, 400, "damaged_compression"),
        (
            "a form",
            &[("content-type", "multipart/form-data")],
            body.clone().into(),
            415,
            "unsupported_content_type",
        ),
        (
            "too many",
            &[JSON],
            format!("{{\"meta\":{{}},\"events\":[{}1]}}", "1,".repeat(50_000)).into(),
            413,
            "too_many_samples",
        ),
        ("deep", &[JSON], deep.into(), 422, "no_store"),
        ("native", &[JSON], native.into(), 400, "malformed_body"),
    ];
    for (name, headers, body, status, code) in refused {
        let reply = post_to(&server, "/collect", headers, body).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (status, code),
            "{name}: {}",
            reply.text()
        );
        assert_eq!(
            name == "native",
            reply.text().contains("/v1/batches"),
            "{name}: {}",
            reply.text()
        );
    }
    let reply = server.post_with(&[JSON], body).await;
    assert_eq!((reply.status, &*reply.code()), (400, "malformed_body"));
    assert!(reply.text().contains("/collect"), "{}", reply.text());
    let reply = Reply::of(
        server
            .request(reqwest::Method::GET, "/collect")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((reply.status, &*reply.code()), (405, "method_not_allowed"));
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_and_post_with_the_key_of_its_application() {
    let folder = tempfile::tempdir().unwrap();
    let origin = "https://till.example.com";
    let environment = [
        ("TILLWATCH_AUTH", "required"),
        ("TILLWATCH_BROWSER_APP_KEYS", "true"),
        ("TILLWATCH_CORS_ORIGINS", origin),
    ];
    let own = folder.path().join("data").display().to_string();
    let made = async |command: &str, arguments: &[&str]| {
        let arguments = [arguments, &["--data-dir", &own]].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let output = run(command, arguments).await;
        let (is_made, text) = said(&output);
        assert!(is_made, "{text}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    made("token", &["key", "new"]).await;
    let app = [
        "new", "--scope", "app", "--name", "shop", "--store", "store-1",
    ];
    let key = made("key", &app).await;
    let key = key.as_str();
    let server = Server::start_on(folder.path(), &environment).await;

    let asked = "content-encoding,content-type,idempotency-key,traceparent,x-api-key,x-faro-session-id,x-scope-orgid";
    let preflight = server
        .request(reqwest::Method::OPTIONS, "/collect/shop")
        .header("origin", origin);
    let preflight = preflight.header("access-control-request-method", "POST");
    let preflight = preflight.header("access-control-request-headers", asked);
    let reply = Reply::of(preflight.send().await.unwrap()).await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, origin)
    );
    let allowed = reply.header("access-control-allow-headers");
    assert!(
        asked
            .split(',')
            .all(|header| allowed.split(',').any(|found| found == header)),
        "{allowed}"
    );

    let body = |store: &str| {
        payload(store, &json!({"measurements": [vital("lcp", 5.0, "v-1")]})).to_string()
    };
    let headers = [
        JSON,
        ("x-api-key", key),
        ("origin", origin),
        ("x-faro-session-id", "s"),
    ];
    let reply = post_to(&server, "/collect/shop", &headers, body("store-1")).await;
    assert_eq!(
        (reply.status, reply.counts()),
        (202, (1, 0, 0)),
        "{}",
        reply.text()
    );
    let exposed = reply.header("access-control-expose-headers");
    for header in ["retry-after", "x-faro-session-status"] {
        assert!(
            exposed.split(',').any(|found| found.trim() == header),
            "{exposed}"
        );
    }
    let refused: [(&str, &[(&str, &str)], &str, u16, &str); 4] = [
        ("another store", &headers, "store-2", 403, "store_mismatch"),
        (
            "no key",
            &[JSON, ("origin", origin)],
            "store-1",
            401,
            "no_credential",
        ),
        (
            "another key",
            &[JSON, ("x-api-key", "tw_no_key"), ("origin", origin)],
            "store-1",
            401,
            "invalid_token",
        ),
        (
            "no page",
            &[JSON, ("x-api-key", key)],
            "store-1",
            403,
            "origin_not_allowed",
        ),
    ];
    for (name, headers, store, status, code) in refused {
        let reply = post_to(&server, "/collect", headers, body(store)).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (status, code),
            "{name}: {}",
            reply.text()
        );
    }
    server.stop().await;
}
