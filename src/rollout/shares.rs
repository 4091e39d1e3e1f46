//! A share of bad ones: in both groups, by how much it rose, and what follows.

use super::compare::{Groups, SAMPLES_MIN, SAMPLES_MIXED_MIN};
use super::criteria::RatioCriterion;
use super::evidence::{Count, Shares, Store};
use super::verdict::{Finding, Kind, Limits, Method, State, Worse};
use super::within;

/// Judges a share.
#[must_use]
pub fn shares(metric: &str, criterion: &RatioCriterion, groups: &Groups<'_>) -> Finding {
    let sum = |stores: &[&Store], part: fn(&Shares) -> Count| {
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
            shares.filter_map(change_of).collect()
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

/// By how much a store's share of bad ones rose over that of its own week before.
pub(super) fn change_of(shares: &Shares) -> Option<f64> {
    let are_enough = shares.now.all >= SAMPLES_MIN && shares.before.all >= SAMPLES_MIN;
    are_enough.then_some(())?;
    Some(shares.now.rate()? - shares.before.rate()?)
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
