//! The supervisor: start, restart, stop, and no orphan.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tillwatch::pipeline::ENGINE_NAMES;
use tillwatch_engine::{Endpoint, EngineState, PulseSettings, Supervisor, SupervisorSettings};
use tokio::sync::watch;

use crate::harness::{Engine, PATIENCE, executable, http, is_alive, library, signal, wait_for};

/// Says to the test binary that it is to be the parent, and where the data is.
const PARENT_VARIABLE: &str = "TILLWATCH_TEST_PARENT_PATH";

fn settings(path: &Path) -> SupervisorSettings {
    SupervisorSettings {
        path: path.to_owned(),
        libchdb: Some(library()),
        executable: executable(),
        names: ENGINE_NAMES,
        arguments: vec!["clickhouse".to_owned()],
        pulse: PulseSettings::default(),
    }
}

async fn ready(endpoint: &mut watch::Receiver<Endpoint>) -> Endpoint {
    let waiting = endpoint.wait_for(|endpoint| endpoint.state == EngineState::Ready);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap()
        .clone()
}

async fn select(endpoint: &Endpoint, statement: &'static str) -> String {
    let request = http()
        .post(endpoint.url.as_deref().unwrap())
        .basic_auth(&endpoint.user, Some(&endpoint.password))
        .body(statement);
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_killed_child_is_started_again_on_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::spawn(settings(folder.path()));
    let mut endpoint = supervisor.endpoint();
    let first = ready(&mut endpoint).await;
    select(
        &first,
        "CREATE TABLE t ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a",
    )
    .await;
    let open = http()
        .post(first.url.as_deref().unwrap())
        .body("SELECT 1")
        .send()
        .await
        .unwrap();
    assert_eq!(open.status().as_u16(), 403, "the password is needed");
    let pid = first.pid.unwrap();
    signal(pid, rustix::process::Signal::KILL);
    let down = endpoint.wait_for(|endpoint| endpoint.pid != Some(pid));
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    let second = ready(&mut endpoint).await;
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.url, first.url);
    assert_eq!(select(&second, "SELECT a FROM t").await, "1\n");
    supervisor.stop().await;
    assert!(!is_alive(second.pid.unwrap()));
    assert_eq!(endpoint.borrow().state, EngineState::Down);
}

#[tokio::test]
async fn a_child_that_cannot_start_is_down_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder.path().join("data"));
    settings.executable = folder.path().join("tillwatch");
    let supervisor = Supervisor::spawn(settings);
    let mut endpoint = supervisor.endpoint();
    let down = endpoint.wait_for(|endpoint| endpoint.state == EngineState::Down);
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    std::os::unix::fs::symlink(executable(), folder.path().join("tillwatch")).unwrap();
    let endpoint = ready(&mut endpoint).await;
    assert_eq!(select(&endpoint, "SELECT 1").await, "1\n");
    supervisor.stop().await;
}

/// Not a test of its own: the parent of the next one, in a process that can be killed.
#[tokio::test]
async fn parent_process() {
    let Ok(path) = std::env::var(PARENT_VARIABLE) else {
        return;
    };
    let supervisor = Supervisor::spawn(settings(Path::new(&path)));
    let mut endpoint = supervisor.endpoint();
    let endpoint = ready(&mut endpoint).await;
    println!("\nchild={}", endpoint.pid.unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_parent_leaves_no_orphan() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["supervised::parent_process", "--exact", "--nocapture"])
        .env(PARENT_VARIABLE, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pid: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child=")?.parse().ok())
        .unwrap();
    assert!(is_alive(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let started = std::time::Instant::now();
    wait_for("the orphan's end", || (!is_alive(pid)).then_some(()));
    assert!(
        started.elapsed().as_secs() < 5,
        "took {:?}",
        started.elapsed()
    );
    let engine = Engine::start_on(folder.path(), &[], None);
    assert_eq!(engine.sql("SELECT 1").await, "1\n");
}

/// An engine's children that answer nothing are as good as dead.
fn impatient(path: &Path) -> SupervisorSettings {
    SupervisorSettings {
        pulse: PulseSettings {
            every: Duration::from_millis(100),
            patience: Duration::from_secs(1),
            misses_max: 3,
        },
        ..settings(path)
    }
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::spawn(impatient(folder.path()));
    let mut endpoint = supervisor.endpoint();
    let first = ready(&mut endpoint).await;
    select(
        &first,
        "CREATE TABLE t ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a",
    )
    .await;
    let pid = first.pid.unwrap();
    signal(pid, rustix::process::Signal::STOP);
    let down = endpoint.wait_for(|endpoint| endpoint.pid != Some(pid));
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    let second = ready(&mut endpoint).await;
    assert!(!is_alive(pid));
    assert_eq!((second.ends.hung, second.ends.ended), (1, 0));
    assert_eq!(select(&second, "SELECT a FROM t").await, "1\n");
    supervisor.stop().await;
}

/// More heavy statements than have their turn at once: the others wait, and a pulse does not.
#[tokio::test]
async fn a_child_with_much_to_do_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::spawn(impatient(folder.path()));
    let mut endpoint = supervisor.endpoint();
    let first = ready(&mut endpoint).await;
    let heavy = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1 SETTINGS max_execution_time = 4";
    let statements = (0..10).map(|_| {
        let first = first.clone();
        tokio::spawn(async move { select(&first, heavy).await })
    });
    for statement in statements.collect::<Vec<_>>() {
        let _too_slow = statement.await.unwrap();
    }
    let now = endpoint.borrow().clone();
    assert_eq!((now.pid, now.ends.hung), (first.pid, 0));
    supervisor.stop().await;
}

#[tokio::test]
async fn a_child_that_hangs_at_the_end_is_waited_for_only_as_long_as_there_is_time() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::spawn(settings(folder.path()));
    let mut endpoint = supervisor.endpoint();
    let pid = ready(&mut endpoint).await.pid.unwrap();
    signal(pid, rustix::process::Signal::STOP);
    let started = std::time::Instant::now();
    supervisor.stop_within(Duration::from_millis(500)).await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert!(!is_alive(pid));
}
