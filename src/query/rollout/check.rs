//! What a release would meet with on this fleet, before it comes: limits that are broken already, how often one that does
//! nothing would fail, and what a slower one is found by.

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::SparseHistogram;

use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};
use crate::query::rollout::situation::Situation;
use crate::query::rollout::verdict_answer::PlaceboAnswer;
use crate::query::rollout::{Judge, evidence, passed_hour};
use crate::rollout::evidence::{Count, Evidence, Store, merged, p95_of};
use crate::rollout::groups::Group;
use crate::rollout::placebo::{Placebo, placebo};
use crate::rollout::windows::stores_of_step;
use crate::rollout::{Look, Plan};

/// The looks at which it is tried: after an hour, four hours and a day.
const LOOKS: [Look; 3] = [Look(0), Look(2), Look(5)];

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutCheckAnswer")]
pub struct CheckAnswer {
    /// What a release would be held against; `null`: nobody reports any.
    against: Option<String>,
    /// Stores that run it alone.
    stores: usize,
    /// Limits of the plan that the last day breaks, so that they would not count.
    broken: Vec<Broken>,
    /// Each step of the plan at each look.
    steps: Vec<Step>,
    /// The time of the answer, Unix ms.
    complete_to: i64,
}

/// A limit of the plan that is broken already.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutBrokenLimit")]
struct Broken {
    /// The name of the metric, or of the share.
    metric: String,
    /// `pass` or `rollback`.
    #[schemars(extend("enum" = ["pass", "rollback"]))]
    limit: &'static str,
    /// Where the limit is, in the unit of the metric's name, or as a share of bad ones.
    at: f64,
    /// What the last day comes to, in the same unit.
    now: f64,
}

/// A step of the plan at one look.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutCheckStep")]
struct Step {
    /// The step, percent of the stores.
    step_percent: u32,
    /// Hours from the beginning of the step to the look.
    look_hours: u32,
    /// How many stores have the release at this step.
    candidates: usize,
    /// What drawn stores come to; `null`: so few stores show nothing.
    #[schemars(with = "Option<PlaceboAnswer<'static>>")]
    draws: Option<serde_json::Value>,
}

/// Reads the parameters: what is held against, if it is not what most terminals run.
///
/// # Errors
/// Says which parameter cannot be read.
pub fn against_of(parameters: &Parameters) -> Result<Option<String>, QueryError> {
    let given = parameters.check(&["against"])?;
    let against = given.get("against")?;
    if against.is_some_and(|against| against.len() > 64) {
        return Err(bad("a release has 1 to 64 bytes"));
    }
    Ok(against.map(str::to_owned))
}

/// Tries it on the last day.
///
/// # Errors
/// When ClickHouse or the state file do not answer.
pub async fn answer(
    judge: &Judge,
    against: Option<String>,
    now_ms: i64,
) -> Result<CheckAnswer, QueryError> {
    let (passed, _) = passed_hour(&judge.sources, now_ms).await?;
    let found = Situation::before_rollout(&judge.sources, against.as_deref(), passed).await?;
    let Some(mut situation) = found else {
        return Ok(CheckAnswer {
            against,
            stores: 0,
            broken: Vec::new(),
            steps: Vec::new(),
            complete_to: now_ms,
        });
    };
    let groups = situation.groups.values();
    let stores = groups.filter(|group| **group == Group::Control).count();
    let (mut steps, mut broken) = (Vec::new(), Vec::new());
    for look in LOOKS {
        situation = situation.at_look(look);
        let evidence = Evidence {
            against: situation.against.clone(),
            look: Some(look),
            stores: evidence::stores(&judge.sources, &judge.plan, &situation).await?,
            ..Evidence::default()
        };
        let plan = std::sync::Arc::clone(&judge.plan);
        let work = move || {
            (
                steps_of(&plan, &evidence, stores),
                broken_of(&plan, &evidence),
            )
        };
        let of_look;
        (of_look, broken) = judge.sources.jobs.run(work).await;
        steps.extend(of_look);
    }
    Ok(CheckAnswer {
        against: situation.against,
        stores,
        broken,
        steps,
        complete_to: now_ms,
    })
}

fn steps_of(plan: &Plan, evidence: &Evidence, stores: usize) -> Vec<Step> {
    let look_hours = evidence.look.map_or(0, Look::hours);
    let steps = plan.steps.iter().map(|step_percent| {
        let candidates = stores_of_step(stores, *step_percent);
        let found: Option<Placebo> = placebo(plan, evidence, candidates);
        let draws = found.as_ref().map(PlaceboAnswer::of);
        Step {
            step_percent: *step_percent,
            look_hours,
            candidates,
            draws: draws.and_then(|draws| serde_json::to_value(draws).ok()),
        }
    });
    steps.collect()
}

/// The limits that all stores together break now.
fn broken_of(plan: &Plan, evidence: &Evidence) -> Vec<Broken> {
    let stores: Vec<&Store> = evidence
        .stores
        .iter()
        .filter(|store| store.group == Group::Control)
        .collect();
    let mut broken = Vec::new();
    let mut hold = |metric: &str, now: Option<f64>, limits: [(&'static str, Option<f64>); 2]| {
        let Some(now) = now else { return };
        for (limit, at) in limits {
            let is_over = at.filter(|at| now > *at);
            broken.extend(is_over.map(|at| Broken {
                metric: metric.to_owned(),
                limit,
                at,
                now,
            }));
        }
    };
    for (metric, criterion) in &plan.values {
        let values = stores.iter().filter_map(|store| store.values.get(metric));
        let all: SparseHistogram = merged(values.map(|values| &values.now));
        let now = p95_of(&all).map(|value| criterion.unit.to_wire(value));
        let limits = [
            ("pass", criterion.green_under),
            ("rollback", criterion.rollback_over),
        ];
        hold(metric, now, limits);
    }
    for (metric, criterion) in &plan.ratios {
        let shares = stores.iter().filter_map(|store| store.shares.get(metric));
        let all = shares
            .map(|shares| shares.now)
            .fold(Count::default(), Count::and);
        let limits = [
            ("pass", Some(criterion.green)),
            ("rollback", criterion.rollback),
        ];
        hold(metric, all.rate(), limits);
    }
    broken
}
