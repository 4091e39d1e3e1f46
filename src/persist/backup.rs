//! A backup: a consistent copy of the state file, a manifest, and their checksums.
//!
//! The copy is taken from a snapshot, while `serve` may go on. What only the journal holds is not in it:
//! the original seals and ships that, and a copy that replayed it would count it twice (ADR 6).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::persist::error::StateError;
use crate::persist::state::unsigned;
use crate::persist::tables::{LAYOUT, get_meta};

/// The state file's name, in the data folder and in a backup.
pub const STATE_FILE: &str = "state.sqlite";
/// What the backup is of.
const MANIFEST_FILE: &str = "manifest.json";
/// As `sha256sum -c` reads it.
const SUMS_FILE: &str = "SHA256SUMS";
/// The layout of a backup.
const FORMAT: u32 = 1;
/// Pages copied between two looks at the progress: 4 MiB.
const PAGES_A_STEP: i32 = 1_024;
/// A manifest has about 500 bytes; a file beyond this was not written here.
const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// The layout of the backup.
    pub format: u32,
    /// The release that made it.
    pub release: String,
    /// When, Unix ms.
    pub created_at_ms: i64,
    /// Whose state it is.
    pub collector_id: Uuid,
    /// The last epoch in it.
    pub last_epoch: u64,
    /// Epochs in it that were not confirmed.
    pub unconfirmed_epochs: u64,
    /// The journal's position up to which it holds everything.
    pub applied_position: u64,
    /// Bytes of the state file's copy.
    pub state_bytes: u64,
}

/// Why there is no backup, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder holds something already.
    #[error("{} is not empty; name a folder that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    /// There is no state file to copy.
    #[error("there is no state file in {}; is it the data folder of a collector?", .0.display())]
    NoState(PathBuf),
    /// The folder holds no backup.
    #[error("{} holds no backup: {missing} is missing", .folder.display())]
    NotABackup {
        /// The folder.
        folder: PathBuf,
        /// What ought to be there.
        missing: &'static str,
    },
    /// A file is not as it was written.
    #[error(
        "the backup is damaged: {file} should have checksum {expected} and has {found}. Use another backup; nothing \
         was changed"
    )]
    Corrupt {
        /// The file.
        file: &'static str,
        /// As it was written.
        expected: String,
        /// As it is.
        found: String,
    },
    /// The manifest and the state file do not belong together.
    #[error(
        "the manifest is of {what} {manifest} and the state file of {state}: they come from different backups. Put \
         together what belongs together; nothing was changed"
    )]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// By the manifest.
        manifest: String,
        /// By the state file.
        state: String,
    },
    /// A later release made it.
    #[error("the backup has format {found}, this release reads format {FORMAT}; run release {release} or later")]
    Later {
        /// Its format.
        found: u32,
        /// Who made it.
        release: String,
    },
    /// A file cannot be read or written.
    #[error("could not {operation} {}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state file cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

fn io_error<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}

/// Backs up the state file in `data_dir` into the new folder `target`. `progress` is told bytes done and
/// bytes in all. The folder appears whole or not at all.
///
/// # Errors
/// When `target` holds something, or a file cannot be read or written.
pub fn create(
    data_dir: &Path,
    target: &Path,
    now_ms: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, BackupError> {
    check_empty(target)?;
    let source = data_dir.join(STATE_FILE);
    if !source.exists() {
        return Err(BackupError::NoState(data_dir.to_owned()));
    }
    let temporary = sibling(target, "unfinished");
    make_private(&temporary)?;
    let made = fill(&source, &temporary, now_ms, progress).and_then(|manifest| {
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
    let sums = sums_text(&hex(&Sha256::digest(text.as_bytes())), &state_sum);
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
    let manifest_sum = hex(&Sha256::digest(&manifest_text));
    let (state_sum, _) = checksum(&state)?;
    // Byte for byte: whatever has changed anywhere, the texts differ.
    let expected = sums_text(&manifest_sum, &state_sum);
    if sums != expected.as_bytes() {
        return Err(which_is_corrupt(&sums, &manifest_sum, &state_sum));
    }
    let manifest: Manifest = serde_json::from_slice(&manifest_text).map_err(StateError::Json)?;
    if manifest.format > FORMAT {
        return Err(BackupError::Later {
            found: manifest.format,
            release: manifest.release,
        });
    }
    let facts = Facts::read(&open_read_only(&state)?)?;
    for (what, of_manifest, of_state) in [
        ("collector", manifest.collector_id.to_string(), facts.collector_id.to_string()),
        ("epoch", manifest.last_epoch.to_string(), facts.last_epoch.to_string()),
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
pub fn sibling(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{purpose}-{}", Uuid::new_v4().simple()))
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

/// What the state file says of itself.
#[derive(Debug)]
struct Facts {
    collector_id: Uuid,
    last_epoch: u64,
    unconfirmed_epochs: u64,
    applied_position: u64,
}

impl Facts {
    fn read(connection: &Connection) -> Result<Self, BackupError> {
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > LAYOUT {
            let known = LAYOUT;
            return Err(StateError::Later { found, known }.into());
        }
        let number = |key: &str| -> Result<u64, BackupError> {
            let text: Option<String> = get_meta(connection, key)?;
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        let id: Option<String> = get_meta(connection, "collector_id")?;
        let id = id.and_then(|text| Uuid::parse_str(&text).ok());
        let unconfirmed: i64 = connection.query_row(
            "SELECT count(*) FROM epoch WHERE confirmed_at_ms IS NULL",
            [],
            |row| row.get(0),
        )?;
        Ok(Self {
            collector_id: id.ok_or(StateError::Damaged("collector id"))?,
            last_epoch: number("last_epoch")?,
            unconfirmed_epochs: unsigned(unconfirmed),
            applied_position: number("applied")?,
        })
    }
}

/// Copies the pages of one snapshot. A transaction on the source holds it: what is sealed meanwhile
/// neither comes into the copy nor makes it begin anew.
fn copy_state(
    source: &Path,
    copy: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Facts, BackupError> {
    let source = open_read_only(source)?;
    let snapshot = source.unchecked_transaction()?;
    // The first read takes the snapshot.
    let facts = Facts::read(&snapshot)?;
    let page_bytes: i64 = snapshot.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let mut target = Connection::open(copy)?;
    {
        let backup = Backup::new(&snapshot, &mut target)?;
        loop {
            let step = backup.step(PAGES_A_STEP)?;
            let pages = backup.progress();
            let bytes = |pages: i32| u64::try_from(i64::from(pages) * page_bytes).unwrap_or(0);
            progress(bytes(pages.pagecount - pages.remaining), bytes(pages.pagecount));
            match step {
                StepResult::Done => break,
                // Nobody else writes the copy, and a snapshot is never busy; but a step may say so.
                StepResult::Busy | StepResult::Locked => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => {}
            }
        }
    }
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    let verdict: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StateError::Damaged("page: the state file itself is damaged").into());
    }
    drop(target);
    sync_file(copy)?;
    Ok(facts)
}

fn open_read_only(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

fn sums_text(manifest_sum: &str, state_sum: &str) -> String {
    format!("{manifest_sum}  {MANIFEST_FILE}\n{state_sum}  {STATE_FILE}\n")
}

fn which_is_corrupt(sums: &[u8], manifest_sum: &str, state_sum: &str) -> BackupError {
    let text = String::from_utf8_lossy(sums);
    let mut lines = text.lines();
    for (file, found) in [(MANIFEST_FILE, manifest_sum), (STATE_FILE, state_sum)] {
        let words: Vec<&str> = lines.next().unwrap_or("").split("  ").collect();
        if let [expected, name] = words[..]
            && name == file
            && expected.len() == found.len()
            && expected != found
        {
            return BackupError::Corrupt {
                file,
                expected: expected.to_owned(),
                found: found.to_owned(),
            };
        }
    }
    BackupError::Corrupt {
        file: SUMS_FILE,
        expected: hex(&Sha256::digest(sums_text(manifest_sum, state_sum).as_bytes())),
        found: hex(&Sha256::digest(sums)),
    }
}

fn not_a_backup(folder: &Path, missing: &'static str) -> BackupError {
    BackupError::NotABackup {
        folder: folder.to_owned(),
        missing,
    }
}

fn small_file(folder: &Path, name: &'static str) -> Result<Vec<u8>, BackupError> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_a_backup(folder, name),
        _ => io_error("open", &path)(error),
    })?;
    let mut bytes = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", &path))?;
    Ok(bytes)
}

/// SHA-256 and length of a file.
fn checksum(path: &Path) -> Result<(String, u64), BackupError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make_private(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(io_error("make", folder))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = File::create(path).map_err(io_error("make", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

fn sync_file(path: &Path) -> Result<(), BackupError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    sync_file(folder)
}

/// Makes a rename durable.
///
/// # Errors
/// When the folder above cannot be synced.
pub fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::State;

    fn backed_up(folder: &Path) -> (PathBuf, Manifest) {
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let state = State::open(&data).unwrap();
        let target = folder.join("backup");
        let mut seen = 0;
        let manifest = create(&data, &target, 5, &mut |done, all| {
            assert!(done <= all);
            seen = done;
        });
        let manifest = manifest.unwrap();
        assert_eq!(manifest.collector_id, state.collector_id());
        assert_eq!(seen, manifest.state_bytes);
        (target, manifest)
    }

    #[test]
    fn a_backup_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (target, manifest) = backed_up(folder.path());
        assert_eq!(verify(&target).unwrap(), manifest);
        let again = create(&folder.path().join("data"), &target, 6, &mut |_, _| {});
        assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
        let nothing = create(&folder.path().join("none"), &folder.path().join("b"), 6, &mut |_, _| {});
        assert!(matches!(nothing, Err(BackupError::NoState(_))));
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn any_byte_that_is_changed_or_cut_off_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (target, _) = backed_up(folder.path());
        for name in [MANIFEST_FILE, SUMS_FILE, STATE_FILE] {
            let path = target.join(name);
            let good = std::fs::read(&path).unwrap();
            // Every byte of the small files; of the large one its ends and every 97th.
            let step = if good.len() > 4_096 { 97 } else { 1 };
            let chosen = (0..good.len()).step_by(step).chain([good.len() - 1]);
            for at in chosen {
                for flip in [1_u8, 0x20, 0x80] {
                    let mut bad = good.clone();
                    bad[at] ^= flip;
                    std::fs::write(&path, &bad).unwrap();
                    let error = verify(&target).unwrap_err();
                    assert!(
                        matches!(&error, BackupError::Corrupt { .. }),
                        "{name} byte {at}: {error}"
                    );
                }
            }
            for bad in [&good[..good.len() - 1], &[&good[..], b"\n"].concat()] {
                std::fs::write(&path, bad).unwrap();
                assert!(matches!(verify(&target), Err(BackupError::Corrupt { .. })), "{name}");
            }
            std::fs::remove_file(&path).unwrap();
            assert!(matches!(verify(&target), Err(BackupError::NotABackup { .. })), "{name}");
            std::fs::write(&path, &good).unwrap();
            verify(&target).unwrap();
        }
    }

    #[test]
    fn the_damaged_file_is_named_with_what_was_expected_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let (target, _) = backed_up(folder.path());
        for name in [MANIFEST_FILE, STATE_FILE] {
            let path = target.join(name);
            let good = std::fs::read(&path).unwrap();
            std::fs::write(&path, [&good[..], b" "].concat()).unwrap();
            let found = checksum(&path).unwrap().0;
            std::fs::write(&path, &good).unwrap();
            let expected = checksum(&path).unwrap().0;
            std::fs::write(&path, [&good[..], b" "].concat()).unwrap();
            let said = verify(&target).unwrap_err().to_string();
            for word in [name, &expected, &found] {
                assert!(said.contains(word), "{word}: {said}");
            }
            std::fs::write(&path, &good).unwrap();
        }
    }

    #[test]
    fn the_state_file_of_another_collector_is_refused_though_every_checksum_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let (target, manifest) = backed_up(folder.path());
        let other = tempfile::tempdir().unwrap();
        let (other_target, other_manifest) = backed_up(other.path());
        std::fs::copy(other_target.join(STATE_FILE), target.join(STATE_FILE)).unwrap();
        let sums = [MANIFEST_FILE, STATE_FILE].map(|name| checksum(&target.join(name)).unwrap().0);
        std::fs::write(target.join(SUMS_FILE), sums_text(&sums[0], &sums[1])).unwrap();
        let error = verify(&target).unwrap_err();
        assert!(matches!(&error, BackupError::Mismatch { what: "collector", .. }), "{error}");
        for id in [manifest.collector_id, other_manifest.collector_id] {
            assert!(error.to_string().contains(&id.to_string()), "{error}");
        }
        let nowhere = folder.path().join("restored");
        assert!(restore(&target, &nowhere).is_err());
        assert!(!nowhere.exists(), "nothing was begun");
    }
}
