//! Rows that ClickHouse has lost are sent again, while they are kept; what nobody knows is named.

use crate::support::{CELLS, Server, Terminal, assert_exactly, audit, audit_is_clean, data, sql};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_changed_rows_are_repaired_and_what_cannot_be_is_said() {
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    for terminal in &mut terminals {
        terminal.post_fresh(&server, 5, 3).await;
        server.wait_confirmed().await;
    }
    let data = data(&server);
    let cells = CELLS.replace("FORMAT TSV", "");

    // Lost.
    let delete =
        "ALTER TABLE rollup_1m DELETE WHERE store_id = 'store-b' SETTINGS mutations_sync = 2";
    sql(&data, delete).await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean, "{said}");
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(
        is_clean && said.contains("repaired: sent again and read back"),
        "{said}"
    );
    audit_is_clean(&data, &[]).await;
    assert_exactly(&terminals, &sql(&data, &cells).await);

    // Changed: the row that was sent takes the place of the other.
    sql(&data, "INSERT INTO rollup_1m SELECT * REPLACE (row_hash + 1 AS row_hash, count + 1 AS count, hist AS hist) FROM rollup_1m WHERE store_id = 'store-a'").await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean, "{said}");
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(is_clean, "{said}");
    assert_exactly(&terminals, &sql(&data, &cells).await);

    // Other collectors are no fault; an epoch of this one that the ledger does not know is.
    sql(&data, "CREATE TABLE kept AS rollup_1m").await;
    sql(&data, "INSERT INTO kept SELECT * FROM rollup_1m FINAL").await;
    let stranger = "SELECT * REPLACE (toUUID('11111111-2222-4333-8444-555555555555') AS collector_id) FROM kept LIMIT 1";
    sql(&data, &format!("INSERT INTO rollup_1m {stranger}")).await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(
        is_clean
            && said.contains(
                "another collector 11111111-2222-4333-8444-555555555555: 1 epochs, 1 rows"
            ),
        "{said}"
    );
    sql(
        &data,
        "INSERT INTO rollup_1m SELECT * REPLACE (toUInt64(999999) AS epoch) FROM kept LIMIT 1",
    )
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(
        !is_clean && said.contains("epoch 999999 of this collector") && said.contains("UNKNOWN"),
        "{said}"
    );
    // The unknown epoch may be one of another copy of this collector: nothing is sent.
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(!is_clean && said.contains("--new-collector-id"), "{said}");
    sql(&data, "TRUNCATE TABLE rollup_1m").await;
    sql(&data, "INSERT INTO rollup_1m SELECT * FROM kept").await;

    // Rows under a known number that were never sent.
    sql(&data, "INSERT INTO rollup_1m SELECT * REPLACE (window_start - 60 AS window_start, row_hash + 9 AS row_hash) FROM kept LIMIT 1").await;
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(
        !is_clean && said.contains("rows under its number that were never sent"),
        "{said}"
    );
    sql(&data, "TRUNCATE TABLE rollup_1m").await;
    sql(&data, "INSERT INTO rollup_1m SELECT * FROM kept").await;

    // After 48 hours the blobs are gone.
    sql(&data, delete).await;
    let state = rusqlite::Connection::open(data.join("state.sqlite")).unwrap();
    state.execute("DELETE FROM outbox", []).unwrap();
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(
        !is_clean && said.contains("cannot be repaired: its rows are kept"),
        "{said}"
    );
    server.stop().await;
}

/// Without `serve` a repair also ships what waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_without_serve_ships_the_outbox() {
    let engine = crate::support::Engine::start();
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a")];
    // Nobody is there; at the end it seals all the same.
    let away = [
        ("TILLWATCH_SEAL_INTERVAL", "1h"),
        ("TILLWATCH_CLICKHOUSE_URL", "http://127.0.0.1:1"),
    ];
    let server = Server::start_on(folder.path(), &away).await;
    terminals[0].post_fresh(&server, 4, 2).await;
    let data = data(&server);
    server.stop().await;
    let url = engine.url();
    // The tables are not there yet.
    let migrate = [
        "--data-dir",
        data.to_str().unwrap(),
        "--clickhouse-url",
        &url,
    ];
    let output = crate::support::run("migrate", migrate.map(str::to_owned).to_vec()).await;
    assert!(output.status.success());
    let (is_clean, said) = audit(&data, &["--clickhouse-url", &url, "--repair"]).await;
    assert!(
        is_clean && said.contains("epochs 1 to 1 shipped from the outbox"),
        "{said}"
    );
    assert_exactly(&terminals, &engine.sql(CELLS).await);
}
