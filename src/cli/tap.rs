//! `tap`: what arrives at a running collector and what becomes of it, line by line.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome};
use crate::tap::{DOORS, OUTCOMES};

#[derive(Debug, Args)]
pub(super) struct Tap {
    /// Only of this store.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Only of this terminal.
    #[arg(long, value_name = "TERMINAL")]
    terminal: Option<String>,
    /// Only batches of which something was accepted, duplicate, conflicting or rejected, and requests that were refused
    /// (rejected) or put off (deferred).
    #[arg(long, value_parser = OUTCOMES)]
    outcome: Option<String>,
    /// Only what comes to this door.
    #[arg(long, value_parser = DOORS)]
    door: Option<String>,
    /// Print the lines as they come: one JSON object each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Admin,
}

impl Tap {
    pub(super) async fn run(self) -> Outcome {
        let parameters: Vec<(&str, String)> = [
            ("store_id", self.store),
            ("terminal_id", self.terminal),
            ("outcome", self.outcome),
            ("door", self.door),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let mut response = self.at.open("/api/v1/tap", &parameters).await?;
        let mut pending = Vec::new();
        loop {
            let piece = response
                .chunk()
                .await
                .map_err(|error| Failure::of(&error))?;
            let Some(piece) = piece else {
                return Ok(ExitCode::SUCCESS);
            };
            pending.extend_from_slice(&piece);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim();
                if line.is_empty() {
                    continue;
                }
                let said = if self.json {
                    line.to_owned()
                } else {
                    told(line)
                };
                if !say_or_end(&said) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
}

/// Prints a line; `false`: nobody reads any more.
fn say_or_end(line: &str) -> bool {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").is_ok()
}

/// A line for people.
fn told(line: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or("-");
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let counts = |key: &str| {
        let counts = event.get(key).and_then(Value::as_object);
        let words = counts.into_iter().flatten();
        words
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let from = format!("{} {}", text("store_id"), text("terminal_id"));
    let seq = number("seq").map_or(String::new(), |seq| format!(" #{seq}"));
    match text("what") {
        "batch" => {
            let at = event.get("received_at_ms").and_then(Value::as_i64);
            let at = at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let at = at.map_or(String::new(), |at| format!("{at:.3}"));
            let why = counts("rejected");
            let why = if why.is_empty() {
                why
            } else {
                format!(", rejected: {why}")
            };
            format!(
                "{at} {from}{seq} via {}: {}, {} accepted, {} duplicate{why} [{}]",
                text("door"),
                text("outcome"),
                number("accepted").unwrap_or(0),
                number("duplicate").unwrap_or(0),
                counts("metrics")
            )
        }
        "request" => format!(
            "  request {} of {from} via {}: answered {}{}, {} batches, {} bytes, {} ms",
            text("request_id"),
            text("door"),
            number("status").unwrap_or(0),
            event
                .get("code")
                .and_then(Value::as_str)
                .map_or(String::new(), |code| format!(" {code}")),
            number("batches").unwrap_or(0),
            number("body_bytes").unwrap_or(0),
            event
                .get("duration_ms")
                .and_then(Value::as_f64)
                .unwrap_or(0.0)
        ),
        _ => format!(
            "  missed {} events: this terminal reads too slowly",
            number("events").unwrap_or(0)
        ),
    }
}
