//! The file system as the journal sees it: the real one, and for tests one that fails on demand.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the journal asks of a file system. A name given to [`create`](Self::create),
/// [`rename`](Self::rename) or [`remove`](Self::remove) is only certain after
/// [`sync_dir`](Self::sync_dir), bytes only after [`DiskFile::sync_data`].
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a folder and its parents; it may exist.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a new, empty file; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads a file from its start, at most `limit_bytes` of it.
    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>>;
    /// Length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Renames within one file system, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock that keeps a second process out.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// A file opened for writing.
pub trait DiskFile: Send + Debug {
    /// Writes all of `bytes` or fails; after a failure any part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable (`fdatasync`). After a failure nothing is known, and
    /// asking again tells nothing either.
    fn sync_data(&self) -> io::Result<()>;
}

/// The answer to a wish for the lock.
#[derive(Debug)]
pub enum Lock {
    /// Held until this is dropped.
    Held(Box<dyn Any + Send + Sync>),
    /// Somebody else has it: the process that wrote its id there, if that can be read.
    HeldBy(Option<u32>),
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// The length of the pieces a file is read in when reading it whole fails.
const SALVAGE_BYTES: usize = 4096;

/// Stands for bytes that the disk would not give, so that they read as damage and not as an end.
const SALVAGE_FILLER: u8 = 0xdb;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(
            OpenOptions::new().write(true).open(path)?,
        )))
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len().min(limit_bytes);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        match (&file).take(limit_bytes).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            // One bad page must not hide the rest of the file.
            Err(error) => salvage(&file, length, error),
        }
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            // The folder is locked too: under a lock file that somebody has deleted, another would be free.
            Ok(()) => {
                let Some(folder) = lock_folder(path)? else {
                    return Ok(Lock::HeldBy(None));
                };
                file.set_len(0)?;
                file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
                Ok(Lock::Held(Box::new((file, folder))))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The id only helps a person; an unreadable one is no reason to fail otherwise.
                let pid = (&file)
                    .take(32)
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                Ok(Lock::HeldBy(pid))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Locks the folder of a lock file; `None` when somebody else has it. Some file systems lock no folders:
/// there the file alone has to do.
fn lock_folder(file: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder_of(file))?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(folder)),
    }
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Reads page by page and puts filler where the disk gives an error; `error` if it gives nothing.
fn salvage(file: &File, length: u64, error: io::Error) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).unwrap_or(0);
    let mut bytes = vec![SALVAGE_FILLER; length];
    let mut pages_read = 0_u64;
    let mut offset = 0_u64;
    for page in bytes.chunks_mut(SALVAGE_BYTES) {
        match file.read_exact_at(page, offset) {
            Ok(()) => pages_read += 1,
            Err(_) => page.fill(SALVAGE_FILLER),
        }
        offset += page.len() as u64;
    }
    if pages_read == 0 {
        Err(error)
    } else {
        Ok(bytes)
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
