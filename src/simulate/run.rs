//! One run, from its options to its report.

use std::error::Error as _;
use std::future::Future;

use tokio::task::JoinError;

use crate::model::time::now_ms;
use crate::simulate::client::{Client, ClientError};
use crate::simulate::compare::Comparer;
use crate::simulate::driver::Fleet;
use crate::simulate::ledger::{EXACT_VALUES_MAX, Keep, Ledger};
use crate::simulate::measure::World;
use crate::simulate::query::QueryError;
use crate::simulate::{Options, Report};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An option makes no sense. Nothing was sent.
    #[error("{option} {rule}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// An address makes no sense. Nothing was sent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The query API does not answer as it should. Nothing was sent.
    #[error("could not ask what the collector holds")]
    Query(#[from] QueryError),
    /// A request's task ended by a panic: a bug.
    #[error("a request's task did not end well")]
    Task(#[from] JoinError),
}

/// Runs the fleet until its end, or until the process is asked to stop, and reports. Asked once,
/// terminals stop measuring and send what they have; asked twice, they stop at once.
///
/// # Errors
/// When an option makes no sense, or the query API does not answer.
pub async fn run(options: Options) -> Result<Report, SimulateError> {
    run_until(options, stop_signal).await
}

/// Runs the fleet until its end, or until what `stop` makes is ready, and reports. The first time that
/// happens terminals stop measuring and send what they have; the second time they stop at once.
///
/// # Errors
/// When an option makes no sense, or the query API does not answer.
pub async fn run_until<F: Future<Output = ()>>(
    options: Options,
    stop: impl Fn() -> F,
) -> Result<Report, SimulateError> {
    if let Some((option, rule)) = options.first_fault() {
        return Err(SimulateError::Option { option, rule });
    }
    let run_id = options
        .run_id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let client = Client::new(&options)?;
    let world = World::new(options.samples_per_batch);
    let comparer = match &options.admin_url {
        Some(url) => Some(Comparer::start(url, &options, &world, now_ms()).await?),
        None => None,
    };
    let keep = if comparer.is_some() {
        Keep::Values(EXACT_VALUES_MAX)
    } else {
        Keep::Sums
    };
    let groups = comparer.as_ref().map_or(1, Comparer::groups);
    let ledger = Ledger::new(world.mix.measured().len(), groups, keep);
    let mut fleet = Fleet::new(&options, &run_id, world, ledger);
    fleet.go(&options, &client, stop).await?;
    let mut report = fleet.report(&options, run_id);
    if let Some(comparer) = comparer {
        let ended_ms = fleet.clock.now_ms();
        match comparer.finish(&fleet.world, &fleet.ledger, ended_ms).await {
            Ok(comparison) => report.compared(comparison),
            // What was sent is still worth reporting.
            Err(error) => report.not_compared(&error, error.source()),
        }
    }
    Ok(report)
}

/// Ready when the process is asked to stop.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            // Both branches only wait: dropping either loses nothing.
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
