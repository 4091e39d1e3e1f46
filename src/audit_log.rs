//! Writes down who did what to keys, tokens and stores, and which credentials were refused: `audit_log.jsonl` in the
//! data folder, one JSON object a line.
//!
//! The log holds no credential, no address and no person's name: whoever acted is the id of a key, or the way by which
//! the act came. It is bounded: a full file is set aside, and the oldest one goes. What a stranger can provoke is
//! throttled and counted. In `serve` a thread writes it, so that a disk that hangs holds up nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::tasks::Tasks;
use crate::throttle::Throttle;

/// The file that is written to.
pub const FILE: &str = "audit_log.jsonl";
/// How long a file gets. Unit: bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many full files are kept beside the one that is written to.
const KEPT: usize = 7;
/// How many lines may wait for the disk; later ones are counted and dropped.
const WAITING_MAX: usize = 1_024;

/// What became of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Whoever asked for it may not.
    Refused,
    /// It could not be done.
    Failed,
}

/// One line.
#[derive(Debug)]
pub struct Entry<'a> {
    /// What was done, such as `token.revoke`.
    pub act: &'a str,
    /// Who did it: `key` and its id, `socket` or `command`; of a refused credential `unknown`.
    pub by: &'a str,
    /// What it was done to.
    pub about: Value,
    /// What became of it.
    pub outcome: Outcome,
}

/// The log. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct AuditLog {
    lines: Lines,
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Lines {
    /// Written at once.
    Here(Arc<Mutex<Files>>),
    /// Written by a thread.
    Thread(SyncSender<String>),
    Nowhere,
}

static LOST: Throttle = Throttle::new("lines of the audit log that were lost");

impl AuditLog {
    /// Writes at once: for a command that holds the data folder.
    #[must_use]
    pub fn here(data_dir: &Path, clock: Clock) -> Self {
        let files = Arc::new(Mutex::new(Files::new(data_dir, FILE_BYTES_MAX)));
        Self {
            lines: Lines::Here(files),
            clock,
        }
    }

    /// Writes on a thread of its own.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(data_dir: &Path, clock: Clock, tasks: &Tasks) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<String>(WAITING_MAX);
        let mut files = Files::new(data_dir, FILE_BYTES_MAX);
        tasks.thread("audit log", move || {
            while let Ok(line) = receiver.recv() {
                tell(files.write(&line));
            }
        })?;
        Ok(Self {
            lines: Lines::Thread(sender),
            clock,
        })
    }

    /// Writes nothing: for whoever has no data folder.
    #[must_use]
    pub fn nowhere(clock: Clock) -> Self {
        Self {
            lines: Lines::Nowhere,
            clock,
        }
    }

    /// Writes a line.
    pub fn note(&self, entry: &Entry<'_>) {
        let now_ms = self.clock.now_ms();
        let time = jiff::Timestamp::from_millisecond(now_ms).map(|time| time.to_string());
        let line = json!({
            "time": time.unwrap_or_default(),
            "act": entry.act,
            "by": entry.by,
            "about": entry.about,
            "outcome": match entry.outcome {
                Outcome::Done => "done",
                Outcome::Refused => "refused",
                Outcome::Failed => "failed",
            },
        });
        let line = format!("{line}\n");
        match &self.lines {
            Lines::Nowhere => {}
            Lines::Here(files) => {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                tell(files.write(&line));
            }
            Lines::Thread(sender) => {
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    sender.try_send(line)
                {
                    tell(Err(io::Error::other("too many lines wait for the disk")));
                }
            }
        }
    }
}

fn tell(written: io::Result<()>) {
    if let Err(error) = written
        && let Some(suppressed) = LOST.pass()
    {
        tracing::error!(%error, suppressed, "a line of the audit log could not be written");
    }
}

/// The file that is written to, and those before it.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    bytes_max: u64,
    open: Option<(File, u64)>,
}

impl Files {
    fn new(data_dir: &Path, bytes_max: u64) -> Self {
        Self {
            path: data_dir.join(FILE),
            bytes_max,
            open: None,
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if let Some((_, bytes)) = &self.open
            && bytes + length > self.bytes_max
        {
            self.open = None;
            self.set_aside()?;
        }
        let (file, bytes) = match &mut self.open {
            Some(open) => open,
            None => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&self.path)?;
                let bytes = file.metadata()?.len();
                self.open.insert((file, bytes))
            }
        };
        file.write_all(line.as_bytes())?;
        *bytes += length;
        Ok(())
    }

    /// Gives each full file the next number; the last one goes.
    fn set_aside(&self) -> io::Result<()> {
        let number = |number: usize| self.path.with_extension(format!("{number}.jsonl"));
        for older in (1..KEPT).rev() {
            match fs::rename(number(older), number(older + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, number(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_set_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path(), 100);
        for number in 0..200 {
            files.write(&format!("{{\"line\":{number:04}}}\n")).unwrap();
        }
        let sizes: Vec<u64> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), KEPT + 1);
        assert!(sizes.iter().all(|bytes| *bytes <= 100));
        let last = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(last.ends_with("{\"line\":0199}\n"));
        // Another process goes on where this one ended.
        let before = last.len();
        let mut files = Files::new(folder.path(), 1_000);
        files.write("{}\n").unwrap();
        let after = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(after.len(), before + 3);
    }

    #[test]
    fn a_line_is_an_object_that_says_who_did_what() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::here(folder.path(), Clock::of_machine());
        log.note(&Entry {
            act: "token.revoke",
            by: "command",
            about: json!({"store": "store-1"}),
            outcome: Outcome::Done,
        });
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["act"], &line["outcome"]),
            (&json!("token.revoke"), &json!("done"))
        );
        assert_eq!(line["about"]["store"], json!("store-1"));
    }
}
