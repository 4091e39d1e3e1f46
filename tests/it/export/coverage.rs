//! Whether everything arrives, and whether the terminals' clocks are right; the clock is an argument.

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::{BatchHeader, Catalogue, Source};

use serde_json::json;

use crate::support::records::{fleet_page, settings, settled};
use crate::support::{Batch, Exposition, Server, now_ms};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const BASE_MS: i64 = 1_795_255_200_000;

/// Applies a batch without samples.
fn apply(aggregator: &mut Aggregator, store_id: &str, seq: u64, received_at_ms: i64) {
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id,
        terminal_id: "t",
        queue: [7; 16],
        seq,
        is_keyed: false,
        browser: None,
        release: "1.0",
        source: Source::Rum,
        session: None,
    };
    let mut bytes = Vec::new();
    let _no_samples = Encoder::new(&mut bytes, &header);
    let position = aggregator.applied() + 1;
    aggregator.apply(position, &bytes).unwrap();
}

/// Received, missing, lost of a store.
fn coverage(aggregator: &Aggregator, store_id: &str, now_ms: i64) -> [f64; 3] {
    let page = Exposition::parse(&fleet_page(aggregator, now_ms));
    ["received_total", "missing", "lost_total"].map(|what| {
        let name = format!("pos_sdk_batches_{what}");
        page.get(&name, &[("store_id", store_id)])
            .unwrap_or_else(|| panic!("{name}"))
    })
}

#[test]
fn a_missing_batch_is_lost_after_nine_days_once_and_for_its_own_store() {
    let mut aggregator = Aggregator::new(
        std::sync::Arc::new(Catalogue::default()),
        settings(),
        Restored::default(),
    );
    for seq in [5, 6, 9, 10] {
        apply(&mut aggregator, "a", seq, BASE_MS);
        apply(&mut aggregator, "b", seq / 9 + seq, BASE_MS);
    }
    apply(&mut aggregator, "a", 10, BASE_MS + 1); // A second copy.
    assert_eq!(coverage(&aggregator, "a", BASE_MS), [4.0, 2.0, 0.0]);
    assert_eq!(coverage(&aggregator, "b", BASE_MS), [4.0, 3.0, 0.0]);

    // One comes late; the other is given up, once.
    apply(&mut aggregator, "a", 7, BASE_MS + 8 * DAY_MS);
    assert_eq!(coverage(&aggregator, "a", BASE_MS), [5.0, 1.0, 0.0]);
    for hours in [1, 2, 3] {
        let seq = 10 + u64::try_from(hours).unwrap();
        apply(
            &mut aggregator,
            "a",
            seq,
            BASE_MS + 9 * DAY_MS + hours * HOUR_MS,
        );
        let settled = settled(BASE_MS + 9 * DAY_MS + hours * HOUR_MS);
        let position = aggregator.applied() + 1;
        aggregator.apply(position, &settled).unwrap();
    }
    let now = BASE_MS + 9 * DAY_MS + 3 * HOUR_MS;
    assert_eq!(coverage(&aggregator, "a", now), [8.0, 0.0, 1.0]);
    // Store b's queue is forgotten with its gaps.
    assert_eq!(coverage(&aggregator, "b", now), [4.0, 0.0, 3.0]);
}

#[tokio::test]
async fn skew_and_coverage_and_counters_by_release_outlive_a_death() {
    let server = Server::start().await;
    let queue = Batch::new("shop");
    // Clocks 90 s behind, 2 minutes ahead, and one that says nothing.
    for (seq, behind_ms) in [(1, Some(90_000)), (2, Some(-120_000)), (5, None)] {
        let now = now_ms();
        let mut batch = queue.clone().seq(seq);
        for (label, value) in [("success", 3), ("failure", 1)] {
            batch = batch.push(json!({"m": "sync_attempts", "t": now - behind_ms.unwrap_or(0), "v": value, "label": label}));
        }
        if let Some(behind_ms) = behind_ms {
            batch = batch.with("sent_at_ms", now - behind_ms);
        }
        server.taken(&batch.0).await;
    }
    let other = Batch::new("other").with("release", "3.0");
    server
        .taken(
            &other
                .push(json!({"m": "errors", "t": now_ms(), "v": 2, "label": "sync"}))
                .0,
        )
        .await;

    let check = async |server: &Server| {
        server.wait_applied().await;
        let page = server.fleet().await;
        let shop = ("store_id", "shop");
        let skew = "pos_terminal_clock_skew_seconds";
        #[rustfmt::skip]
        let expected: [(&str, &[(&str, &str)], f64); 12] = [
            ("pos_sdk_batches_received_total", &[shop], 3.0),
            ("pos_sdk_batches_missing", &[shop], 2.0),
            ("pos_sdk_batches_lost_total", &[shop], 0.0),
            ("pos_terminal_clock_jumps_total", &[shop], 1.0),
            (&format!("{skew}_bucket"), &[shop, ("le", "60.0")], 0.0),
            (&format!("{skew}_bucket"), &[shop, ("le", "300.0")], 2.0),
            (&format!("{skew}_count"), &[shop], 2.0),
            ("pos_release_sync_attempts_total", &[("release", "2.4.1"), ("result", "success")], 9.0),
            ("pos_release_sync_attempts_total", &[("release", "2.4.1"), ("result", "failure")], 3.0),
            ("pos_release_sync_attempts_total", &[("release", "3.0"), ("result", "success")], 0.0),
            ("pos_release_errors_total", &[("release", "3.0"), ("kind", "sync")], 2.0),
            ("pos_release_offline_logins_total", &[("release", "3.0"), ("result", "failure")], 0.0),
        ];
        for (name, labels, value) in expected {
            assert_eq!(page.get(name, labels), Some(value), "{name} {labels:?}");
        }
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let server = server.restart().await;
    check(&server).await;
    server.stop().await;
}
