//! `rollout check`: what a release would meet with on this fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say, table};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The release that one would be held against. Without it, the one that most terminals ran in the last week.
    #[arg(long)]
    against: Option<String>,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Deserialize)]
struct Answer {
    against: Option<String>,
    stores: usize,
    broken: Vec<Broken>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Broken {
    metric: String,
    limit: String,
    at: f64,
    now: f64,
}

#[derive(Deserialize)]
struct Step {
    step_percent: u32,
    look_hours: u32,
    candidates: usize,
    draws: Option<Draws>,
}

#[derive(Deserialize)]
struct Draws {
    draws: usize,
    failed: usize,
    found: BTreeMap<String, f64>,
}

impl Check {
    pub(super) async fn run(self) -> Outcome {
        let against = self.against.map(|against| ("against", against));
        let parameters: Vec<(&str, String)> = against.into_iter().collect();
        let text = self
            .admin
            .query("/api/v1/rollout_check", &parameters)
            .await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
        say(&answer.shown());
        Ok(ExitCode::SUCCESS)
    }
}

impl Answer {
    fn shown(&self) -> String {
        let Some(against) = &self.against else {
            return "No terminal has reported a release.".to_owned();
        };
        let mut lines = vec![format!(
            "A release would be held against {against}, which {} stores run.",
            self.stores
        )];
        for broken in &self.broken {
            let Broken {
                metric,
                limit,
                at,
                now,
            } = broken;
            lines.push(format!(
                "{metric}: the limit for a {limit}, {at}, is broken already ({now:.4}), and would not count."
            ));
        }
        let metrics: BTreeSet<&String> = self
            .steps
            .iter()
            .filter_map(|step| step.draws.as_ref())
            .flat_map(|draws| draws.found.keys())
            .collect();
        let mut head = vec!["step", "look", "stores", "a good one fails"];
        head.extend(metrics.iter().map(|metric| metric.as_str()));
        let rows: Vec<Vec<String>> = self.steps.iter().map(|step| step.row(&metrics)).collect();
        lines.push("Of draws of stores as if they had a release: how many would fail, and from which slowdown on four in five would.".to_owned());
        lines.push(table(&head, &rows));
        lines.join("\n")
    }
}

impl Step {
    fn row(&self, metrics: &BTreeSet<&String>) -> Vec<String> {
        let mut row = vec![
            format!("{} %", self.step_percent),
            format!("{} h", self.look_hours),
            self.candidates.to_string(),
        ];
        let Some(draws) = &self.draws else {
            row.push("too few stores".to_owned());
            return row;
        };
        let percent = 100.0 * draws.failed as f64 / draws.draws.max(1) as f64;
        row.push(format!("{percent:.1} % of {}", draws.draws));
        row.extend(metrics.iter().map(|metric| {
            let factor = draws.found.get(*metric);
            factor.map_or_else(|| "-".to_owned(), |factor| format!("×{factor:.2}"))
        }));
        row
    }
}
