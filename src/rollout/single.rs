//! Single stores that the release hurts while the others are fine: the middle of all stores does not see them.

use super::probability::binomial_upper;
use super::ranks::median;

/// A store counts as far off when its change is over the candidates' middle by this factor at least …
const FACTOR: f64 = 1.5;
/// … and by so many robust standard deviations of a store's day.
const DEVIATIONS: f64 = 4.0;
/// What the median of absolute deviations is multiplied with to be the standard deviation of a normal distribution.
const MEDIAN_TO_DEVIATION: f64 = 1.4826;
/// The probability of so many far stores by chance under which a pass is withheld.
const LEVEL: f64 = 0.05;

/// What is usual in a day of a store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// From where on a store is far off, as a difference of logarithms.
    pub edge: f64,
    /// The share of store-days that are.
    pub share: f64,
}

/// What is usual, from the logarithm of a quantile on each day of the week before, a row for each store.
#[must_use]
pub fn usual(stores: &[Vec<Option<f64>>]) -> Usual {
    let days = stores.iter().map(Vec::len).max().unwrap_or_default();
    let middle_of_day: Vec<Option<f64>> = (0..days)
        .map(|day| {
            let mut values: Vec<f64> = stores
                .iter()
                .filter_map(|store| store.get(day).copied().flatten())
                .collect();
            median(&mut values)
        })
        .collect();
    let mut off: Vec<f64> = Vec::new();
    for store in stores {
        let against_day: Vec<f64> = store
            .iter()
            .zip(&middle_of_day)
            .filter_map(|(value, middle)| Some((*value)? - (*middle)?))
            .collect();
        if let Some(own) = median(&mut against_day.clone()) {
            off.extend(against_day.iter().map(|value| value - own));
        }
    }
    let mut sizes: Vec<f64> = off.iter().map(|value| value.abs()).collect();
    let spread = MEDIAN_TO_DEVIATION * median(&mut sizes).unwrap_or_default();
    let edge = FACTOR.ln().max(DEVIATIONS * spread);
    let far = off.iter().filter(|value| **value > edge).count();
    Usual {
        edge,
        share: (far + 1) as f64 / (off.len() + 1) as f64,
    }
}

/// Which of the candidates are far off, by their place, if chance hardly makes so many; none otherwise.
#[must_use]
pub fn far(changes: &[f64], usual: Usual) -> Vec<usize> {
    let Some(middle) = median(&mut changes.to_vec()) else {
        return Vec::new();
    };
    let far: Vec<usize> = (0..changes.len())
        .filter(|at| {
            changes
                .get(*at)
                .is_some_and(|change| change - middle > usual.edge)
        })
        .collect();
    let chance = binomial_upper(far.len() as u64, changes.len() as u64, usual.share);
    if far.is_empty() || chance >= LEVEL {
        return Vec::new();
    }
    far
}
