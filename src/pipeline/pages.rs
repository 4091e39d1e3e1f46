//! `/metrics` and `/metrics/fleet`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use metrics::gauge;
use tillwatch_journal::{Journal, Recovery};
use tillwatch_model::metric::to_float;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::export::{self, Format, Taking, negotiate};
use crate::holdings::Holdings;
use crate::intake::{Acknowledgement, Intake};
use crate::pipeline::apply::{Backlog, GROUPS_MAX};
use crate::pipeline::disk::DiskLook;
use crate::pipeline::process;
use crate::recorder;
use crate::room::Room;
use crate::self_metrics as names;
use crate::tasks::Tasks;
use crate::world::World;

/// How long a page waits for what has just been acknowledged to be applied.
const APPLIED_MAX: Duration = Duration::from_secs(1);

/// Pages rendered at once; a large one takes as many megabytes as it has.
static RENDERS: Semaphore = Semaphore::const_new(4);
/// How long a page waits for its turn.
const RENDER_WAIT_MAX: Duration = Duration::from_secs(10);

/// What the pages are made of.
pub(super) struct Pages {
    /// The recorder.
    pub recorder: recorder::Handle,
    /// What is held.
    pub holdings: Arc<Holdings>,
    /// The time, and the threads where pages are rendered.
    pub world: World,
    /// What only the disk can tell.
    pub disk: DiskLook,
    /// The journal.
    pub journal: Journal<Acknowledgement>,
    /// What has been seen.
    pub intake: Arc<Intake>,
    /// Memory for requests under way.
    pub room: Arc<Room>,
    /// Groups that wait for the aggregate.
    pub backlog: Arc<Backlog>,
    /// Whether those who ask for protobuf get it, with native histograms.
    pub native_histograms: bool,
    /// The outbox's budget.
    pub outbox_budget_bytes: Arc<AtomicU64>,
}

/// The routes.
pub(super) fn router(pages: Arc<Pages>) -> Router {
    let own = Arc::clone(&pages);
    let own = move |headers| page(Arc::clone(&own), &OWN, headers);
    let fleet = move |headers| page(Arc::clone(&pages), &FLEET, headers);
    Router::new()
        .route("/metrics", get(own))
        .route("/metrics/fleet", get(fleet))
}

/// A page: what it is called in metrics, and how it is made for what a client takes.
struct Page {
    name: &'static str,
    looks_at_disk: bool,
    render: fn(&Pages, Option<&str>) -> Option<Rendered>,
}

/// A content type and the page.
type Rendered = (&'static str, Vec<u8>);

const OWN: Page = Page {
    name: "own",
    looks_at_disk: true,
    render: Pages::own,
};
const FLEET: Page = Page {
    name: "fleet",
    looks_at_disk: false,
    render: Pages::fleet,
};

/// Renders on a thread of its own: those of the runtime that may block are few, and while the disk
/// hangs all of them may wait for it.
async fn page(pages: Arc<Pages>, page: &'static Page, headers: HeaderMap) -> Response {
    // What was acknowledged before a scrape is on its page; a page that is late is better than none.
    let durable = pages.journal.durable().0;
    let applied = pages.holdings.wait_applied(durable);
    let _is_late = tokio::time::timeout(APPLIED_MAX, applied).await.is_err();
    if page.looks_at_disk {
        pages.disk.refresh().await;
    }
    let Ok(Ok(permit)) = tokio::time::timeout(RENDER_WAIT_MAX, RENDERS.acquire()).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let started = Instant::now();
    let tasks = pages.world.tasks.clone();
    let rendered = on_a_thread(&tasks, permit, move || {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (content_type, body) = (page.render)(&pages, text(ACCEPT))?;
        metrics::histogram!(names::PAGE_SECONDS, "page" => page.name).record(started.elapsed());
        gauge!(names::PAGE_BYTES, "page" => page.name).set(to_float(body.len() as u64));
        let is_gzip = negotiate::takes_gzip(text(ACCEPT_ENCODING));
        let body = if is_gzip {
            negotiate::gzip(&body)
        } else {
            body
        };
        Some((content_type, is_gzip, body))
    });
    match rendered.await {
        Some((content_type, is_gzip, body)) => {
            let encoding = is_gzip.then_some((CONTENT_ENCODING, "gzip"));
            let headers = [
                (CONTENT_TYPE, content_type),
                (VARY, "accept, accept-encoding"),
            ];
            (AppendHeaders(encoding), headers, body).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn on_a_thread<T: Send + 'static>(
    tasks: &Tasks,
    permit: SemaphorePermit<'static>,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let render = move || {
        // What is counted of the runtime is looked up in it.
        let _entered = runtime.enter();
        let outcome = work();
        drop(permit);
        // Whoever asked may have gone.
        let _gone = sender.send(outcome);
    };
    tasks.thread_for_client("page", render).ok()?;
    receiver.await.ok().flatten()
}

/// What a start found, once.
pub fn note_recovery(recovery: &Recovery, now_ms: i64) {
    gauge!(names::RECOVERY_TORN).set(to_float(recovery.torn.records));
    gauge!(names::RECOVERY_DAMAGED).set(to_float(recovery.damaged.records));
    gauge!(names::RECOVERY_DAMAGED_SEGMENTS).set(to_float(recovery.damaged_segments()));
    gauge!(names::RECOVERY_SECONDS).set(recovery.duration.as_secs_f64());
    gauge!(names::UPTIME).set(to_float(now_ms.max(0).cast_unsigned()) / 1_000.0);
}

impl Pages {
    fn fleet(&self, accept: Option<&str>) -> Option<Rendered> {
        let now_ms = self.world.clock.now_ms();
        let mut taking = Taking::new(now_ms);
        self.holdings
            .read_in_pieces(|aggregator| taking.look(aggregator));
        let snapshot = self.holdings.read(|aggregator| taking.finish(aggregator));
        let format = Format::accepted(accept, self.native_histograms);
        Some((
            format.content_type(),
            export::render(snapshot, format).ok()?,
        ))
    }

    fn own(&self, _accept: Option<&str>) -> Option<Rendered> {
        self.look_at_aggregate();
        self.look_at_journal();
        self.look_at_clock();
        gauge!(names::OUTBOX_BUDGET)
            .set(to_float(self.outbox_budget_bytes.load(Ordering::Relaxed)));
        process::look_at_process();
        let page = self.recorder.render().into_bytes();
        Some((Format::Text.content_type(), page))
    }

    fn look_at_aggregate(&self) {
        let (totals, rows, counts, terminals, gaps, windows) = self.holdings.read(|aggregator| {
            let terminals = aggregator.terminals();
            (
                aggregator.totals(),
                aggregator.rows(),
                aggregator.name_counts(),
                terminals.len(),
                terminals.gaps(),
                aggregator.live().recent().usage(),
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
            ("overflowed_terminals", totals.terminals_overflowed),
        ] {
            gauge!(names::TOTALS, "what" => what).set(to_float(number));
        }
        gauge!(names::JOURNAL_APPLIED).set(to_float(levels.applied));
        gauge!(names::OPEN_ROWS).set(to_float(rows as u64));
        gauge!(names::STORES).set(to_float(counts.0 as u64));
        gauge!(names::RELEASES).set(to_float(counts.1 as u64));
        gauge!(names::WINDOW_BYTES).set(to_float(windows.bytes as u64));
        gauge!(names::WINDOW_LIMIT).set(to_float(windows.bytes_max as u64));
        gauge!(names::WINDOWS_GIVEN_UP).set(to_float(windows.given_up));
        gauge!(names::TERMINALS).set(to_float(terminals as u64));
        gauge!(names::SEQ_GAPS).set(to_float(gaps.missing));
        gauge!(names::SEQ_LOST).set(to_float(gaps.lost + totals.lost_batches));
        gauge!(names::QUEUES).set(to_float(self.intake.books().dedup.queues() as u64));
        gauge!(names::KEYS).set(to_float(self.intake.books().keys.count() as u64));
        gauge!(names::CONFIRMED_EPOCH).set(to_float(levels.confirmed));
        gauge!(names::SEALED_EPOCH).set(to_float(levels.sealed));
        gauge!(names::DIRTY_HOURS).set(to_float(levels.dirty_hours as u64));
        gauge!(names::UNCHECKED_DAYS).set(to_float(levels.unchecked_days as u64));
    }

    fn look_at_clock(&self) {
        let status = self.world.clock.status();
        let flag = |is_so: bool| f64::from(u8::from(is_so));
        gauge!(names::CLOCK_UNSURE).set(flag(status.doubt.is_some()));
        gauge!(names::CLOCK_SETTLED).set(flag(status.is_settled));
        let (ahead_ms, terminals) = status.fleet.unwrap_or((0, 0));
        let ahead_s = to_float(ahead_ms.unsigned_abs()) / 1_000.0;
        gauge!(names::CLOCK_FLEET_AHEAD).set(if ahead_ms < 0 { -ahead_s } else { ahead_s });
        gauge!(names::CLOCK_FLEET_TERMINALS).set(to_float(terminals as u64));
    }

    fn look_at_journal(&self) {
        let (in_flight, limit) = self.room.used();
        gauge!(names::IN_FLIGHT_BYTES).set(to_float(in_flight as u64));
        gauge!(names::IN_FLIGHT_LIMIT).set(to_float(limit as u64));
        let applied = self.holdings.levels().applied;
        let (groups, lag) = self.backlog.look();
        gauge!(names::APPLY_QUEUE).set(to_float(groups as u64));
        gauge!(names::APPLY_QUEUE_LIMIT).set(to_float(GROUPS_MAX as u64));
        gauge!(names::APPLY_LAG_SECONDS).set(lag.as_secs_f64());
        let stats = self.journal.stats();
        let behind = stats.durable.0.saturating_sub(applied);
        gauge!(names::APPLY_LAG_RECORDS).set(to_float(behind));
        gauge!(names::JOURNAL_QUEUE_LIMIT).set(to_float(self.journal.queue_bytes_max() as u64));
        gauge!(names::JOURNAL_QUEUED).set(to_float(stats.queued_appends as u64));
        gauge!(names::JOURNAL_WRITTEN).set(to_float(stats.written_bytes));
        gauge!(names::JOURNAL_SEGMENTS, "state" => "live").set(to_float(stats.live_segments));
        gauge!(names::JOURNAL_SEGMENTS, "state" => "ready").set(to_float(stats.ready_segments));
        gauge!(names::JOURNAL_SEGMENT_FAILURES).set(to_float(stats.segment_failures));
        gauge!(names::JOURNAL_DURABLE).set(to_float(stats.durable.0));
        gauge!(names::JOURNAL_USED).set(to_float(stats.used_bytes));
        gauge!(names::JOURNAL_BUDGET).set(to_float(stats.budget_bytes));
        gauge!(names::JOURNAL_QUEUE).set(to_float(stats.queued_bytes as u64));
        gauge!(names::JOURNAL_GROUPS).set(to_float(stats.groups));
        gauge!(names::JOURNAL_RECORDS).set(to_float(stats.records));
        gauge!(names::JOURNAL_SYNC_SECONDS).set(stats.sync_time.as_secs_f64());
        gauge!(names::JOURNAL_DISK_WAIT).set(self.journal.disk_wait().as_secs_f64());
        gauge!(names::JOURNAL_HALTED).set(f64::from(u8::from(stats.is_halted)));
        gauge!(names::JOURNAL_FULL).set(f64::from(u8::from(stats.is_full)));
    }
}
