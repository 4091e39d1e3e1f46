//! The state file cannot be written for a while: the journal keeps what could not be sealed.

use std::time::{Duration, Instant};

use crate::support::{
    CELLS, Engine, Server, Terminal, assert_exactly, assert_query_api, audit_is_clean, data,
    wait_drained,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_seal_could_write_stays_in_the_journal_and_is_there_after_a_kill() {
    let engine = Engine::start();
    let url = engine.url();
    let settings = [
        // Sealed by the journal's length: the first cut holds two whole segments and more.
        ("TILLWATCH_SEAL_INTERVAL", "1h"),
        ("TILLWATCH_SEAL_JOURNAL_BYTES", "8MiB"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
        ("TILLWATCH_JOURNAL_SEGMENT", "4MiB"),
        ("TILLWATCH_JOURNAL_BUDGET", "128MiB"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = vec![Terminal::new("store-a")];
    let server = Server::start_on(folder.path(), &settings).await;
    let other = rusqlite::Connection::open(data(&server).join("state.sqlite")).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON epoch BEGIN SELECT RAISE(ABORT, 'no room'); END";
    other.execute_batch(refuse).unwrap();
    let started = Instant::now();
    let errors = async || {
        let page = server.metrics().await;
        page.value("tillwatch_seals_total", &[("result", "error")])
    };
    while errors().await < 2.0 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            server.log()
        );
        terminals[0].post_fresh(&server, 20, 2_000).await;
    }
    // New segments are used, and old ones would be taken back if anybody had let go of them.
    terminals[0].post_fresh(&server, 500, 2_000).await;
    assert_query_api(&terminals, &server).await;
    server.kill();
    let server = Server::start_on(folder.path(), &settings).await;
    assert_query_api(&terminals, &server).await;
    terminals[0].post_again(&server, 50).await;
    // Told to stop, it ends without the seal.
    server.stop().await;
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "300ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}
