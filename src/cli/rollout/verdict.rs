//! `rollout verdict` and `rollout history`: what was said of a release.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tillwatch_model::time::wall_ms;
use tokio::time::Instant;

use crate::cli::admin::Admin;
use crate::cli::query::time;
use crate::cli::{Failure, Outcome, say, table};
use crate::clock::time_text;
use crate::config::Span;

/// How often it is asked again while it is waited for.
const ASK_EVERY: Duration = Duration::from_secs(30);
const FAIL: u8 = 10;
const HOLD: u8 = 11;
const NOT_JUDGED: u8 = 12;

#[derive(Debug, Args)]
pub(in crate::cli) struct Verdict {
    /// The release that is rolled out.
    #[arg(long)]
    release: String,
    /// The release it is held against. Without it, the one that most terminals ran in the week before.
    #[arg(long)]
    against: Option<String>,
    /// The step that the verdict must be about, or a later one, in percent. Until it is reached the answer is hold: a gate
    /// that is asked right after stores were moved must not hear of the step before.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    step: Option<u32>,
    /// When the step began: how long ago (6h), or Unix milliseconds. Without it, when the plan's share of the stores was
    /// reached.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Wait for so long (27h) until it is pass or fail.
    #[arg(long, value_name = "SPAN")]
    wait: Option<Span>,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// The release.
    #[arg(long)]
    release: String,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Deserialize)]
struct Answer {
    verdict: String,
    look: Option<Look>,
    revisions: usize,
    judged: Judged,
    history: Vec<Look>,
}

#[derive(Deserialize)]
struct Judged {
    explained: String,
    next_look: Option<i64>,
}

#[derive(Deserialize)]
struct Look {
    verdict: String,
    occasion: String,
    step_percent: u32,
    against: Option<String>,
    look_hours: Option<u32>,
    judged_at: i64,
    epoch: u64,
    samples: u64,
}

impl Verdict {
    pub(super) async fn run(self) -> Outcome {
        let mut parameters = Vec::new();
        parameters.extend(self.against.clone().map(|against| ("against", against)));
        parameters.extend(self.step.map(|step| ("step", step.to_string())));
        if let Some(since) = &self.since {
            parameters.push(("since", time(since, wall_ms())?.to_string()));
        }
        let until = self.wait.map(|wait| Instant::now() + wait.0);
        let mut told = None;
        loop {
            let asked = ask(&self.admin, &self.release, &parameters).await;
            let left = until.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(Instant::now())
            });
            let (text, answer) = match asked {
                Ok(found) => found,
                // A collector that restarts ends no wait.
                Err(Failure(message)) if !left.is_zero() => {
                    eprintln!("{message}; asked again");
                    tokio::time::sleep(left.min(ASK_EVERY)).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let is_decided = matches!(answer.verdict.as_str(), "pass" | "fail");
            if is_decided || left.is_zero() {
                say(if self.json { text } else { answer.shown() }.trim_end());
                return code_of(&answer.verdict);
            }
            let line = answer.waiting();
            if told.as_ref() != Some(&line) {
                eprintln!("{line}");
                told = Some(line);
            }
            tokio::time::sleep(left.min(ASK_EVERY)).await;
        }
    }
}

fn code_of(verdict: &str) -> Outcome {
    match verdict {
        "pass" => Ok(ExitCode::SUCCESS),
        "fail" => Ok(ExitCode::from(FAIL)),
        "hold" => Ok(ExitCode::from(HOLD)),
        "not_judged" => Ok(ExitCode::from(NOT_JUDGED)),
        other => Err(Failure(format!(
            "the collector says {other:?}, which this release of tillwatch does not know"
        ))),
    }
}

async fn ask(
    admin: &Admin,
    release: &str,
    parameters: &[(&str, String)],
) -> Result<(String, Answer), Failure> {
    let text = admin
        .query_by("/api/v1/rollouts", &[release], parameters)
        .await?;
    let answer = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
    Ok((text, answer))
}

impl Answer {
    /// For a person.
    fn shown(&self) -> String {
        let mut text = self.judged.explained.clone();
        if let Some(look) = &self.look {
            let at = time_text(look.judged_at);
            text.push_str(&format!("\njudged {at}"));
            let latest = self.history.last();
            if latest.is_some_and(|latest| latest.judged_at > look.judged_at) {
                text.push_str("; later looks do not change it");
            }
            if self.revisions > 0 {
                let times = self.revisions;
                text.push_str(&format!(
                    "; late data changed a verdict of this release {times} times (rollout history)"
                ));
            }
        } else if self.verdict != "not_judged" {
            text.push_str("\njudged now, and not kept");
        }
        text
    }

    fn waiting(&self) -> String {
        let verdict = self.verdict.replace('_', " ");
        let next = self.judged.next_look.map(time_text);
        next.map_or_else(
            || format!("{verdict}; waiting"),
            |next| format!("{verdict}; the next look is at {next}"),
        )
    }
}

impl History {
    pub(super) async fn run(self) -> Outcome {
        let (text, answer) = ask(&self.admin, &self.release, &[]).await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        if answer.history.is_empty() {
            say("No look has been judged.");
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Vec<String>> = answer.history.iter().map(Look::row).collect();
        let head = [
            "judged", "against", "step", "look", "verdict", "why then", "samples", "epoch",
        ];
        say(&table(&head, &rows));
        Ok(ExitCode::SUCCESS)
    }
}

impl Look {
    fn row(&self) -> Vec<String> {
        let look = self.look_hours.map(|hours| format!("{hours} h"));
        vec![
            time_text(self.judged_at),
            self.against.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} %", self.step_percent),
            look.unwrap_or_else(|| "-".to_owned()),
            self.verdict.replace('_', " "),
            self.occasion.clone(),
            self.samples.to_string(),
            self.epoch.to_string(),
        ]
    }
}
