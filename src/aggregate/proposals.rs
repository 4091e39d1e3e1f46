//! Which new releases wait for a name.
//!
//! Anybody can write a release into a batch, so one terminal's word is not enough: a release gets a name when a
//! second terminal reports it. Until then it counts as `__new__`. The only terminal of a store needs no second
//! one, because a shop with one till has none. One store can bring at most two new releases a day.

use serde::{Deserialize, Serialize};
use tillwatch_model::time::DAY_MS;

/// New releases of one store on one day.
const OF_STORE_MAX: usize = 2;
/// Proposals that are remembered; the oldest make room.
const PROPOSALS_MAX: usize = 1_024;

/// A release that a terminal has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Proposal {
    release: String,
    store_id: String,
    terminal_id: String,
    /// Days since 1970.
    day: i64,
    /// Whether the release has got its name: then the proposal only counts among those of its store.
    is_settled: bool,
}

/// Who reports a release.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The shop.
    pub store_id: &'a str,
    /// The terminal in the store.
    pub terminal_id: &'a str,
    /// Whether no other terminal of the store is known.
    pub is_alone: bool,
}

/// What is to become of a release that has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It gets one.
    Name,
    /// It waits for a second terminal.
    Wait,
    /// Its store has brought as many new releases today as one may.
    TooMany,
}

/// New releases, oldest first, and those that got a name today or yesterday.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposals(Vec<Proposal>);

impl Proposals {
    /// A terminal has reported a release without a name, in a batch that was received at this time.
    pub fn hear(&mut self, release: &str, by: Reporter<'_>, now_ms: i64) -> Word {
        let day = now_ms.div_euclid(DAY_MS);
        self.0.retain(|proposal| proposal.day >= day - 1);
        if let Some(open) = self.open(release) {
            let is_same = open.store_id == by.store_id && open.terminal_id == by.terminal_id;
            return if is_same && !by.is_alone {
                Word::Wait
            } else {
                Word::Name
            };
        }
        let of_store =
            |proposal: &&Proposal| proposal.store_id == by.store_id && proposal.day == day;
        if self.0.iter().filter(of_store).count() >= OF_STORE_MAX {
            return Word::TooMany;
        }
        if self.0.len() >= PROPOSALS_MAX {
            self.0.remove(0);
        }
        self.0.push(Proposal {
            release: release.to_owned(),
            store_id: by.store_id.to_owned(),
            terminal_id: by.terminal_id.to_owned(),
            day,
            is_settled: false,
        });
        if by.is_alone { Word::Name } else { Word::Wait }
    }

    /// A release has got its name.
    pub fn settle(&mut self, release: &str) {
        if let Some(open) = self.open(release) {
            open.is_settled = true;
        }
    }

    fn open(&mut self, release: &str) -> Option<&mut Proposal> {
        let mut all = self.0.iter_mut();
        all.find(|proposal| proposal.release == release && !proposal.is_settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(store_id: &'static str, terminal_id: &'static str) -> Reporter<'static> {
        Reporter {
            store_id,
            terminal_id,
            is_alone: false,
        }
    }

    #[test]
    fn a_second_terminal_gives_a_release_its_name_and_the_only_one_of_a_store_needs_none() {
        let mut proposals = Proposals::default();
        assert_eq!(proposals.hear("2.0", by("a", "1"), 0), Word::Wait);
        assert_eq!(proposals.hear("2.0", by("a", "1"), 1), Word::Wait);
        assert_eq!(proposals.hear("2.0", by("a", "2"), 2), Word::Name);
        proposals.settle("2.0");
        assert_eq!(proposals.hear("3.0", by("a", "1"), 3), Word::Wait);
        assert_eq!(
            proposals.hear("3.0", by("b", "1"), 4),
            Word::Name,
            "of another store"
        );
        let alone = Reporter {
            is_alone: true,
            ..by("kiosk", "1")
        };
        assert_eq!(proposals.hear("4.0", alone, 5), Word::Name);
        // What waits is forgotten after a day.
        assert_eq!(proposals.hear("5.0", by("c", "1"), 0), Word::Wait);
        assert_eq!(proposals.hear("5.0", by("c", "2"), 2 * DAY_MS), Word::Wait);
    }

    #[test]
    fn a_store_brings_two_new_releases_a_day_and_those_of_others_are_still_heard() {
        let mut proposals = Proposals::default();
        for release in ["1", "2"] {
            assert_eq!(proposals.hear(release, by("a", "1"), 0), Word::Wait);
            assert_eq!(proposals.hear(release, by("a", "2"), 1), Word::Name);
            proposals.settle(release);
        }
        assert_eq!(proposals.hear("3", by("a", "1"), 2), Word::TooMany);
        assert_eq!(proposals.hear("3", by("b", "1"), 3), Word::Wait);
        assert_eq!(proposals.hear("3", by("a", "1"), 4), Word::Name);
        assert_eq!(proposals.hear("4", by("a", "1"), DAY_MS), Word::Wait);
        for number in 0..5_000 {
            let store_id = format!("s-{number}");
            let by = Reporter {
                store_id: &store_id,
                ..by("", "1")
            };
            proposals.hear(&number.to_string(), by, DAY_MS);
        }
        assert_eq!(proposals.0.len(), PROPOSALS_MAX);
    }
}
