//! Files of the data folder are deleted, emptied, swapped or put back from an older copy: it is said, and
//! nothing acknowledged is lost or counted twice in silence.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tillwatch_journal::{RealDisk, outline};

use crate::support::{
    CELLS, Server, Terminal, assert_exactly, audit, audit_is_clean, copy, data, run, said, sql,
    wait_until,
};

const NEVER: [(&str, &str); 3] = [
    ("TILLWATCH_SEAL_INTERVAL", "1h"),
    ("TILLWATCH_JOURNAL_SEGMENT", "4MiB"),
    NOT_KEPT,
];
const SOON: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "200ms");
/// What is sealed leaves the journal at once: a file then holds what nothing else does.
const NOT_KEPT: (&str, &str) = ("TILLWATCH_JOURNAL_KEEP", "0s");

/// Starts where it must be refused; what it says.
async fn refused(data: &Path) -> String {
    let mut command = Server::command("serve");
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let (is_good, text) = said(&output.await.unwrap());
    assert!(!is_good, "it started: {text}");
    text
}

async fn journal(data: &Path, what: &str) -> (bool, String) {
    let arguments = [what, "--data-dir", data.to_str().unwrap()];
    said(&run("journal", arguments.map(str::to_owned).to_vec()).await)
}

/// A collector that sealed and shipped some batches and has the last `open` ones in the journal alone.
async fn killed(folder: &Path, terminals: &mut [Terminal; 2], open: usize) -> PathBuf {
    let server = Server::start_on(folder, &[SOON, NOT_KEPT]).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    server.stop().await;
    again_killed(folder, &mut terminals[1], open).await
}

/// Once more, without a seal; killed once the journal's note has caught up.
async fn again_killed(folder: &Path, terminal: &mut Terminal, open: usize) -> PathBuf {
    let server = Server::start_on(folder, &NEVER).await;
    terminal.post_fresh(&server, open, 3).await;
    let data = data(&server);
    let page = server.metrics().await;
    let durable = page.value("tillwatch_journal_durable_position", &[]);
    wait_until("the note", || {
        let found = outline(&RealDisk, &data.join("journal")).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let noted = found.noted.map_or(0.0, |noted| noted.durable.0 as f64);
        (noted >= durable).then_some(())
    })
    .await;
    server.kill();
    data
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(data.join("journal")).unwrap();
    let paths = all.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("j-")
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_segment_that_is_gone_is_counted_listed_and_accepted() {
    // The only one there is, or one behind another.
    for (emptied, is_only) in [(false, true), (false, false), (true, false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
        let data = killed(folder.path(), &mut terminals, 8).await;
        if is_only {
            assert_eq!(segments(&data).len(), 1);
        } else {
            // Each start begins a segment. These are in one before the last.
            again_killed(folder.path(), &mut terminals[1], 8).await;
        }
        let (is_intact, text) = journal(&data, "verify").await;
        assert!(
            is_intact && text.contains("records that are not sealed"),
            "{text}"
        );
        let last = segments(&data).pop().unwrap();
        if emptied {
            std::fs::write(&last, b"").unwrap();
        } else {
            std::fs::remove_file(&last).unwrap();
        }
        let (is_intact, text) = journal(&data, "verify").await;
        assert!(
            !is_intact && text.contains("8 acknowledged records LOST"),
            "{text}"
        );

        let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
        let page = server.metrics().await;
        assert!(page.value("tillwatch_recovery_damaged_records", &[]) > 7.5);
        assert!(page.value("tillwatch_recovery_damaged_segments", &[]) > 0.5);
        assert!(
            server.log().contains("acknowledged records are missing"),
            "{}",
            server.log()
        );
        // What comes after it counts, also what the terminal still had and sends again.
        let kept = terminals[1].acknowledged.len() - 8;
        let lost = terminals[1].acknowledged.split_off(kept);
        terminals[1].open.extend(lost);
        terminals[1].post_open(&server).await;
        server.wait_confirmed().await;
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(
            !is_clean && text.contains("8 acknowledged records are lost"),
            "{text}"
        );
        assert!(!text.contains("nothing lost"), "{text}");
        // Also after everything was sealed and the segments are others; until a person has seen it.
        let server = server.restart().await;
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(!is_clean && text.matches("LOSS:").count() == 1, "{text}");
        let (is_clean, text) = audit(&data, &["--accept-losses"]).await;
        assert!(is_clean && text.contains("; accepted "), "{text}");
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(is_clean && text.contains("LOSS:"), "{text}");
        assert_exactly(&terminals, &sql(&data, CELLS).await);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_not_there_is_waited_for_or_abandoned_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let data = killed(folder.path(), &mut terminals, 4).await;
    let away = folder.path().join("away");
    std::fs::rename(data.join("journal"), &away).unwrap();
    // Gone; and there again, but empty, as a mount point is.
    for empty in [false, true] {
        if empty {
            std::fs::create_dir(data.join("journal")).unwrap();
        }
        let text = refused(&data).await;
        assert!(
            text.contains("not mounted") && text.contains("journal abandon"),
            "{text}"
        );
        let (is_intact, text) = journal(&data, "verify").await;
        assert!(!is_intact && text.contains("not mounted"), "{text}");
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(!is_clean && !text.contains("nothing lost"), "{text}");
    }
    // The journal is put back: nothing is lost.
    let _ = std::fs::remove_dir_all(data.join("journal"));
    let (kept, copied) = (
        folder.path().join("kept"),
        folder.path().join("copied/data"),
    );
    copy(&data, &copied);
    copy(&away, &kept);
    std::fs::rename(&away, data.join("journal")).unwrap();
    let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data, CELLS).await);
    audit_is_clean(&data, &[]).await;
    server.stop().await;

    // The journal is not put back: the collector goes on without, once it is told to.
    let (is_good, text) = journal(&copied, "abandon").await;
    assert!(is_good && text.contains("4 records at least"), "{text}");
    let (is_good, text) = journal(&copied, "abandon").await;
    assert!(!is_good && text.contains("nothing to abandon"), "{text}");
    let server = Server::start_on(copied.parent().unwrap(), &[SOON, NOT_KEPT]).await;
    let mut others = [Terminal::new("store-c")];
    others[0].post_fresh(&server, 2, 3).await;
    server.wait_confirmed().await;
    let (is_clean, text) = audit(&copied, &[]).await;
    assert!(
        !is_clean && text.contains("the journal was abandoned; 4 acknowledged"),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_state_file_beside_a_journal_is_refused_and_counts_nothing_twice_when_it_adopts_it() {
    for emptied in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
        let data = killed(folder.path(), &mut terminals, 4).await;
        for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
            let path = data.join(name);
            if emptied {
                std::fs::write(&path, b"").unwrap();
            } else {
                let _ = std::fs::remove_file(&path);
            }
        }
        let text = refused(&data).await;
        assert!(
            text.contains("no state file") && text.contains("journal adopt"),
            "{text}"
        );
        // Nothing was made in its place, so that putting it back is enough.
        let is_left_alone =
            std::fs::metadata(data.join("state.sqlite")).map_or(0, |file| file.len());
        assert_eq!(is_left_alone, 0);
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(!is_clean && text.contains("no state file"), "{text}");

        let (is_good, text) = journal(&data, "adopt").await;
        assert!(is_good && text.contains("4 records wait"), "{text}");
        let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
        server.wait_confirmed().await;
        // Both what the old state file had shipped and what lay in the journal, once.
        assert_exactly(&terminals, &sql(&data, CELLS).await);
        terminals[1].post_again(&server, 1).await;
        server.wait_confirmed().await;
        assert_exactly(&terminals, &sql(&data, CELLS).await);
        let (is_clean, text) = audit(&data, &[]).await;
        assert!(
            !is_clean && text.contains("another state file had sealed them"),
            "{text}"
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state_file_beside_its_journal_is_refused_and_its_way_out_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let data = killed(folder.path(), &mut terminals, 0).await;
    let older = folder.path().join("older");
    copy(&data, &older);
    // Sealed and shipped by the newer state file, and in the journal alone: the segments stay.
    let seal = [NEVER[1], NOT_KEPT, ("TILLWATCH_SEAL_INTERVAL", "300ms")];
    let server = Server::start_on(folder.path(), &seal).await;
    terminals[0].post_fresh(&server, 4, 3).await;
    server.wait_confirmed().await;
    server.kill();
    let server = Server::start_on(folder.path(), &NEVER).await;
    terminals[1].post_fresh(&server, 3, 3).await;
    server.kill();
    for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(data.join(name));
        let _ = std::fs::copy(older.join(name), data.join(name));
    }
    let text = refused(&data).await;
    assert!(
        text.contains("older copy") && text.contains("--new-collector-id"),
        "{text}"
    );
    let arguments = ["--new-collector-id", "--data-dir", data.to_str().unwrap()];
    let (is_good, text) = said(&run("migrate", arguments.map(str::to_owned).to_vec()).await);
    assert!(is_good, "{text}");
    let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data, CELLS).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_segments_cost_nothing_and_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(folder.path(), &NEVER).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    let data = data(&server);
    server.kill();
    // Each start begins a segment.
    let server = Server::start_on(folder.path(), &NEVER).await;
    terminals[1].post_fresh(&server, 5, 3).await;
    server.kill();
    let segments = segments(&data);
    let [left, right] = &segments[segments.len() - 2..] else {
        panic!("{segments:?}")
    };
    let between = data.join("between");
    std::fs::rename(left, &between).unwrap();
    std::fs::rename(right, left).unwrap();
    std::fs::rename(&between, right).unwrap();
    let (is_intact, text) = journal(&data, "verify").await;
    assert!(!is_intact && text.contains("that of another"), "{text}");
    let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data, CELLS).await);
    assert!(
        server.log().contains("is_misnamed=true"),
        "{}",
        server.log()
    );
    assert!(
        server
            .metrics()
            .await
            .value("tillwatch_recovery_damaged_segments", &[])
            > 1.5
    );
    audit_is_clean(&data, &[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_deleted_under_a_running_collector_let_nobody_else_in_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a")];
    let server = Server::start_on(folder.path(), &[SOON, NOT_KEPT]).await;
    terminals[0].post_fresh(&server, 3, 3).await;
    server.wait_confirmed().await;
    let data = data(&server);
    for name in ["LOCK", "journal/LOCK", "clickhouse.endpoint"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    let text = refused(&data).await;
    assert!(text.contains("in use by process"), "{text}");
    let endpoint = data.join("clickhouse.endpoint");
    wait_until("the engine's address", || endpoint.exists().then_some(())).await;
    terminals[0].post_fresh(&server, 3, 3).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data, CELLS).await);
    // The journal's note is written anew at the next start; until then its loss costs nothing else.
    std::fs::remove_file(data.join("journal.note")).unwrap();
    let server = server.restart().await;
    assert!(data.join("journal.note").exists());
    terminals[0].post_fresh(&server, 1, 3).await;
    server.wait_confirmed().await;
    audit_is_clean(&data, &[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_file_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = [Terminal::new("store-a"), Terminal::new("store-b")];
    let data = killed(folder.path(), &mut terminals, 1).await;
    let file = data.join("state.sqlite");
    // What was written last may still stand in its log alone.
    let moved = rusqlite::Connection::open(&file).unwrap().query_row(
        "PRAGMA wal_checkpoint(TRUNCATE)",
        [],
        |row| row.get::<_, i64>(0),
    );
    assert_eq!(moved, Ok(0));
    let mut bytes = std::fs::read(&file).unwrap();
    for page in bytes.chunks_mut(4_096).skip(1) {
        page[..200].fill(0xa5);
    }
    std::fs::write(&file, bytes).unwrap();
    for log in ["state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(data.join(log));
    }
    let text = refused(&data).await;
    assert!(
        text.contains("state file is damaged") && text.contains("tillwatch restore"),
        "{text}"
    );
}
