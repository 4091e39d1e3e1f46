//! Starts `tillwatch clickhouse` for a test and talks to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tillwatch::pipeline::ENGINE_NAMES;
use tillwatch_engine::locate;

/// How long a condition may take to become true. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The library's file; fails the test with the way out when there is none.
pub fn library() -> PathBuf {
    locate(None, ENGINE_NAMES).unwrap_or_else(|error| panic!("{error}"))
}

/// The program under test.
pub fn executable() -> PathBuf {
    env!("CARGO_BIN_EXE_tillwatch").into()
}

/// A running engine; killed when dropped.
pub struct Engine {
    pub child: Child,
    pub address: SocketAddr,
    pub stdin: Option<ChildStdin>,
    pub folder: Option<TempDir>,
}

impl Engine {
    /// Starts one on a folder of its own.
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// Starts one with more arguments and perhaps a password.
    pub fn start_with(arguments: &[&str], password: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut engine = Self::start_on(&path, arguments, password);
        engine.folder = Some(folder);
        engine
    }

    /// Starts one on a folder that exists already.
    pub fn start_on(path: &Path, arguments: &[&str], password: Option<&str>) -> Self {
        let mut child = command(path)
            .args(arguments)
            .env(ENGINE_NAMES.password_variable, password.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("tillwatch clickhouse ready http=http://")
            .unwrap_or_else(|| panic!("no announcement: {line:?}"))
            .parse()
            .unwrap();
        let stdin = child.stdin.take();
        Self {
            child,
            address,
            stdin,
            folder: None,
        }
    }

    /// The engine's URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The official client for it, without the password.
    pub fn client(&self) -> clickhouse::Client {
        clickhouse::Client::default().with_url(self.url())
    }

    /// Posts a statement with URL parameters; returns status and body.
    pub async fn post(&self, parameters: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let request = http().post(self.url()).query(parameters).body(body);
        Reply::of(request.send().await.unwrap()).await
    }

    /// Runs a statement that must succeed; returns its answer.
    pub async fn sql(&self, statement: &str) -> String {
        let reply = self.post(&[], statement.to_owned()).await;
        assert_eq!(reply.status, 200, "{statement}: {}", reply.text());
        reply.text()
    }

    /// Ends it as an operator would; returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        signal(self.child.id(), rustix::process::Signal::TERM);
        wait_for("the engine's end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tillwatch clickhouse` on a free port.
pub fn command(path: &Path) -> Command {
    let mut command = Command::new(executable());
    command
        .arg("clickhouse")
        .arg("--path")
        .arg(path)
        .args(["--listen", "127.0.0.1:0"])
        .env(ENGINE_NAMES.library_variable, library());
    command
}

/// An HTTP client that keeps no connection, so that tests count what they mean to.
pub fn http() -> reqwest::Client {
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .unwrap()
}

/// An answer, read.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks the engine until it answers `expected`; returns how long that took.
pub async fn wait_for_answer(engine: &Engine, statement: &str, expected: &str) -> Duration {
    let started = Instant::now();
    loop {
        let answer = engine.sql(statement).await;
        if answer.trim() == expected {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{statement}: {answer} instead of {expected}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    if rustix::process::test_kill_process(pid).is_err() {
        return false;
    }
    // A child that nobody waited for is still listed; Linux says so, elsewhere init reaps it.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    !stat.is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}
