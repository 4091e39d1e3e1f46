//! What can be asked. A question reads its parameters, waits for its turn, and is answered.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tillwatch_model::Pseudonym;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::fleet::Watch;
use crate::persist::ClickHouseError;
use crate::query::catalogue::CatalogueAnswer;
use crate::query::error::QueryError;
use crate::query::errors;
use crate::query::errors_request::ErrorsRequest;
use crate::query::losses;
use crate::query::losses_request::LossesRequest;
use crate::query::parameters::Parameters;
use crate::query::percentiles::{self, Sources};
use crate::query::request::PercentileRequest;
use crate::query::rollout::request::{self as rollout, RolloutRequest};
use crate::query::rollout::{Judge, check};
use crate::query::sessions;
use crate::query::silent::{self, SilentRequest};
use crate::query::stores::{self, StoresRequest};
use crate::query::summaries::{self, SummariesRequest};
use crate::query::terminals;
use crate::query::terminals_request::TerminalsRequest;
use crate::rollout::Plan;
use crate::tasks::Jobs;

/// Queries at once; more wait for their turn.
const QUERIES_MAX: usize = 4;
/// Queries that wait for their turn; more are told at once to come again.
const QUERIES_WAITING_MAX: usize = 32;
/// How long a query waits for its turn, or for the engine to start.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How long an answer may take once it is its turn.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// An answer as it is sent.
pub type Json = Vec<u8>;

/// Answers questions from all places where samples lie.
pub struct Query {
    sources: Sources,
    judge: Judge,
    /// The last durable position of the journal: what an answer has to include.
    durable: Box<dyn Fn() -> u64 + Send + Sync>,
    clock: Clock,
    watch: Arc<Watch>,
    /// For queries under way and those that wait.
    places: Semaphore,
    turns: Semaphore,
}

/// A fitting number of jobs in which answers are put together: half of the processors are left to those who serve
/// terminals, however much is asked.
#[must_use]
pub fn jobs() -> Jobs {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Jobs::in_background((processors / 2).min(QUERIES_MAX))
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
        watch: Arc<Watch>,
        plan: Arc<Plan>,
    ) -> Arc<Self> {
        Arc::new(Self {
            judge: Judge {
                sources: sources.clone(),
                plan,
            },
            sources,
            durable,
            clock,
            watch,
            places: Semaphore::new(QUERIES_MAX + QUERIES_WAITING_MAX),
            turns: Semaphore::new(QUERIES_MAX),
        })
    }

    /// Percentiles of one metric.
    ///
    /// # Errors
    /// When a parameter is wrong, the answer would be too large, or a source does not answer.
    pub async fn percentiles(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = PercentileRequest::parse(parameters, &self.sources.catalogue, now_ms)?;
        let position = (self.durable)();
        let answer = percentiles::answer(&self.sources, &request, now_ms, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// The terminals of a store.
    ///
    /// # Errors
    /// When a parameter is wrong, the store is unknown, or a source does not answer.
    pub async fn terminals(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = TerminalsRequest::parse(parameters, now_ms)?;
        let (silence, position) = (self.watch.at(now_ms), (self.durable)());
        let answer = terminals::answer(&self.sources, &request, silence, position);
        self.in_turn(request.needs_database(), Box::pin(answer))
            .await
    }

    /// The stores that are known.
    ///
    /// # Errors
    /// When a parameter is wrong.
    pub async fn stores(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let request = StoresRequest::parse(parameters)?;
        let (holdings, now_ms) = (Arc::clone(&self.sources.holdings), self.clock.now_ms());
        let answer = move || stores::answer(&holdings, &request, now_ms);
        let answer = async { Ok(self.sources.jobs.run(answer).await) };
        self.in_turn(false, answer).await
    }

    /// Terminals that should report and do not.
    ///
    /// # Errors
    /// When a parameter is wrong, or the store is unknown.
    pub async fn silent(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let request = SilentRequest::parse(parameters)?;
        let silence = self.watch.at(self.clock.now_ms());
        let holdings = Arc::clone(&self.sources.holdings);
        let answer = move || silent::answer(&holdings, &request, &silence);
        let answer = async { self.sources.jobs.run(answer).await };
        self.in_turn(false, answer).await
    }

    /// What pages have summed up themselves.
    ///
    /// # Errors
    /// When a parameter is wrong, or a source does not answer.
    pub async fn summaries(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = SummariesRequest::parse(parameters, &self.sources.catalogue, now_ms)?;
        let position = (self.durable)();
        let answer = summaries::answer(&self.sources, &request, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// Groups of errors.
    ///
    /// # Errors
    /// When a parameter is wrong, or a source does not answer.
    pub async fn errors(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let request = ErrorsRequest::parse(parameters, self.clock.now_ms())?;
        let position = (self.durable)();
        let answer = errors::answer(&self.sources, request, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// One group of errors, by its fingerprint.
    ///
    /// # Errors
    /// When it is no fingerprint, nothing is known of it, or a source does not answer.
    pub async fn error(
        &self,
        fingerprint: &str,
        parameters: &Parameters,
    ) -> Result<Json, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = ErrorsRequest::parse_one(fingerprint, parameters, now_ms)?;
        let position = (self.durable)();
        let answer = errors::answer_one(&self.sources, request, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// The ledger of losses.
    ///
    /// # Errors
    /// When a parameter is wrong, the store is unknown, or a source does not answer.
    pub async fn losses(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let request = LossesRequest::parse(parameters, self.clock.now_ms())?;
        let position = (self.durable)();
        let answer = losses::answer(&self.sources, &request, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// What is said of a release that is being rolled out.
    ///
    /// # Errors
    /// When a parameter is wrong, or a source does not answer.
    pub async fn rollout(
        &self,
        release: &str,
        parameters: &Parameters,
    ) -> Result<Json, QueryError> {
        let now_ms = self.clock.now_ms();
        let request = RolloutRequest::parse(release, parameters, now_ms)?;
        let answer = rollout::answer(&self.judge, &request, now_ms);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// What a release would meet with on this fleet, before it comes.
    ///
    /// # Errors
    /// When a parameter is wrong, or a source does not answer.
    pub async fn rollout_check(&self, parameters: &Parameters) -> Result<Json, QueryError> {
        let against = check::against_of(parameters)?;
        let answer = check::answer(&self.judge, against, self.clock.now_ms());
        self.in_turn(true, Box::pin(answer)).await
    }

    /// What judges rollouts.
    #[must_use]
    pub fn judge(&self) -> Judge {
        self.judge.clone()
    }

    /// One session, asked for by its pseudonym.
    ///
    /// # Errors
    /// When it is no pseudonym, nothing is known of it, or a source does not answer.
    pub async fn session(&self, pseudonym: &str) -> Result<Json, QueryError> {
        let session = Pseudonym::parse(pseudonym).ok_or(QueryError::NotAPseudonym)?;
        let (now_ms, position) = (self.clock.now_ms(), (self.durable)());
        let answer = sessions::answer(&self.sources, session, now_ms, position);
        self.in_turn(true, Box::pin(answer)).await
    }

    /// The catalogue of metrics.
    #[must_use]
    pub fn metrics(&self) -> CatalogueAnswer {
        CatalogueAnswer::of(&self.sources.catalogue)
    }

    /// Answers when the tables are there, if it needs them, and it is its turn.
    async fn in_turn<T: Serialize + Send + 'static>(
        &self,
        needs_database: bool,
        answer: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<Json, QueryError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(QueryError::TooMany);
        };
        if needs_database {
            let is_there = self.sources.clickhouse.wait_prepared();
            let is_there = tokio::time::timeout(WAIT_MAX, is_there).await;
            is_there.map_err(|_elapsed| ClickHouseError::NotReady)?;
        }
        let turn = tokio::time::timeout(WAIT_MAX, self.turns.acquire()).await;
        let _turn = turn.map_err(|_elapsed| QueryError::TooMany)?;
        let json = async {
            let answer = answer.await?;
            let json = move || serde_json::to_vec(&answer);
            Ok(self.sources.jobs.run(json).await?)
        };
        match tokio::time::timeout(ANSWER_MAX, json).await {
            Ok(json) => json,
            Err(_elapsed) => Err(ClickHouseError::TimedOut(ANSWER_MAX.as_secs()).into()),
        }
    }
}
