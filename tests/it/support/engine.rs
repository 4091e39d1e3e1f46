//! A ClickHouse of its own: `tillwatch clickhouse`, that a test can stop and start again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tillwatch::persist::{ClickHouse, Endpoint};

use super::Server;

/// A running engine without a password; killed when dropped.
pub struct Engine {
    child: Child,
    pub address: SocketAddr,
    folder: Option<TempDir>,
}

impl Engine {
    /// Starts one on a new folder.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Self::start_on(folder.path(), "127.0.0.1:0");
        engine.folder = Some(folder);
        engine
    }

    /// Starts one on a folder, at an address.
    pub fn start_on(folder: &Path, listen: &str) -> Self {
        let mut child = Server::command("clickhouse")
            .arg("--path")
            .arg(folder.join("engine"))
            .args(["--listen", listen])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .rsplit("http://")
            .next()
            .and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no announcement: {line:?}"));
        Self {
            child,
            address,
            folder: None,
        }
    }

    /// The engine's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The engine's ClickHouse, as the program talks to it.
    pub fn clickhouse(&self) -> ClickHouse {
        let endpoint = Endpoint {
            url: self.url(),
            user: "default".to_owned(),
            password: String::new(),
        };
        ClickHouse::fixed(endpoint, Duration::from_secs(60))
    }

    /// Runs a statement that must succeed.
    pub async fn sql(&self, statement: &str) -> String {
        let _is_second = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http
            .post(self.url())
            .body(statement.to_owned())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{statement}: {text}");
        text
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
