//! Why a verdict is no pass, as a word and as a sentence.

use std::fmt;

use super::verdict::State;

/// Why a verdict is no pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No store has the release.
    NoCandidates,
    /// The plan asks nothing.
    NoCriteria,
    /// The first look is still to come.
    FirstLook,
    /// The step has not lasted long enough. Unit: hours.
    TooEarly {
        /// How long it must last.
        minimum_hours: u32,
    },
    /// Fewer than three candidates, or fewer than ten others.
    TooFewStores {
        /// Stores of the release.
        candidates: usize,
        /// Stores it is held against.
        controls: usize,
    },
    /// Batches of these hours have not arrived.
    Incomplete {
        /// Terminals that have posted since.
        posted: u64,
        /// Terminals that should.
        expected: u64,
        /// Who is awaited.
        awaited: Vec<String>,
    },
    /// Fewer than nine tenths of the step's terminals have the release after a day.
    Adoption {
        /// Those that have it.
        adopted: u64,
        /// Those that should.
        expected: u64,
    },
    /// A metric is not good, or fails.
    Metric {
        /// Its name.
        metric: String,
        /// What it is.
        state: State,
    },
    /// Single stores are far off.
    SingleStores {
        /// In which metric.
        metric: String,
        /// Which.
        stores: Vec<String>,
    },
    /// Something happened that must not happen at all.
    Incident {
        /// The counter.
        metric: String,
        /// How often.
        count: u64,
    },
    /// Terminals fell silent on the release.
    Silence {
        /// How many.
        silent: u64,
        /// Of how many.
        of: u64,
    },
}

impl Reason {
    /// The stable word in answers and labels.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCandidates => "no_candidates",
            Self::NoCriteria => "no_criteria",
            Self::FirstLook => "first_look",
            Self::TooEarly { .. } => "too_early",
            Self::TooFewStores { .. } => "too_few_stores",
            Self::Incomplete { .. } => "incomplete",
            Self::Adoption { .. } => "adoption",
            Self::Metric { state, .. } => state.name(),
            Self::SingleStores { .. } => "single_stores",
            Self::Incident { .. } => "incident",
            Self::Silence { .. } => "silence",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidates => write!(f, "No store has the release."),
            Self::NoCriteria => write!(f, "The plan names nothing to judge by."),
            Self::FirstLook => write!(f, "The first look is still to come."),
            Self::TooEarly { minimum_hours } => write!(f, "A pass needs {minimum_hours} h."),
            Self::TooFewStores {
                candidates,
                controls,
            } => write!(
                f,
                "{candidates} stores have the release and {controls} do not; three and ten are needed."
            ),
            Self::Incomplete {
                posted,
                expected,
                awaited,
            } => {
                write!(
                    f,
                    "{posted} of {expected} terminals have delivered these hours"
                )?;
                if awaited.is_empty() {
                    return write!(f, ".");
                }
                write!(f, "; awaited: {}.", few(awaited))
            }
            Self::Adoption { adopted, expected } => write!(
                f,
                "{adopted} of {expected} terminals of this step have the release; nine tenths are needed."
            ),
            Self::Metric { metric, state } => write!(f, "{metric}: {}.", sentence(*state)),
            Self::SingleStores { metric, stores } => write!(
                f,
                "{metric} is far worse in single stores: {}.",
                few(stores)
            ),
            Self::Incident { metric, count } => {
                write!(f, "{metric} counted {count} on the release.")
            }
            Self::Silence { silent, of } => {
                write!(f, "{silent} of {of} terminals fell silent on the release.")
            }
        }
    }
}

/// What a state means, without its full stop.
fn sentence(state: State) -> &'static str {
    match state {
        State::Worse => "it is worse than the plan tolerates, and not by chance",
        State::PastLimit => "it is past the limit for a rollback, and the others are not",
        State::Good => "good so far",
        State::Undecided => "it may still be worse than the plan tolerates",
        State::BetweenLimits => "it is between the limit for a pass and that for a rollback",
        State::Compared => "its limit was broken before, so it is only compared",
        State::TooFewStores => "too few stores",
        State::TooFewSamples => "too few stores have a hundred values",
        State::Absent => "nobody measured it",
    }
}

/// Names are listed up to this many.
const NAMES_MAX: usize = 5;

fn few(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let rest = names.len().saturating_sub(NAMES_MAX);
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{} and {rest} more", shown.join(", "))
    }
}
