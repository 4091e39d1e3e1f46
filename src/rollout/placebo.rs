//! How often a release that does nothing would have failed on the own fleet, and what one that does something is found by:
//! stores without the release are drawn as if they had it, and held against the rest of them.
//!
//! The draws are the same for the same stores, so that the same evidence gives the same line.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::compare::{CANDIDATES_MIN, CONTROLS_MIN, Groups};
use super::criteria::Plan;
use super::evidence::{Evidence, Store};
use super::groups::Group;
use super::looks::Look;
use super::ranks::{self, Levels, Shift};
use super::verdict::Method;
use super::{shares, values};

const DRAWS_MAX: usize = 1_000;
/// Pairs of stores that are compared for all draws together: about a second.
const PAIRS_MAX: usize = 100_000_000;
/// A slowdown is found if so many of the draws find it. Unit: percent.
const FOUND_PERCENT: usize = 80;

/// What draws of stores without the release come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placebo {
    /// How many draws there were.
    pub draws: usize,
    /// Stores in each draw.
    pub stores: usize,
    /// Stores that it was drawn from.
    pub of: usize,
    /// Draws that would have failed.
    pub failed: usize,
    /// By metric, the factor that four in five draws would have found at this look.
    pub found: BTreeMap<String, f64>,
}

/// What one metric is in each store, as the logarithm of a factor or a difference of shares.
struct Changes<'a> {
    metric: &'a str,
    of_store: Vec<Option<f64>>,
    /// The estimate over which it fails, if the interval is above nothing; `None`: only a limit fails it.
    worse_over: Option<f64>,
    has_limit: bool,
}

/// Draws `stores` of the controls again and again. `None`: they are too few for it.
#[must_use]
pub fn placebo(plan: &Plan, evidence: &Evidence, stores: usize) -> Option<Placebo> {
    let look = evidence.look?;
    let mut controls: Vec<&Store> = evidence
        .stores
        .iter()
        .filter(|store| store.group == Group::Control && !plan.exclude.contains_key(&store.name))
        .collect();
    controls.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let others = controls.len().checked_sub(stores)?;
    if stores < CANDIDATES_MIN || others < CONTROLS_MIN {
        return None;
    }
    let levels = levels_of(plan, look);
    let changes = changes(plan, &controls);
    let pairs = stores * others * changes.len().max(1);
    let draws = (PAIRS_MAX / pairs).clamp(1, DRAWS_MAX);
    let mut order: Vec<usize> = (0..controls.len()).collect();
    let mut thresholds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut failed = 0;
    for draw in 0..draws as u64 {
        // An order that nobody can guess from the stores, and that is the same each time.
        order.sort_unstable_by_key(|at| xxh3_64_with_seed(&at.to_le_bytes(), draw));
        let (drawn, rest) = order.split_at(stores);
        let mut is_failed = false;
        for changes in &changes {
            let of = |places: &[usize]| -> Vec<f64> {
                let found = places.iter().filter_map(|at| *changes.of_store.get(*at)?);
                found.collect()
            };
            let (candidates, others) = (of(drawn), of(rest));
            if candidates.len() < CANDIDATES_MIN || others.len() < CONTROLS_MIN {
                continue;
            }
            let Some(shift) = ranks::shift(&candidates, &others, levels) else {
                continue;
            };
            if let Some(over) = changes.worse_over {
                let threshold = found_from(shift, over);
                thresholds
                    .entry(changes.metric)
                    .or_default()
                    .push(threshold);
            }
            let is_above = shift.low.is_some_and(|low| low > 0.0);
            is_failed |= is_above
                && (changes.worse_over.is_some_and(|over| shift.estimate > over)
                    || (changes.has_limit
                        && fails(plan, changes.metric, &controls, drawn, rest, levels)));
        }
        failed += usize::from(is_failed);
    }
    let found = thresholds
        .into_iter()
        .filter_map(|(metric, mut thresholds)| {
            thresholds.sort_unstable_by(f64::total_cmp);
            let at = (thresholds.len() * FOUND_PERCENT)
                .div_ceil(100)
                .checked_sub(1)?;
            let factor = thresholds.get(at)?.exp();
            factor.is_finite().then(|| (metric.to_owned(), factor))
        });
    Some(Placebo {
        draws,
        stores,
        of: controls.len(),
        failed,
        found: found.collect(),
    })
}

/// The levels of a look; before a pass is possible, those of the look at which it will be.
pub(super) fn levels_of(plan: &Plan, look: Look) -> Levels {
    let first_pass = Look::first_pass(plan.minimum_hours);
    let pass = look.max(first_pass).pass_level(plan.minimum_hours);
    Levels {
        fail: look.fail_level(plan.compared()),
        pass: pass.unwrap_or_default(),
    }
}

fn changes<'a>(plan: &'a Plan, controls: &[&Store]) -> Vec<Changes<'a>> {
    let values = plan.values.iter().map(|(metric, criterion)| Changes {
        metric,
        of_store: controls
            .iter()
            .map(|store| values::change_of(store.values.get(metric)?))
            .collect(),
        worse_over: criterion.worse_at_most.map(f64::ln),
        has_limit: criterion.rollback_over.is_some(),
    });
    let shares = plan.ratios.iter().map(|(metric, criterion)| Changes {
        metric,
        of_store: controls
            .iter()
            .map(|store| shares::change_of(store.shares.get(metric)?))
            .collect(),
        worse_over: None,
        has_limit: criterion.rollback.is_some(),
    });
    values.chain(shares).collect()
}

/// From which further slowdown on a draw would have failed: it moves its shift and the lower bound alike.
fn found_from(shift: Shift, over: f64) -> f64 {
    let bound = shift.low.map_or(f64::INFINITY, |low| -low);
    bound.max(over - shift.estimate)
}

/// Whether a metric of a draw fails, its limit included.
fn fails(
    plan: &Plan,
    metric: &str,
    controls: &[&Store],
    drawn: &[usize],
    rest: &[usize],
    levels: Levels,
) -> bool {
    let of = |places: &[usize]| -> Vec<&Store> {
        let found = places.iter().filter_map(|at| controls.get(*at).copied());
        found.collect()
    };
    let groups = Groups {
        candidates: of(drawn),
        controls: of(rest),
        method: Method::Ranks,
        levels,
    };
    let values = plan.values.get(metric);
    let values = values.map(|criterion| values::values(metric, criterion, &groups));
    let shares = plan.ratios.get(metric);
    let shares = shares.map(|criterion| shares::shares(metric, criterion, &groups));
    values
        .or(shares)
        .is_some_and(|finding| finding.state.is_fail())
}

impl Placebo {
    /// The share of draws that would have failed.
    #[must_use]
    pub fn failed_percent(&self) -> f64 {
        100.0 * self.failed as f64 / self.draws.max(1) as f64
    }

    /// The line below a verdict.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "check: of {} draws of {} from the {} other stores {:.1} % would have failed",
            self.draws,
            self.stores,
            self.of,
            self.failed_percent()
        )
    }
}
