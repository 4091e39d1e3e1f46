//! `audit --repair`: detaches broken parts, sends lost rows again, and reports each epoch.

use std::path::Path;
use std::sync::Arc;

use tillwatch_model::time::wall_ms;

use crate::cli::{Failure, say};
use crate::clock::Clock;
use crate::persist::deep::{self, BrokenPart};
use crate::persist::migrate::migrate;
use crate::persist::repair::{self, Merge, Repaired};
use crate::persist::ship::{guard_epochs, ship_once};
use crate::persist::{ClickHouse, EpochInfo, State};
use crate::pipeline::{self, ServeError};
use crate::progress::Progress;
use crate::world::World;

/// Takes broken parts out of their tables: while they are there, every query that meets one fails.
pub(super) async fn detach_all(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
    broken: &[BrokenPart],
) -> Result<(), Failure> {
    for part in broken {
        deep::detach(clickhouse, part)
            .await
            .map_err(|error| Failure::of(&error))?;
        let then = if part.table == deep::HOURLY {
            let days = deep::days_of_week(part);
            state
                .uncheck_days(&days)
                .map_err(|error| Failure::of(&error))?;
            "`serve` makes it anew from the minutes, after its next start"
        } else {
            "what is still kept here of its rows is sent again; those of other collectors on this ClickHouse, by their \
             own `audit --repair`"
        };
        say(&format!(
            "part {} of {} is detached: it lies in the folder `detached` of its table; {then}",
            part.part, part.table
        ));
    }
    if !broken.is_empty() {
        // The table of migrations may be among the broken ones.
        migrate(clickhouse)
            .await
            .map_err(|error| Failure::of(&error))?;
    }
    Ok(())
}

/// Sends again what differs, and says what became of it.
pub(super) async fn repair_all(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
    differing: &[(EpochInfo, Merge)],
    data_dir: &Path,
) -> Result<(), Failure> {
    // Numbers that another copy of the state file has used must not be sent under.
    guard_epochs(clickhouse, state)
        .await
        .map_err(|error| Failure::of(&error))?;
    let (clock, mut progress) = (Clock::of_machine(), Progress::new());
    let all = differing.len() as u64;
    for (done, (info, merge)) in (0..).zip(differing) {
        progress.step("repair", done, all, "epochs");
        let repaired = repair::repair(clickhouse, state, info, wall_ms(), *merge)
            .await
            .map_err(|error| Failure::of(&error))?;
        let what = match repaired {
            Repaired::Whole => "repaired: sent again and read back",
            Repaired::BlobGone => {
                "cannot be repaired: its rows are kept here for 48 hours after they were confirmed, and are gone. \
                 Take them from a backup of ClickHouse"
            }
            Repaired::BlobDamaged => {
                "cannot be repaired: its blob in the state file is not what the ledger says. Look at the disk"
            }
            Repaired::HasOthers => {
                "cannot be repaired by sending: ClickHouse holds rows under its number that were never sent. Look at \
                 them: SELECT * FROM rollup_1m WHERE epoch = its number"
            }
        };
        progress.finish();
        say(&format!(
            "epoch {} of collector {} ({} rows) {what}",
            info.epoch,
            info.collector_id,
            info.rows()
        ));
    }
    // While `serve` holds the folder, `serve` ships by itself.
    match pipeline::lock_data_dir(data_dir, &World::of_machine()) {
        Err(ServeError::InUse { .. }) => Ok(()),
        Err(error) => Err(Failure::of(&error)),
        Ok(_lock) => loop {
            let shipped = ship_once(clickhouse, state, &clock, true)
                .await
                .map_err(|error| Failure::of(&error))?;
            let (Some(first), Some(last)) = (shipped.confirmed.first(), shipped.confirmed.last())
            else {
                break Ok(());
            };
            say(&format!("epochs {first} to {last} shipped from the outbox"));
        },
    }
}
