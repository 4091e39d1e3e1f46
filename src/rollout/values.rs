//! A duration or a level: its p95 in both groups, by how much it became worse, and what follows.

use tillwatch_model::SparseHistogram;
use tillwatch_model::metric::to_float;

use super::compare::{Groups, SAMPLES_MIN, SAMPLES_MIXED_MIN, as_factor};
use super::criteria::ValueCriterion;
use super::evidence::{Store, Values, count_of, merged, p95_of};
use super::ranks::Shift;
use super::single::{self, Usual};
use super::verdict::{Finding, Kind, Limits, Method, State};
use super::within;

/// Judges a duration or a level.
#[must_use]
pub fn values(metric: &str, criterion: &ValueCriterion, groups: &Groups<'_>) -> Finding {
    let of = |stores: &[&Store], part: fn(&Values) -> &SparseHistogram| {
        merged(
            stores
                .iter()
                .filter_map(|store| store.values.get(metric))
                .map(part),
        )
    };
    let now = of(&groups.candidates, |values| &values.now);
    let before = of(&groups.candidates, |values| &values.before);
    let is_within = groups.method == Method::Within;
    let (others_now, others_before) = if is_within {
        (
            of(&groups.candidates, |values| &values.others),
            SparseHistogram::default(),
        )
    } else {
        (
            of(&groups.controls, |values| &values.now),
            of(&groups.controls, |values| &values.before),
        )
    };
    let measured = measured(metric, groups);
    let wire =
        |histogram: &SparseHistogram| p95_of(histogram).map(|value| criterion.unit.to_wire(value));
    let (counted, controls) = (measured.candidates, measured.controls);
    let mut finding = Finding {
        metric: metric.to_owned(),
        kind: if criterion.is_level {
            Kind::Level(criterion.unit)
        } else {
            Kind::Duration(criterion.unit)
        },
        before: wire(&before),
        now: wire(&now),
        others_before: wire(&others_before),
        others_now: wire(&others_now),
        worse: measured.shift.map(as_factor),
        candidates: counted,
        controls,
        samples: count_of(&now),
        limits: Limits {
            worse_at_most: criterion.worse_at_most,
            green: criterion.green_under,
            rollback: criterion.rollback_over,
            ..Limits::default()
        },
        state: State::Undecided,
        far: far_stores(metric, groups, &measured.changes),
    };
    let breaks = |limit: Option<f64>| {
        limit.is_some_and(|limit| {
            let baseline = [finding.before, finding.others_now];
            baseline.iter().flatten().any(|value| *value > limit)
        })
    };
    finding.limits.is_green_broken_before = breaks(criterion.green_under);
    finding.limits.is_rollback_broken_before = breaks(criterion.rollback_over);
    let too_few = groups.state_of(counted, controls, criterion.is_optional, finding.samples);
    // What is only compared keeps nobody waiting for more samples of it.
    finding.state = match too_few {
        Some(State::TooFewSamples) if finding.limits.ask_nothing() => State::Compared,
        Some(too_few) => too_few,
        None => state_of_values(&finding, groups.method),
    };
    finding
}

/// By how much stores changed.
struct Changes {
    /// Candidates that count.
    candidates: usize,
    /// Controls that count.
    controls: usize,
    shift: Option<Shift>,
    /// Each candidate's change, by its place among them.
    changes: Vec<(usize, f64)>,
}

fn measured(metric: &str, groups: &Groups<'_>) -> Changes {
    if groups.method == Method::Within {
        let pairs: Vec<_> = groups
            .candidates
            .iter()
            .filter_map(|store| store.values.get(metric))
            .filter(|values| {
                count_of(&values.now) >= SAMPLES_MIXED_MIN
                    && count_of(&values.others) >= SAMPLES_MIXED_MIN
            })
            .map(|values| (&values.now, &values.others))
            .collect();
        return Changes {
            candidates: pairs.len(),
            controls: 0,
            shift: within::shift_of_values(&pairs, groups.levels_within()),
            changes: Vec::new(),
        };
    }
    let changes = |stores: &[&Store]| -> Vec<(usize, f64)> {
        let change = |store: &Store| change_of(store.values.get(metric)?);
        let changes = stores.iter().map(|store| change(store)).enumerate();
        let counted = changes.filter_map(|(at, change)| Some((at, change?)));
        counted.collect()
    };
    let only = |changes: &[(usize, f64)]| -> Vec<f64> {
        changes.iter().map(|(_, change)| *change).collect()
    };
    let (candidates, controls) = (changes(&groups.candidates), changes(&groups.controls));
    Changes {
        candidates: candidates.len(),
        controls: controls.len(),
        shift: groups.shift(&only(&candidates), &only(&controls), groups.levels),
        changes: candidates,
    }
}

fn state_of_values(finding: &Finding, method: Method) -> State {
    let (limits, now) = (finding.limits, finding.now.unwrap_or_default());
    let is_past =
        |limit: Option<f64>, is_broken: bool| !is_broken && limit.is_some_and(|limit| now > limit);
    let is_past_rollback = is_past(limits.rollback, limits.is_rollback_broken_before);
    let is_past_green = is_past(limits.green, limits.is_green_broken_before);
    let Some(worse) = finding.worse else {
        return State::TooFewSamples;
    };
    // A level of failure on both: the limit itself may be passed because everybody is slow today.
    if worse.low.is_some_and(|low| low > 1.0) {
        if is_past_rollback {
            return State::PastLimit;
        }
        // Before and after alone blames the release for a slow day.
        if method != Method::Alone
            && limits
                .worse_at_most
                .is_some_and(|most| worse.estimate > most)
        {
            return State::Worse;
        }
    }
    if limits.ask_nothing() {
        return State::Compared;
    }
    let is_ruled_out = |most: f64| worse.high.is_some_and(|high| high < most);
    if !limits.worse_at_most.is_none_or(is_ruled_out) {
        State::Undecided
    } else if is_past_rollback || is_past_green {
        State::BetweenLimits
    } else {
        State::Good
    }
}

/// The logarithm of the factor between a store's p95 now and in its own week before.
pub(super) fn change_of(values: &Values) -> Option<f64> {
    if count_of(&values.now) < SAMPLES_MIN || count_of(&values.before) < SAMPLES_MIN {
        return None;
    }
    Some(ln(p95_of(&values.now)?) - ln(p95_of(&values.before)?))
}

/// The logarithm of a recorded value; 0 is the smallest unit.
fn ln(recorded: u64) -> f64 {
    to_float(recorded.max(1)).ln()
}

/// Candidates that are far off, by name.
fn far_stores(metric: &str, groups: &Groups<'_>, changes: &[(usize, f64)]) -> Vec<String> {
    let days: Vec<Vec<Option<f64>>> = groups
        .candidates
        .iter()
        .chain(&groups.controls)
        .filter_map(|store| store.values.get(metric))
        .map(|values| values.days.iter().map(|day| day.map(ln)).collect())
        .collect();
    let usual: Usual = single::usual(&days);
    let only: Vec<f64> = changes.iter().map(|(_, change)| *change).collect();
    let far = single::far(&only, usual);
    let names = far.iter().filter_map(|at| {
        let (store, _) = changes.get(*at)?;
        Some(groups.candidates.get(*store)?.name.clone())
    });
    names.collect()
}
