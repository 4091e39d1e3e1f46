//! The database: migrations, 90 days, and what SQL and Rust must agree on to the last bit.

use tillwatch::persist::migrate::{MIGRATIONS, migrate};
use tillwatch::persist::{ClickHouseError, expiry};
use tillwatch_model::Quantile;
use tillwatch_model::histogram::{bucket_highest, bucket_index, values_at};

use crate::support::{Engine, now_ms};

async fn tables(engine: &Engine) -> String {
    let sql = "SELECT name, create_table_query FROM system.tables WHERE database = 'tillwatch' ORDER BY name";
    engine.sql(sql).await
}

#[tokio::test]
async fn migrations_are_applied_once_and_guarded_by_checksum_and_release() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    let first = migrate(&clickhouse).await.unwrap();
    assert_eq!((first.before, first.applied.len()), (0, MIGRATIONS.len()));
    let before = tables(&engine).await;
    assert!(
        before.contains("rollup_1m") && before.contains("v_rollup_1m"),
        "{before}"
    );
    let second = migrate(&clickhouse).await.unwrap();
    assert_eq!((second.before, second.applied.len()), (MIGRATIONS.len(), 0));
    assert_eq!(
        tables(&engine).await,
        before,
        "a second run changes nothing"
    );

    let record = |number: u32, checksum: &str, oldest: &str| {
        format!(
            "INSERT INTO tillwatch.migration VALUES ({number}, '{number:04}_x.sql', '{checksum}', '{oldest}', '9.9.9', now64(3))"
        )
    };
    // A later release has added something that this one may run on.
    engine.sql(&record(9_000, "00", "0.1.0")).await;
    let after = migrate(&clickhouse).await.unwrap();
    assert_eq!(
        (after.before, after.applied.len()),
        (MIGRATIONS.len() + 1, 0)
    );
    // And something that it may not.
    engine.sql(&record(9_001, "00", "99.0.0")).await;
    let error = migrate(&clickhouse).await.unwrap_err();
    assert!(
        matches!(&error, ClickHouseError::NeedsLater { needs, .. } if needs == "99.0.0"),
        "{error}"
    );
    assert!(!error.is_passing());
    engine.sql("ALTER TABLE tillwatch.migration DELETE WHERE number > 9000 SETTINGS mutations_sync = 2").await;
    // The text of an applied migration is not what it was.
    engine.sql(&record(1, "beef", "0.1.0")).await;
    let error = migrate(&clickhouse).await.unwrap_err();
    assert!(
        matches!(&error, ClickHouseError::ChangedMigration { applied, .. } if applied == "beef"),
        "{error}"
    );
    assert!(!error.is_passing());
    assert_eq!(
        tables(&engine).await,
        before,
        "a refused run changes nothing"
    );
}

/// One row of each of these ages in days.
fn rows_of_age(days: &[u32]) -> String {
    let values: Vec<String> = days
        .iter()
        .map(|days| {
            format!(
                "('lcp_ms', '', 's', '1', 'online', 'rum', now() - INTERVAL {days} DAY, 60, generateUUIDv4(), 1, \
                 ([5], [1]), 1, 5, 5, 5, 0, 0, now64(3), {days})"
            )
        })
        .collect();
    format!(
        "INSERT INTO tillwatch.rollup_1m VALUES {}",
        values.join(", ")
    )
}

#[tokio::test]
async fn rows_older_than_ninety_days_are_deleted_and_younger_ones_kept() {
    let engine = Engine::start();
    migrate(&engine.clickhouse()).await.unwrap();
    // Merging is off while the rows come in, so that it is seen to be the TTL that deletes them.
    engine.sql("SYSTEM STOP MERGES tillwatch.rollup_1m").await;
    engine
        .sql(&rows_of_age(&[0, 1, 45, 89, 92, 100, 200]))
        .await;
    let kept = "SELECT groupArray(row_hash) FROM (SELECT row_hash FROM tillwatch.rollup_1m ORDER BY row_hash)";
    assert_eq!(engine.sql(kept).await.trim(), "[0,1,45,89,92,100,200]");
    engine
        .sql("ALTER TABLE tillwatch.rollup_1m MODIFY SETTING merge_with_ttl_timeout = 1")
        .await;
    engine.sql("SYSTEM START MERGES tillwatch.rollup_1m").await;
    let started = std::time::Instant::now();
    loop {
        let found = engine.sql(kept).await;
        if found.trim() == "[0,1,45,89]" {
            break;
        }
        assert!(
            found.contains("[0,1,45,89"),
            "a younger row is gone: {found}"
        );
        assert!(started.elapsed().as_secs() < 60, "still there: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let parts = "SELECT sum(rows) FROM system.parts WHERE table = 'rollup_1m' AND active AND partition < toString(toDate(now() - INTERVAL 91 DAY))";
    assert_eq!(engine.sql(parts).await.trim(), "0");
}

/// The embedded engine has this machine's clock, which may be wrong: the collector says what is too old.
#[tokio::test]
async fn in_the_embedded_engine_rows_go_by_the_collectors_clock_alone() {
    const DAY_MS: i64 = 86_400_000;
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    for _again in 0..2 {
        expiry::forget_ttl(&clickhouse).await.unwrap();
    }
    let with_ttl = "SELECT count() FROM system.tables WHERE database = 'tillwatch' AND engine_full LIKE '% TTL %'";
    assert_eq!(engine.sql(with_ttl).await.trim(), "0");
    engine
        .sql(&rows_of_age(&[0, 1, 45, 89, 92, 100, 200]))
        .await;
    engine.sql("OPTIMIZE TABLE tillwatch.rollup_1m FINAL").await;
    let kept = "SELECT groupArray(row_hash) FROM (SELECT row_hash FROM tillwatch.rollup_1m ORDER BY row_hash)";
    let in_2000_ms = 946_684_800_000;
    assert_eq!(
        expiry::drop_expired(&clickhouse, in_2000_ms).await.unwrap(),
        0
    );
    assert_eq!(engine.sql(kept).await.trim(), "[0,1,45,89,92,100,200]");
    assert_eq!(
        expiry::drop_expired(&clickhouse, now_ms()).await.unwrap(),
        3
    );
    assert_eq!(engine.sql(kept).await.trim(), "[0,1,45,89]");
    assert_eq!(
        expiry::drop_expired(&clickhouse, now_ms() + 50 * DAY_MS)
            .await
            .unwrap(),
        2
    );
    assert_eq!(engine.sql(kept).await.trim(), "[0,1]");
}

#[tokio::test]
async fn the_value_of_every_bucket_is_the_same_in_sql_as_in_rust() {
    let engine = Engine::start();
    migrate(&engine.clickhouse()).await.unwrap();
    let last = bucket_index(u64::MAX);
    let sql = format!(
        "SELECT tillwatch_bucket_value_v1(toUInt32(number)) FROM numbers({}) FORMAT RowBinary",
        last + 1
    );
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let bytes = http
        .post(engine.url())
        .body(sql)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let (words, rest) = bytes.as_chunks::<8>();
    assert_eq!((words.len(), rest.len()), (last as usize + 1, 0));
    for (index, word) in (0_u32..).zip(words) {
        assert_eq!(
            u64::from_le_bytes(*word),
            bucket_highest(index),
            "bucket {index}"
        );
    }
}

#[tokio::test]
async fn percentiles_of_random_histograms_are_the_same_in_sql_as_in_rust() {
    let engine = Engine::start();
    migrate(&engine.clickhouse()).await.unwrap();
    let texts = [
        "0", "0.001", "0.07", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99", "0.999", "0.9999", "1",
    ];
    let quantiles: Vec<Quantile> = texts
        .iter()
        .map(|text| Quantile::parse(text).unwrap())
        .collect();
    let levels: Vec<String> = quantiles
        .iter()
        .map(|quantile| format!("{:?}", quantile.clickhouse_level()))
        .collect();
    let mut random = fastrand::Rng::with_seed(7);
    let mut selects = Vec::new();
    let mut expected = Vec::new();
    for number in 0..400 {
        let buckets = random.usize(1..60);
        let mut indices: Vec<u32> = (0..buckets).map(|_| random.u32(0..40_000)).collect();
        indices.sort_unstable();
        indices.dedup();
        // Round totals put ranks exactly on whole numbers, where rounding shows.
        let mut counts: Vec<u64> = indices
            .iter()
            .map(|_| random.u64(1..=[1, 3, 1_000, 20_000_000][number % 4]))
            .collect();
        let total: u64 = counts.iter().sum();
        let round = [10, 100, 1_000, 1_000_000][number % 4];
        counts[0] += total.next_multiple_of(round) - total;
        expected.push(values_at(&indices, &counts, &quantiles).unwrap());
        selects.push(format!(
            "SELECT {number} AS n, arrayMap(i -> tillwatch_bucket_value_v1(i), quantilesExactWeightedArray({})({indices:?}::Array(UInt32), {counts:?}::Array(UInt64))) AS v",
            levels.join(", ")
        ));
    }
    for (part, expected) in selects.chunks(50).zip(expected.chunks(50)) {
        let sql = format!(
            "SELECT v FROM ({}) ORDER BY n FORMAT TSV",
            part.join(" UNION ALL ")
        );
        let answer = engine.sql(&sql).await;
        for (line, expected) in answer.lines().zip(expected) {
            let found: Vec<u64> = line
                .trim_matches(['[', ']'])
                .split(',')
                .map(|text| text.parse().unwrap())
                .collect();
            assert_eq!(&found, expected);
        }
        assert_eq!(answer.lines().count(), expected.len());
    }
}
