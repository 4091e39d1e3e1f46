//! Requests do not touch each other; sessions keep what they should.

use std::time::{Duration, Instant};

use crate::harness::{Engine, wait_for_answer};

#[tokio::test]
async fn settings_and_database_do_not_leak() {
    let engine = Engine::start();
    engine.sql("CREATE DATABASE other").await;
    let ask = "SELECT getSetting('max_block_size'), currentDatabase() FORMAT CSV";
    let before = engine.sql(ask).await;
    let set = engine
        .post(&[("max_block_size", "123"), ("database", "other")], ask)
        .await;
    assert_eq!(set.text(), "123,\"other\"\n");
    engine.sql("SET max_block_size = 77").await;
    engine.sql("USE other").await;
    engine.sql("CREATE TEMPORARY TABLE passing (a UInt8)").await;
    for _ in 0..20 {
        assert_eq!(engine.sql(ask).await, before);
    }
    assert_eq!(engine.post(&[], "SELECT * FROM passing").await.status, 404);
}

#[tokio::test]
async fn a_session_keeps_its_settings_and_tables() {
    let engine = Engine::start();
    let session = ("session_id", "s1");
    engine.post(&[session], "SET max_block_size = 77").await;
    engine
        .post(&[session], "CREATE TEMPORARY TABLE kept AS SELECT 42 AS a")
        .await;
    let ask = "SELECT getSetting('max_block_size'), currentDatabase(), a FROM kept FORMAT CSV";
    assert_eq!(
        engine.post(&[session], ask).await.text(),
        "77,\"default\",42\n"
    );
    // A request's own settings and database end with it, also inside a session.
    let own = engine
        .post(
            &[session, ("max_block_size", "5"), ("database", "system")],
            ask,
        )
        .await;
    assert_eq!(own.text(), "5,\"system\",42\n");
    assert_eq!(
        engine.post(&[session], ask).await.text(),
        "77,\"default\",42\n"
    );
    let other = engine.post(&[("session_id", "s2")], ask).await;
    assert_eq!(other.status, 404, "{}", other.text());
    let absent = engine
        .post(&[("session_id", "s3"), ("session_check", "1")], "SELECT 1")
        .await;
    assert_eq!(absent.header("x-clickhouse-exception-code"), "372");
}

#[tokio::test]
async fn a_request_that_could_not_begin_leaves_its_session_as_it_was() {
    let engine = Engine::start();
    let session = ("session_id", "s1");
    engine.post(&[session], "SET max_block_size = 77").await;
    let ask = "SELECT getSetting('max_block_size'), getSetting('max_result_rows'), currentDatabase() FORMAT CSV";
    let before = engine.post(&[session], ask).await.text();
    assert_eq!(before, "77,0,\"default\"\n");
    // The database comes after the settings, and of several settings the last one is refused.
    let bad_database = [
        session,
        ("max_block_size", "5"),
        ("max_result_rows", "6"),
        ("database", "nowhere"),
    ];
    let bad_setting = [
        session,
        ("max_block_size", "5"),
        ("max_result_rows", "6"),
        ("max_threads", "many"),
    ];
    for parameters in [bad_database, bad_setting] {
        let refused = engine.post(&parameters, ask).await;
        assert_ne!(refused.status, 200, "{}", refused.text());
        assert_eq!(engine.post(&[session], ask).await.text(), before);
    }
}

#[tokio::test]
async fn a_session_takes_one_statement_at_a_time_and_expires() {
    let engine = Engine::start();
    let parameters = [("session_id", "s"), ("session_timeout", "1")];
    engine
        .post(&parameters, "CREATE TEMPORARY TABLE t AS SELECT 1 AS a")
        .await;
    let slow = engine.post(&parameters, "SELECT sleep(2)");
    let locked = async {
        wait_for_answer(
            &engine,
            "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'",
            "1",
        )
        .await;
        engine.post(&parameters, "SELECT 1").await
    };
    let (slow, locked) = tokio::join!(slow, locked);
    assert_eq!(slow.status, 200, "{}", slow.text());
    assert_eq!(
        locked.header("x-clickhouse-exception-code"),
        "373",
        "{}",
        locked.text()
    );
    let started = Instant::now();
    while engine
        .post(
            &[
                ("session_id", "s"),
                ("session_check", "1"),
                ("session_timeout", "1"),
            ],
            "SELECT 1",
        )
        .await
        .status
        == 200
    {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the session did not expire"
        );
        // Longer than the session's time: asking keeps it alive.
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
}

#[tokio::test]
async fn a_quick_statement_does_not_wait_for_a_slow_one() {
    let engine = Engine::start();
    let slow = engine.post(&[], "SELECT sleep(3)");
    let quick = async {
        wait_for_answer(
            &engine,
            "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'",
            "1",
        )
        .await;
        let started = Instant::now();
        engine.sql("SELECT 1").await;
        started.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.status, 200);
    assert!(quick < Duration::from_secs(1), "took {quick:?}");
}
