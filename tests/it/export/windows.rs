//! The page as time passes, without waiting for it: the clock is an argument.

use std::sync::Arc;

use tillwatch::aggregate::saved::SavedSeries;
use tillwatch::aggregate::{Aggregator, Caps, Restored};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::{BatchHeader, Catalogue, Connection, HistogramReading, Reading, Source};

use crate::support::Exposition;
use crate::support::records::{fleet_page, settings};

const MINUTE_MS: i64 = 60_000;
/// The start of a minute.
const BASE_MS: i64 = 1_795_255_200_000;

/// Applies a batch of one store and terminal, received at a time, with samples of (metric, time, value). A counter's
/// label is its first.
fn apply(aggregator: &mut Aggregator, received_at_ms: i64, samples: &[(&str, i64, u64)]) {
    let labelled = samples
        .iter()
        .map(|(metric, t_ms, value)| (*metric, 0, *t_ms, *value));
    apply_labelled(
        aggregator,
        "t",
        received_at_ms,
        &labelled.collect::<Vec<_>>(),
    );
}

/// Applies a batch of a terminal, with samples of (metric, code of the label, time, value).
fn apply_labelled(
    aggregator: &mut Aggregator,
    terminal_id: &str,
    received_at_ms: i64,
    samples: &[(&str, u8, i64, u64)],
) {
    let position = aggregator.applied() + 1;
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: "s",
        terminal_id,
        queue: [7; 16],
        seq: position,
        is_keyed: false,
        browser: None,
        release: "1.0",
        source: Source::Rum,
        session: None,
    };
    let catalogue = Catalogue::default();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header);
    for (metric, label, t_raw_ms, value) in samples {
        let metric = catalogue.named(metric).unwrap().code;
        let reading = Reading {
            metric,
            label: *label,
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
        settings(),
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
fn a_terminal_counts_once_for_ten_minutes_after_a_synchronisation_that_failed_or_was_too_slow() {
    const FAILURE: u8 = 1;
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        settings(),
        Restored::default(),
    );
    let failed = |t_ms, count| ("sync_attempts", FAILURE, t_ms, count);
    let succeeded = |t_ms| ("sync_attempts", 0, t_ms, 1);
    let took = |t_ms, us| ("sync_duration_ms", 0, t_ms, us);
    let now_ms = BASE_MS + 20 * MINUTE_MS;
    #[rustfmt::skip]
    let batches: [(&str, &[(&str, u8, i64, u64)]); 6] = [
        // Three times, and once more: it is one terminal. A success after it does not make the failure undone.
        ("fails", &[failed(now_ms - 90_000, 3), failed(now_ms, 1), succeeded(now_ms)]),
        ("succeeds", &[succeeded(now_ms), took(now_ms, 5_000_000)]),
        ("none-of-none", &[failed(now_ms, 0)]),
        ("slow", &[took(now_ms, 5_000_001), took(now_ms, 1)]),
        ("both", &[took(now_ms - 5 * MINUTE_MS, 60_000_000), failed(now_ms - 5 * MINUTE_MS, 1)]),
        // So late that it is no news.
        ("late", &[failed(now_ms - 11 * MINUTE_MS, 1), took(now_ms - 11 * MINUTE_MS, 60_000_000)]),
    ];
    for (terminal_id, samples) in batches {
        apply_labelled(&mut aggregator, terminal_id, now_ms, samples);
    }
    let counts_at = |now_ms: i64| {
        let page = page(&aggregator, now_ms);
        let count = |name: &str| page.get(name, &[("store_id", "s")]);
        (
            count("pos_terminals_sync_failing"),
            count("pos_terminals_sync_slow"),
        )
    };
    assert_eq!(counts_at(now_ms), (Some(2.0), Some(2.0)));
    assert_eq!(counts_at(now_ms + 5 * MINUTE_MS), (Some(2.0), Some(2.0)));
    assert_eq!(
        counts_at(now_ms + 5 * MINUTE_MS + 1),
        (Some(1.0), Some(1.0))
    );
    assert_eq!(counts_at(now_ms + 10 * MINUTE_MS), (Some(1.0), Some(1.0)));
    assert_eq!(
        counts_at(now_ms + 10 * MINUTE_MS + 1),
        (Some(0.0), Some(0.0))
    );
}

#[test]
fn a_cut_changes_nothing_on_the_page() {
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        settings(),
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

/// What a state file keeps of the aggregate's stores and terminals, and puts back.
fn restored(aggregator: &mut Aggregator) -> (Restored, String) {
    let cut = aggregator.take();
    let saved = |(name, series): &(String, SavedSeries)| {
        (name.clone(), serde_json::to_string(series).unwrap())
    };
    let texts: Vec<(String, String)> = cut.store_series.iter().map(saved).collect();
    let series =
        |(name, text): &(String, String)| (name.clone(), serde_json::from_str(text).unwrap());
    let restored = Restored {
        applied: cut.applied,
        journal_ms: cut.journal_ms,
        stores: cut.stores,
        releases: cut.releases,
        store_series: texts.iter().map(series).collect(),
        ..Restored::default()
    };
    let text = texts.into_iter().map(|(_, text)| text).collect();
    (restored, text)
}

#[test]
fn after_a_restart_a_gauge_stands_on_what_came_since_and_says_on_how_much() {
    let catalogue = Arc::new(Catalogue::default());
    let mut before = Aggregator::new(Arc::clone(&catalogue), settings(), Restored::default());
    apply(
        &mut before,
        BASE_MS,
        &[("sync_duration_ms", BASE_MS, 1_000_000)],
    );
    let (restored, text) = restored(&mut before);
    assert!(!text.contains("windows"), "{text}");
    let mut after = Aggregator::new(catalogue, settings(), restored);
    let now_ms = BASE_MS + 2 * MINUTE_MS;
    let store = ("store_id", "s");
    let samples =
        |aggregator: &Aggregator, name: &str| page(aggregator, now_ms).get(name, &[store]);
    let (window, ever) = (
        "pos_sync_duration_window_samples",
        "pos_sync_duration_seconds_count",
    );
    assert_eq!(samples(&before, window), Some(1.0));
    assert_eq!(
        (samples(&after, window), samples(&after, ever)),
        (None, Some(1.0))
    );
    let late = [
        ("sync_duration_ms", BASE_MS + MINUTE_MS, 3_000_000),
        ("sync_duration_ms", BASE_MS, 3_000_000),
    ];
    apply(&mut after, BASE_MS + MINUTE_MS + 1, &late);
    assert_eq!(
        (samples(&after, window), samples(&after, ever)),
        (Some(2.0), Some(3.0))
    );
}

#[test]
fn a_state_file_that_still_holds_the_minutes_is_read_without_them() {
    let text = r#"{"last_report_ms": 1795255200000, "batches_received": 3, "counters": {"sync_items_count": [5]},
        "windows": {"sync_duration_ms": {"29920920": [[4048, 4049], [7, 9]]}, "lcp_ms": {"x": null}}}"#;
    let restored = Restored {
        stores: vec![("s".to_owned(), BASE_MS)],
        store_series: vec![("s".to_owned(), serde_json::from_str(text).unwrap())],
        ..Restored::default()
    };
    let aggregator = Aggregator::new(Arc::new(Catalogue::default()), settings(), restored);
    let page = page(&aggregator, 29_920_922 * MINUTE_MS);
    let store = ("store_id", "s");
    assert_eq!(page.get("pos_sync_items_total", &[store]), Some(5.0));
    assert_eq!(page.get("pos_sync_duration_window_samples", &[store]), None);
}

/// 98 histograms of 4,096 buckets, 28.6 kB as a terminal sends them, in each of its requests: they left
/// 3.5 MB for as long as the store did not post the metric again, in memory and in every seal.
#[test]
fn heavy_histograms_leave_neither_memory_nor_a_large_seal() {
    let settings = Caps {
        window_bytes_max: 4 * 1024 * 1024,
        ..settings()
    };
    let catalogue = Arc::new(Catalogue::default());
    let mut aggregator = Aggregator::new(
        Arc::clone(&catalogue),
        settings.clone(),
        Restored::default(),
    );
    let honest = [("lcp_ms", BASE_MS - MINUTE_MS, 2_500_000); 20];
    apply(&mut aggregator, BASE_MS, &honest);
    let metrics = [
        "lcp_ms",
        "inp_ms",
        "cls_score",
        "sync_duration_ms",
        "offline_login_duration_ms",
        "network_latency_ms",
        "reconnect_to_synced_ms",
    ];
    for store in 0..4 {
        let header = BatchHeader {
            received_at_ms: BASE_MS + 1,
            offset_ms: 0,
            applied_offset_ms: 0,
            store_id: &format!("heavy-{store}"),
            terminal_id: "t",
            queue: [7; 16],
            seq: 1,
            is_keyed: false,
            browser: None,
            release: "1.0",
            source: Source::Rum,
            session: None,
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header);
        for (number, name) in (0..).zip(metrics.iter().cycle().take(98)) {
            let histogram = HistogramReading {
                span_ms: MINUTE_MS,
                indices: (1..=4_096).map(|number| 7 * number).collect(),
                counts: vec![1; 4_096],
                sum: 0,
                min: 1,
                max: 1,
            };
            let reading = Reading {
                metric: catalogue.named(name).unwrap().code,
                label: 0,
                connection: Connection::Online,
                t_raw_ms: BASE_MS + (4 - number / 7) * MINUTE_MS,
            };
            encoder.histogram(&reading, &histogram);
        }
        let position = aggregator.applied() + 1;
        aggregator.apply(position, &bytes).unwrap();
        assert!(aggregator.live().recent().usage().bytes <= settings.window_bytes_max);
    }
    assert!(aggregator.live().recent().usage().given_up > 0);
    // Every sample counts all the same.
    assert_eq!(aggregator.open_samples(), 20 + 4 * 98 * 4_096);
    let page = page(&aggregator, BASE_MS + 1);
    let name = "pos_web_vitals_lcp_window_samples";
    assert_eq!(
        page.get(name, &[("store_id", "s")]),
        Some(20.0),
        "the others keep theirs"
    );
    let (_, text) = restored(&mut aggregator);
    assert!(text.len() < 5 * 8_192, "{} bytes of series", text.len());
    // And they go when their minutes have passed, although these stores post nothing more.
    apply(&mut aggregator, BASE_MS + 15 * MINUTE_MS, &[]);
    assert_eq!(aggregator.live().recent().usage().bytes, 0);
}
