//! `store retire`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// End a store's series in Prometheus, durably. Its data in ClickHouse stays; if a terminal of it
    /// posts again, its series begin anew at 0.
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    /// The store.
    store_id: String,
    #[command(flatten)]
    admin: Admin,
}

impl Store {
    pub(super) async fn run(self) -> Outcome {
        let Self::Retire(Retire { store_id, admin }) = self;
        // As terminals write names: nothing that would need escaping in a path.
        let is_name = (1..=64).contains(&store_id.len())
            && store_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
        if !is_name {
            return Err(Failure(format!(
                "{store_id:?} is not a store's name: 1 to 64 of A-Z a-z 0-9 _ . : -"
            )));
        }
        let answer = admin
            .post(&format!("/api/v1/stores/{store_id}/retire"))
            .await?;
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
