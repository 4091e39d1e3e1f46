//! `audit --deep`: reads every part and computes every hash anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use tillwatch_model::time::wall_ms;

use crate::cli::{Failure, say};
use crate::persist::deep::{BrokenPart, WrongRows, broken_parts, wrong_rows};
use crate::persist::repair::date;
use crate::persist::{ClickHouse, State};
use crate::progress::Progress;

/// Lists the parts that are broken.
pub(super) async fn look_at_parts(clickhouse: &ClickHouse) -> Result<Vec<BrokenPart>, Failure> {
    let mut progress = Progress::new();
    let found = broken_parts(clickhouse, &mut |done, all| {
        progress.step("check parts", done, all, "partitions");
    })
    .await
    .map_err(|error| Failure::of(&error))?;
    progress.finish();
    for part in &found {
        say(&format!(
            "part {} of {} is BROKEN: {}",
            part.part, part.table, part.message
        ));
    }
    Ok(found)
}

/// Lists the rows that are other than their hash says.
pub(super) async fn look_at_rows(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
) -> Result<BTreeSet<WrongRows>, Failure> {
    let ledger = state.ledger(0).map_err(|error| Failure::of(&error))?;
    let mut progress = Progress::new();
    let found = wrong_rows(clickhouse, &ledger, wall_ms(), &mut |done, all| {
        progress.step("compute hashes", done, all, "days of tables");
    })
    .await
    .map_err(|error| Failure::of(&error))?;
    progress.finish();
    for wrong in &found {
        say(&format!(
            "{}: epoch {} day {}: {} rows are OTHER than their hash says",
            wrong.table,
            wrong.epoch,
            date(wrong.day),
            wrong.rows
        ));
    }
    Ok(found)
}
