//! One file: its name, how it is prepared, started and retired.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use super::format::{HEADER_PAGE_BYTES, SegmentHeader, TERMINATOR};
use super::quarantine;

/// The file that is locked while the journal is open.
pub(super) const LOCK: &str = "LOCK";

/// Zeros are written in pieces of this length.
const FILL_BYTES: usize = 1024 * 1024;

/// What a name in the journal's folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `j-<sequence>.seg`: holds records.
    Segment(u64),
    /// `ready-<id>.seg`: prepared, holds nothing.
    Ready(u64),
    /// `ready-<id>.tmp`: was being prepared, holds nothing.
    Unfinished,
    /// The name is not the journal's.
    Other,
}

impl Name {
    pub(super) fn parse(name: &str) -> Self {
        let hex = |prefix: &str, suffix: &str| {
            let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            let is_canonical = digits.len() == 16
                && digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if is_canonical {
                u64::from_str_radix(digits, 16).ok()
            } else {
                None
            }
        };
        if let Some(sequence) = hex("j-", ".seg") {
            Self::Segment(sequence)
        } else if let Some(id) = hex("ready-", ".seg") {
            Self::Ready(id)
        } else if hex("ready-", ".tmp").is_some() {
            Self::Unfinished
        } else {
            Self::Other
        }
    }
}

pub(super) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("j-{sequence:016x}.seg"))
}

pub(super) fn ready_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("ready-{id:016x}.seg"))
}

/// Makes a zero-filled file, durable in content and name, so that later writes allocate nothing.
pub(super) fn prepare(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    segment_bytes: u64,
) -> io::Result<PathBuf> {
    let unfinished = dir.join(format!("ready-{id:016x}.tmp"));
    let path = ready_path(dir, id);
    let filled = fill(disk, &unfinished, segment_bytes);
    let made = filled
        .and_then(|()| disk.rename(&unfinished, &path))
        .and_then(|()| disk.sync_dir(dir));
    if let Err(error) = made {
        // The unfinished file may not exist at all. If removing it fails too, the next start does so.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    Ok(path)
}

fn fill(disk: &dyn Disk, path: &Path, segment_bytes: u64) -> io::Result<()> {
    let file = disk.create(path)?;
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(segment_bytes).unwrap_or(FILL_BYTES))];
    let mut offset = 0;
    while offset < segment_bytes {
        let left = usize::try_from(segment_bytes - offset).unwrap_or(usize::MAX);
        let piece = &zeros[..left.min(zeros.len())];
        file.write_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    file.sync_data()
}

/// The segment in use.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) sequence: u64,
    /// Where the next record goes.
    pub(super) offset: u64,
    /// Length of the file.
    pub(super) segment_bytes: u64,
}

impl Active {
    pub(super) fn room_bytes(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.offset)
    }
}

/// Turns a prepared file into the segment that `header` describes, with `records` in it.
///
/// The header is durable before any record is written: from then on the sequence is taken and is
/// not given out again, even if a crash comes before the rename. Everything is durable before the
/// rename: a file named as a segment always has its header, and voids what it repeats.
pub(super) fn start(
    disk: &dyn Disk,
    dir: &Path,
    ready: &Path,
    header: &SegmentHeader,
    records: &[u8],
) -> io::Result<Active> {
    let file = disk.open(ready)?;
    let mut page = vec![0; HEADER_PAGE_BYTES];
    let encoded = header.encode();
    page[..encoded.len()].copy_from_slice(&encoded);
    page.extend_from_slice(&TERMINATOR);
    file.write_at(&page, 0)?;
    file.sync_data()?;
    if !records.is_empty() {
        let mut bytes = records.to_vec();
        if (HEADER_PAGE_BYTES + bytes.len() + TERMINATOR.len()) as u64 <= header.segment_bytes {
            bytes.extend_from_slice(&TERMINATOR);
        }
        file.write_at(&bytes, HEADER_PAGE_BYTES as u64)?;
        file.sync_data()?;
    }
    disk.rename(ready, &segment_path(dir, header.sequence))?;
    disk.sync_dir(dir)?;
    Ok(Active {
        file,
        sequence: header.sequence,
        offset: (HEADER_PAGE_BYTES + records.len()) as u64,
        segment_bytes: header.segment_bytes,
    })
}

/// A segment that takes no more records.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) sequence: u64,
    /// Where the segment lies: under the name of its sequence, unless somebody has renamed it.
    pub(super) path: PathBuf,
    /// The segment's highest position that counts.
    pub(super) last_position: u64,
    /// Length of the file.
    pub(super) segment_bytes: u64,
    /// Bytes of it that were written.
    pub(super) written_bytes: u64,
    /// Whether the segment is damaged and has no copy in quarantine: it goes there instead of being reused.
    pub(super) belongs_in_quarantine: bool,
}

/// Takes a segment whose records are at rest elsewhere out of the journal. With `ready_id` it is
/// kept as a prepared file.
pub(super) fn retire(
    disk: &dyn Disk,
    dir: &Path,
    sealed: &Sealed,
    ready_id: Option<u64>,
) -> io::Result<Option<PathBuf>> {
    let path = &sealed.path;
    let kept = match ready_id {
        _ if sealed.belongs_in_quarantine => {
            let folder = dir.join(quarantine::FOLDER);
            disk.create_dir(&folder)?;
            disk.rename(
                path,
                &quarantine::path_of(&folder, sealed.sequence, quarantine::MOVED),
            )?;
            disk.sync_dir(&folder)?;
            None
        }
        Some(id) => {
            let ready = ready_path(dir, id);
            disk.rename(path, &ready)?;
            Some(ready)
        }
        None => {
            disk.remove(path)?;
            None
        }
    };
    disk.sync_dir(dir)?;
    Ok(kept)
}
