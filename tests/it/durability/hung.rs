//! What hangs, and fails nothing: the disk, the engine. Nobody who must answer waits for it, the end
//! comes in time, and nothing that was acknowledged is lost.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    CELLS, Server, Terminal, assert_exactly, children, data, is_alive, sql, terminate,
    wait_drained, wait_until,
};

/// A container's runtime kills after 10 s.
const STOP_MAX: Duration = Duration::from_secs(9);

/// Tells a collector to stop, posts until it is gone, and says how long that took.
async fn stop_under_load(server: &Server, terminal: &mut Terminal) -> Duration {
    let started = Instant::now();
    terminate(server.pid());
    while is_alive(server.pid()) {
        assert!(started.elapsed() < 3 * STOP_MAX, "{}", server.log());
        let marked = terminal.make(2);
        let posted = terminal.post(server, marked.clone());
        if tokio::time::timeout(Duration::from_secs(1), posted)
            .await
            .is_err()
        {
            // Nobody knows what became of it: it is sent again to the next one.
            terminal.open.push(marked);
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let until_gone = || (!is_alive(server.pid())).then_some(());
    wait_until("the collector's end", until_gone).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_under_load_while_the_engine_hangs_it_ends_in_time_and_ships_later() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("TILLWATCH_SEAL_INTERVAL", "500ms")];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];
    terminals[0].post_fresh(&server, 30, 2).await;
    wait_drained(&server).await;
    let [engine] = children(server.pid())[..] else {
        panic!("one engine")
    };
    let pid = Pid::from_raw(i32::try_from(engine).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // A round of shipping is stuck in it when the end is asked for.
    terminals[0].post_fresh(&server, 30, 2).await;
    let started = Instant::now();
    while server.metrics().await.value("tillwatch_outbox_epochs", &[]) < 1.0 {
        assert!(started.elapsed() < Duration::from_secs(20), "not sealed");
    }
    let took = stop_under_load(&server, &mut terminals[1]).await;
    assert!(took < STOP_MAX, "took {took:?}: {}", server.log());
    assert!(
        server.log().contains("waits in the outbox"),
        "{}",
        server.log()
    );
    wait_until("the engine's end", || (!is_alive(engine)).then_some(())).await;
    server.kill();

    let server = Server::start_on(folder.path(), &settings).await;
    terminals[1].post_open(&server).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    server.stop().await;
}

/// A library that makes the disk of a data folder hang, made from C: a real disk that hangs needs root.
fn make_hanging_disk(folder: &Path) -> String {
    let library = folder.join("hang.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/durability/hang.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status();
    assert!(made.unwrap().success(), "cc");
    library.display().to_string()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_hangs_readiness_says_so_metrics_answer_and_the_end_comes_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let library = make_hanging_disk(folder.path());
    let below = folder.path().join("data").display().to_string();
    let hang = folder.path().join("hang");
    let settings = [
        ("LD_PRELOAD", library.as_str()),
        ("HANG_BELOW", &below),
        ("HANG_WHILE", hang.to_str().unwrap()),
        ("TILLWATCH_SEAL_INTERVAL", "500ms"),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];
    terminals[0].post_fresh(&server, 20, 2).await;
    wait_drained(&server).await;

    std::fs::write(&hang, "").unwrap();
    let marked = terminals[0].make(2);
    let look = async {
        let started = Instant::now();
        let (mut slowest, mut wait) = (Duration::ZERO, 0.0);
        let fault = loop {
            let asked = Instant::now();
            let page = server.metrics().await;
            slowest = slowest.max(asked.elapsed());
            wait = page
                .value("tillwatch_journal_disk_wait_seconds", &[])
                .max(wait);
            let ready = server.get("/readyz", &[]).await;
            if ready.status == 503 {
                break ready.text();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "still ready");
        };
        let age = server
            .metrics()
            .await
            .value("tillwatch_disk_look_age_seconds", &[]);
        std::fs::remove_file(&hang).unwrap();
        (fault, slowest, wait.max(age), age)
    };
    let (reply, (fault, slowest, wait, age)) =
        tokio::join!(terminals[0].post(&server, marked), look);
    assert!(fault.contains("disk does not answer"), "{fault}");
    assert!(
        slowest < Duration::from_secs(3),
        "/metrics took {slowest:?}"
    );
    assert!(wait > 3.0 && age > 3.0, "waited {wait} s, age {age} s");
    assert_eq!(
        reply.expect("an answer").status,
        202,
        "acknowledged in the end"
    );
    let started = Instant::now();
    while server.get("/readyz", &[]).await.status != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "not ready again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_drained(&server).await;

    terminals[0].post_fresh(&server, 20, 2).await;
    std::fs::write(&hang, "").unwrap();
    let took = stop_under_load(&server, &mut terminals[1]).await;
    assert!(took < STOP_MAX, "took {took:?}: {}", server.log());
    std::fs::remove_file(&hang).unwrap();
    server.kill();

    let server = Server::start_on(folder.path(), &settings).await;
    terminals[1].post_open(&server).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    server.stop().await;
}
