//! The series about rollouts on `/metrics`. Unlike what the recorder keeps they come and go with the rollouts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::formatting::{sanitize_description, sanitize_label_value};
use serde::Deserialize;
use tillwatch_model::metric::to_float;

use crate::persist::verdicts::VerdictRow;
use crate::query::rollout::Situation;
use crate::query::rollout::kept::Standing;
use crate::query::rollout::verdict_answer::look_ms;
use crate::rollout::groups::Group;
use crate::rollout::{Look, Reason, Verdict};
use crate::self_metrics as names;

/// One rollout as it is shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    release: String,
    against: String,
    step_percent: u32,
    verdict: Verdict,
    reasons: Vec<String>,
    look_hours: u32,
    next_look_ms: i64,
    revisions: usize,
    revised_at_ms: Option<i64>,
    stores: [usize; 2],
    awaited: u64,
    metrics: Vec<Metric>,
}

/// What is read of a verdict that was kept.
#[derive(Debug, Deserialize)]
struct Kept {
    look_hours: Option<u32>,
    next_look: i64,
    reasons: Vec<KeptReason>,
    stores: KeptStores,
    terminals: KeptTerminals,
    metrics: Vec<Metric>,
}

#[derive(Debug, Deserialize)]
struct KeptReason {
    code: String,
}

#[derive(Debug, Deserialize)]
struct KeptStores {
    candidates: usize,
    controls: usize,
}

#[derive(Debug, Deserialize)]
struct KeptTerminals {
    awaited: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Metric {
    metric: String,
    worse: Option<Worse>,
    worse_is: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Worse {
    estimate: f64,
    low: Option<f64>,
    high: Option<f64>,
}

impl Shown {
    /// A step that has not been looked at.
    pub(super) fn of_situation(situation: &Situation) -> Self {
        let groups = situation.groups.values();
        let candidates = groups.clone().filter(|group| group.is_candidate()).count();
        let controls = groups.filter(|group| **group == Group::Control).count();
        Self {
            release: situation.release.clone(),
            against: situation.against.clone().unwrap_or_default(),
            step_percent: situation.step_percent,
            verdict: Verdict::Hold,
            reasons: vec![Reason::FirstLook.code().to_owned()],
            look_hours: 0,
            next_look_ms: look_ms(situation.start, Look(0)),
            revisions: 0,
            revised_at_ms: None,
            stores: [candidates, controls],
            awaited: 0,
            metrics: Vec::new(),
        }
    }

    /// What stands; `None`: what was kept is none of this release's.
    pub(super) fn of_kept(standing: &Standing<'_>) -> Option<Self> {
        let row = &standing.latest.row;
        let kept: Kept = serde_json::from_str(&row.result).ok()?;
        let deciding: Kept = serde_json::from_str(&standing.deciding.row.result).ok()?;
        Some(Self {
            release: row.release.clone(),
            against: row.against.clone(),
            step_percent: row.step_percent,
            verdict: standing.verdict,
            reasons: deciding
                .reasons
                .into_iter()
                .map(|reason| reason.code)
                .collect(),
            look_hours: kept.look_hours.unwrap_or(0),
            next_look_ms: kept.next_look,
            revisions: standing.revisions,
            revised_at_ms: standing.revised_at_ms,
            stores: [kept.stores.candidates, kept.stores.controls],
            awaited: kept.terminals.awaited,
            metrics: kept.metrics,
        })
    }

    /// The same with what was revised of earlier steps.
    pub(super) fn revised_as(self, standing: &Standing<'_>) -> Self {
        Self {
            revisions: standing.revisions,
            revised_at_ms: standing.revised_at_ms,
            ..self
        }
    }

    /// Whether a row is of this step.
    pub(super) fn is_of(&self, row: &VerdictRow) -> bool {
        self.against == row.against && self.step_percent == row.step_percent
    }

    fn labels(&self) -> String {
        let text = |text: &str| sanitize_label_value(text);
        format!(
            "release=\"{}\",against=\"{}\",step=\"{}\"",
            text(&self.release),
            text(&self.against),
            self.step_percent
        )
    }

    /// Every series but the common labels: its name, further labels, and the value.
    fn series(&self) -> Vec<(&'static str, String, f64)> {
        let plain = String::new;
        let seconds = |at_ms: i64| to_float(at_ms.max(0).unsigned_abs()) / 1_000.0;
        let count = |count: usize| to_float(count as u64);
        let mut series = vec![
            (names::ROLLOUT_LOOK, plain(), f64::from(self.look_hours)),
            (
                names::ROLLOUT_NEXT_LOOK,
                plain(),
                seconds(self.next_look_ms),
            ),
            (names::ROLLOUT_REVISIONS, plain(), count(self.revisions)),
            (names::ROLLOUT_AWAITED, plain(), to_float(self.awaited)),
        ];
        for verdict in Verdict::ALL {
            let label = format!(",verdict=\"{}\"", verdict.name());
            let is_it = f64::from(u8::from(verdict == self.verdict));
            series.push((names::ROLLOUT_VERDICT, label, is_it));
        }
        let mut reasons = self.reasons.clone();
        reasons.sort();
        reasons.dedup();
        for reason in reasons {
            let label = format!(",reason=\"{}\"", sanitize_label_value(&reason));
            series.push((names::ROLLOUT_REASON, label, 1.0));
        }
        for (group, stores) in ["candidate", "control"].into_iter().zip(self.stores) {
            series.push((
                names::ROLLOUT_STORES,
                format!(",group=\"{group}\""),
                count(stores),
            ));
        }
        if let Some(at_ms) = self.revised_at_ms {
            series.push((names::ROLLOUT_REVISED, plain(), seconds(at_ms)));
        }
        for metric in &self.metrics {
            let Some(worse) = &metric.worse else { continue };
            let name = if metric.worse_is == "difference" {
                names::ROLLOUT_WORSE_DIFFERENCE
            } else {
                names::ROLLOUT_WORSE
            };
            let bounds = [
                ("low", worse.low),
                ("estimate", Some(worse.estimate)),
                ("high", worse.high),
            ];
            for (bound, value) in bounds {
                let metric = sanitize_label_value(&metric.metric);
                let label = format!(",metric=\"{metric}\",bound=\"{bound}\"");
                series.extend(value.map(|value| (name, label, value)));
            }
        }
        series
    }
}

/// What is shown of all rollouts.
#[derive(Debug, Default)]
pub(super) struct Showing {
    shown: Mutex<BTreeMap<String, Shown>>,
}

impl Showing {
    /// Shows these, and no others.
    pub(super) fn show(&self, shown: Vec<Shown>) {
        let by_release = shown
            .into_iter()
            .map(|shown| (shown.release.clone(), shown));
        *self.lock() = by_release.collect();
    }

    /// Adds the series to a page.
    pub(super) fn write(&self, page: &mut String) {
        let mut families: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for shown in self.lock().values() {
            let labels = shown.labels();
            for (name, further, value) in shown.series() {
                let lines = families.entry(name).or_default();
                lines.push(format!("{name}{{{labels}{further}}} {value}\n"));
            }
        }
        for (name, lines) in families {
            let help = names::ALL.iter().find(|(known, ..)| *known == name);
            let help = help.map_or("", |(_, _, help)| help);
            let help = sanitize_description(help);
            let _written = write!(
                page,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{}\n",
                lines.concat()
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Shown>> {
        // What was shown before a panic was whole.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
