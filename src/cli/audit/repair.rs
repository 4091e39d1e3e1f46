//! `audit --repair`: sends again what ClickHouse has lost, and says what became of it.

use std::path::Path;
use std::sync::Arc;

use crate::cli::backup::PLAIN_EVERY;
use crate::cli::{Failure, say};
use crate::model::time::wall_ms;
use crate::persist::repair::{self, Repaired};
use crate::persist::ship::{guard_epochs, ship_once};
use crate::persist::{ClickHouse, EpochInfo, State};
use crate::pipeline::{self, ServeError};
use crate::progress::Progress;

/// Sends again what differs, and says what became of it.
pub(super) async fn repair_all(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
    differing: &[EpochInfo],
    data_dir: &Path,
) -> Result<(), Failure> {
    // Numbers that another copy of the state file has used must not be sent under.
    guard_epochs(clickhouse, state)
        .await
        .map_err(|error| Failure::of(&error))?;
    let mut progress = Progress::new(false, PLAIN_EVERY);
    let all = differing.len() as u64;
    for (done, info) in (0..).zip(differing) {
        progress.step("repair", (done, all), "epochs");
        let repaired = repair::repair(clickhouse, state, info, wall_ms())
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
    // While `serve` holds the folder it ships itself.
    match pipeline::lock_data_dir(data_dir) {
        Err(ServeError::InUse { .. }) => Ok(()),
        Err(error) => Err(Failure::of(&error)),
        Ok(_lock) => loop {
            let shipped = ship_once(clickhouse, state, true)
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
