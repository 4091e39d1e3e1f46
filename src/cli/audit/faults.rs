//! What an audit finds amiss beside the sums: the journal, what was lost before it was sealed, an older copy
//! of the state file.

use std::path::Path;
use std::sync::Arc;

use tillwatch_model::time::wall_ms;

use crate::cli::backup::time_text;
use crate::cli::journal::{describe, verified};
use crate::cli::{Failure, say};
use crate::persist::identity::look;
use crate::persist::ship::guard_epochs;
use crate::persist::{ClickHouse, ClickHouseError, JournalLoss, LossKind, State};
use crate::pipeline::{self, ServeError};
use crate::world::World;

/// What is amiss beside the sums, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Rows are other than their hash says.
    WrongRows,
    /// Something was lost before it was sealed, and nobody has accepted it.
    Losses,
    /// The journal is damaged, or not that of the state file.
    Journal,
    /// Another copy of the state file has shipped more.
    Older,
}

impl Fault {
    /// The fault in words that end the line of sums.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::WrongRows => {
                "BUT ROWS ARE OTHER THAN THEY WERE SENT, see above; `audit --repair` sends what is still kept"
            }
            Self::Losses => "whole, BUT WHAT IS LISTED ABOVE WAS LOST before it was sealed",
            Self::Journal => "whole, BUT THE JOURNAL IS DAMAGED, see above",
            Self::Older => {
                "whole, BUT THIS STATE FILE IS AN OLDER COPY and ships nothing, see above"
            }
        }
    }
}

/// Looks for what can be amiss beside the database, and says what it finds.
pub(super) async fn look_around(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
    data_dir: &Path,
    accept_losses: bool,
) -> Result<Vec<Fault>, Failure> {
    let found = [
        (Fault::Journal, journal_is_damaged(data_dir)?),
        (Fault::Losses, tell_losses(state, accept_losses)?),
        (Fault::Older, tell_older(state, clickhouse).await),
    ];
    let amiss = found.into_iter().filter(|(_, is_so)| *is_so);
    Ok(amiss.map(|(fault, _)| fault).collect())
}

/// Of a collector that does not run: whether its journal is damaged, or is not the one it goes with. A
/// running one has looked at its start, and is in the middle of it.
fn journal_is_damaged(data_dir: &Path) -> Result<bool, Failure> {
    let _lock = match pipeline::lock_data_dir(data_dir, &World::of_machine()) {
        Ok(lock) => lock,
        Err(ServeError::InUse { .. }) => return Ok(false),
        Err(error) => return Err(Failure::of(&error)),
    };
    let known = look(data_dir).map_err(|error| Failure::of(&error))?;
    let Some(known) = known.filter(|known| known.journal_id.is_some()) else {
        return Ok(false);
    };
    if let Err(error) = pipeline::check_belonging(known, data_dir, &World::of_machine()) {
        say(&Failure::of(&error).0);
        return Ok(true);
    }
    let found = verified(data_dir, Some(known))?;
    if found.is_intact() {
        return Ok(false);
    }
    for line in describe(&found) {
        say(&line);
    }
    Ok(true)
}

/// Lists what was lost before it was sealed; whether any of it is new to whoever reads it.
fn tell_losses(state: &State, accept: bool) -> Result<bool, Failure> {
    if accept {
        let accepted = state.accept_losses(wall_ms());
        accepted.map_err(|error| Failure::of(&error))?;
    }
    let losses = state.losses().map_err(|error| Failure::of(&error))?;
    for loss in &losses {
        say(&text_of(loss));
    }
    Ok(losses.iter().any(|loss| loss.accepted_at_ms.is_none()))
}

fn text_of(loss: &JournalLoss) -> String {
    let place = match loss.positions {
        Some((first, last)) => format!("positions {first} to {last} of the journal"),
        None => format!("segment {} of the journal", loss.segment),
    };
    let what = match (loss.kind, loss.positions) {
        (LossKind::Journal, Some(_)) => format!(
            "{} acknowledged records are lost ({} bytes unreadable)",
            loss.records, loss.bytes
        ),
        (LossKind::Journal, None) => {
            "it is missing or cannot be read, and nothing tells whether it held acknowledged records".to_owned()
        }
        (LossKind::Abandoned, _) => {
            format!("the journal was abandoned; {} acknowledged records at least are lost", loss.records)
        }
        (LossKind::SealedElsewhere, _) => {
            "another state file had sealed them; what it had not shipped is lost with it".to_owned()
        }
    };
    let seen = loss.accepted_at_ms.map_or_else(String::new, |accepted| {
        format!("; accepted {}", time_text(accepted))
    });
    format!(
        "LOSS: {place}: {what}; found {}{seen}",
        time_text(loss.found_at_ms)
    )
}

/// Whether ClickHouse holds more of this collector than its state file has sent.
async fn tell_older(state: &Arc<State>, clickhouse: &ClickHouse) -> bool {
    match guard_epochs(clickhouse, state).await {
        Err(error @ ClickHouseError::EpochReuse { .. }) => {
            say(&Failure::of(&error).0);
            true
        }
        // Whatever else came of the look, the sums could be read.
        Ok(()) | Err(_) => false,
    }
}
