//! The answer to a supervisor's question whether the engine answers; see `crate::pulse`.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::http::request::Parts;
use tokio::sync::oneshot;

use super::answer::{self, Answer};
use super::request::Call;
use super::shared::Front;
use crate::engine::{ConnectOptions, spawn_statement};
use crate::error::Exception;

/// Runs a statement that needs nothing, without waiting for a turn. One at a time: one that hangs
/// takes one thread, not a thread for each question.
pub(super) async fn answer(front: &Arc<Front>, parts: &Parts) -> Answer {
    match ask(front, parts).await {
        Ok(answer) => answer,
        Err(exception) => answer::failed(&front.engine, "", &exception),
    }
}

async fn ask(front: &Arc<Front>, parts: &Parts) -> Result<Answer, Exception> {
    Call::from_parts(parts, &front.engine)?.authenticate(front.settings.password.as_deref())?;
    let busy = || answer::text(StatusCode::SERVICE_UNAVAILABLE, "The last one hangs.\n");
    let Ok(permit) = Arc::clone(&front.pulse).try_acquire_owned() else {
        return Ok(busy());
    };
    let engine = Arc::clone(&front.engine);
    let (sender, receiver) = oneshot::channel();
    let spawned = spawn_statement(move || {
        let mark = engine.next_mark();
        let outcome = engine
            .connect(&ConnectOptions::default(), &mark)
            .and_then(|mut connection| connection.text("SELECT 1"));
        drop((permit, engine));
        // Whoever asked may have lost patience.
        let _ = sender.send(outcome);
    });
    if spawned.is_err() {
        return Ok(busy());
    }
    Ok(match receiver.await {
        Ok(Ok(_)) => answer::text(StatusCode::OK, "Ok.\n"),
        // Out of memory, say: what refuses does not hang.
        Ok(Err(exception)) => {
            tracing::debug!(%exception, "a pulse was refused");
            answer::text(StatusCode::OK, "Refused.\n")
        }
        Err(_gone) => busy(),
    })
}
