//! What ClickHouse holds is damaged, dropped or gone: it is seen, said and repaired as far as it is kept.

use std::path::{Path, PathBuf};

use crate::support::{
    Batch, CELLS, Server, Terminal, assert_exactly, audit, audit_is_clean, data, now_ms, run, sql,
};

const SOON: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "200ms");

/// The file with the columns of a part of `table`.
async fn part_file(data: &Path, table: &str) -> PathBuf {
    let statement = format!(
        "SELECT path FROM system.parts WHERE table = '{table}' AND active ORDER BY name LIMIT 1"
    );
    PathBuf::from(sql(data, &statement).await.trim()).join("data.bin")
}

/// Damages bytes in the middle of a file, as a disk would.
fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 40] {
        *byte ^= 0xff;
    }
    std::fs::write(file, bytes).unwrap();
}

async fn filled(folder: &Path) -> (Server, [Terminal; 2], PathBuf) {
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(folder, &[SOON]).await;
    for terminal in &mut terminals {
        terminal.post_fresh(&server, 5, 3).await;
        server.wait_confirmed().await;
    }
    // Kept by terminal, and of a session.
    let by_terminal = Batch::new("store-c").value("sync_duration_ms", now_ms() - 1_000, 5.0);
    server.taken(&by_terminal.0).await;
    server.wait_confirmed().await;
    let data = data(&server);
    audit_is_clean(&data, &["--deep"]).await;
    (server, terminals, data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_part_is_found_detached_and_its_rows_are_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (server, terminals, data) = filled(folder.path()).await;
    let cells = CELLS.replace("FORMAT TSV", "");
    for table in ["rollup_1m", "rollup_terminal_1h", "migration"] {
        let file = part_file(&data, table).await;
        spoil(&file);
        let (is_clean, said) = audit(&data, &["--deep"]).await;
        assert!(
            !is_clean && said.contains(&format!("of {table} is BROKEN")),
            "{said}"
        );
        assert!(said.contains("audit --repair"), "{said}");
        let (is_clean, said) = audit(&data, &["--repair"]).await;
        assert!(is_clean && said.contains("is detached"), "{said}");
        // The files of the detached part are kept, for people.
        let detached = file.parent().unwrap().parent().unwrap().join("detached");
        assert!(detached.read_dir().unwrap().next().is_some());
        audit_is_clean(&data, &["--deep"]).await;
        assert_exactly(&terminals, &sql(&data, &cells).await);
    }

    // After 48 hours the blobs are gone: it is detached all the same, and said what that costs.
    let state = rusqlite::Connection::open(data.join("state.sqlite")).unwrap();
    state.execute("DELETE FROM outbox", []).unwrap();
    spoil(&part_file(&data, "rollup_1m").await);
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(
        !is_clean
            && said.contains("is detached")
            && said.contains("cannot be repaired: its rows are kept"),
        "{said}"
    );
    assert!(said.contains("THE SUMS DIFFER"), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_bears_its_hash_and_is_another_is_found_and_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let (server, terminals, data) = filled(folder.path()).await;
    let changes = [
        "INSERT INTO rollup_1m SELECT * REPLACE (sum + 1 AS sum) FROM rollup_1m WHERE store_id = 'store-a' LIMIT 1",
        "INSERT INTO rollup_terminal_1h SELECT * REPLACE (max + 1 AS max) FROM rollup_terminal_1h LIMIT 1",
    ];
    for change in changes {
        sql(&data, change).await;
        let (is_clean, said) = audit(&data, &[]).await;
        assert!(is_clean, "its hash is the right one: {said}");
        let (is_clean, said) = audit(&data, &["--deep"]).await;
        assert!(
            !is_clean && said.contains("rows are OTHER than their hash says"),
            "{said}"
        );
        assert!(!said.contains("nothing lost, nothing doubled"), "{said}");
        let (is_clean, said) = audit(&data, &["--repair"]).await;
        assert!(is_clean, "{said}");
        audit_is_clean(&data, &["--deep"]).await;
    }
    assert_exactly(
        &terminals,
        &sql(&data, &CELLS.replace("FORMAT TSV", "")).await,
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_were_dropped_are_made_again_at_the_start_and_refilled_by_a_repair() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut terminals, data) = filled(folder.path()).await;
    for dropped in [
        "DROP TABLE rollup_1m SYNC",
        "DROP VIEW v_rollup_1m SYNC",
        "DROP TABLE session SYNC",
        "DROP FUNCTION tillwatch_scale_v1",
    ] {
        sql(&data, dropped).await;
    }
    let server = server.restart().await;
    terminals[1].post_fresh(&server, 3, 2).await;
    server.wait_confirmed().await;
    assert!(
        server.log().contains("are made again, empty") && server.log().contains("v_rollup_1m"),
        "{}",
        server.log()
    );
    let page = server.metrics().await;
    assert!(page.value("tillwatch_database_tables_made_again", &[]) > 3.5);
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && said.contains("THE SUMS DIFFER"), "{said}");
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(is_clean, "{said}");
    let cells = CELLS.replace("FORMAT TSV", "");
    assert_exactly(&terminals, &sql(&data, &cells).await);
    sql(&data, "SELECT sum_wire FROM v_rollup_1m").await;

    // The record of what was applied is gone: all of it is applied again, over what is there.
    sql(&data, "DROP TABLE migration SYNC").await;
    let server = server.restart().await;
    terminals[0].post_fresh(&server, 1, 1).await;
    server.wait_confirmed().await;
    audit_is_clean(&data, &["--deep"]).await;
    assert_exactly(&terminals, &sql(&data, &cells).await);
    server.stop().await;
    // The command says it, too.
    let output = run(
        "migrate",
        vec!["--data-dir".into(), data.display().to_string()],
    )
    .await;
    let (is_good, text) = crate::support::said(&output);
    assert!(is_good && text.contains("0 applied now"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_data_are_gone_is_noticed_and_refilled_as_far_as_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (server, terminals, data) = filled(folder.path()).await;
    server.stop().await;
    std::fs::remove_dir_all(data.join("clickhouse")).unwrap();
    // Nobody has started it since: an audit looks at an engine without tables.
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && !said.contains("nothing lost"), "{said}");
    std::fs::remove_dir_all(data.join("clickhouse")).unwrap();

    let server = Server::start_on(folder.path(), &[SOON]).await;
    crate::support::wait_until("the word about it", || {
        server
            .log()
            .contains("the database is new to tillwatch")
            .then_some(())
    })
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(!is_clean && said.contains("THE SUMS DIFFER"), "{said}");
    let (is_clean, said) = audit(&data, &["--repair"]).await;
    assert!(is_clean, "{said}");
    assert_exactly(
        &terminals,
        &sql(&data, &CELLS.replace("FORMAT TSV", "")).await,
    );
    server.stop().await;
}
