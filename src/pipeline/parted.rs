//! Lets a person continue with a collector whose state file and journal do not belong together.

use std::path::{Path, PathBuf};

use tillwatch_journal::{Noted, Outline, Position, note_path, outline, verify};

use crate::persist::identity::has_state;
use crate::persist::{JournalLoss, LossKind, State};
use crate::pipeline::error::ServeError;
use crate::pipeline::folder::{check_journal, journal_dir, lock_data_dir};
use crate::world::World;

/// What a state file has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Positions up to here had been sealed by another state file: they are not read.
    pub sealed: u64,
    /// Records behind that position, which the next start reads.
    pub records: u64,
    /// Whether it is known what had been sealed. If not, all records that are there are counted.
    pub is_noted: bool,
}

/// Lets a state file that goes with no journal take over the one that lies in its folder: what no other
/// state file had sealed. Without a state file one is made.
///
/// # Errors
/// When a process holds the folder, when there is nothing to take over, or when a file fails.
pub fn adopt(data_dir: &Path, world: &World) -> Result<Adopted, ServeError> {
    let _lock = lock_data_dir(data_dir, world)?;
    let journal = journal_dir(data_dir);
    let found = outline(&*world.disk, &journal)?;
    if !found.is_used {
        let text = format!("there is no journal with records in {}", journal.display());
        return Err(ServeError::NothingToDo(text));
    }
    let state = State::open(data_dir, world)?;
    if state.journal_id()?.is_some() {
        let text = format!(
            "the state file in {} goes with a journal already; only one that goes with none can adopt one",
            data_dir.display()
        );
        return Err(ServeError::NothingToDo(text));
    }
    let noted = own_note(&found);
    let sealed = noted.map_or(0, |noted| noted.released.0);
    leave_to_another(&state, sealed, world)?;
    let id = found
        .journal_id
        .unwrap_or_else(|| world.chance.uuid().as_u128());
    state.go_with(Some(id), sealed)?;
    let verified = verify(&*world.disk, &journal, Some(Position(sealed)))?;
    Ok(Adopted {
        sealed,
        records: verified.records,
        is_noted: noted.is_some(),
    })
}

/// The note, if it speaks of the journal that is there.
fn own_note(found: &Outline) -> Option<Noted> {
    let id = found.journal_id?;
    found.noted.filter(|noted| noted.journal_id == id)
}

/// Notes that another state file has sealed what lies above this one's position.
fn leave_to_another(state: &State, sealed: u64, world: &World) -> Result<(), ServeError> {
    let applied = state.applied()?;
    if sealed > applied {
        state.note_loss(&JournalLoss {
            kind: LossKind::SealedElsewhere,
            positions: Some((applied + 1, sealed)),
            records: 0,
            bytes: 0,
            segment: 0,
            found_at_ms: world.clock.now_ms(),
            accepted_at_ms: None,
        })?;
    }
    Ok(())
}

/// Lets an older copy of a state file pass over what a newer one has sealed of the journal. The caller
/// holds the folder, and gives the file a new collector id.
///
/// # Errors
/// When a file cannot be read or written.
pub fn pass_over_sealed(state: &State, data_dir: &Path, world: &World) -> Result<(), ServeError> {
    let found = outline(&*world.disk, &journal_dir(data_dir))?;
    let noted =
        own_note(&found).filter(|noted| state.journal_id().ok() == Some(Some(noted.journal_id)));
    if let Some(noted) = noted.filter(|noted| Some(noted.released.0) > state.applied().ok()) {
        leave_to_another(state, noted.released.0, world)?;
        state.go_with(Some(noted.journal_id), noted.released.0)?;
    }
    Ok(())
}

/// What a state file goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Positions that were acknowledged and not sealed, if there are any.
    pub lost: Option<(u64, u64)>,
    /// Where what there was of the journal lies now.
    pub aside: Option<PathBuf>,
}

/// Lets the state file go on without the journal it goes with, or without the one that it does not know:
/// notes what is lost, and sets aside what there is.
///
/// # Errors
/// When a process holds the folder, when state file and journal belong together, or when a file fails.
pub fn abandon(data_dir: &Path, world: &World) -> Result<Abandoned, ServeError> {
    let _lock = lock_data_dir(data_dir, world)?;
    let journal = journal_dir(data_dir);
    let found = outline(&*world.disk, &journal)?;
    let had_state = has_state(data_dir);
    let state = State::open(data_dir, world)?;
    let is_parted = if had_state {
        check_journal(&state, data_dir, world).is_err()
    } else {
        found.is_used || found.noted.is_some()
    };
    if !is_parted {
        let text = format!(
            "state file and journal in {} belong together, or are both new; there is nothing to abandon",
            data_dir.display()
        );
        return Err(ServeError::NothingToDo(text));
    }
    let applied = state.applied()?;
    let noted = found.noted.unwrap_or_default();
    let mut durable = noted.durable.0;
    if found.segments > 0 {
        let verified = verify(&*world.disk, &journal, Some(Position(applied)))?;
        durable = durable.max(verified.durable.0);
    }
    let first = applied.max(noted.released.0) + 1;
    let lost = (durable >= first).then_some((first, durable));
    if let Some((first, last)) = lost {
        state.note_loss(&JournalLoss {
            kind: LossKind::Abandoned,
            positions: lost,
            records: last - first + 1,
            bytes: 0,
            segment: noted.sequence,
            found_at_ms: world.clock.now_ms(),
            accepted_at_ms: None,
        })?;
    }
    leave_to_another(&state, noted.released.0, world)?;
    // Positions of the abandoned journal are not used again.
    state.go_with(None, durable)?;
    let aside = set_aside(data_dir, &journal, found.segments > 0, world)?;
    Ok(Abandoned { lost, aside })
}

/// Moves the folder, if there is anything in it, and the note to names that nothing uses.
fn set_aside(
    data_dir: &Path,
    journal: &Path,
    has_segments: bool,
    world: &World,
) -> Result<Option<PathBuf>, ServeError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| ServeError::DataDir { path, source }
    };
    let names = (1..).map(|number| data_dir.join(format!("journal.abandoned-{number}")));
    let free = |path: &PathBuf| !path.exists() && !note_path(path).exists();
    let target = names.into_iter().find(free).unwrap_or_default();
    if has_segments {
        std::fs::rename(journal, &target).map_err(unusable(journal))?;
    }
    let note = note_path(journal);
    if note.exists() {
        std::fs::rename(&note, note_path(&target)).map_err(unusable(&note))?;
    }
    world.disk.sync_dir(data_dir).map_err(unusable(data_dir))?;
    Ok(has_segments.then_some(target))
}
