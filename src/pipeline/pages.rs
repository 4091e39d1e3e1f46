//! `/metrics` and `/metrics/fleet`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::export::{self, Snapshot};
use crate::holdings::Holdings;
use crate::ingest::{Acknowledgement, Dedup};
use crate::journal::{Journal, Recovery};
use crate::model::metric::to_float;
use crate::model::time::now_ms;
use crate::persist::State;
use crate::self_metrics as names;

/// How long a page waits for what has just been acknowledged to be applied.
const APPLIED_MAX: Duration = Duration::from_secs(1);

/// What the pages are made of.
pub struct Pages {
    /// The recorder.
    pub recorder: PrometheusHandle,
    /// What is held.
    pub holdings: Arc<Holdings>,
    /// The outbox.
    pub state: Arc<State>,
    /// The journal.
    pub journal: Journal<Acknowledgement>,
    /// Sequence numbers seen.
    pub dedup: Arc<Dedup>,
    /// The outbox's budget.
    pub outbox_budget_bytes: u64,
}

/// The routes.
pub fn router(pages: Arc<Pages>) -> Router {
    let own = Arc::clone(&pages);
    Router::new()
        .route("/metrics", get(move || page(Arc::clone(&own), Pages::own)))
        .route(
            "/metrics/fleet",
            get(move || page(Arc::clone(&pages), Pages::fleet)),
        )
}

/// Renders where blocking is allowed.
async fn page(pages: Arc<Pages>, render: fn(&Pages) -> Option<(&'static str, String)>) -> Response {
    // What was acknowledged before a scrape is on its page; a page that is late is better than none.
    let durable = pages.journal.durable().0;
    let applied = pages.holdings.wait_applied(durable);
    let _is_late = tokio::time::timeout(APPLIED_MAX, applied).await.is_err();
    match tokio::task::spawn_blocking(move || render(&pages)).await {
        Ok(Some((content_type, text))) => ([(CONTENT_TYPE, content_type)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What a start found, once.
pub fn note_recovery(recovery: &Recovery) {
    gauge!(names::RECOVERY_TORN).set(to_float(recovery.torn.records));
    gauge!(names::RECOVERY_DAMAGED).set(to_float(recovery.damaged.records));
    gauge!(names::RECOVERY_SECONDS).set(recovery.duration.as_secs_f64());
    gauge!(names::UPTIME).set(to_float(now_ms().max(0).cast_unsigned()) / 1_000.0);
}

impl Pages {
    fn fleet(&self) -> Option<(&'static str, String)> {
        let now_ms = now_ms();
        let snapshot = self
            .holdings
            .read(|aggregator| Snapshot::take(aggregator, now_ms));
        Some((export::page::CONTENT_TYPE, export::render(snapshot).ok()?))
    }

    fn own(&self) -> Option<(&'static str, String)> {
        self.look_at_aggregate();
        self.look_at_journal();
        self.look_at_outbox();
        Some((
            "text/plain; version=0.0.4; charset=utf-8",
            self.recorder.render(),
        ))
    }

    fn look_at_aggregate(&self) {
        let (totals, rows, counts, terminals, gaps) = self.holdings.read(|aggregator| {
            let windows = aggregator
                .terminals()
                .iter()
                .flat_map(|(_, terminal)| &terminal.queues);
            let gaps = windows.fold((0, 0), |(open, lost), (_, window)| {
                (open + window.open_gaps(), lost + window.lost())
            });
            let terminals = aggregator.terminals().len();
            (
                aggregator.totals(),
                aggregator.rows(),
                aggregator.name_counts(),
                terminals,
                gaps,
            )
        });
        // Of one moment.
        let levels = self.holdings.levels();
        let sealed = levels.accepted_samples.saturating_sub(levels.open_samples);
        for (place, samples) in [
            ("accepted", levels.accepted_samples),
            ("open", levels.open_samples),
            ("sealed", sealed),
            ("outbox", levels.outbox_samples),
            ("confirmed", sealed.saturating_sub(levels.outbox_samples)),
        ] {
            gauge!(names::LEDGER, "place" => place).set(to_float(samples));
        }
        for (what, number) in [
            ("rejected", totals.rejected),
            ("repeated_records", totals.repeated),
            ("unreadable_records", totals.unreadable),
            ("unknown_metrics", totals.unknown),
            ("overflowed_batches", totals.overflowed),
        ] {
            gauge!(names::TOTALS, "what" => what).set(to_float(number));
        }
        gauge!(names::JOURNAL_APPLIED).set(to_float(levels.applied));
        gauge!(names::OPEN_ROWS).set(to_float(rows as u64));
        gauge!(names::STORES).set(to_float(counts.0 as u64));
        gauge!(names::RELEASES).set(to_float(counts.1 as u64));
        gauge!(names::TERMINALS).set(to_float(terminals as u64));
        gauge!(names::SEQ_GAPS).set(to_float(gaps.0));
        gauge!(names::SEQ_LOST).set(to_float(gaps.1 + totals.lost_batches));
        gauge!(names::QUEUES).set(to_float(self.dedup.queues() as u64));
        gauge!(names::CONFIRMED_EPOCH).set(to_float(levels.confirmed));
        gauge!(names::SEALED_EPOCH).set(to_float(levels.sealed));
        gauge!(names::DIRTY_HOURS).set(to_float(levels.dirty_hours as u64));
        gauge!(names::UNCHECKED_DAYS).set(to_float(levels.unchecked_days as u64));
    }

    fn look_at_journal(&self) {
        let stats = self.journal.stats();
        gauge!(names::JOURNAL_DURABLE).set(to_float(stats.durable.0));
        gauge!(names::JOURNAL_USED).set(to_float(stats.used_bytes));
        gauge!(names::JOURNAL_BUDGET).set(to_float(stats.budget_bytes));
        gauge!(names::JOURNAL_QUEUE).set(to_float(stats.queued_bytes as u64));
        gauge!(names::JOURNAL_GROUPS).set(to_float(stats.groups));
        gauge!(names::JOURNAL_RECORDS).set(to_float(stats.records));
        gauge!(names::JOURNAL_SYNC_SECONDS).set(stats.sync_time.as_secs_f64());
        gauge!(names::JOURNAL_HALTED).set(f64::from(u8::from(stats.is_halted)));
        gauge!(names::JOURNAL_FULL).set(f64::from(u8::from(stats.is_full)));
    }

    fn look_at_outbox(&self) {
        gauge!(names::OUTBOX_BUDGET).set(to_float(self.outbox_budget_bytes));
        match self.state.outbox_totals() {
            Ok(totals) => {
                gauge!(names::OUTBOX_EPOCHS).set(to_float(totals.epochs));
                gauge!(names::OUTBOX_BYTES).set(to_float(totals.bytes));
                let oldest_ms = totals.oldest_ms.unwrap_or(0).max(0).cast_unsigned();
                gauge!(names::OUTBOX_OLDEST).set(to_float(oldest_ms) / 1_000.0);
            }
            Err(error) => tracing::warn!(
                error = crate::logging::chain(&error),
                "the outbox could not be read"
            ),
        }
    }
}
