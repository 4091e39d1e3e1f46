//! `audit` finds a row that is missing, changed, or there without having been sent.

use crate::support::{Server, Terminal, audit, data, sql};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_finds_what_is_missing_or_other_than_it_was_sent_while_serve_runs_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let soon = [("TILLWATCH_SEAL_INTERVAL", "200ms")];
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(folder.path(), &soon).await;
    for terminal in &mut terminals {
        terminal.post_fresh(&server, 5, 3).await;
        server.wait_confirmed().await;
    }
    let data = data(&server);
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(is_clean, "{said}");
    assert!(
        said.contains("sealed 30 = confirmed 30 + outbox 0"),
        "{said}"
    );

    // A row there twice, not merged yet, is the same row: readers count it once.
    sql(
        &data,
        "INSERT INTO rollup_1m SELECT * FROM rollup_1m WHERE store_id = 'store-a'",
    )
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(is_clean, "{said}");

    // One row other than it was sent. The ledger knows the hash of what was.
    let changed = "SELECT * REPLACE (row_hash + 1 AS row_hash, count + 1 AS count, epoch + 0 AS epoch) FROM rollup_1m";
    sql(&data, "CREATE TABLE kept AS rollup_1m").await;
    sql(&data, "INSERT INTO kept SELECT * FROM rollup_1m FINAL").await;
    sql(
        &data,
        &format!("INSERT INTO rollup_1m {changed} WHERE store_id = 'store-b' LIMIT 1"),
    )
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && said.contains("THE SUMS DIFFER"), "{said}");
    sql(&data, "TRUNCATE TABLE rollup_1m").await;
    sql(&data, "INSERT INTO rollup_1m SELECT * FROM kept").await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(is_clean, "{said}");

    // A row of another window under the number of an epoch.
    sql(&data, "INSERT INTO rollup_1m SELECT * REPLACE (window_start - 60 AS window_start, row_hash + 9 AS row_hash) FROM kept LIMIT 1").await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean, "{said}");
    sql(&data, "TRUNCATE TABLE rollup_1m").await;
    sql(&data, "INSERT INTO rollup_1m SELECT * FROM kept").await;

    // One row missing; found by a running collector's engine, and by one of its own afterwards.
    sql(
        &data,
        "ALTER TABLE rollup_1m DELETE WHERE store_id = 'store-b' SETTINGS mutations_sync = 2",
    )
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && said.contains("THE SUMS DIFFER"), "{said}");
    assert!(
        said.contains("epoch ") && said.contains("0 rows 0 samples"),
        "verbose names the epoch: {said}"
    );
    server.stop().await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && said.contains("THE SUMS DIFFER"), "{said}");
}
