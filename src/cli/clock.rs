//! `clock accept`, `clock show`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum Clock {
    /// Say that the clock of the collector's machine is right, although it was moved or lies before the
    /// journal's last time. Batches are taken in again; times noted while it was wrong are put right.
    Accept(Admin),
    /// Print what the collector takes for the time, and whether it trusts its clock.
    Show(Admin),
}

impl Clock {
    pub(super) async fn run(self) -> Outcome {
        let answer = match self {
            Self::Accept(at) => at.post("/api/v1/clock/accept").await?,
            Self::Show(at) => at.get("/api/v1/clock").await?,
        };
        let answer: serde_json::Value =
            serde_json::from_str(&answer).map_err(|error| Failure::of(&error))?;
        let number = |key: &str| answer.get(key).and_then(serde_json::Value::as_i64);
        let time = |key: &str| {
            let time = number(key).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            time.map_or_else(|| "unknown".to_owned(), |time| format!("{time:.0}"))
        };
        match answer.get("doubt").and_then(serde_json::Value::as_str) {
            None => say(&format!("The clock is trusted: {}.", time("clock_ms"))),
            Some(doubt) => {
                let (says, is) = (time("clock_ms"), time("now_ms"));
                say(&format!(
                    "The clock says {says} and is not trusted: {doubt}. The time is taken to be {is}; batches are answered 503."
                ));
            }
        }
        let fleet = |key: &str| {
            answer
                .pointer(&format!("/fleet/{key}"))
                .and_then(serde_json::Value::as_i64)
        };
        if let (Some(ahead_ms), Some(terminals)) = (fleet("ahead_ms"), fleet("terminals")) {
            let way = if ahead_ms < 0 { "behind" } else { "ahead" };
            let by_s = ahead_ms.unsigned_abs() / 1_000;
            say(&format!(
                "{terminals} terminals, at their median, are {by_s} s {way}."
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
