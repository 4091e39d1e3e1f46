//! A backup: a consistent copy of the state file, a manifest, and their checksums.
//!
//! The copy is taken from a snapshot, while `serve` may go on. What only the journal holds is not in it:
//! the original seals and ships that, and a copy that replayed it would count it twice (docs/adr/).
//!
//! | file | what |
//! |---|---|
//! | `copy.rs` | the state file's pages, from one snapshot |
//! | `files.rs` | checksums, and writing so that it lasts |
//! | `kept.rs` | the backups of a schedule: verified, named, the oldest removed |
//! | `error.rs` | why there is no backup, or none that can be used |

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::chance::Chance;
use crate::persist::error::StateError;

mod copy;
mod error;
mod files;
mod kept;
#[cfg(test)]
mod tests;

use copy::{Facts, copy_state, is_sound, open_read_only};
use error::io_error;
use files::{
    checksum, forget_cached, make_private, not_a_backup, small_file, sums_text, sync_file,
    sync_folder, which_is_corrupt, write_synced,
};

pub use error::BackupError;
pub use files::sync_parent;
pub use kept::{Kept, Unverified};

/// The state file's name, in the data folder and in a backup.
pub const STATE_FILE: &str = "state.sqlite";
/// What the backup is of.
const MANIFEST_FILE: &str = "manifest.json";
/// The file of checksums, which `sha256sum -c` can read.
const SUMS_FILE: &str = "SHA256SUMS";
/// The layout of a backup.
const FORMAT: u32 = 1;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// The layout of the backup.
    pub format: u32,
    /// The release that made the backup.
    pub release: String,
    /// When the backup was made, Unix ms.
    pub created_at_ms: i64,
    /// The id of the collector whose state it is.
    pub collector_id: Uuid,
    /// The last epoch in the backup.
    pub last_epoch: u64,
    /// Epochs in the backup that were not confirmed.
    pub unconfirmed_epochs: u64,
    /// The journal's position up to which the backup holds everything.
    pub applied_position: u64,
    /// Bytes of the state file's copy.
    pub state_bytes: u64,
}

/// The folder of private keys in a backup that was made with them.
const KEYS_FOLDER: &str = "token_keys";

/// Copies a folder of private keys, each for its owner alone.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_keys(from: &Path, to: &Path) -> Result<(), BackupError> {
    make_private(to)?;
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error("read", from))?,
    };
    for entry in entries {
        let path = entry.map_err(io_error("read", from))?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && name.to_string_lossy().ends_with(".json") {
            let bytes = std::fs::read(&path).map_err(io_error("read", &path))?;
            write_synced(&to.join(name), &bytes)?;
        }
    }
    sync_folder(to)
}

/// The folder of private keys in a backup, if it was made with them.
#[must_use]
pub fn keys_in(folder: &Path) -> Option<PathBuf> {
    let keys = folder.join(KEYS_FOLDER);
    keys.is_dir().then_some(keys)
}

/// Backs up the state file in `data_dir` into the new folder `target`, and a folder of private keys if one is given.
/// `progress` is told bytes done and
/// bytes in all. The folder appears whole or not at all.
///
/// # Errors
/// When `target` holds something, or a file cannot be read or written.
pub fn create(
    data_dir: &Path,
    (target, keys): (&Path, Option<&Path>),
    now_ms: i64,
    chance: &Chance,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, BackupError> {
    check_empty(target)?;
    let source = data_dir.join(STATE_FILE);
    if !source.exists() {
        return Err(BackupError::NoState(data_dir.to_owned()));
    }
    let temporary = sibling(target, "unfinished", chance);
    make_private(&temporary)?;
    let made = fill(&source, &temporary, now_ms, progress).and_then(|manifest| {
        if let Some(keys) = keys {
            copy_keys(keys, &temporary.join(KEYS_FOLDER))?;
        }
        std::fs::rename(&temporary, target).map_err(io_error("rename the backup to", target))?;
        sync_parent(target)?;
        Ok(manifest)
    });
    if made.is_err() {
        // Whatever went wrong is worth more to know than that this did, too.
        let _ignored = std::fs::remove_dir_all(&temporary);
    }
    made
}

fn fill(
    source: &Path,
    folder: &Path,
    now_ms: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, BackupError> {
    let copy = folder.join(STATE_FILE);
    let facts = copy_state(source, &copy, progress)?;
    let (state_sum, state_bytes) = checksum(&copy)?;
    let manifest = Manifest {
        format: FORMAT,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        created_at_ms: now_ms,
        collector_id: facts.collector_id,
        last_epoch: facts.last_epoch,
        unconfirmed_epochs: facts.unconfirmed_epochs,
        applied_position: facts.applied_position,
        state_bytes,
    };
    let text = serde_json::to_string_pretty(&manifest).map_err(StateError::Json)? + "\n";
    write_synced(&folder.join(MANIFEST_FILE), text.as_bytes())?;
    let sums = sums_text(&hex::encode(Sha256::digest(text.as_bytes())), &state_sum);
    write_synced(&folder.join(SUMS_FILE), sums.as_bytes())?;
    sync_folder(folder)?;
    Ok(manifest)
}

/// Reads a backup whole and makes sure that it is what was written.
///
/// # Errors
/// Names the file that is damaged or missing, with what was expected and found.
pub fn verify(folder: &Path) -> Result<Manifest, BackupError> {
    let manifest_text = small_file(folder, MANIFEST_FILE)?;
    let sums = small_file(folder, SUMS_FILE)?;
    let state = folder.join(STATE_FILE);
    if !state.exists() {
        return Err(not_a_backup(folder, STATE_FILE));
    }
    let manifest_sum = hex::encode(Sha256::digest(&manifest_text));
    forget_cached(&state)?;
    let (state_sum, _) = checksum(&state)?;
    // Byte for byte: whatever has changed anywhere, the texts differ.
    let expected = sums_text(&manifest_sum, &state_sum);
    if sums != expected.as_bytes() {
        return Err(which_is_corrupt(&sums, &manifest_sum, &state_sum));
    }
    let manifest = manifest_of(folder, &manifest_text)?;
    let connection = open_read_only(&state)?;
    let facts = Facts::read(&connection)?;
    if !is_sound(&connection)? {
        return Err(
            StateError::Damaged("page: the state file was damaged when it was copied").into(),
        );
    }
    for (what, of_manifest, of_state) in [
        (
            "collector",
            manifest.collector_id.to_string(),
            facts.collector_id.to_string(),
        ),
        (
            "epoch",
            manifest.last_epoch.to_string(),
            facts.last_epoch.to_string(),
        ),
    ] {
        if of_manifest != of_state {
            return Err(BackupError::Mismatch {
                what,
                manifest: of_manifest,
                state: of_state,
            });
        }
    }
    Ok(manifest)
}

/// What a backup says of itself, if its files are there and as long as they have to be; they are not read.
fn glance(folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = manifest_of(folder, &small_file(folder, MANIFEST_FILE)?)?;
    small_file(folder, SUMS_FILE)?;
    let state = std::fs::metadata(folder.join(STATE_FILE));
    if state.is_ok_and(|state| state.len() == manifest.state_bytes) {
        Ok(manifest)
    } else {
        Err(not_a_backup(folder, STATE_FILE))
    }
}

fn manifest_of(folder: &Path, text: &[u8]) -> Result<Manifest, BackupError> {
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|_other_keys| not_a_backup(folder, "a manifest.json that can be read"))?;
    if manifest.format > FORMAT {
        return Err(BackupError::Later {
            found: manifest.format,
            release: manifest.release,
        });
    }
    Ok(manifest)
}

/// Verifies a backup and puts its state file into the new folder `data_dir`, without the journal that the
/// original goes with. The caller gives it a new collector id before anything else uses it.
///
/// # Errors
/// As [`verify`]; or when `data_dir` holds something or cannot be written.
pub fn restore(folder: &Path, data_dir: &Path) -> Result<Manifest, BackupError> {
    let manifest = verify(folder)?;
    check_empty(data_dir)?;
    make_private(data_dir)?;
    let target = data_dir.join(STATE_FILE);
    std::fs::copy(folder.join(STATE_FILE), &target).map_err(io_error("write", &target))?;
    let (expected, found) = (checksum(&folder.join(STATE_FILE))?.0, checksum(&target)?.0);
    if expected != found {
        return Err(BackupError::Corrupt {
            file: STATE_FILE,
            expected,
            found,
        });
    }
    let connection = Connection::open(&target)?;
    connection.execute("DELETE FROM meta WHERE key = 'journal_id'", [])?;
    drop(connection);
    sync_file(&target)?;
    sync_folder(data_dir)?;
    Ok(manifest)
}

/// A folder beside `path` that nothing else uses.
#[must_use]
pub fn sibling(path: &Path, purpose: &str, chance: &Chance) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{purpose}-{}", chance.uuid().simple()))
}

/// Whether a folder is not there, or holds nothing.
///
/// # Errors
/// [`BackupError::NotEmpty`] when it holds something.
pub fn check_empty(folder: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty(folder.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look into", folder)(error)),
    }
}
