//! Starts the engine's process, watches it and starts it again; nobody else needs to know its pid.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::names::Names;
use super::pulse::{self, PulseSettings};

/// The first pause before a restart.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause; each failed start doubles it.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// After so long in service the next pause is short again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// How long a start may take: ten seconds for the path's lock, the rest for loading parts.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a killed child may take to be gone; one that waits for a disk that hangs is not.
const KILL_TIME_MAX: Duration = Duration::from_millis(500);
/// How long a child may take to end by itself, unless it is told otherwise.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest line of the child that is looked at; its announcement has about 60 bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// How the engine's process is started.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// The storage path.
    pub path: PathBuf,
    /// The library's file; `None`: the child looks for it.
    pub libchdb: Option<PathBuf>,
    /// What the program calls things.
    pub names: &'static Names,
    /// The program to start: `std::env::current_exe()`.
    pub executable: PathBuf,
    /// What the program is told before `--path DIR --listen ADDR --exit-on-stdin-eof --libchdb FILE`,
    /// so that it runs the front.
    pub arguments: Vec<String>,
    /// When the engine counts as hung.
    pub pulse: PulseSettings,
}

/// Whether the engine can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineState {
    /// The process was started and has not announced itself.
    Starting,
    /// The process listens at the endpoint's URL.
    Ready,
    /// The process ended; the next start comes after a pause. After `stop` there is none.
    Down,
}

/// How often the engine's process has ended, by cause, `stop` not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// The process ended by itself, or was killed by another.
    pub ended: u64,
    /// The process did not answer, and was killed.
    pub hung: u64,
    /// The process was not ready in time, or could not be started.
    pub not_ready: u64,
}

/// Where the engine is. Look again before each use: a restart may move it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the engine can be used.
    pub state: EngineState,
    /// The engine's URL, while it is ready.
    pub url: Option<String>,
    /// The user to send.
    pub user: String,
    /// The password to send; made anew by each `spawn`.
    pub password: String,
    /// The id of the engine's process, for the log.
    pub pid: Option<u32>,
    /// How often the engine has ended so far: each end was followed by a start.
    pub ends: Ends,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("state", &self.state)
            .field("url", &self.url)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Why one run of the child ended. Only for the log: the supervisor tries again.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The program could not be started.
    #[error("could not start the embedded engine")]
    Spawn(#[source] io::Error),
    /// The process ended before it listened; it said why on standard error.
    #[error("the embedded engine ended before it was ready")]
    EndedEarly,
    /// The process neither listened nor ended.
    #[error("the embedded engine was not ready after {} s", START_TIME_MAX.as_secs())]
    TooSlow,
    /// The process could not be watched.
    #[error("the embedded engine could not be watched")]
    Watch(#[source] io::Error),
}

/// Keeps one engine process alive until it is stopped or dropped.
#[derive(Debug)]
pub struct Supervisor {
    endpoint: watch::Receiver<Endpoint>,
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the engine's process and a task that watches it. Call within a runtime; wait for
    /// [`EngineState::Ready`] on [`Supervisor::endpoint`].
    ///
    /// Dropping the supervisor kills the process; [`Supervisor::stop`] lets it finish.
    pub fn spawn(settings: SupervisorSettings) -> Self {
        let (sender, endpoint) = watch::channel(Endpoint {
            state: EngineState::Starting,
            url: None,
            user: "default".to_owned(),
            password: new_password(),
            pid: None,
            ends: Ends::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(
            Watcher {
                settings,
                endpoint: sender,
            }
            .run(stopped),
        );
        Self {
            endpoint,
            stop: Some(stop),
            task,
        }
    }

    /// Where the engine is, now and later.
    pub fn endpoint(&self) -> watch::Receiver<Endpoint> {
        self.endpoint.clone()
    }

    /// Closes the child's standard input, waits five seconds, then kills its process group.
    pub async fn stop(self) {
        self.stop_within(STOP_TIME_MAX).await;
    }

    /// Stops the child as [`stop`](Self::stop) does, with less time or more before the kill.
    pub async fn stop_within(mut self, limit: Duration) {
        if let Some(stop) = self.stop.take() {
            // Nobody receives this if the task has ended, which then says so below.
            let _gone = stop.send(limit);
        }
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the engine's supervisor failed");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The child is killed with the task that holds it.
        self.task.abort();
    }
}

/// 122 random bits, twice: no dictionary helps, and a terminal shows it in one line.
fn new_password() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}

struct Watcher {
    settings: SupervisorSettings,
    endpoint: watch::Sender<Endpoint>,
}

/// A child that listens.
struct Started {
    child: Child,
    /// Closing it tells the child to finish. Apart from `child`, because waiting for a child
    /// closes the standard input that is still in it.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Watcher {
    async fn run(self, mut stopped: oneshot::Receiver<Duration>) {
        let mut pause = RESTART_PAUSE_MIN;
        let mut port = 0;
        loop {
            let started = tokio::select! {
                started = self.start(port) => started,
                _ = &mut stopped => break,
            };
            match started {
                Ok(started) => {
                    port = started.address.port();
                    let since = Instant::now();
                    if self.watch(started, &mut stopped).await {
                        break;
                    }
                    if since.elapsed() >= HEALTHY_AFTER {
                        pause = RESTART_PAUSE_MIN;
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "no engine");
                    self.count(|ends| ends.not_ready += 1);
                    // Perhaps another process took the port meanwhile.
                    port = 0;
                }
            }
            self.set(EngineState::Down, None, None);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stopped => break,
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
        self.set(EngineState::Down, None, None);
    }

    /// Starts a child and waits until it listens. Dropping the future kills the child.
    async fn start(&self, port: u16) -> Result<Started, SuperviseError> {
        self.set(EngineState::Starting, None, None);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(&self.settings.executable);
        command
            .args(&self.settings.arguments)
            .arg("--path")
            .arg(&self.settings.path)
            .arg("--listen")
            .arg(listen.to_string())
            .arg("--exit-on-stdin-eof");
        if let Some(file) = &self.settings.libchdb {
            command.arg("--libchdb").arg(file);
        }
        let mut child = command
            .env(
                self.settings.names.password_variable,
                &self.endpoint.borrow().password,
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(SuperviseError::Spawn)?;
        let stdout = child.stdout.take().ok_or(SuperviseError::EndedEarly)?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(stdout);
        let announced = tokio::time::timeout(
            START_TIME_MAX,
            announced_address(&mut stdout, self.settings.names),
        )
        .await;
        match announced {
            Ok(Ok(Some(address))) => Ok(Started {
                child,
                stdin,
                stdout,
                address,
            }),
            Ok(Ok(None)) => Err(SuperviseError::EndedEarly),
            Ok(Err(source)) => Err(SuperviseError::Watch(source)),
            Err(_elapsed) => Err(SuperviseError::TooSlow),
        }
    }

    /// Waits until the child ends or must end; true when it was told to stop.
    async fn watch(&self, started: Started, stopped: &mut oneshot::Receiver<Duration>) -> bool {
        let Started {
            mut child,
            stdin,
            mut stdout,
            address,
        } = started;
        let pid = child.id();
        let url = format!("http://{address}");
        self.set(EngineState::Ready, Some(url.clone()), pid);
        tracing::info!(pid, %address, "the embedded engine is ready");
        // Read on, so that the child never blocks on a full pipe.
        let forget = tokio::spawn(async move {
            let mut sink = tokio::io::sink();
            let _ = tokio::io::copy(&mut stdout, &mut sink).await;
        });
        let endpoint = self.endpoint.borrow().clone();
        let credentials = (endpoint.user.as_str(), endpoint.password.as_str());
        let was_told = tokio::select! {
            status = child.wait() => {
                tracing::warn!(pid, ?status, "the embedded engine ended");
                self.count(|ends| ends.ended += 1);
                false
            }
            () = pulse::lost(&url, credentials, self.settings.pulse) => {
                tracing::error!(pid, "the embedded engine hangs; it is killed and started again");
                self.count(|ends| ends.hung += 1);
                kill_child(&mut child).await;
                false
            }
            limit = stopped => {
                drop(stdin);
                stop_child(child, limit.unwrap_or(STOP_TIME_MAX)).await;
                true
            }
        };
        forget.abort();
        was_told
    }

    fn count(&self, count: impl FnOnce(&mut Ends)) {
        self.endpoint
            .send_modify(|endpoint| count(&mut endpoint.ends));
    }

    fn set(&self, state: EngineState, url: Option<String>, pid: Option<u32>) {
        self.endpoint.send_modify(|endpoint| {
            endpoint.state = state;
            endpoint.url = url;
            endpoint.pid = pid;
        });
    }
}

/// Reads lines until the announcement; `None` when the child closed its output.
async fn announced_address(
    stdout: &mut BufReader<ChildStdout>,
    names: &Names,
) -> io::Result<Option<SocketAddr>> {
    loop {
        let mut line = Vec::new();
        if stdout
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let address = line
            .trim()
            .strip_prefix(names.announcement)
            .and_then(|url| url.strip_prefix("http://"))
            .and_then(|address| address.parse().ok());
        if address.is_some() {
            return Ok(address);
        }
    }
}

async fn stop_child(mut child: Child, limit: Duration) {
    if tokio::time::timeout(limit, child.wait()).await.is_ok() {
        return;
    }
    tracing::warn!("the embedded engine did not end in time; killing it");
    kill_child(&mut child).await;
}

/// Kills a child with all of its process group, and waits for its end.
async fn kill_child(child: &mut Child) {
    let group = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group
        && let Err(error) =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        tracing::warn!(%error, "could not kill the engine's process group");
    }
    match tokio::time::timeout(KILL_TIME_MAX, child.wait()).await {
        Ok(Ok(_status)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not wait for the engine's end"),
        Err(_elapsed) => tracing::warn!("the killed engine is still there: it waits for its disk"),
    }
}
