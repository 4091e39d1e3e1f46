//! What stands of a step's verdicts: a look that failed ends the step, whatever later looks find.

use super::verdict::Verdict;

/// The verdict that stands, of those of a step's looks in their order, each as it was revised last.
///
/// One that failed stays a failure, and one that passed stays passed unless a later one fails: the shares of the error are
/// made for a step that ends with either. Otherwise the latest look says why it is still to hold.
#[must_use]
pub fn standing(looks: &[Verdict]) -> Verdict {
    for decided in [Verdict::Fail, Verdict::Pass] {
        if looks.contains(&decided) {
            return decided;
        }
    }
    looks.last().copied().unwrap_or(Verdict::NotJudged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stays_and_a_pass_stays_unless_a_later_look_fails() {
        use Verdict::{Fail, Hold, NotJudged, Pass};
        for (looks, expected) in [
            (&[][..], NotJudged),
            (&[Hold, Hold], Hold),
            (&[Hold, Fail, Hold, Pass], Fail),
            (&[Hold, Pass, Hold], Pass),
            (&[Hold, Pass, Fail], Fail),
            (&[Hold, NotJudged], NotJudged),
        ] {
            assert_eq!(standing(looks), expected, "{looks:?}");
        }
    }
}
