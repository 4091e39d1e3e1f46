//! Keeps shipping: migrates, guards against reused epochs, ships, backs off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tillwatch_model::metric::to_float;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::holdings::Holdings;
use crate::persist::rebuild::hourly_table;
use crate::persist::ship::{back_off, guard_epochs, on_disk, ship_once};
use crate::persist::{ClickHouse, ClickHouseError, State, expiry, migrate};
use crate::self_metrics as names;
use crate::world::World;

/// How often blobs, ledger rows and session keys whose time is over are deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How often ClickHouse is looked at when there is nothing to ship.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// Ships the outbox.
#[derive(Debug)]
pub struct Shipper {
    /// The ClickHouse that the outbox is sent to.
    pub clickhouse: ClickHouse,
    /// The state file that the outbox is in.
    pub state: Arc<State>,
    /// The holdings that are told what is confirmed.
    pub holdings: Arc<Holdings>,
    /// The clock and the random numbers.
    pub world: World,
    /// Set while the outbox is over its budget.
    pub is_outbox_full: Arc<AtomicBool>,
    /// The most bytes that may wait in the outbox.
    pub budget_bytes: Arc<AtomicU64>,
    /// Whether ClickHouse is the embedded engine, whose clock is that of this machine.
    pub is_embedded: bool,
    /// Whether the tables are there and the epochs' numbers have not been used by another copy of the
    /// state file. Nothing is sent before.
    pub is_prepared: AtomicBool,
}

/// The embedded engine may never come up; the outbox is looked at meanwhile.
const ENGINE_WAIT: Duration = Duration::from_secs(5);

impl Shipper {
    /// Ships whenever there is something, until `stopping` turns true.
    pub async fn run(self: Arc<Self>, wanted: Arc<Notify>, mut stopping: watch::Receiver<bool>) {
        names::start(
            names::SHIP_ROUNDS,
            "result",
            ["ok", "error"],
            &[names::SHIP_SECONDS],
        );
        let failures_now = metrics::gauge!(names::SHIP_FAILURES);
        let mut failures = 0_u32;
        let mut expired: Option<Instant> = None;
        loop {
            let result = tokio::select! {
                result = self.round(failures > 0) => result,
                // Whatever is under way may be sent again.
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            self.look_at_budget().await;
            let pause = match &result {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE_LOOK,
                Err(_) => back_off(failures, &self.world.chance),
            };
            match &result {
                Ok(_) => {
                    if failures > 0 {
                        tracing::info!("ClickHouse answers again");
                    }
                    failures = 0;
                    metrics::gauge!(names::CLICKHOUSE_UP).set(1.0);
                }
                Err(error) => {
                    metrics::counter!(names::SHIP_ROUNDS, "result" => "error").increment(1);
                    metrics::gauge!(names::CLICKHOUSE_UP).set(0.0);
                    // Each doubling of the pause is worth one line.
                    if failures == 10 {
                        tracing::error!(
                            error = crate::logging::chain(&error),
                            "nothing has been shipped for ten tries; the outbox grows until a person looks"
                        );
                    } else if failures < 7 || failures.is_multiple_of(30) {
                        tracing::warn!(
                            error = crate::logging::chain(error),
                            failures,
                            "not shipped; it is tried again"
                        );
                    }
                    // After a refusal the tables may be gone, with an empty database instead.
                    if !error.is_passing() || matches!(error, ClickHouseError::Refused(_)) {
                        self.is_prepared.store(false, Ordering::Relaxed);
                    }
                    failures = failures.saturating_add(1);
                }
            }
            failures_now.set(failures);
            // Also soon after each start: a key's time may have run out while nothing ran. Not before the clock
            // is known to be right: what is destroyed does not come back.
            let is_due = expired.is_none_or(|last: Instant| last.elapsed() >= EXPIRE_EVERY);
            if is_due && self.world.clock.is_settled() {
                expired = Some(Instant::now());
                self.expire_rows().await;
                let now_ms = self.world.clock.now_ms();
                if let Err(error) = on_disk(&self.state, move |state| state.expire(now_ms)).await {
                    tracing::warn!(
                        error = crate::logging::chain(&error),
                        "old epochs and session keys could not be deleted"
                    );
                }
            }
            if pause.is_zero() && !*stopping.borrow() {
                continue;
            }
            let is_over = Instant::now() + pause;
            let is_engine_away = matches!(result, Err(ClickHouseError::NotReady));
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(is_over) => break,
                    // The engine says itself when it is back.
                    () = self.clickhouse.wait(), if is_engine_away => break,
                    () = wanted.notified() => {}
                    _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
                }
                if failures == 0 {
                    break;
                }
                // While failing, a new epoch is no reason to knock sooner; but it may have used up the
                // budget.
                self.look_at_budget().await;
            }
        }
    }

    /// Drops what the embedded engine holds of days that are over.
    async fn expire_rows(&self) {
        if !self.is_embedded || !self.is_prepared.load(Ordering::Relaxed) {
            return;
        }
        match expiry::drop_expired(&self.clickhouse, self.world.clock.now_ms()).await {
            Ok(0) => {}
            Ok(partitions) => tracing::info!(partitions, "dropped rows older than 90 days"),
            Err(error) => tracing::warn!(
                error = crate::logging::chain(&error),
                "rows older than 90 days could not be dropped; it is tried again"
            ),
        }
    }

    /// Ships once, and says whether that confirmed anything.
    async fn round(&self, is_retry: bool) -> Result<bool, ClickHouseError> {
        self.prepare().await?;
        self.ship(is_retry).await
    }

    /// Makes sure that shipping is safe.
    async fn prepare(&self) -> Result<(), ClickHouseError> {
        if self.is_prepared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let is_there = tokio::time::timeout(ENGINE_WAIT, self.clickhouse.wait()).await;
        if is_there.is_err() {
            return Err(ClickHouseError::NotReady);
        }
        let migrated = migrate::migrate(&self.clickhouse).await?;
        if !migrated.applied.is_empty() {
            tracing::info!(applied = ?migrated.applied, "migrated the database");
        }
        self.tell_what_is_gone(&migrated).await?;
        if self.is_embedded {
            expiry::forget_ttl(&self.clickhouse).await?;
        }
        // Before anybody reads: of a table that this state file has not filled, no hour is known.
        let table = hourly_table(&self.clickhouse).await?;
        if on_disk(&self.state, move |state| state.note_hourly_table(&table)).await? {
            let days = on_disk(&self.state, State::unchecked_days).await?;
            self.holdings
                .ask(move |holdings| holdings.uncheck(&days))
                .await;
        }
        self.clickhouse.set_prepared();
        guard_epochs(&self.clickhouse, &self.state).await?;
        self.is_prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Tables that were there once, and data with them, are a person's concern.
    async fn tell_what_is_gone(&self, migrated: &migrate::Migrated) -> Result<(), ClickHouseError> {
        let sent_epoch = on_disk(&self.state, State::sent_epoch).await?;
        let is_empty = migrated.before == 0 && sent_epoch > 0;
        let tables = migrated.made_again.len() + if is_empty { migrated.applied.len() } else { 0 };
        metrics::gauge!(names::TABLES_MADE_AGAIN).set(to_float(tables as u64));
        if !migrated.made_again.is_empty() {
            tracing::error!(
                made_again = ?migrated.made_again,
                "tables, views or functions were gone from the database and are made again, empty; `tillwatch audit` \
                 says which rows are missing, `audit --repair` sends those that are still kept"
            );
        }
        if is_empty {
            tracing::error!(
                sent_epoch,
                "the database is new to tillwatch, though epochs up to this one have been sent: its data are gone, or \
                 it is another one; if nobody meant it, `tillwatch audit` says what is missing, `audit --repair` sends \
                 what is still kept"
            );
        }
        Ok(())
    }

    /// Ships what is left, at the end.
    ///
    /// # Errors
    /// As [`Shipper::ship`]; nothing is sent that [`Shipper::run`] would not have sent.
    pub async fn ship_rest(&self) -> Result<(), ClickHouseError> {
        self.prepare().await?;
        while self.ship(true).await? {}
        Ok(())
    }

    /// Ships once and notes what came of it.
    ///
    /// # Errors
    /// When ClickHouse or the state file fail, or ClickHouse does not hold what it took.
    pub async fn ship(&self, is_retry: bool) -> Result<bool, ClickHouseError> {
        let started = Instant::now();
        let shipped = ship_once(&self.clickhouse, &self.state, &self.world.clock, is_retry).await?;
        if let Some(last) = shipped.confirmed.last() {
            let last = *last;
            let confirm = move |holdings: &Holdings| holdings.confirmed(last);
            self.holdings.ask(confirm).await;
            metrics::counter!(names::SHIPPED_ROWS).increment(shipped.rows);
            metrics::counter!(names::SHIP_ROUNDS, "result" => "ok").increment(1);
            metrics::histogram!(names::SHIP_SECONDS).record(started.elapsed());
            for (stage, spent) in ["insert", "read_back", "confirm"].iter().zip(shipped.spent) {
                metrics::histogram!(names::SHIP_STAGE_SECONDS, "stage" => *stage).record(spent);
            }
            tracing::debug!(epochs = ?shipped.confirmed, rows = shipped.rows, "confirmed");
            return Ok(true);
        }
        if shipped.rows > 0 {
            return Err(ClickHouseError::NotHeld);
        }
        Ok(false)
    }

    async fn look_at_budget(&self) {
        match on_disk(&self.state, State::outbox_totals).await {
            Ok(totals) => {
                let is_full = totals.bytes >= self.budget_bytes.load(Ordering::Relaxed);
                if is_full && !self.is_outbox_full.swap(is_full, Ordering::Relaxed) {
                    tracing::error!(
                        bytes = totals.bytes,
                        "the outbox is over its budget: terminals are answered 503"
                    );
                }
                self.is_outbox_full.store(is_full, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(
                error = crate::logging::chain(&error),
                "the outbox could not be read"
            ),
        }
    }
}
