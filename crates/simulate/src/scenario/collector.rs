//! A collector of the scenario's own: `serve` as a child process, in a scratch folder.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::scenario::list::Setup;
use crate::scenario::proxy::{Link, Proxy};

/// How long a start may take: loading the engine, and the state of an earlier run.
const START_MAX: Duration = Duration::from_secs(120);
/// How long an end may take before it is forced: sealing, and five seconds of shipping.
const STOP_MAX: Duration = Duration::from_secs(60);
/// The longest line of a child that is looked at.
const LINE_BYTES_MAX: u64 = 4_096;

const PASSWORD_VARIABLE: &str = "TILLWATCH_CLICKHOUSE_PASSWORD";
const LIBCHDB_VARIABLE: &str = "TILLWATCH_LIBCHDB";

/// Why there is no collector.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The scratch folder or a child could not be made.
    #[error("could not set up a collector in {folder}")]
    Setup {
        /// The folder.
        folder: PathBuf,
        /// Why the scratch folder or the child could not be made.
        #[source]
        source: io::Error,
    },
    /// The collector ended, or was not ready in time.
    #[error("the collector's {command} was not ready; it said:\n{log}")]
    NotReady {
        /// Which of the collector's processes was not ready.
        command: &'static str,
        /// The end of the process's log.
        log: String,
    },
    /// The collector did not end as it should.
    #[error("the collector did not end well ({0}); --data-dir keeps its log")]
    End(String),
}

/// A folder that goes when it is dropped, unless it was asked for.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_scratch: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_scratch {
            let _gone = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The engine as a process of its own.
#[derive(Debug)]
struct Apart {
    engine: Child,
    /// Closing it ends the engine.
    _stdin: Option<ChildStdin>,
    url: String,
    password: String,
    proxy: Proxy,
}

/// `serve` on a scratch folder, and what it needs. Children that are still there are killed when it is
/// dropped.
#[derive(Debug)]
pub struct Collector {
    /// Where terminals post.
    pub url: String,
    /// Where the collector's admin listener is.
    pub admin_url: String,
    serve: Child,
    apart: Option<Apart>,
    folder: Folder,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(setup: Setup, data_dir: Option<&Path>) -> Result<Self, CollectorError> {
        let name = format!("tillwatch-simulate-{}", uuid::Uuid::new_v4().simple());
        let folder = Folder {
            path: data_dir.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned),
            is_scratch: data_dir.is_none(),
        };
        let failed = |source| CollectorError::Setup {
            folder: folder.path.clone(),
            source,
        };
        std::fs::create_dir_all(&folder.path).map_err(failed)?;
        let apart = match setup {
            Setup::Shipped => None,
            Setup::Apart { .. } => Some(start_engine(&folder.path).await?),
        };
        let mut words: Vec<OsString> = vec!["serve".into(), "--data-dir".into()];
        words.push(folder.path.join("data").into());
        words.extend(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"].map(Into::into));
        let mut environment = Vec::new();
        if let (Some(apart), Setup::Apart { seal_interval }) = (&apart, setup) {
            let url = format!("http://{}", apart.proxy.address);
            words.extend(
                ["--clickhouse-url", &url, "--seal-interval", seal_interval].map(Into::into),
            );
            environment.push((PASSWORD_VARIABLE, apart.password.clone()));
        }
        let (serve, _, line) = spawn("serve", &words, &environment, &folder.path).await?;
        let address = |key: &str| {
            let (_, rest) = line.split_once(key)?;
            rest.split_whitespace().next().map(str::to_owned)
        };
        let (Some(url), Some(admin_url)) = (address("ingest="), address("admin=")) else {
            return Err(CollectorError::NotReady {
                command: "serve",
                log: line,
            });
        };
        Ok(Self {
            url,
            admin_url,
            serve,
            apart,
            folder,
        })
    }

    /// The folder that holds the collector's data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path.join("data")
    }

    /// The scratch folder, the engine's data included.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// The process of `serve`.
    pub fn serve_pid(&self) -> Option<u32> {
        self.serve.id()
    }

    /// The engine's process, if it is apart; otherwise it is a child of `serve`.
    pub fn engine_pid(&self) -> Option<u32> {
        self.apart.as_ref().and_then(|apart| apart.engine.id())
    }

    /// The network before ClickHouse from now on; nothing happens when there is none.
    pub fn set_link(&self, link: Link) {
        if let Some(apart) = &self.apart {
            apart.proxy.set(link);
        }
    }

    /// Runs a statement on the engine that is apart, past the proxy.
    ///
    /// # Errors
    /// When the engine refuses it.
    pub async fn ask(&self, http: &reqwest::Client, statement: &str) -> Result<String, String> {
        let Some(apart) = &self.apart else {
            return Err("this collector's engine is not apart".to_owned());
        };
        let request = http
            .post(&apart.url)
            .basic_auth("default", Some(&apart.password))
            .timeout(Duration::from_secs(300))
            .body(statement.to_owned());
        let response = request.send().await.map_err(|error| error.to_string())?;
        let is_success = response.status().is_success();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if is_success { Ok(text) } else { Err(text) }
    }

    /// Lets it finish.
    ///
    /// # Errors
    /// When it does not end by itself, or not with 0.
    pub async fn stop(mut self) -> Result<(), CollectorError> {
        let pid = self.serve.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // If it is gone already, the status says how.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let ended = tokio::time::timeout(STOP_MAX, self.serve.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(CollectorError::End(status.to_string())),
            Ok(Err(error)) => Err(CollectorError::End(error.to_string())),
            Err(_elapsed) => Err(CollectorError::End(format!(
                "not within {} s",
                STOP_MAX.as_secs()
            ))),
        }
    }
}

async fn start_engine(folder: &Path) -> Result<Apart, CollectorError> {
    let password = uuid::Uuid::new_v4().simple().to_string();
    let mut words: Vec<OsString> = vec!["clickhouse".into(), "--path".into()];
    words.push(folder.join("clickhouse").into());
    words.extend(["--listen", "127.0.0.1:0", "--exit-on-stdin-eof"].map(Into::into));
    let environment = [(PASSWORD_VARIABLE, password.clone())];
    let (engine, stdin, line) = spawn("clickhouse", &words, &environment, folder).await?;
    let address = line
        .rsplit_once("http=http://")
        .and_then(|(_, address)| address.trim().parse::<SocketAddr>().ok());
    let Some(address) = address else {
        return Err(CollectorError::NotReady {
            command: "clickhouse",
            log: line,
        });
    };
    let proxy = Proxy::start(address).await;
    let proxy = proxy.map_err(|source| CollectorError::Setup {
        folder: folder.to_owned(),
        source,
    })?;
    Ok(Apart {
        engine,
        _stdin: stdin,
        url: format!("http://{address}"),
        password,
        proxy,
    })
}

/// Starts this program with other words and waits for the line that says it is ready. What is in the
/// environment for another collector does not reach this one.
async fn spawn(
    command: &'static str,
    words: &[OsString],
    environment: &[(&str, String)],
    folder: &Path,
) -> Result<(Child, Option<ChildStdin>, String), CollectorError> {
    let log = folder.join(format!("{command}.log"));
    let failed = |source| CollectorError::Setup {
        folder: folder.to_owned(),
        source,
    };
    let stderr = std::fs::File::create(&log).map_err(failed)?;
    let mut child = Command::new(std::env::current_exe().map_err(failed)?);
    for (name, _) in std::env::vars_os() {
        let is_setting = name.to_string_lossy().starts_with("TILLWATCH_");
        if is_setting && name != LIBCHDB_VARIABLE {
            child.env_remove(name);
        }
    }
    let mut child = child
        .args(words)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        // Ctrl-C is for the simulator, which then ends its children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let Some(stdout) = child.stdout.take() else {
        return Err(failed(io::Error::other("no standard output")));
    };
    let mut stdout = BufReader::new(stdout);
    let ready = tokio::time::timeout(START_MAX, ready_line(&mut stdout)).await;
    let Ok(Ok(Some(line))) = ready else {
        return Err(CollectorError::NotReady {
            command,
            log: last_lines(&log),
        });
    };
    tokio::spawn(async move {
        // Read on, so that the child never blocks on a full pipe.
        let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
    });
    Ok((child, stdin, line))
}

async fn ready_line(
    stdout: &mut BufReader<tokio::process::ChildStdout>,
) -> io::Result<Option<String>> {
    loop {
        let mut line = Vec::new();
        let mut limited = stdout.take(LINE_BYTES_MAX);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.starts_with("tillwatch ") && line.contains("ready ") {
            return Ok(Some(line));
        }
    }
}

fn last_lines(log: &Path) -> String {
    const LINES: usize = 8;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n")
}
