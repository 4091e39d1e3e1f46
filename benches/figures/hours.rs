//! The hourly rollups: how long summing up takes, what reading 90 days takes, bytes on disk.

use std::time::{Duration, Instant};

use crate::child::Child;
use crate::median;

const SERVE: [&str; 4] = ["--seal-interval", "1h", "--rebuild-quiet", "1s"];
const STORES: u32 = 50;
/// The metrics that a terminal reports every minute, and whether they have buckets.
const METRICS: [(&str, bool); 12] = [
    ("sync_duration_ms", true),
    ("lcp_ms", true),
    ("inp_ms", true),
    ("cls_score", true),
    ("offline_login_duration_ms", true),
    ("sync_payload_bytes", true),
    ("memory_used_mb", true),
    ("idb_write_ms", true),
    ("pending_transactions", true),
    ("sync_items_count", false),
    ("cache_requests", false),
    ("errors", false),
];

/// One row a store and minute, 20 buckets of a hundred values each: an hour has about 900 buckets.
fn insert(serve: &Child, (metric, has_buckets): (&str, bool), (first_day, end_day): (u32, u32)) {
    let buckets = if has_buckets { 20 } else { 0 };
    let minutes = (end_day - first_day) * 1_440;
    serve.sql(&format!(
        "INSERT INTO rollup_1m SELECT '{metric}', '', concat('store-', leftPad(toString(number % {STORES}), 3, '0')), '2.4.1', 'online', 'rum', \
         toStartOfHour(now()) - 60 - {first_day} * 86400 - intDiv(number, {STORES}) * 60, 60, toUUID('00000000-0000-0000-0000-000000000001'), \
         1 + intDiv(number, {STORES} * 5), \
         (arrayMap(i -> toUInt32(9000 + i * 97 + cityHash64(number, i) % 97), range({buckets})), arrayMap(i -> toUInt64(1 + cityHash64(i, number) % 9), range({buckets}))), \
         100, 100000000, 1000, 9000000, 10, 1, now64(3), cityHash64(number, '{metric}') FROM numbers({minutes} * {STORES}) \
         SETTINGS max_partitions_per_insert_block = 200"
    ));
}

fn number(serve: &Child, series: &str) -> f64 {
    serve.metric(series).parse().unwrap_or(f64::NAN)
}

/// Makes the hourly table anew and waits until it holds so many hours of stores; seconds that summing up took.
fn fill(serve: &mut Child, hours: u32) -> f64 {
    serve.sql("DROP TABLE rollup_1h SYNC");
    serve.sql("DROP VIEW v_rollup_1h SYNC");
    serve.sql("ALTER TABLE migration DELETE WHERE number = 2 SETTINGS mutations_sync = 2");
    serve.kill_and_restart(&SERVE);
    let started = Instant::now();
    // Every day is looked at, then every hour summed up.
    // The counter is not there until the first hours are.
    let rebuilt = |serve: &Child| {
        let hours = number(serve, "tillwatch_rebuilt_rollups_total");
        if hours.is_nan() { 0.0 } else { hours }
    };
    while rebuilt(serve) < f64::from(hours)
        || number(serve, "tillwatch_unchecked_partitions")
            + number(serve, "tillwatch_dirty_rollups")
            > 0.0
    {
        assert!(
            started.elapsed() < Duration::from_secs(1_800),
            "not summed up in half an hour"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    number(serve, "tillwatch_rebuild_duration_seconds_sum")
}

pub fn hours() {
    println!(
        "\n== hours: {STORES} stores, {} metrics for 7 days, sync_duration_ms for 90, one row a minute",
        METRICS.len()
    );
    let mut serve = Child::serve(&SERVE);
    for metric in METRICS {
        insert(&serve, metric, (0, 7));
    }
    let hours = 7 * 24 * STORES;
    let seconds = fill(&mut serve, hours);
    println!("summing up {hours} hours of stores, 168 of each, all metrics: {seconds:.1} s");
    let bytes = "SELECT table, round(sum(bytes_on_disk) / 7 / 1e6, 1) FROM system.parts
        WHERE active AND table IN ('rollup_1m', 'rollup_1h') GROUP BY table ORDER BY table";
    println!(
        "MB on disk a day, all metrics:\n{}",
        serve.sql(bytes).trim()
    );

    insert(&serve, METRICS[0], (7, 90));
    let hours = 90 * 24 * STORES;
    let seconds = fill(&mut serve, hours);
    println!("summing up {hours} hours of stores, 90 days of them one metric: {seconds:.1} s");
    let day = "metric=sync_duration_ms&q=0.5,0.95,0.99&step=1d&group_by=store_id";
    let hour = "metric=sync_duration_ms&q=0.5,0.95,0.99&step=1h&store_id=store-007";
    let read = |serve: &Child, when: &str| {
        for (what, query, least) in [
            ("by store and day", day, STORES as usize * 90),
            ("by hour, one store", hour, 2_100),
        ] {
            let mut times = Vec::new();
            for _ in 0..7 {
                let (seconds, points) = serve.time_of(query, 90 * 24);
                assert!(points >= least, "{points} points");
                times.push(seconds);
            }
            let (middle, least, most) = median(times);
            println!("90 days {what}, {when}: {middle:.2} s ({least:.2} to {most:.2})");
        }
    };
    read(&serve, "just summed up");
    // As a day later: a week that has come to rest is one part.
    serve.sql("OPTIMIZE TABLE rollup_1h FINAL");
    read(&serve, "weeks at rest");
}
