//! The verdict: silence first, then every metric. One that fails is enough to fail; a pass needs all of them. There is no
//! score.

use super::compare::{self, CONTROLS_MIN, Groups};
use super::criteria::Plan;
use super::evidence::{Evidence, Store};
use super::groups::Group;
use super::looks::Look;
use super::placebo::levels_of;
use super::reason::Reason;
use super::verdict::{Finding, Judgement, Method, Note, Verdict};
use super::{shares, values};

/// The hours after which most of a step's terminals must have the release.
const ADOPTION_HOURS: u32 = 24;
/// How many that are. Unit: percent.
const ADOPTION_PERCENT: u128 = 90;

/// Judges one release at one look.
#[must_use]
pub fn judge(plan: &Plan, evidence: &Evidence) -> Judgement {
    let (groups, notes) = groups_of(plan, evidence);
    let mut judgement = Judgement {
        verdict: Verdict::NotJudged,
        reasons: Vec::new(),
        release: evidence.release.clone(),
        against: evidence.against.clone(),
        step_percent: evidence.step_percent,
        look: evidence.look,
        next_look: Look::after(evidence.look),
        method: groups.method,
        findings: Vec::new(),
        candidates: groups.candidates.len(),
        controls: groups.controls.len(),
        terminals: [
            evidence.silence.candidates,
            evidence.silence.controls,
            evidence.silence.silent_controls,
        ],
        silent: evidence.silence.silent.clone(),
        notes,
    };
    let asks_nothing =
        plan.values.is_empty() && plan.ratios.is_empty() && plan.incidents.is_empty();
    let has_release = evidence
        .stores
        .iter()
        .any(|store| store.group.is_candidate());
    if asks_nothing || !has_release {
        judgement.reasons.push(if asks_nothing {
            Reason::NoCriteria
        } else {
            Reason::NoCandidates
        });
        return judgement;
    }
    if evidence.look.is_some() {
        judgement.findings = findings(plan, &groups);
    }
    judgement.reasons = failures(plan, evidence, &judgement);
    if !judgement.reasons.is_empty() {
        judgement.verdict = Verdict::Fail;
        return judgement;
    }
    judgement.reasons = doubts(plan, evidence, &groups, &judgement);
    judgement.verdict = if judgement.reasons.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Hold
    };
    judgement
}

/// Every metric of the plan, and the volume.
fn findings(plan: &Plan, groups: &Groups<'_>) -> Vec<Finding> {
    let values = plan.values.iter();
    let values = values.map(|(metric, criterion)| values::values(metric, criterion, groups));
    let shares = plan.ratios.iter();
    let shares = shares.map(|(metric, criterion)| shares::shares(metric, criterion, groups));
    values
        .chain(shares)
        .chain([compare::volume(groups)])
        .collect()
}

/// Sorts the stores, and says which of them need a word.
fn groups_of<'a>(plan: &Plan, evidence: &'a Evidence) -> (Groups<'a>, Vec<(String, Note)>) {
    let mut notes = Vec::new();
    let (mut whole, mut mixed, mut controls) = (Vec::new(), Vec::new(), Vec::new());
    for store in &evidence.stores {
        if let Some(reason) = plan.exclude.get(&store.name) {
            notes.push((store.name.clone(), Note::Excluded(reason.clone())));
            continue;
        }
        notes.extend(Note::of(store.group).map(|note| (store.name.clone(), note)));
        match store.group {
            Group::Candidate { .. } => whole.push(store),
            Group::Mixed { .. } => mixed.push(store),
            Group::Control => controls.push(store),
            Group::Neither => {}
        }
    }
    // Both kinds at once are compared in different ways: the kind with more stores counts.
    let is_within = mixed.len() > whole.len();
    let (candidates, aside) = if is_within {
        (mixed, whole)
    } else {
        (whole, mixed)
    };
    let named = |store: &&Store| (store.name.clone(), Note::OtherKind);
    notes.extend(aside.iter().map(named));
    notes.sort_by(|one, other| one.0.cmp(&other.0));
    let method = if is_within {
        Method::Within
    } else if evidence.step_percent >= 100 && controls.len() < CONTROLS_MIN {
        Method::Alone
    } else {
        Method::Ranks
    };
    let groups = Groups {
        candidates,
        controls,
        method,
        levels: levels_of(plan, evidence.look.unwrap_or(Look(0))),
    };
    (groups, notes)
}

/// All that ends the rollout.
fn failures(plan: &Plan, evidence: &Evidence, judgement: &Judgement) -> Vec<Reason> {
    let incidents = plan.incidents.iter().filter_map(|(metric, most)| {
        let count = evidence.incidents.get(metric).copied().unwrap_or_default();
        (count > *most).then(|| Reason::Incident {
            metric: metric.clone(),
            count,
        })
    });
    let silence = evidence
        .look
        .filter(|look| evidence.silence.is_fail(*look))
        .map(|_| Reason::Silence {
            silent: evidence.silence.silent.len() as u64,
            of: evidence.silence.candidates,
        });
    let metrics = judgement
        .findings
        .iter()
        .filter(|finding| finding.state.is_fail());
    let metrics = metrics.map(|finding| Reason::Metric {
        metric: finding.metric.clone(),
        state: finding.state,
    });
    incidents.chain(silence).chain(metrics).collect()
}

/// All that a pass still waits for.
fn doubts(
    plan: &Plan,
    evidence: &Evidence,
    groups: &Groups<'_>,
    judgement: &Judgement,
) -> Vec<Reason> {
    let Some(look) = evidence.look else {
        return vec![Reason::FirstLook];
    };
    let mut reasons = Vec::new();
    if look.pass_level(plan.minimum_hours).is_none() {
        reasons.push(Reason::TooEarly {
            minimum_hours: plan.minimum_hours,
        });
    }
    if !groups.are_enough() {
        reasons.push(Reason::TooFewStores {
            candidates: groups.candidates.len(),
            controls: groups.controls.len(),
        });
    }
    if !evidence.arrival.is_complete() {
        reasons.push(Reason::Incomplete {
            posted: evidence.arrival.posted,
            expected: evidence.arrival.expected,
            awaited: evidence.arrival.awaited.clone(),
        });
    }
    let adoption = evidence.adoption.filter(|adoption| {
        look.hours() >= ADOPTION_HOURS
            && u128::from(adoption.adopted) * 100 < u128::from(adoption.expected) * ADOPTION_PERCENT
    });
    reasons.extend(adoption.map(|adoption| Reason::Adoption {
        adopted: adoption.adopted,
        expected: adoption.expected,
    }));
    for finding in &judgement.findings {
        if finding.state.withholds_pass() {
            reasons.push(Reason::Metric {
                metric: finding.metric.clone(),
                state: finding.state,
            });
        }
        if !finding.far.is_empty() {
            reasons.push(Reason::SingleStores {
                metric: finding.metric.clone(),
                stores: finding.far.clone(),
            });
        }
    }
    reasons
}
