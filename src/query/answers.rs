//! What can be asked. A question reads its parameters, waits for its turn, and is answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tillwatch_model::Pseudonym;
use tillwatch_model::metric::{Kind, Metric};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::query::error::QueryError;
use crate::query::parameters::Parameters;
use crate::query::percentiles::{self, Sources};
use crate::query::request::PercentileRequest;
use crate::query::sessions;
use crate::query::stores::{self, StoresRequest};
use crate::query::terminals;
use crate::query::terminals_request::TerminalsRequest;

/// Queries at once; more wait for their turn.
const QUERIES_MAX: usize = 4;
/// How long a query waits for its turn, or for the engine to start.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How long an answer may take once it is its turn.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Answers questions from all places where samples lie.
pub struct Query {
    sources: Sources,
    /// The last durable position of the journal: what an answer has to include.
    durable: Box<dyn Fn() -> u64 + Send + Sync>,
    clock: Clock,
    turns: Semaphore,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Query")
    }
}

impl Query {
    /// Answers from these sources, up to the journal's last durable position.
    #[must_use]
    pub fn new(
        sources: Sources,
        durable: Box<dyn Fn() -> u64 + Send + Sync>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            sources,
            durable,
            clock,
            turns: Semaphore::new(QUERIES_MAX),
        })
    }

    /// Percentiles of one metric.
    ///
    /// # Errors
    /// When a parameter is wrong, the answer would be too large, or a source does not answer.
    pub async fn percentiles(
        &self,
        parameters: &Parameters,
    ) -> Result<percentiles::PercentilesAnswer, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = PercentileRequest::parse(parameters, &self.sources.catalogue, now_ms)?;
        let position = (self.durable)();
        let answer = percentiles::answer(&self.sources, &request, now_ms, position);
        self.in_turn(true, answer).await
    }

    /// The terminals of a store.
    ///
    /// # Errors
    /// When a parameter is wrong, the store is unknown, or a source does not answer.
    pub async fn terminals(
        &self,
        parameters: &Parameters,
    ) -> Result<terminals::TerminalsAnswer, QueryError> {
        let request = TerminalsRequest::parse(parameters, self.clock.now_ms())?;
        let position = (self.durable)();
        let answer = terminals::answer(&self.sources, &request, position);
        self.in_turn(request.needs_database(), answer).await
    }

    /// The stores that are known.
    ///
    /// # Errors
    /// When a parameter is wrong.
    pub async fn stores(
        &self,
        parameters: &Parameters,
    ) -> Result<stores::StoresAnswer, QueryError> {
        let request = StoresRequest::parse(parameters)?;
        let (holdings, now_ms) = (Arc::clone(&self.sources.holdings), self.clock.now_ms());
        let answer = move || stores::answer(&holdings, &request, now_ms);
        match tokio::task::spawn_blocking(answer).await {
            Ok(answer) => Ok(answer),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// One session, asked for by its pseudonym.
    ///
    /// # Errors
    /// When it is no pseudonym, nothing is known of it, or a source does not answer.
    pub async fn session(&self, pseudonym: &str) -> Result<sessions::SessionAnswer, QueryError> {
        let session = Pseudonym::parse(pseudonym).ok_or(QueryError::NotAPseudonym)?;
        let (now_ms, position) = (self.clock.now_ms(), (self.durable)());
        let answer = sessions::answer(&self.sources, session, now_ms, position);
        self.in_turn(true, answer).await
    }

    /// The catalogue of metrics.
    #[must_use]
    pub fn metrics(&self) -> Value {
        let line = |metric: &Metric| {
            let threshold = |at: usize| {
                let value = metric.thresholds.get(at).copied().flatten();
                value.map(|value| metric.unit.to_wire(value))
            };
            json!({
                "metric": metric.name,
                "aliases": metric.aliases,
                "kind": match metric.kind {
                    Kind::Distribution => "distribution",
                    Kind::Counter => "counter",
                    Kind::Level => "level",
                },
                "unit": metric.unit.name(),
                "max": metric.unit.to_wire(metric.value_max),
                "help": metric.help,
                "prometheus": metric.prometheus,
                "label": metric.label.map(|label| json!({"key": label.key, "values": label.values})),
                "live": metric.live.name(),
                "per_terminal": metric.per_terminal,
                "thresholds": [threshold(0), threshold(1)],
                "threshold_note": metric.threshold_note,
            })
        };
        let metrics: Vec<_> = self.sources.catalogue.metrics().iter().map(line).collect();
        json!({ "metrics": metrics })
    }

    /// Answers when it is its turn, and the tables are there if it needs them.
    async fn in_turn<T>(
        &self,
        needs_database: bool,
        answer: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let ready = async {
            let turn = self.turns.acquire().await;
            if needs_database {
                self.sources.clickhouse.wait_prepared().await;
            }
            turn
        };
        let Ok(_turn) = tokio::time::timeout(WAIT_MAX, ready).await else {
            return Err(crate::persist::ClickHouseError::NotReady.into());
        };
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                Err(crate::persist::ClickHouseError::TimedOut(ANSWER_MAX.as_secs()).into())
            }
        }
    }
}
