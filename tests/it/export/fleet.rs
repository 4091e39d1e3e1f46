//! `/metrics/fleet`: what terminals measured.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Batch, Exposition, Server, in_the_middle_of_a_minute, now_ms};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The series of a store that only ever grow.
fn cumulative(page: &Exposition, store_id: &str) -> BTreeMap<String, f64> {
    let all = page.of_store(store_id).into_iter();
    let grows = |series: &str| {
        let name = series.split('{').next().unwrap();
        ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
    };
    all.filter(|(series, _)| grows(series))
        .map(|(series, value)| (series.to_owned(), value))
        .collect()
}

/// The page once everything acknowledged is applied.
async fn fleet(server: &Server) -> Exposition {
    server.outcomes_add_up().await;
    server.fleet().await
}

#[tokio::test]
async fn counters_and_exact_buckets_follow_what_was_sent() {
    let server = Server::start().await;
    let now = now_ms();
    let batch = Batch::new("shop")
        .push(json!({"m": "sync_attempts", "t": now, "v": 5, "label": "success"}))
        .push(json!({"m": "sync_attempts", "t": now, "v": 2, "label": "failure"}))
        .push(json!({"m": "sync_attempts", "t": now, "v": 1, "label": "failure"}))
        .push(json!({"m": "sync_items_count", "t": now, "v": 1_000}))
        .push(json!({"m": "errors", "t": now, "v": 4, "label": "no_such_kind"}))
        .push(json!({"m": "mode_switch_online_to_slow", "t": now, "v": 1}))
        .value("sync_duration_ms", now, 1_200.0);
    // A value equal to a bound lies in the bound's bucket, the next recording unit above does not.
    let batch = [2_500.0, 2_500.001, 4_000.0, 4_000.001, 1.0, 60_000.0]
        .iter()
        .fold(batch, |batch, value| batch.value("lcp_ms", now, *value));
    let batch = [0.1, 0.100_1, 0.25]
        .iter()
        .fold(batch, |batch, value| batch.value("cls_score", now, *value));
    let synthetic = Batch::new("shop")
        .with("source", "synthetic")
        .filled(9)
        .push(json!({"m": "sync_items_count", "t": now, "v": 7}));
    let probe_only = Batch::new("probed").with("source", "synthetic").filled(1);
    let elsewhere = Batch::new("other-shop")
        .with("release", "3.0")
        .value("lcp_ms", now, 2_500.0);
    for batch in [&batch, &synthetic, &probe_only, &elsewhere] {
        server.taken(&batch.0).await;
        assert_eq!(server.taken(&batch.0).await.0, 0, "a resend moves nothing");
    }

    let page = fleet(&server).await;
    assert!(page.text.ends_with("# EOF\n"));
    let shop = ("store_id", "shop");
    #[rustfmt::skip]
    let expected: [(&str, &[(&str, &str)], f64); 24] = [
        ("pos_sync_attempts_total", &[shop, ("result", "success")], 5.0),
        ("pos_sync_attempts_total", &[shop, ("result", "failure")], 3.0),
        ("pos_sync_items_total", &[shop], 1_000.0),
        ("pos_errors_total", &[shop, ("kind", "other")], 4.0),
        ("pos_errors_total", &[shop, ("kind", "network")], 0.0),
        ("pos_mode_switches_total", &[shop, ("to", "slow")], 1.0),
        ("pos_data_loss_incidents_total", &[shop], 0.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "1.0")], 1.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "2.5")], 2.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "3.0")], 3.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "4.0")], 4.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "6.0")], 5.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[shop, ("le", "+Inf")], 6.0),
        ("pos_web_vitals_lcp_seconds_count", &[shop], 6.0),
        ("pos_web_vitals_cls_bucket", &[shop, ("le", "0.1")], 1.0),
        ("pos_web_vitals_cls_bucket", &[shop, ("le", "0.25")], 3.0),
        ("pos_web_vitals_lcp_seconds_bucket", &[("store_id", "other-shop"), ("le", "2.5")], 1.0),
        ("pos_release_web_vitals_lcp_seconds_count", &[("release", "2.4.1")], 6.0),
        ("pos_release_web_vitals_lcp_seconds_count", &[("release", "3.0")], 1.0),
        // Releases have closer buckets than stores.
        ("pos_sync_duration_seconds_bucket", &[shop, ("le", "1.5")], 1.0),
        ("pos_release_sync_duration_seconds_bucket", &[("release", "2.4.1"), ("le", "1.0")], 0.0),
        ("pos_release_sync_duration_seconds_bucket", &[("release", "2.4.1"), ("le", "1.25")], 1.0),
        ("pos_terminals_reporting", &[shop], 1.0),
        ("pos_terminals", &[("release", "3.0")], 1.0),
    ];
    for (name, labels, value) in expected {
        assert_eq!(
            page.get(name, labels),
            Some(value),
            "{name} {labels:?} in\n{}",
            page.text
        );
    }
    let sum = page.value("pos_web_vitals_lcp_seconds_sum", &[shop]);
    assert!(
        (sum - (2.5 + 2.500_001 + 4.0 + 4.000_001 + 0.001 + 60.0)).abs() < 1e-9,
        "{sum}"
    );
    let reported = page.value("pos_store_last_report_timestamp_seconds", &[shop]);
    assert!((reported - now as f64 / 1e3).abs() < 60.0, "{reported}");
    assert!(page.of_store("probed").is_empty(), "a probe is not a shop");
    // Never a label per terminal or session.
    assert!(!page.text.contains("till-1"));

    // Every counter and every alerted histogram of the catalogue is there for every store, from the start.
    let metrics = server.get("/api/v1/metrics", &[]).await.json();
    for metric in metrics["metrics"].as_array().unwrap() {
        let name = metric["prometheus"].as_str().unwrap();
        if metric["kind"] == "counter" {
            let labels = metric["label"]["values"].as_array().map_or(1, Vec::len);
            let found = page.matching(&format!("{name}_total"), &[("store_id", "other-shop")]);
            assert_eq!(found.len(), labels, "{name}");
        }
        assert!(page.text.contains(&format!("# HELP {name} ")), "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn late_samples_move_only_what_their_rule_allows() {
    let server = Server::start().await;
    let now = now_ms();
    let one = |metric: &'static str, age_ms: i64| json!({"m": metric, "t": now - age_ms, "v": 1});
    // Name, age, and whether it still moves its series.
    let cases = [
        (
            "sync_items_count",
            "pos_sync_items_total",
            9 * MINUTE_MS,
            true,
        ),
        (
            "sync_items_count",
            "pos_sync_items_total",
            11 * MINUTE_MS,
            false,
        ),
        (
            "sync_items_count",
            "pos_sync_items_total",
            7 * DAY_MS,
            false,
        ),
        (
            "sync_duration_ms",
            "pos_sync_duration_seconds_count",
            9 * MINUTE_MS,
            true,
        ),
        (
            "sync_duration_ms",
            "pos_sync_duration_seconds_count",
            11 * MINUTE_MS,
            false,
        ),
        (
            "offline_login_duration_ms",
            "pos_offline_login_duration_seconds_count",
            23 * HOUR_MS,
            true,
        ),
        (
            "offline_login_duration_ms",
            "pos_offline_login_duration_seconds_count",
            25 * HOUR_MS,
            false,
        ),
        (
            "reconnect_to_synced_ms",
            "pos_reconnect_to_synced_duration_seconds_count",
            23 * HOUR_MS,
            true,
        ),
        (
            "data_loss_incidents",
            "pos_data_loss_incidents_total",
            25 * HOUR_MS,
            true,
        ),
        (
            "data_loss_incidents",
            "pos_data_loss_incidents_total",
            8 * DAY_MS - HOUR_MS,
            true,
        ),
    ];
    for (index, (metric, series, age_ms, moves)) in cases.into_iter().enumerate() {
        let store_id = format!("late-{index}");
        assert_eq!(
            server
                .taken(&Batch::new(&store_id).push(one(metric, age_ms)).0)
                .await,
            (1, 0, 0)
        );
        let value = fleet(&server)
            .await
            .value(series, &[("store_id", &store_id)]);
        assert_eq!(
            value,
            f64::from(u8::from(moves)),
            "{metric} {} min old",
            age_ms / MINUTE_MS
        );
    }
    // By age, and the week's store counts as reporting.
    let mut week = Batch::new("week");
    for age_ms in [
        11 * MINUTE_MS,
        2 * HOUR_MS,
        2 * HOUR_MS,
        2 * DAY_MS,
        7 * DAY_MS,
        6 * DAY_MS,
        5 * DAY_MS,
    ] {
        week = week.push(one("lcp_ms", age_ms));
    }
    server.taken(&week.0).await;
    let page = fleet(&server).await;
    for (age, samples) in [("1h", 1.0), ("24h", 2.0), ("3d", 1.0), ("8d", 3.0)] {
        let value = page.value(
            "pos_late_samples_total",
            &[("store_id", "week"), ("age_up_to", age)],
        );
        assert_eq!(value, samples, "{age}");
    }
    assert_eq!(
        page.get("pos_terminals_reporting", &[("store_id", "week")]),
        Some(1.0)
    );
    // The samples are not lost: each is in its own window.
    let from = (now - 8 * DAY_MS).to_string();
    let answer = server
        .percentiles(&[
            ("metric", "lcp_ms"),
            ("store_id", "week"),
            ("from", &from),
            ("step", "1h"),
        ])
        .await;
    assert_eq!(answer["series"][0]["points"].as_array().unwrap().len(), 6);
    server.stop().await;
}

#[tokio::test]
async fn window_gauges_and_levels_show_what_is_true_now() {
    let server = Server::start().await;
    let now = in_the_middle_of_a_minute().await;
    let mut batch = Batch::new("gauges");
    for value in 1..=100 {
        batch = batch.value(
            "sync_duration_ms",
            now - 2 * MINUTE_MS,
            f64::from(value * 10),
        );
    }
    // Outside (now − 6 min, now − 1 min]: this minute, and eight minutes ago.
    batch = batch.value("sync_duration_ms", now, 600_000.0).value(
        "sync_duration_ms",
        now - 8 * MINUTE_MS,
        600_000.0,
    );
    batch = batch.value("sync_duration_ms", now + 2 * MINUTE_MS, 600_000.0);
    batch = batch
        .value("pending_transactions", now - 1_000, 5.0)
        .value("pending_transactions", now, 900.0)
        .value("pending_transactions", now - 2_000, 7_000.0);
    server.taken(&batch.0).await;
    for terminal in 2..=20_i32 {
        let batch = Batch::new("gauges")
            .with("terminal_id", format!("till-{terminal}"))
            .value("pending_transactions", now, f64::from(terminal))
            .value("memory_used_mb", now, 81.0);
        server.taken(&batch.0).await;
    }
    let page = fleet(&server).await;
    let store = ("store_id", "gauges");
    let name = "pos_sync_duration_window_seconds";
    for (quantile, exact) in [("0.5", 0.5), ("0.75", 0.75), ("0.95", 0.95)] {
        let value = page.value(name, &[store, ("q", quantile)]);
        assert!(
            value >= exact && value <= exact * 1.001,
            "{quantile}: {value}"
        );
    }
    // A label that belongs to summaries makes Prometheus' own check of a page fail.
    assert!(!page.text.contains("quantile="), "{}", page.text);
    assert_eq!(
        page.get("pos_sync_duration_window_samples", &[store]),
        Some(100.0)
    );
    assert!(
        page.matching("pos_web_vitals_lcp_window_seconds", &[store])
            .is_empty(),
        "nothing to show is not zero"
    );
    // Of each terminal the latest value by its own time counts, in whatever order they came.
    assert_eq!(
        page.get("pos_pending_transactions", &[store, ("stat", "max")]),
        Some(900.0)
    );
    assert_eq!(
        page.get("pos_pending_transactions", &[store, ("stat", "p95")]),
        Some(20.0)
    );
    let over = |metric: &str| page.get("pos_terminals_over_limit", &[store, ("metric", metric)]);
    assert_eq!(
        (over("pending_transactions"), over("memory_used_mb")),
        (Some(1.0), Some(19.0))
    );
    assert_eq!(
        page.get("pos_terminal_memory_bytes", &[store, ("stat", "max")]),
        Some(81_000_000.0)
    );
    assert_eq!(page.get("pos_terminals_reporting", &[store]), Some(20.0));
    server.stop().await;
}

#[tokio::test]
async fn cumulative_series_continue_exactly_over_an_end_and_over_a_death() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "700ms")]).await;
    let mut server = server;
    let queue = Batch::new("lasting");
    let mut random = fastrand::Rng::with_seed(5);
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    let mut items = 0;
    for round in 0..6_u64 {
        for step in 0..4 {
            let now = now_ms();
            let mut batch = queue.clone().seq(round * 4 + step);
            for _ in 0..20 {
                let value = random.u32(1..5_000);
                items += u64::from(value);
                batch = batch
                    .value("sync_items_count", now, f64::from(value))
                    .value("sync_duration_ms", now, f64::from(value));
            }
            batch = batch
                .value("lcp_ms", now - 2 * DAY_MS, 1.0)
                .push(json!({"m": "cache_requests", "t": now, "v": 3, "label": "miss"}));
            assert_eq!(server.taken(&batch.0).await, (42, 0, 0));
            tokio::time::sleep(std::time::Duration::from_millis(random.u64(0..300))).await;
        }
        server.wait_applied().await;
        let before = server.fleet().await;
        let of_store = cumulative(&before, "lasting");
        assert_eq!(
            before.value("pos_sync_items_total", &[("store_id", "lasting")]),
            items as f64
        );
        assert!(
            expected
                .iter()
                .all(|(series, value)| of_store[series] >= *value),
            "something fell"
        );
        server = if round % 2 == 0 {
            server.kill_and_restart().await
        } else {
            server.restart().await
        };
        let after = server.fleet().await;
        assert_eq!(cumulative(&after, "lasting"), of_store, "round {round}");
        let releases = |page: &Exposition| {
            page.matching("pos_release_sync_duration_seconds_count", &[])
                .iter()
                .map(|(_, value)| *value)
                .sum::<f64>()
        };
        assert_eq!(releases(&after), releases(&before));
        let stamp = |page: &Exposition| {
            page.value(
                "pos_store_last_report_timestamp_seconds",
                &[("store_id", "lasting")],
            )
        };
        assert_eq!(stamp(&after), stamp(&before));
        expected = of_store;
    }
    assert!(expected["pos_sync_duration_seconds_count{store_id=\"lasting\"}"] == 480.0);
    server.stop().await;
}
