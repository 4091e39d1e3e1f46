//! Copies of damaged segments, for people: the program never reads them again.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;

/// The name of the folder inside the journal's folder.
pub(super) const FOLDER: &str = "quarantine";

/// Copies of one segment, at most; each start may find new damage in it.
const COPIES_MAX: u32 = 8;

/// The number of a segment that was moved there because no copy could be made: never that of a copy.
pub(super) const MOVED: u32 = COPIES_MAX;

/// Puts a durable copy where nothing reuses it; one that is there already will do.
pub(super) fn copy(
    disk: &dyn Disk,
    dir: &Path,
    sequence: u64,
    bytes: &[u8],
) -> io::Result<PathBuf> {
    let folder = dir.join(FOLDER);
    disk.create_dir(&folder)?;
    disk.sync_dir(dir)?;
    for number in 0..COPIES_MAX {
        let path = path_of(&folder, sequence, number);
        match disk.read(&path, u64::MAX) {
            Ok(existing) if existing == bytes => return Ok(path),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let unfinished = path.with_extension("tmp");
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&unfinished)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_dir(&folder)?;
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "segment was set aside too often",
    ))
}

pub(super) fn path_of(folder: &Path, sequence: u64, number: u32) -> PathBuf {
    match number {
        0 => folder.join(format!("j-{sequence:016x}.seg")),
        _ => folder.join(format!("j-{sequence:016x}-{number}.seg")),
    }
}
