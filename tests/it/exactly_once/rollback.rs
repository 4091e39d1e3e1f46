//! A release is rolled back, and forward again: the older one runs on what the newer one left, and what it
//! wrote meanwhile is found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tillwatch::aggregate::{NameAges, Restored};
use tillwatch::clock::Clock;
use tillwatch::fleet::Watch;
use tillwatch::holdings::Holdings;
use tillwatch::persist::migrate::{MIGRATIONS, migrate, migrate_with};
use tillwatch::persist::rebuild::{Confirmed, differing_hours, held_hours, rebuild};
use tillwatch::persist::ship::ship_once;
use tillwatch::persist::{ClickHouseError, EpochInfo, State, StateError, audit};
use tillwatch::query::percentiles::{self, Sources};
use tillwatch::query::request::PercentileRequest;
use tillwatch::query::terminals;
use tillwatch::query::terminals_request::TerminalsRequest;
use tillwatch::source_maps::SourceMaps;
use tillwatch::tasks::Jobs;
use tillwatch::world::World;
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::time::wall_ms as now_ms;
use tillwatch_model::{BatchHeader, Catalogue, Source, StoreHour, StoreKeys};
use xxhash_rust::xxh3::xxh3_64;

use crate::support::records::{aggregator, fleet_page};
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

/// The journal and the outbox of a later release, in the hands of this one.
struct Left {
    sources: Sources,
    folder: tempfile::TempDir,
    /// The last record.
    position: u64,
    sealed: u64,
}

/// One sample as its bytes lie in a record, measured when its batch was received.
struct Bytes {
    metric: u16,
    label: u8,
    connection: u8,
    /// Below 128.
    value: u8,
}

const ONLINE: u8 = 1;
/// Codes that no release has given to a connection or a source.
const NEW_CONNECTION: u8 = 9;
const NEW_SOURCE: u8 = 5;

impl Left {
    async fn new(engine: &Engine) -> Self {
        let clickhouse = engine.clickhouse();
        migrate(&clickhouse).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path(), &World::of_machine()).unwrap());
        let holdings = Holdings::new(
            aggregator(Restored::default()),
            Vec::new(),
            0,
            state.dirty_hours().unwrap(),
            state.collector_id(),
            0,
        );
        let sources = Sources {
            catalogue: Arc::new(Catalogue::default()),
            holdings: Arc::new(holdings),
            state,
            clickhouse,
            source_maps: SourceMaps::of(folder.path()),
            merge_bytes_max: percentiles::MERGE_BYTES_MAX,
            jobs: Jobs::new(1),
            is_engine_here: true,
        };
        Self {
            sources,
            folder,
            position: 0,
            sealed: 0,
        }
    }

    /// Applies a record of these samples; the bytes behind each are entries of a later release.
    fn apply(&mut self, source: u8, samples: &[(Bytes, &[u8])]) {
        self.position += 1;
        let header = BatchHeader {
            received_at_ms: now_ms(),
            offset_ms: 0,
            applied_offset_ms: 0,
            store_id: "store-1",
            terminal_id: "till-1",
            queue: [7; 16],
            seq: self.position,
            is_keyed: false,
            browser: None,
            release: "2.4.1",
            source: Source::Rum,
            session: Some([9; 16]),
        };
        let mut record = Vec::new();
        let _head = Encoder::new(&mut record, &header);
        record[2] = source;
        for (sample, behind) in samples {
            assert!(sample.value < 128);
            record.push(1);
            // A varint of two bytes holds every code that is used here.
            record.extend([
                (sample.metric & 0x7f) as u8 | 0x80,
                (sample.metric >> 7) as u8,
            ]);
            record.extend([sample.label, sample.connection, 0, sample.value]);
            record.extend_from_slice(behind);
        }
        let position = self.position;
        self.sources.holdings.apply(usize::MAX, |aggregator| {
            aggregator.apply(position, &record).unwrap();
        });
    }

    fn seal(&mut self) -> u64 {
        let (holdings, state) = (&self.sources.holdings, &self.sources.state);
        let (cut, epoch) = holdings.cut(self.sealed).unwrap();
        let sealing = Arc::new(state.encode(cut, epoch).unwrap());
        holdings.sealing(Arc::clone(&sealing), now_ms());
        let sealed = state.seal(&sealing, now_ms()).unwrap();
        let info = EpochInfo {
            epoch,
            collector_id: state.collector_id(),
            sealed_at_ms: now_ms(),
            confirmed_at_ms: None,
            days: sealing.days().clone(),
            sides: sealing.side_days(),
        };
        holdings.sealed(sealed, info);
        self.sealed = self.position;
        epoch
    }

    /// Gives the only row of an epoch in a table other texts of the same length, as a later release would have
    /// written it.
    fn rewrite(
        &self,
        epoch: u64,
        (outbox, days, which): (&str, &str, &str),
        texts: [(&str, &str); 2],
    ) {
        let file = Connection::open(self.folder.path().join("state.sqlite")).unwrap();
        let select = format!("SELECT plain_bytes, blob FROM {outbox} WHERE epoch = ?1 {which}");
        let (length, blob): (usize, Vec<u8>) = file
            .query_row(&select, [epoch.cast_signed()], |row| {
                Ok((row.get::<_, i64>(0)? as usize, row.get(1)?))
            })
            .unwrap();
        let mut row = zstd::bulk::decompress(&blob, length).unwrap();
        for (known, new) in texts {
            assert_eq!(known.len(), new.len());
            let at = row
                .windows(known.len())
                .position(|bytes| bytes == known.as_bytes());
            row[at.unwrap()..][..new.len()].copy_from_slice(new.as_bytes());
        }
        let end = row.len() - 8;
        let hash = xxh3_64(&row[..end]);
        row[end..].copy_from_slice(&hash.to_le_bytes());
        let blob = zstd::bulk::compress(&row, 1).unwrap();
        let update = format!("UPDATE {outbox} SET blob = ?2 WHERE epoch = ?1 {which}");
        file.execute(&update, rusqlite::params![epoch.cast_signed(), blob])
            .unwrap();
        let update = format!("UPDATE {days} SET hash_sum = ?2 WHERE epoch = ?1 {which}");
        let rows = file
            .execute(&update, [epoch.cast_signed(), hash.cast_signed()])
            .unwrap();
        assert_eq!(rows, 1, "one row of one day");
    }

    /// Samples of a metric by group.
    async fn counts(&self, metric: &str, group_by: &str) -> BTreeMap<String, u64> {
        let pairs = [
            ("metric", metric),
            ("group_by", group_by),
            ("source", "all"),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let catalogue = &self.sources.catalogue;
        // The samples are of now, and the range ends before its end.
        let now_ms = now_ms() + 60_000;
        let request =
            PercentileRequest::parse(&pairs.into_iter().collect(), catalogue, now_ms).unwrap();
        let answer = percentiles::answer(&self.sources, &request, now_ms, self.position);
        let answer = serde_json::to_value(answer.await.unwrap()).unwrap();
        let count = |series: &Value| {
            let points = series["points"].as_array().unwrap().iter();
            points.map(|point| point["count"].as_u64().unwrap()).sum()
        };
        let series = answer["series"].as_array().unwrap().iter();
        series
            .map(|series| (series[group_by].as_str().unwrap().to_owned(), count(series)))
            .collect()
    }

    /// The samples of the store's terminal by metric and label.
    async fn of_terminal(&self) -> BTreeMap<(String, String), u64> {
        let pairs = [("store_id".to_owned(), "store-1".to_owned())];
        let request = TerminalsRequest::parse(&pairs.into_iter().collect(), now_ms()).unwrap();
        let answer = terminals::answer(
            &self.sources,
            &request,
            Watch::default().at(now_ms()),
            self.position,
        );
        let answer = serde_json::to_value(answer.await.unwrap()).unwrap();
        let metrics = answer["terminals"][0]["metrics"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        metrics
            .map(|line| {
                let key = (text(&line["metric"]), text(&line["label"]));
                (key, line["count"].as_u64().unwrap())
            })
            .collect()
    }
}

fn groups(groups: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let groups = groups.iter();
    groups
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// A later release has appended metrics, labels, a connection, a source, a kind of entry and a table, and was
/// rolled back before everything it took in was sealed and shipped.
#[tokio::test]
async fn what_only_a_later_release_knows_is_kept_and_nothing_behind_it_is_lost() {
    let engine = Engine::start();
    let mut left = Left::new(&engine).await;
    let catalogue = Catalogue::default();
    let code = |name: &str| catalogue.named(name).unwrap().code;
    let conflicts = catalogue.named("conflicts").unwrap();
    let new_label = u8::try_from(conflicts.label_values()).unwrap();
    let sample = |metric: u16, label: u8, connection: u8, value: u8| Bytes {
        metric,
        label,
        connection,
        value,
    };
    let plain = |bytes: Bytes| -> (Bytes, &'static [u8]) { (bytes, &[]) };
    left.apply(
        0,
        &[
            // Two new labels: the first of them has the number of the counter behind those of its metric.
            plain(sample(conflicts.code, new_label, ONLINE, 5)),
            plain(sample(conflicts.code, new_label + 1, ONLINE, 2)),
            plain(sample(conflicts.code, 0, ONLINE, 1)),
            // Two new metrics, one of them with a label.
            plain(sample(900, 0, ONLINE, 7)),
            (sample(901, 3, ONLINE, 9), &[0x90, 2, 1, 1, 0xff, 0]),
            plain(sample(code("login_failures"), 0, NEW_CONNECTION, 4)),
            plain(sample(code("cache_requests"), 0, ONLINE, 3)),
        ],
    );
    left.apply(
        NEW_SOURCE,
        &[plain(sample(code("login_failures"), 0, ONLINE, 1))],
    );
    let (totals, page) = left
        .sources
        .holdings
        .read(|aggregator| (aggregator.totals(), fleet_page(aggregator, now_ms())));
    assert_eq!(
        (totals.records, totals.unreadable, totals.accepted),
        (2, 0, 8)
    );
    let counted: BTreeMap<&str, u64> = totals.later().into_iter().collect();
    let expected = [
        ("unknown_acts", 0),
        ("unknown_metrics", 2),
        ("unknown_labels", 2),
        ("unknown_connections", 1),
        ("unknown_sources", 1),
        ("unknown_entries", 2),
    ];
    assert_eq!(counted, BTreeMap::from(expected));
    // Nothing lands in the counter of another metric or label.
    let page = Exposition::parse(&page);
    let shop = ("store_id", "store-1");
    let kind = |kind| page.value("pos_sync_conflicts_total", &[shop, ("kind", kind)]);
    assert_eq!(
        (kind("__unknown__"), kind("inventory_shortage")),
        (7.0, 1.0)
    );
    let cache = |result| page.value("pos_cache_requests_total", &[shop, ("result", result)]);
    assert_eq!((cache("hit"), cache("miss")), (3.0, 0.0));
    assert_eq!(
        page.value("pos_login_failures_total", &[shop]),
        4.0,
        "of real users"
    );

    // From here on a row each, which the later release had sealed already.
    for is_sealed in [false, true] {
        if is_sealed {
            assert_eq!(left.seal(), 1);
        }
        let found = left.counts("conflicts", "label").await;
        assert_eq!(
            found,
            groups(&[("__unknown__", 2), ("inventory_shortage", 1)])
        );
        let found = left.counts("login_failures", "connection").await;
        assert_eq!(found, groups(&[("__unknown__", 1), ("online", 1)]));
    }
    left.apply(0, &[plain(sample(conflicts.code, 6, 5, 1))]);
    assert_eq!(left.seal(), 2);
    let minutes = ("outbox", "epoch_day", "");
    left.rewrite(
        2,
        minutes,
        [("other", "theft"), ("offline_sync", "satellite_up")],
    );
    left.apply(0, &[plain(sample(code("errors"), 5, ONLINE, 1))]);
    assert_eq!(left.seal(), 3);
    left.rewrite(3, minutes, [("other", "theft"), ("rum", "bot")]);
    let hours = (
        "side_outbox",
        "epoch_side_day",
        "AND table_name = 'rollup_terminal_1h'",
    );
    left.rewrite(3, hours, [("other", "theft"), ("errors", "errors")]);
    let file = Connection::open(left.folder.path().join("state.sqlite")).unwrap();
    file.execute_batch(
        "INSERT INTO side_outbox VALUES (3, 'of_a_later_release', 4, x'00', NULL);
         INSERT INTO epoch_side_day SELECT 3, 'of_a_later_release', day, 1, 1 FROM epoch_day WHERE epoch = 3",
    )
    .unwrap();
    let errors = ("errors".to_owned(), "__unknown__".to_owned());
    for is_shipped in [false, true] {
        if is_shipped {
            let (clickhouse, state) = (&left.sources.clickhouse, &left.sources.state);
            let shipped = ship_once(clickhouse, state, &Clock::of_machine(), false).await;
            assert_eq!(shipped.unwrap().confirmed, [1, 2, 3]);
            left.sources.holdings.confirmed(3);
        }
        // What came from the outbox has its own name once it is at rest.
        let (label, connection) = if is_shipped {
            ("theft", "satellite_up")
        } else {
            ("__unknown__", "__unknown__")
        };
        let mut expected = groups(&[("__unknown__", 2), ("inventory_shortage", 1)]);
        *expected.entry(label.to_owned()).or_default() += 1;
        assert_eq!(left.counts("conflicts", "label").await, expected);
        let expected = groups(&[("online", 3), (connection, 1)]);
        assert_eq!(left.counts("conflicts", "connection").await, expected);
        assert_eq!(left.counts("errors", "label").await, groups(&[(label, 1)]));
        assert_eq!(left.of_terminal().await.get(&errors), Some(&1));
    }
    let at_rest = "SELECT metric, label, connection, source, sum(count), sum(sum) FROM tillwatch.v_rollup_1m
        WHERE label LIKE '%known%' OR connection != 'online' OR source != 'rum' OR metric = '__unknown__'
        GROUP BY ALL ORDER BY ALL";
    assert_eq!(
        engine.sql(at_rest).await,
        "__unknown__\t\tonline\trum\t2\t16\n\
         conflicts\t__unknown__\tonline\trum\t2\t7\n\
         conflicts\ttheft\tsatellite_up\trum\t1\t1\n\
         errors\ttheft\tonline\tbot\t1\t1\n\
         login_failures\t\t__unknown__\trum\t1\t4\n\
         login_failures\t\tonline\t__unknown__\t1\t1\n"
    );
    let state = &left.sources.state;
    let ledger = state.ledger(0).unwrap();
    let held = audit::held(&left.sources.clickhouse, &ledger)
        .await
        .unwrap();
    assert!(ledger.iter().all(|info| audit::is_complete(info, &held, 0)));
    // The rows of the table that only the later release knows wait for it.
    assert_eq!(state.left_behind(9).unwrap(), []);
    state.expire(now_ms() + 200 * 86_400_000).unwrap();
    let waiting = "SELECT count(*) FROM side_outbox WHERE confirmed_at_ms IS NULL";
    let waiting: i64 = file.query_row(waiting, [], |row| row.get(0)).unwrap();
    assert_eq!(waiting, 1);
    assert_eq!(state.ledger(0).unwrap().len(), 1, "with its epoch");
}

/// Counters of labels that an earlier release did not know stand apart from those it knew.
#[test]
fn what_was_counted_as_unknown_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let conflicts = Catalogue::default().named("conflicts").unwrap().code;
    let header = |seq| BatchHeader {
        received_at_ms: now_ms(),
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: "store-1",
        terminal_id: "till-1",
        queue: [7; 16],
        seq,
        is_keyed: false,
        browser: None,
        release: "2.4.1",
        source: Source::Rum,
        session: None,
    };
    let record = |seq| {
        let mut record = Vec::new();
        let _head = Encoder::new(&mut record, &header(seq));
        record.extend([1, conflicts as u8, 99, ONLINE, 0, 5]);
        record
    };
    let mut live = aggregator(Restored::default());
    live.apply(1, &record(1)).unwrap();
    let sealing = state.encode(live.take(), 1).unwrap();
    state.seal(&sealing, now_ms()).unwrap();
    let mut live = aggregator(state.restore().unwrap());
    live.apply(2, &record(2)).unwrap();
    let page = Exposition::parse(&fleet_page(&live, now_ms()));
    let labels = [("store_id", "store-1"), ("kind", "__unknown__")];
    assert_eq!(page.value("pos_sync_conflicts_total", &labels), 10.0);
}
