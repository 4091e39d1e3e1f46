//! Real measurements through the HTTP door, their percentiles read back from ClickHouse.
//!
//! The rank of a quantile is ⌈q·n⌉ everywhere here: the known values of the page views follow it (the
//! bin that holds the rank), and those of the request latencies too, which are recomputed below.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tillwatch_model::Quantile;
use tillwatch_model::histogram::bucket_index;

use crate::support::{Batch, Server, audit_is_clean, data, now_ms, sql};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Bins (ms) and counts; the file says whose.
fn page_views() -> Vec<(u64, u64)> {
    let lines = include_str!("../../crates/simulate/data/lcp_desktop_visible.csv").lines();
    let pairs = lines.filter_map(|line| line.split_once(','));
    pairs
        .filter_map(|(bin, count)| Some((bin.parse().ok()?, count.parse().ok()?)))
        .collect()
}

/// The fixture is what the archive says, where the archive is at hand.
#[test]
fn the_page_views_are_those_of_the_archive() {
    let ours = page_views();
    assert_eq!(ours.iter().map(|(_, count)| count).sum::<u64>(), 27_013_373);
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/lcp_rum_archive.json"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("the archive is not at {path}: only the sum was checked");
        return;
    };
    let archive: Value = serde_json::from_str(&text).unwrap();
    let is_ours = |line: &&Value| {
        let bins = line["histogram"].as_array().unwrap();
        bins.iter().map(|bin| bin[1].as_u64().unwrap()).sum::<u64>() == 27_013_373
    };
    let line = archive
        .as_array()
        .unwrap()
        .iter()
        .find(is_ours)
        .expect("the archive's desktop line");
    let theirs: Vec<(u64, u64)> = line["histogram"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| (bin[0].as_u64().unwrap(), bin[1].as_u64().unwrap()))
        .collect();
    assert_eq!(ours, theirs);
}

fn within(found: f64, exact: f64, what: &str) {
    assert!(
        (found / exact - 1.0).abs() <= 0.001,
        "{what}: {found}, exactly {exact}"
    );
}

/// The bin that holds the rank ⌈q·n⌉.
fn exact_bin(bins: &BTreeMap<u64, u64>, q: &str) -> u64 {
    let rank = Quantile::parse(q).unwrap().rank(bins.values().sum());
    let mut below = 0;
    let holds_rank = |(_, count): &(&u64, &u64)| {
        below += *count;
        below >= rank
    };
    *bins.iter().find(holds_rank).unwrap().0
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story from beginning to end")]
async fn twenty_seven_million_page_views_keep_their_count_and_percentiles() {
    // A window of a terminal stands for 64,000 page views: more than a till can have.
    let server = Server::start_with(&[
        ("TILLWATCH_SEAL_INTERVAL", "300ms"),
        ("TILLWATCH_HISTOGRAM_VALUES_PER_S", "2000"),
    ])
    .await;
    let bins = page_views();
    // Shared out over 4 stores, 3 terminals each, and 5 windows a terminal on each of the last 7 days:
    // most of it late. Where a bin does not divide, some windows have one more.
    let (stores, terminals, windows) = (4_u64, 3_u64, 7 * 5_u64);
    let parts = stores * terminals * windows;
    let now_minute_ms = now_ms() / MINUTE_MS * MINUTE_MS;
    let mut part = 0;
    // By store and day, what each bin holds there.
    let mut days: BTreeMap<(String, i64), BTreeMap<u64, u64>> = BTreeMap::new();
    for store in 0..stores {
        for terminal in 0..terminals {
            let mut batch = Batch::new(&format!("store-{store}"))
                .with("terminal_id", format!("till-{terminal}"));
            for window in 0..windows {
                part += 1;
                let share = |count: u64| count / parts + u64::from(part <= count % parts);
                let pairs: Vec<(u32, u64, u64)> = bins
                    .iter()
                    .map(|(bin_ms, count)| (bucket_index(bin_ms * 1_000), *bin_ms, share(*count)))
                    .filter(|(_, _, count)| *count > 0)
                    .collect();
                let sum: u64 = pairs.iter().map(|(_, bin_ms, count)| bin_ms * count).sum();
                let buckets: Vec<(u32, u64)> = pairs
                    .iter()
                    .map(|(index, _, count)| (*index, *count))
                    .collect();
                let age_ms = i64::try_from(window / 5).unwrap() * 24 * HOUR_MS
                    + i64::try_from(window % 5).unwrap() * MINUTE_MS
                    + 2 * MINUTE_MS;
                let t_ms = now_minute_ms - age_ms;
                let day = days
                    .entry((
                        format!("store-{store}"),
                        t_ms / (24 * HOUR_MS) * 24 * HOUR_MS,
                    ))
                    .or_default();
                for (_, bin_ms, count) in &pairs {
                    *day.entry(*bin_ms).or_default() += count;
                }
                batch = batch.push_histogram(json!({
                    "m": "lcp_ms", "t": t_ms, "span_ms": MINUTE_MS, "connection": "online",
                    "buckets": buckets, "sum": sum, "min": pairs[0].1, "max": pairs.last().unwrap().1,
                }));
            }
            let (_, duplicate, rejected) = server.taken(&batch.0).await;
            assert_eq!((duplicate, rejected), (0, 0));
        }
    }
    server.wait_confirmed().await;

    let (from, to) = (
        (now_ms() - 8 * 24 * HOUR_MS).to_string(),
        (now_ms() + MINUTE_MS).to_string(),
    );
    let range = [
        ("metric", "lcp_ms"),
        ("q", "0.5,0.75,0.95"),
        ("from", &*from),
        ("to", &*to),
    ];
    let answer = server.percentiles(&range).await;
    let point = &answer["series"][0]["points"][0];
    assert_eq!(point["count"], 27_013_373);
    for (q, exact_ms) in [("0.5", 1_448.0), ("0.75", 2_448.0), ("0.95", 5_348.0)] {
        within(point["values"][q].as_f64().unwrap(), exact_ms, q);
    }
    let sum: u64 = bins.iter().map(|(bin_ms, count)| bin_ms * count).sum();
    assert_eq!(
        point["sum"].as_f64().unwrap().to_bits(),
        float(sum).to_bits()
    );
    assert_eq!(
        (point["min"].as_f64(), point["max"].as_f64()),
        (Some(52.0), Some(9_949.0))
    );

    // SQL says the same, also with the rows merged in another order: by the day, then by the store.
    let folder = data(&server);
    let statement = "SELECT sum(count), arrayMap(i -> tillwatch_bucket_value_v1(i), \
        quantilesExactWeightedArray(0.5, 0.75, 0.95)(hist.1, hist.2)) FROM v_rollup_1m WHERE metric = 'lcp_ms'";
    let answer = sql(&folder, statement).await;
    let (count, values) = answer.trim().split_once('\t').unwrap();
    assert_eq!(count, "27013373");
    let values: Vec<f64> = values
        .trim_matches(['[', ']'])
        .split(',')
        .map(|text| text.parse().unwrap())
        .collect();
    for (found_us, exact_ms) in values.into_iter().zip([1_448.0, 2_448.0, 5_348.0]) {
        within(found_us / 1_000.0, exact_ms, "by SQL");
    }
    let mut by_day = range.to_vec();
    by_day.extend([("step", "1d"), ("group_by", "store_id")]);
    let answer = server.percentiles(&by_day).await;
    let series = answer["series"].as_array().unwrap();
    assert_eq!(series.len(), 4);
    let mut points = 0;
    for series in series {
        let store_id = series["store_id"].as_str().unwrap().to_owned();
        for point in series["points"].as_array().unwrap() {
            let day_ms = point["t"].as_i64().unwrap() / (24 * HOUR_MS) * 24 * HOUR_MS;
            let bins = &days[&(store_id.clone(), day_ms)];
            assert_eq!(point["count"].as_u64().unwrap(), bins.values().sum::<u64>());
            within(
                point["values"]["0.75"].as_f64().unwrap(),
                float(exact_bin(bins, "0.75")),
                "a store's day",
            );
            points += 1;
        }
    }
    assert_eq!(points, days.len());
    audit_is_clean(&folder, &[]).await;
    server.stop().await;
}

/// The latencies in the order of their times, and the minute of each from the first.
fn latencies() -> Vec<(i64, f64)> {
    let lines = include_str!("../fixtures/real/request_latency.csv").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.starts_with("minute"));
    let pair = |line: &str| {
        let (minute, value) = line.split_once(',').unwrap();
        (minute.parse().unwrap(), value.parse().unwrap())
    };
    lines.map(pair).collect()
}

/// The value of rank ⌈q·n⌉.
fn exact(values: &[f64], q: &str) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = Quantile::parse(q).unwrap().rank(sorted.len() as u64);
    sorted[usize::try_from(rank).unwrap() - 1]
}

#[test]
fn the_latencies_are_those_of_the_benchmark() {
    let ours = latencies();
    assert_eq!(ours.len(), 4_032);
    let values: Vec<f64> = ours.iter().map(|(_, value)| *value).collect();
    assert_eq!(exact(&values, "0.95").to_bits(), 48.438_f64.to_bits());
    assert!((exact(&values, "0.99") - 50.164).abs() < 1e-9);
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/request_latency_nab.csv"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("the original is not at {path}: only its known values were checked");
        return;
    };
    let theirs: Vec<f64> = text
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(values, theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_request_latencies_keep_their_percentiles_over_all_and_by_hour() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "300ms")]).await;
    // Fourteen days of one value each five minutes, put closer together: half their distance, so that
    // the oldest is seven days old.
    let latencies = latencies();
    let last_minute = latencies.last().unwrap().0;
    let end_ms = now_ms() / HOUR_MS * HOUR_MS;
    let at = |minute: i64| end_ms - (last_minute - minute + 1) * MINUTE_MS / 2;
    let blank = Batch::new("store-1");
    for (seq, part) in (0_u64..).zip(latencies.chunks(500)) {
        let mut batch = blank.clone().seq(seq);
        for (minute, value) in part {
            batch = batch.value("network_latency_ms", at(*minute), *value);
        }
        assert_eq!(server.taken(&batch.0).await, (part.len() as u64, 0, 0));
    }
    server.wait_confirmed().await;
    let (from, to) = ((end_ms - 8 * 24 * HOUR_MS).to_string(), end_ms.to_string());
    let range = [
        ("metric", "network_latency_ms"),
        ("q", "0.5,0.95,0.99"),
        ("from", &*from),
        ("to", &*to),
    ];
    let answer = server.percentiles(&range).await;
    let point = &answer["series"][0]["points"][0];
    assert_eq!(point["count"], 4_032);
    within(point["values"]["0.95"].as_f64().unwrap(), 48.438, "p95");
    within(point["values"]["0.99"].as_f64().unwrap(), 50.164, "p99");
    let all: Vec<f64> = latencies.iter().map(|(_, value)| *value).collect();
    within(
        point["values"]["0.5"].as_f64().unwrap(),
        exact(&all, "0.5"),
        "p50",
    );

    let mut by_hour = range.to_vec();
    by_hour.push(("step", "1h"));
    let answer = server.percentiles(&by_hour).await;
    let points = answer["series"][0]["points"].as_array().unwrap();
    let mut hours: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (minute, value) in &latencies {
        hours
            .entry(at(*minute) / HOUR_MS * HOUR_MS)
            .or_default()
            .push(*value);
    }
    assert_eq!(points.len(), hours.len());
    for (point, (hour_ms, values)) in points.iter().zip(&hours) {
        assert_eq!(
            (point["t"].as_i64(), point["count"].as_u64()),
            (Some(*hour_ms), Some(values.len() as u64))
        );
        for q in ["0.5", "0.95", "0.99"] {
            within(point["values"][q].as_f64().unwrap(), exact(values, q), q);
        }
    }
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}
