//! When a step of a rollout is looked at, and which share of the error each look may use.
//!
//! Whoever looks again and again finds something at last. Looks are therefore planned, and their shares of the error sum
//! up to no more than the whole. Between two looks the last verdict stands.

/// Hours after the beginning of a step at which it is looked at; after the last of them once a day.
pub const LOOK_HOURS: [u32; 6] = [1, 2, 4, 8, 12, 24];

/// The probability with which a good release may fail over all looks of a step, and with which one that is worse by the
/// limit may pass.
pub const ERROR: f64 = 0.05;

/// The part of [`ERROR`] that the first look at which a pass is possible may use; later ones share the rest.
const PASS_FIRST: f64 = 0.8;

const DAY_HOURS: u32 = 24;

/// One of the planned looks, by its number from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look(pub u32);

impl Look {
    /// The latest look whose hours have passed, this many hours after the beginning of the step.
    #[must_use]
    pub fn latest(hours: u32) -> Option<Self> {
        let last = LOOK_HOURS.len() as u32 - 1;
        if hours >= DAY_HOURS {
            return Some(Self(last + hours / DAY_HOURS - 1));
        }
        let passed = LOOK_HOURS.iter().take_while(|look| **look <= hours);
        (passed.count() as u32).checked_sub(1).map(Self)
    }

    /// The look after this one; after none, the first.
    #[must_use]
    pub fn after(look: Option<Self>) -> Self {
        look.map_or(Self(0), |Self(number)| Self(number.saturating_add(1)))
    }

    /// Hours from the beginning of the step to this look.
    #[must_use]
    pub fn hours(self) -> u32 {
        let last = LOOK_HOURS.len() as u32 - 1;
        LOOK_HOURS
            .get(self.0 as usize)
            .copied()
            .unwrap_or_else(|| (self.0 - last + 1).saturating_mul(DAY_HOURS))
    }

    /// The part of the error of a failure that this look may use: a seventh at each of the first six, and of the last
    /// seventh half on the day after, then a quarter, an eighth and so on.
    #[must_use]
    pub fn fail_share(self) -> f64 {
        let planned = LOOK_HOURS.len() as u32;
        let seventh = 1.0 / f64::from(planned + 1);
        match self.0.checked_sub(planned) {
            None => seventh,
            Some(later) => seventh * halved(later.saturating_add(1)),
        }
    }

    /// The level of a failure of one of `compared` metrics at this look. The error is divided among them, because one is
    /// enough to fail.
    #[must_use]
    pub fn fail_level(self, compared: usize) -> f64 {
        ERROR * self.fail_share() / compared.max(1) as f64
    }

    /// The level of a pass at this look, of a step that lasts at least `minimum_hours`; `None` before that. It is not
    /// divided, because all metrics must pass.
    #[must_use]
    pub fn pass_level(self, minimum_hours: u32) -> Option<f64> {
        let first = Self::first_pass(minimum_hours);
        let later = self.0.checked_sub(first.0)?;
        Some(if later == 0 {
            ERROR * PASS_FIRST
        } else {
            ERROR * (1.0 - PASS_FIRST) * halved(later)
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
