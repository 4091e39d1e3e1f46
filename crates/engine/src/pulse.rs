//! Whether a running engine answers: a process that hangs is as bad as one that has ended, and says
//! nothing.
//!
//! The front answers a pulse with a statement on a connection of its own, beside the other statements, so
//! that heavy statements do not delay it. A pulse that the engine refuses is an answer, too.

use std::time::Duration;

/// Where the front answers a pulse.
pub(super) const PATH: &str = "/pulse";

/// When an engine counts as hung.
#[derive(Debug, Clone, Copy)]
pub struct PulseSettings {
    /// The pause between two questions. Default: 10 s.
    pub every: Duration,
    /// How long an answer may take; usually it takes milliseconds. Default: 10 s.
    pub patience: Duration,
    /// So many questions in a row without an answer, and the engine is killed and started again. Too
    /// few: a machine that swaps for a while loses its engine. Default: 3.
    pub misses_max: u32,
}

impl Default for PulseSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            misses_max: 3,
        }
    }
}

/// The pause after a question without an answer.
const AFTER_MISS: Duration = Duration::from_secs(1);

/// Asks again and again; completes when the engine counts as hung.
pub(super) async fn lost(url: &str, (user, password): (&str, &str), settings: PulseSettings) {
    // The client wants a provider of cryptography, although it speaks plain HTTP; in a program that has installed one
    // this changes nothing.
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        // What hangs must not be asked on a connection that worked before, nor held open.
        .pool_max_idle_per_host(0)
        .timeout(settings.patience)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the embedded engine is not watched for hanging");
            return std::future::pending().await;
        }
    };
    let mut misses = 0;
    loop {
        // Who has not answered is asked again soon: the time until then was long enough.
        let pause = if misses == 0 {
            settings.every
        } else {
            AFTER_MISS.min(settings.every)
        };
        tokio::time::sleep(pause).await;
        let request = client
            .get(format!("{url}{PATH}"))
            .header("X-ClickHouse-User", user)
            .header("X-ClickHouse-Key", password);
        let asked = request.send().await;
        match asked.and_then(reqwest::Response::error_for_status) {
            Ok(_answered) => misses = 0,
            Err(error) => {
                misses += 1;
                tracing::warn!(%error, misses, "the embedded engine did not answer");
                if misses >= settings.misses_max {
                    return;
                }
            }
        }
    }
}
