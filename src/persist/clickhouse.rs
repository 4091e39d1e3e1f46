//! Where ClickHouse is, and talking to it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Row, RowOwned, RowRead};
use tokio::sync::watch;

use crate::persist::error::ClickHouseError;

/// The database's name.
pub const DATABASE: &str = "tillwatch";

/// Bytes of rows in one compressed block.
const BLOCK_BYTES: usize = 1024 * 1024;

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
#[derive(Debug, Clone)]
pub struct ClickHouse {
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

    /// A client for the database; `None` asks for no database, to make it.
    fn client(&self, database: Option<&str>) -> Result<Client, ClickHouseError> {
        let endpoint = self
            .endpoint
            .borrow()
            .clone()
            .ok_or(ClickHouseError::NotReady)?;
        let client = Client::default()
            .with_url(endpoint.url)
            .with_user(endpoint.user)
            .with_password(endpoint.password)
            .with_product_info("tillwatch", env!("CARGO_PKG_VERSION"));
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

    /// Inserts rows that are already `RowBinary`, as one statement. They go out in small pieces: each
    /// becomes a compressed block, and a server takes blocks of a limited size.
    ///
    /// # Errors
    /// When it refuses, or does not answer: then the rows may or may not be there.
    pub async fn insert_row_binary(
        &self,
        table: &str,
        columns: &str,
        pieces: Vec<Vec<u8>>,
    ) -> Result<(), ClickHouseError> {
        let client = self.client(Some(&self.database))?;
        let sql = format!("INSERT INTO {table} ({columns}) FORMAT RowBinary");
        self.within(async move {
            let mut insert = client
                .insert_formatted_with(sql)
                .with_setting("async_insert", "0")
                .with_setting("wait_end_of_query", "1");
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

/// One number.
#[derive(Debug, Row, serde::Deserialize)]
pub struct OneNumber {
    /// It.
    pub number: u64,
}
