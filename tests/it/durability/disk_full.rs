//! There is no room on the disk: a file system of 64 MiB, filled by somebody else.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    CELLS, Engine, Server, Terminal, assert_exactly, audit_is_clean, data, wait_drained,
};

/// A small file system of its own; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where file systems may not be mounted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(folder.path());
        let is_mounted = command.output().is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(folder))
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-l"])
            .arg(self.0.path())
            .output();
    }
}

/// Posts until a batch is refused; returns the refusal's code and the posts before it.
async fn post_until_refused(terminal: &mut Terminal, server: &Server) -> (String, usize) {
    for posts in 0.. {
        let marked = terminal.make(2_000);
        let reply = terminal.post(server, marked).await.expect("an answer");
        if reply.status != 202 {
            assert_eq!(reply.status, 503);
            assert!(!reply.header("retry-after").is_empty());
            return (reply.code(), posts);
        }
        assert!(posts < 5_000, "never refused");
    }
    unreachable!("it is refused or the test ends")
}

fn settings(url: &str) -> [(&str, &str); 4] {
    [
        ("TILLWATCH_SEAL_INTERVAL", "300ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url),
        ("TILLWATCH_JOURNAL_SEGMENT", "4MiB"),
        ("TILLWATCH_JOURNAL_BUDGET", "48MiB"),
    ]
}

async fn wait_metric(server: &Server, name: &str, labels: &[(&str, &str)], at_least: f64) {
    let started = Instant::now();
    while server.metrics().await.value(name, labels) < at_least {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{name}: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_it_refuses_acknowledges_nothing_it_cannot_keep_and_recovers_with_room() {
    let Some(disk) = SmallDisk::mount() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "no file system may be mounted here: run as root, or the promise goes untested"
        );
        println!("skipped: no file system may be mounted here");
        return;
    };
    let engine = Engine::start();
    let url = engine.url();
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];
    let server = Server::start_on(disk.0.path(), &settings(&url)).await;
    terminals[0].post_fresh(&server, 5, 2).await;
    wait_drained(&server).await;

    // No room: seals fail first, then, once the prepared segments are used up, batches are refused.
    disk.fill();
    terminals[0].post_fresh(&server, 5, 2).await;
    wait_metric(
        &server,
        "tillwatch_seals_total",
        &[("result", "error")],
        2.0,
    )
    .await;
    let (code, posts) = post_until_refused(&mut terminals[0], &server).await;
    assert_eq!(code, "storage_full");
    assert!(posts > 0, "prepared segments are there to be used");
    wait_metric(&server, "tillwatch_journal_full", &[], 1.0).await;
    disk.free();
    let started = Instant::now();
    while !terminals[0].open.is_empty() {
        let marked = terminals[0].open.remove(0);
        terminals[0].post(&server, marked).await;
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it does not recover: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    terminals[0].post_again(&server, 1).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);

    // Again, and this time it is killed while the disk is full.
    disk.fill();
    let (code, _) = post_until_refused(&mut terminals[1], &server).await;
    assert_eq!(code, "storage_full");
    server.kill();
    disk.free();
    let server = Server::start_on(disk.0.path(), &settings(&url)).await;
    for terminal in &mut terminals {
        terminal.post_open(&server).await;
        terminal.post_again(&server, 3).await;
    }
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;

    // Told to stop on a full disk: it ends, and the journal still has what could not be sealed.
    disk.fill();
    terminals[0].post_fresh(&server, 3, 2).await;
    let started = Instant::now();
    let pid = server.pid();
    crate::support::terminate(pid);
    while crate::support::is_alive(pid) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it never ends: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill();
    disk.free();
    let server = Server::start_on(disk.0.path(), &settings(&url)).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    server.stop().await;
    assert!(Path::new(disk.0.path()).join("data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_for_backups_is_said_and_hurts_no_terminal() {
    let Some(disk) = SmallDisk::mount() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "no file system may be mounted here: run as root, or the promise goes untested"
        );
        println!("skipped: no file system may be mounted here");
        return;
    };
    disk.fill();
    let dir = disk.0.path().display().to_string();
    let server = Server::start_with(&[("TILLWATCH_BACKUP_DIR", &dir)]).await;
    let failed = [("result", "failed")];
    wait_metric(&server, "tillwatch_backups_total", &failed, 1.0).await;
    let mut terminal = Terminal::new("store-a");
    terminal.post_fresh(&server, 3, 2).await;
    assert!(server.log().contains("bytes free"), "{}", server.log());
    disk.free();
    wait_metric(&server, "tillwatch_backups_total", &[("result", "ok")], 1.0).await;
    assert_eq!(std::fs::read_dir(disk.0.path()).unwrap().count(), 1);
    server.stop().await;
}
