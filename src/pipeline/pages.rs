//! Renders what `/metrics` and `/metrics/fleet` show.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::gauge;
use tillwatch_journal::{Keeper, Recovery};
use tillwatch_model::metric::to_float;
use tokio::runtime::Handle;

use crate::admin::{Page, Rendered, Renders};
use crate::clock::Clock;
use crate::export::{self, Format, Snapshot, Taking};
use crate::fleet::Watch;
use crate::holdings::Holdings;
use crate::intake::Intake;
use crate::intake::held_back;
use crate::intake::shares::What;
use crate::pipeline::apply::{Backlog, GROUPS_MAX};
use crate::pipeline::disk::DiskLook;
use crate::pipeline::process;
use crate::pipeline::rollout_series::Showing;
use crate::recorder;
use crate::room::Room;
use crate::self_metrics as names;

/// How long a page waits for what has just been acknowledged to be applied.
const APPLIED_MAX: Duration = Duration::from_secs(1);

/// What the pages are made of.
pub(super) struct Pages {
    /// The recorder.
    pub recorder: recorder::Handle,
    /// The threads that serve.
    pub runtimes: Vec<Handle>,
    /// The holdings: what is open and what is sealed.
    pub holdings: Arc<Holdings>,
    /// The time.
    pub clock: Clock,
    /// What the silence of terminals is judged by.
    pub watch: Arc<Watch>,
    /// What only the disk can tell.
    pub disk: DiskLook,
    /// The journal.
    pub journal: Keeper,
    /// The intake, which counts what has been seen.
    pub intake: Arc<Intake>,
    /// Memory for requests under way.
    pub room: Arc<Room>,
    /// Groups that wait for the aggregate.
    pub backlog: Arc<Backlog>,
    /// Whether clients that ask for protobuf get it, with native histograms.
    pub native_histograms: bool,
    /// The outbox's budget.
    pub outbox_budget_bytes: Arc<AtomicU64>,
    /// What is shown of rollouts.
    pub showing: Arc<Showing>,
}

/// Sets the gauges of what a start found, once.
pub fn note_recovery(recovery: &Recovery, now_ms: i64) {
    gauge!(names::RECOVERY_TORN).set(to_float(recovery.torn.records));
    gauge!(names::RECOVERY_DAMAGED).set(to_float(recovery.damaged.records));
    gauge!(names::RECOVERY_DAMAGED_SEGMENTS).set(to_float(recovery.damaged_segments()));
    gauge!(names::RECOVERY_SECONDS).set(recovery.duration.as_secs_f64());
    gauge!(names::UPTIME).set(to_float(now_ms.max(0).cast_unsigned()) / 1_000.0);
}

impl Renders for Pages {
    async fn catch_up(&self, page: Page) {
        // A page that is late is better than none.
        let applied = self.holdings.wait_applied(self.journal.durable().0);
        let _is_late = tokio::time::timeout(APPLIED_MAX, applied).await.is_err();
        if page == Page::Own {
            self.disk.refresh().await;
        }
    }

    fn render(&self, page: Page, accept: Option<&str>) -> Option<Rendered> {
        match page {
            Page::Own => Some(Rendered {
                content_type: Format::Text.content_type(),
                body: self.own_text().into_bytes(),
            }),
            Page::Fleet => self.fleet(accept),
        }
    }
}

impl Pages {
    fn snapshot(&self, now_ms: i64) -> Snapshot {
        let mut taking = Taking::new(self.watch.at(now_ms));
        self.holdings
            .read_in_pieces(|aggregator| taking.look(aggregator));
        self.holdings.read(|aggregator| taking.finish(aggregator))
    }

    fn fleet(&self, accept: Option<&str>) -> Option<Rendered> {
        let snapshot = self.snapshot(self.clock.now_ms());
        let format = Format::accepted(accept, self.native_histograms);
        Some(Rendered {
            content_type: format.content_type(),
            body: export::render(snapshot, format).ok()?,
        })
    }

    /// The page on which the collector tells about itself, as text.
    pub(super) fn own_text(&self) -> String {
        self.look_at_aggregate();
        self.look_at_journal();
        self.look_at_clock();
        gauge!(names::OUTBOX_BUDGET)
            .set(to_float(self.outbox_budget_bytes.load(Ordering::Relaxed)));
        process::look_at_process(&self.runtimes);
        let mut page = self.recorder.render();
        self.showing.write(&mut page);
        page
    }

    fn look_at_aggregate(&self) {
        let now_ms = self.clock.now_ms();
        let (totals, rows, counts, terminals, gaps, windows, made) =
            self.holdings.read(|aggregator| {
                let terminals = aggregator.terminals();
                let quota = aggregator.row_quota();
                (
                    aggregator.totals(),
                    aggregator.rows(),
                    aggregator.name_counts(),
                    terminals.len(),
                    terminals.gaps(),
                    aggregator.live().recent().usage(),
                    (quota.largest(now_ms), quota.rows_max()),
                )
            });
        // The levels are all of one moment.
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
        let counted = [
            ("rejected", totals.rejected),
            ("repeated_records", totals.repeated),
            ("unreadable_records", totals.unreadable),
            ("overflowed_batches", totals.overflowed),
            ("overflowed_terminals", totals.terminals_overflowed),
        ];
        for (what, number) in counted.into_iter().chain(totals.later()) {
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
        for (what, name) in What::ALL {
            let usage = self.intake.books().dedup.shares().usage(what);
            gauge!(names::SHARE_HELD, "what" => name).set(to_float(usage.held as u64));
            gauge!(names::SHARE_PLACES, "what" => name).set(to_float(usage.places as u64));
            gauge!(names::SHARE_LARGEST, "what" => name).set(to_float(usage.largest as u64));
        }
        gauge!(names::SHARE_LARGEST, "what" => held_back::WHAT).set(to_float(made.0 as u64));
        gauge!(names::SHARE_PLACES, "what" => held_back::WHAT).set(to_float(made.1 as u64));
        gauge!(names::KEYS).set(to_float(self.intake.books().keys.count() as u64));
        gauge!(names::CONFIRMED_EPOCH).set(to_float(levels.confirmed));
        gauge!(names::SEALED_EPOCH).set(to_float(levels.sealed));
        gauge!(names::DIRTY_HOURS).set(to_float(levels.dirty_hours as u64));
        gauge!(names::UNCHECKED_DAYS).set(to_float(levels.unchecked_days as u64));
    }

    fn look_at_clock(&self) {
        let status = self.clock.status();
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
