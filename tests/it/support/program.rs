//! Other commands of the program, processes, and signals.

use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::Server;

/// Runs a command to its end where waiting is allowed.
pub async fn run(subcommand: &str, arguments: Vec<String>) -> Output {
    let mut command = Server::command(subcommand);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Whether a command went well, and all that it said.
pub fn said(output: &Output) -> (bool, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
    (output.status.success(), text)
}

/// `tillwatch audit` of a data folder: whether it found nothing to blame, and what it said.
pub async fn audit(data: &Path, more: &[&str]) -> (bool, String) {
    let mut arguments = vec![
        "--data-dir".to_owned(),
        data.display().to_string(),
        "--verbose".to_owned(),
    ];
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    said(&run("audit", arguments).await)
}

/// An audit that must find nothing to blame.
pub async fn audit_is_clean(data: &Path, more: &[&str]) {
    let (is_clean, said) = audit(data, more).await;
    assert!(
        is_clean && said.contains("nothing lost, nothing doubled"),
        "{said}"
    );
}

/// `tillwatch sql` on the engine of a running collector.
pub async fn sql(data: &Path, statement: &str) -> String {
    let arguments = vec![
        statement.to_owned(),
        "--data-dir".to_owned(),
        data.display().to_string(),
        "--format".to_owned(),
        "TSV".to_owned(),
    ];
    let output = run("sql", arguments).await;
    assert!(
        output.status.success(),
        "{statement}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The data folder of a collector.
pub fn data(server: &Server) -> PathBuf {
    server.folder().join("data")
}

/// Copies a folder, as a backup would.
pub fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Sends SIGKILL.
pub fn kill(pid: u32) {
    let _ = kill_process(process(pid), Signal::KILL);
}

/// Sends SIGTERM.
pub fn terminate(pid: u32) {
    let _ = kill_process(process(pid), Signal::TERM);
}

/// Sends SIGHUP.
pub fn hangup(pid: u32) {
    kill_process(process(pid), Signal::HUP).unwrap();
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    if test_kill_process(process(pid)).is_err() {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.starts_with(" Z") || rest.is_empty())
}

/// The processes whose parent this one is (Linux).
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.flat_map(|task| std::fs::read_to_string(task.path().join("children")));
    lists
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Asks until there is an answer, without blocking the runtime.
pub async fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            started.elapsed() < super::server::PATIENCE,
            "waited too long for {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Runs a command that reads from standard input to its end, where waiting is allowed.
pub async fn run_with_input(subcommand: &str, arguments: &[String], input: String) -> Output {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Server::command(subcommand);
    command.args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let work = move || {
        let mut child = command.spawn().unwrap();
        let mut to_child = child.stdin.take().unwrap();
        to_child.write_all(input.as_bytes()).unwrap();
        drop(to_child);
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
