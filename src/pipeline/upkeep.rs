//! Looks after the tables while nothing hurries: gives the projection `by_epoch` to parts from before the
//! migration that made it.

use std::time::Duration;

use tokio::sync::watch;

use crate::chance::Chance;
use crate::persist::by_epoch::{self, Added};
use crate::persist::ship::back_off;
use crate::persist::{ClickHouse, ClickHouseError};

/// How long until the next partition, while there are partitions to be done.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the tables are looked at when there is nothing to do.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Looks after the tables, one small statement at a time.
#[derive(Debug, Clone)]
pub(super) struct Upkeep {
    pub(super) clickhouse: ClickHouse,
    pub(super) chance: Chance,
}

impl Upkeep {
    /// Does what there is to do, until `stopping` turns true. ClickHouse goes on with what it was told, and what
    /// is left is found again at the next start.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let (mut failures, mut partitions) = (0_u32, 0_u64);
        loop {
            let step = async {
                self.clickhouse.wait_prepared().await;
                by_epoch::add_next(&self.clickhouse).await
            };
            let result = tokio::select! {
                result = step => result,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            let pause = match result {
                Ok(added) => {
                    failures = 0;
                    next_pause(&added, &mut partitions)
                }
                Err(error) => {
                    tell(&error, failures);
                    failures = failures.saturating_add(1);
                    back_off(failures, &self.chance)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            }
        }
    }
}

/// Notes what was done, and says how long to wait for the next step.
fn next_pause(added: &Added, partitions: &mut u64) -> Duration {
    match added {
        Added::Begun(partition) => {
            if *partitions == 0 {
                tracing::info!("adds the sums by epoch to parts from before there were any");
            }
            *partitions += 1;
            tracing::debug!(
                table = partition.of_table,
                partition = partition.id,
                "adds the sums by epoch"
            );
            PAUSE
        }
        Added::Waiting => PAUSE,
        Added::All => {
            if *partitions > 0 {
                tracing::info!(partitions = *partitions, "every part has the sums by epoch");
                *partitions = 0;
            }
            LOOK_EVERY
        }
    }
}

fn tell(error: &ClickHouseError, failures: u32) {
    // The shipper says more about a ClickHouse that is away.
    if failures < 3 || failures.is_multiple_of(30) {
        tracing::warn!(
            error = crate::logging::chain(error),
            failures,
            "the tables could not be looked after; it is tried again"
        );
    }
}
