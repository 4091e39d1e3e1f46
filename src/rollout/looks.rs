//! When a step of a rollout is looked at, and which share of the error each look may use.
//!
//! Whoever looks again and again finds something at last. Looks are therefore planned, and their shares of the error sum
//! up to no more than the whole. Between two looks the last verdict stands.

/// Hours after the beginning of a step at which it is looked at; after the last of them once a day.
pub const LOOK_HOURS: [u32; 6] = [1, 2, 4, 8, 12, 24];

/// The probability with which a good release may fail over all looks of a step. A simulated good release fails far more
/// rarely, because a failure also needs an estimate beyond the limit; the value is such that it does so even where stores
/// are twice as noisy as assumed.
pub const FAIL_ERROR: f64 = 0.025;

/// The part of [`FAIL_ERROR`] of the first look. It has the most: a release that is clearly bad is to be found within the
/// hour, when a store has the fewest values.
const FAIL_FIRST: f64 = 0.36;
/// The part of each of the other five, and of all days after them together.
const FAIL_LATER: f64 = (1.0 - FAIL_FIRST) / 6.0;

/// The probability with which a release that is worse by the limit may pass over all looks of a step.
pub const PASS_ERROR: f64 = 0.05;

/// The part of [`PASS_ERROR`] that the first look at which a pass is possible may use; later ones share the rest.
const PASS_FIRST: f64 = 0.8;

/// The probability with which silence may be charged to a release by chance over all looks of a step.
pub const SILENCE_ERROR: f64 = 0.05;

const DAY_HOURS: u32 = 24;
/// The number of the last look of the first day.
const LAST: u32 = 5;

const _: () = assert!(LOOK_HOURS.len() == LAST as usize + 1);

/// One of the planned looks, by its number from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Look(pub u32);

impl Look {
    /// The latest look whose hours have passed, this many hours after the beginning of the step.
    #[must_use]
    pub fn latest(hours: u32) -> Option<Self> {
        if hours >= DAY_HOURS {
            return Some(Self(LAST + hours / DAY_HOURS - 1));
        }
        let looks = (0_u32..).zip(LOOK_HOURS);
        let passed = looks.take_while(|(_, look)| *look <= hours);
        passed.last().map(|(number, _)| Self(number))
    }

    /// The look after this one; after none, the first.
    #[must_use]
    pub fn after(look: Option<Self>) -> Self {
        look.map_or(Self(0), |Self(number)| Self(number.saturating_add(1)))
    }

    /// Hours from the beginning of the step to this look.
    #[must_use]
    pub fn hours(self) -> u32 {
        LOOK_HOURS
            .get(self.0 as usize)
            .copied()
            .unwrap_or_else(|| (self.0 - LAST + 1).saturating_mul(DAY_HOURS))
    }

    /// The level of a failure of one of `compared` metrics at this look. The error is divided among them, because one is
    /// enough to fail. On the days after the first it is halved again and again.
    #[must_use]
    pub fn fail_level(self, compared: usize) -> f64 {
        let part = match (self.0, self.days_later()) {
            (0, _) => FAIL_FIRST,
            (_, None) => FAIL_LATER,
            (_, Some(days)) => FAIL_LATER * halved(days),
        };
        FAIL_ERROR * part / compared.max(1) as f64
    }

    /// The level at which silence fails at this look: a seventh of its error at each of the first six, and of the last
    /// seventh half on the day after, then a quarter, an eighth and so on.
    #[must_use]
    pub fn silence_level(self) -> f64 {
        let seventh = 1.0 / f64::from(LAST + 2);
        SILENCE_ERROR
            * self
                .days_later()
                .map_or(seventh, |days| seventh * halved(days))
    }

    /// How many days after the first this look is, if it is one of those.
    fn days_later(self) -> Option<u32> {
        self.0.checked_sub(LAST).filter(|days| *days > 0)
    }

    /// The level of a pass at this look, of a step that lasts at least `minimum_hours`; `None` before that. It is not
    /// divided, because all metrics must pass.
    #[must_use]
    pub fn pass_level(self, minimum_hours: u32) -> Option<f64> {
        let first = Self::first_pass(minimum_hours);
        let later = self.0.checked_sub(first.0)?;
        Some(if later == 0 {
            PASS_ERROR * PASS_FIRST
        } else {
            PASS_ERROR * (1.0 - PASS_FIRST) * halved(later)
        })
    }

    /// The first look at which a step that lasts at least `minimum_hours` may pass.
    #[must_use]
    pub fn first_pass(minimum_hours: u32) -> Self {
        let mut look = Self::latest(minimum_hours).unwrap_or(Self(0));
        if look.hours() < minimum_hours {
            look = Self::after(Some(look));
        }
        look
    }
}

/// 1 / 2^times.
fn halved(times: u32) -> f64 {
    0.5_f64.powi(i32::try_from(times).unwrap_or(i32::MAX))
}
