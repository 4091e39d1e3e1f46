//! The page as time passes, without waiting for it: the clock is an argument.

use std::sync::Arc;

use tillwatch::aggregate::{Aggregator, Restored, Settings};
use tillwatch::model::{BatchHeader, Catalogue, Connection, Reading, Source};
use tillwatch::wire::journal_record_v1::Encoder;

use crate::support::Exposition;
use crate::support::records::fleet_page;

const MINUTE_MS: i64 = 60_000;
/// The start of a minute.
const BASE_MS: i64 = 1_795_255_200_000;

/// Applies a batch of one store and terminal, received at a time, with samples of (metric, time, value).
fn apply(aggregator: &mut Aggregator, received_at_ms: i64, samples: &[(&str, i64, u64)]) {
    let position = aggregator.applied() + 1;
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: "s",
        terminal_id: "t",
        queue: [7; 16],
        seq: position,
        is_keyed: false,
        release: "1.0",
        source: Source::Rum,
        session: None,
    };
    let catalogue = Catalogue::default();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header);
    for (metric, t_raw_ms, value) in samples {
        let metric = catalogue.named(metric).unwrap().code;
        let reading = Reading {
            metric,
            label: 0,
            connection: Connection::Online,
            t_raw_ms: *t_raw_ms,
        };
        encoder.sample(&reading, *value);
    }
    aggregator.apply(position, &bytes).unwrap();
}

fn page(aggregator: &Aggregator, now_ms: i64) -> Exposition {
    Exposition::parse(&fleet_page(aggregator, now_ms))
}

#[test]
fn a_window_gauge_comes_and_goes_with_its_minutes_and_counters_stay() {
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        Settings::default(),
        Restored::default(),
    );
    let samples = [
        ("sync_duration_ms", BASE_MS, 1_000_000),
        ("sync_duration_ms", BASE_MS + MINUTE_MS - 1, 3_000_000),
        ("pending_transactions", BASE_MS, 900),
        ("sync_items_count", BASE_MS, 5),
    ];
    apply(&mut aggregator, BASE_MS + MINUTE_MS - 1, &samples);
    let store = ("store_id", "s");
    let samples_at =
        |now_ms: i64| page(&aggregator, now_ms).get("pos_sync_duration_window_samples", &[store]);
    assert_eq!(
        samples_at(BASE_MS + MINUTE_MS - 1),
        None,
        "its minute is not over"
    );
    for minute in 1..=5 {
        assert_eq!(
            samples_at(BASE_MS + minute * MINUTE_MS),
            Some(2.0),
            "minute {minute}"
        );
        assert_eq!(
            samples_at(BASE_MS + (minute + 1) * MINUTE_MS - 1),
            Some(2.0),
            "minute {minute}, its end"
        );
    }
    assert_eq!(
        samples_at(BASE_MS + 6 * MINUTE_MS),
        None,
        "six minutes later it says nothing any more"
    );

    let after = page(&aggregator, BASE_MS + 10 * MINUTE_MS);
    assert_eq!(after.get("pos_terminals_reporting", &[store]), Some(1.0));
    assert_eq!(
        after.get("pos_pending_transactions", &[store, ("stat", "max")]),
        Some(900.0)
    );
    let much_later = page(&aggregator, BASE_MS + 25 * 60 * MINUTE_MS);
    assert_eq!(
        much_later.get("pos_terminals_reporting", &[store]),
        Some(0.0)
    );
    assert!(
        much_later
            .matching("pos_pending_transactions", &[store])
            .is_empty(),
        "a silent terminal's level is not known"
    );
    // What has been counted and when it came stay for as long as the store is known.
    for name in [
        "pos_sync_items_total",
        "pos_sync_duration_seconds_count",
        "pos_store_last_report_timestamp_seconds",
    ] {
        assert_eq!(
            much_later.get(name, &[store]),
            after.get(name, &[store]),
            "{name}"
        );
        assert!(after.value(name, &[store]) > 0.0, "{name}");
    }
}

#[test]
fn a_cut_changes_nothing_on_the_page() {
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        Settings::default(),
        Restored::default(),
    );
    for minute in 0..8 {
        let t_ms = BASE_MS + minute * MINUTE_MS;
        apply(
            &mut aggregator,
            t_ms + 1,
            &[
                ("lcp_ms", t_ms, 2_500_000),
                ("lcp_ms", t_ms, 2_500_001),
                ("sync_items_count", t_ms, 3),
            ],
        );
        let now_ms = t_ms + MINUTE_MS;
        let before = page(&aggregator, now_ms);
        drop(aggregator.take());
        assert_eq!(page(&aggregator, now_ms), before, "minute {minute}");
    }
    let page = page(&aggregator, BASE_MS + 8 * MINUTE_MS);
    let store = ("store_id", "s");
    assert_eq!(
        page.get("pos_web_vitals_lcp_window_samples", &[store]),
        Some(10.0)
    );
    assert_eq!(
        page.get("pos_web_vitals_lcp_seconds_bucket", &[store, ("le", "2.5")]),
        Some(8.0)
    );
}
