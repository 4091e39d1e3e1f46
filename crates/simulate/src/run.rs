//! One run, from its options to its report.

use std::future::Future;

use crate::campaign::{Run, SimulateError};
use crate::scenario;
use crate::{Options, Report};

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
    if let Some(scenario) = options.scenario.as_deref().and_then(scenario::find) {
        return scenario::play(scenario, options, stop).await;
    }
    let mut run = Run::prepare(&options, None).await?;
    let gone = run.go(&options, &stop).await;
    if let Some(file) = &options.queues {
        run.fleet.queues().give_back(file)?;
    }
    gone?;
    let mut report = run.report(&options);
    let ended_ms = run.fleet.clock.now_ms();
    run.compare(&mut report, &options, ended_ms).await;
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
