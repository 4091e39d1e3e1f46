//! Chance: seeds, the normal distribution, jitter.

use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A seed for one purpose: the same text under the same seed always leads to the same chance.
pub fn derive_seed(seed: u64, purpose: &str) -> u64 {
    xxh3_64_with_seed(purpose.as_bytes(), seed)
}

/// A standard normal value.
pub fn normal(rng: &mut Rng) -> f64 {
    inverse_normal(rng.f64())
}

/// How often something with this mean happened: a whole number whose mean is exactly `mean`.
pub fn around(rng: &mut Rng, mean: f64) -> u32 {
    let whole = mean.floor();
    let extra = u32::from(rng.f64() < mean - whole);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "means are small and positive; the cast saturates"
    )]
    let whole = whole as u32;
    whole.saturating_add(extra)
}

/// A wait of up to `base` × 2^`failures`, at most `max`: full jitter, so that terminals that failed
/// together do not come back together.
pub fn full_jitter_ms(rng: &mut Rng, base_ms: u64, max_ms: u64, failures: u32) -> u64 {
    let bound = base_ms
        .saturating_mul(1 << failures.min(32))
        .clamp(1, max_ms.max(1));
    rng.u64(1..=bound)
}

/// The share of a standard normal distribution below `z`; off by less than 1e-7.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17.
pub fn normal_share_below(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = COEFFICIENTS
        .iter()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let above = density * polynomial;
    if z < 0.0 { above } else { 1.0 - above }
}

/// The `z` that has this share of a standard normal distribution below it; off by less than 5e-4, which
/// is less than a terminal's clock resolves, and cheap.
///
/// Abramowitz and Stegun, 26.2.23.
pub fn inverse_normal(share: f64) -> f64 {
    let tail = share.min(1.0 - share).max(1e-12);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = (0.010_328 * t + 0.802_853) * t + 2.515_517;
    let below = ((0.001_308 * t + 0.189_269) * t + 1.432_788) * t + 1.0;
    let z = t - above / below;
    if share < 0.5 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_the_tables() {
        for (z, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_7),
            (-1.959_964, 0.025),
            (3.0, 0.998_650_1),
        ] {
            assert!((normal_share_below(z) - share).abs() < 2e-7, "{z}");
            assert!((inverse_normal(share) - z).abs() < 5e-4, "{z}");
        }
        assert!(inverse_normal(0.0).is_finite() && inverse_normal(1.0).is_finite());
    }

    #[test]
    fn jitter_is_bounded_and_grows() {
        let mut rng = Rng::with_seed(1);
        let mut longest = |failures| {
            (0..500)
                .map(|_| full_jitter_ms(&mut rng, 1_000, 30_000, failures))
                .max()
                .unwrap()
        };
        assert!(longest(0) <= 1_000);
        assert!((3_000..=4_000).contains(&longest(2)));
        assert!((25_000..=30_000).contains(&longest(60)));
    }

    #[test]
    fn seeds_differ_by_purpose_and_seed() {
        assert_eq!(derive_seed(7, "a"), derive_seed(7, "a"));
        assert_ne!(derive_seed(7, "a"), derive_seed(7, "b"));
        assert_ne!(derive_seed(7, "a"), derive_seed(8, "a"));
    }
}
