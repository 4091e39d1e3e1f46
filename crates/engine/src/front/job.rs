//! One statement on its way: its turn, its seat, its thread and its outcome.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::request::Call;
use super::session::SessionGuard;
use super::shared::Front;
use crate::connection::Connection;
use crate::engine::{
    Canceller, ConnectOptions, Engine, Running, cancellable, spawn_statement, stand_back,
};
use crate::error::{Exception, code};
use crate::libchdb::Counts;
use crate::sql::{self, Statement};

/// How long a statement waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

pub(super) type Outcome = Result<(Vec<u8>, Counts), Exception>;

/// Where a statement runs.
enum Seat {
    Fresh,
    Session(SessionGuard),
}

/// All that a statement's thread needs besides the statement.
pub(super) struct Job {
    seat: Seat,
    mark: String,
    options: ConnectOptions,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) format: String,
    running: Running,
    permit: OwnedSemaphorePermit,
    engine: Arc<Engine>,
    is_background: bool,
}

/// Waits for a turn and takes what the statement's thread needs.
pub(super) async fn take_turn(
    front: &Arc<Front>,
    call: Call,
    statement: Option<&Statement>,
) -> Result<(Job, Canceller), Exception> {
    let turn = Arc::clone(&front.turns).acquire_owned();
    let Ok(Ok(permit)) = tokio::time::timeout(TURN_WAIT, turn).await else {
        return Err(Exception::new(
            code::TOO_MANY_SIMULTANEOUS_QUERIES,
            "TOO_MANY_SIMULTANEOUS_QUERIES",
            "Too many simultaneous queries, or the engine is stopping",
        ));
    };
    front
        .last_used_sweep
        .store(front.sweeps.load(Ordering::Relaxed), Ordering::Relaxed);
    let engine = Arc::clone(&front.engine);
    let mut options = ConnectOptions {
        database: call.database,
        settings: call.settings,
    };
    let (seat, mark) = match &call.session {
        None => {
            // As in ClickHouse, GET does not change anything.
            let is_limited = options
                .settings
                .iter()
                .any(|(name, value)| name == "readonly" && value != "0");
            if call.is_get && !is_limited {
                options
                    .settings
                    .push(("readonly".to_owned(), "2".to_owned()));
            }
            (Seat::Fresh, engine.next_mark())
        }
        Some(request) => {
            let is_harmless = statement.is_some_and(sql::is_harmless);
            if call.is_get && !is_harmless || sets_readonly(&options) {
                return Err(Exception::new(
                    code::READONLY,
                    "READONLY",
                    "In a session of the embedded engine GET only reads, and `readonly` cannot be \
                     set for one request",
                ));
            }
            let (guard, mark) = front.sessions.take(request, &engine, Instant::now())?;
            (Seat::Session(guard), mark)
        }
    };
    let (canceller, running) = cancellable(&engine, &mark);
    let format = call
        .default_format
        .unwrap_or_else(|| "TabSeparated".to_owned());
    if !format
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(Exception::new(
            73,
            "UNKNOWN_FORMAT",
            format!("Unknown format {format}"),
        ));
    }
    let parameters = call.parameters;
    let job = Job {
        seat,
        mark,
        options,
        parameters,
        format,
        running,
        permit,
        engine,
        is_background: call.is_background,
    };
    Ok((job, canceller))
}

fn sets_readonly(options: &ConnectOptions) -> bool {
    options
        .settings
        .iter()
        .any(|(name, value)| name == "readonly" && value != "0")
}

impl Job {
    /// Runs `work` on a thread of its own; the outcome comes through the channel.
    pub(super) fn spawn(
        mut self,
        work: impl FnOnce(&mut Connection, &Details) -> Outcome + Send + 'static,
    ) -> Result<oneshot::Receiver<Outcome>, Exception> {
        let (sender, receiver) = oneshot::channel();
        spawn_statement(move || {
            if self.is_background {
                stand_back();
            }
            let details = Details {
                parameters: self.parameters,
                format: self.format,
            };
            let work = |connection: &mut Connection| work(connection, &details);
            let outcome = match &mut self.seat {
                Seat::Fresh => self
                    .engine
                    .connect(&self.options, &self.mark)
                    .and_then(|mut connection| work(&mut connection)),
                Seat::Session(session) => {
                    session.with(&self.engine, &self.mark, &self.options, work)
                }
            };
            // The session is free and the turn is given on before the client knows the outcome:
            // its next request must find both.
            drop((self.seat, self.running, self.permit));
            // The client may have gone.
            let _ = sender.send(outcome);
        })
        .map_err(|error| no_resource(&error))?;
        Ok(receiver)
    }
}

/// What the statement itself needs on its thread.
pub(super) struct Details {
    pub(super) parameters: Vec<(String, String)>,
    pub(super) format: String,
}

pub(super) fn no_resource(error: &io::Error) -> Exception {
    Exception::new(
        code::TOO_MANY_SIMULTANEOUS_QUERIES,
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        format!("The system gives no thread or pipe for this statement: {error}"),
    )
}

pub(super) async fn outcome_of(receiver: oneshot::Receiver<Outcome>) -> Outcome {
    receiver.await.unwrap_or_else(|_gone| {
        Err(Exception::new(
            code::UNKNOWN_EXCEPTION,
            "UNKNOWN_EXCEPTION",
            "The statement's thread ended without an outcome",
        ))
    })
}
