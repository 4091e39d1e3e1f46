//! `silent`: terminals that should report and do not.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say, table};

#[derive(Debug, Args)]
pub(super) struct Silent {
    /// Only this store.
    #[arg(long = "store", alias = "store-id", value_name = "STORE_ID")]
    store_id: Option<String>,
    /// At most so many terminals.
    #[arg(long, default_value_t = 100)]
    limit: u16,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(serde::Deserialize)]
struct Answer {
    complete_to: i64,
    ready_since: Option<i64>,
    terminals_known: u64,
    terminals_total: usize,
    terminals: Vec<Line>,
}

#[derive(serde::Deserialize)]
struct Line {
    store_id: String,
    terminal_id: String,
    state: String,
    is_store_silent: bool,
    since: Option<i64>,
    last_said: Option<LastSaid>,
    pending_transactions: u64,
    release: String,
}

#[derive(serde::Deserialize)]
struct LastSaid {
    kind: String,
}

impl Silent {
    pub(super) async fn run(self) -> Outcome {
        let mut parameters = vec![("limit", self.limit.to_string())];
        if let Some(store_id) = self.store_id {
            parameters.push(("store_id", store_id));
        }
        let text = self
            .admin
            .query("/api/v1/terminals/silent", &parameters)
            .await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
        if answer.ready_since.is_none() {
            say("The collector is not ready, or has just been started: nobody is called silent.");
        }
        if answer.terminals.is_empty() {
            say(&format!(
                "All {} terminals report as they are used to.",
                answer.terminals_known
            ));
            return Ok(ExitCode::SUCCESS);
        }
        let row = |line: &Line| {
            let silent_for = line.since.map_or_else(
                || "never heard of".to_owned(),
                |since| {
                    let minutes = answer.complete_to.saturating_sub(since) / 60_000;
                    let silent = Duration::from_secs(u64::try_from(minutes * 60).unwrap_or(0));
                    humantime::format_duration(silent).to_string()
                },
            );
            let state = if line.is_store_silent {
                format!("{} (as its store)", line.state)
            } else {
                line.state.clone()
            };
            vec![
                format!("{} {}", line.store_id, line.terminal_id),
                state,
                silent_for,
                line.last_said
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |said| said.kind.clone()),
                line.pending_transactions.to_string(),
                line.release.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = answer.terminals.iter().map(row).collect();
        let head = [
            "terminal",
            "state",
            "silent for",
            "last said",
            "pending sales",
            "release",
        ];
        say(&table(&head, &rows));
        if answer.terminals_total > rows.len() {
            say(&format!(
                "{} of {}; --limit shows more.",
                rows.len(),
                answer.terminals_total
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
