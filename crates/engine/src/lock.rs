//! The lock on a storage path, with the pid of its holder inside, so that it can be named.
//!
//! The engine has a lock of its own and refuses a second process too, but says it only on standard
//! error and without a pid.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::error::EngineError;

/// How often a held lock is tried again. A restart hands over within a few of these.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A pid has at most ten digits; anything longer was not written by us.
const PID_BYTES_MAX: u64 = 16;

/// The lock, held until dropped; the kernel frees it when the process dies.
#[derive(Debug)]
pub(super) struct PathLock {
    _file: File,
}

impl PathLock {
    /// Takes the lock, a file of this name beside the engine's own, waiting up to `wait` for another process to let go.
    pub(super) fn acquire(
        path: &Path,
        file_name: &str,
        wait: Duration,
    ) -> Result<Self, EngineError> {
        let unusable = |source| EngineError::Path {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(unusable)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(file_name))
            .map_err(unusable)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(unusable(errno.into())),
            }
            if started.elapsed() >= wait {
                return Err(EngineError::Locked {
                    path: path.to_owned(),
                    pid: read_pid(&mut file),
                    waited_secs: wait.as_secs(),
                });
            }
            thread::sleep(RETRY_PAUSE);
        }
        write_pid(&mut file).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let held = PathLock::acquire(folder.path(), "program.lock", Duration::ZERO).unwrap();
        let error = PathLock::acquire(folder.path(), "program.lock", Duration::ZERO).unwrap_err();
        let expected = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&expected), "{error}");
        drop(held);
        PathLock::acquire(folder.path(), "program.lock", Duration::ZERO).unwrap();
    }
}
