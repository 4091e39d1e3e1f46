//! What a verdict says: its word, why, and all numbers that a person needs to check it.

use tillwatch_model::Unit;

use super::groups::Group;
use super::looks::Look;
use super::reason::Reason;
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

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Hold, Self::NotJudged];

    /// The verdict of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
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

impl Kind {
    /// Whether it is a share, of which differences are compared and no factors.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
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

impl Limits {
    /// Whether nothing of it can be kept or broken: no factor is named, and each limit is missing or was broken before.
    pub(super) fn ask_nothing(&self) -> bool {
        self.worse_at_most.is_none()
            && (self.green.is_none() || self.is_green_broken_before)
            && (self.rollback.is_none() || self.is_rollback_broken_before)
    }
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
