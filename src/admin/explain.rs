//! What became of one batch.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use uuid::Uuid;

use crate::admin::queries::{Id, timed};
use crate::query::QueryError;
use crate::query::explain::{Explainer, Wanted};

/// By the numbers that the terminal has given it.
pub(super) async fn batch(
    State(explainer): State<Arc<Explainer>>,
    id: Id,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
) -> Response {
    timed(id, async {
        let Path((store_id, terminal_id, queue, seq)) =
            path.map_err(|rejection| wrong(&rejection))?;
        let not_one = |what: &str| QueryError::BadParameter(what.to_owned());
        let queue = Uuid::try_parse(&queue).map_err(|_not_one| not_one("the queue is no UUID"))?;
        let seq = seq.parse().map_err(|_none| not_one("the number is none"))?;
        let wanted = Wanted::Batch {
            store_id,
            terminal_id,
            queue,
            seq,
        };
        explainer.explain(wanted).await
    })
    .await
}

/// By the idempotency key of its request.
pub(super) async fn key(
    State(explainer): State<Arc<Explainer>>,
    id: Id,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Response {
    timed(id, async {
        let Path((store_id, terminal_id, key)) = path.map_err(|rejection| wrong(&rejection))?;
        let wanted = Wanted::Key {
            store_id,
            terminal_id,
            key,
        };
        explainer.explain(wanted).await
    })
    .await
}

/// By the name of its request.
pub(super) async fn request(
    State(explainer): State<Arc<Explainer>>,
    id: Id,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    timed(id, async {
        let Path(name) = path.map_err(|rejection| wrong(&rejection))?;
        explainer.explain(Wanted::Request(name)).await
    })
    .await
}

fn wrong(rejection: &PathRejection) -> QueryError {
    QueryError::BadParameter(rejection.body_text())
}
