//! Backup, restore, and whose journal and state belong together.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{
    CELLS, Engine, Server, Terminal, assert_exactly, assert_query_api, audit_is_clean, copy, data,
    kill, run, said, wait_drained,
};

const HOURLY: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "1h");

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Backs up a collector; says whether that went well, and what was said.
async fn backup(data: &Path, target: &Path, admin: &str) -> (bool, String) {
    let arguments = vec![
        text(target),
        "--data-dir".to_owned(),
        text(data),
        "--admin-url".to_owned(),
        format!("http://{admin}"),
    ];
    said(&run("backup", arguments).await)
}

async fn restore(from: &Path, data: &Path, url: &str) -> (bool, String) {
    let arguments = [
        "--from",
        &text(from),
        "--data-dir",
        &text(data),
        "--clickhouse-url",
        url,
    ];
    said(&run("restore", arguments.map(str::to_owned).to_vec()).await)
}

/// A backup with epochs that were not confirmed; then the original ships them, or does not.
async fn restored_once(original_ships: bool) {
    let folder = tempfile::tempdir().unwrap();
    let engine_folder = tempfile::tempdir().unwrap();
    let engine = Engine::start_on(engine_folder.path(), "127.0.0.1:0");
    let (url, address) = (engine.url(), engine.address.to_string());
    let settings = [
        HOURLY,
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
        ("TILLWATCH_CLICKHOUSE_TIMEOUT", "5s"),
    ];
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(folder.path(), &settings).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    let first = folder.path().join("first");
    let (is_good, output) = backup(&data(&server), &first, &server.admin.to_string()).await;
    assert!(is_good && !output.contains("not asked"), "{output}");
    wait_drained(&server).await;

    // ClickHouse is away: what is sealed by the backup waits in the outbox, here and in the copy.
    drop(engine);
    terminals[0].post_fresh(&server, 5, 3).await;
    let saved = folder.path().join("saved");
    let (is_good, output) = backup(&data(&server), &saved, &server.admin.to_string()).await;
    assert!(
        is_good && output.contains("epochs up to 2, 1 of them not confirmed"),
        "{output}"
    );
    let engine = if original_ships {
        let engine = Engine::start_on(engine_folder.path(), &address);
        wait_drained(&server).await;
        // The original goes on for a while, and what it ships stays.
        terminals[0].post_fresh(&server, 5, 3).await;
        let other = folder.path().join("other");
        assert!(
            backup(&data(&server), &other, &server.admin.to_string())
                .await
                .0
        );
        wait_drained(&server).await;
        server.kill();
        engine
    } else {
        server.kill();
        Engine::start_on(engine_folder.path(), &address)
    };

    if original_ships {
        // Used as it is, without `restore`, it ships nothing over what the original has shipped.
        let before = engine.sql(CELLS).await;
        let naive = tempfile::tempdir().unwrap();
        std::fs::create_dir(naive.path().join("data")).unwrap();
        std::fs::copy(
            saved.join("state.sqlite"),
            naive.path().join("data/state.sqlite"),
        )
        .unwrap();
        // The bare copy misses its journal, and says how restoring is meant to be done; told to, it goes on
        // without.
        let here = naive.path().join("data").display().to_string();
        for (what, is_allowed, word) in [
            ("verify", false, "tillwatch restore"),
            ("abandon", true, "Nothing is known to be lost"),
        ] {
            let arguments = [what, "--data-dir", &here].map(str::to_owned);
            let (is_good, output) = said(&run("journal", arguments.to_vec()).await);
            assert!(is_good == is_allowed && output.contains(word), "{output}");
        }
        let server = Server::start_on(naive.path(), &settings).await;
        let refusal = "tillwatch migrate --new-collector-id";
        crate::support::wait_until("the refusal", || {
            server.log().contains(refusal).then_some(())
        })
        .await;
        server.stop().await;
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&engine.sql(CELLS).await), sorted(&before));
    }

    let again = tempfile::tempdir().unwrap();
    let (is_good, output) = restore(&saved, &again.path().join("data"), &url).await;
    assert!(is_good, "{output}");
    assert!(
        output.contains("1 epochs wait to be shipped, 0 of them under the new id"),
        "{output}"
    );
    let server = Server::start_on(again.path(), &settings).await;
    // A terminal whose answer was lost before the backup sends again.
    terminals[0]
        .acknowledged
        .truncate(if original_ships { 15 } else { 10 });
    let known = terminals[0].acknowledged[9].batch.clone();
    assert_eq!(server.taken(&known.0).await, (0, 3, 0));
    terminals[1].post_fresh(&server, 4, 3).await;
    let last = again.path().join("last");
    assert!(
        backup(&data(&server), &last, &server.admin.to_string())
            .await
            .0
    );
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    assert_query_api(&terminals, &server).await;
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_ships_what_the_original_did_not() {
    restored_once(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_does_not_double_what_the_original_shipped_after_it() {
    restored_once(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_used_is_refused_and_nothing_is_begun() {
    let engine = Engine::start();
    let url = engine.url();
    let settings = [HOURLY, ("TILLWATCH_CLICKHOUSE_URL", url.as_str())];
    let server = Server::start_with(&settings).await;
    let mut terminal = Terminal::new("store-a");
    terminal.post_fresh(&server, 2, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    // Nobody listens there: it still backs up, and says what may be missing.
    let (is_good, output) = backup(&data(&server), &saved, "127.0.0.1:1").await;
    assert!(is_good && output.contains("--admin-url"), "{output}");
    let (is_good, output) = backup(&data(&server), &saved, &server.admin.to_string()).await;
    assert!(!is_good && output.contains("is not empty"), "{output}");

    let target = folder.path().join("target");
    let file = saved.join("state.sqlite");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let (is_good, output) = restore(&saved, &target, &url).await;
    assert!(
        !is_good && output.contains("damaged: state.sqlite should have checksum"),
        "{output}"
    );
    std::fs::write(&file, &good).unwrap();
    let (is_good, output) = restore(folder.path(), &target, &url).await;
    assert!(
        !is_good && output.contains("manifest.json is missing"),
        "{output}"
    );
    // Without ClickHouse it cannot be known which numbers are used.
    let (is_good, output) = restore(&saved, &target, "http://127.0.0.1:1").await;
    assert!(!is_good && output.contains("did not answer"), "{output}");
    let (is_good, output) = restore(&saved, &data(&server), &url).await;
    assert!(!is_good && output.contains("is not empty"), "{output}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["saved"], "nothing was begun");

    // A running collector keeps its id.
    let arguments = [
        "--new-collector-id",
        "--data-dir",
        &text(&data(&server)),
        "--clickhouse-url",
        &url,
    ];
    let (is_good, output) = said(&run("migrate", arguments.map(str::to_owned).to_vec()).await);
    let pid = format!("in use by process {}", server.pid());
    assert!(!is_good && output.contains(&pid), "{output}");
    server.stop().await;
}

/// Killed with batches in the journal alone: a backup says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_journal_holds_is_said_and_the_journal_of_another_is_refused() {
    let engine = Engine::start();
    let url = engine.url();
    let settings = [HOURLY, ("TILLWATCH_CLICKHOUSE_URL", url.as_str())];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let server = Server::start_on(folder.path(), &settings).await;
        let mut terminal = Terminal::new("store-a");
        terminal.post_fresh(&server, 3, 2).await;
        server.kill();
    }
    let [one, two] = folders.each_ref().map(|folder| folder.path().join("data"));
    let saved = folders[0].path().join("saved");
    let (is_good, output) = backup(&one, &saved, "127.0.0.1:1").await;
    assert!(
        is_good && output.contains("3 batches lie in the journal alone"),
        "{output}"
    );

    copy(&two.join("journal"), &one.join("journal"));
    let serve = [
        "--data-dir",
        &text(&one),
        "--clickhouse-url",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let (is_good, output) = refused_start(&serve).await;
    assert!(
        !is_good && output.contains("one of them comes from another collector"),
        "{output}"
    );
    // With its own folder again the collector goes on where it was.
    let server = Server::start_on(folders[1].path(), &settings).await;
    wait_applied_samples(&server, 6.0).await;
    server.stop().await;
}

/// A start that must fail; one that does not is ended.
async fn refused_start(arguments: &[&str]) -> (bool, String) {
    let mut command = Server::command("serve");
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let started = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(30) {
            kill(pid);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    said(&child.wait_with_output().unwrap())
}

async fn wait_applied_samples(server: &Server, samples: f64) {
    server.wait_applied().await;
    let page = server.metrics().await;
    let at = |place| page.value("tillwatch_ledger_samples", &[("place", place)]);
    assert_eq!(at("accepted"), samples);
}
