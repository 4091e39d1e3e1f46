//! What the terminals' clocks say: the second witness.
//!
//! Each terminal has one vote, its latest, in a table of fixed size, so that no terminal gains weight by
//! posting more. A vote is the difference to the boot-time clock, so that it stays true when this machine's
//! wall clock moves.

use std::sync::atomic::{AtomicI64, Ordering};

use tillwatch_model::time::{HOUR_MS, MINUTE_MS};

/// Places for votes: of two terminals that share one, the later counts.
const PLACES: usize = 1_024;
/// A vote counts for this long.
const VOTE_MS: i64 = HOUR_MS;
/// Votes this near to the median agree with it.
const AGREES_MS: i64 = 5 * MINUTE_MS;
/// Fewer terminals than these contradict nobody: their batteries may be flat.
const CONTRADICT_MIN: usize = 3;
/// Terminals that are all some minutes off are a shop's custom.
const CONTRADICTS_MS: i64 = HOUR_MS;

#[derive(Debug)]
struct Vote {
    /// The terminal's clock minus the boot-time clock.
    line_ms: AtomicI64,
    /// When the vote was cast, by the boot-time clock; before the first one: long ago.
    at_ms: AtomicI64,
}

/// The votes.
#[derive(Debug)]
pub(super) struct Fleet([Vote; PLACES]);

/// What the votes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opinion {
    /// The terminals' clocks minus the boot-time clock, at the median.
    pub(super) median_ms: i64,
    /// How many terminals voted.
    pub(super) terminals: usize,
    /// How many terminals agree with the median.
    agreeing: usize,
}

impl Opinion {
    /// Whether most terminals agree on a time that is another than this.
    pub(super) fn contradicts(self, line_ms: i64) -> bool {
        self.terminals >= CONTRADICT_MIN
            && self.agreeing * 2 > self.terminals
            && (self.median_ms - line_ms).abs() > CONTRADICTS_MS
    }
}

impl Fleet {
    pub(super) const fn new() -> Self {
        Self(
            [const {
                Vote {
                    line_ms: AtomicI64::new(0),
                    at_ms: AtomicI64::new(i64::MIN),
                }
            }; PLACES],
        )
    }

    pub(super) fn heard(&self, terminal: u64, line_ms: i64, boot_ms: i64) {
        let place = usize::try_from(terminal % PLACES as u64).unwrap_or(0);
        if let Some(vote) = self.0.get(place) {
            vote.line_ms.store(line_ms, Ordering::Relaxed);
            vote.at_ms.store(boot_ms, Ordering::Relaxed);
        }
    }

    pub(super) fn opinion(&self, boot_ms: i64) -> Option<Opinion> {
        let counts = |vote: &&Vote| {
            let at_ms = vote.at_ms.load(Ordering::Relaxed);
            at_ms != i64::MIN && boot_ms - at_ms <= VOTE_MS
        };
        let votes = self.0.iter().filter(counts);
        let mut lines: Vec<i64> = votes
            .map(|vote| vote.line_ms.load(Ordering::Relaxed))
            .collect();
        lines.sort_unstable();
        let median_ms = *lines.get(lines.len() / 2)?;
        let agrees = |line: &&i64| line.saturating_sub(median_ms).abs() <= AGREES_MS;
        Some(Opinion {
            median_ms,
            terminals: lines.len(),
            agreeing: lines.iter().filter(agrees).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_each_terminal_once_and_forgets_after_an_hour() {
        let fleet = Fleet::new();
        assert_eq!(fleet.opinion(0), None);
        for _ in 0..100 {
            fleet.heard(1, -1_000_000_000, 10);
        }
        fleet.heard(2, 5, 10);
        fleet.heard(3, 7, 20);
        let opinion = fleet.opinion(30).unwrap();
        assert_eq!(
            (opinion.median_ms, opinion.terminals, opinion.agreeing),
            (5, 3, 2)
        );
        assert!(opinion.contradicts(2 * HOUR_MS));
        assert!(!opinion.contradicts(HOUR_MS));
        assert_eq!(fleet.opinion(15 + VOTE_MS).unwrap().terminals, 1);
        assert_eq!(fleet.opinion(21 + VOTE_MS), None);
    }

    #[test]
    fn terminals_that_do_not_agree_contradict_nobody() {
        let fleet = Fleet::new();
        for terminal in 0..9 {
            fleet.heard(
                terminal,
                -i64::try_from(terminal).unwrap() * HOUR_MS * 24,
                0,
            );
        }
        assert!(!fleet.opinion(0).unwrap().contradicts(100 * HOUR_MS));
    }
}
