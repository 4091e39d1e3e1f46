//! The state is put back from an older copy: its epoch numbers have been used since.

use crate::support::{
    CELLS, Engine, Server, Terminal, assert_exactly, assert_query_api, audit_is_clean, copy, data,
    run, wait_sealed,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story from beginning to end")]
async fn an_older_copy_takes_batches_in_ships_nothing_and_goes_on_with_a_new_collector_id() {
    let engine = Engine::start();
    let url = engine.url();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("data");
    let older = folder.path().join("older");
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];

    let server = Server::start_on(folder.path(), &settings).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    server.stop().await;
    copy(&live, &older);

    // The original goes on and ships more epochs.
    let server = Server::start_on(folder.path(), &settings).await;
    for _ in 0..5 {
        terminals[0].post_fresh(&server, 5, 3).await;
        wait_sealed(&server).await;
    }
    server.wait_confirmed().await;
    let shipped = server.metrics().await.value("tillwatch_sealed_epoch", &[]);
    server.stop().await;
    let at_rest = engine.sql(CELLS).await;

    // The copy is put back. It seals more epochs than the original had, and must ship none of them:
    // other rows under numbers that are used would replace what is at rest.
    copy(&older, &live);
    let server = Server::start_on(folder.path(), &settings).await;
    let mut sealed = 0.0;
    while sealed < shipped + 3.0 {
        terminals[1].post_fresh(&server, 5, 3).await;
        wait_sealed(&server).await;
        sealed = server.metrics().await.value("tillwatch_sealed_epoch", &[]);
    }
    assert!(
        server
            .log()
            .contains("tillwatch migrate --new-collector-id"),
        "{}",
        server.log()
    );
    server.stop().await;
    // Nor after another start.
    let server = Server::start_on(folder.path(), &settings).await;
    terminals[1].post_fresh(&server, 5, 3).await;
    wait_sealed(&server).await;
    let started = std::time::Instant::now();
    while !last_start(&server.log()).contains("--new-collector-id") {
        assert!(
            started.elapsed().as_secs() < 10,
            "it does not refuse again: {}",
            server.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_clickhouse_up", &[])
            .to_bits(),
        0
    );
    server.stop().await;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(&engine.sql(CELLS).await),
        sorted(&at_rest),
        "something was shipped"
    );

    let arguments = [
        "--new-collector-id",
        "--data-dir",
        live.to_str().unwrap(),
        "--clickhouse-url",
        &url,
    ];
    let output = run("migrate", arguments.map(str::to_owned).to_vec()).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let server = Server::start_on(folder.path(), &settings).await;
    terminals[1].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    assert_query_api(&terminals, &server).await;
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

/// What the log says since the last start.
fn last_start(log: &str) -> &str {
    log.rsplit("recovered the journal").next().unwrap_or(log)
}
