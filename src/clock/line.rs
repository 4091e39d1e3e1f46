//! The rules: when the wall clock is doubted, and on what grounds it is believed again.

use tillwatch_model::time::MINUTE_MS;

/// A wall clock before this is wrong, because this program was made later: 2026-11-01, UTC. Moved on with
/// each release.
pub const RELEASED_MS: i64 = 1_793_491_200_000;
/// A wall clock that moves by more than this against the boot-time clock is doubted; samples may lie as far
/// in the future.
pub const STEP_MS_MAX: i64 = 5 * MINUTE_MS;
/// A wall clock that has run evenly for this long is believed.
pub const STEADY_MS: i64 = 10 * MINUTE_MS;
/// Two readings this much off are a step; less is the time between reading one clock and the other.
const NOISE_MS: i64 = 1_000;

/// What was read at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The wall clock, Unix ms.
    pub(super) wall_ms: i64,
    /// The clock that runs since the machine was started, ms.
    pub(super) boot_ms: i64,
    /// The kernel says that its clock, this one, is synchronised.
    pub(super) is_synchronised: bool,
    /// Wall minus boot-time clock, as the terminals' clocks have it at their median.
    pub(super) fleet_ms: Option<i64>,
}

/// Why the wall clock is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The wall clock lies before the date of this release.
    BeforeRelease,
    /// At the start the wall clock lay before the journal's last time.
    BeforeJournal {
        /// The journal's last time, Unix ms.
        journal_ms: i64,
    },
    /// The wall clock moved against the boot-time clock while the process ran.
    Moved {
        /// How far the wall clock is ahead. Negative: behind. Unit: ms.
        by_ms: i64,
    },
}

/// Why the wall clock is believed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// The wall clock is where it was before the doubt, or has reached what it lay before.
    Returned,
    /// The kernel says that the wall clock is synchronised.
    Synchronised,
    /// The wall clock agrees with the terminals' clocks, and the old time did not.
    Fleet,
    /// The wall clock has run evenly for ten minutes.
    Steady,
    /// An operator says so.
    Operator,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The wall clock is not believed any more.
    Doubted(Doubt),
    /// The wall clock is believed again.
    Believed {
        /// Why the wall clock is believed.
        grounds: Grounds,
        /// The wall clock from now on minus what was believed until now. Negative: times may have been
        /// written that lie in the future. Unit: ms.
        moved_ms: i64,
    },
    /// The wall clock was moved so far that it would be doubted, and at the same moment there were grounds
    /// to believe it. Otherwise this is as [`Believed`](Self::Believed).
    Moved {
        /// Why the wall clock is believed.
        grounds: Grounds,
        /// The wall clock from now on minus what was believed until now, ms.
        moved_ms: i64,
    },
}

/// What is believed of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Wall minus boot-time clock.
    trusted_ms: i64,
    /// Wall minus boot-time clock, as it was last read.
    offset_ms: i64,
    /// When the offset last moved, by the boot-time clock.
    moved_at_ms: i64,
    /// Nothing is known of the time but that it is not before the trusted line.
    is_bound: bool,
    doubt: Option<Doubt>,
}

impl Line {
    /// At a start. The journal may have been written with the clock some minutes ahead.
    pub(super) fn start(reading: Reading, journal_ms: i64) -> (Self, Option<Change>) {
        let offset_ms = reading.wall_ms - reading.boot_ms;
        let doubt = if reading.wall_ms < RELEASED_MS {
            Some(Doubt::BeforeRelease)
        } else if reading.wall_ms < journal_ms - STEP_MS_MAX {
            Some(Doubt::BeforeJournal { journal_ms })
        } else {
            None
        };
        let trusted_ms = match doubt {
            None => offset_ms,
            Some(_) => RELEASED_MS.max(journal_ms) - reading.boot_ms,
        };
        let mut line = Self {
            trusted_ms,
            offset_ms,
            moved_at_ms: reading.boot_ms,
            is_bound: doubt.is_some(),
            doubt,
        };
        // Synchronised clocks are right at once, also before a journal's last time.
        let change = line.observe(reading);
        (line, change.or(line.doubt.map(Change::Doubted)))
    }

    pub(super) fn trusted_ms(&self) -> i64 {
        self.trusted_ms
    }

    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// No doubt, and no step for ten minutes.
    pub(super) fn is_steady(&self, boot_ms: i64) -> bool {
        self.doubt.is_none() && boot_ms - self.moved_at_ms >= STEADY_MS
    }

    /// Judges a reading.
    pub(super) fn observe(&mut self, reading: Reading) -> Option<Change> {
        let offset_ms = reading.wall_ms - reading.boot_ms;
        if (offset_ms - self.offset_ms).abs() > NOISE_MS {
            self.moved_at_ms = reading.boot_ms;
        }
        self.offset_ms = offset_ms;
        let is_near = |line_ms: i64| (offset_ms - line_ms).abs() <= STEP_MS_MAX;
        let is_evenly = reading.boot_ms - self.moved_at_ms >= STEADY_MS;
        if reading.wall_ms < RELEASED_MS {
            return self.doubted(Doubt::BeforeRelease);
        }
        let has_reached = if self.is_bound {
            offset_ms >= self.trusted_ms - STEP_MS_MAX
        } else {
            is_near(self.trusted_ms)
        };
        let agrees_with_fleet = reading.fleet_ms.is_some_and(|fleet_ms| {
            is_near(fleet_ms) && (fleet_ms - self.trusted_ms).abs() > STEP_MS_MAX
        });
        let grounds = if has_reached {
            Grounds::Returned
        } else if reading.is_synchronised {
            Grounds::Synchronised
        } else if agrees_with_fleet {
            Grounds::Fleet
        } else if is_evenly {
            Grounds::Steady
        } else {
            let by_ms = offset_ms - self.trusted_ms;
            return match &mut self.doubt {
                // How far the clock is off may change; it is one doubt.
                Some(Doubt::Moved { by_ms: of_doubt }) => {
                    *of_doubt = by_ms;
                    None
                }
                Some(Doubt::BeforeJournal { .. }) => None,
                None | Some(Doubt::BeforeRelease) => self.doubted(Doubt::Moved { by_ms }),
            };
        };
        self.believed(grounds, is_evenly)
    }

    /// An operator believes the wall clock.
    pub(super) fn accept(&mut self, reading: Reading) -> Result<Option<Change>, Doubt> {
        let change = self.observe(reading);
        match self.doubt {
            None => Ok(change),
            Some(Doubt::BeforeRelease) => Err(Doubt::BeforeRelease),
            Some(_) => Ok(self.believed(Grounds::Operator, false)),
        }
    }

    fn doubted(&mut self, doubt: Doubt) -> Option<Change> {
        let is_new = self.doubt != Some(doubt);
        self.doubt = Some(doubt);
        is_new.then_some(Change::Doubted(doubt))
    }

    fn believed(&mut self, grounds: Grounds, is_evenly: bool) -> Option<Change> {
        let was_in_doubt = self.doubt.take().is_some();
        let moved_ms = self.offset_ms - self.trusted_ms;
        let is_far = moved_ms.abs() > STEP_MS_MAX;
        // A small step becomes part of what is believed only once it has lasted: many small steps in a
        // short time are a large one.
        if was_in_doubt || is_far || is_evenly {
            self.trusted_ms = self.offset_ms;
        }
        self.is_bound = false;
        match (was_in_doubt, is_far) {
            (true, _) => Some(Change::Believed { grounds, moved_ms }),
            (false, true) => Some(Change::Moved { grounds, moved_ms }),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tillwatch_model::time::{DAY_MS, HOUR_MS};

    use super::*;

    const NOW_MS: i64 = RELEASED_MS + 100 * DAY_MS;
    const BOOT_MS: i64 = 7 * HOUR_MS;

    /// The clocks `later_ms` after `NOW_MS`, the wall clock off by `ahead_ms`.
    fn at(later_ms: i64, ahead_ms: i64) -> Reading {
        Reading {
            wall_ms: NOW_MS + later_ms + ahead_ms,
            boot_ms: BOOT_MS + later_ms,
            is_synchronised: false,
            fleet_ms: None,
        }
    }

    fn started() -> Line {
        let (line, change) = Line::start(at(0, 0), NOW_MS - HOUR_MS);
        assert_eq!(change, None);
        line
    }

    #[test]
    fn at_a_start_only_a_clock_before_the_journal_or_the_release_is_doubted() {
        for (ahead_ms, journal_ms, doubt) in [
            (0, 0, None),
            (0, NOW_MS, None),
            (0, NOW_MS + STEP_MS_MAX, None),
            (400 * DAY_MS, NOW_MS, None),
            (
                0,
                NOW_MS + STEP_MS_MAX + 1,
                Some(Doubt::BeforeJournal {
                    journal_ms: NOW_MS + STEP_MS_MAX + 1,
                }),
            ),
            (RELEASED_MS - NOW_MS - 1, 0, Some(Doubt::BeforeRelease)),
            (-26 * 365 * DAY_MS, NOW_MS, Some(Doubt::BeforeRelease)),
        ] {
            let (line, change) = Line::start(at(0, ahead_ms), journal_ms);
            assert_eq!(line.doubt(), doubt, "{ahead_ms} {journal_ms}");
            assert_eq!(change, doubt.map(Change::Doubted));
        }
    }

    #[test]
    fn a_clock_that_was_behind_at_the_start_is_believed_once_it_is_not() {
        for behind_ms in [25 * HOUR_MS, 26 * 365 * DAY_MS] {
            let (mut line, _) = Line::start(at(0, -behind_ms), NOW_MS - 1_000);
            assert!(line.doubt().is_some());
            // The best that is known is not what the clock says.
            assert!((line.trusted_ms() + BOOT_MS - NOW_MS).abs() <= 1_000);
            assert_eq!(line.observe(at(5_000, -behind_ms)), None);
            let change = line.observe(at(6_000, 0));
            assert!(
                matches!(
                    change,
                    Some(Change::Believed {
                        grounds: Grounds::Returned,
                        ..
                    })
                ),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_step_is_doubted_until_it_is_taken_back() {
        for step_ms in [2 * HOUR_MS, 25 * HOUR_MS, 100 * DAY_MS] {
            for by_ms in [step_ms, -step_ms] {
                let mut line = started();
                assert_eq!(line.observe(at(1_000, 0)), None);
                let change = line.observe(at(2_000, by_ms));
                let doubt = line.doubt();
                assert!(doubt.is_some());
                assert_eq!(change, doubt.map(Change::Doubted), "{by_ms}");
                // The time goes on as it was.
                assert_eq!(line.trusted_ms(), NOW_MS - BOOT_MS);
                assert_eq!(line.observe(at(75_000, by_ms)), None);
                let returned = Change::Believed {
                    grounds: Grounds::Returned,
                    moved_ms: 0,
                };
                assert_eq!(line.observe(at(76_000, 0)), Some(returned));
                assert!(!line.is_steady(BOOT_MS + 77_000));
            }
        }
    }

    #[test]
    fn a_step_is_believed_when_the_kernel_the_fleet_an_operator_or_ten_minutes_say_so() {
        let by_ms = -2 * HOUR_MS;
        let doubted = || {
            let mut line = started();
            assert!(line.observe(at(1_000, by_ms)).is_some());
            line
        };
        let believed = |grounds| {
            Some(Change::Believed {
                grounds,
                moved_ms: by_ms,
            })
        };
        let later = at(2_000, by_ms);
        let synchronised = Reading {
            is_synchronised: true,
            ..later
        };
        assert_eq!(
            doubted().observe(synchronised),
            believed(Grounds::Synchronised)
        );
        let witness = |fleet_ms| Reading {
            fleet_ms: Some(fleet_ms),
            ..later
        };
        let (old_ms, new_ms) = (NOW_MS - BOOT_MS, NOW_MS - BOOT_MS + by_ms);
        assert_eq!(
            doubted().observe(witness(new_ms + 60_000)),
            believed(Grounds::Fleet)
        );
        assert_eq!(doubted().observe(witness(old_ms)), None);
        assert_eq!(
            doubted().observe(witness(0)),
            None,
            "terminals with flat batteries"
        );
        assert_eq!(doubted().accept(later), Ok(believed(Grounds::Operator)));
        let mut line = doubted();
        for second in 2..601 {
            assert_eq!(line.observe(at(second * 1_000, by_ms)), None, "{second}");
        }
        assert_eq!(line.observe(at(601_000, by_ms)), believed(Grounds::Steady));
        assert_eq!(line.trusted_ms(), new_ms);
    }

    #[test]
    fn a_step_that_the_fleet_confirms_at_once_is_told_and_never_doubted() {
        let mut line = started();
        let by_ms = -2 * HOUR_MS;
        let confirmed = Reading {
            fleet_ms: Some(NOW_MS - BOOT_MS + by_ms),
            ..at(1_000, by_ms)
        };
        let moved = Change::Moved {
            grounds: Grounds::Fleet,
            moved_ms: by_ms,
        };
        assert_eq!(line.observe(confirmed), Some(moved));
        assert_eq!(line.doubt(), None);
    }

    #[test]
    fn no_grounds_are_good_enough_for_a_clock_before_the_release() {
        let (mut line, _) = Line::start(at(0, -26 * 365 * DAY_MS), 0);
        for second in 0..1_200 {
            let reading = Reading {
                is_synchronised: true,
                fleet_ms: Some(-26 * 365 * DAY_MS + NOW_MS - BOOT_MS),
                ..at(second * 1_000, -26 * 365 * DAY_MS)
            };
            assert_eq!(line.observe(reading), None);
        }
        let reading = at(1_200_000, -26 * 365 * DAY_MS);
        assert_eq!(line.accept(reading), Err(Doubt::BeforeRelease));
    }

    #[test]
    fn small_steps_are_followed_and_many_of_them_are_a_large_one() {
        let mut line = started();
        let mut ahead_ms = 0;
        for second in 1..=3_600 {
            // A minute each half hour.
            if second % 1_800 == 1 {
                ahead_ms += 60_000;
            }
            assert_eq!(line.observe(at(second * 1_000, ahead_ms)), None, "{second}");
        }
        assert_eq!(line.trusted_ms(), NOW_MS - BOOT_MS + ahead_ms);
        let mut line = started();
        assert_eq!(line.observe(at(1_000, 4 * MINUTE_MS)), None);
        assert!(line.observe(at(2_000, 8 * MINUTE_MS)).is_some());
    }

    #[test]
    fn it_is_settled_after_ten_minutes_without_a_step() {
        let mut line = started();
        assert_eq!(line.observe(at(STEADY_MS, 0)), None);
        assert!(line.is_steady(BOOT_MS + STEADY_MS));
        assert_eq!(line.observe(at(STEADY_MS + 1_000, 2_000)), None);
        assert!(!line.is_steady(BOOT_MS + STEADY_MS + 1_000));
    }
}
