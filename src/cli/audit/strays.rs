//! Finds rows in ClickHouse that the ledger does not know.

use std::sync::Arc;

use tillwatch_model::time::wall_ms;

use crate::cli::{Failure, say};
use crate::persist::repair;
use crate::persist::{ClickHouse, EpochInfo, State};

/// Rows under numbers that the ledger does not know; whether any of them bears this collector's id.
pub(super) async fn tell_strays(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
) -> Result<bool, Failure> {
    let mine = state.collector_id();
    let found = repair::strays(clickhouse, &runs(&ledger(state)?, mine), wall_ms())
        .await
        .map_err(|error| Failure::of(&error))?;
    // Asked again: `serve` may have sealed and shipped since the ledger was read.
    let ledger = ledger(state)?;
    let is_known = |stray: &repair::Stray| {
        ledger
            .iter()
            .any(|info| (info.collector_id, info.epoch) == (stray.collector_id, stray.epoch))
    };
    let mut has_strays = false;
    for stray in found.iter().filter(|stray| !is_known(stray)) {
        let is_mine = stray.collector_id == mine;
        has_strays |= is_mine;
        say(&format!(
            "epoch {} of {} {} is not in the ledger: {} rows, {} samples{}",
            stray.epoch,
            if is_mine {
                "this collector"
            } else {
                "the former id"
            },
            stray.collector_id,
            stray.rows,
            stray.samples,
            if is_mine {
                ". UNKNOWN: another copy of this state file has shipped it"
            } else {
                ", shipped by the copy that this state was restored from or moved away from"
            }
        ));
    }
    let mut own: Vec<uuid::Uuid> = ledger.iter().map(|info| info.collector_id).collect();
    own.push(mine);
    own.sort_unstable();
    own.dedup();
    let others = repair::others(clickhouse, &own, wall_ms())
        .await
        .map_err(|error| Failure::of(&error))?;
    for other in others {
        say(&format!(
            "another collector {}: {} epochs, {} rows, {} samples; not in this ledger, as it should be",
            other.collector_id, other.epochs, other.rows, other.samples
        ));
    }
    Ok(has_strays)
}

pub(super) fn ledger(state: &State) -> Result<Vec<EpochInfo>, Failure> {
    state.ledger(0).map_err(|error| Failure::of(&error))
}

/// The runs of neighbouring epochs of each id, and at least one of `mine`.
fn runs(ledger: &[EpochInfo], mine: uuid::Uuid) -> Vec<(uuid::Uuid, u64, u64)> {
    let is_next = |left: &EpochInfo, right: &EpochInfo| {
        left.collector_id == right.collector_id && left.epoch + 1 == right.epoch
    };
    let mut runs: Vec<_> = ledger
        .chunk_by(is_next)
        .filter_map(|run| Some((run.first()?, run.last()?)))
        .map(|(first, last)| (first.collector_id, first.epoch, last.epoch))
        .collect();
    if runs.iter().all(|(id, _, _)| *id != mine) {
        // Under a new id nothing was sealed yet.
        runs.push((mine, 0, 0));
    }
    runs
}
