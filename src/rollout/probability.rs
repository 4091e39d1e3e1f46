//! What the method needs of probability: quantiles of the normal and of Student's distribution, tails of the binomial
//! and of the hypergeometric one.

use std::f64::consts::FRAC_2_PI;

/// Halvings of an interval after which a double has no bits left to find.
const HALVINGS: usize = 120;

/// The value that a standard normal variable is below with this probability: algorithm AS 241 (Wichura 1988), whose
/// relative error is below 1e-15. Infinite at 0 and 1.
#[must_use]
pub fn normal_quantile(probability: f64) -> f64 {
    if probability <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if probability >= 1.0 {
        return f64::INFINITY;
    }
    let from_middle = probability - 0.5;
    if from_middle.abs() <= 0.425 {
        let square = 0.180_625 - from_middle * from_middle;
        return from_middle * polynomial(&MIDDLE_ABOVE, square) / polynomial(&MIDDLE_BELOW, square);
    }
    let tail = probability.min(1.0 - probability);
    let root = (-tail.ln()).sqrt();
    let size = if root <= 5.0 {
        polynomial(&SIDE_ABOVE, root - 1.6) / polynomial(&SIDE_BELOW, root - 1.6)
    } else {
        polynomial(&FAR_ABOVE, root - 5.0) / polynomial(&FAR_BELOW, root - 5.0)
    };
    size.copysign(from_middle)
}

/// The value that a variable with Student's distribution is above with probability `upper`. The finite series for whole
/// degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4), and bisection.
#[must_use]
pub fn student_quantile(upper: f64, degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::INFINITY;
    }
    if upper > 0.5 {
        return -student_quantile(1.0 - upper, degrees);
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while student_upper(high, degrees) > upper && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if student_upper(middle, degrees) > upper {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn student_upper(value: f64, degrees: usize) -> f64 {
    let angle = (value / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    // The term of the power p is that of the power p − 2, times (p − 1) / p and the square of the cosine.
    let (mut term, mut power) = if is_odd { (cosine, 1.0) } else { (1.0, 0.0) };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    while power + 2.0 <= degrees as f64 - 2.0 {
        power += 2.0;
        term *= cosine * cosine * (power - 1.0) / power;
        sum += term;
    }
    let within = if is_odd {
        FRAC_2_PI * (angle + sine * sum)
    } else {
        sine * sum
    };
    (1.0 - within) / 2.0
}

/// The probability that at least `successes` of `trials` succeed, each with probability `chance`.
#[must_use]
pub fn binomial_upper(successes: u64, trials: u64, chance: f64) -> f64 {
    if successes == 0 || chance >= 1.0 {
        return if successes <= trials { 1.0 } else { 0.0 };
    }
    if successes > trials || chance <= 0.0 {
        return 0.0;
    }
    let (n, odds) = (trials as f64, chance / (1.0 - chance));
    let term = |k: u64| {
        let rest = (trials - k) as f64;
        (ln_choose(trials, k) + k as f64 * chance.ln() + rest * (-chance).ln_1p()).exp()
    };
    // Summed from its greatest term on, in the tail that does not hold the mean.
    if successes as f64 > n * chance {
        tail(term(successes), successes..trials, |k| {
            (n - k) / (k + 1.0) * odds
        })
    } else {
        let first = successes - 1;
        1.0 - tail_down(term(first), first, |k| k / (n - k + 1.0) / odds)
    }
}

/// The probability of at least `marked_here` marked ones in the first group, if chance alone had spread all marked ones
/// over both groups (Fisher's exact test, one-sided).
#[must_use]
pub fn fisher_upper(marked_here: u64, here: u64, marked_there: u64, there: u64) -> f64 {
    let marked = marked_here + marked_there;
    let least = marked.saturating_sub(there);
    if marked_here <= least {
        return 1.0;
    }
    let (m, h, t) = (marked as f64, here as f64, there as f64);
    let term = |k: u64| {
        (ln_choose(here, k) + ln_choose(there, marked - k) - ln_choose(here + there, marked)).exp()
    };
    if marked_here as f64 > m * h / (h + t) {
        tail(term(marked_here), marked_here..here.min(marked), |k| {
            (h - k) * (m - k) / ((k + 1.0) * (t - m + k + 1.0))
        })
    } else {
        let first = marked_here - 1;
        1.0 - tail_down(term(first), first, |k| {
            k * (t - m + k) / ((h - k + 1.0) * (m - k + 1.0))
        })
    }
}

/// The sum of a term and those after it, each the one before it times `ratio` of that one's number.
fn tail(first: f64, numbers: std::ops::Range<u64>, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum) = (first, first);
    for number in numbers {
        term *= ratio(number as f64);
        sum += term;
        if term < sum * f64::EPSILON / 4.0 {
            break;
        }
    }
    sum.min(1.0)
}

fn tail_down(first: f64, number: u64, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum) = (first, first);
    for number in (1..=number).rev() {
        term *= ratio(number as f64);
        sum += term;
        if term < sum * f64::EPSILON / 4.0 {
            break;
        }
    }
    sum.min(1.0)
}

/// The logarithm of the number of ways to choose `k` of `n`.
fn ln_choose(n: u64, k: u64) -> f64 {
    let k = k.min(n.saturating_sub(k));
    (1..=k)
        .map(|i| ((n - k + i) as f64 / i as f64).ln())
        .sum::<f64>()
}

/// The value at `x` of the polynomial with these coefficients, that of the highest power last.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| sum.mul_add(x, *coefficient))
}

// The constants of AS 241, as they were published, the coefficient of the lowest power first.
const MIDDLE_ABOVE: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const MIDDLE_BELOW: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_854,
];
const SIDE_ABOVE: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    0.000_774_545_014_278_341_4,
];
const SIDE_BELOW: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    0.000_547_593_808_499_534_5,
    1.050_750_071_644_416_9e-09,
];
const FAR_ABOVE: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    0.001_242_660_947_388_078_4,
    2.711_555_568_743_487_6e-05,
    2.010_334_399_292_288_1e-07,
];
const FAR_BELOW: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    0.000_786_869_131_145_613_3,
    1.846_318_317_510_054_8e-05,
    1.421_511_758_316_446e-07,
    2.044_263_103_389_939_7e-15,
];
