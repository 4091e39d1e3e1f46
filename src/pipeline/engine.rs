//! Opens the embedded engine, or the server that is configured.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::counter;
use tillwatch_engine::{
    Ends, EngineState, Names, PulseSettings, Supervisor, SupervisorSettings, locate,
};
use tokio::sync::watch;

use crate::config::Config;
use crate::persist::{ClickHouse, Endpoint};
use crate::pipeline::error::ServeError;
use crate::self_metrics as names;
use crate::tasks::Tasks;

/// What the engine calls its files, its variables and this program.
pub const ENGINE_NAMES: &Names = &Names {
    program: "tillwatch",
    announcement: "tillwatch clickhouse ready http=",
    library_variable: "TILLWATCH_LIBCHDB",
    password_variable: "TILLWATCH_CLICKHOUSE_PASSWORD",
    without_library: "use a ClickHouse server with --clickhouse-url",
};

/// Where ClickHouse is, and the engine's supervisor if it is ours.
#[derive(Debug)]
pub struct Database {
    /// The client that talks to ClickHouse.
    pub clickhouse: ClickHouse,
    /// The embedded engine.
    pub supervisor: Option<Supervisor>,
}

/// The file that says where the embedded engine is, for people with a shell on this machine.
const ENDPOINT_FILE: &str = "clickhouse.endpoint";

/// How often the file is looked at, and written again if it is gone.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Writes the file again if somebody has deleted it. On a thread of its own: a disk that hangs must not hold
/// up what serves requests.
async fn put_back(file: PathBuf, endpoint: Option<Endpoint>) {
    let looked = tokio::task::spawn_blocking(move || {
        if !file.exists() {
            let noted = note(&file, endpoint.as_ref());
            tracing::warn!(
                file = %file.display(),
                is_written = noted.is_ok(),
                "the file that says where the engine is was gone"
            );
        }
    });
    // A failed look needs no care, because the file is looked at again in a moment.
    let _looked = looked.await;
}

/// Takes the configured server, or starts the embedded engine.
///
/// # Errors
/// When the engine's library or the password file is missing.
pub fn open(config: &Config, data_dir: &Path, tasks: &Tasks) -> Result<Database, ServeError> {
    let timeout = config.clickhouse.timeout.0;
    if let Some(url) = &config.clickhouse.url {
        let endpoint = Endpoint {
            url: url.clone(),
            user: config.clickhouse.user.clone(),
            password: password(config)?,
        };
        let roots = config.clickhouse.ca_file.as_deref();
        let clickhouse = ClickHouse::configured(endpoint, timeout, roots);
        return Ok(Database {
            clickhouse: clickhouse.map_err(ServeError::Roots)?,
            supervisor: None,
        });
    }
    let libchdb = locate(config.engine.libchdb.as_deref(), ENGINE_NAMES)?;
    let executable =
        std::env::current_exe().map_err(|error| ServeError::Setup(error.to_string()))?;
    let supervisor = Supervisor::spawn(SupervisorSettings {
        path: data_dir.join("clickhouse"),
        libchdb: Some(libchdb),
        executable,
        names: ENGINE_NAMES,
        arguments: vec![
            "clickhouse".to_owned(),
            "--memory".to_owned(),
            config.engine.memory.0.to_string(),
            "--log-format".to_owned(),
            config.text_of("log_format"),
        ],
        pulse: PulseSettings::default(),
    });
    let (sender, receiver) = watch::channel(None);
    let mut moves = supervisor.endpoint();
    let file = data_dir.join(ENDPOINT_FILE);
    tasks.spawn("engine's address", async move {
        // Until this engine has been ready, the file is that of another process.
        let mut is_ours = false;
        loop {
            let now = moves.borrow_and_update().clone();
            count(now.ends);
            let endpoint = match (now.state, now.url) {
                (EngineState::Ready, Some(url)) => Some(Endpoint {
                    url,
                    user: now.user,
                    password: now.password,
                }),
                _ => None,
            };
            is_ours |= endpoint.is_some();
            if is_ours {
                let (file, endpoint) = (file.clone(), endpoint.clone());
                let noted = tokio::task::spawn_blocking(move || {
                    let noted = note(&file, endpoint.as_ref());
                    noted.inspect_err(|error| {
                        tracing::warn!(%error, file = %file.display(), "could not note where the engine is");
                    })
                });
                // A failure has been told by a warning already.
                let _noted = noted.await;
            }
            let is_known = is_ours && endpoint.is_some();
            if sender.send(endpoint.clone()).is_err() {
                return;
            }
            // The endpoint is noted until it moves; the file is written again where somebody has deleted it.
            loop {
                match tokio::time::timeout(LOOK_EVERY, moves.changed()).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_gone)) => return,
                    Err(_nothing) if sender.is_closed() => return,
                    Err(_nothing) if is_known => put_back(file.clone(), endpoint.clone()).await,
                    Err(_nothing) => {}
                }
            }
        }
    });
    Ok(Database {
        clickhouse: ClickHouse::new(receiver, timeout),
        supervisor: Some(supervisor),
    })
}

/// Counts the engine's ends; each of them is followed by a start.
fn count(ends: Ends) {
    for (reason, number) in [
        ("ended", ends.ended),
        ("hung", ends.hung),
        ("not_ready", ends.not_ready),
    ] {
        counter!(names::ENGINE_ENDS, "reason" => reason).absolute(number);
    }
}

fn password(config: &Config) -> Result<String, ServeError> {
    let Some(path) = &config.clickhouse.password_file else {
        return Ok(std::env::var(ENGINE_NAMES.password_variable).unwrap_or_default());
    };
    let text = std::fs::read_to_string(path).map_err(|source| ServeError::DataDir {
        path: path.clone(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes where the engine is, readable for this user alone; removes the file when it is nowhere.
fn note(file: &PathBuf, endpoint: Option<&Endpoint>) -> std::io::Result<()> {
    let removed = std::fs::remove_file(file);
    let Some(endpoint) = endpoint else {
        return removed.or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
    };
    let mut options = std::fs::OpenOptions::new();
    let mut out = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    writeln!(
        out,
        "{}\n{}\n{}",
        endpoint.url, endpoint.user, endpoint.password
    )
}

/// Reads where the embedded engine of a running `serve` is.
#[must_use]
pub fn read_endpoint_file(data_dir: &Path) -> Option<Endpoint> {
    let text = std::fs::read_to_string(data_dir.join(ENDPOINT_FILE)).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    Some(Endpoint {
        url: lines.next()?,
        user: lines.next()?,
        password: lines.next()?,
    })
}

/// A database for one command: the server that is configured, the engine of a running `serve`, or an
/// engine of its own.
#[derive(Debug)]
pub struct OpenDatabase(Database);

impl OpenDatabase {
    /// The client that talks to ClickHouse.
    #[must_use]
    pub fn clickhouse(&self) -> &ClickHouse {
        &self.0.clickhouse
    }

    /// Ends the engine if it is this command's own.
    pub async fn close(self) {
        if let Some(supervisor) = self.0.supervisor {
            supervisor.stop().await;
        }
    }
}

/// Opens the database for a command.
///
/// # Errors
/// When there is none to be had.
pub async fn open_database(config: &Config, tasks: &Tasks) -> Result<OpenDatabase, ServeError> {
    let data_dir = &config.data.dir;
    let timeout = config.clickhouse.timeout.0;
    if config.clickhouse.url.is_none()
        && let Some(clickhouse) = running_engine(data_dir, timeout).await
    {
        return Ok(OpenDatabase(Database {
            clickhouse,
            supervisor: None,
        }));
    }
    let database = open(config, data_dir, tasks)?;
    let is_there = tokio::time::timeout(START_MAX, database.clickhouse.wait()).await;
    if is_there.is_err() {
        return Err(crate::persist::ClickHouseError::NotReady.into());
    }
    Ok(OpenDatabase(database))
}

/// The engine of a `serve` that runs on this folder. One that has just been started says in a moment where
/// its engine is; a second engine would only wait for the first to let go of the data.
async fn running_engine(data_dir: &Path, timeout: Duration) -> Option<ClickHouse> {
    /// How often the engine is looked for.
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let own_pid = std::process::id().to_string();
    let until = tokio::time::Instant::now() + START_MAX;
    loop {
        if let Some(endpoint) = read_endpoint_file(data_dir) {
            let clickhouse = ClickHouse::fixed(endpoint, timeout);
            // The file of a `serve` that was killed leads nowhere.
            if clickhouse.execute_outside("SELECT 1").await.is_ok() {
                return Some(clickhouse);
            }
        }
        let holder = tillwatch_journal::holder(data_dir).ok().flatten();
        let is_serve_running = holder.is_some_and(|pid| pid != own_pid);
        if !is_serve_running || tokio::time::Instant::now() >= until {
            return None;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// How long a command waits for an engine, its own or that of a `serve` that is starting.
const START_MAX: Duration = Duration::from_secs(30);
