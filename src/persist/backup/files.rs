//! A backup's files: checksums, and writing so that it lasts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::persist::backup::error::{BackupError, io_error};
use crate::persist::backup::{MANIFEST_FILE, STATE_FILE, SUMS_FILE};

/// A manifest has about 500 bytes; a file beyond this was not written here.
const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn sums_text(manifest_sum: &str, state_sum: &str) -> String {
    format!("{manifest_sum}  {MANIFEST_FILE}\n{state_sum}  {STATE_FILE}\n")
}

pub(super) fn which_is_corrupt(sums: &[u8], manifest_sum: &str, state_sum: &str) -> BackupError {
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
        expected: hex::encode(Sha256::digest(
            sums_text(manifest_sum, state_sum).as_bytes(),
        )),
        found: hex::encode(Sha256::digest(sums)),
    }
}

pub(super) fn not_a_backup(folder: &Path, missing: &'static str) -> BackupError {
    BackupError::NotABackup {
        folder: folder.to_owned(),
        missing,
    }
}

pub(super) fn small_file(folder: &Path, name: &'static str) -> Result<Vec<u8>, BackupError> {
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

/// Has the next read of a file ask the disk instead of the memory that still holds what was written.
pub(super) fn forget_cached(path: &Path) -> Result<(), BackupError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    // Only Linux takes such advice, and it may not: then memory is asked.
    #[cfg(target_os = "linux")]
    let _is_taken = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    drop(file);
    Ok(())
}

/// SHA-256 and length of a file.
pub(super) fn checksum(path: &Path) -> Result<(String, u64), BackupError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            return Ok((hex::encode(hasher.finalize()), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

pub(super) fn make_private(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(io_error("make", folder))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = File::create(path).map_err(io_error("make", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

pub(super) fn sync_file(path: &Path) -> Result<(), BackupError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    sync_file(folder)
}

/// Makes a rename durable.
///
/// # Errors
/// When the folder above cannot be synced.
pub fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}
