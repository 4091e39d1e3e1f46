//! What stands of a release's verdicts as JSON, with every word that was said.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::persist::verdicts::KeptVerdict;
use crate::query::rollout::judged::Judged;
use crate::query::rollout::kept::Standing;
use crate::query::rollout::verdict_answer::VerdictAnswer;
use crate::rollout::{Look, Reason};

/// What stands of a release's verdicts, as it is asked for.
#[derive(Debug, Serialize)]
pub struct RolloutAnswer {
    /// The verdict that stands: a look that failed ends the step.
    verdict: String,
    /// The look that says so; `null`: it was judged now, and is not kept.
    look: Option<LookAnswer>,
    /// How many verdicts of the release late data have changed, at whatever step.
    revisions: usize,
    /// The verdict of that look in full.
    judged: Box<RawValue>,
    /// Every word that was said of the release, the first one first.
    history: Vec<LookAnswer>,
    complete_to: i64,
}

/// One word that was said.
#[derive(Debug, Clone, Serialize)]
pub struct LookAnswer {
    verdict: String,
    /// step (it was reached), look, arrived (the data that were awaited), revised (by late data) or incident.
    occasion: &'static str,
    step_percent: u32,
    against: Option<String>,
    look_hours: Option<u32>,
    judged_at: i64,
    /// The last epoch of this collector that it was judged on.
    epoch: u64,
    /// Samples in its hours.
    samples: u64,
    inputs_hash: String,
}

impl LookAnswer {
    fn of(kept: &KeptVerdict) -> Self {
        let row = &kept.row;
        Self {
            verdict: row.verdict.clone(),
            occasion: row.occasion.name(),
            step_percent: row.step_percent,
            against: Some(row.against.clone()).filter(|against| !against.is_empty()),
            look_hours: row.look.map(|look| Look(look).hours()),
            judged_at: row.judged_at_ms,
            epoch: row.epoch,
            samples: row.counts,
            inputs_hash: format!("{:016x}", row.inputs_hash),
        }
    }
}

impl RolloutAnswer {
    /// What stands in the state file.
    ///
    /// # Errors
    /// When what was kept is no JSON.
    pub fn kept(standing: &Standing<'_>, complete_to: i64) -> Result<Self, serde_json::Error> {
        Ok(Self {
            verdict: standing.verdict.name().to_owned(),
            look: Some(LookAnswer::of(standing.deciding)),
            revisions: standing.revisions,
            judged: RawValue::from_string(standing.deciding.row.result.clone())?,
            history: standing.all.iter().map(LookAnswer::of).collect(),
            complete_to,
        })
    }

    /// What was judged now, beside what was said before.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn now(
        judged: &Judged,
        all: &[KeptVerdict],
        complete_to: i64,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            verdict: judged.judgement.verdict.name().to_owned(),
            look: None,
            revisions: 0,
            judged: serde_json::value::to_raw_value(&VerdictAnswer::of(judged))?,
            history: all.iter().map(LookAnswer::of).collect(),
            complete_to,
        })
    }

    /// The step that is asked for has not been reached.
    #[must_use]
    pub fn not_reached(
        release: &str,
        (asked_percent, percent): (u32, Option<u32>),
        all: &[KeptVerdict],
        complete_to: i64,
    ) -> Self {
        let judged = percent.map_or_else(
            || "nothing is judged of it yet".to_owned(),
            |percent| format!("the step of {percent} % is judged"),
        );
        let text = format!(
            "The release is not known to have reached {asked_percent} % of the stores; {judged}."
        );
        let verdict = "hold";
        let judged = serde_json::json!({
            "verdict": verdict,
            "reasons": [{"code": "step_not_reached", "text": text}],
            "release": release,
            "explained": format!("HOLD  {release}, step {asked_percent} %\n      {text}"),
        });
        Self {
            verdict: verdict.to_owned(),
            look: None,
            revisions: 0,
            judged: serde_json::value::to_raw_value(&judged).unwrap_or_default(),
            history: all.iter().map(LookAnswer::of).collect(),
            complete_to,
        }
    }

    /// No terminal reports the release, or it is not being rolled out.
    #[must_use]
    pub fn unknown(release: &str, is_reported: bool, complete_to: i64) -> Self {
        let reason = Reason::NoCandidates;
        let (code, text) = if is_reported {
            let text = "The release is not being rolled out: it was first seen over four weeks ago, or no other was seen for a day before it.";
            ("no_rollout", text.to_owned())
        } else {
            (reason.code(), reason.to_string())
        };
        let judged = serde_json::json!({
            "verdict": "not_judged",
            "reasons": [{"code": code, "text": text}],
            "release": release,
            "explained": format!("NOT JUDGED  {release}\n      {text}"),
        });
        Self {
            verdict: "not_judged".to_owned(),
            look: None,
            revisions: 0,
            judged: serde_json::value::to_raw_value(&judged).unwrap_or_default(),
            history: Vec::new(),
            complete_to,
        }
    }
}
