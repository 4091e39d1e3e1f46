//! Where ClickHouse is, and talking to it.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Row, RowOwned, RowRead};
use tokio::sync::watch;

use crate::persist::error::ClickHouseError;
use crate::persist::https;

/// The database's name.
pub const DATABASE: &str = "tillwatch";

/// Bytes of rows in one compressed block.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What keeps a server from dropping rows as a copy of rows that it was sent before, by the names that
/// releases of ClickHouse have for it. Rows that are sent again have been found missing: on a replicated
/// table the copy may be gone, and dropping the rows would lose them for ever. Where a server knows the second,
/// it overrules the first.
const NO_DEDUPLICATION: [(&str, &str); 2] = [
    ("insert_deduplicate", "0"),
    ("deduplicate_insert", "disable"),
];

/// Settings of a statement: name and value.
type Settings = Arc<[(&'static str, &'static str)]>;

/// How to reach a ClickHouse server, or the embedded engine.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`.
    pub url: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("url", &self.url)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// ClickHouse, wherever it currently is: the embedded engine moves when it is restarted.
///
/// Clones share their connections.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Holds the connections; it keeps some open, by address, for the next statement.
    connections: Arc<Client>,
    /// Which of [`NO_DEDUPLICATION`] the server at an endpoint knows, once it has been asked.
    insert_settings: Arc<Mutex<Option<(Endpoint, Settings)>>>,
    endpoint: watch::Receiver<Option<Endpoint>>,
    timeout: Duration,
    /// The database that statements run in.
    database: String,
    /// Whether the tables are there.
    is_prepared: watch::Sender<bool>,
}

impl ClickHouse {
    /// ClickHouse at whatever `endpoint` says, answering each statement within `timeout`.
    #[must_use]
    pub fn new(endpoint: watch::Receiver<Option<Endpoint>>, timeout: Duration) -> Self {
        Self {
            connections: Arc::new(product(Client::default())),
            insert_settings: Arc::default(),
            endpoint,
            timeout,
            database: DATABASE.to_owned(),
            is_prepared: watch::Sender::new(false),
        }
    }

    /// ClickHouse at an address that does not change.
    #[must_use]
    pub fn fixed(endpoint: Endpoint, timeout: Duration) -> Self {
        let (sender, receiver) = watch::channel(Some(endpoint));
        // The receiver keeps the last value; nobody will send another.
        drop(sender);
        Self::new(receiver, timeout)
    }

    /// ClickHouse at an address that does not change. If the address begins with https, the server's certificate must
    /// lead to one of `roots` (a file in PEM), or to one of the system's.
    ///
    /// # Errors
    /// When the roots cannot be read.
    pub fn configured(
        endpoint: Endpoint,
        timeout: Duration,
        roots: Option<&Path>,
    ) -> io::Result<Self> {
        let is_secured = endpoint.url.starts_with("https:");
        let mut clickhouse = Self::fixed(endpoint, timeout);
        if is_secured {
            clickhouse.connections = Arc::new(product(https::connections(roots)?));
        }
        Ok(clickhouse)
    }

    /// Reaches the same ClickHouse, with statements in another database.
    #[must_use]
    pub fn in_database(&self, name: &str) -> Self {
        Self {
            database: name.to_owned(),
            ..self.clone()
        }
    }

    /// The database that statements run in.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Waits until there is an endpoint.
    pub async fn wait(&self) {
        let mut endpoint = self.endpoint.clone();
        // An error means that it will never change again: then it is as it is.
        let _changed = endpoint.wait_for(Option::is_some).await;
    }

    /// The tables are there.
    pub fn set_prepared(&self) {
        self.is_prepared.send_replace(true);
    }

    /// Waits until there is an endpoint with our tables.
    pub async fn wait_prepared(&self) {
        let mut is_prepared = self.is_prepared.subscribe();
        drop(is_prepared.wait_for(|is_prepared| *is_prepared).await);
        self.wait().await;
    }

    fn endpoint(&self) -> Result<Endpoint, ClickHouseError> {
        let endpoint = self.endpoint.borrow();
        endpoint.clone().ok_or(ClickHouseError::NotReady)
    }

    /// A client for the database; `None` asks for no database, to make it.
    fn client(&self, database: Option<&str>) -> Result<Client, ClickHouseError> {
        let endpoint = self.endpoint()?;
        let client = Client::clone(&self.connections)
            .with_url(endpoint.url)
            // A server that gathers inserts would answer before the rows are anywhere.
            .with_setting("async_insert", "0")
            .with_user(endpoint.user)
            .with_password(endpoint.password);
        Ok(match database {
            Some(name) => client.with_database(name),
            None => client,
        })
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, ClickHouseError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(ClickHouseError::TimedOut(self.timeout.as_secs())),
        }
    }

    /// Runs a statement in no database.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn execute_outside(&self, sql: &str) -> Result<(), ClickHouseError> {
        let client = self.client(None)?;
        self.within(client.query(sql).execute()).await
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn execute(&self, sql: &str) -> Result<(), ClickHouseError> {
        self.execute_with(sql, |query| query).await
    }

    /// Runs a statement whose `{name:Type}` parameters are given by `bind`.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn execute_with(
        &self,
        sql: &str,
        bind: impl FnOnce(clickhouse::query::Query) -> clickhouse::query::Query,
    ) -> Result<(), ClickHouseError> {
        let client = self.client(Some(&self.database))?;
        self.within(bind(client.query(sql)).execute()).await
    }

    /// Runs a query whose `{name:Type}` parameters are given by `bind`.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn fetch<T>(
        &self,
        sql: &str,
        bind: impl FnOnce(clickhouse::query::Query) -> clickhouse::query::Query,
    ) -> Result<Vec<T>, ClickHouseError>
    where
        T: RowOwned + RowRead,
    {
        let client = self.client(Some(&self.database))?;
        self.within(bind(client.query(sql)).fetch_all::<T>()).await
    }

    /// The same for a query that makes way for everything else, if ClickHouse is the embedded engine.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn fetch_in_background<T>(
        &self,
        sql: &str,
        bind: impl FnOnce(clickhouse::query::Query) -> clickhouse::query::Query,
    ) -> Result<Vec<T>, ClickHouseError>
    where
        T: RowOwned + RowRead,
    {
        // The least urgency of RFC 9218.
        let client = self.client(Some(&self.database))?;
        let client = client.with_header("Priority", "u=7");
        self.within(bind(client.query(sql)).fetch_all::<T>()).await
    }

    /// Whether the server is ClickHouse Cloud, which keeps its own copies on disk and refuses settings about that.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn is_cloud(&self) -> Result<bool, ClickHouseError> {
        let sql =
            "SELECT name FROM system.settings WHERE name = 'cloud_mode' AND value IN ('1', 'true')";
        let found: Vec<Named> = self.fetch(sql, |query| query).await?;
        Ok(!found.is_empty())
    }

    /// The settings that keep a server from dropping inserted rows as copies of earlier ones. The server at
    /// each endpoint is asked once which of them it knows: it would refuse an insert with others.
    async fn insert_settings(&self) -> Result<Settings, ClickHouseError> {
        let endpoint = self.endpoint()?;
        let is_known = |(at, _): &(Endpoint, Settings)| *at == endpoint;
        if let Some((_, known)) = self
            .known_settings()
            .as_ref()
            .filter(|known| is_known(known))
        {
            return Ok(Arc::clone(known));
        }
        let names: Vec<&str> = NO_DEDUPLICATION.iter().map(|(name, _)| *name).collect();
        let found: Vec<Named> = self
            .fetch(
                "SELECT name FROM system.settings WHERE has({names:Array(String)}, name)",
                |query| query.param("names", names),
            )
            .await?;
        let settings = settings_among(&found);
        *self.known_settings() = Some((endpoint, Arc::clone(&settings)));
        Ok(settings)
    }

    fn known_settings(&self) -> std::sync::MutexGuard<'_, Option<(Endpoint, Settings)>> {
        let known = self.insert_settings.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server again before the next insert which settings it knows: after a failure it may be of
    /// another release.
    pub fn forget_settings(&self) {
        *self.known_settings() = None;
    }

    /// Inserts rows that are already `RowBinary`, as one statement. They go out in small pieces: each
    /// becomes a compressed block, and a server takes blocks of a limited size. The server drops none of them
    /// as a copy of earlier ones.
    ///
    /// # Errors
    /// When it refuses, or does not answer: then the rows may or may not be there.
    pub async fn insert_row_binary(
        &self,
        table: &str,
        columns: &str,
        pieces: Vec<Vec<u8>>,
    ) -> Result<(), ClickHouseError> {
        let settings = Box::pin(self.insert_settings()).await?;
        let client = self.client(Some(&self.database))?;
        let sql = format!("INSERT INTO {table} ({columns}) FORMAT RowBinary");
        self.within(async move {
            let mut insert = client
                .insert_formatted_with(sql)
                .with_setting("async_insert", "0")
                .with_setting("wait_end_of_query", "1");
            for (name, value) in settings.iter() {
                insert = insert.with_setting(*name, *value);
            }
            for mut rows in pieces.into_iter().map(Bytes::from) {
                while !rows.is_empty() {
                    let piece = rows.split_to(rows.len().min(BLOCK_BYTES));
                    insert.send(piece).await?;
                }
            }
            insert.end().await
        })
        .await
    }
}

/// A client that says whose it is.
fn product(client: Client) -> Client {
    client.with_product_info("tillwatch", env!("CARGO_PKG_VERSION"))
}

/// Those of [`NO_DEDUPLICATION`] that a server has named.
fn settings_among(found: &[Named]) -> Settings {
    let is_found = |(name, _): &&(&str, &str)| found.iter().any(|row| row.name == *name);
    NO_DEDUPLICATION.iter().filter(is_found).copied().collect()
}

/// One name.
#[derive(Debug, Row, serde::Deserialize)]
pub struct Named {
    /// It.
    pub name: String,
}

/// One number.
#[derive(Debug, Row, serde::Deserialize)]
pub struct OneNumber {
    /// It.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_the_server_knows_are_sent() {
        let of = |names: &[&str]| {
            let named = |name: &&str| Named {
                name: (*name).to_owned(),
            };
            settings_among(&names.iter().map(named).collect::<Vec<_>>())
        };
        // Releases before the later names came.
        assert_eq!(*of(&["insert_deduplicate"]), [("insert_deduplicate", "0")]);
        let all = of(&["deduplicate_insert", "insert_deduplicate"]);
        assert_eq!(*all, NO_DEDUPLICATION);
        assert!(of(&[]).is_empty());
    }
}
