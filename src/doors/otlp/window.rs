//! The window that a histogram is counted in.
//!
//! Exporters collect whenever their own timer rings. A histogram of ours stands for one minute, five or sixty, from a
//! multiple of that on ([`crate::intake`] refuses others).

use tillwatch_model::Reason;
use tillwatch_model::time::MINUTE_MS;

const MINUTE: u64 = MINUTE_MS.unsigned_abs();
const HOUR: u64 = 60 * MINUTE;
const FIVE_MINUTES: u64 = 5 * MINUTE;

/// Whether what was collected over so long may be counted in a window of this span. A timer is late now and then.
fn fits(collected_ms: u64, span_ms: u64) -> bool {
    collected_ms <= span_ms + span_ms / 2
}

/// The start and the span of the window for what was collected from `start_ms` (0: nobody knows) to `time_ms`: the
/// smallest that suits, which holds the middle, because more of it lies there than in any other.
pub(super) fn window(start_ms: u64, time_ms: u64) -> Result<(u64, u64), Reason> {
    let collected_ms = match start_ms {
        0 => 0,
        _ => time_ms.checked_sub(start_ms).ok_or(Reason::InvalidTime)?,
    };
    // What ends with a minute is of that minute, not of the next.
    let middle_ms = (time_ms - collected_ms / 2).saturating_sub(u64::from(collected_ms == 0));
    let of = |span_ms: u64| (middle_ms / span_ms * span_ms, span_ms);
    if fits(collected_ms, MINUTE) {
        return Ok(of(MINUTE));
    }
    if fits(collected_ms, FIVE_MINUTES) {
        return Ok(of(FIVE_MINUTES));
    }
    if !fits(collected_ms, HOUR) {
        return Err(Reason::InvalidHistogram);
    }
    let (hour_ms, _) = of(HOUR);
    // An hour that has hardly begun lies in the future for the most part, and would be refused.
    Ok(if hour_ms + HOUR / 2 <= time_ms {
        (hour_ms, HOUR)
    } else {
        of(FIVE_MINUTES)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_800_000_000_000;

    #[test]
    fn a_window_holds_most_of_what_was_collected_and_never_lies_in_the_future() {
        let hour = T / HOUR * HOUR;
        for (start_ms, time_ms, wanted) in [
            (hour, hour + MINUTE, Ok((hour, MINUTE))),
            (hour + 50_000, hour + 110_000, Ok((hour + MINUTE, MINUTE))),
            (hour + 10_000, hour + 70_000, Ok((hour, MINUTE))),
            (0, hour + MINUTE, Ok((hour, MINUTE))),
            (0, hour + MINUTE + 1, Ok((hour + MINUTE, MINUTE))),
            (hour, hour + 90_000, Ok((hour, MINUTE))),
            (hour, hour + 90_001, Ok((hour, FIVE_MINUTES))),
            (hour, hour + FIVE_MINUTES, Ok((hour, FIVE_MINUTES))),
            (hour, hour + HOUR, Ok((hour, HOUR))),
            (
                hour,
                hour + 10 * MINUTE,
                Ok((hour + FIVE_MINUTES, FIVE_MINUTES)),
            ),
            (hour, hour + 40 * MINUTE, Ok((hour, HOUR))),
            (hour, hour + 91 * MINUTE, Err(Reason::InvalidHistogram)),
            (hour + 1, hour, Err(Reason::InvalidTime)),
        ] {
            assert_eq!(window(start_ms, time_ms), wanted, "{}", time_ms - hour);
        }
    }
}
