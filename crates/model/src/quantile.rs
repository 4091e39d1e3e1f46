//! A quantile as an exact decimal fraction, so that its rank is the same in Rust, SQL and TypeScript.

/// Digits after the decimal point that are understood: enough for 0.999999999.
const DECIMALS_MAX: u32 = 9;

/// A quantile between 0 and 1, kept as the text that asked for it and as an exact fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantile {
    text: String,
    numerator: u64,
    denominator: u64,
}

impl Quantile {
    /// Reads a decimal such as `0.95`, `.5` or `1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let decimals = u32::try_from(fraction.len()).ok()?;
        if whole.len() + fraction.len() == 0
            || whole.len() > 1
            || decimals > DECIMALS_MAX
            || !digits(whole)
            || !digits(fraction)
        {
            return None;
        }
        let denominator = 10_u64.pow(decimals);
        let number = |part: &str| {
            if part.is_empty() {
                Some(0)
            } else {
                part.parse::<u64>().ok()
            }
        };
        let numerator = number(whole)? * denominator + number(fraction)?;
        (numerator <= denominator).then(|| Self {
            text: text.to_owned(),
            numerator,
            denominator,
        })
    }

    /// The request's own text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// ⌈q·n⌉, at least 1: the rank of the value that is the quantile of `count` values.
    #[must_use]
    pub fn rank(&self, count: u64) -> u64 {
        let product = u128::from(count) * u128::from(self.numerator);
        let rank = product.div_ceil(u128::from(self.denominator));
        u64::try_from(rank).unwrap_or(u64::MAX).max(1)
    }

    /// The level to give ClickHouse's exact quantile functions, whose rank is ⌈level × n⌉ in floating
    /// point: a hair below the quantile, so that rounding up never passes a whole rank. The hair is
    /// above the rounding error and below the smallest possible fraction of a rank up to 10^9 values
    /// with three decimals.
    #[must_use]
    pub fn clickhouse_level(&self) -> f64 {
        const HAIR: f64 = 1e-13;
        let exact =
            crate::metric::to_float(self.numerator) / crate::metric::to_float(self.denominator);
        (exact - HAIR).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_exact_where_floats_are_not() {
        // 0.07 × 100 is 7.000000000000001 in floating point.
        assert_eq!(Quantile::parse("0.07").unwrap().rank(100), 7);
        assert_eq!(Quantile::parse("0.999").unwrap().rank(1_000), 999);
        assert_eq!(Quantile::parse("0.95").unwrap().rank(1), 1);
        assert_eq!(Quantile::parse("0").unwrap().rank(10), 1);
        assert_eq!(Quantile::parse("1").unwrap().rank(10), 10);
        assert_eq!(
            Quantile::parse("0.5").unwrap().rank(u64::MAX),
            u64::MAX / 2 + 1
        );
    }

    #[test]
    fn only_decimals_between_0_and_1_are_quantiles() {
        for good in ["0.5", ".5", "0.999999999", "1", "1.0", "0"] {
            assert!(Quantile::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ".",
            "1.1",
            "-0.5",
            "95",
            "0.5x",
            "1e-1",
            "NaN",
            "0.0000000001",
            "+1",
        ] {
            assert!(Quantile::parse(bad).is_none(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_level_for_clickhouse_gives_the_same_rank(thousandths in 1_u64..=1_000, count in 1_u64..1_000_000_000) {
            let quantile = Quantile::parse(&format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)).unwrap();
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as ClickHouse computes it")]
            let theirs = (count as f64 * quantile.clickhouse_level()).ceil() as u64;
            proptest::prop_assert_eq!(theirs.max(1), quantile.rank(count));
        }
    }
}
