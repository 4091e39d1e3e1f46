//! Starts `tillwatch serve` for a test, talks to it, stops or kills it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tillwatch::pipeline::ENGINE_NAMES;
use tillwatch_engine::locate;

use super::{Exposition, Raw, openapi};

/// How long a condition may take to become true. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The engine's library; fails the test with the way out when there is none.
pub fn library() -> PathBuf {
    locate(None, ENGINE_NAMES).unwrap_or_else(|error| panic!("{error}"))
}

/// A running collector; it and its engine are killed when dropped.
///
/// A test ends with [`Server::stop`] or [`Server::kill`], which prove that the outcomes add up.
pub struct Server {
    child: Child,
    /// Where terminals post.
    pub ingest: SocketAddr,
    /// Where metrics and the query API are.
    pub admin: SocketAddr,
    /// The ready line as it came.
    pub ready_line: String,
    http: reqwest::Client,
    /// What the admin listener is shown, if it asks.
    admin_key: Option<String>,
    folder: Folder,
    environment: Vec<(String, String)>,
    /// Whether its state file was new: then the ledger must agree with the process's own counters.
    is_first: bool,
    is_settled: bool,
}

/// The data folder, which may outlive the process.
enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Server {
    /// Starts one on a new folder.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one on a new folder with more variables.
    pub async fn start_with(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::launch(Folder::Own(folder), owned(environment)).await
    }

    /// Starts one on a folder that may hold the data of an earlier one.
    pub async fn start_on(folder: &Path, environment: &[(&str, &str)]) -> Self {
        Self::launch(Folder::Given(folder.to_owned()), owned(environment)).await
    }

    /// The command without arguments of its own: no variable of the tester's shell gets through.
    pub fn command(subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillwatch"));
        command.arg(subcommand).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TILLWATCH_") {
                command.env_remove(name);
            }
        }
        command.env(ENGINE_NAMES.library_variable, library());
        command
    }

    async fn launch(folder: Folder, environment: Vec<(String, String)>) -> Self {
        let data = folder.path().join("data");
        let is_first = !data.exists();
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        let mut child = Self::command("serve")
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ready_line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line
        });
        let ready_line = match tokio::time::timeout(PATIENCE, ready_line).await {
            Ok(line) => line.unwrap(),
            Err(_elapsed) => "nothing in time".to_owned(),
        };
        let address = |name: &str| {
            let word = ready_line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            word.and_then(|url| url.split_once("://"))
                .map(|(_, address)| address.parse().unwrap())
        };
        let (Some(ingest), Some(admin)) = (address("ingest"), address("admin")) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("not ready: {ready_line:?}\n{}", read_log(folder.path()));
        };
        let _is_second = rustls::crypto::ring::default_provider().install_default();
        let certificates = environment
            .iter()
            .filter(|(name, path)| name.ends_with("TLS_CERTIFICATE") && !path.is_empty());
        let roots = certificates.map(|(_, path)| {
            let text = std::fs::read(path).unwrap();
            reqwest::Certificate::from_pem(&text).unwrap()
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .tls_certs_merge(roots)
            .build()
            .unwrap();
        Self {
            child,
            ingest,
            admin,
            ready_line,
            http,
            admin_key: None,
            folder,
            environment,
            is_first,
            is_settled: false,
        }
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that holds `data` and `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The most memory it has used so far, bytes (Linux).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        read_log(self.folder())
    }

    /// Posts JSON.
    pub async fn post(&self, body: &Value) -> Reply {
        self.post_with(&[("content-type", "application/json")], body.to_string())
            .await
    }

    /// Posts a body as it is, with these headers and no others.
    pub async fn post_with(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let url = format!("{}/v1/batches", self.ingest_url());
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.unwrap()).await
    }

    /// Posts JSON that must be taken; returns accepted, duplicate, rejected.
    pub async fn taken(&self, body: &Value) -> (u64, u64, u64) {
        let reply = self.post(body).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.counts()
    }

    /// Any request to the ingest listener.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.ingest_url()))
    }

    /// `GET` on the admin listener; what it answers must be as its document says.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let mut request = self
            .http
            .get(format!("{}{path}", self.admin_url()))
            .query(parameters);
        if let Some(key) = &self.admin_key {
            request = request.bearer_auth(key);
        }
        let reply = Reply::of(request.send().await.unwrap()).await;
        openapi::check("get", path, &reply);
        reply
    }

    /// Shows this key to the admin listener from now on.
    pub fn show(&mut self, key: &str) {
        self.admin_key = Some(key.to_owned());
    }

    fn url_of(&self, name: &str) -> String {
        let words = self.ready_line.split_whitespace();
        let mut urls = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        urls.next().unwrap().to_owned()
    }

    /// The URL of the ingest listener.
    pub fn ingest_url(&self) -> String {
        self.url_of("ingest")
    }

    /// The URL of the admin listener.
    pub fn admin_url(&self) -> String {
        self.url_of("admin")
    }

    /// `GET` on the admin listener, with headers; what it answers must be as its document says.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.http.get(format!("{}{path}", self.admin_url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = Reply::of(request.send().await.unwrap()).await;
        openapi::check("get", path, &reply);
        reply
    }

    /// `GET /api/v1/percentiles` that must succeed.
    pub async fn percentiles(&self, parameters: &[(&str, &str)]) -> Value {
        let reply = self.get("/api/v1/percentiles", parameters).await;
        assert_eq!(reply.status, 200, "{parameters:?}: {}", reply.text());
        reply.json()
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Exposition {
        Exposition::parse(&self.get("/metrics", &[]).await.text())
    }

    /// `/metrics/fleet`.
    pub async fn fleet(&self) -> Exposition {
        Exposition::parse(&self.get("/metrics/fleet", &[]).await.text())
    }

    /// A raw connection to the ingest listener.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.ingest).await
    }

    /// Waits until ClickHouse holds everything sealed and nothing is open.
    pub async fn wait_confirmed(&self) {
        let started = Instant::now();
        loop {
            let page = self.metrics().await;
            let at = |place| page.value("tillwatch_ledger_samples", &[("place", place)]);
            let is_applied = is_applied(&page, started);
            if is_applied && at("open") + at("outbox") == 0.0 && at("accepted") == at("confirmed") {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "not confirmed: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the aggregate has all that is durable.
    pub async fn wait_applied(&self) {
        let started = Instant::now();
        loop {
            let page = self.metrics().await;
            let at = |name: &str| page.value(name, &[]);
            if at("tillwatch_journal_applied_position") >= at("tillwatch_journal_durable_position")
            {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "not applied: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every sample has exactly one outcome: received = accepted + duplicate + rejected + deferred.
    pub async fn outcomes_add_up(&self) {
        let page = self.metrics().await;
        let received = page.sum("tillwatch_samples_received_total", &[]);
        let outcomes = page.sum("tillwatch_samples_total", &[]);
        let rejected = page.sum("tillwatch_samples_rejected_total", &[]);
        assert!(
            (received - outcomes - rejected).abs() < 0.5,
            "received {received} is not outcomes {outcomes} + rejected {rejected}:\n{}",
            page.text
        );
        if !self.is_first {
            return;
        }
        // What was accepted arrives in the aggregate a moment later.
        let accepted = page.value("tillwatch_samples_total", &[("outcome", "accepted")]);
        let started = Instant::now();
        loop {
            let page = self.metrics().await;
            let ledger = page.value("tillwatch_ledger_samples", &[("place", "accepted")]);
            if (ledger - accepted).abs() < 0.5 {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "accepted {accepted}, in the ledger {ledger}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it as an operator would, after the outcomes were found to add up; it must exit with 0.
    pub async fn stop(mut self) {
        self.outcomes_add_up().await;
        self.terminate();
    }

    /// Stops it and starts another on the same folder.
    pub async fn restart(mut self) -> Self {
        self.outcomes_add_up().await;
        self.terminate();
        self.again().await
    }

    /// Kills it without a warning and starts another on the same folder.
    pub async fn kill_and_restart(mut self) -> Self {
        self.outcomes_add_up().await;
        self.kill_now();
        self.again().await
    }

    /// Kills it without a warning: nothing is sealed, nothing is said.
    pub fn kill(mut self) {
        self.kill_now();
    }

    async fn again(&mut self) -> Self {
        let nowhere = Folder::Given(PathBuf::new());
        let folder = std::mem::replace(&mut self.folder, nowhere);
        let mut again = Self::launch(folder, self.environment.clone()).await;
        again.admin_key = self.admin_key.take();
        again
    }

    fn kill_now(&mut self) {
        self.is_settled = true;
        let engines = children_of(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The engine ends by itself when its parent is gone; a test does not wait for that.
        for engine in engines {
            let _ = kill_process(engine, Signal::KILL);
        }
    }

    fn terminate(&mut self) {
        self.is_settled = true;
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = wait_for("the collector's end", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let was_settled = self.is_settled;
        self.kill_now();
        if std::thread::panicking() {
            eprintln!("log of the collector:\n{}", self.log());
        } else {
            assert!(was_settled, "the test ends without `stop` or `kill`");
        }
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = environment.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read_log(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Processes started by this one (Linux).
fn children_of(pid: u32) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .map(|thread| thread.path().join("children"));
    let texts = lists.flat_map(std::fs::read_to_string);
    let pids: Vec<i32> = texts.flat_map(|text| numbers(&text)).collect();
    pids.into_iter().filter_map(Pid::from_raw).collect()
}

fn numbers(text: &str) -> Vec<i32> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// An answer, read.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Reads one.
    pub async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap(),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// A header, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Accepted, duplicate, rejected of a 202.
    pub fn counts(&self) -> (u64, u64, u64) {
        let json = self.json();
        let count = |key: &str| {
            json[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key} in {json}"))
        };
        (count("accepted"), count("duplicate"), count("rejected"))
    }

    /// The reasons of a 202, as (batch, sample, reason).
    pub fn reasons(&self) -> Vec<(u64, Option<u64>, String)> {
        let json = self.json();
        let reasons = json["reasons"].as_array().unwrap().iter();
        let read = |line: &Value| {
            let reason = line["reason"].as_str().unwrap().to_owned();
            (
                line["batch"].as_u64().unwrap(),
                line["sample"].as_u64(),
                reason,
            )
        };
        reasons.map(read).collect()
    }

    /// The code of a refusal, whose body must have the documented form.
    pub fn code(&self) -> String {
        let json = self.json();
        let error = json["error"]
            .as_object()
            .unwrap_or_else(|| panic!("no error in {json}"));
        assert_eq!(self.header("content-type"), "application/json", "{json}");
        assert_eq!(
            (json.as_object().unwrap().len(), error.len()),
            (1, 2),
            "{json}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{json}");
        error["code"].as_str().unwrap().to_owned()
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
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the aggregate has all that is durable: what was acknowledged arrives there a moment later. The
/// positions of a torn tail are durable and never applied, so it is asked for two seconds only.
pub fn is_applied(page: &Exposition, since: Instant) -> bool {
    let at = |name: &str| page.value(name, &[]);
    at("tillwatch_journal_applied_position") >= at("tillwatch_journal_durable_position")
        || since.elapsed() > Duration::from_secs(2)
}
