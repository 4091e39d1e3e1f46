//! Looks at a journal without opening it, for the command line: no lock, no change.
//!
//! If the journal is in use, the inspection sees one moment of it, and the end of the last segment may look
//! torn.

use std::fs::TryLockError;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Position;
use super::disk::Disk;
use super::error::OpenError;
use super::format::{HeaderFault, SegmentHeader};
use super::listing;
use super::note::{self, Noted};
use super::payloads::Record;
use super::reader::{Item, payload_at};
use super::segment::{LOCK, Name};
use super::survey::{self, End, Surroundings, Tally};

/// One segment file.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// The sequence in the file's name.
    pub sequence: u64,
    /// The file's length.
    pub file_bytes: u64,
    /// What the file's first page says.
    pub header: Result<SegmentHeader, HeaderFault>,
    /// Records and unreadable stretches, as they lie in the file.
    pub items: Vec<Item>,
}

/// What opening the journal would find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Segment files.
    pub segments: u64,
    /// Records after `applied` that a replay would hand out.
    pub records: u64,
    /// The first and the last position of those records.
    pub range: Option<(Position, Position)>,
    /// The torn end that would be cut.
    pub torn: Tally,
    /// Records that were acknowledged, were not applied, and are unreadable.
    pub damaged: Tally,
    /// Records that are unreadable, but were applied before.
    pub damaged_applied_records: u64,
    /// Segments that should be there and are not: between others, or at the end.
    pub missing_segments: u64,
    /// Segments whose first page is unreadable or belongs to another journal, or is that of another
    /// segment.
    pub damaged_headers: u64,
    /// Segments that are shorter than they were made.
    pub short_segments: u64,
    /// The note beside the folder could not be read, or speaks of another journal: a missing end is not
    /// noticed.
    pub is_note_unusable: bool,
    /// The highest position proven durable.
    pub durable: Position,
}

impl Verification {
    /// Whether nothing acknowledged is lost and nothing is unreadable except perhaps a torn tail.
    pub fn is_intact(&self) -> bool {
        self.damaged == Tally::default()
            && self.damaged_applied_records == 0
            && self.missing_segments == 0
            && self.damaged_headers == 0
            && self.short_segments == 0
            && !self.is_note_unusable
    }
}

/// The segments of the journal in `dir`, in order, each read when it is asked for.
pub fn inspect<'a>(
    disk: &'a dyn Disk,
    dir: &Path,
) -> Result<impl Iterator<Item = Result<SegmentReport, OpenError>> + use<'a>, OpenError> {
    let listing = listing::list(disk, dir)?;
    Ok(listing.segments.into_iter().map(move |found| {
        let (_, scan) = listing::read_segment(disk, &found.path, found.sequence)?;
        Ok(SegmentReport {
            path: found.path,
            sequence: found.sequence,
            file_bytes: found.file_bytes,
            header: scan.header,
            items: scan.items,
        })
    }))
}

/// The pid of the process that has the journal in `dir` open, `unknown` if it does not say; `None` when
/// nobody has.
pub fn holder(dir: &Path) -> std::io::Result<Option<String>> {
    let file = match std::fs::File::open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(folder_holder(dir));
        }
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(folder_holder(dir)),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The id only helps a person.
            let _unreadable = (&file).take(32).read_to_string(&mut text).is_err();
            let pid = text.trim();
            Ok(Some(
                if pid.is_empty() { "unknown" } else { pid }.to_owned(),
            ))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Somebody who holds the folder itself: its lock file was deleted under it, and says nothing.
fn folder_holder(dir: &Path) -> Option<String> {
    let folder = std::fs::File::open(dir).ok()?;
    match folder.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some("unknown".to_owned()),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// What lies in a journal's folder and beside it, as names, headers and the note say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Segment files, readable or not.
    pub segments: u64,
    /// Whether the folder holds anything of a journal, be it only its lock or prepared files.
    pub is_there: bool,
    /// The journal that the segments belong to; of unreadable ones, what the note says.
    pub journal_id: Option<u128>,
    /// Whether the journal has ever held a record, as far as can be told.
    pub is_used: bool,
    /// What the note beside the folder says, whatever lies in the folder.
    pub noted: Option<Noted>,
}

/// Outlines the journal in `dir`, which need not exist.
pub fn outline(disk: &dyn Disk, dir: &Path) -> Result<Outline, OpenError> {
    let noted = match note::read(disk, dir) {
        note::Found::Note(noted, _) => Some(noted),
        note::Found::Nothing | note::Found::Damaged => None,
    };
    let listing = match listing::list(disk, dir) {
        Err(OpenError::Disk { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Outline {
                noted,
                ..Outline::default()
            });
        }
        listing => listing?,
    };
    let end = End::read(disk, &listing, 0)?;
    let is_unreadable = end.index.is_none() && !listing.segments.is_empty();
    let names = disk.list(dir).map_err(OpenError::disk("list", dir))?;
    let is_own = |name: &String| *name == LOCK || Name::parse(name) != Name::Other;
    Ok(Outline {
        is_there: names.iter().any(is_own),
        segments: listing.segments.len() as u64,
        journal_id: listing.journal_id.filter(|_| !listing.segments.is_empty()),
        is_used: is_unreadable || end.durable > 0 || end.highest_position > 0,
        noted,
    })
}

/// Hands every record in `dir` to `take`, in order, as a start that has applied nothing would; says
/// after each segment how many of how many are read. Nothing in the folder is changed.
pub fn read_records(
    disk: &dyn Disk,
    dir: &Path,
    take: &mut dyn FnMut(Record) -> ControlFlow<()>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let listing = listing::list(disk, dir)?;
    let end = End::read(disk, &listing, 0)?;
    for (index, found) in listing.segments.iter().enumerate() {
        let Some(first_position) = found.first_position else {
            continue;
        };
        let (bytes, scan) = listing::read_segment(disk, &found.path, found.sequence)?;
        let around = Surroundings {
            first_position,
            void_from: listing.void_from(index),
            durable: end.durable,
            applied: 0,
        };
        for (offset, header) in survey::judge(&scan, &around).kept {
            let record = Record {
                position: Position(header.position),
                payload: Bytes::copy_from_slice(payload_at(&bytes, offset, &header)),
            };
            if take(record).is_break() {
                return Ok(());
            }
        }
        progress(index as u64 + 1, listing.segments.len() as u64);
    }
    Ok(())
}

/// Judges the journal in `dir` as opening it would, for a caller that has applied `applied`. If
/// that is not known, everything before the first segment is taken to be applied.
pub fn verify(
    disk: &dyn Disk,
    dir: &Path,
    applied: Option<Position>,
) -> Result<Verification, OpenError> {
    verify_with(disk, dir, applied, &mut |_, _| {})
}

/// Judges as [`verify`] does; says after each segment how many of how many are read.
pub fn verify_with(
    disk: &dyn Disk,
    dir: &Path,
    applied: Option<Position>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OpenError> {
    let listing = listing::list(disk, dir)?;
    let first = listing
        .segments
        .iter()
        .find_map(|found| found.first_position);
    let applied = applied.map_or(first.unwrap_or(1).saturating_sub(1), |applied| applied.0);
    let end = End::read(disk, &listing, applied)?;
    let (missing_from, missing_end) = listing.missing_before(applied);
    let mut found_all = Verification {
        segments: listing.segments.len() as u64,
        damaged: Tally {
            records: missing_end - missing_from,
            bytes: 0,
        },
        missing_segments: listing.missing_at_end(),
        is_note_unusable: listing.is_note_unusable,
        torn: end.verdict.torn,
        ..Verification::default()
    };
    let mut durable = end.durable;
    for (index, found) in listing.segments.iter().enumerate() {
        let is_headless = found.has_damaged_header || found.is_misnamed;
        found_all.damaged_headers += u64::from(is_headless);
        found_all.short_segments += u64::from(found.is_short);
        let Some(first_position) = found.first_position else {
            continue;
        };
        let void_from = listing.void_from(index);
        let verdict = if listing.end_index() == Some(index) {
            end.verdict.clone()
        } else {
            let (_, scan) = listing::read_segment(disk, &found.path, found.sequence)?;
            survey::judge(
                &scan,
                &Surroundings {
                    first_position,
                    void_from,
                    durable: end.durable,
                    applied,
                },
            )
        };
        found_all.damaged.add(verdict.damaged);
        if verdict.ends_early {
            found_all.missing_segments += listing.missing_after(index);
        }
        found_all.damaged_applied_records += verdict.damaged_applied_records;
        for (_, header) in verdict
            .kept
            .iter()
            .filter(|(_, header)| header.position > applied)
        {
            let position = Position(header.position);
            let first = found_all.range.map_or(position, |(first, _)| first);
            found_all.range = Some((first, position));
            found_all.records += 1;
            durable = durable.max(header.position);
        }
        progress(index as u64 + 1, found_all.segments);
    }
    found_all.durable = Position(durable);
    Ok(found_all)
}
