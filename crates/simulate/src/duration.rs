//! Durations as people write them.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a number and a unit, such as 250ms, 90s, 10m, 24h or 7d")]
pub struct DurationError;

/// Reads `250ms`, `90s`, `10m`, `24h`, `7d`, and sums of them such as `1h30m`.
///
/// # Errors
/// When the text is anything else.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const UNITS: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let mut rest = text.trim();
    let mut total_ms = 0_u64;
    if rest.is_empty() {
        return Err(DurationError);
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or(DurationError)?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or(DurationError)?;
        // An empty or an endless number is no number of milliseconds either.
        let number: u64 = number.parse().ok().ok_or(DurationError)?;
        total_ms = number
            .checked_mul(*unit_ms)
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or(DurationError)?;
        rest = next;
    }
    Ok(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "90",
            "s",
            "1.5h",
            "-1s",
            "5 parsecs",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }
}
