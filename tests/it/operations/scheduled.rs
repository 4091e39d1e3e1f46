//! Backups that `serve` makes by itself.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{
    CELLS, Engine, Server, Terminal, assert_exactly, copy, data, now_ms, run, said, wait_drained,
    wait_until,
};

const HOURLY: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "1h");
const DAY_MS: i64 = 86_400_000;

/// The entries of a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// The name of a backup made then.
fn name_of(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap();
    at.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// Waits for `count` backups that have their name.
async fn wait_backups(dir: &Path, count: usize) -> Vec<String> {
    wait_until("the backups", || {
        let names = names(dir);
        let has_all = names.len() == count && !names.iter().any(|name| name.starts_with('.'));
        has_all.then_some(names)
    })
    .await
}

/// Changes what a backup says of itself, as if it had been made so, and gives it its name.
fn remake(backup: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    let file = backup.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    let text = serde_json::to_vec(&manifest).unwrap();
    std::fs::write(&file, &text).unwrap();
    let sums = std::fs::read_to_string(backup.join("SHA256SUMS")).unwrap();
    let of_state = sums.lines().nth(1).unwrap();
    let sum = hex::encode(Sha256::digest(&text));
    let sums = format!("{sum}  manifest.json\n{of_state}\n");
    std::fs::write(backup.join("SHA256SUMS"), sums).unwrap();
    let name = name_of(manifest["created_at_ms"].as_i64().unwrap());
    let target = backup.with_file_name(name);
    if target != backup {
        std::fs::rename(backup, &target).unwrap();
    }
    target
}

/// Makes a backup so many days older.
fn age(backup: &Path, days: i64) -> PathBuf {
    remake(backup, |manifest| {
        let created_at_ms = manifest["created_at_ms"].as_i64().unwrap();
        manifest["created_at_ms"] = (created_at_ms - days * DAY_MS).into();
    })
}

async fn verify(backup: &Path) -> (bool, String) {
    let arguments = vec!["--verify".to_owned(), backup.display().to_string()];
    said(&run("backup", arguments).await)
}

async fn wait_metric(server: &Server, name: &str, labels: &[(&str, &str)], at_least: f64) {
    let started = std::time::Instant::now();
    while server.metrics().await.value(name, labels) < at_least {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(60),
            "{name}: {}",
            server.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_backup_holds_what_was_acknowledged_and_a_restart_makes_none_before_it_is_due()
{
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    std::fs::create_dir(&dir).unwrap();
    let engine = Engine::start();
    let url = engine.url();
    let dir_text = dir.display().to_string();
    let settings = [HOURLY, ("TILLWATCH_CLICKHOUSE_URL", url.as_str())];
    let scheduled = [
        settings[0],
        settings[1],
        ("TILLWATCH_BACKUP_DIR", dir_text.as_str()),
    ];
    // Acknowledged, and killed before a seal: it is in the journal alone, until the seal before the backup.
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminals = vec![Terminal::new("store-a")];
    terminals[0].post_fresh(&server, 5, 3).await;
    assert_eq!(
        server
            .metrics()
            .await
            .get("tillwatch_backup_age_seconds", &[]),
        None
    );
    server.kill();
    let before_ms = now_ms();
    let server = Server::start_on(folder.path(), &scheduled).await;
    let first = wait_backups(&dir, 1).await.remove(0);
    wait_metric(&server, "tillwatch_backups_total", &[("result", "ok")], 1.0).await;
    let page = server.metrics().await;
    assert!(first >= name_of(before_ms), "{first}");
    let value = |name: &str| page.get(name, &[]).unwrap();
    assert_eq!(value("tillwatch_backup_interval_seconds"), 86_400.0);
    assert!(value("tillwatch_backup_age_seconds") < 300.0);
    assert!(value("tillwatch_backup_bytes") > 4_096.0);
    assert_eq!(value("tillwatch_backup_duration_seconds_count"), 1.0);
    let (is_good, output) = verify(&dir.join(&first)).await;
    assert!(
        is_good && output.contains("epochs up to 1, ") && output.contains("as it was written"),
        "{output}"
    );

    // Not due after a restart; due once it is a day old.
    let server = server.restart().await;
    wait_metric(&server, "tillwatch_backup_bytes", &[], 1.0).await;
    server.stop().await;
    let first = age(&dir.join(&first), 1);
    let server = Server::start_on(folder.path(), &scheduled).await;
    let both = wait_backups(&dir, 2).await;
    assert_eq!(dir.join(&both[0]), first);
    server.kill();

    let again = tempfile::tempdir().unwrap();
    let arguments = [
        "--from",
        &dir.join(&both[1]).display().to_string(),
        "--data-dir",
        &again.path().join("data").display().to_string(),
        "--clickhouse-url",
        &url,
    ];
    let (is_good, output) = said(&run("restore", arguments.map(str::to_owned).to_vec()).await);
    assert!(is_good, "{output}");
    let server = Server::start_on(again.path(), &settings).await;
    let known = terminals[0].acknowledged[4].batch.clone();
    assert_eq!(server.taken(&known.0).await, (0, 3, 0));
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    server.stop().await;

    let copied = dir.join(&both[1]).join("state.sqlite");
    let mut bytes = std::fs::read(&copied).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&copied, bytes).unwrap();
    let (is_good, output) = verify(&dir.join(&both[1])).await;
    assert!(
        !is_good && output.contains("damaged: state.sqlite should have checksum"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_backups_of_the_schedule_go_and_those_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    std::fs::create_dir(&dir).unwrap();
    let dir_text = dir.display().to_string();
    let settings = [
        HOURLY,
        ("TILLWATCH_BACKUP_DIR", dir_text.as_str()),
        ("TILLWATCH_BACKUP_KEEP", "2"),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let made = dir.join(wait_backups(&dir, 1).await.remove(0));
    // By hand, into the same folder.
    let by_hand = vec![
        dir.join("by-hand").display().to_string(),
        "--data-dir".to_owned(),
        data(&server).display().to_string(),
        "--admin-url".to_owned(),
        server.admin_url(),
    ];
    let (is_good, output) = said(&run("backup", by_hand).await);
    assert!(is_good, "{output}");
    server.stop().await;
    let mut stay = vec!["by-hand".to_owned(), "2020-01-01T00-00-00Z".to_owned()];
    std::fs::create_dir(dir.join(&stay[1])).unwrap();
    std::fs::write(dir.join(&stay[1]).join("manifest.json"), "a stranger's").unwrap();
    for days in 2..5 {
        copy(&made, &dir.join("copy"));
        age(&dir.join("copy"), days);
    }
    // Of another collector, and older than all.
    copy(&made, &dir.join("copy"));
    let other = age(&dir.join("copy"), 9);
    remake(&other, |manifest| {
        manifest["collector_id"] = "00000000-0000-4000-8000-000000000000".into();
    });
    stay.push(other.file_name().unwrap().to_str().unwrap().to_owned());
    let before = age(&made, 1);
    stay.push(before.file_name().unwrap().to_str().unwrap().to_owned());
    stay.sort();
    assert_eq!(names(&dir).len(), stay.len() + 3);

    let server = Server::start_on(folder.path(), &settings).await;
    let left = wait_backups(&dir, stay.len() + 1).await;
    let is_new = |name: &&String| !stay.contains(name);
    let new: Vec<&String> = left.iter().filter(is_new).collect();
    assert_eq!(new.len(), 1, "{left:?}");
    assert!(*new[0] > stay[stay.len() - 2], "{left:?}");
    assert!(stay.iter().all(|name| left.contains(name)), "{left:?}");
    let (is_good, output) = verify(&dir.join(new[0])).await;
    assert!(is_good, "{output}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_said_and_hurts_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("not mounted");
    let dir_text = dir.display().to_string();
    let settings = [HOURLY, ("TILLWATCH_BACKUP_DIR", dir_text.as_str())];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminal = Terminal::new("store-a");
    terminal.post_fresh(&server, 2, 3).await;
    wait_metric(
        &server,
        "tillwatch_backups_total",
        &[("result", "failed")],
        1.0,
    )
    .await;
    terminal.post_fresh(&server, 2, 3).await;
    assert_eq!(server.get("/readyz", &[]).await.status, 200);
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_backups_total", &[("result", "ok")]),
        0.0
    );
    assert!(page.get("tillwatch_backup_age_seconds", &[]).is_some());
    let log = server.log();
    assert!(
        log.contains("there is no new backup") && log.contains("not mounted"),
        "{log}"
    );
    assert!(!dir.exists(), "it is not made");

    std::fs::create_dir(&dir).unwrap();
    wait_metric(&server, "tillwatch_backups_total", &[("result", "ok")], 1.0).await;
    let name = wait_backups(&dir, 1).await.remove(0);
    let (is_good, output) = verify(&dir.join(name)).await;
    assert!(is_good, "{output}");
    server.stop().await;
}
