//! Reads and checks what was asked about a rollout, and answers.

use std::sync::Arc;

use tillwatch_model::time::HOUR_MS;

use crate::persist::StateError;
use crate::persist::verdicts::KeptVerdict;
use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};
use crate::query::rollout::answer::RolloutAnswer;
use crate::query::rollout::kept::Standing;
use crate::query::rollout::situation::under_way;
use crate::query::rollout::{Asked, Judge, passed_hour};

/// Release names are not longer.
const RELEASE_LENGTH_MAX: usize = 64;

/// A request for a verdict, checked.
#[derive(Debug, Clone)]
pub struct RolloutRequest {
    asked: Asked,
    /// The step that the verdict must be about, or a later one. Unit: percent.
    step_percent: Option<u32>,
}

impl RolloutRequest {
    /// Reads the parameters of a request about a release.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(release: &str, parameters: &Parameters, now_ms: i64) -> Result<Self, QueryError> {
        let given = parameters.check(&["against", "since", "step"])?;
        let named = |name: &str| {
            let is_name = !name.is_empty() && name.len() <= RELEASE_LENGTH_MAX;
            is_name
                .then(|| name.to_owned())
                .ok_or_else(|| bad(format!("a release has 1 to {RELEASE_LENGTH_MAX} bytes")))
        };
        let against = given.get("against")?.map(named).transpose()?;
        if against.as_deref() == Some(release) {
            return Err(bad(
                "against is the release itself; a release is held against another one",
            ));
        }
        let since = given.number("since", 0, usize::try_from(now_ms).unwrap_or(usize::MAX))?;
        // The first full hour.
        let since = since.map(|since| {
            let since_ms = i64::try_from(since).unwrap_or(i64::MAX - HOUR_MS);
            (since_ms + HOUR_MS - 1).div_euclid(HOUR_MS)
        });
        let step = given.number("step", 1, 100)?;
        Ok(Self {
            step_percent: step.and_then(|step| u32::try_from(step).ok()),
            asked: Asked {
                release: named(release)?,
                against,
                since,
                planned: None,
            },
        })
    }
}

/// Answers a request. What was said at the last look is repeated; only who asks for another baseline or another beginning
/// is answered with a verdict of now, which is not kept.
///
/// # Errors
/// When ClickHouse or the state file do not answer.
pub async fn answer(
    judge: &Judge,
    request: &RolloutRequest,
    now_ms: i64,
) -> Result<RolloutAnswer, QueryError> {
    let asked = &request.asked;
    let all = kept(judge, &asked.release).await?;
    let standing = Standing::of(&all).filter(|standing| {
        let against = &standing.deciding.row.against;
        let is_asked_for = asked.against.as_ref().is_none_or(|asked| asked == against);
        asked.since.is_none() && is_asked_for
    });
    let is_reached = |percent: u32| request.step_percent.is_none_or(|asked| asked <= percent);
    let not_reached = |percent: Option<u32>| {
        let steps = (request.step_percent.unwrap_or(100), percent);
        RolloutAnswer::not_reached(&asked.release, steps, &all, now_ms)
    };
    if let Some(standing) = standing {
        let percent = standing.deciding.row.step_percent;
        if !is_reached(percent) {
            return Ok(not_reached(Some(percent)));
        }
        return Ok(RolloutAnswer::kept(&standing, now_ms)?);
    }
    let (passed, _) = passed_hour(&judge.sources, now_ms).await?;
    // What everybody runs is no rollout: whoever shows all releases must not cause a verdict on each.
    let is_usual = asked.against.is_none() && asked.since.is_none();
    if is_usual {
        let (under_way, reported) = under_way(&judge.sources, &judge.plan, passed).await?;
        if !under_way.contains(&asked.release) {
            if request.step_percent.is_some() {
                return Ok(not_reached(None));
            }
            let is_reported = reported.contains(&asked.release);
            return Ok(RolloutAnswer::unknown(&asked.release, is_reported, now_ms));
        }
    }
    match judge.judge(asked, passed, now_ms).await? {
        Some(judged) if !is_reached(judged.situation.step_percent) => {
            Ok(not_reached(Some(judged.situation.step_percent)))
        }
        Some(judged) => Ok(RolloutAnswer::now(&judged, &all, now_ms)?),
        None if request.step_percent.is_some() => Ok(not_reached(None)),
        None => Ok(RolloutAnswer::unknown(&asked.release, false, now_ms)),
    }
}

/// The rows of a release.
async fn kept(judge: &Judge, release: &str) -> Result<Vec<KeptVerdict>, StateError> {
    let (state, release) = (Arc::clone(&judge.sources.state), release.to_owned());
    let read = move || state.verdicts(Some(&release));
    judge.sources.jobs.run(read).await
}
