//! What stands of the verdicts in the state file.

use std::collections::BTreeMap;

use crate::persist::verdicts::{KeptVerdict, Occasion};
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
    /// What stands of these rows of one release, in the order in which they were written: of the step that was judged
    /// last. `None` of none.
    #[must_use]
    pub fn of(all: &'a [KeptVerdict]) -> Option<Self> {
        let last = &all.last()?.row;
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

fn is_same_step(
    against: &str,
    step_percent: u32,
    row: &crate::persist::verdicts::VerdictRow,
) -> bool {
    against == row.against && step_percent == row.step_percent
}
