//! How a command asks a running collector: over its admin listener, or over the socket in its data folder.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::audit_log::AuditLog;
use crate::cli::{Failure, query};
use crate::credentials::{Answer, Desk, Order};
use crate::logging;
use crate::pipeline::{self, ServeError};
use crate::world::World;

/// The running collector that a command asks.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// Where the collector's admin listener is.
    #[arg(
        id = "admin_url",
        long = "admin-url",
        env = "TILLWATCH_ADMIN_URL",
        default_value = "http://127.0.0.1:9090",
        value_name = "URL"
    )]
    pub(super) url: String,
    /// File with a key (`tillwatch key new`) that is shown to the admin listener: one of the scope read for questions, of
    /// operate for acts. Needed where admin_auth is required.
    #[arg(long, env = "TILLWATCH_ADMIN_KEY_FILE", value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// File of certificates (PEM) that are trusted beside those of the system, if --admin-url begins with https.
    #[arg(long, env = "TILLWATCH_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Admin {
    /// Asks the collector.
    pub(super) async fn get(&self, path: &str) -> Result<String, Failure> {
        self.ask(self.client()?.get(self.path(path))).await
    }

    /// Asks the collector for what has this name, part by part: whatever they hold, they stay parts of the path.
    pub(super) async fn get_by(&self, path: &str, parts: &[&str]) -> Result<String, Failure> {
        self.query_by(path, parts, &[]).await
    }

    /// Asks the collector for what has this name, with these parameters.
    pub(super) async fn query_by(
        &self,
        path: &str,
        parts: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<String, Failure> {
        let mut url = reqwest::Url::parse(&self.path(path)).map_err(|error| Failure::of(&error))?;
        url.path_segments_mut()
            .map_err(|()| Failure("--admin-url is no address of a listener".to_owned()))?
            .extend(parts);
        self.ask(self.client()?.get(url).query(parameters)).await
    }

    /// Asks the collector, with these parameters.
    pub(super) async fn query(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<String, Failure> {
        let request = self.client()?.get(self.path(path)).query(parameters);
        self.ask(request).await
    }

    /// Asks the collector for an answer that does not end by itself.
    pub(super) async fn open(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<reqwest::Response, Failure> {
        let request = self.client()?.get(self.path(path)).query(parameters);
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        text_of(response).await?;
        Err(Failure("the collector did not answer".to_owned()))
    }

    /// Tells the collector to do something.
    pub(super) async fn post(&self, path: &str) -> Result<String, Failure> {
        let request = self.client()?.post(self.path(path));
        let request = request.header("content-type", "application/json");
        self.ask(request.body("{}")).await
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    fn client(&self) -> Result<reqwest::Client, Failure> {
        let mut client = reqwest::Client::builder();
        if let Some(path) = &self.ca_file {
            let text = read(path)?;
            let roots = reqwest::Certificate::from_pem_bundle(text.as_bytes());
            client = client.tls_certs_merge(roots.map_err(|error| Failure::of(&error))?);
        }
        client.build().map_err(|error| Failure::of(&error))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<String, Failure> {
        text_of(self.send(request).await?).await
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Failure> {
        if let Some(path) = &self.admin_key_file {
            request = request.bearer_auth(read(path)?.trim());
        }
        request.send().await.map_err(|error| {
            Failure(format!(
                "{}; is the collector running, and --admin-url right?",
                logging::chain(&error)
            ))
        })
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| Failure(format!("{}: {}", path.display(), logging::chain(&error))))
}

async fn text_of(response: reqwest::Response) -> Result<String, Failure> {
    let is_good = response.status().is_success();
    let text = response.text().await.map_err(|error| Failure::of(&error))?;
    if is_good {
        Ok(text)
    } else {
        Err(Failure(query::message_of(&text)))
    }
}

/// The data folder of a collector, which may be running.
#[derive(Debug, Args)]
pub(super) struct DataDir {
    /// Data folder of the collector, which may be running.
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    pub(super) data_dir: PathBuf,
}

impl DataDir {
    /// Has an order carried out: by the collector that runs on the folder, else here, under the folder's lock.
    pub(super) async fn order(&self, order: Order) -> Result<Answer, Failure> {
        let world = World::of_machine();
        if self.data_dir.exists() {
            check_owner(&self.data_dir)?;
        }
        let lock = match pipeline::lock_data_dir(&self.data_dir, &world) {
            Ok(lock) => lock,
            Err(ServeError::InUse { pid, .. }) => return self.order_of(&order, &pid).await,
            Err(error) => return Err(Failure::of(&error)),
        };
        let data_dir = self.data_dir.clone();
        let work = move || -> Result<Answer, Failure> {
            let state = pipeline::open_state(&data_dir, &world);
            let state = state.map_err(|error| Failure::of(&error))?;
            let log = AuditLog::here(&data_dir, world.clock.clone());
            let desk = Desk::new(&data_dir, state.into(), None, log, world);
            let done = desk.carry_out(&order, "command");
            drop(lock);
            done.map_err(|fault| Failure::of(&fault))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Failure::of(&error))?
    }

    /// Sends an order to the process that holds the folder.
    async fn order_of(&self, order: &Order, pid: &str) -> Result<Answer, Failure> {
        let reached = pipeline::reach(&self.data_dir).map_err(|error| Failure::of(&error))?;
        let client = reqwest::Client::builder().unix_socket(reached.path.clone());
        let client = client.build().map_err(|error| Failure::of(&error))?;
        let url = format!("http://localhost{}", pipeline::ORDERS);
        let response = client.post(url).json(order).send().await.map_err(|error| {
            Failure(format!(
                "process {pid} has the data folder and does not answer on its socket ({}); if it is just starting, try \
                 again, and run this as the user of the collector",
                logging::chain(&error)
            ))
        })?;
        let text = text_of(response).await?;
        serde_json::from_str(&text).map_err(|error| Failure::of(&error))
    }
}

/// A collector that runs as another user could not read what is made here.
fn check_owner(data_dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(data_dir).map_err(|error| Failure::of(&error))?;
    let (own, user) = (about.uid(), rustix::process::geteuid().as_raw());
    if own == user {
        return Ok(());
    }
    Err(Failure(format!(
        "{} belongs to user {own}, and what user {user} makes there could not be read by its collector: run this as user {own} (sudo -u '#{own}' …)",
        data_dir.display()
    )))
}
