//! How far two groups of stores lie apart, by ranks: the Hodges–Lehmann shift, and its bounds from the exact counts of
//! the rank-sum test. Nothing is assumed of how stores' changes are distributed, and nothing is drawn.

use super::probability::{binomial_upper, normal_quantile};

/// Up to this many pairs of stores the arrangements are counted one by one; beyond it the normal approximation is as
/// good as exact.
const PAIRS_COUNTED_MAX: usize = 2_500;

/// How far the candidates lie above the others, on the scale of the changes that were given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The median of all differences between a candidate and another store.
    pub estimate: f64,
    /// What the shift is above, but for the probability that was asked; `None`: so few stores bound nothing.
    pub low: Option<f64>,
    /// What the shift is below, likewise.
    pub high: Option<f64>,
}

/// One-sided probabilities with which a bound may be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Of the lower bound: what a failure stands on.
    pub fail: f64,
    /// Of the upper bound: what a pass stands on.
    pub pass: f64,
}

/// The number of arrangements of `n1` among `n1 + n0` values by Mann and Whitney's U, from 0 to `n1 · n0`: the
/// coefficients of the Gaussian binomial, each factor multiplied in and divided out.
#[must_use]
pub fn arrangements(n1: usize, n0: usize) -> Vec<f64> {
    let (fewer, more) = (n1.min(n0), n1.max(n0));
    let size = fewer * more + 1;
    let mut counts = vec![0.0; size];
    counts[0] = 1.0;
    for i in 1..=fewer {
        for u in (more + i..size).rev() {
            counts[u] -= counts[u - (more + i)];
        }
        for u in i..size {
            counts[u] += counts[u - i];
        }
    }
    counts
}

/// The largest c with P(U ≤ c − 1) ≤ `level`: the c-th smallest of all differences bounds the shift from below. 0: so
/// few stores bound nothing at this level.
#[must_use]
pub fn critical(n1: usize, n0: usize, level: f64) -> usize {
    let pairs = n1 * n0;
    if pairs <= PAIRS_COUNTED_MAX {
        let counts = arrangements(n1, n0);
        let total: f64 = counts.iter().sum();
        let mut below = 0.0;
        return counts
            .iter()
            .take_while(|count| {
                below += **count;
                below / total <= level
            })
            .count();
    }
    let (n1, n0, pairs) = (n1 as f64, n0 as f64, pairs as f64);
    let deviation = (pairs * (n1 + n0 + 1.0) / 12.0).sqrt();
    whole(pairs / 2.0 + 0.5 + normal_quantile(level) * deviation)
}

/// The shift of the candidates against the controls. `None` without stores on either side.
#[must_use]
pub fn shift(candidates: &[f64], controls: &[f64], levels: Levels) -> Option<Shift> {
    let mut differences: Vec<f64> = candidates
        .iter()
        .flat_map(|one| controls.iter().map(move |other| one - other))
        .collect();
    let rank = |level| critical(candidates.len(), controls.len(), level);
    bounded(&mut differences, rank(levels.fail), rank(levels.pass))
}

/// The shift of changes that nobody can be held against: their median, bounded by the sign test. Weak, because a bad
/// day of all stores looks the same.
#[must_use]
pub fn shift_alone(changes: &[f64], levels: Levels) -> Option<Shift> {
    let count = changes.len() as u64;
    // The largest c with P(B ≤ c − 1) ≤ level, where B counts heads of a fair coin.
    let rank = |level: f64| {
        (0..=count)
            .take_while(|c| 1.0 - binomial_upper(*c + 1, count, 0.5) <= level)
            .count()
            .min(changes.len().div_ceil(2))
    };
    let (low, high) = (rank(levels.fail), rank(levels.pass));
    bounded(&mut changes.to_vec(), low, high)
}

/// The median of the values, the `low`-th of them from below and the `high`-th from above.
fn bounded(values: &mut [f64], low: usize, high: usize) -> Option<Shift> {
    let estimate = median(values)?;
    let count = values.len();
    let low = low.checked_sub(1).and_then(|at| nth(values, at));
    let high = count
        .checked_sub(high)
        .filter(|at| *at < count)
        .and_then(|at| nth(values, at));
    Some(Shift {
        estimate,
        low,
        high,
    })
}

/// The middle value, or the mean of the two middle ones. `None` of none.
#[must_use]
pub fn median(values: &mut [f64]) -> Option<f64> {
    let half = values.len() / 2;
    let upper = nth(values, half)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = nth(values, half - 1)?;
    Some(f64::midpoint(lower, upper))
}

fn nth(values: &mut [f64], at: usize) -> Option<f64> {
    (at < values.len()).then(|| *values.select_nth_unstable_by(at, f64::total_cmp).1)
}

/// The whole part of a number that counts something.
fn whole(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0 and at most the number of pairs"
    )]
    let whole = number.max(0.0).floor() as usize;
    whole
}
