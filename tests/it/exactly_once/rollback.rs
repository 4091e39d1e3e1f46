//! A release is rolled back, and forward again: the older one runs on what the newer one left, and what it
//! wrote meanwhile is found.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tillwatch::aggregate::NameAges;
use tillwatch::persist::migrate::{MIGRATIONS, migrate, migrate_with};
use tillwatch::persist::rebuild::{Confirmed, differing_hours, held_hours, rebuild};
use tillwatch::persist::{ClickHouseError, State, StateError};
use tillwatch::world::World;
use tillwatch_model::time::wall_ms as now_ms;
use tillwatch_model::{StoreHour, StoreKeys};

use crate::support::{Engine, Exposition, Server, Terminal};

/// What an older release knows of the migrations, and which release it is.
#[tokio::test]
async fn every_older_release_runs_on_the_newest_database_unless_a_migration_needs_a_later_one() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    let tables = "SELECT name, create_table_query FROM system.tables WHERE database = 'tillwatch' ORDER BY name";
    let newest = engine.sql(tables).await;
    for known in 1..MIGRATIONS.len() {
        let oldest = MIGRATIONS[known..]
            .iter()
            .map(|later| later.oldest_binary())
            .max();
        let release = MIGRATIONS[..known]
            .iter()
            .map(|migration| migration.oldest_binary())
            .max()
            .unwrap();
        let outcome = migrate_with(&clickhouse, &MIGRATIONS[..known], release).await;
        if oldest > Some(release) {
            assert!(
                matches!(outcome, Err(ClickHouseError::NeedsLater { .. })),
                "knows {known}: {outcome:?}"
            );
        } else {
            let migrated = outcome.unwrap();
            assert_eq!(
                (migrated.before, migrated.applied.len()),
                (MIGRATIONS.len(), 0),
                "knows {known}"
            );
        }
    }
    // The first release may run on every database so far: all migrations only add.
    assert!(
        MIGRATIONS
            .iter()
            .all(|migration| migration.oldest_binary() == "0.1.0")
    );
    let one_row = "INSERT INTO tillwatch.rollup_1m SELECT 'lcp_ms', '', 's', '1', 'online', 'rum', now() - 60, 60,
        generateUUIDv4(), 1, ([5], [1]), 1, 5, 5, 5, 0, 0, now64(3), 7";
    engine.sql(one_row).await;
    assert_eq!(
        engine
            .sql("SELECT count() FROM tillwatch.v_rollup_1m")
            .await
            .trim(),
        "1"
    );

    // A later release has added what an old one cannot live with: it is refused, and told what it needs.
    let record = "INSERT INTO tillwatch.migration VALUES (9000, '9000_x.sql', '00', '0.2.0', '0.2.0', now64(3))";
    engine.sql(record).await;
    for (release, is_allowed) in [("0.1.9", false), ("0.2.0", true), ("0.10.0", true)] {
        match migrate_with(&clickhouse, MIGRATIONS, release).await {
            Ok(_) => assert!(is_allowed, "{release}"),
            Err(error) => {
                assert!(!is_allowed, "{release}: {error}");
                assert_eq!(
                    error.to_string(),
                    format!(
                        "the database needs tillwatch 0.2.0 or later (migration 9000_x.sql), this is {release}"
                    )
                );
            }
        }
    }
    assert_eq!(engine.sql(tables).await, newest, "nobody changed a table");
}

fn pragma(file: &Connection, name: &str) -> i64 {
    file.pragma_query_value(None, name, |row| row.get(0))
        .unwrap()
}

#[test]
fn the_state_file_of_a_later_release_is_used_unless_it_says_who_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let id = state.collector_id();
    drop(state);
    let file = Connection::open(folder.path().join("state.sqlite")).unwrap();
    // The first release refuses every file whose user_version is over 1.
    assert_eq!(pragma(&file, "user_version"), 1);
    let layout = || -> i64 {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'layout'";
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let known = layout();
    assert!(known >= 2);
    // A later release has added a table, and this one is run again.
    file.execute_batch(
        "CREATE TABLE of_later (x INTEGER); UPDATE meta SET value = '900' WHERE key = 'layout'",
    )
    .unwrap();
    assert_eq!(
        State::open(folder.path(), &World::of_machine())
            .unwrap()
            .collector_id(),
        id
    );
    assert_eq!(
        (layout(), pragma(&file, "user_version")),
        (900, 1),
        "it is still the later release's"
    );
    // The later release has changed what this one relies on.
    file.pragma_update(None, "user_version", known + 1).unwrap();
    let error = State::open(folder.path(), &World::of_machine()).unwrap_err();
    assert!(
        matches!(error, StateError::Later { found, known: knows } if found == known + 1 && knows == known),
        "{error}"
    );
    assert!(
        error.to_string().contains("run the later release"),
        "{error}"
    );
}

/// The tables that earlier releases write have the columns that they had: what is new stands beside them.
#[test]
fn a_release_without_shares_writes_the_file_and_what_it_wrote_is_nobodys_share() {
    let folder = tempfile::tempdir().unwrap();
    drop(State::open(folder.path(), &World::of_machine()).unwrap());
    let file = Connection::open(folder.path().join("state.sqlite")).unwrap();
    // As the release before this one seals.
    file.execute_batch(
        "INSERT INTO name VALUES ('store', 's-1', 0, 5), ('release', '1.0', 0, 5);
         INSERT OR REPLACE INTO series VALUES ('store', 's-1', '{}');
         INSERT OR REPLACE INTO idempotency_key VALUES (zeroblob(16), 7200001, 1, 0);
         INSERT OR REPLACE INTO terminal VALUES ('s-1', 't', '{\"release\":\"1.0\",\"last_seen_ms\":5,\"offset_ms\":0,\"levels\":{}}');
         INSERT OR REPLACE INTO queue VALUES ('s-1', 't', zeroblob(16), zeroblob(24));",
    )
    .unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let of_all_others = StoreKeys {
        store_id: "".into(),
        hour: 2,
        keys: 1,
    };
    assert_eq!(state.keys_by_store().unwrap(), [of_all_others]);
    let restored = state.restore().unwrap();
    assert_eq!((restored.stores.len(), restored.queues.len()), (1, 1));
    assert_eq!(restored.name_ages, NameAges::default());
}

/// Makes a state file what the first release would leave: without the tables and marks it does not know.
fn as_first_release(folder: &std::path::Path, last_epoch_it_saw: Option<i64>) {
    let file = Connection::open(folder.join("data/state.sqlite")).unwrap();
    match last_epoch_it_saw {
        // The file has never known another release.
        None => file
            .execute_batch(
                "DROP TABLE dirty_hour; DROP TABLE unchecked_day;
                 DELETE FROM meta WHERE key IN ('layout', 'marked_epoch', 'hourly_table')",
            )
            .unwrap(),
        // The first release ran on the file for a while: it sealed without marking.
        Some(epoch) => {
            file.execute("DELETE FROM dirty_hour WHERE epoch > ?1", [epoch])
                .unwrap();
            file.execute(
                "UPDATE meta SET value = ?1 WHERE key = 'marked_epoch'",
                [epoch.to_string()],
            )
            .unwrap();
        }
    }
}

const HOURLY: &str = "SELECT sum(version) FROM tillwatch.v_rollup_1h";
const MINUTELY: &str =
    "SELECT sum(count) FROM tillwatch.v_rollup_1m WHERE window_start < toStartOfHour(now())";

async fn wait_summed_up(server: &Server, engine: &Engine) {
    let started = std::time::Instant::now();
    loop {
        let unchecked = server
            .metrics()
            .await
            .value("tillwatch_unchecked_partitions", &[]);
        // Until the tables are there every day is unchecked.
        let (hours, minutes) = if unchecked > 0.0 {
            Default::default()
        } else {
            (engine.sql(HOURLY).await, engine.sql(MINUTELY).await)
        };
        if unchecked == 0.0 && hours == minutes {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{unchecked} days unchecked, {hours} samples by the hour, {minutes} by the minute: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything acknowledged is in an answer over 60 days, which is read by the hour where hours are clean.
async fn assert_whole(terminals: &[Terminal], server: &Server) {
    let (from, to) = (
        (now_ms() - 60 * 86_400_000).to_string(),
        now_ms().to_string(),
    );
    let parameters = [
        ("metric", "lcp_ms"),
        ("q", "0.5"),
        ("from", &*from),
        ("to", &*to),
        ("step", "1d"),
    ];
    let answer = server.percentiles(&parameters).await;
    let points = answer["series"][0]["points"].as_array().unwrap().iter();
    let count: u64 = points.map(|point| point["count"].as_u64().unwrap()).sum();
    assert_eq!(count, terminals.iter().map(Terminal::samples).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_and_a_roll_forward_find_the_hours_that_nobody_marked() {
    let engine = Engine::start();
    let url = engine.url();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
        ("TILLWATCH_REBUILD_QUIET", "100ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    // The first release filled the minutes; the hours do not exist.
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(folder.path(), &settings).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    server.stop().await;
    as_first_release(folder.path(), None);
    engine.sql("DROP TABLE tillwatch.rollup_1h SYNC").await;
    engine.sql("DROP VIEW tillwatch.v_rollup_1h SYNC").await;
    engine
        .sql("ALTER TABLE tillwatch.migration DELETE WHERE number >= 2 SETTINGS mutations_sync = 2")
        .await;

    // The upgrade finds them.
    let server = Server::start_on(folder.path(), &settings).await;
    wait_summed_up(&server, &engine).await;
    assert_whole(&terminals, &server).await;
    let marked = server.metrics().await.value("tillwatch_sealed_epoch", &[]) as i64;
    // Rolled back: more epochs, and no marks.
    terminals[0].post_fresh(&server, 5, 3).await;
    terminals[1].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    server.stop().await;
    as_first_release(folder.path(), Some(marked));
    engine.sql("TRUNCATE TABLE tillwatch.rollup_1h").await;

    // Rolled forward: the days of those epochs are looked at, and nothing is missing meanwhile.
    let server = Server::start_on(folder.path(), &settings).await;
    server.wait_confirmed().await;
    assert_whole(&terminals, &server).await;
    wait_summed_up(&server, &engine).await;
    assert_whole(&terminals, &server).await;

    // Another database in its place: everything is looked at again.
    engine.sql("DROP TABLE tillwatch.rollup_1h SYNC").await;
    engine
        .sql("ALTER TABLE tillwatch.migration DELETE WHERE number = 2 SETTINGS mutations_sync = 2")
        .await;
    let server = server.restart().await;
    assert_whole(&terminals, &server).await;
    wait_summed_up(&server, &engine).await;
    assert_whole(&terminals, &server).await;
    let reads =
        |page: &Exposition| page.value("tillwatch_query_reads_total", &[("table", "rollup_1h")]);
    assert!(
        reads(&server.metrics().await) > 0.0,
        "nothing was read by the hour"
    );
    server.stop().await;
}

/// A statement that was given up may run on: what it writes late has seen less, and loses.
#[tokio::test]
async fn of_two_rebuilds_the_one_that_saw_more_stays_and_days_that_differ_are_found() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    let collector_id = uuid::Uuid::from_u128(7);
    let hour = u32::try_from(now_ms() / 3_600_000 - 30).unwrap();
    let insert = async |epoch: u64, store: &str, minute: u32, value: u64| {
        let start_s = hour * 3_600 + minute * 60;
        let sql = format!(
            "INSERT INTO tillwatch.rollup_1m SELECT 'lcp_ms', '', '{store}', '1', 'online', 'rum', toDateTime({start_s}, 'UTC'), 60,
             '{collector_id}', {epoch}, ([5, {value}], [2, 1]), 3, {value} + 10, 5, {value}, 1, 0, now64(3), {epoch}"
        );
        engine.sql(&sql).await;
    };
    insert(1, "a", 0, 100).await;
    insert(2, "a", 59, 200).await;
    insert(3, "a", 59, 300).await;
    insert(1, "b", 3, 7).await;
    let up_to = |epoch| Confirmed {
        collector_id,
        epoch,
    };
    let pair = |store: &str| StoreHour {
        hour,
        store_id: Arc::from(store),
    };
    let both = [pair("a"), pair("b")];
    assert_eq!(
        differing_hours(&clickhouse, up_to(3), hour / 24)
            .await
            .unwrap(),
        both
    );
    rebuild(&clickhouse, up_to(2), &both).await.unwrap();
    assert_eq!(
        held_hours(&clickhouse, up_to(2), &both).await.unwrap(),
        both
    );
    // Epoch 3 has been confirmed since: one hour is behind.
    assert_eq!(
        held_hours(&clickhouse, up_to(3), &both).await.unwrap(),
        [pair("b")]
    );
    assert_eq!(
        differing_hours(&clickhouse, up_to(3), hour / 24)
            .await
            .unwrap(),
        [pair("a")]
    );
    rebuild(&clickhouse, up_to(3), &[pair("a")]).await.unwrap();
    // Late, from the statement that was given up.
    rebuild(&clickhouse, up_to(1), &both).await.unwrap();
    let found = "SELECT store_id, hist, count, sum, min, max, over_low, version FROM tillwatch.v_rollup_1h ORDER BY store_id";
    assert_eq!(
        engine.sql(found).await,
        "a\t([5,100,200,300],[6,1,1,1])\t9\t630\t5\t300\t3\t9\nb\t([5,7],[2,1])\t3\t17\t5\t7\t1\t3\n"
    );
    assert_eq!(
        held_hours(&clickhouse, up_to(3), &both).await.unwrap(),
        both
    );
    assert_eq!(
        differing_hours(&clickhouse, up_to(3), hour / 24)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        differing_hours(&clickhouse, up_to(3), hour / 24 + 1)
            .await
            .unwrap(),
        []
    );
}
