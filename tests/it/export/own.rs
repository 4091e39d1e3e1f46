//! `/metrics`: the collector about itself.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Batch, Exposition, Server, now_ms};

#[tokio::test]
async fn every_line_has_help_and_type_and_every_request_is_in_the_counts() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let now = now_ms();
    let good = Batch::new("own")
        .filled(3)
        .value("nope", now, 1.0)
        .push(json!({"m": "offline_logins", "t": now, "v": 1}));
    server.taken(&good.0).await;
    server.taken(&good.0).await;
    server
        .post(&good.next().with("consent", false).filled(2).0)
        .await;
    server.post_with(&[], "{").await;
    server.percentiles(&[("metric", "lcp_ms")]).await;
    server.wait_confirmed().await;

    let reply = server.get("/metrics", &[]).await;
    assert!(
        reply.header("content-type").starts_with("text/plain"),
        "{}",
        reply.header("content-type")
    );
    let page = server.metrics().await;
    let names_after = |prefix: &str| -> BTreeSet<String> {
        let lines = page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix));
        lines
            .map(|rest| rest.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let (helped, typed) = (names_after("# HELP "), names_after("# TYPE "));
    for series in page.lines.keys() {
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            name.strip_suffix(suffix)
                .filter(|stem| typed.contains(*stem))
        });
        let family = family.unwrap_or(name);
        assert!(name.starts_with("tillwatch_"), "{series}");
        assert!(helped.contains(family), "no help for {series}");
        assert!(typed.contains(family), "no type for {series}");
    }
    has_no_fault(&page);
    #[rustfmt::skip]
    let expected: [(&str, &[(&str, &str)], f64); 14] = [
        ("tillwatch_samples_received_total", &[], 12.0),
        ("tillwatch_samples_total", &[("outcome", "accepted")], 3.0),
        ("tillwatch_samples_total", &[("outcome", "duplicate")], 5.0),
        ("tillwatch_samples_total", &[("outcome", "deferred")], 0.0),
        ("tillwatch_samples_rejected_total", &[("reason", "unknown_metric")], 1.0),
        ("tillwatch_samples_rejected_total", &[("reason", "missing_label")], 1.0),
        ("tillwatch_samples_rejected_total", &[("reason", "no_consent")], 2.0),
        ("tillwatch_batches_received_total", &[], 3.0),
        ("tillwatch_requests_total", &[("status", "202")], 2.0),
        ("tillwatch_requests_total", &[("status", "422")], 1.0),
        ("tillwatch_requests_total", &[("status", "400")], 1.0),
        ("tillwatch_ledger_samples", &[("place", "confirmed")], 3.0),
        ("tillwatch_stores", &[], 1.0),
        ("tillwatch_clickhouse_up", &[], 1.0),
    ];
    for (name, labels, value) in expected {
        assert_eq!(page.get(name, labels), Some(value), "{name} {labels:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn missing_batches_are_counted_while_they_may_still_come() {
    let server = Server::start().await;
    let queue = Batch::new("gaps").filled(1);
    for seq in [10, 12, 20] {
        server.taken(&queue.clone().seq(seq).0).await;
    }
    let missing = async || {
        server.outcomes_add_up().await;
        server
            .metrics()
            .await
            .value("tillwatch_missing_batches", &[])
    };
    assert_eq!(missing().await, 1.0 + 7.0);
    server.taken(&queue.clone().seq(15).0).await;
    assert_eq!(missing().await, 7.0);
    // What lies before the first that came is not missed.
    server.taken(&queue.clone().seq(2).0).await;
    assert_eq!(missing().await, 7.0);
    let server = server.kill_and_restart().await;
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_missing_batches", &[]),
        7.0
    );
    server.stop().await;
}

/// The ledger is of one moment: what is being sealed is neither sealed nor confirmed.
#[tokio::test]
async fn the_ledger_is_never_ahead_of_what_has_happened() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "150ms")]).await;
    let queue = Batch::new("ledger").filled(40);
    let started = std::time::Instant::now();
    let (mut seq, mut confirmed) = (0, 0.0);
    while started.elapsed() < std::time::Duration::from_secs(4) {
        server.taken(&queue.clone().seq(seq).0).await;
        seq += 1;
        for _ in 0..3 {
            let page = server.metrics().await;
            let at = |place| page.value("tillwatch_ledger_samples", &[("place", place)]);
            assert_eq!(at("accepted"), at("sealed") + at("open"));
            assert_eq!(at("sealed"), at("confirmed") + at("outbox"));
            assert!(
                at("confirmed") >= confirmed,
                "confirmed fell from {confirmed} to {}",
                at("confirmed")
            );
            confirmed = at("confirmed");
        }
    }
    assert!(confirmed > 0.0);
    server.wait_confirmed().await;
    server.stop().await;
}

/// What `promtool check metrics` asks for, and itself where it is installed.
fn has_no_fault(page: &Exposition) {
    for line in page.text.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        let is_reserved = ["_bucket", "_count", "_sum"].iter();
        let mut is_reserved = is_reserved.filter(|suffix| name.ends_with(**suffix));
        assert_eq!(is_reserved.next(), None, "{line}");
        for part in name.split('_') {
            let is_scaled = [
                "ms",
                "milliseconds",
                "minutes",
                "kilobytes",
                "mb",
                "percent",
            ];
            assert!(!is_scaled.contains(&part), "not in base units: {line}");
        }
    }
    let promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    if let Ok(mut promtool) = promtool {
        let mut input = promtool.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, page.text.as_bytes()).unwrap();
        drop(input);
        let output = promtool.wait_with_output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

/// Counts of different stages of the same traffic agree.
#[tokio::test]
async fn every_stage_counts_what_passed_it() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let queue = Batch::new("stages").filled(5);
    for seq in 0..20 {
        server.taken(&queue.clone().seq(seq).0).await;
    }
    server.taken(&queue.clone().seq(3).0).await;
    for _ in 0..3 {
        server.post_with(&[], "{").await;
    }
    server
        .request(reqwest::Method::GET, "/none")
        .send()
        .await
        .unwrap();
    server.get("/api/v1/percentiles", &[]).await;
    server.percentiles(&[("metric", "lcp_ms")]).await;
    server.wait_confirmed().await;
    server.fleet().await;
    let page = server.metrics().await;
    let value = |name: &str, labels: &[(&str, &str)]| {
        page.get(name, labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", page.text))
    };
    #[rustfmt::skip]
    let expected: [(&str, &[(&str, &str)], f64); 30] = [
        ("tillwatch_request_duration_seconds_count", &[("class", "2xx")], 21.0),
        ("tillwatch_request_duration_seconds_count", &[("class", "4xx")], 4.0),
        ("tillwatch_request_duration_seconds_count", &[("class", "5xx")], 0.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "read")], 24.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "decode")], 21.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "check")], 21.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "journal_wait")], 20.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "journal_commit")], 20.0),
        ("tillwatch_request_stage_duration_seconds_count", &[("stage", "dedup_wait")], 0.0),
        ("tillwatch_requests_refused_total", &[("code", "malformed_body")], 3.0),
        ("tillwatch_requests_refused_total", &[("code", "not_found")], 1.0),
        ("tillwatch_requests_refused_total", &[("code", "outbox_full")], 0.0),
        ("tillwatch_requests_refused_total", &[("code", "no_consent")], 0.0),
        ("tillwatch_requests_in_flight", &[], 0.0),
        ("tillwatch_request_in_flight_bytes", &[], 0.0),
        ("tillwatch_request_in_flight_limit_bytes", &[], 268_435_456.0),
        ("tillwatch_requests_abandoned_total", &[], 0.0),
        ("tillwatch_journal_group_records_sum", &[], 20.0),
        ("tillwatch_journal_records", &[], 20.0),
        ("tillwatch_journal_queue_appends", &[], 0.0),
        ("tillwatch_apply_lag_records", &[], 0.0),
        ("tillwatch_apply_lag_seconds", &[], 0.0),
        ("tillwatch_apply_queue_groups", &[], 0.0),
        ("tillwatch_samples_sealed_total", &[], 100.0),
        ("tillwatch_ship_failures", &[], 0.0),
        ("tillwatch_outbox_lag_seconds", &[], 0.0),
        ("tillwatch_queries_total", &[("result", "ok")], 1.0),
        ("tillwatch_queries_total", &[("result", "bad_parameter")], 1.0),
        ("tillwatch_queries_in_flight", &[], 0.0),
        ("tillwatch_page_duration_seconds_count", &[("page", "fleet")], 1.0),
    ];
    for (name, labels, expected) in expected {
        assert_eq!(value(name, labels), expected, "{name} {labels:?}");
    }
    // One fdatasync a group, on three counts.
    let groups = value("tillwatch_journal_groups", &[]);
    assert!((1.0..=20.0).contains(&groups));
    for name in [
        "journal_group_records",
        "journal_sync_duration_seconds",
        "apply_delay_seconds",
    ] {
        assert_eq!(
            value(&format!("tillwatch_{name}_count"), &[]),
            groups,
            "{name}"
        );
    }
    let seals = value("tillwatch_seals_total", &[("result", "ok")]);
    assert!(seals >= 1.0);
    assert_eq!(value("tillwatch_seal_duration_seconds_count", &[]), seals);
    assert_eq!(
        value("tillwatch_rows_sealed_total", &[]),
        value("tillwatch_rows_shipped_total", &[])
    );
    let rounds = value("tillwatch_ship_rounds_total", &[("result", "ok")]);
    for stage in ["insert", "read_back", "confirm"] {
        let labels = [("stage", stage)];
        assert_eq!(
            value("tillwatch_ship_stage_duration_seconds_count", &labels),
            rounds
        );
    }
    // A request may take half a second: that bound is there to count by.
    let half = [("class", "2xx"), ("le", "0.5")];
    assert!(
        page.get("tillwatch_request_duration_seconds_bucket", &half)
            .is_some()
    );
    server.stop().await;
}

#[tokio::test]
async fn the_process_its_disk_and_its_connections_are_shown() {
    let environment = [
        ("TILLWATCH_HEAD_TIMEOUT", "1s"),
        ("TILLWATCH_CONNECTIONS_MAX", "3"),
        // Nobody listens there: the outbox waits.
        ("TILLWATCH_CLICKHOUSE_URL", "http://127.0.0.1:1"),
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
    ];
    let server = Server::start_with(&environment).await;
    let batch = Batch::new("process").filled(2);
    // Closed again by the client: nothing of it stays open.
    let mut raw = server.raw().await;
    raw.send("POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{")
        .await;
    wait_metric(&server, "tillwatch_requests_in_flight", &[], 1.0).await;
    assert!(
        server
            .metrics()
            .await
            .value("tillwatch_request_in_flight_bytes", &[])
            >= 1.0
    );
    drop(raw);
    let incomplete = [("code", "incomplete_body")];
    wait_metric(
        &server,
        "tillwatch_requests_refused_total",
        &incomplete,
        1.0,
    )
    .await;
    wait_metric(&server, "tillwatch_requests_in_flight", &[], 0.0).await;
    let ingest = ("listener", "ingest");
    let _idle = (
        server.raw().await,
        server.raw().await,
        server.raw().await,
        server.raw().await,
    );
    let mut half = server.raw().await;
    half.send("POST /v1/ba").await;
    let closed = "tillwatch_connections_closed_total";
    wait_metric(&server, closed, &[ingest, ("reason", "head_timeout")], 1.0).await;
    let refused = "tillwatch_heads_refused_total";
    wait_metric(&server, refused, &[ingest, ("reason", "timeout")], 1.0).await;
    let page = server.metrics().await;
    assert!(page.value(closed, &[ingest, ("reason", "made_room")]) >= 1.0);
    assert_eq!(page.value("tillwatch_connections_limit", &[ingest]), 3.0);
    assert!(page.value("tillwatch_connections", &[ingest]) <= 3.0);
    assert!(page.value("tillwatch_connections", &[("listener", "admin")]) >= 1.0);

    server.taken(&batch.0).await;
    let started = std::time::Instant::now();
    let page = loop {
        let page = server.metrics().await;
        let at = |name: &str| page.value(name, &[]);
        if at("tillwatch_outbox_lag_seconds") > 0.0 && at("tillwatch_ship_failures") > 0.0 {
            break page;
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(30),
            "{}",
            page.text
        );
    };
    let at = |name: &str| page.value(name, &[]);
    let errors = [("result", "error")];
    assert!(page.value("tillwatch_ship_rounds_total", &errors) >= 1.0);
    let oldest = at("tillwatch_outbox_oldest_timestamp_seconds");
    let lag = at("tillwatch_outbox_lag_seconds");
    assert!(
        (oldest + lag - now_ms() as f64 / 1_000.0).abs() < 30.0,
        "{oldest} {lag}"
    );
    let peak = server.peak_memory() as f64;
    let resident = at("tillwatch_process_resident_memory_bytes");
    assert!(
        resident > peak / 4.0 && resident <= peak,
        "{resident} of {peak}"
    );
    assert!(at("tillwatch_process_cpu_seconds") > 0.0);
    assert!(at("tillwatch_process_threads") >= 4.0);
    let open = at("tillwatch_process_open_fds");
    assert!(
        open >= 10.0 && open < at("tillwatch_process_max_fds"),
        "{open}"
    );
    let (free, size) = (
        at("tillwatch_disk_free_bytes"),
        at("tillwatch_disk_size_bytes"),
    );
    assert!(free > 0.0 && free <= size, "{free} of {size}");
    assert!(at("tillwatch_state_bytes") > 4_096.0);
    assert!(at("tillwatch_tasks") >= 3.0);
    server.stop().await;
}

/// Waits until a series has this value.
async fn wait_metric(server: &Server, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let started = std::time::Instant::now();
    loop {
        let page = server.metrics().await;
        if page.get(name, labels) == Some(wanted) {
            return;
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(30),
            "{name} {labels:?} is {:?}, not {wanted}",
            page.get(name, labels)
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
