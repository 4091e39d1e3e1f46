//! `explain`: what became of one batch.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say, table};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The store of the batch; with --request, nothing.
    #[arg(required_unless_present = "request")]
    store: Option<String>,
    /// The terminal of the batch.
    #[arg(required_unless_present = "request")]
    terminal: Option<String>,
    /// The terminal's queue (UUID).
    #[arg(required_unless_present_any = ["request", "key"])]
    queue: Option<String>,
    /// The number of the batch in its queue.
    #[arg(required_unless_present_any = ["request", "key"])]
    seq: Option<u64>,
    /// In place of queue and number: the idempotency key of the request.
    #[arg(long, conflicts_with_all = ["queue", "seq"])]
    key: Option<String>,
    /// In place of all of these: the name of the request, as its answer has it in X-Request-Id. Its last batch is shown.
    #[arg(long, conflicts_with_all = ["store", "terminal", "queue", "seq", "key"])]
    request: Option<String>,
    /// Print the answer as it comes, in JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Admin,
}

impl Explain {
    pub(super) async fn run(self) -> Outcome {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (store, terminal) = (text(&self.store), text(&self.terminal));
        let seq = self.seq.map(|seq| seq.to_string());
        let parts: Vec<String> = match (self.request, self.key) {
            (Some(request), _) => vec![request],
            (None, Some(key)) => vec![store, terminal, key],
            (None, None) => vec![store, terminal, text(&self.queue), text(&seq)],
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let answer = self.at.get_by("/api/v1/explain", &parts).await?;
        if self.json {
            say(&answer);
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Value = serde_json::from_str(&answer).map_err(|error| Failure::of(&error))?;
        numbers(&answer["numbers"]);
        let records = answer["records"].as_array().cloned().unwrap_or_default();
        records.iter().for_each(record);
        say(answer["details"].as_str().unwrap_or_default());
        let is_known = !records.is_empty() || answer["numbers"]["state"] == "counted";
        Ok(if is_known {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn numbers(numbers: &Value) {
    let Some(state) = numbers["state"].as_str() else {
        return;
    };
    say(&format!(
        "{state}: {}",
        numbers["message"].as_str().unwrap_or_default()
    ));
    let number = |key: &str| numbers[key].as_u64().map(|number| number.to_string());
    for (key, what) in [
        ("before", "The nearest number below it that has come"),
        ("after", "The nearest number above it that has come"),
        ("high", "The highest number that has come"),
    ] {
        if let Some(number) = number(key) {
            say(&format!("{what}: {number}"));
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn time(value: &Value) -> String {
    let time = value
        .as_i64()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| format!("{time:.3}"))
}

fn record(record: &Value) {
    say(&format!(
        "\nRecord {} of {} {}, release {}, received {}; the clock was corrected by {} ms",
        record["position"],
        text(&record["store_id"]),
        text(&record["terminal_id"]),
        text(&record["release"]),
        time(&record["received_at_ms"]),
        record["applied_offset_ms"]
    ));
    let rows: Vec<Vec<String>> = record["accepted"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let metric = if line["metric"].is_null() {
                &line["kind"]
            } else {
                &line["metric"]
            };
            let label = if line["label"].is_null() {
                &line["name"]
            } else {
                &line["label"]
            };
            let value = if line["value"].is_null() {
                format!("{} values", line["count"])
            } else {
                format!("{} {}", text(&line["value"]), text(&line["unit"]))
            };
            vec![
                text(&line["what"]),
                text(metric),
                text(label),
                value,
                time(&line["t_ms"]),
            ]
        })
        .collect();
    if !rows.is_empty() {
        say(&table(
            &["accepted", "metric", "label", "value", "time"],
            &rows,
        ));
    }
    for line in record["rejected"].as_array().into_iter().flatten() {
        say(&format!(
            "rejected {}: {} ({})",
            line["samples"],
            text(&line["reason"]),
            text(&line["message"])
        ));
    }
}
