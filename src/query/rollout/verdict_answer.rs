//! One verdict as JSON: every number that a person needs to check it.

use std::collections::BTreeMap;

use serde::Serialize;
use tillwatch_model::Unit;
use tillwatch_model::time::HOUR_MS;

use crate::query::rollout::judged::Judged;
use crate::rollout::placebo::Placebo;
use crate::rollout::verdict::{Finding, Kind, Method, Note, Worse};
use crate::rollout::{Look, Reason};

/// One verdict.
#[derive(Debug, Serialize)]
pub struct VerdictAnswer<'a> {
    verdict: &'static str,
    reasons: Vec<ReasonAnswer>,
    release: &'a str,
    against: Option<&'a str>,
    /// Percent of the stores, or of the terminals if these are moved one by one.
    step_percent: u32,
    is_by_terminal: bool,
    /// When the step began to count, Unix ms.
    step_from: i64,
    /// Hours from there to the look; `null`: the first is still to come.
    look_hours: Option<u32>,
    next_look_hours: u32,
    next_look: i64,
    /// ranks, within (mixed stores) or alone (nobody is left to be held against: weak).
    method: &'static str,
    stores: Stores<'a>,
    terminals: Terminals<'a>,
    metrics: Vec<Metric<'a>>,
    /// What drawn stores without the release come to; `null`: they are too few.
    placebo: Option<PlaceboAnswer<'a>>,
    /// The same for a person, in about ten lines.
    explained: String,
}

#[derive(Debug, Serialize)]
struct ReasonAnswer {
    code: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Stores<'a> {
    candidates: usize,
    controls: usize,
    notes: Vec<NoteAnswer<'a>>,
}

#[derive(Debug, Serialize)]
struct NoteAnswer<'a> {
    store_id: &'a str,
    /// `moved_back`, `other_kind` or `excluded`.
    note: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Terminals<'a> {
    candidates: u64,
    controls: u64,
    silent_controls: u64,
    /// Terminals of the candidates that have not delivered the hours of the look.
    awaited: u64,
    silent: Vec<SilentAnswer<'a>>,
}

#[derive(Debug, Serialize)]
struct SilentAnswer<'a> {
    store_id: &'a str,
    terminal_id: &'a str,
    since: i64,
}

#[derive(Debug, Serialize)]
struct Metric<'a> {
    metric: &'a str,
    /// duration, level, success, failure or volume.
    kind: &'static str,
    /// Of a duration or level; shares of bad ones have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    before: Option<f64>,
    now: Option<f64>,
    others_before: Option<f64>,
    others_now: Option<f64>,
    worse: Option<Bounds>,
    /// factor or difference.
    worse_is: &'static str,
    candidates: usize,
    controls: usize,
    samples: u64,
    limits: Limits,
    state: &'static str,
    /// Stores that are far off.
    far: &'a [String],
}

#[derive(Debug, Serialize)]
pub(super) struct PlaceboAnswer<'a> {
    draws: usize,
    stores: usize,
    of: usize,
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

#[derive(Debug, Serialize)]
struct Bounds {
    estimate: f64,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Limits {
    worse_at_most: Option<f64>,
    green: Option<f64>,
    rollback: Option<f64>,
    is_green_broken_before: bool,
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
