//! Start and end of the process: library, port, path, signals.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tillwatch::pipeline::ENGINE_NAMES;

use crate::harness::{Engine, command, executable, signal, wait_for, wait_for_answer};

/// Runs a command that must fail; returns what it said on standard error.
fn failure(command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = wait_for("the process's end", || child.try_wait().unwrap());
    assert!(!status.success());
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn a_missing_library_says_the_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(executable());
    command
        .args(["clickhouse", "--listen", "127.0.0.1:0", "--path"])
        .arg(folder.path())
        .env(ENGINE_NAMES.library_variable, "/nowhere/libchdb.so");
    let text = failure(&mut command);
    for part in [
        "npm ci",
        "TILLWATCH_LIBCHDB",
        "--clickhouse-url",
        "/nowhere/libchdb.so",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(executable());
    command
        .args(["clickhouse", "--listen", &address, "--path"])
        .arg(folder.path());
    let text = failure(&mut command);
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
}

#[test]
fn an_open_address_needs_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(executable());
    command
        .args(["clickhouse", "--listen", "0.0.0.0:0", "--path"])
        .arg(folder.path());
    let text = failure(&mut command);
    assert!(text.contains("TILLWATCH_CLICKHOUSE_PASSWORD"), "{text}");
}

#[test]
fn a_locked_path_names_its_holder() {
    let engine = Engine::start();
    let path = engine.folder.as_ref().unwrap().path().join("data");
    let started = Instant::now();
    let text = failure(&mut command(&path));
    assert!(
        text.contains(&format!("process {}", engine.child.id())),
        "{text}"
    );
    assert!(started.elapsed() >= Duration::from_secs(9), "did not wait");
}

#[tokio::test]
async fn data_and_functions_survive_a_kill_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut engine = Engine::start_on(&path, &[], None);
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    engine.sql("CREATE FUNCTION plus_one AS (x) -> x + 1").await;
    engine.sql("INSERT INTO t VALUES (1)").await;
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    let mut engine = Engine::start_on(&path, &[], None);
    assert_eq!(engine.sql("SELECT plus_one(a) FROM t").await, "2\n");
    assert_eq!(engine.terminate(), Some(0));
    let engine = Engine::start_on(&path, &[], None);
    assert_eq!(engine.sql("SELECT plus_one(a) FROM t").await, "2\n");
}

#[tokio::test]
async fn a_stop_lets_statements_finish_but_not_for_ever() {
    for (statement, is_finished) in [
        ("SELECT sleep(2)", true),
        (
            "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1",
            false,
        ),
    ] {
        let mut engine = Engine::start();
        let request = crate::harness::http().post(engine.url()).body(statement);
        let reply = tokio::spawn(async move { request.send().await?.text().await });
        let running = "SELECT count() FROM system.processes WHERE query NOT LIKE '%processes%'";
        wait_for_answer(&engine, running, "1").await;
        let started = Instant::now();
        let status = tokio::task::spawn_blocking(move || engine.terminate())
            .await
            .unwrap();
        assert_eq!(status, Some(0));
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "took {:?}",
            started.elapsed()
        );
        assert_eq!(reply.await.unwrap().is_ok(), is_finished, "{statement}");
    }
}

#[test]
fn the_end_of_standard_input_matters_only_when_asked() {
    let mut engine = Engine::start();
    drop(engine.stdin.take());
    let mut watched = Engine::start_with(&["--exit-on-stdin-eof"], None);
    drop(watched.stdin.take());
    let status = wait_for("the watched engine's end", || {
        watched.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    assert!(engine.child.try_wait().unwrap().is_none());
    signal(engine.child.id(), rustix::process::Signal::INT);
    let status = wait_for("the engine's end", || engine.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
