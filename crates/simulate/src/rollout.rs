//! Which stores run the canary release, and from when on.

use humantime::parse_duration;
use tillwatch_model::time::millis;

use crate::Options;

/// A step of a rollout: this share of the stores has the release from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How long after the beginning of the run, ms; below 0 in the history before it.
    pub from_ms: i64,
    /// Share of the stores, 0 to 1.
    pub share: f64,
}

/// Why a text is no step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no step of a rollout; write a time after the beginning and a share of the stores, such as 15m=0.1, or -2d=0.1 for a time before it"
)]
pub struct StepError;

impl Step {
    /// Reads `15m=0.1`, or `-2d=0.1` for a time before the beginning.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, StepError> {
        let (from, share) = text.split_once('=').ok_or(StepError)?;
        let (from, sign) = match from.trim().strip_prefix('-') {
            Some(before) => (before, -1),
            None => (from, 1),
        };
        let from = parse_duration(from).ok().ok_or(StepError)?;
        let share: f64 = share.trim().parse().ok().ok_or(StepError)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self {
                from_ms: sign * millis(from),
                share,
            })
        } else {
            Err(StepError)
        }
    }
}

/// For each store, how long after the beginning of the run it gets the canary release, ms, if it does:
/// quick and slow ones alike, so that it is the release that makes the difference. Who has it keeps it.
pub fn canaries(options: &Options, store_z: &[f64]) -> Vec<Option<i64>> {
    let mut by_z: Vec<(usize, f64)> = store_z.iter().copied().enumerate().collect();
    by_z.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut having: Vec<usize> = by_z.into_iter().map(|(store, _)| store).collect();
    let mut steps = options.rollout.clone();
    if steps.is_empty() {
        steps.push(Step {
            from_ms: 0,
            share: options.canary_share,
        });
    }
    let mut from_ms = vec![None; store_z.len()];
    // The last step first: each earlier one has some of the stores of the one after it.
    for step in steps.iter().rev() {
        having = evenly(&having, wanted(store_z.len(), step.share));
        for store in &having {
            if let Some(from_ms) = from_ms.get_mut(*store) {
                *from_ms = Some(step.from_ms);
            }
        }
    }
    from_ms
}

/// So many of these, from all along the row.
fn evenly(row: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(row.len());
    (0..count)
        .filter_map(|number| row.get((2 * number + 1) * row.len() / (2 * count)).copied())
        .collect()
}

/// How many of `count` things a share is: rounded, and at least one of a share above 0 when there is
/// more than one thing.
pub fn wanted(count: usize, share: f64) -> usize {
    let total = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let least = f64::from(u8::from(share > 0.0 && count > 1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    let wanted = (share * total).round().max(least) as usize;
    wanted.min(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::options;
    use crate::values::even_normals;

    #[test]
    fn a_rollout_reaches_more_stores_at_every_step_and_takes_it_from_none() {
        let store_z: Vec<f64> = even_normals(50).collect();
        let from_ms = canaries(&options(&["--rollout", "15m=0.1,30m=0.24"]), &store_z);
        let by = |until_ms| {
            let had = from_ms.iter().flatten();
            had.filter(|from_ms| **from_ms <= until_ms).count()
        };
        assert_eq!((by(0), by(900_000), by(1_800_000)), (0, 5, 12));
        for from in [900_000, 1_800_000] {
            let z = from_ms
                .iter()
                .zip(&store_z)
                .filter(|(at, _)| **at == Some(from));
            assert!(z.map(|(_, z)| z).sum::<f64>().abs() < 1.5);
        }
        let always = canaries(&options(&[]), &store_z);
        assert_eq!(always.iter().flatten().collect::<Vec<_>>(), [&0; 5]);
        let before = Step {
            from_ms: -172_800_000,
            share: 0.02,
        };
        assert_eq!(Step::parse("-2d=0.02"), Ok(before));
        for bad in ["--2d=0.1", "15m", "15m=2", "soon=0.1", "=", "15m=x"] {
            assert_eq!(Step::parse(bad), Err(StepError), "{bad}");
        }
    }
}
