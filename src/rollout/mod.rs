//! Whether a release may go on: compares the stores that have it with those that do not, and says pass, fail or hold.
//!
//! **Promises**
//! 1. A store is compared with its own week before, and its change with the changes of the other stores, by ranks. More
//!    samples of few stores do not make a verdict surer than these stores can.
//! 2. Looking again changes nothing between two planned looks, and over all looks of a step the shares of each error
//!    sum up to no more than the whole (`looks.rs`).
//! 3. A pass has to be shown: where there is too little to say, the answer is hold, with the reason.
//! 4. Silence is judged first, so that a release on which terminals do not start is no good one.
//! 5. Nothing here has a clock, does I/O or draws a number: the same evidence gives the same verdict, in whatever order
//!    its stores come.
//!
//! | file | what |
//! |---|---|
//! | `criteria.rs` | what a rollout is judged by, and by default |
//! | `plan.rs`, `plan_text.rs` | the plan file: read and checked, and written |
//! | `looks.rs` | when is looked, and which share of the error each look has |
//! | `windows.rs` | which hours are compared |
//! | `history.rs` | what terminals ran, as the histories of stores |
//! | `groups.rs` | candidates, controls, mixed stores and those that moved back |
//! | `evidence.rs` | what a verdict is judged on |
//! | `probability.rs` | quantiles and tails of distributions |
//! | `ranks.rs` | exact rank-sum counts, the Hodges–Lehmann shift and its bounds |
//! | `within.rs` | mixed stores: the jackknife |
//! | `single.rs` | single stores that are far off |
//! | `silence.rs` | terminals that fell silent |
//! | `compare.rs` | the two groups, and how many samples they send |
//! | `values.rs`, `shares.rs` | one duration or level, one share |
//! | `placebo.rs` | how often a release that does nothing would have failed |
//! | `judge.rs` | the verdict |
//! | `verdict.rs`, `reason.rs` | what a verdict says, and why it is no pass |
//! | `standing.rs` | what stands of the verdicts of a step |
//! | `explain.rs` | the same in ten lines |
//!
//! **Not here**: who gathers the evidence, when, and where verdicts are kept.
//!
//! What is meant by all this, and how well it does, is told in `docs/rollouts.md`.

mod compare;
pub mod criteria;
pub mod evidence;
mod explain;
pub mod groups;
pub mod history;
mod judge;
pub mod looks;
pub mod placebo;
mod plan;
mod plan_text;
mod shares;
mod values;
pub mod probability;
pub mod ranks;
pub mod reason;
pub mod silence;
pub mod single;
pub mod standing;
pub mod verdict;
pub mod windows;
pub mod within;

pub use criteria::Plan;
pub use evidence::Evidence;
pub use judge::judge;
pub use looks::Look;
pub use plan::PlanError;
pub use reason::Reason;
pub use verdict::{Judgement, Verdict};
pub use windows::Windows;
