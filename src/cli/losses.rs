//! `losses`: the ledger of losses.

use std::process::ExitCode;

use clap::Args;
use tillwatch_model::time::wall_ms;
use uuid::Uuid;

use crate::cli::admin::Admin;
use crate::cli::query::time;
use crate::cli::{Failure, Outcome, say, table};
use crate::clock::time_text;

#[derive(Debug, Args)]
pub(super) struct Losses {
    /// Only this store.
    #[arg(long = "store", alias = "store-id", value_name = "STORE_ID")]
    store_id: Option<String>,
    /// Only what is open, lost, explained or closed.
    #[arg(long)]
    state: Option<String>,
    /// Start of what has ended: how long ago (1h, 7d), or Unix milliseconds. What is open is listed however old it is.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    from: String,
    /// At most so many lines.
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
    statement: String,
    is_whole: bool,
    losses: Vec<Line>,
}

#[derive(serde::Deserialize)]
struct Line {
    store_id: String,
    terminal_id: String,
    queue: Option<Uuid>,
    from_seq: Option<u64>,
    to_seq: Option<u64>,
    batches: u64,
    state: String,
    #[serde(default)]
    reason: String,
    samples: u64,
    opened_at: i64,
    ended_at: Option<i64>,
}

impl Line {
    fn row(&self) -> Vec<String> {
        let numbers = match (self.from_seq, self.to_seq) {
            (Some(from), Some(to)) if from == to => from.to_string(),
            (Some(from), Some(to)) => format!("{from}..{to}"),
            _ => "-".to_owned(),
        };
        let state = if self.reason.is_empty() {
            self.state.clone()
        } else {
            format!("{}: {}", self.state, self.reason)
        };
        let about = if self.state == "explained" { "" } else { "~" };
        let queue = self.queue.map(|queue| queue.to_string());
        vec![
            format!("{} {}", self.store_id, self.terminal_id),
            queue.map_or_else(|| "-".to_owned(), |queue| queue.chars().take(8).collect()),
            numbers,
            self.batches.to_string(),
            format!("{about}{}", self.samples),
            state,
            time_text(self.opened_at),
            self.ended_at.map_or_else(|| "-".to_owned(), time_text),
        ]
    }
}

impl Losses {
    pub(super) async fn run(self) -> Outcome {
        let mut parameters = vec![
            ("from", time(&self.from, wall_ms())?.to_string()),
            ("limit", self.limit.to_string()),
        ];
        for (name, value) in [("store_id", self.store_id), ("state", self.state)] {
            if let Some(value) = value {
                parameters.push((name, value));
            }
        }
        let text = self.admin.query("/api/v1/losses", &parameters).await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
        say(&answer.statement);
        if answer.losses.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let head = [
            "terminal", "queue", "numbers", "batches", "samples", "state", "since", "ended",
        ];
        let rows: Vec<Vec<String>> = answer.losses.iter().map(Line::row).collect();
        say(&format!("\n{}", table(&head, &rows)));
        if !answer.is_whole {
            say("There is more; --limit, --store and --from show it.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
