//! Looks after the tables while nothing hurries: gives the projection `by_epoch` to parts from before the
//! migration that made it, and keeps what the tables take on disk within its budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tillwatch_model::metric::to_float;
use tillwatch_model::time::day_of;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::holdings::Holdings;
use crate::persist::budget::{self, GivenUp, Held};
use crate::persist::by_epoch::{self, Added};
use crate::persist::ship::{back_off, on_disk};
use crate::persist::{ClickHouse, ClickHouseError, State};
use crate::self_metrics as names;
use crate::world::World;

/// How long until the next partition, while there are partitions to be done.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the tables are looked at when there is nothing to do, and at the least how often they are measured.
const LOOK_EVERY: Duration = Duration::from_secs(120);
/// How often they are looked at while days are to be given up that still wait for something.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Looks after the tables, one small statement at a time.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// Where the tables are.
    pub clickhouse: ClickHouse,
    /// Where it is noted which days are given up.
    pub state: Arc<State>,
    /// Who knows which days still wait for something, and tells readers which are given up.
    pub holdings: Arc<Holdings>,
    /// The clock and the random numbers.
    pub world: World,
    /// The most bytes that the tables may take on disk.
    pub budget_bytes: u64,
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Done {
    /// Partitions that were given the projection.
    partitions: u64,
    /// When the tables are measured next.
    measure_at: Option<Instant>,
    /// Whether it has been said that nothing more can give way.
    is_told: bool,
}

/// How the tables stand after they were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They are within the budget.
    Within,
    /// They are over it, and days that could give way still wait for something, or for the clock.
    Waiting,
    /// They are over it, and nothing more can give way.
    Over,
}

impl Upkeep {
    /// Does what there is to do, until `stopping` turns true. ClickHouse goes on with what it was told, and what
    /// is left is found again at the next start.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        gauge!(names::CLICKHOUSE_BUDGET).set(to_float(self.budget_bytes));
        let tables = budget::DAILY.into_iter().chain([budget::WEEKLY]);
        names::start(names::CLICKHOUSE_GIVEN_UP, "table", tables, &[]);
        let (mut failures, mut done) = (0_u32, Done::default());
        loop {
            let step = async {
                self.clickhouse.wait_prepared().await;
                self.step(&mut done).await
            };
            let result = tokio::select! {
                result = step => result,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            let pause = match result {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    tell(&error, failures);
                    failures = failures.saturating_add(1);
                    back_off(failures, &self.world.chance)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            }
        }
    }

    /// Does the next thing, and says how long to wait for the one after it.
    async fn step(&self, done: &mut Done) -> Result<Duration, ClickHouseError> {
        let now = Instant::now();
        if done.measure_at.is_none_or(|at| at <= now) {
            let standing = self.keep_within_budget().await?;
            let is_told = std::mem::replace(&mut done.is_told, standing == Standing::Over);
            if standing == Standing::Over && !is_told {
                tracing::error!(
                    budget_bytes = self.budget_bytes,
                    "the tables are over clickhouse_budget and nothing more can give way: raise it, or find out which \
                     store sends so much"
                );
            }
            let is_waiting = standing == Standing::Waiting;
            done.measure_at = Some(now + if is_waiting { LOOK_AGAIN } else { LOOK_EVERY });
        }
        let rest = done
            .measure_at
            .map_or(LOOK_EVERY, |at| at.duration_since(now));
        Ok(match by_epoch::add_next(&self.clickhouse).await? {
            Added::Begun(partition) => {
                if done.partitions == 0 {
                    tracing::info!("adds the sums by epoch to parts from before there were any");
                }
                done.partitions += 1;
                tracing::debug!(
                    table = partition.of_table,
                    partition = partition.id,
                    "adds the sums by epoch"
                );
                PAUSE
            }
            Added::Waiting => PAUSE,
            Added::All => {
                if done.partitions > 0 {
                    tracing::info!(
                        partitions = done.partitions,
                        "every part has the sums by epoch"
                    );
                    done.partitions = 0;
                }
                rest
            }
        })
    }

    /// Measures the tables, and gives up days until they are within the budget or nothing more can give way now.
    ///
    /// # Errors
    /// When ClickHouse or the state file fail. What was to be given up is still to be given up then.
    pub async fn keep_within_budget(&self) -> Result<Standing, ClickHouseError> {
        loop {
            let held = budget::held(&self.clickhouse).await?;
            if self.budget_bytes == 0 || measure(&held) <= self.budget_bytes {
                return Ok(Standing::Within);
            }
            // By a clock that may be wrong no day is old.
            if !self.world.clock.is_settled() {
                return Ok(Standing::Waiting);
            }
            let today = u32::try_from(day_of(self.world.clock.now_ms())).unwrap_or(0);
            let choose = move |holdings: &Holdings| {
                let is_needed = |day| holdings.needs_minutes(day);
                let next = budget::next(&held, today, is_needed);
                let is_waiting = next.is_none() && budget::next(&held, today, |_| false).is_some();
                (held, next, is_waiting)
            };
            match self.holdings.ask(choose).await {
                (held, Some(given_up), _) => self.give_up(given_up, &held).await?,
                (_, None, true) => return Ok(Standing::Waiting),
                (_, None, false) => return Ok(Standing::Over),
            }
        }
    }

    async fn give_up(&self, given_up: GivenUp, held: &[Held]) -> Result<(), ClickHouseError> {
        if let GivenUp::Minutes(day) = given_up {
            // Before the rows go: whoever looks for them must not take it for a loss.
            on_disk(&self.state, move |state| state.give_up_minutes(day)).await?;
            self.holdings.give_up_minutes(day.saturating_add(1));
        }
        for table in budget::drop_given_up(&self.clickhouse, given_up, held).await? {
            counter!(names::CLICKHOUSE_GIVEN_UP, "table" => table).increment(1);
        }
        let (what, day) = match given_up {
            GivenUp::Minutes(day) => ("minutes of a day", day),
            GivenUp::Hours(day) => ("hours of a week", day),
        };
        tracing::warn!(
            what,
            from = crate::persist::repair::date(day),
            budget_bytes = self.budget_bytes,
            "the tables were over clickhouse_budget: the oldest rows are given up"
        );
        Ok(())
    }
}

/// Shows what each table takes; bytes in all.
fn measure(held: &[Held]) -> u64 {
    let mut tables: BTreeMap<&str, u64> = BTreeMap::new();
    for partition in held {
        *tables.entry(&partition.of_table).or_default() += partition.bytes;
    }
    for table in budget::DAILY.into_iter().chain([budget::WEEKLY]) {
        let bytes = tables.get(table).copied().unwrap_or(0);
        gauge!(names::CLICKHOUSE_BYTES, "table" => table).set(to_float(bytes));
    }
    tables.values().sum()
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
