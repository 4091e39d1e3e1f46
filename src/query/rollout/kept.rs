//! What stands of the verdicts in the state file.

use std::collections::BTreeMap;

use crate::persist::verdicts::{KeptVerdict, Occasion, VerdictRow};
use crate::rollout::Verdict;
use crate::rollout::standing::standing;

/// What stands of one release.
#[derive(Debug)]
pub struct Standing<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The row that says so.
    pub deciding: &'a KeptVerdict,
    /// The row of the step's latest look.
    pub latest: &'a KeptVerdict,
    /// How many verdicts of the release late data have changed, at whatever step.
    pub revisions: usize,
    /// When the last of them was, Unix ms.
    pub revised_at_ms: Option<i64>,
    /// Every row of the release.
    pub all: &'a [KeptVerdict],
}

impl<'a> Standing<'a> {
    /// What stands of these rows of one release, in the order in which they were written: of the step that was reached
    /// last. `None` of none.
    #[must_use]
    pub fn of(all: &'a [KeptVerdict]) -> Option<Self> {
        // Late data may change the word on an earlier step while a later one is under way.
        let is_again = |kept: &&KeptVerdict| {
            matches!(kept.row.occasion, Occasion::Revised | Occasion::Arrived)
        };
        let last = &all.iter().rev().find(|kept| !is_again(kept))?.row;
        let is_of_step =
            |kept: &&KeptVerdict| is_same_step(&kept.row.against, kept.row.step_percent, last);
        let of_step: Vec<&KeptVerdict> = all.iter().filter(is_of_step).collect();
        // Each look as it was judged last. What was judged before the first look comes first.
        let mut by_look: BTreeMap<Option<u32>, &KeptVerdict> = BTreeMap::new();
        for kept in &of_step {
            by_look.insert(kept.row.look, kept);
        }
        let looks: Vec<(Verdict, &KeptVerdict)> = by_look
            .into_values()
            .map(|kept| {
                let verdict = Verdict::named(&kept.row.verdict);
                (verdict.unwrap_or(Verdict::Hold), kept)
            })
            .collect();
        let verdicts: Vec<Verdict> = looks.iter().map(|(verdict, _)| *verdict).collect();
        let verdict = standing(&verdicts);
        let mut latest_first = looks.iter().rev();
        let (_, latest) = *looks.last()?;
        let deciding = latest_first.find(|(found, _)| *found == verdict);
        // That an earlier step should not have passed matters most once the next one is under way.
        let revised = all
            .iter()
            .filter(|kept| kept.row.occasion == Occasion::Revised);
        Some(Self {
            verdict,
            deciding: deciding.map_or(latest, |(_, kept)| kept),
            latest,
            revisions: revised.clone().count(),
            revised_at_ms: revised.map(|kept| kept.row.judged_at_ms).max(),
            all,
        })
    }
}

fn is_same_step(against: &str, step_percent: u32, row: &VerdictRow) -> bool {
    against == row.against && step_percent == row.step_percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(said: &[(u32, Option<u32>, Occasion, &str)]) -> Vec<KeptVerdict> {
        let row = |(id, (step_percent, look, occasion, verdict)): (
            i64,
            &(u32, Option<u32>, Occasion, &str),
        )| {
            KeptVerdict {
                id,
                checked_counts: 0,
                checked_at_ms: 0,
                row: VerdictRow {
                    release: "2.5.0".to_owned(),
                    against: "2.4.1".to_owned(),
                    step_percent: *step_percent,
                    look: *look,
                    occasion: *occasion,
                    judged_at_ms: id,
                    epoch: 1,
                    hours: 0..1,
                    counts: 0,
                    inputs_hash: 0,
                    verdict: (*verdict).to_owned(),
                    is_awaiting: false,
                    result: String::new(),
                },
            }
        };
        (0..).zip(said).map(row).collect()
    }

    #[test]
    fn a_step_begins_anew_and_what_late_data_change_of_an_earlier_one_is_told_and_stands_for_that_alone()
     {
        use Occasion::{Look, Revised, Step};
        let first = rows(&[
            (10, None, Step, "hold"),
            (10, Some(0), Look, "hold"),
            (10, Some(5), Look, "pass"),
        ]);
        let standing = Standing::of(&first).unwrap();
        assert_eq!((standing.verdict, standing.deciding.id), (Verdict::Pass, 2));
        let second = rows(&[
            (10, Some(5), Look, "pass"),
            (25, None, Step, "hold"),
            (10, Some(5), Revised, "fail"),
        ]);
        let standing = Standing::of(&second).unwrap();
        assert_eq!(
            (standing.verdict, standing.deciding.row.step_percent),
            (Verdict::Hold, 25)
        );
        assert_eq!((standing.revisions, standing.revised_at_ms), (1, Some(2)));
    }

    #[test]
    fn a_look_counts_as_it_was_judged_last() {
        use Occasion::{Look, Revised};
        let turned = rows(&[
            (10, Some(0), Look, "fail"),
            (10, Some(1), Look, "hold"),
            (10, Some(0), Revised, "hold"),
        ]);
        let standing = Standing::of(&turned).unwrap();
        assert_eq!((standing.verdict, standing.latest.id), (Verdict::Hold, 1));
        assert!(Standing::of(&[]).is_none());
    }
}
