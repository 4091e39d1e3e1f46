//! Percentiles against those of the sorted values themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Batch, Server, now_ms};

const MINUTE_MS: i64 = 60_000;
const QUANTILES: [(&str, u64, u64); 7] = [
    ("0.01", 1, 100),
    ("0.5", 1, 2),
    ("0.75", 3, 4),
    ("0.95", 19, 20),
    ("0.99", 99, 100),
    ("0.999", 999, 1_000),
    ("1", 1, 1),
];

/// The value of rank ⌈q·n⌉ among sorted integers.
fn exact(sorted: &[u64], (numerator, denominator): (u64, u64)) -> u64 {
    let rank = (sorted.len() as u64 * numerator)
        .div_ceil(denominator)
        .max(1);
    sorted[usize::try_from(rank).unwrap() - 1]
}

/// Asserts a point of an answer against all values behind it, in microseconds.
fn is_exact(point: &Value, values: &[u64], what: &str) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    assert_eq!(point["count"], values.len(), "{what}");
    let close = |key: &str, exact: u64| {
        let found = point[key].as_f64().unwrap() * 1e3;
        assert!(
            (found - exact as f64).abs() < 0.5 + exact as f64 * 1e-12,
            "{what}: {key} {found}, not {exact}"
        );
    };
    close("sum", values.iter().sum());
    close("min", sorted[0]);
    close("max", sorted[sorted.len() - 1]);
    for (text, numerator, denominator) in QUANTILES {
        let exact = exact(&sorted, (numerator, denominator)) as f64;
        let found = point["values"][text].as_f64().unwrap() * 1e3;
        // A bucket is read as its highest value: never below the exact one, never 0.1 % above.
        assert!(
            found >= exact - 0.5 && found <= exact * 1.001 + 0.5,
            "{what}: {text} is {found}, not {exact}"
        );
    }
}

#[tokio::test]
async fn percentiles_are_those_of_the_sorted_values_at_every_level() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "400ms")]).await;
    let seed = 4_711;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let base_ms = (now_ms() / (15 * MINUTE_MS) - 2) * 15 * MINUTE_MS;
    // Lognormal bodies with a heavy tail; each store is slower than the one before, so that an
    // average of percentiles would be far from the truth.
    let mut values: BTreeMap<(usize, i64), Vec<u64>> = BTreeMap::new();
    let mut posts = 0;
    for round in 0..8_u64 {
        for store in 0..3_usize {
            for terminal in 0..3 {
                let queue = uuid::Uuid::from_u128((store * 10 + terminal) as u128 + 1).to_string();
                let mut batch = Batch::new(&format!("exact-{store}"))
                    .with("queue", queue)
                    .seq(round)
                    .with("terminal_id", format!("till-{terminal}"));
                for _ in 0..random.usize(1..90) {
                    let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
                    let tail = if random.u8(0..50) == 0 { 400.0 } else { 1.0 };
                    let value_us = ((2_000.0
                        * 4_f64.powi(i32::try_from(store).unwrap())
                        * normal.exp()
                        * tail) as u64)
                        .min(600_000_000_000);
                    let minute = random.i64(0..6);
                    values.entry((store, minute)).or_default().push(value_us);
                    let t_ms = base_ms + minute * MINUTE_MS + random.i64(0..MINUTE_MS);
                    batch = batch.value("network_latency_ms", t_ms, value_us as f64 / 1e3);
                }
                server.taken(&batch.0).await;
                posts += 1;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(posts, 72);
    for is_settled in [false, true] {
        if is_settled {
            server.wait_confirmed().await;
        }
        levels(&server, base_ms, &values).await;
    }
    server.stop().await;
}

async fn levels(server: &Server, base_ms: i64, values: &BTreeMap<(usize, i64), Vec<u64>>) {
    let texts: Vec<&str> = QUANTILES.iter().map(|(text, _, _)| *text).collect();
    let (q, from, to) = (
        texts.join(","),
        base_ms.to_string(),
        (base_ms + 15 * MINUTE_MS).to_string(),
    );
    let ask = async |more: &[(&str, &str)]| {
        let mut parameters = vec![
            ("metric", "network_latency_ms"),
            ("q", &q),
            ("from", &from),
            ("to", &to),
        ];
        parameters.extend(more);
        server.percentiles(&parameters).await["series"].clone()
    };
    let of = |wanted: &dyn Fn(usize, i64) -> bool| -> Vec<u64> {
        let found = values
            .iter()
            .filter(|((store, minute), _)| wanted(*store, *minute));
        found.flat_map(|(_, values)| values.clone()).collect()
    };
    // Terminals into a store's minute.
    let series = ask(&[("step", "60"), ("group_by", "store_id")]).await;
    for (store, series) in series.as_array().unwrap().iter().enumerate() {
        assert_eq!(series["store_id"], format!("exact-{store}"));
        let points = series["points"].as_array().unwrap();
        assert_eq!(points.len(), 6);
        for (minute, point) in (0..).zip(points) {
            assert_eq!(point["t"], base_ms + minute * MINUTE_MS);
            is_exact(
                point,
                &of(&|s, m| s == store && m == minute),
                &format!("store {store}, minute {minute}"),
            );
        }
    }
    // Minutes into quarters, stores into the fleet.
    let series = ask(&[("step", "15m"), ("group_by", "store_id")]).await;
    for store in 0..3 {
        is_exact(
            &series[store]["points"][0],
            &of(&|s, _| s == store),
            &format!("store {store}"),
        );
    }
    let fleet = ask(&[]).await;
    is_exact(&fleet[0]["points"][0], &of(&|_, _| true), "fleet");
    let by_minute = ask(&[("step", "60")]).await;
    for minute in 0..6 {
        let point = &by_minute[0]["points"][usize::try_from(minute).unwrap()];
        is_exact(
            point,
            &of(&|_, m| m == minute),
            &format!("fleet, minute {minute}"),
        );
    }
    // The average of the stores' percentiles is something else: these data would show it.
    let p95s: f64 = (0..3)
        .map(|store| {
            series[store]["points"][0]["values"]["0.95"]
                .as_f64()
                .unwrap()
        })
        .sum();
    let merged = fleet[0]["points"][0]["values"]["0.95"].as_f64().unwrap();
    assert!(
        (p95s / 3.0 - merged).abs() > merged * 0.05,
        "{p95s} / 3 is too near {merged}"
    );
}

/// 1 to 100,000 values of one metric in one batch of each size: ranks at which floating point errs.
#[tokio::test]
async fn ranks_are_whole_numbers_wherever_they_are_computed() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let minute_ms = (now_ms() / MINUTE_MS - 2) * MINUTE_MS;
    // 0.07 × 100, 0.29 × 100, 0.57 × 100 and their like are a hair above a whole number in floating point.
    let sizes = [1_u64, 2, 3, 7, 20, 99, 100, 101, 1_000];
    for size in sizes {
        let mut batch = Batch::new(&format!("ranks-{size}"));
        for value in 1..=size {
            batch = batch.push(json!({"m": "pending_transactions", "t": minute_ms, "v": value}));
        }
        server.taken(&batch.0).await;
    }
    let hundredths: Vec<String> = (0..=100)
        .map(|n| format!("{}.{:02}", n / 100, n % 100))
        .collect();
    let check = async |server: &Server| {
        for size in sizes {
            for chunk in hundredths.chunks(20) {
                let store_id = format!("ranks-{size}");
                let q = chunk.join(",");
                let answer = server
                    .percentiles(&[
                        ("metric", "pending_transactions"),
                        ("q", &q),
                        ("store_id", &store_id),
                    ])
                    .await;
                for text in chunk {
                    let hundredth: u64 = text.replace('.', "").parse().unwrap();
                    // Up to 2,047 every bucket holds one value, so the rank itself is read back.
                    let expected = (size * hundredth).div_ceil(100).max(1) as f64;
                    assert_eq!(
                        answer["series"][0]["points"][0]["values"][text], expected,
                        "{text} of {size}"
                    );
                }
            }
        }
    };
    check(&server).await;
    let server = server.restart().await;
    server.wait_confirmed().await;
    check(&server).await;
    server.stop().await;
}
