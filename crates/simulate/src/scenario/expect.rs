//! What a scenario expects of the collector, and how each expectation is checked.

use tillwatch_model::metric::to_float;

use crate::query::QueryError;
use crate::report::grouped;
use crate::scenario::exposition::Pages;
use crate::scenario::finding::{Finding, Scene, finding};
use crate::scenario::vitals::Health;
use crate::scenario::windows;

/// What the collector must do.
#[derive(Debug, Clone, Copy)]
pub enum Expectation {
    /// Every batch is acknowledged in the end.
    AllDelivered,
    /// Every acknowledged sample is found once, and percentiles are right.
    FoundOnce,
    /// Each hour of each store holds what was measured in it.
    HoursExact,
    /// What was kept offline does not move live series.
    LiveUnmoved,
    /// The query API shows which release is slow, and by how much.
    ReleaseShows,
    /// Times are corrected where they can be; the rest is rejected and counted.
    ClocksJudged,
    /// What was corrected lies in the minutes in which it was measured.
    WindowsRight,
    /// Every harmful request gets its answer, and is counted.
    HostileRefused,
    /// `serve` stays below so many MiB.
    MemoryUnder(u64),
    /// p95 from the moment a batch was due to its acknowledgement, ms.
    AnsweredWithin(u32),
    /// Failed requests as a share of all.
    ErrorsUnder(f64),
    /// No terminal is told to come again.
    NeverDeferred,
    /// What ClickHouse does not take waits in the outbox, and leaves it.
    OutboxHeld,
    /// The collector counted as accepted what it acknowledged.
    AcceptedAsAcknowledged,
}

impl Expectation {
    /// Whether it is met.
    ///
    /// # Errors
    /// When the query API does not answer.
    pub async fn check(self, scene: &Scene<'_>) -> Result<Finding, QueryError> {
        let counts = &scene.report.counts;
        Ok(match self {
            Self::AllDelivered => finding(
                "every batch is acknowledged",
                format!(
                    "{} of {} batches; {} held, {} refused, {} not made",
                    grouped(counts.batches_acknowledged),
                    grouped(counts.batches_made),
                    grouped(scene.report.batches_held),
                    grouped(counts.batches_refused),
                    grouped(counts.batches_skipped)
                ),
                counts.batches_made > 0
                    && counts.batches_acknowledged == counts.batches_made
                    && counts.batches_skipped == 0,
            ),
            Self::FoundOnce => found_once(scene),
            Self::HoursExact => windows::hours_exact(scene).await?,
            Self::LiveUnmoved => live_unmoved(scene),
            Self::ReleaseShows => windows::release_shows(scene).await?,
            Self::ClocksJudged => clocks_judged(scene),
            Self::WindowsRight => windows::windows_right(scene).await?,
            Self::HostileRefused => hostile_refused(scene),
            Self::MemoryUnder(mebibytes) => memory_under(scene, mebibytes),
            Self::AnsweredWithin(ms) => {
                let times = scene.report.intended_times;
                finding(
                    format!(
                        "p95 from the moment a batch is due to its acknowledgement under {ms} ms"
                    ),
                    times.to_string(),
                    times.count > 0 && times.p95_ms < f64::from(ms),
                )
            }
            Self::ErrorsUnder(share) => {
                let failed = counts.errors() + counts.deferred();
                let ratio = to_float(failed) / to_float(counts.requests.max(1));
                finding(
                    format!(
                        "fewer than {:.1} % of the requests fail or are deferred",
                        share * 100.0
                    ),
                    format!("{} of {}", grouped(failed), grouped(counts.requests)),
                    counts.requests > 0 && ratio < share,
                )
            }
            Self::NeverDeferred => finding(
                "no terminal is told to come again",
                format!(
                    "{} of {} requests",
                    counts.deferred(),
                    grouped(counts.requests)
                ),
                counts.deferred() == 0,
            ),
            Self::OutboxHeld => {
                let [most, last] = scene.outbox_epochs;
                finding(
                    "what ClickHouse does not take waits in the outbox, and leaves it when it can",
                    format!("at most {most} epochs, {last} at the end"),
                    most >= 2.0 && last < 1.0,
                )
            }
            Self::AcceptedAsAcknowledged => {
                let accepted =
                    scene.increase("tillwatch_samples_total", &[("outcome", "accepted")]);
                finding(
                    "the collector counted as accepted what it acknowledged",
                    format!(
                        "{} of {} samples",
                        grouped(accepted),
                        grouped(counts.samples_acknowledged)
                    ),
                    accepted == counts.samples_acknowledged,
                )
            }
        })
    }
}

fn found_once(scene: &Scene<'_>) -> Finding {
    let expected = "every acknowledged sample is found once, percentiles within 0.1 %";
    let Some(comparison) = &scene.report.comparison else {
        return finding(expected, "not compared", false);
    };
    finding(
        expected,
        comparison.to_string(),
        comparison.sent > 0 && comparison.is_good(),
    )
}

fn live_unmoved(scene: &Scene<'_>) -> Finding {
    const METRIC: &str = "inp_ms";
    const SERIES: &str = "pos_web_vitals_inp_seconds_count";
    let metric = scene.fleet.world.mix.position(METRIC);
    let (mut differing, mut fresh, mut kept) = (0, 0, 0);
    for (group, store) in crate::fleet::store_ids(scene.options).iter().enumerate() {
        let at = |pages: &Pages| pages.fleet.sum(SERIES, &[("store_id", store)]);
        let moved = at(scene.after) - at(scene.before);
        let live = scene.fleet.ledger.live(metric, group);
        differing += u64::from((moved - to_float(live)).abs() > 0.5);
        fresh += live;
        kept += scene
            .fleet
            .ledger
            .hours(metric, group)
            .values()
            .sum::<u64>()
            - live;
    }
    finding(
        format!("{METRIC} that was kept offline does not move {SERIES}"),
        format!(
            "{} kept, {} fresh; {differing} stores show another number than their fresh ones",
            grouped(kept),
            grouped(fresh)
        ),
        differing == 0 && fresh > 0 && kept > 0,
    )
}

fn clocks_judged(scene: &Scene<'_>) -> Finding {
    let counts = &scene.report.counts;
    let mut is_met = counts.wrongly_accepted + counts.wrongly_rejected == 0;
    let mut found = Vec::new();
    for reason in ["too_old", "in_future"] {
        let expected = counts.expected_rejections.get(reason).copied().unwrap_or(0);
        let counted = scene.increase("tillwatch_samples_rejected_total", &[("reason", reason)]);
        is_met &= expected > 0 && counted == expected;
        found.push(format!(
            "{reason}: {} of {}",
            grouped(counted),
            grouped(expected)
        ));
    }
    finding(
        "samples that cannot be corrected are rejected by the right reason and counted, and no others",
        format!(
            "{}; {} wrongly rejected, {} wrongly accepted",
            found.join(", "),
            counts.wrongly_rejected,
            counts.wrongly_accepted
        ),
        is_met,
    )
}

fn hostile_refused(scene: &Scene<'_>) -> Finding {
    let expected = "every harmful request gets the answer it must, and is counted";
    let Some(harmed) = scene.harmed else {
        return finding(expected, "there was no hostile terminal", false);
    };
    let mut faults = harmed.surprises.clone();
    for (status, requests) in &harmed.refused {
        let counted = scene.increase(
            "tillwatch_requests_total",
            &[("status", &status.to_string())],
        );
        if counted != *requests {
            faults.push(format!(
                "{requests} requests had to be answered {status}, {counted} counted"
            ));
        }
    }
    for (reason, samples) in &harmed.rejected {
        let counted = scene.increase("tillwatch_samples_rejected_total", &[("reason", reason)]);
        if counted != *samples {
            faults.push(format!(
                "{samples} samples were {reason}, {counted} counted"
            ));
        }
    }
    let [left, ended] = harmed.half_requests;
    if ended < left || left == 0 {
        faults.push(format!(
            "{left} requests were left half-way, {ended} ended by the server"
        ));
    }
    let found = if faults.is_empty() {
        let refused: u64 = harmed.refused.values().sum();
        let rejected: u64 = harmed.rejected.values().sum();
        format!(
            "{} requests, {} refused and {} samples rejected as they must be; {left} half requests ended",
            grouped(harmed.requests),
            grouped(refused),
            grouped(rejected)
        )
    } else {
        faults.join("; ")
    };
    finding(expected, found, faults.is_empty())
}

fn memory_under(scene: &Scene<'_>, mebibytes: u64) -> Finding {
    let expected = format!("`serve` stays under {mebibytes} MiB of memory");
    let most = scene.health.map_or(0, Health::serve_bytes_max);
    if most == 0 {
        // Not the collector's fault: nobody looked.
        return finding(
            expected,
            "not measured: only of an own collector, on Linux",
            true,
        );
    }
    finding(
        expected,
        format!("at most {} MiB", most >> 20),
        most < mebibytes << 20,
    )
}
