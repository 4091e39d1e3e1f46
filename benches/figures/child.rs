//! The processes under measurement.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const TILLWATCH: &str = env!("CARGO_BIN_EXE_tillwatch");

/// A server in a process of its own, ended when dropped.
pub struct Child {
    process: std::process::Child,
    folder: TempDir,
    pub address: String,
    admin: String,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _sent = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ended = self.process.wait();
    }
}

/// The baseline: axum reads the body and answers 202.
pub fn bare_server(_: &str) {
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::routing::post;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let drain = |body: Bytes| {
            std::future::ready((
                StatusCode::ACCEPTED,
                if body.is_empty() { "empty" } else { "{}" },
            ))
        };
        let app = axum::Router::new().route("/v1/batches", post(drain));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        println!(
            "tillwatch ready ingest=http://{} admin=none",
            listener.local_addr().expect("an address")
        );
        axum::serve(listener, app).await.expect("serving");
    });
}

impl Child {
    pub fn bare() -> Self {
        let own = std::env::current_exe().expect("this program");
        Self::start(
            Command::new(own).args(["bare-server", "0"]),
            tempfile::tempdir().expect("a folder"),
        )
    }

    pub fn serve(more: &[&str]) -> Self {
        Self::serve_prepared(more, |_| {})
    }

    /// The same on a data folder that something was put into before.
    pub fn serve_prepared(more: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        prepare(folder.path());
        let mut command = Self::command(folder.path(), more);
        Self::start(&mut command, folder)
    }

    fn command(folder: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(TILLWATCH);
        command.arg("serve").arg("--data-dir").arg(folder);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        // One store may post as fast as it can here.
        command.args([
            "--store-requests-per-s",
            "4000000",
            "--store-burst",
            "4000000",
            "--log-level",
            "warn",
        ]);
        command.args(more);
        command
    }

    /// Kills the server and starts it again on the same folder; seconds until it is ready.
    pub fn kill_and_restart(&mut self, more: &[&str]) -> f64 {
        self.process.kill().expect("a signal");
        self.process.wait().expect("an end");
        let started = std::time::Instant::now();
        let mut command = Self::command(self.folder.path(), more);
        let (process, address, admin) = Self::spawn(&mut command);
        (self.process, self.address, self.admin) = (process, address, admin);
        started.elapsed().as_secs_f64()
    }

    fn start(command: &mut Command, folder: TempDir) -> Self {
        let (process, address, admin) = Self::spawn(command);
        Self {
            process,
            folder,
            address,
            admin,
        }
    }

    fn spawn(command: &mut Command) -> (std::process::Child, String, String) {
        let mut process = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the server");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the ready line");
        let field = |name: &str| {
            let after = line.split(name).nth(1).expect("the ready line");
            after
                .split_whitespace()
                .next()
                .expect("an address")
                .trim_start_matches("http://")
                .trim_start_matches("https://")
                .to_owned()
        };
        let addresses = (field("ingest="), field("admin="));
        (process, addresses.0, addresses.1)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn status(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))
            .unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0 / 1e6
    }

    pub fn rss_mb(&self) -> f64 {
        self.status("VmRSS")
    }

    pub fn rss_mb_max(&self) -> f64 {
        self.status("VmHWM")
    }

    /// Processor time used so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))
            .unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        ticks / 100.0
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).expect("the admin listener");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub fn metric(&self, series: &str) -> String {
        let page = self.get("/metrics");
        let line = page
            .lines()
            .find(|line| line.starts_with(series))
            .unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// Points in an answer over the last so many hours.
    pub fn points(&self, query: &str, hours: u64) -> usize {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_millis() as u64;
        let from = now - hours * 3_600_000;
        let answer = self.get(&format!("/api/v1/percentiles?{query}&from={from}&to={now}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.matches("\"count\"").count()
    }

    /// Seconds that an answer over the last so many hours takes, and its points.
    pub fn time_of(&self, query: &str, hours: u64) -> (f64, usize) {
        let started = std::time::Instant::now();
        let points = self.points(query, hours);
        (started.elapsed().as_secs_f64(), points)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(TILLWATCH)
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .expect("tillwatch");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn sql(&self, statement: &str) -> String {
        let folder = self.folder.path().to_string_lossy().into_owned();
        // The engine may still be starting.
        for _ in 0..100 {
            let output = Command::new(TILLWATCH)
                .args(["sql", "--data-dir", &folder, statement])
                .output()
                .expect("tillwatch");
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the statement did not run");
    }

    pub fn audit(&self) -> String {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let report = self.run(&["audit", "--data-dir", &folder]);
        report.lines().last().unwrap_or_default().to_owned()
    }

    pub fn simulate(&self, more: &[&str]) -> String {
        let (url, admin) = (
            format!("http://{}", self.address),
            format!("http://{}", self.admin),
        );
        let mut arguments = vec!["simulate", "--url", &url, "--admin-url", &admin];
        arguments.extend(more);
        self.run(&arguments)
    }
}
