//! Keeps the hourly rollups up to date: looks at unchecked days, sums up dirty hours, backs off.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_model::StoreHour;
use tillwatch_model::hours::Due;
use tillwatch_model::time::millis;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::holdings::Holdings;
use crate::persist::rebuild::{Confirmed, differing_hours, held_hours, rebuild};
use crate::persist::ship::{back_off, on_disk};
use crate::persist::{ClickHouse, ClickHouseError, State};
use crate::self_metrics as names;
use crate::world::World;

/// Hours of stores in one statement: a day of 50 stores.
const HOURS_MAX: usize = 1_200;
/// However much late data come, an hour is summed up this long after it became dirty, if `quiet` is not longer.
const DIRTY_MAX: Duration = Duration::from_secs(3_600);
/// How often it is looked for dirty hours, at the least.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the next round takes.
#[derive(Debug)]
pub struct Next {
    /// How many hours of stores a round takes at most.
    hours_max: usize,
    /// The hour to begin with, so that what cannot be summed up does not keep others waiting.
    first_hour: u32,
}

impl Default for Next {
    fn default() -> Self {
        Self {
            hours_max: HOURS_MAX,
            first_hour: 0,
        }
    }
}

/// Sums up dirty hours, one statement at a time: shipping and readers go before.
#[derive(Debug, Clone)]
pub struct Rebuilder {
    /// Where the tables are.
    pub clickhouse: ClickHouse,
    /// Where the dirty hours are durable.
    pub state: Arc<State>,
    /// Where readers find the dirty hours.
    pub holdings: Arc<Holdings>,
    /// The clock and the random numbers.
    pub world: World,
    /// An hour is left alone until no data have come for so long.
    pub quiet: Duration,
}

impl Rebuilder {
    /// Sums up whatever is due, until `stopping` turns true.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let pause = (self.quiet / 4).clamp(Duration::from_millis(20), LOOK_EVERY);
        let (mut failures, mut next) = (0_u32, Next::default());
        loop {
            let round = async {
                self.clickhouse.wait_prepared().await;
                self.round(&mut next).await
            };
            let result = tokio::select! {
                result = round => result,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            let pause = match result {
                Ok(is_more) => {
                    failures = 0;
                    next.hours_max = (next.hours_max * 2).min(HOURS_MAX);
                    if is_more { Duration::ZERO } else { pause }
                }
                Err(error) => {
                    metrics::counter!(names::REBUILDS, "result" => "error").increment(1);
                    // The shipper says more about a ClickHouse that is away.
                    if failures < 7 || failures.is_multiple_of(30) {
                        tracing::warn!(
                            error = crate::logging::chain(&error),
                            failures,
                            hours = next.hours_max,
                            "hours were not summed up; it is tried again, with fewer at once"
                        );
                    }
                    failures = failures.saturating_add(1);
                    if !matches!(error, ClickHouseError::NotHeld) {
                        next.hours_max = (next.hours_max / 2).max(1);
                    }
                    back_off(failures, &self.world.chance)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            }
        }
    }

    /// Looks at one unchecked day, or sums up one batch of hours; whether there may be more to do.
    ///
    /// # Errors
    /// When ClickHouse or the state file fail, or ClickHouse does not hold what it was told to sum up. What
    /// was to be done is still to be done then.
    pub async fn round(&self, next: &mut Next) -> Result<bool, ClickHouseError> {
        let (dirty, confirmed) = self.holdings.ask(Holdings::dirty).await;
        if let Some(day) = dirty.next_unchecked(confirmed) {
            self.check(day, confirmed).await?;
            return Ok(true);
        }
        let due = Due {
            now_ms: self.world.clock.now_ms(),
            quiet_ms: millis(self.quiet),
            dirty_ms_max: millis(self.quiet.max(DIRTY_MAX)),
            confirmed,
        };
        let hours = dirty.due(&due, next.first_hour, next.hours_max);
        // Readers may share what `dirty` holds: let it go before it changes.
        drop(dirty);
        let Some(last) = hours.last() else {
            return Ok(false);
        };
        next.first_hour = last.hour + 1;
        self.rebuild(hours.into()).await?;
        Ok(true)
    }

    async fn check(&self, day: u32, confirmed: u64) -> Result<(), ClickHouseError> {
        let found = differing_hours(&self.clickhouse, self.confirmed(confirmed), day).await?;
        // Nothing has touched these hours just now: they need not wait until they are quiet.
        let touched_ms = self.world.clock.now_ms() - millis(self.quiet);
        let found: Arc<[StoreHour]> = found.into();
        let noted = Arc::clone(&found);
        on_disk(&self.state, move |state| {
            state.check_day(day, confirmed, touched_ms, &noted)
        })
        .await?;
        let check = move |holdings: &Holdings| holdings.checked(day, confirmed, touched_ms, &found);
        self.holdings.ask(check).await;
        Ok(())
    }

    async fn rebuild(&self, hours: Arc<[StoreHour]>) -> Result<(), ClickHouseError> {
        let started = Instant::now();
        let begun = Arc::clone(&hours);
        let begin = move |holdings: &Holdings| holdings.begin_rebuild(begun);
        let epoch = self.holdings.ask(begin).await;
        let confirmed = self.confirmed(epoch);
        rebuild(&self.clickhouse, confirmed, &hours).await?;
        let held: Arc<[StoreHour]> = held_hours(&self.clickhouse, confirmed, &hours)
            .await?
            .into();
        let noted = Arc::clone(&held);
        on_disk(&self.state, move |state| state.clean_hours(&noted, epoch)).await?;
        let held_hours = held.len();
        let rebuilt = move |holdings: &Holdings| holdings.rebuilt(&held, epoch);
        self.holdings.ask(rebuilt).await;
        metrics::counter!(names::REBUILT_HOURS).increment(held_hours as u64);
        if held_hours == 0 {
            return Err(ClickHouseError::NotHeld);
        }
        metrics::counter!(names::REBUILDS, "result" => "ok").increment(1);
        metrics::histogram!(names::REBUILD_SECONDS).record(started.elapsed().as_secs_f64());
        tracing::debug!(hours = hours.len(), epoch, "summed up");
        Ok(())
    }

    fn confirmed(&self, epoch: u64) -> Confirmed {
        Confirmed {
            collector_id: self.state.collector_id(),
            epoch,
        }
    }
}
