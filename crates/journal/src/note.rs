//! Notes beside the journal's folder how far the journal has come, because a folder cannot say that its end,
//! or all of it, is gone. `docs/formats/journal_v1.md` has the bytes of the note.
//!
//! The note may lag behind, and never runs ahead. A new segment is noted, and synced, before anything
//! in it is acknowledged. Positions within a segment are noted without a sync, a few times a second.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Position;
use super::disk::{Disk, DiskFile};
use super::settings::Settings;

/// The first bytes of a slot.
const MAGIC: [u8; 8] = *b"TILLWEND";

/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// Bytes of a slot that mean something: within one sector, so that no power cut tears it.
const SLOT_BYTES: usize = 64;

/// Two slots, a page each, written in turn: a write that fails leaves the other.
const SLOTS: [u64; 2] = [0, 4096];

/// Length of the file: never changed, so that writing needs no room on the disk.
const FILE_BYTES: usize = 8192;

/// What the note says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The journal that the note speaks of.
    pub journal_id: u128,
    /// A segment with this sequence was in use.
    pub sequence: u64,
    /// Positions up to here were durable.
    pub durable: Position,
    /// Positions up to here were released: at rest elsewhere.
    pub released: Position,
}

/// What was found where the note should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none: the journal is new, or of a release that kept no note.
    Nothing,
    /// There is something that cannot be read.
    Damaged,
    /// There is a note, with how often it had been written.
    Note(Noted, u64),
}

/// The note's file: beside the journal's folder, so that it is there when the folder is not.
pub fn note_path(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".note");
    dir.with_file_name(name)
}

/// Reads the note of the journal in `dir`.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Found {
    let bytes = match disk.read(&note_path(dir), FILE_BYTES as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(_) => return Found::Damaged,
    };
    let slots = SLOTS.iter().filter_map(|start| {
        let rest = bytes.get(usize::try_from(*start).ok()?..)?;
        decode(rest.get(..SLOT_BYTES)?)
    });
    let newest = slots.max_by_key(|(_, generation)| *generation);
    newest.map_or(Found::Damaged, |(noted, generation)| {
        Found::Note(noted, generation)
    })
}

fn encode(noted: &Noted, generation: u64) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(&noted.journal_id.to_le_bytes());
    let numbers = [
        noted.sequence,
        noted.durable.0,
        noted.released.0,
        generation,
    ];
    for (field, number) in bytes[32..].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Computes the checksum of the whole slot but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, after) = (bytes.get(..12), bytes.get(16..));
    crc32c::crc32c_append(
        crc32c::crc32c(before.unwrap_or_default()),
        after.unwrap_or_default(),
    )
}

/// The note in a slot, and how often it had been written. Of another version: none, as if it were not
/// there; it only adds to what the segments say.
fn decode(bytes: &[u8]) -> Option<(Noted, u64)> {
    let word = |offset: usize| -> Option<u64> {
        let word = bytes.get(offset..offset + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(word))
    };
    let half = |offset: usize| -> Option<u32> {
        let half = bytes.get(offset..offset + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(half))
    };
    let is_ours = bytes.get(..8)? == MAGIC && half(8)? == VERSION && half(12)? == checksum(bytes);
    let noted = Noted {
        journal_id: u128::from_le_bytes(bytes.get(16..32)?.try_into().ok()?),
        sequence: word(32)?,
        durable: Position(word(40)?),
        released: Position(word(48)?),
    };
    is_ours.then_some((noted, word(56)?))
}

/// The note of an open journal.
#[derive(Debug)]
pub(super) struct Note {
    writing: Mutex<Writing>,
    failures: AtomicU64,
    /// Pause between two notes of a position.
    every: Duration,
}

#[derive(Debug)]
struct Writing {
    /// `None` while there is no room on the disk for the file.
    file: Option<Box<dyn DiskFile>>,
    noted: Noted,
    generation: u64,
    written: Option<Instant>,
}

impl Note {
    /// Writes the note of a journal that is being opened, and syncs it. A disk without room for a new
    /// file has none for now: the journal works as it did before there were notes.
    pub(super) fn open(disk: &dyn Disk, settings: &Settings, noted: Noted) -> io::Result<Self> {
        let dir = &settings.dir;
        let generation = match read(disk, dir) {
            Found::Note(_, generation) => generation,
            Found::Nothing | Found::Damaged => 0,
        };
        let path = note_path(dir);
        let mut failures = 0;
        let file = match disk.open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = make(disk, &path, &encode(&noted, 1));
                if let Err(error) = &made {
                    tracing::warn!(%error, path = %path.display(), "could not make the journal's note");
                    failures = 1;
                }
                made.ok()
            }
            Err(error) => return Err(error),
        };
        let note = Self {
            writing: Mutex::new(Writing {
                file,
                noted,
                generation,
                written: None,
            }),
            failures: AtomicU64::new(failures),
            every: settings.note_every,
        };
        note.lock().write_synced()?;
        Ok(note)
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        // Nothing panics while holding it; if something did, the fields are still whole.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment is in use, and everything up to `durable` is durable. Synced: from now on its loss is
    /// noticed.
    pub(super) fn begin(&self, sequence: u64, durable: u64) -> io::Result<()> {
        let mut writing = self.lock();
        writing.noted.sequence = sequence;
        writing.noted.durable = Position(durable);
        writing.write_synced()
    }

    /// Everything up to `durable` is durable. Seldom written and not synced: this is on the path of
    /// every group.
    pub(super) fn reached(&self, durable: u64, now: Instant) {
        let mut writing = self.lock();
        let is_due = writing.written.is_none_or(|last| now >= last + self.every);
        if is_due {
            writing.noted.durable = Position(durable);
            writing.written = Some(now);
            self.count(writing.write());
        }
    }

    /// Notes that everything up to `durable` is durable, and nothing follows for now.
    pub(super) fn rests(&self, durable: u64) {
        let mut writing = self.lock();
        if writing.noted.durable != Position(durable) {
            writing.noted.durable = Position(durable);
            self.count(writing.write());
        }
    }

    /// Notes that everything up to `released` is at rest elsewhere.
    pub(super) fn released(&self, released: u64) {
        let mut writing = self.lock();
        if writing.noted.released < Position(released) {
            writing.noted.released = Position(released);
            self.count(writing.write());
        }
    }

    /// Counts writes that failed. The note lags then, and nothing else is worse for it.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn count(&self, written: io::Result<()>) {
        if let Err(error) = written
            && self.failures.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(%error, "could not write the journal's note; it lags behind");
        }
    }
}

impl Writing {
    fn write(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.generation += 1;
        let [even, odd] = SLOTS;
        let slot = if self.generation.is_multiple_of(2) {
            even
        } else {
            odd
        };
        file.write_at(&encode(&self.noted, self.generation), slot)
    }

    fn write_synced(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data())
    }
}

/// Makes the file with a first note in it, durable in content and name.
fn make(disk: &dyn Disk, path: &Path, slot: &[u8]) -> io::Result<Box<dyn DiskFile>> {
    let unfinished = path.with_extension("note.tmp");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&unfinished)?;
    let mut bytes = slot.to_vec();
    bytes.resize(FILE_BYTES, 0);
    let made = file
        .write_at(&bytes, 0)
        .and_then(|()| file.sync_data())
        .and_then(|()| disk.rename(&unfinished, path))
        .and_then(|()| path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent)));
    if let Err(error) = made {
        // The unfinished file may not exist at all; if it does, the next start removes it.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    Ok(file)
}
