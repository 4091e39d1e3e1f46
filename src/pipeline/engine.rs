//! The embedded engine, or the server that is configured.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Config;
use crate::embedded::{EngineState, Supervisor, SupervisorSettings, locate};
use crate::persist::{ClickHouse, Endpoint};
use crate::pipeline::error::ServeError;

/// Where ClickHouse is, and the engine's supervisor if it is ours.
#[derive(Debug)]
pub struct Database {
    /// To talk to it.
    pub clickhouse: ClickHouse,
    /// The embedded engine.
    pub supervisor: Option<Supervisor>,
}

/// The file that says where the embedded engine is, for people with a shell on this machine.
const ENDPOINT_FILE: &str = "clickhouse.endpoint";

/// Takes the configured server, or starts the embedded engine.
///
/// # Errors
/// When the engine's library or the password file is missing.
pub fn open(config: &Config, data_dir: &Path) -> Result<Database, ServeError> {
    let timeout = config.clickhouse_timeout.map_or(Duration::from_secs(60), |span| span.0);
    if let Some(url) = &config.clickhouse_url {
        let endpoint = Endpoint {
            url: url.clone(),
            user: config.clickhouse_user.clone().unwrap_or_default(),
            password: password(config)?,
        };
        return Ok(Database {
            clickhouse: ClickHouse::fixed(endpoint, timeout),
            supervisor: None,
        });
    }
    let libchdb = locate(config.libchdb.as_deref())?;
    let executable = std::env::current_exe().map_err(|error| ServeError::Setup(error.to_string()))?;
    let memory = config.engine_memory.map_or(2 << 30, |bytes| bytes.0);
    let supervisor = Supervisor::spawn(SupervisorSettings {
        path: data_dir.join("clickhouse"),
        libchdb: Some(libchdb),
        executable,
        extra_arguments: vec!["--memory".to_owned(), memory.to_string()],
    });
    let (sender, receiver) = watch::channel(None);
    let mut moves = supervisor.endpoint();
    let file = data_dir.join(ENDPOINT_FILE);
    tokio::spawn(async move {
        loop {
            let now = moves.borrow_and_update().clone();
            let endpoint = match (now.state, now.url) {
                (EngineState::Ready, Some(url)) => Some(Endpoint {
                    url,
                    user: now.user,
                    password: now.password,
                }),
                _ => None,
            };
            if let Err(error) = note(&file, endpoint.as_ref()) {
                tracing::warn!(%error, file = %file.display(), "could not note where the engine is");
            }
            if sender.send(endpoint).is_err() || moves.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(Database {
        clickhouse: ClickHouse::new(receiver, timeout),
        supervisor: Some(supervisor),
    })
}

fn password(config: &Config) -> Result<String, ServeError> {
    let Some(path) = &config.clickhouse_password_file else {
        return Ok(std::env::var(crate::embedded::PASSWORD_VARIABLE).unwrap_or_default());
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
    let mut out = options.write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(out, "{}\n{}\n{}", endpoint.url, endpoint.user, endpoint.password)
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
