//! `GET /api/v1/percentiles`, `/stores`, `/terminals`, `/sessions` and `/metrics`, on the admin listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tillwatch_model::Pseudonym;
use tillwatch_model::metric::Kind;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::query::error::QueryError;
use crate::query::percentiles::{self, Sources};
use crate::query::request::PercentileRequest;
use crate::query::sessions;
use crate::query::stores::{self, StoresRequest};
use crate::query::terminals::{self, TerminalsRequest};
use crate::request_id::RequestId;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// Queries at once; more wait for their turn.
const QUERIES_MAX: usize = 4;
/// How long a query waits for its turn, or for the engine to start.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How long an answer may take once it is its turn.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// How a query can end.
const RESULTS: [&str; 6] = [
    "ok",
    "bad_parameter",
    "unknown_metric",
    "too_large",
    "database_unavailable",
    "state_unavailable",
];

/// What the query API needs.
pub struct Query {
    /// Where answers come from.
    pub sources: Sources,
    /// The last durable position of the journal: what an answer has to include.
    pub durable: Box<dyn Fn() -> u64 + Send + Sync>,
    clock: Clock,
    turns: Semaphore,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Query")
    }
}

impl Query {
    /// The API over these sources.
    #[must_use]
    pub fn new(
        sources: Sources,
        durable: Box<dyn Fn() -> u64 + Send + Sync>,
        clock: Clock,
    ) -> Arc<Self> {
        names::start(
            (names::QUERIES, "result", &RESULTS),
            &[names::QUERY_SECONDS],
        );
        Arc::new(Self {
            sources,
            durable,
            clock,
            turns: Semaphore::new(QUERIES_MAX),
        })
    }
}

/// The routes.
pub fn router(query: Arc<Query>) -> Router {
    Router::new()
        .route("/api/v1/percentiles", get(get_percentiles))
        .route("/api/v1/stores", get(get_stores))
        .route("/api/v1/terminals", get(get_terminals))
        .route("/api/v1/sessions/{pseudonym}", get(get_session))
        .route("/api/v1/metrics", get(get_metrics))
        .with_state(query)
}

type Given = Result<Parameters<HashMap<String, String>>, QueryRejection>;

/// Counts a query as under way until it is dropped: a client may go away in the middle.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn new() -> Self {
        let gauge = metrics::gauge!(names::QUERIES_WAITING);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

async fn get_percentiles(
    State(query): State<Arc<Query>>,
    id: Option<Extension<RequestId>>,
    parameters: Given,
) -> Response {
    timed(id, async {
        let now_ms = query.clock.now_ms();
        let parameters = given(parameters)?;
        let request = PercentileRequest::parse(&parameters, &query.sources.catalogue, now_ms)?;
        let at = (now_ms, (query.durable)());
        let answer = percentiles::answer(&query.sources, &request, at);
        query.in_turn(true, answer).await
    })
    .await
}

async fn get_terminals(
    State(query): State<Arc<Query>>,
    id: Option<Extension<RequestId>>,
    parameters: Given,
) -> Response {
    timed(id, async {
        let request = TerminalsRequest::parse(&given(parameters)?, query.clock.now_ms())?;
        let position = (query.durable)();
        let answer = terminals::answer(&query.sources, &request, position);
        query.in_turn(request.needs_database(), answer).await
    })
    .await
}

async fn get_stores(
    State(query): State<Arc<Query>>,
    id: Option<Extension<RequestId>>,
    parameters: Given,
) -> Response {
    timed(id, async {
        let request = StoresRequest::parse(&given(parameters)?)?;
        let (holdings, now_ms) = (Arc::clone(&query.sources.holdings), query.clock.now_ms());
        let answer = move || stores::answer(&holdings, &request, now_ms);
        match tokio::task::spawn_blocking(answer).await {
            Ok(answer) => Ok(answer),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    })
    .await
}

async fn get_session(
    State(query): State<Arc<Query>>,
    id: Option<Extension<RequestId>>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    timed(id, async {
        let session = path.ok().and_then(|Path(text)| Pseudonym::parse(&text));
        let session = session.ok_or(QueryError::NotAPseudonym)?;
        let at = (query.clock.now_ms(), (query.durable)());
        let answer = sessions::answer(&query.sources, session, at);
        query.in_turn(true, answer).await
    })
    .await
}

fn given(parameters: Given) -> Result<HashMap<String, String>, QueryError> {
    match parameters {
        Ok(Parameters(parameters)) => Ok(parameters),
        Err(rejection) => Err(QueryError::BadParameter(rejection.body_text())),
    }
}

async fn timed<T: Serialize>(
    id: Option<Extension<RequestId>>,
    answer: impl Future<Output = Result<T, QueryError>>,
) -> Response {
    let _in_flight = InFlight::new();
    let started = tokio::time::Instant::now();
    let result = answer.await;
    metrics::histogram!(names::QUERY_SECONDS).record(started.elapsed());
    match result {
        Ok(answer) => {
            metrics::counter!(names::QUERIES, "result" => "ok").increment(1);
            Json(answer).into_response()
        }
        Err(error) => refused(&error, id.map(|Extension(id)| id)),
    }
}

impl Query {
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

static NOT_ANSWERED: Throttle = Throttle::new("queries not answered");

fn refused(error: &QueryError, id: Option<RequestId>) -> Response {
    let (status, code) = match error {
        QueryError::BadParameter(_) => (StatusCode::BAD_REQUEST, "bad_parameter"),
        QueryError::UnknownMetric(_) => (StatusCode::NOT_FOUND, "unknown_metric"),
        QueryError::UnknownStore => (StatusCode::NOT_FOUND, "unknown_store"),
        QueryError::UnknownSession => (StatusCode::NOT_FOUND, "unknown_session"),
        QueryError::NotAPseudonym => (StatusCode::UNPROCESSABLE_ENTITY, "not_a_pseudonym"),
        QueryError::TooLarge(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_large"),
        QueryError::ClickHouse(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
        QueryError::State(_) => (StatusCode::SERVICE_UNAVAILABLE, "state_unavailable"),
    };
    metrics::counter!(names::QUERIES, "result" => code).increment(1);
    if status.is_server_error()
        && let Some(suppressed) = NOT_ANSWERED.pass()
    {
        tracing::warn!(
            request_id = id.map(tracing::field::display),
            code,
            error = crate::logging::chain(error),
            suppressed,
            "query not answered"
        );
    }
    let body = json!({"error": {"code": code, "message": error.to_string()}});
    (status, Json(body)).into_response()
}

async fn get_metrics(State(query): State<Arc<Query>>) -> Response {
    let line = |metric: &tillwatch_model::Metric| {
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
    let metrics: Vec<_> = query.sources.catalogue.metrics().iter().map(line).collect();
    Json(json!({ "metrics": metrics })).into_response()
}
