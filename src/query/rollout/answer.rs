//! What stands of a release's verdicts as JSON, with every word that was said.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::persist::verdicts::{KeptVerdict, Occasion};
use crate::query::rollout::judged::Judged;
use crate::query::rollout::kept::Standing;
use crate::query::rollout::verdict_answer::{ReasonAnswer, VerdictAnswer};
use crate::rollout::verdict::Verdict;
use crate::rollout::{Look, Reason};

/// What stands of a release's verdicts, as it is asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RolloutAnswer {
    /// The verdict that stands: a look that failed ends the step.
    #[schemars(extend("enum" = Verdict::ALL.map(Verdict::name)))]
    verdict: String,
    /// The look that says so; `null`: it was judged now, and is not kept.
    look: Option<LookAnswer>,
    /// How many verdicts of the release late data have changed, at whatever step.
    revisions: usize,
    /// The verdict of that look in full, or in short if there is nothing to judge.
    #[schemars(with = "JudgedAnswer")]
    judged: Box<RawValue>,
    /// Every word that was said of the release, the first one first.
    history: Vec<LookAnswer>,
    /// The time of the answer, Unix ms.
    complete_to: i64,
}

/// A verdict in full or in short.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "RolloutJudged")]
#[expect(
    dead_code,
    reason = "says in the OpenAPI document what `RolloutAnswer::judged` holds"
)]
enum JudgedAnswer {
    /// The verdict of a look.
    Full(Box<VerdictAnswer<'static>>),
    /// The verdict on a release of which there is nothing to judge.
    Short(ShortVerdict),
}

/// The verdict on a release of which there is nothing to judge.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutShortVerdict")]
struct ShortVerdict {
    /// The same for a person.
    explained: String,
    /// Why it is no pass.
    reasons: Vec<ReasonAnswer>,
    /// The release.
    release: String,
    /// The word.
    #[schemars(extend("enum" = ["hold", "not_judged"]))]
    verdict: &'static str,
}

/// One word that was said.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RolloutLook")]
pub struct LookAnswer {
    /// The word.
    #[schemars(extend("enum" = Verdict::ALL.map(Verdict::name)))]
    verdict: String,
    /// `step` (it was reached), `look`, `arrived` (the data that were awaited), `revised` (by late data) or `incident`.
    #[schemars(extend("enum" = Occasion::ALL.map(Occasion::name)))]
    occasion: &'static str,
    /// The step, percent of the stores or of the terminals.
    step_percent: u32,
    /// The release it was held against; `null`: there was none.
    against: Option<String>,
    /// Hours from the beginning of the step to the look; `null`: no look was due.
    look_hours: Option<u32>,
    /// When it was judged, Unix ms.
    judged_at: i64,
    /// The last epoch of this collector that it was judged on.
    epoch: u64,
    /// Samples in its hours.
    samples: u64,
    /// A hash of all that was judged: 16 hexadecimal digits.
    inputs_hash: String,
}

impl ShortVerdict {
    fn new(
        release: &str,
        verdict: &'static str,
        (code, text): (&'static str, String),
        explained: String,
    ) -> Self {
        Self {
            explained,
            reasons: vec![ReasonAnswer { code, text }],
            release: release.to_owned(),
            verdict,
        }
    }
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
        let explained = format!("HOLD  {release}, step {asked_percent} %\n      {text}");
        let judged = ShortVerdict::new(release, verdict, ("step_not_reached", text), explained);
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
        let explained = format!("NOT JUDGED  {release}\n      {text}");
        let judged = ShortVerdict::new(release, "not_judged", (code, text), explained);
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
