//! Questions about stores, terminals and sessions: parameters in, JSON or a refusal out.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query as Given, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::refused;
use crate::query::{self, ErrorCode, Parameters, Query, QueryError};
use crate::request_id::RequestId;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// Makes every count before the first question, so that it starts at 0.
pub(super) fn start_counts() {
    let results = std::iter::once("ok").chain(ErrorCode::ALL.map(ErrorCode::name));
    names::start(names::QUERIES, "result", results, &[names::QUERY_SECONDS]);
}

pub(super) type Asked = Result<Given<Parameters>, QueryRejection>;
pub(super) type Id = Option<Extension<RequestId>>;

pub(super) async fn percentiles(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.percentiles(&parameters(asked)?).await }).await
}

pub(super) async fn stores(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.stores(&parameters(asked)?).await }).await
}

pub(super) async fn terminals(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.terminals(&parameters(asked)?).await }).await
}

pub(super) async fn silent(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.silent(&parameters(asked)?).await }).await
}

pub(super) async fn errors(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.errors(&parameters(asked)?).await }).await
}

pub(super) async fn error(
    State(query): State<Arc<Query>>,
    id: Id,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Response {
    let fingerprint = path.map_or_else(|_rejected| String::new(), |Path(text)| text);
    timed(id, async {
        query.error(&fingerprint, &parameters(asked)?).await
    })
    .await
}

pub(super) async fn rollout(
    State(query): State<Arc<Query>>,
    id: Id,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Response {
    let release = path.map_or_else(|_rejected| String::new(), |Path(text)| text);
    timed(id, async {
        query.rollout(&release, &parameters(asked)?).await
    })
    .await
}

pub(super) async fn rollout_check(
    State(query): State<Arc<Query>>,
    id: Id,
    asked: Asked,
) -> Response {
    timed(id, async { query.rollout_check(&parameters(asked)?).await }).await
}

pub(super) async fn losses(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.losses(&parameters(asked)?).await }).await
}

pub(super) async fn summaries(State(query): State<Arc<Query>>, id: Id, asked: Asked) -> Response {
    timed(id, async { query.summaries(&parameters(asked)?).await }).await
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

/// Refuses parameters where none mean anything: whoever gives one expects something of it.
pub(super) async fn without_parameters(request: Request, next: Next) -> Response {
    let asked = Given::<Parameters>::try_from_uri(request.uri());
    let checked = parameters(asked).and_then(|given| given.check(&[]).map(|_none| ()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let code = ErrorCode::BadParameter.name();
            refused(StatusCode::BAD_REQUEST, code, &error.to_string())
        }
    }
}

pub(super) fn parameters(asked: Asked) -> Result<Parameters, QueryError> {
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

pub(super) async fn timed(
    id: Id,
    answer: impl Future<Output = Result<query::Json, QueryError>>,
) -> Response {
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
    let status = match error.code() {
        ErrorCode::BadParameter => StatusCode::BAD_REQUEST,
        ErrorCode::UnknownMetric
        | ErrorCode::UnknownStore
        | ErrorCode::UnknownTerminal
        | ErrorCode::UnknownSession
        | ErrorCode::UnknownError => StatusCode::NOT_FOUND,
        ErrorCode::NotAPseudonym | ErrorCode::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::DatabaseUnavailable
        | ErrorCode::StateUnavailable
        | ErrorCode::JournalUnavailable
        | ErrorCode::TooManyQueries => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let code = error.code().name();
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
