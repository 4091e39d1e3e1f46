//! One metric: its numbers in both groups, by how much it became worse, and what follows.

use tillwatch_model::SparseHistogram;
use tillwatch_model::metric::to_float;

use super::criteria::{RatioCriterion, ValueCriterion};
use super::evidence::{Count, Store, Values, count_of, merged, p95_of};
use super::ranks::{self, Levels, Shift};
use super::single::{self, Usual};
use super::verdict::{Finding, Kind, Limits, Method, State, Worse};
use super::within;

/// A store counts with this many values in both windows: five are above its p95 then.
const SAMPLES_MIN: u64 = 100;
/// Terminals of the release in a mixed store count with this many: they are merged with others.
const SAMPLES_MIXED_MIN: u64 = 20;
/// Fewer candidates than this say nothing.
pub const CANDIDATES_MIN: usize = 3;
/// Neither do fewer others.
pub const CONTROLS_MIN: usize = 10;
/// So much fewer samples than the others fail: a metric that is not measured any more cannot become worse.
const VOLUME_MIN: f64 = 0.8;
/// In mixed stores a pass uses this part of its level: the jackknife is a little too sure of itself.
const WITHIN_PASS_PART: f64 = 0.625;

/// The two groups, and how they are compared.
#[derive(Debug)]
pub struct Groups<'a> {
    /// Stores of the release; with [`Method::Within`] the mixed ones.
    pub candidates: Vec<&'a Store>,
    /// What they are held against.
    pub controls: Vec<&'a Store>,
    /// How.
    pub method: Method,
    /// How sure the bounds are.
    pub levels: Levels,
}

impl Groups<'_> {
    /// Whether there are enough stores to say anything.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        self.suffice(self.candidates.len(), self.controls.len())
    }

    fn suffice(&self, candidates: usize, controls: usize) -> bool {
        match self.method {
            Method::Ranks => candidates >= CANDIDATES_MIN && controls >= CONTROLS_MIN,
            Method::Alone => candidates >= CANDIDATES_MIN,
            Method::Within => candidates >= within::STORES_MIN,
        }
    }

    fn levels_within(&self) -> Levels {
        Levels {
            pass: self.levels.pass * WITHIN_PASS_PART,
            ..self.levels
        }
    }

    /// The shift between changes of the candidates and of the controls.
    fn shift(&self, candidates: &[f64], controls: &[f64], levels: Levels) -> Option<Shift> {
        if self.method == Method::Alone {
            ranks::shift_alone(candidates, levels)
        } else {
            ranks::shift(candidates, controls, levels)
        }
    }

    fn state_of(
        &self,
        candidates: usize,
        controls: usize,
        is_optional: bool,
        samples: u64,
    ) -> Option<State> {
        if self.suffice(candidates, controls) {
            None
        } else if samples == 0 && is_optional {
            Some(State::Absent)
        } else if self.are_enough() {
            Some(State::TooFewSamples)
        } else {
            Some(State::TooFewStores)
        }
    }
}

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
    let changes = |stores: &[&Store]| -> Vec<(usize, f64)> {
        let change = |store: &Store| change_of(store.values.get(metric)?);
        let changes = stores.iter().map(|store| change(store)).enumerate();
        changes
            .filter_map(|(at, change)| Some((at, change?)))
            .collect()
    };
    let (candidates, controls, shift) = if is_within {
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
        let shift = within::shift_of_values(&pairs, groups.levels_within());
        (Vec::new(), pairs.len(), shift)
    } else {
        let (candidates, controls) = (changes(&groups.candidates), changes(&groups.controls));
        let only = |changes: &[(usize, f64)]| {
            changes
                .iter()
                .map(|(_, change)| *change)
                .collect::<Vec<_>>()
        };
        let shift = groups.shift(&only(&candidates), &only(&controls), groups.levels);
        (candidates, controls.len(), shift)
    };
    let wire =
        |histogram: &SparseHistogram| p95_of(histogram).map(|value| criterion.unit.to_wire(value));
    let (counted, controls) = if is_within {
        (controls, 0)
    } else {
        (candidates.len(), controls)
    };
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
        worse: shift.map(as_factor),
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
        far: far_stores(metric, groups, &candidates),
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
    finding.state = too_few.unwrap_or_else(|| state_of_values(&finding, groups.method));
    finding
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
    let is_limitless = |limit: Option<f64>, is_broken: bool| limit.is_none() || is_broken;
    if limits.worse_at_most.is_none()
        && is_limitless(limits.rollback, limits.is_rollback_broken_before)
        && is_limitless(limits.green, limits.is_green_broken_before)
    {
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
fn change_of(values: &Values) -> Option<f64> {
    if count_of(&values.now) < SAMPLES_MIN || count_of(&values.before) < SAMPLES_MIN {
        return None;
    }
    Some(ln(p95_of(&values.now)?) - ln(p95_of(&values.before)?))
}

/// The logarithm of a recorded value; 0 is the smallest unit.
fn ln(recorded: u64) -> f64 {
    to_float(recorded.max(1)).ln()
}

fn as_factor(shift: Shift) -> Worse {
    Worse {
        estimate: shift.estimate.exp(),
        low: shift.low.map(f64::exp),
        high: shift.high.map(f64::exp),
    }
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

/// Judges a share.
#[must_use]
pub fn shares(metric: &str, criterion: &RatioCriterion, groups: &Groups<'_>) -> Finding {
    let sum = |stores: &[&Store], part: fn(&super::evidence::Shares) -> Count| {
        let counts = stores
            .iter()
            .filter_map(|store| store.shares.get(metric))
            .map(part);
        counts.fold(Count::default(), Count::and)
    };
    let is_within = groups.method == Method::Within;
    let now = sum(&groups.candidates, |shares| shares.now);
    let before = sum(&groups.candidates, |shares| shares.before);
    let (others_now, others_before) = if is_within {
        (
            sum(&groups.candidates, |shares| shares.others),
            Count::default(),
        )
    } else {
        (
            sum(&groups.controls, |shares| shares.now),
            sum(&groups.controls, |shares| shares.before),
        )
    };
    let (counted, controls, shift) = if is_within {
        let pairs: Vec<(Count, Count)> = groups
            .candidates
            .iter()
            .filter_map(|store| store.shares.get(metric))
            .filter(|shares| {
                shares.now.all >= SAMPLES_MIXED_MIN && shares.others.all >= SAMPLES_MIXED_MIN
            })
            .map(|shares| (shares.now, shares.others))
            .collect();
        let shift = within::shift_of_counts(&pairs, groups.levels_within());
        (pairs.len(), 0, shift)
    } else {
        let changes = |stores: &[&Store]| -> Vec<f64> {
            let shares = stores.iter().filter_map(|store| store.shares.get(metric));
            shares
                .filter(|shares| shares.now.all >= SAMPLES_MIN && shares.before.all >= SAMPLES_MIN)
                .filter_map(|shares| Some(shares.now.rate()? - shares.before.rate()?))
                .collect()
        };
        let (candidates, controls) = (changes(&groups.candidates), changes(&groups.controls));
        let shift = groups.shift(&candidates, &controls, groups.levels);
        (candidates.len(), controls.len(), shift)
    };
    let worse = shift.map(|shift| Worse {
        estimate: shift.estimate,
        low: shift.low,
        high: shift.high,
    });
    // What would have been expected: the others now, or the candidates' own week where there are no others.
    let expected = if groups.method == Method::Alone {
        before
    } else {
        others_now
    };
    let is_broken = |limit: f64| expected.rate().is_some_and(|rate| rate > limit);
    let mut finding = Finding {
        metric: metric.to_owned(),
        kind: if criterion.is_success {
            Kind::Success
        } else {
            Kind::Failure
        },
        before: before.rate(),
        now: now.rate(),
        others_before: others_before.rate(),
        others_now: others_now.rate(),
        worse,
        candidates: counted,
        controls,
        samples: now.all,
        limits: Limits {
            worse_at_most: None,
            green: Some(criterion.green),
            rollback: criterion.rollback,
            is_green_broken_before: is_broken(criterion.green),
            is_rollback_broken_before: criterion.rollback.is_some_and(is_broken),
        },
        state: State::Undecided,
        far: Vec::new(),
    };
    let too_few = groups.state_of(counted, controls, criterion.is_optional, finding.samples);
    finding.state = too_few.unwrap_or_else(|| state_of_shares(&finding, expected.rate()));
    finding
}

fn state_of_shares(finding: &Finding, expected: Option<f64>) -> State {
    let (Some(worse), Some(now), Some(expected)) = (finding.worse, finding.now, expected) else {
        return State::TooFewSamples;
    };
    let limits = finding.limits;
    let is_past =
        !limits.is_rollback_broken_before && limits.rollback.is_some_and(|limit| now > limit);
    if is_past && worse.low.is_some_and(|low| low > 0.0) {
        return State::PastLimit;
    }
    let green = limits.green.unwrap_or_default();
    // Where the others break the limit themselves, the release may add at most as much as the limit is wide.
    let room = if limits.is_green_broken_before {
        green
    } else {
        green - expected
    };
    match worse.high {
        Some(high) if high < room => State::Good,
        Some(_) if now > green && !limits.is_green_broken_before => State::BetweenLimits,
        Some(_) | None => State::Undecided,
    }
}

/// Judges how many samples come at all. It can fail a release; a pass does not wait for it.
#[must_use]
pub fn volume(groups: &Groups<'_>) -> Finding {
    let change = |store: &&Store| -> Option<f64> {
        let volume = store.volume.filter(|volume| volume.before >= SAMPLES_MIN)?;
        let usual = to_float(volume.before) / f64::from(volume.hours_before.max(1));
        // Half a sample keeps the logarithm of none finite.
        let now = (to_float(volume.now) + 0.5) / f64::from(volume.hours_now.max(1));
        Some((now / usual).ln())
    };
    let changes = |stores: &[&Store]| stores.iter().filter_map(change).collect::<Vec<_>>();
    let (candidates, controls) = (changes(&groups.candidates), changes(&groups.controls));
    let both_fail = Levels {
        fail: groups.levels.fail,
        pass: groups.levels.fail,
    };
    let shift = match groups.method {
        Method::Ranks => groups.shift(&candidates, &controls, both_fail),
        // What a part of a store's terminals used to send is not known, and a quiet day of all is no fault.
        Method::Within | Method::Alone => None,
    };
    let worse = shift.map(as_factor);
    let is_fail = groups.suffice(candidates.len(), controls.len())
        && worse.is_some_and(|worse| worse.high.is_some_and(|high| high < VOLUME_MIN));
    let samples = groups.candidates.iter().filter_map(|store| store.volume);
    Finding {
        metric: "samples".to_owned(),
        kind: Kind::Volume,
        before: None,
        now: None,
        others_before: None,
        others_now: None,
        worse,
        candidates: candidates.len(),
        controls: controls.len(),
        samples: samples.fold(0, |sum, volume| sum.saturating_add(volume.now)),
        limits: Limits {
            rollback: Some(VOLUME_MIN),
            ..Limits::default()
        },
        state: if is_fail {
            State::PastLimit
        } else {
            State::Compared
        },
        far: Vec::new(),
    }
}
