//! One verdict as JSON: every number that a person needs to check it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::Unit;
use tillwatch_model::time::HOUR_MS;

use crate::query::rollout::judged::Judged;
use crate::query::words::units;
use crate::rollout::placebo::Placebo;
use crate::rollout::verdict::{Finding, Kind, Method, Note, Verdict, Worse};
use crate::rollout::{Look, Reason};

/// One verdict.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutVerdict")]
pub struct VerdictAnswer<'a> {
    /// The word of this look.
    #[schemars(extend("enum" = Verdict::ALL.map(Verdict::name)))]
    verdict: &'static str,
    /// Why it is no pass; empty if it is one.
    reasons: Vec<ReasonAnswer>,
    /// The release.
    release: &'a str,
    /// What it was held against; `null`: there was nothing.
    against: Option<&'a str>,
    /// Percent of the stores, or of the terminals if these are moved one by one.
    step_percent: u32,
    /// Whether the step is one of terminals, because most stores are mixed.
    is_by_terminal: bool,
    /// When the step began to count, Unix ms.
    step_from: i64,
    /// Hours from there to the look; `null`: the first is still to come.
    look_hours: Option<u32>,
    /// Hours from there to the next look.
    next_look_hours: u32,
    /// When the next look is due, Unix ms.
    next_look: i64,
    /// `ranks`, `within` (mixed stores) or `alone` (nobody is left to be held against: weak).
    #[schemars(extend("enum" = ["ranks", "within", "alone"]))]
    method: &'static str,
    /// The stores that were compared.
    stores: Stores<'a>,
    /// The terminals of these stores.
    terminals: Terminals<'a>,
    /// Each metric of the plan.
    metrics: Vec<Metric<'a>>,
    /// What drawn stores without the release come to; `null`: they are too few.
    placebo: Option<PlaceboAnswer<'a>>,
    /// The same for a person, in about ten lines.
    explained: String,
}

/// Why a verdict is no pass.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutReason")]
pub(super) struct ReasonAnswer {
    /// The reason for programs.
    pub(super) code: &'static str,
    /// The reason for people.
    pub(super) text: String,
}

/// The stores that were compared.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutStores")]
struct Stores<'a> {
    /// How many have the release.
    candidates: usize,
    /// How many they are held against.
    controls: usize,
    /// Stores that were moved back, left out or excluded.
    notes: Vec<NoteAnswer<'a>>,
}

/// What is to be said of one store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutNote")]
struct NoteAnswer<'a> {
    /// The store.
    store_id: &'a str,
    /// `moved_back`, `other_kind` or `excluded`.
    #[schemars(extend("enum" = ["moved_back", "other_kind", "excluded"]))]
    note: &'static str,
    /// Why the plan excludes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The terminals of the stores that were compared.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutTerminals")]
struct Terminals<'a> {
    /// Terminals of the candidates.
    candidates: u64,
    /// Terminals of the stores they are held against.
    controls: u64,
    /// How many of these fell silent.
    silent_controls: u64,
    /// Terminals of the candidates that have not delivered the hours of the look.
    awaited: u64,
    /// Terminals of the candidates that fell silent.
    silent: Vec<SilentAnswer<'a>>,
}

/// A terminal that fell silent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutSilentTerminal")]
struct SilentAnswer<'a> {
    /// The store.
    store_id: &'a str,
    /// The terminal.
    terminal_id: &'a str,
    /// Start of the hour since which it is silent, Unix ms.
    since: i64,
}

/// What was found of one metric. Durations and levels are in the metric's unit; a share is one of bad ones.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutMetric")]
struct Metric<'a> {
    /// The name of the metric, or of the share.
    metric: &'a str,
    /// `duration`, `level`, `success`, `failure` or `volume`.
    #[schemars(extend("enum" = ["duration", "level", "success", "failure", "volume"]))]
    kind: &'static str,
    /// Of a duration or level; shares of bad ones have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = units()))]
    unit: Option<&'static str>,
    /// The candidates in their own week before; `null`: too few samples.
    before: Option<f64>,
    /// The candidates in the hours of the look; `null`: too few samples.
    now: Option<f64>,
    /// The other stores in their own week before; `null`: too few samples.
    others_before: Option<f64>,
    /// The other stores in the hours of the look; `null`: too few samples.
    others_now: Option<f64>,
    /// How much worse the candidates have become than the other stores; `null`: too little to say.
    worse: Option<Bounds>,
    /// Whether `worse` is a `factor` or a `difference` of shares.
    #[schemars(extend("enum" = ["factor", "difference"]))]
    worse_is: &'static str,
    /// Candidates with enough values.
    candidates: usize,
    /// Other stores with enough values.
    controls: usize,
    /// Samples of the candidates in the hours of the look.
    samples: u64,
    /// What the plan asks of it.
    limits: Limits,
    /// What was found.
    #[schemars(extend("enum" = ["worse", "past_limit", "good", "undecided", "between_the_limits", "compared", "too_few_stores", "too_few_samples", "absent"]))]
    state: &'static str,
    /// Stores that are far off.
    far: &'a [String],
}

/// What drawn stores without the release come to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutPlacebo")]
pub(super) struct PlaceboAnswer<'a> {
    /// How often stores were drawn.
    draws: usize,
    /// How many stores were drawn each time.
    stores: usize,
    /// Of how many stores.
    of: usize,
    /// How many draws would have failed.
    failed: usize,
    /// By metric, the factor that four in five draws would have found.
    found: &'a BTreeMap<String, f64>,
}

impl<'a> PlaceboAnswer<'a> {
    pub(super) fn of(placebo: &'a Placebo) -> Self {
        Self {
            draws: placebo.draws,
            stores: placebo.stores,
            of: placebo.of,
            failed: placebo.failed,
            found: &placebo.found,
        }
    }
}

/// The verdict for a person, with the line on how often it errs on this fleet.
fn explained(judged: &Judged) -> String {
    let mut text = judged.judgement.explained();
    if let Some(placebo) = &judged.placebo {
        text.push('\n');
        text.push_str(&placebo.line());
    }
    text
}

/// An estimate with its bounds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutBounds")]
struct Bounds {
    /// The estimate.
    estimate: f64,
    /// Its lower bound; `null`: there is none.
    low: Option<f64>,
    /// Its upper bound; `null`: there is none.
    high: Option<f64>,
}

/// What the plan asks of a metric.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutLimits")]
struct Limits {
    /// By how much it may become worse, as `worse_is` says; `null`: the plan does not say.
    worse_at_most: Option<f64>,
    /// What a pass needs, in the metric's unit or as a share; `null`: nothing.
    green: Option<f64>,
    /// Past what it fails, in the metric's unit or as a share; `null`: there is no such limit.
    rollback: Option<f64>,
    /// Whether the stores were past `green` before already, so that it does not count.
    is_green_broken_before: bool,
    /// Whether the stores were past `rollback` before already, so that it does not count.
    is_rollback_broken_before: bool,
}

/// When the look after the judged one is due, Unix ms.
#[must_use]
pub fn look_ms(start: i64, look: Look) -> i64 {
    start
        .saturating_add(i64::from(look.hours()))
        .saturating_mul(HOUR_MS)
}

impl<'a> VerdictAnswer<'a> {
    /// The answer of a verdict.
    #[must_use]
    pub fn of(judged: &'a Judged) -> Self {
        let (judgement, situation) = (&judged.judgement, &judged.situation);
        let reasons = judgement.reasons.iter().map(|reason| ReasonAnswer {
            code: Reason::code(reason),
            text: reason.to_string(),
        });
        let notes = judgement.notes.iter().map(|(store_id, note)| NoteAnswer {
            store_id,
            note: match note {
                Note::MovedBack => "moved_back",
                Note::OtherKind => "other_kind",
                Note::Excluded(_) => "excluded",
            },
            reason: match note {
                Note::Excluded(reason) => Some(reason.as_str()),
                Note::MovedBack | Note::OtherKind => None,
            },
        });
        let silent = judgement.silent.iter().map(|silent| SilentAnswer {
            store_id: &silent.store,
            terminal_id: &silent.terminal,
            since: silent.since.saturating_mul(HOUR_MS),
        });
        let [candidates, controls, silent_controls] = judgement.terminals;
        Self {
            verdict: judgement.verdict.name(),
            reasons: reasons.collect(),
            release: &judgement.release,
            against: judgement.against.as_deref(),
            step_percent: judgement.step_percent,
            is_by_terminal: situation.is_by_terminal,
            step_from: situation.start.saturating_mul(HOUR_MS),
            look_hours: judgement.look.map(Look::hours),
            next_look_hours: judgement.next_look.hours(),
            next_look: look_ms(situation.start, judgement.next_look),
            method: match judgement.method {
                Method::Ranks => "ranks",
                Method::Within => "within",
                Method::Alone => "alone",
            },
            stores: Stores {
                candidates: judgement.candidates,
                controls: judgement.controls,
                notes: notes.collect(),
            },
            terminals: Terminals {
                candidates,
                controls,
                silent_controls,
                awaited: judged.awaited,
                silent: silent.collect(),
            },
            metrics: judgement.findings.iter().map(Metric::of).collect(),
            placebo: judged.placebo.as_ref().map(PlaceboAnswer::of),
            explained: explained(judged),
        }
    }
}

impl<'a> Metric<'a> {
    fn of(finding: &'a Finding) -> Self {
        let limits = finding.limits;
        let unit = match finding.kind {
            Kind::Duration(unit) | Kind::Level(unit) => Some(Unit::name(unit)),
            Kind::Success | Kind::Failure | Kind::Volume => None,
        };
        Self {
            metric: &finding.metric,
            kind: match finding.kind {
                Kind::Duration(_) => "duration",
                Kind::Level(_) => "level",
                Kind::Success => "success",
                Kind::Failure => "failure",
                Kind::Volume => "volume",
            },
            unit,
            before: finding.before,
            now: finding.now,
            others_before: finding.others_before,
            others_now: finding.others_now,
            worse: finding.worse.map(|worse: Worse| Bounds {
                estimate: worse.estimate,
                low: worse.low,
                high: worse.high,
            }),
            worse_is: if finding.kind.is_share() {
                "difference"
            } else {
                "factor"
            },
            candidates: finding.candidates,
            controls: finding.controls,
            samples: finding.samples,
            limits: Limits {
                worse_at_most: limits.worse_at_most,
                green: limits.green,
                rollback: limits.rollback,
                is_green_broken_before: limits.is_green_broken_before,
                is_rollback_broken_before: limits.is_rollback_broken_before,
            },
            state: finding.state.name(),
            far: &finding.far,
        }
    }
}
