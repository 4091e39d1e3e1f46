//! When a store is open, as an operator writes it: `Mo-Fr 08:00-20:00; Sa 09:00-13:00,14:00-18:00`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The days of a week as they are written.
const DAYS: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
/// Nobody opens or closes to the minute: so long after opening and before closing nothing is expected. Unit: minutes.
const MARGIN: u16 = 30;
const MINUTES_A_DAY: u16 = 24 * 60;

/// When a store is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// By day from Monday on, in minutes from midnight.
    days: [Vec<(u16, u16)>; 7],
    zone: TimeZone,
}

impl Opening {
    /// Reads opening hours in a time zone of the IANA database.
    ///
    /// # Errors
    /// Says what cannot be read, and how it is written.
    pub fn parse(text: &str, zone: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|_unknown| {
            format!("there is no time zone {zone:?}; write one such as Europe/Berlin")
        })?;
        let mut opening = Self {
            days: Default::default(),
            zone,
        };
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let wrong = || {
                format!(
                    "opening hours are written as Mo-Fr 08:00-20:00; Sa 09:00-18:00, not {part:?}"
                )
            };
            let (days, times) = part.split_once(' ').ok_or_else(wrong)?;
            let times = times.split(',').map(|time| span(time.trim()));
            let times: Vec<(u16, u16)> = times.collect::<Option<_>>().ok_or_else(wrong)?;
            for day in days.split(',').map(|days| range(days.trim())) {
                for day in day.ok_or_else(wrong)? {
                    if let Some(of_day) = opening.days.get_mut(day) {
                        of_day.extend(&times);
                    }
                }
            }
        }
        if opening.days.iter().all(Vec::is_empty) {
            return Err("opening hours name no day".to_owned());
        }
        Ok(opening)
    }

    /// Whether the store is open all through this hour (since 1970), with half an hour before and after.
    #[must_use]
    pub fn is_due(&self, hour: u32) -> bool {
        let Ok(start) = Timestamp::from_second(i64::from(hour) * 3_600) else {
            return false;
        };
        let local = start.to_zoned(self.zone.clone());
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).ok();
        let minutes = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let from = u16::try_from(minutes).unwrap_or(0);
        let of_day = day.and_then(|day| self.days.get(day));
        of_day.is_some_and(|times| {
            let mut times = times.iter();
            times.any(|(opens, closes)| from >= opens + MARGIN && from + 60 + MARGIN <= *closes)
        })
    }
}

/// `Mo`, or `Mo-Fr`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let place = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = place(first)?..=place(last)?;
    (!range.is_empty()).then_some(range)
}

/// `08:00-20:00`.
fn span(text: &str) -> Option<(u16, u16)> {
    let minutes = |time: &str| {
        let (hours, minutes) = time.split_once(':')?;
        let is_written = hours.len() == 2 && minutes.len() == 2;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let at = hours * 60 + minutes;
        (is_written && hours <= 24 && minutes < 60 && at <= MINUTES_A_DAY).then_some(at)
    };
    let (opens, closes) = text.split_once('-')?;
    let (opens, closes) = (minutes(opens)?, minutes(closes)?);
    (opens < closes).then_some((opens, closes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many hours after the beginning of Monday, 2025-11-24, UTC.
    fn hour(hours: u32) -> u32 {
        489_984 + hours
    }

    fn due(opening: &Opening, hours: std::ops::Range<u32>) -> Vec<u32> {
        hours.filter(|hours| opening.is_due(hour(*hours))).collect()
    }

    #[test]
    fn a_store_is_open_by_its_own_clock() {
        let opening = Opening::parse(
            "Mo-Fr 08:00-20:00; Sa 09:00-13:00,14:00-18:30",
            "Europe/Berlin",
        )
        .unwrap();
        // An hour ahead of UTC in winter: from nine to seven there.
        assert_eq!(due(&opening, 0..24), (8..18).collect::<Vec<_>>());
        let saturday = 5 * 24;
        assert_eq!(
            due(&opening, saturday..saturday + 24),
            [129, 130, 134, 135, 136]
        );
        assert_eq!(due(&opening, 6 * 24..7 * 24), [0; 0]);
        // In summer two hours ahead.
        let summer = 182 * 24;
        assert_eq!(
            due(&opening, summer..summer + 24),
            (summer + 7..summer + 17).collect::<Vec<_>>()
        );
        // Half an hour apart from whole hours.
        let opening = Opening::parse("Mo 08:00-12:00", "Asia/Kolkata").unwrap();
        assert_eq!(due(&opening, 0..24), [3, 4, 5]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, zone, said) in [
            ("Mo-Fr 08:00-20:00", "Berlin", "Europe/Berlin"),
            ("Mo-Fr", "UTC", "are written as"),
            ("Fr-Mo 08:00-20:00", "UTC", "are written as"),
            ("Mo 20:00-02:00", "UTC", "are written as"),
            ("Mo 8:00-20:00", "UTC", "are written as"),
            ("Mo 08:00-24:30", "UTC", "are written as"),
            ("Mon 08:00-20:00", "UTC", "are written as"),
            (" ; ", "UTC", "no day"),
        ] {
            let error = Opening::parse(text, zone).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
