//! From the unit that a client names to the unit that a metric has on the wire.

use tillwatch_model::Unit;

/// Seconds and their parts, in milliseconds. Units are written as UCUM has them.
const TIMES: [(&str, f64); 5] = [
    ("s", 1e3),
    ("ms", 1.0),
    ("us", 1e-3),
    ("µs", 1e-3),
    ("ns", 1e-6),
];
/// Bytes and their multiples, in bytes.
const SIZES: [(&str, f64); 7] = [
    ("By", 1.0),
    ("kBy", 1e3),
    ("KiBy", 1_024.0),
    ("MBy", 1e6),
    ("MiBy", 1_048_576.0),
    ("GBy", 1e9),
    ("GiBy", 1_073_741_824.0),
];
/// Shares, in ones.
const SHARES: [(&str, f64); 2] = [("1", 1.0), ("%", 1e-2)];

/// Things.
const COUNTS: [(&str, f64); 1] = [("1", 1.0)];

/// What a value in the unit `said` is multiplied by to be in the unit of a metric. A unit that says nothing of the
/// metric's leaves the value as it is.
#[must_use]
pub fn factor(said: &str, metric: Unit) -> f64 {
    find(said, metric).unwrap_or(1.0)
}

/// Whether a unit can be turned into that of a metric.
#[must_use]
pub fn is_known(said: &str, metric: Unit) -> bool {
    find(said, metric).is_some()
}

fn find(said: &str, metric: Unit) -> Option<f64> {
    let (known, one): (&[(&str, f64)], f64) = match metric {
        Unit::Milliseconds => (&TIMES, 1.0),
        Unit::Bytes => (&SIZES, 1.0),
        Unit::Megabytes => (&SIZES, 1e-6),
        Unit::Ratio | Unit::Score => (&SHARES, 1.0),
        Unit::Count => (&COUNTS, 1.0),
    };
    let found = known.iter().find(|(name, _)| *name == said);
    found.map(|(_, factor)| factor * one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_converted_is_and_all_else_stays() {
        for (instrument, metric, wanted) in [
            ("s", Unit::Milliseconds, 1_000.0),
            ("ms", Unit::Milliseconds, 1.0),
            ("us", Unit::Milliseconds, 0.001),
            ("ns", Unit::Milliseconds, 0.000_001),
            ("By", Unit::Milliseconds, 1.0),
            ("", Unit::Milliseconds, 1.0),
            ("1", Unit::Milliseconds, 1.0),
            ("By", Unit::Megabytes, 0.000_001),
            ("MBy", Unit::Megabytes, 1.0),
            ("MiBy", Unit::Megabytes, 1.048_576),
            ("kBy", Unit::Bytes, 1_000.0),
            ("KiBy", Unit::Bytes, 1_024.0),
            ("%", Unit::Ratio, 0.01),
            ("1", Unit::Ratio, 1.0),
            ("%", Unit::Score, 0.01),
            ("{item}", Unit::Count, 1.0),
            ("s", Unit::Count, 1.0),
        ] {
            let factor = factor(instrument, metric);
            assert!((factor - wanted).abs() < 1e-12, "{instrument}: {factor}");
        }
    }
}
