//! `rollout`: whether a release may go on.

mod check;
mod plan;
mod verdict;

use clap::Subcommand;

use crate::cli::Outcome;

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Check a plan file and print what it comes to: criteria, looks, and what a fleet's size allows.
    ///
    /// A plan says by what a release is judged at each step. It is a TOML file. What it leaves out is
    /// as in the plan that is printed without FILE; a file that names a [duration.…], a [level.…] or
    /// a [ratio.…] names all that count:
    ///
    ///   steps = [10, 25, 50, 75, 100]    percent of the stores
    ///   minimum = "24h"                  how long a step lasts at least
    ///   [duration.sync_duration_ms]      p95 of a metric, in the unit of its name
    ///   worse_at_most = 1.2              factor against the other stores and the week before
    ///   rollback_over = 5000             fails beyond it, unless the others are beyond it, too
    ///   [ratio.sync_success]
    ///   green_over = 0.99                what a pass needs
    ///   rollback_under = 0.95            what fails
    ///   [incident]
    ///   data_loss_incidents = 0          one more fails at once
    ///   [exclude]
    ///   "store-013" = "being rebuilt"
    ///
    /// Exit code 0: the plan can be used. 1: it cannot; the message names the line and the key.
    #[command(verbatim_doc_comment)]
    Plan(Box<plan::PlanFile>),
    /// Ask whether the rollout of a release may go on: pass, fail, hold or not judged, and why.
    ///
    /// The collector judges by itself at planned looks; between two looks the last verdict is
    /// repeated, however often it is asked for. With --since, or --against another release than the
    /// collector chose, it is judged now, and that is not kept.
    ///
    /// Exit code 0: pass. 10: fail, roll back. 11: hold, neither has been shown. 12: not judged, no
    /// store has the release. Any other is an error, and no verdict.
    #[command(verbatim_doc_comment)]
    Verdict(verdict::Verdict),
    /// Say what a release would meet with on this fleet, before it comes.
    ///
    /// Which limits of the plan the last day breaks already, so that they would not count; how often
    /// a release that does nothing would have failed, by drawing stores as if they had one; and from
    /// which slowdown on four in five draws would have found it, after an hour, four hours and a day.
    #[command(verbatim_doc_comment)]
    Check(check::Check),
    /// List every verdict on a release: look by look, with those that late data changed.
    ///
    /// Exit code 0, whatever the verdicts are.
    #[command(verbatim_doc_comment)]
    History(verdict::History),
}

impl Rollout {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Plan(plan) => plan.run(),
            Self::Verdict(verdict) => verdict.run().await,
            Self::Check(check) => check.run().await,
            Self::History(history) => history.run().await,
        }
    }
}
