//! Shipping as ClickHouse sees it: what is sent again arrives, connections are shared, and reading back asks
//! for sums before it asks for rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tillwatch::aggregate::Restored;
use tillwatch::clock::Clock;
use tillwatch::persist::audit::{Held, is_complete};
use tillwatch::persist::by_epoch::{self, Added};
use tillwatch::persist::clickhouse::OneNumber;
use tillwatch::persist::migrate::{MIGRATIONS, migrate, migrate_with};
use tillwatch::persist::repair::{self, Merge, Repaired};
use tillwatch::persist::ship::{guard_epochs, ship_once, used_epochs};
use tillwatch::persist::{ClickHouse, ClickHouseError, Endpoint, EpochInfo, State, audit};
use tillwatch::world::World;
use tillwatch_model::time::wall_ms as now_ms;

use crate::support::records::{aggregator, sync_record};
use crate::support::{Engine, Proxy, Server, Weather};

const DAY_MS: i64 = 86_400_000;
const TABLES: [&str; 4] = [
    "rollup_1m",
    "rollup_terminal_1h",
    "session",
    "error_group_1h",
];

/// A ClickHouse at an address, as the program talks to it.
fn at(url: String) -> ClickHouse {
    let endpoint = Endpoint {
        url,
        user: "default".to_owned(),
        password: String::new(),
    };
    ClickHouse::fixed(endpoint, Duration::from_secs(60))
}

/// The engine, refusing every question that it would have to group rows for.
async fn by_sums_alone(engine: &Engine) -> (Proxy, ClickHouse) {
    let proxy = Proxy::start(engine.address, Weather::SumsOnly).await;
    let clickhouse = at(proxy.url());
    (proxy, clickhouse)
}

/// A state file whose epochs each hold a sample of today and one of three days ago.
fn state_with(folder: &std::path::Path, epochs: u64) -> Arc<State> {
    let state = Arc::new(State::open(folder, &World::of_machine()).unwrap());
    seal_more(&state, 1..=epochs);
    state
}

fn seal_more(state: &State, epochs: std::ops::RangeInclusive<u64>) {
    let mut aggregator = aggregator(Restored::default());
    for epoch in epochs {
        for (seq, age_days) in [(2 * epoch - 1, 0), (2 * epoch, 3)] {
            let record = sync_record(seq, now_ms(), now_ms() - age_days * DAY_MS);
            aggregator.apply(seq, &record).unwrap();
        }
        let sealing = state.encode(aggregator.take(), epoch).unwrap();
        state.seal(&sealing, now_ms()).unwrap();
    }
}

async fn ship(clickhouse: &ClickHouse, state: &Arc<State>) -> Vec<u64> {
    let shipped = ship_once(clickhouse, state, &Clock::of_machine(), false).await;
    shipped.unwrap().confirmed
}

/// How many of the epochs ClickHouse holds in full.
async fn complete(clickhouse: &ClickHouse, ledger: &[EpochInfo]) -> usize {
    let held = audit::held(clickhouse, ledger).await.unwrap();
    let is_complete = |info: &&EpochInfo| is_complete(info, &held, 0);
    ledger.iter().filter(is_complete).count()
}

#[tokio::test]
async fn rows_sent_again_after_a_delete_arrive_although_the_server_remembers_them() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    // As on replicated tables, where it is the default.
    for table in TABLES {
        let remember = format!(
            "ALTER TABLE tillwatch.{table} MODIFY SETTING non_replicated_deduplication_window = 1000"
        );
        engine.sql(&remember).await;
    }
    // What the older of the two settings alone does on this server: the second insert is dropped.
    let insert = "INSERT INTO tillwatch.rollup_1m SETTINGS insert_deduplicate = 0 VALUES ('lcp_ms', '', 's', '1', 'online', 'rum',
        '2026-11-20 10:00:00', 60, '00000000-0000-0000-0000-000000000009', 1, ([5], [1]), 1, 5, 5, 5, 0, 0, '2026-11-20 10:00:00', 7)";
    let delete = |table: &str| {
        format!("ALTER TABLE tillwatch.{table} DELETE WHERE 1 SETTINGS mutations_sync = 2")
    };
    engine.sql(insert).await;
    engine.sql(&delete("rollup_1m")).await;
    engine.sql(insert).await;
    let count = "SELECT count() FROM tillwatch.rollup_1m";
    assert_eq!(engine.sql(count).await.trim(), "0");

    let folder = tempfile::tempdir().unwrap();
    let state = state_with(folder.path(), 1);
    assert_eq!(ship(&clickhouse, &state).await, [1]);
    for table in TABLES {
        engine.sql(&delete(table)).await;
    }
    let ledger = state.ledger(0).unwrap();
    assert_eq!(complete(&clickhouse, &ledger).await, 0);
    let repaired = repair::repair(&clickhouse, &state, &ledger[0], now_ms(), Merge::IfNeeded);
    assert_eq!(repaired.await.unwrap(), Repaired::Whole);
    assert_eq!(complete(&clickhouse, &ledger).await, 1);
}

#[tokio::test]
async fn statements_share_a_connection() {
    let engine = Engine::start();
    let proxy = Proxy::start(engine.address, Weather::Fine).await;
    let clickhouse = at(proxy.url());
    migrate(&clickhouse).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = state_with(folder.path(), 1);
    assert_eq!(ship(&clickhouse, &state).await, [1]);
    for number in 0..60_u64 {
        // Clones and other databases are the same server.
        let clickhouse = clickhouse.in_database("system");
        let rows: Vec<OneNumber> = clickhouse
            .fetch("SELECT {n:UInt64} AS number", |query| {
                query.param("n", number)
            })
            .await
            .unwrap();
        assert_eq!(rows[0].number, number);
    }
    // One, if the machine is quick: a connection that is idle for two seconds is not used again.
    let accepted = proxy.accepted.load(Ordering::Relaxed);
    assert!(
        (1..20).contains(&accepted),
        "{accepted} connections for over 80 statements"
    );
}

#[tokio::test]
async fn epochs_are_read_back_by_their_sums_and_row_by_row_where_these_differ() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    let (_proxy, by_sums) = by_sums_alone(&engine).await;
    migrate(&clickhouse).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = state_with(folder.path(), 3);
    assert_eq!(ship(&by_sums, &state).await, [1, 2, 3]);
    let ledger = state.ledger(0).unwrap();
    assert_eq!(complete(&by_sums, &ledger).await, 3);
    guard_epochs(&by_sums, &state).await.unwrap();
    let runs = [(state.collector_id(), 1, 2)];
    let strays = repair::strays(&by_sums, &runs, now_ms()).await.unwrap();
    assert_eq!(
        strays
            .iter()
            .map(|stray| (stray.epoch, stray.rows))
            .collect::<Vec<_>>(),
        [(3, 2)]
    );
    let others = repair::others(&by_sums, &[uuid::Uuid::nil()], now_ms())
        .await
        .unwrap();
    assert_eq!(
        (others[0].epochs, others[0].rows, others[0].samples),
        (3, 6, 6)
    );

    // Rows that were sent twice: the sums do not tell, the rows do; and a merge makes the sums right again.
    for table in TABLES {
        engine
            .sql(&format!("SYSTEM STOP MERGES tillwatch.{table}"))
            .await;
        let copy = format!(
            "INSERT INTO tillwatch.{table} SELECT * FROM tillwatch.{table} WHERE epoch = 2"
        );
        engine.sql(&copy).await;
    }
    let refused = audit::held(&by_sums, &ledger).await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("PROJECTION_NOT_USED"),
        "{refused:?}"
    );
    let held = audit::held(&clickhouse, &ledger).await.unwrap();
    assert!(ledger.iter().all(|info| is_complete(info, &held, 0)));
    let copies = |(_, held): (_, &Held)| held.physical_rows - held.ledger.rows;
    assert_eq!(held.rollups.iter().map(copies).sum::<u64>(), 2);
    for table in TABLES {
        engine
            .sql(&format!("SYSTEM START MERGES tillwatch.{table}"))
            .await;
        engine
            .sql(&format!("OPTIMIZE TABLE tillwatch.{table} FINAL"))
            .await;
    }
    assert_eq!(complete(&by_sums, &ledger).await, 3);

    // Rows that are gone are missed, and so are rows that are other than they were sent.
    let gone =
        "DELETE FROM tillwatch.rollup_1m WHERE epoch = 1 AND window_start < now() - INTERVAL 1 DAY";
    engine.sql(gone).await;
    assert_eq!(complete(&clickhouse, &ledger).await, 2);
    let other = "ALTER TABLE tillwatch.session UPDATE row_hash = row_hash + 1 WHERE epoch = 2 SETTINGS mutations_sync = 2";
    engine.sql(other).await;
    assert_eq!(complete(&clickhouse, &ledger).await, 1);
    // An older copy of the state file knows two epochs: another row of the third is not its own.
    let older = tempfile::tempdir().unwrap();
    drop(state);
    std::fs::copy(
        folder.path().join("state.sqlite"),
        older.path().join("state.sqlite"),
    )
    .unwrap();
    let older = Arc::new(State::open(older.path(), &World::of_machine()).unwrap());
    seal_more(&older, 4..=5);
    let stranger =
        "INSERT INTO tillwatch.rollup_1m SELECT * REPLACE (5 AS epoch, row_hash + 1 AS row_hash)
        FROM (SELECT * FROM tillwatch.rollup_1m WHERE epoch = 3)";
    engine.sql(stranger).await;
    let error = guard_epochs(&by_sums, &older).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClickHouseError::EpochReuse {
                theirs: 5,
                ours: 3,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(used_epochs(&clickhouse, &older).await.unwrap(), [5]);
}

/// Parts that have no sums.
const LACKING: &str = "SELECT count() FROM system.parts WHERE database = 'tillwatch' AND active
    AND table IN ('rollup_1m', 'rollup_terminal_1h', 'session', 'error_group_1h') AND NOT has(projections, 'by_epoch')";

/// The release before the sums has filled the tables.
async fn before_the_sums(engine: &Engine, state: &Arc<State>) {
    let clickhouse = engine.clickhouse();
    migrate_with(&clickhouse, &MIGRATIONS[..3], "0.1.0")
        .await
        .unwrap();
    // The rows of tables that are younger than the sums need their tables.
    for younger in MIGRATIONS.iter().filter(|m| [6, 7, 8].contains(&m.number)) {
        for statement in younger.statements() {
            clickhouse.execute(statement).await.unwrap();
        }
    }
    assert_eq!(ship(&clickhouse, state).await, [1, 2]);
    assert_ne!(engine.sql(LACKING).await.trim(), "0");
}

#[tokio::test]
async fn parts_from_before_the_sums_are_read_as_before_until_they_have_them() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    let (_proxy, by_sums) = by_sums_alone(&engine).await;
    let folder = tempfile::tempdir().unwrap();
    let state = state_with(folder.path(), 2);
    before_the_sums(&engine, &state).await;
    migrate(&clickhouse).await.unwrap();
    let ledger = state.ledger(0).unwrap();
    assert_eq!(complete(&clickhouse, &ledger).await, 2);
    guard_epochs(&clickhouse, &state).await.unwrap();
    // Younger rows beside them; and a row of before that is sent again, which only a merge makes one.
    seal_more(&state, 3..=3);
    assert_eq!(ship(&clickhouse, &state).await, [3]);
    let ledger = state.ledger(0).unwrap();
    assert_eq!(complete(&clickhouse, &ledger).await, 3);
    // A part of which nothing is left does not keep the others apart.
    engine
        .sql("ALTER TABLE tillwatch.rollup_1m DELETE WHERE epoch = 3 SETTINGS mutations_sync = 2")
        .await;
    let repaired = repair::repair(&clickhouse, &state, &ledger[2], now_ms(), Merge::Always).await;
    assert_eq!(repaired.unwrap(), Repaired::Whole);
    let repaired = repair::repair(&clickhouse, &state, &ledger[0], now_ms(), Merge::Always).await;
    assert_eq!(repaired.unwrap(), Repaired::Whole);
    let parts = "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts
        WHERE database = 'tillwatch' AND table = 'rollup_1m' AND active GROUP BY partition)";
    assert_eq!(engine.sql(parts).await.trim(), "1", "they are merged");

    let started = std::time::Instant::now();
    loop {
        match by_epoch::add_next(&clickhouse).await.unwrap() {
            Added::All => break,
            Added::Begun(_) | Added::Waiting => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(
            started.elapsed().as_secs() < 60,
            "{}",
            engine.sql(LACKING).await
        );
    }
    assert_eq!(engine.sql(LACKING).await.trim(), "0");
    assert_eq!(complete(&by_sums, &ledger).await, 3);
    guard_epochs(&by_sums, &state).await.unwrap();
    // The release before runs on: it inserts and reads as it always has.
    let known = migrate_with(&clickhouse, &MIGRATIONS[..3], "0.1.0")
        .await
        .unwrap();
    assert_eq!(known.before, MIGRATIONS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_gives_the_sums_to_parts_from_before_there_were_any() {
    let engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    before_the_sums(&engine, &state_with(folder.path(), 2)).await;
    let url = engine.url();
    let server = Server::start_with(&[("TILLWATCH_CLICKHOUSE_URL", url.as_str())]).await;
    let started = std::time::Instant::now();
    while engine.sql(LACKING).await.trim() != "0" {
        assert!(started.elapsed().as_secs() < 60, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}
