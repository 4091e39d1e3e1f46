//! `store retire`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tillwatch_model::dimension::is_identifier;

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// End a store's series in Prometheus, or with --terminal what is expected of one terminal, durably.
    ///
    /// Data in ClickHouse stay. If a terminal of a retired store posts again, the store's series begin anew at 0; a retired terminal
    /// that posts again is back.
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    /// The store.
    store_id: String,
    /// Only this terminal: it was taken away, and is called silent no more.
    #[arg(long = "terminal", value_name = "TERMINAL_ID")]
    terminal_id: Option<String>,
    #[command(flatten)]
    admin: Admin,
}

impl Store {
    pub(super) async fn run(self) -> Outcome {
        let Self::Retire(Retire {
            store_id,
            terminal_id,
            admin,
        }) = self;
        // As terminals write names: nothing that would need escaping in a path.
        for (name, what) in [
            (Some(&store_id), "store"),
            (terminal_id.as_ref(), "terminal"),
        ] {
            if let Some(name) = name.filter(|name| !is_identifier(name)) {
                return Err(Failure(format!(
                    "{name:?} is not a {what}'s name: 1 to 64 of A-Z a-z 0-9 _ . : -"
                )));
            }
        }
        let path = format!("/api/v1/stores/{store_id}");
        if let Some(terminal_id) = terminal_id {
            admin
                .post(&format!("{path}/terminals/{terminal_id}/retire"))
                .await?;
            say(&format!(
                "{store_id} {terminal_id}: retired. Nothing is expected of it until it posts again."
            ));
            return Ok(ExitCode::SUCCESS);
        }
        let answer = admin.post(&format!("{path}/retire")).await?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer).map_err(|error| Failure::of(&error))?;
        let terminals = answer.get("terminals").and_then(serde_json::Value::as_u64);
        say(&format!(
            "{store_id}: retired, with {} terminals. Its data in ClickHouse stays.",
            terminals.unwrap_or(0)
        ));
        Ok(ExitCode::SUCCESS)
    }
}
