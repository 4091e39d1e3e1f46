//! Looks at rollouts by itself: whenever an hour has passed and its data are at rest, and whenever an epoch was confirmed
//! since. Each release that is being rolled out is judged if a look is due or something happened that must not, and looks
//! of the last days are judged again if data came late.
//!
//! Nothing here is waited for by a terminal. A ClickHouse that is away costs a line in the log, and another try: the look
//! is judged when it is back, on the hours that it was planned for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tillwatch_model::Catalogue;
use tillwatch_model::metric::to_float;
use tillwatch_model::time::{HOUR_MS, MINUTE_MS};

use crate::config::Config;
use crate::persist::StateError;
use crate::persist::ship::back_off;
use crate::persist::verdicts::{KeptVerdict, Occasion, VerdictRow};
use crate::pipeline::error::ServeError;
use crate::pipeline::rollout_series::{Showing, Shown};
use crate::query::QueryError;
use crate::query::rollout::kept::Standing;
use crate::query::rollout::situation::{Planned, under_way};
use crate::query::rollout::verdict_answer::VerdictAnswer;
use crate::query::rollout::{Asked, Judge, Judged, Situation, passed_hour};
use crate::rollout::{Look, Plan, Reason, Verdict};
use crate::self_metrics as names;
use crate::world::World;

/// How often it is looked whether an hour has passed or an epoch was confirmed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Rollouts that are judged at once, the newest first.
const ROLLOUTS_MAX: usize = 4;
/// A step is looked at for so long; who has not decided by then will not. Unit: hours.
const STEP_HOURS_MAX: i64 = 9 * 24;
/// A rollout that is over is looked at again after so long. Unit: hours.
const OVER_HOURS: i64 = 6;
/// Terminals may be offline for so long: a look is judged again when their data come. Unit: hours.
const LATE_HOURS_MAX: i64 = 8 * 24;
/// Looks of a release that are judged again in one round.
const AGAIN_MAX: usize = 4;
/// Rounds that take long rest within the hour: they take at most one part in so many of the time.
const REST_FACTOR: u32 = 20;
const LONG: Duration = Duration::from_secs(10);
/// Terminals that are awaited are asked after every so often. Unit: ms.
const AWAITED_WAIT_MS: i64 = 10 * MINUTE_MS;
/// A look of which more than one part in so many came late is kept anew, though the word is the same.
const GROWN_PART: u64 = 20;
/// Fewer late samples than one in so many wait until a look has not been judged again for six hours.
const FEW_LATE: u64 = 1_000;
const FEW_LATE_WAIT_MS: i64 = 6 * HOUR_MS;

/// Judges rollouts when a look is due.
pub(super) struct Sweeper {
    pub(super) judge: Judge,
    pub(super) showing: Arc<Showing>,
    pub(super) world: World,
}

/// The plan that releases are judged by.
///
/// # Errors
/// When it cannot be read, or is no plan.
pub fn plan_of(config: &Config, catalogue: &Catalogue) -> Result<Arc<Plan>, ServeError> {
    let Some(path) = &config.rollout.plan else {
        return Ok(Arc::default());
    };
    let fault = |error: String| {
        let shown = path.display();
        ServeError::Setup(format!("rollout_plan: {shown}: {error}"))
    };
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    let plan = Plan::parse(&text, catalogue).map_err(|error| fault(error.to_string()))?;
    Ok(Arc::new(plan))
}

/// What the last round saw.
#[derive(Debug, Default)]
struct Last {
    passed: i64,
    epoch: u64,
    /// Data of past hours that have come since are looked at from this time on.
    again_at: Option<Instant>,
    /// Releases whose rollout was over, and the hour in which that is looked at again: it may reach another step.
    over: BTreeMap<String, i64>,
}

impl Sweeper {
    /// Judges until it is aborted.
    pub(super) async fn run(self) {
        names::start(
            names::ROLLOUT_SWEEPS,
            "result",
            ["ok", "error"],
            &[names::ROLLOUT_SWEEP_SECONDS],
        );
        let (mut last, mut failures) = (Last::default(), 0_u32);
        loop {
            self.judge.sources.clickhouse.wait_prepared().await;
            // A wrong clock judges nothing.
            let pause = if self.world.clock.status().doubt.is_some() {
                LOOK_EVERY
            } else {
                match self.round(&mut last).await {
                    Ok(()) => {
                        failures = 0;
                        LOOK_EVERY
                    }
                    Err(error) => {
                        counter!(names::ROLLOUT_SWEEPS, "result" => "error").increment(1);
                        if failures < 3 || failures.is_multiple_of(30) {
                            tracing::warn!(
                                error = crate::logging::chain(&error),
                                failures,
                                "rollouts were not judged; it is tried again"
                            );
                        }
                        failures = failures.saturating_add(1);
                        last = Last::default();
                        back_off(failures, &self.world.chance).max(LOOK_EVERY)
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks whether there is anything new, and judges it.
    async fn round(&self, last: &mut Last) -> Result<(), QueryError> {
        let now_ms = self.world.clock.now_ms();
        let (passed, epoch) = passed_hour(&self.judge.sources, now_ms).await?;
        let may_again = last.again_at.is_none_or(|at| at <= Instant::now());
        if passed > last.passed || (epoch > last.epoch && may_again) {
            let began = Instant::now();
            let mut over = std::mem::take(&mut last.over);
            self.sweep(&mut over, passed, epoch).await?;
            let took = began.elapsed();
            counter!(names::ROLLOUT_SWEEPS, "result" => "ok").increment(1);
            histogram!(names::ROLLOUT_SWEEP_SECONDS).record(took.as_secs_f64());
            *last = Last {
                passed,
                epoch,
                again_at: (took >= LONG).then(|| began + took * REST_FACTOR),
                over,
            };
        }
        let swept_ms = self.world.clock.now_ms().max(0).unsigned_abs();
        gauge!(names::ROLLOUT_SWEPT).set(to_float(swept_ms) / 1_000.0);
        Ok(())
    }

    /// Judges every rollout.
    async fn sweep(
        &self,
        over: &mut BTreeMap<String, i64>,
        passed: i64,
        epoch: u64,
    ) -> Result<(), QueryError> {
        let judge = &self.judge;
        let (releases, _) = under_way(&judge.sources, &judge.plan, passed).await?;
        let mut shown = Vec::new();
        over.retain(|release, _| releases.contains(release));
        for release in releases {
            if shown.len() == ROLLOUTS_MAX {
                break;
            }
            let is_planned = judge.plan.release.as_ref();
            let is_planned = is_planned.is_none_or(|planned| *planned == release);
            let rests = over.get(&release).is_some_and(|again| passed < *again);
            if rests || !is_planned {
                continue;
            }
            let asked = Asked {
                release,
                ..Asked::default()
            };
            let Some(situation) = judge.situation(&asked, passed).await? else {
                continue;
            };
            let is_over = passed - situation.start > STEP_HOURS_MAX;
            if is_over || situation.against.is_none() {
                over.insert(asked.release, passed + OVER_HOURS);
                continue;
            }
            shown.push(self.sweep_one(situation, passed, epoch).await?);
        }
        self.showing.show(shown);
        Ok(())
    }

    /// Judges one rollout if a look is due, and its earlier looks if data came late.
    async fn sweep_one(
        &self,
        situation: Situation,
        passed: i64,
        epoch: u64,
    ) -> Result<Shown, QueryError> {
        let release = situation.release.clone();
        let kept = self.kept(&release).await?;
        let before = Shown::of_situation(&situation);
        let is_incident = self.judge.has_incident(&release, situation.first, passed);
        let is_incident = is_incident.await? && !is_failed(&kept);
        let occasion = match situation.look {
            Some(look) if !is_kept(&kept, &situation, Some(look)) => Some(Occasion::Look),
            _ if is_incident => Some(Occasion::Incident),
            // Else the verdict on the step before would seem to be about this one.
            None if !is_kept(&kept, &situation, None) => Some(Occasion::Step),
            _ => None,
        };
        if let Some(occasion) = occasion {
            let now_ms = self.world.clock.now_ms();
            let judged = self
                .judge
                .judge_situation(situation, passed, now_ms)
                .await?;
            self.keep(&judged, occasion, epoch).await?;
        }
        self.judge_again(&release, passed, epoch).await?;
        let kept = self.kept(&release).await?;
        let Some(standing) = Standing::of(&kept) else {
            return Ok(before);
        };
        let shown = before.is_of(&standing.latest.row);
        let shown = shown.then(|| Shown::of_kept(&standing)).flatten();
        Ok(shown.unwrap_or_else(|| before.revised_as(&standing)))
    }

    /// Judges looks of the last days again whose hours have got more samples, or that awaited terminals.
    async fn judge_again(&self, release: &str, passed: i64, epoch: u64) -> Result<(), QueryError> {
        let kept = self.kept(release).await?;
        // Each look as it was judged last, the latest first.
        let mut looks: BTreeMap<(i64, Option<u32>), &KeptVerdict> = BTreeMap::new();
        for kept in &kept {
            let row = &kept.row;
            if row.look.is_some() && passed - row.hours.end <= LATE_HOURS_MAX {
                looks.insert((row.hours.start, row.look), kept);
            }
        }
        let Some(from) = looks.values().map(|kept| kept.row.hours.start).min() else {
            return Ok(());
        };
        let hourly = self.judge.hourly(from..passed).await?;
        let latest = looks.keys().next_back().copied();
        let (mut again, now_ms) = (0, self.world.clock.now_ms());
        for (key, kept) in looks.into_iter().rev() {
            let counts = count(&hourly, &kept.row.hours);
            let is_awaiting = kept.row.is_awaiting
                && Some(key) == latest
                && now_ms - kept.checked_at_ms >= AWAITED_WAIT_MS;
            if again == AGAIN_MAX || !(is_awaiting || is_worth(kept, counts, now_ms)) {
                continue;
            }
            again += 1;
            self.judge_once_more(kept, counts, (passed, epoch)).await?;
        }
        Ok(())
    }

    async fn judge_once_more(
        &self,
        kept: &KeptVerdict,
        counts: u64,
        (passed, epoch): (i64, u64),
    ) -> Result<(), QueryError> {
        let row = &kept.row;
        let asked = Asked {
            release: row.release.clone(),
            against: Some(row.against.clone()).filter(|against| !against.is_empty()),
            since: None,
            planned: Some(Planned {
                step_percent: row.step_percent,
                start: row.hours.start,
                look: row.look.map(Look),
            }),
        };
        let now_ms = self.world.clock.now_ms();
        let Some(judged) = self.judge.judge(&asked, passed, now_ms).await? else {
            return Ok(());
        };
        let (state, id) = (Arc::clone(&self.judge.sources.state), kept.id);
        let check = move || state.check_verdict(id, counts, now_ms);
        self.judge.sources.jobs.run(check).await?;
        let is_changed = judged.judgement.verdict.name() != row.verdict;
        let has_arrived = row.is_awaiting && !is_awaiting(&judged);
        // The same word on much more data: whoever asks why is to see these.
        let has_grown = counts > row.counts && counts - row.counts > row.counts / GROWN_PART;
        if is_changed && !row.is_awaiting {
            self.keep(&judged, Occasion::Revised, epoch).await?;
        } else if is_changed || has_arrived || has_grown {
            self.keep(&judged, Occasion::Arrived, epoch).await?;
        }
        Ok(())
    }

    async fn kept(&self, release: &str) -> Result<Vec<KeptVerdict>, StateError> {
        let (state, release) = (Arc::clone(&self.judge.sources.state), release.to_owned());
        let read = move || state.verdicts(Some(&release));
        self.judge.sources.jobs.run(read).await
    }

    async fn keep(
        &self,
        judged: &Judged,
        occasion: Occasion,
        epoch: u64,
    ) -> Result<(), QueryError> {
        let windows = judged.situation.windows();
        let hours = if judged.judgement.look.is_some() {
            windows.now()
        } else {
            windows.start..windows.start
        };
        let hourly = self.judge.hourly(hours.clone()).await?;
        let row = VerdictRow {
            release: judged.judgement.release.clone(),
            against: judged.judgement.against.clone().unwrap_or_default(),
            step_percent: judged.judgement.step_percent,
            look: judged.judgement.look.map(|look| look.0),
            occasion,
            judged_at_ms: self.world.clock.now_ms(),
            epoch,
            counts: count(&hourly, &hours),
            hours,
            inputs_hash: judged.inputs_hash,
            verdict: judged.judgement.verdict.name().to_owned(),
            is_awaiting: is_awaiting(judged),
            result: serde_json::to_string(&VerdictAnswer::of(judged))?,
        };
        tracing::info!(
            release = row.release,
            against = row.against,
            step_percent = row.step_percent,
            look_hours = judged.judgement.look.map(Look::hours),
            verdict = row.verdict,
            occasion = occasion.name(),
            "judged a rollout"
        );
        let state = Arc::clone(&self.judge.sources.state);
        let add = move || state.add_verdict(&row);
        Ok(self.judge.sources.jobs.run(add).await?)
    }
}

/// Whether a look was judged before. Rows of a step that began at another hour are of another step.
fn is_kept(kept: &[KeptVerdict], situation: &Situation, look: Option<Look>) -> bool {
    let against = situation.against.as_deref().unwrap_or_default();
    kept.iter().any(|kept| {
        let row = &kept.row;
        row.against == against
            && row.step_percent == situation.step_percent
            && row.look >= look.map(|look| look.0)
    })
}

fn is_failed(kept: &[KeptVerdict]) -> bool {
    Standing::of(kept).is_some_and(|standing| standing.verdict == Verdict::Fail)
}

/// Whether it is no pass because data are awaited.
fn is_awaiting(judged: &Judged) -> bool {
    let reasons = &judged.judgement.reasons;
    reasons
        .iter()
        .any(|reason| matches!(reason, Reason::Incomplete { .. }))
}

/// How many samples these hours have.
fn count(hourly: &[(i64, u64)], hours: &std::ops::Range<i64>) -> u64 {
    let of_hours = hourly.iter().filter(|(hour, _)| hours.contains(hour));
    of_hours.map(|(_, count)| count).sum()
}

/// Whether enough data came late for a look to be judged again now.
fn is_worth(kept: &KeptVerdict, counts: u64, now_ms: i64) -> bool {
    let late = counts.abs_diff(kept.checked_counts);
    let is_long_ago = now_ms - kept.checked_at_ms >= FEW_LATE_WAIT_MS;
    late > 0 && (is_long_ago || late.saturating_mul(FEW_LATE) >= counts)
}
