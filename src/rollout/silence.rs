//! Terminals that fell silent. A terminal on which a release does not start at all reports nothing bad about it, so
//! silence is judged before anything that was measured.

use super::groups::Group;
use super::looks::Look;
use super::probability::fisher_upper;

/// Hours without a batch in which a terminal had some a week before, after which it is silent.
const SILENT_HOURS: usize = 2;
const WEEK_HOURS: i64 = 7 * 24;
/// Silence that begins this soon after its store's first sample of the release is the release's, whatever the last batch
/// says. Unit: hours.
const CHARGED_HOURS: i64 = 2;
/// So is silence that begins this much earlier: a till is switched off for the new release before the first comes back
/// with it. Unit: hours.
const SWITCHED_OFF_HOURS: i64 = 1;
/// Fewer silent terminals than this fail nothing.
const SILENT_MIN: u64 = 3;

/// When one terminal was heard. Hours are those of [`Windows`](super::windows::Windows), ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Its store.
    pub store: String,
    /// Its name.
    pub terminal: String,
    /// Hours with a batch, from a day before the release on.
    pub now: Vec<i64>,
    /// Hours with a batch in the weeks before these.
    pub week_before: Vec<i64>,
    /// Whether it ever reported the release.
    pub had_release: bool,
}

/// A terminal that fell silent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Silent {
    /// Its store.
    pub store: String,
    /// Its name.
    pub terminal: String,
    /// The first hour in which it should have been heard and was not.
    pub since: i64,
}

/// How many terminals fell silent, of how many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Counted {
    /// Terminals of the candidates.
    pub candidates: u64,
    /// Those of them that fell silent.
    pub silent: Vec<Silent>,
    /// Terminals of the controls.
    pub controls: u64,
    /// Those of them that fell silent.
    pub silent_controls: u64,
}

/// The first hour of a silence that still lasts at `until`: a terminal is silent when it was not heard in two hours in
/// which it was heard a week before.
#[must_use]
pub fn silent_since(now: &[i64], week_before: &[i64], until: i64) -> Option<i64> {
    let last = now.iter().copied().filter(|hour| *hour < until).max();
    let missed = |hour: &i64| *hour < until && last.is_none_or(|last| *hour > last);
    let mut missed: Vec<i64> = week_before
        .iter()
        .map(|hour| hour.saturating_add(WEEK_HOURS))
        .filter(missed)
        .collect();
    missed.sort_unstable();
    missed.dedup();
    missed
        .get(SILENT_HOURS - 1)
        .and_then(|_| missed.first())
        .copied()
}

/// Counts the silent terminals of both groups. `group` says what a store is, and `first` is the hour in which the release
/// was first seen anywhere. Who was silent before is nobody's.
#[must_use]
pub fn count(
    terminals: impl IntoIterator<Item = Heard>,
    group: impl Fn(&str) -> Group,
    first: i64,
    until: i64,
) -> Counted {
    let mut counted = Counted::default();
    for heard in terminals {
        let since = silent_since(&heard.now, &heard.week_before, until);
        match group(&heard.store) {
            Group::Candidate { from, .. } | Group::Mixed { from } => {
                let after = since.filter(|since| *since >= from - SWITCHED_OFF_HOURS);
                let is_charged = after.is_some_and(|since| since <= from + CHARGED_HOURS);
                if !heard.had_release && !is_charged {
                    continue;
                }
                counted.candidates += 1;
                counted.silent.extend(after.map(|since| Silent {
                    store: heard.store.clone(),
                    terminal: heard.terminal.clone(),
                    since,
                }));
            }
            Group::Control if since.is_none_or(|since| since >= first) => {
                counted.controls += 1;
                counted.silent_controls += u64::from(since.is_some());
            }
            Group::Control | Group::Neither => {}
        }
    }
    counted
}

impl Counted {
    /// The probability of so many silent candidates if the release had nothing to do with it: Fisher's exact test.
    #[must_use]
    pub fn chance(&self) -> f64 {
        let silent = self.silent.len() as u64;
        fisher_upper(silent, self.candidates, self.silent_controls, self.controls)
    }

    /// Whether they are too many at this look: three at least, and hardly by chance.
    #[must_use]
    pub fn is_fail(&self, look: Look) -> bool {
        self.silent.len() as u64 >= SILENT_MIN
            && self.controls > 0
            && self.chance() < look.silence_level()
    }
}
