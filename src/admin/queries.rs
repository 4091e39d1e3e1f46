//! Questions about stores, terminals and sessions: parameters in, JSON or a refusal out.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query as Given, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::admin::refused;
use crate::query::{self, Parameters, Query, QueryError};
use crate::request_id::RequestId;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// How a query can end.
const RESULTS: [&str; 7] = [
    "ok",
    "bad_parameter",
    "unknown_metric",
    "too_large",
    "database_unavailable",
    "state_unavailable",
    "too_many_queries",
];

/// Makes every count before the first question, so that it starts at 0.
pub(super) fn start_counts() {
    names::start(names::QUERIES, "result", &RESULTS, &[names::QUERY_SECONDS]);
}

type Asked = Result<Given<Parameters>, QueryRejection>;
type Id = Option<Extension<RequestId>>;

pub(super) async fn percentiles(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.percentiles(&parameters(asked)?).await }).await
}

pub(super) async fn stores(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.stores(&parameters(asked)?).await }).await
}

pub(super) async fn terminals(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.terminals(&parameters(asked)?).await }).await
}

pub(super) async fn session(
    State(query): State<Arc<Query>>,
    id: Id,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let pseudonym = path.map_or_else(|_rejected| String::new(), |Path(text)| text);
    timed(id, query.session(&pseudonym)).await
}

pub(super) async fn metrics(State(query): State<Arc<Query>>) -> Response {
    Json(query.metrics()).into_response()
}

fn parameters(asked: Asked) -> Result<Parameters, QueryError> {
    match asked {
        Ok(Given(parameters)) => Ok(parameters),
        Err(rejection) => Err(QueryError::BadParameter(rejection.body_text())),
    }
}

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

async fn timed(id: Id, answer: impl Future<Output = Result<query::Json, QueryError>>) -> Response {
    let _in_flight = InFlight::new();
    let started = tokio::time::Instant::now();
    let result = answer.await;
    metrics::histogram!(names::QUERY_SECONDS).record(started.elapsed());
    match result {
        Ok(answer) => {
            metrics::counter!(names::QUERIES, "result" => "ok").increment(1);
            ([(CONTENT_TYPE, "application/json")], answer).into_response()
        }
        Err(error) => refuse(&error, id.map(|Extension(id)| id)),
    }
}

static NOT_ANSWERED: Throttle = Throttle::new("queries not answered");

fn refuse(error: &QueryError, id: Option<RequestId>) -> Response {
    let (status, code) = match error {
        QueryError::BadParameter(_) => (StatusCode::BAD_REQUEST, "bad_parameter"),
        QueryError::UnknownMetric(_) => (StatusCode::NOT_FOUND, "unknown_metric"),
        QueryError::UnknownStore => (StatusCode::NOT_FOUND, "unknown_store"),
        QueryError::UnknownSession => (StatusCode::NOT_FOUND, "unknown_session"),
        QueryError::NotAPseudonym => (StatusCode::UNPROCESSABLE_ENTITY, "not_a_pseudonym"),
        QueryError::TooLarge(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_large"),
        QueryError::ClickHouse(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
        QueryError::State(_) => (StatusCode::SERVICE_UNAVAILABLE, "state_unavailable"),
        QueryError::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "too_many_queries"),
        QueryError::Answer(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
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
    let mut response = refused(status, code, &error.to_string());
    if matches!(error, QueryError::TooMany) {
        let seconds = HeaderValue::from(query::RETRY_AFTER_S);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}
