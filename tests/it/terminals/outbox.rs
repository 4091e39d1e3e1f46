//! The outbox with rows of several tables, and that of a release that knew only one.

use std::sync::Arc;

use tillwatch::aggregate::Restored;
use tillwatch::clock::Clock;
use tillwatch::holdings::Holdings;
use tillwatch::persist::migrate::migrate;
use tillwatch::persist::rows::{self, RowOrigin};
use tillwatch::persist::ship::ship_once;
use tillwatch::persist::{State, audit};
use tillwatch::query::percentiles::{MERGE_BYTES_MAX, Sources};
use tillwatch::query::{Parameters, Query, QueryError};
use tillwatch::source_maps::SourceMaps;
use tillwatch::tasks::Jobs;
use tillwatch::world::World;
use tillwatch_model::Catalogue;
use tillwatch_model::time::wall_ms as now_ms;
use uuid::Uuid;

use crate::support::records::{aggregator, sync_record};
use crate::support::{Engine, Server, Terminal, audit_is_clean, data, wait_drained};

/// A record with one sync of a session.
fn record(seq: u64, received_at_ms: i64) -> Vec<u8> {
    sync_record(seq, received_at_ms, received_at_ms)
}

const COUNTS: &str = "SELECT (SELECT sum(count) FROM tillwatch.rollup_1m FINAL), \
    (SELECT sum(count) FROM tillwatch.rollup_terminal_1h FINAL), (SELECT sum(samples) FROM tillwatch.session FINAL)";

#[tokio::test]
async fn an_epoch_is_confirmed_when_every_table_has_its_rows_and_not_before() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(folder.path(), &World::of_machine()).unwrap());
    let mut aggregator = aggregator(Restored::default());
    for epoch in 1..=2 {
        for seq in [2 * epoch - 1, 2 * epoch] {
            aggregator.apply(seq, &record(seq, now_ms())).unwrap();
        }
        let sealing = state.encode(aggregator.take(), epoch).unwrap();
        state.seal(&sealing, now_ms()).unwrap();
    }
    // The table of sessions is away: the others get their rows, and nothing is confirmed.
    engine
        .sql("RENAME TABLE tillwatch.session TO tillwatch.away")
        .await;
    for is_retry in [false, true] {
        assert!(
            ship_once(&clickhouse, &state, &Clock::of_machine(), is_retry)
                .await
                .is_err()
        );
    }
    let held = "SELECT sum(count) FROM tillwatch.rollup_terminal_1h FINAL";
    assert_eq!(engine.sql(held).await.trim(), "4");
    assert_eq!(state.unconfirmed(9).unwrap().len(), 2);
    // The table is there, and takes rows, but has not kept one.
    engine
        .sql("CREATE TABLE tillwatch.session AS tillwatch.away ENGINE = Null")
        .await;
    let shipped = ship_once(&clickhouse, &state, &Clock::of_machine(), true)
        .await
        .unwrap();
    assert_eq!(shipped.confirmed, [0_u64; 0]);
    engine.sql("DROP TABLE tillwatch.session").await;
    engine
        .sql("RENAME TABLE tillwatch.away TO tillwatch.session")
        .await;
    let shipped = ship_once(&clickhouse, &state, &Clock::of_machine(), true)
        .await
        .unwrap();
    assert_eq!(shipped.confirmed, [1, 2]);
    assert_eq!(engine.sql(COUNTS).await.trim(), "4\t4\t4");
    let ledger = state.ledger(0).unwrap();
    let held = audit::held(&clickhouse, &ledger).await.unwrap();
    assert!(ledger.iter().all(|info| audit::is_complete(info, &held, 0)));
    // A copy of a row is no second row.
    for table in ["rollup_terminal_1h", "session"] {
        let copy = format!("INSERT INTO tillwatch.{table} SELECT * FROM tillwatch.{table}");
        engine.sql(&copy).await;
    }
    let held = audit::held(&clickhouse, &ledger).await.unwrap();
    assert!(ledger.iter().all(|info| audit::is_complete(info, &held, 0)));
    // One that is gone is missed.
    for (table, epoch) in [("rollup_terminal_1h", 1), ("session", 2)] {
        let delete = format!(
            "ALTER TABLE tillwatch.{table} DELETE WHERE epoch = {epoch} SETTINGS mutations_sync = 2"
        );
        engine.sql(&delete).await;
        let held = audit::held(&clickhouse, &ledger).await.unwrap();
        let complete = ledger
            .iter()
            .filter(|info| audit::is_complete(info, &held, 0));
        assert_eq!(complete.count(), 2 - epoch, "{table}");
    }
}

#[tokio::test]
async fn what_a_release_without_these_tables_confirmed_is_shipped_by_one_that_has_them() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(folder.path(), &World::of_machine()).unwrap());
    let mut aggregator = aggregator(Restored::default());
    for epoch in 1..=2 {
        aggregator.apply(epoch, &record(epoch, now_ms())).unwrap();
        let sealing = state.encode(aggregator.take(), epoch).unwrap();
        state.seal(&sealing, now_ms()).unwrap();
    }
    // As after a release that was rolled back; one of them so long ago that its ledger would be deleted.
    let other = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    let confirm = "UPDATE epoch SET confirmed_at_ms = ?2 WHERE epoch = ?1";
    for (epoch, days) in [(1, 100), (2, 60)] {
        let confirmed_at_ms = now_ms() - days * 86_400_000;
        other.execute(confirm, [epoch, confirmed_at_ms]).unwrap();
    }
    state.expire(now_ms()).unwrap();
    let shipped = ship_once(&clickhouse, &state, &Clock::of_machine(), false)
        .await
        .unwrap();
    assert_eq!(shipped.confirmed, [1, 2]);
    let held = "SELECT (SELECT arraySort(groupArray(epoch)) FROM tillwatch.rollup_terminal_1h), (SELECT arraySort(groupArray(epoch)) FROM tillwatch.session)";
    assert_eq!(engine.sql(held).await.trim(), "[1,2]\t[1,2]");
    assert_eq!(state.left_behind(9).unwrap(), []);
}

/// The state file as the first release made it. Never edited: such files are out there.
const LAYOUT_1: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE epoch (
        epoch INTEGER PRIMARY KEY, collector_id TEXT NOT NULL, sealed_at_ms INTEGER NOT NULL, first_position INTEGER NOT NULL,
        applied_position INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, confirmed_at_ms INTEGER);
    CREATE TABLE epoch_day (
        epoch INTEGER NOT NULL, day INTEGER NOT NULL, row_count INTEGER NOT NULL,
        samples INTEGER NOT NULL, hash_sum INTEGER NOT NULL, PRIMARY KEY (epoch, day)) WITHOUT ROWID;
    CREATE TABLE outbox (epoch INTEGER PRIMARY KEY, plain_bytes INTEGER NOT NULL, blob BLOB NOT NULL);
    CREATE TABLE queue (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, queue BLOB NOT NULL, window BLOB NOT NULL,
        PRIMARY KEY (store_id, terminal_id, queue)) WITHOUT ROWID;
    CREATE TABLE terminal (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (store_id, terminal_id)) WITHOUT ROWID;
    CREATE TABLE name (
        kind TEXT NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE series (
        kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE session_key (day INTEGER PRIMARY KEY, key BLOB NOT NULL);
    PRAGMA user_version = 1;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_of_the_first_release_goes_on_and_its_outbox_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::create_dir_all(&path).unwrap();
    let connection = rusqlite::Connection::open(path.join("state.sqlite")).unwrap();
    connection.execute_batch(LAYOUT_1).unwrap();
    let collector_id = Uuid::new_v4();
    let mut aggregator = aggregator(Restored::default());
    for seq in 1..=3 {
        aggregator.apply(seq, &record(seq, now_ms())).unwrap();
    }
    let cut = aggregator.take();
    let origin = RowOrigin {
        collector_id,
        epoch: 1,
        received_at_ms: cut.journal_ms,
    };
    let totals = serde_json::to_string(&cut.totals).unwrap();
    let encoded = rows::encode(cut.windows.into_rows(&cut.tables), origin);
    for (key, value) in [
        ("collector_id", collector_id.to_string()),
        ("last_epoch", "1".to_owned()),
        ("applied", "3".to_owned()),
        ("totals", totals),
    ] {
        connection
            .execute("INSERT INTO meta VALUES (?1, ?2)", [key, &value])
            .unwrap();
    }
    let blob = zstd::bulk::compress(&encoded.bytes, 1).unwrap();
    connection
        .execute(
            "INSERT INTO epoch VALUES (1, ?1, ?2, 1, 3, ?2, NULL)",
            rusqlite::params![collector_id.to_string(), now_ms()],
        )
        .unwrap();
    for (day, ledger) in &encoded.days {
        connection
            .execute(
                "INSERT INTO epoch_day VALUES (1, ?1, ?2, ?3, ?4)",
                rusqlite::params![
                    day,
                    ledger.rows.cast_signed(),
                    ledger.samples.cast_signed(),
                    ledger.hash_sum.cast_signed()
                ],
            )
            .unwrap();
    }
    connection
        .execute(
            "INSERT INTO outbox VALUES (1, ?1, ?2)",
            rusqlite::params![i64::try_from(encoded.bytes.len()).unwrap(), blob],
        )
        .unwrap();
    drop(connection);

    let engine = Engine::start();
    let url = engine.url();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "100ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    wait_drained(&server).await;
    let rollups = "SELECT sum(count) FROM tillwatch.rollup_1m FINAL WHERE epoch = 1";
    assert_eq!(engine.sql(rollups).await.trim(), "3");
    let mut terminal = Terminal::new("store-2");
    terminal.post_fresh(&server, 4, 2).await;
    wait_drained(&server).await;
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

#[tokio::test]
async fn rows_that_the_outbox_has_lost_are_damage_for_who_asks_as_for_who_ships() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    clickhouse.set_prepared();
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(folder.path(), &World::of_machine()).unwrap());
    let mut aggregator = aggregator(Restored::default());
    aggregator.apply(1, &record(1, now_ms())).unwrap();
    let sealing = state.encode(aggregator.take(), 1).unwrap();
    state.seal(&sealing, now_ms()).unwrap();
    let sources = Sources {
        catalogue: Arc::new(Catalogue::default()),
        holdings: Arc::new(Holdings::new(
            aggregator,
            state.unconfirmed(usize::MAX).unwrap(),
            1,
            state.dirty_hours().unwrap(),
            state.collector_id(),
            1,
        )),
        state: Arc::clone(&state),
        clickhouse: clickhouse.clone(),
        source_maps: SourceMaps::of(folder.path()),
        merge_bytes_max: MERGE_BYTES_MAX,
        jobs: Jobs::new(1),
        is_engine_here: true,
    };
    let query = Query::new(
        sources,
        Box::new(|| 1),
        Clock::of_machine(),
        Arc::default(),
        Arc::default(),
    );
    let asked = |pairs: &[(&str, &str)]| -> Parameters {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let answers = async || {
        let metric = asked(&[("metric", "sync_duration_ms")]);
        let store = asked(&[("store_id", "store-1")]);
        [
            query.percentiles(&metric).await.map(drop),
            query.terminals(&store).await.map(drop),
            query.session(&"09".repeat(16)).await.map(drop),
        ]
    };
    for answer in answers().await {
        answer.unwrap();
    }
    assert_eq!(state.outbox_totals().unwrap().epochs, 1);

    let other = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    for (delete, table, which) in [
        (
            "DELETE FROM side_outbox WHERE table_name = 'session'",
            "session",
            2,
        ),
        (
            "DELETE FROM side_outbox WHERE table_name = 'rollup_terminal_1h'",
            "rollup_terminal_1h",
            1,
        ),
        ("DELETE FROM outbox", "rollup_1m", 0),
    ] {
        assert_eq!(other.execute(delete, []).unwrap(), 1, "{delete}");
        let [answer, ..] = {
            let mut answers = answers().await;
            answers.swap(0, which);
            answers
        };
        let answered = answer.expect_err("fewer samples than there are");
        assert!(matches!(answered, QueryError::State(_)), "{answered}");
        let shipped = ship_once(&clickhouse, &state, &Clock::of_machine(), false).await;
        let shipped = shipped.expect_err("an epoch without its rows");
        for error in [answered.to_string(), shipped.to_string()] {
            assert!(error.contains("has lost the rows of epoch 1"), "{error}");
        }
        assert!(answered.to_string().contains(table), "{answered}");
    }
    // It still waits: it must not look as if all were shipped.
    assert_eq!(state.outbox_totals().unwrap().epochs, 1);
    assert!(state.outbox_totals().unwrap().oldest_ms.is_some());
    // Nor is a part of it given another number.
    let renewed = state.renew_collector_id(&[1]).unwrap_err();
    assert!(renewed.to_string().contains("has lost"), "{renewed}");
}
