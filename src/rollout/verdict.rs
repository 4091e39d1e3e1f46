//! What a verdict says: its word, why, and all numbers that a person needs to check it.

use std::fmt;

use tillwatch_model::Unit;

use super::groups::Group;
use super::looks::Look;
use super::silence::Silent;

/// The answer to whether a step may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is worse than the plan allows, and that has been shown.
    Pass,
    /// Something is worse: roll back.
    Fail,
    /// Neither has been shown.
    Hold,
    /// There is nothing to judge.
    NotJudged,
}

impl Verdict {
    /// The word in answers, labels and rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Hold => "hold",
            Self::NotJudged => "not_judged",
        }
    }
}

/// One release at one look.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// Why it is no pass; empty if it is one. Of a failure only what failed.
    pub reasons: Vec<Reason>,
    /// The release.
    pub release: String,
    /// What it was held against.
    pub against: Option<String>,
    /// Percent of the stores.
    pub step_percent: u32,
    /// The look that was judged; `None`: the first is still to come.
    pub look: Option<Look>,
    /// The look after it.
    pub next_look: Look,
    /// How the stores were compared.
    pub method: Method,
    /// Every metric of the plan, and the volume.
    pub findings: Vec<Finding>,
    /// Stores of the release.
    pub candidates: usize,
    /// Stores it was held against.
    pub controls: usize,
    /// Terminals of the release, those of the others, and how many of the others fell silent.
    pub terminals: [u64; 3],
    /// Terminals of the release that fell silent.
    pub silent: Vec<Silent>,
    /// Stores that need a word: moved back, mixed, left out with the reason.
    pub notes: Vec<(String, Note)>,
}

/// How stores are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Each store against its own week before, the candidates against the controls, by ranks.
    Ranks,
    /// Within mixed stores, terminals of the release against the others.
    Within,
    /// Nobody is left to be held against: only limits and the week before. Weak.
    Alone,
}

/// What is said of a store beside the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It went back and stays a candidate with the hours it had.
    MovedBack,
    /// It is mixed while the others are not, or the other way round, and is left out.
    OtherKind,
    /// The plan leaves it out, for this reason.
    Excluded(String),
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its name in the plan; `samples` is the volume.
    pub metric: String,
    /// What its numbers mean.
    pub kind: Kind,
    /// The candidates in the week before: a p95 in the unit of the wire, or the share of bad ones.
    pub before: Option<f64>,
    /// The candidates now.
    pub now: Option<f64>,
    /// The others in the week before.
    pub others_before: Option<f64>,
    /// The others now.
    pub others_now: Option<f64>,
    /// By how much the candidates became worse than the others: a factor, or a difference of shares.
    pub worse: Option<Worse>,
    /// Candidates with enough values.
    pub candidates: usize,
    /// Others with enough values.
    pub controls: usize,
    /// The candidates' values or attempts now.
    pub samples: u64,
    /// What it was held against.
    pub limits: Limits,
    /// What follows.
    pub state: State,
    /// Candidates that are far off although the others are not.
    pub far: Vec<String>,
}

/// What the numbers of a metric mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A duration, in this unit.
    Duration(Unit),
    /// A state of terminals, in this unit.
    Level(Unit),
    /// A share of bad ones, of which people speak as a share of good ones.
    Success,
    /// A share of bad ones.
    Failure,
    /// Samples an hour.
    Volume,
}

/// An estimate with its bounds; a missing bound is one that so few stores do not give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worse {
    /// The Hodges–Lehmann estimate.
    pub estimate: f64,
    /// The lower bound, at the level of a failure.
    pub low: Option<f64>,
    /// The upper bound, at the level of a pass.
    pub high: Option<f64>,
}

/// What a metric must keep.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// The factor that is tolerated.
    pub worse_at_most: Option<f64>,
    /// What a pass needs.
    pub green: Option<f64>,
    /// What fails.
    pub rollback: Option<f64>,
    /// Whether the baseline breaks the limit for a pass itself, so that it does not count.
    pub is_green_broken_before: bool,
    /// The same of the limit for a failure.
    pub is_rollback_broken_before: bool,
}

/// What follows from one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Worse than the plan tolerates, and not by chance.
    Worse,
    /// Past the limit for a rollback, and worse than the others.
    PastLimit,
    /// Worse than the plan tolerates is ruled out, and the limits are kept.
    Good,
    /// Neither.
    Undecided,
    /// It would be good but for a limit that a pass needs.
    BetweenLimits,
    /// Shown and not judged: its limits were broken before.
    Compared,
    /// Fewer than three candidates or ten others.
    TooFewStores,
    /// Too few stores have a hundred values.
    TooFewSamples,
    /// Nobody measured it, and the plan says that it may be missing.
    Absent,
}

impl State {
    /// Whether it ends the rollout.
    #[must_use]
    pub fn is_fail(self) -> bool {
        matches!(self, Self::Worse | Self::PastLimit)
    }

    /// Whether a pass has to wait for it.
    #[must_use]
    pub fn withholds_pass(self) -> bool {
        match self {
            Self::Good | Self::Compared | Self::Absent => false,
            Self::Worse
            | Self::PastLimit
            | Self::Undecided
            | Self::BetweenLimits
            | Self::TooFewStores
            | Self::TooFewSamples => true,
        }
    }

    /// The word in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::PastLimit => "past_limit",
            Self::Good => "good",
            Self::Undecided => "undecided",
            Self::BetweenLimits => "between_the_limits",
            Self::Compared => "compared",
            Self::TooFewStores => "too_few_stores",
            Self::TooFewSamples => "too_few_samples",
            Self::Absent => "absent",
        }
    }
}

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

impl Note {
    /// What a group needs said.
    #[must_use]
    pub fn of(group: Group) -> Option<Self> {
        match group {
            Group::Candidate {
                was_moved_back: true,
                ..
            } => Some(Self::MovedBack),
            Group::Candidate { .. } | Group::Mixed { .. } | Group::Control | Group::Neither => None,
        }
    }
}
