//! Looks at a journal without opening it, for the command line: no lock, no change.
//!
//! Of a journal in use it sees a moment; the end of the last segment may look torn then.

use std::fs::TryLockError;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Position;
use super::disk::Disk;
use super::error::OpenError;
use super::format::{HeaderFault, SegmentHeader};
use super::payloads::Record;
use super::reader::{Item, payload_at};
use super::survey::{self, End, Surroundings, Tally};

/// One segment file.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// The sequence in its name.
    pub sequence: u64,
    /// Its length.
    pub file_bytes: u64,
    /// What its first page says.
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
    /// The first and the last of them.
    pub range: Option<(Position, Position)>,
    /// The end that would be cut.
    pub torn: Tally,
    /// Acknowledged, not applied, and unreadable.
    pub damaged: Tally,
    /// Unreadable but applied before.
    pub damaged_applied_records: u64,
    /// Segments that should lie between others and do not.
    pub missing_segments: u64,
    /// Segments whose first page is unreadable or belongs to another journal.
    pub damaged_headers: u64,
    /// The highest position proven durable.
    pub durable: Position,
}

impl Verification {
    /// Whether nothing acknowledged is lost and nothing is unreadable except perhaps a torn tail.
    pub fn is_intact(&self) -> bool {
        self.damaged == Tally::default()
            && self.damaged_applied_records == 0
            && self.damaged_headers == 0
    }
}

/// The segments of the journal in `dir`, in order, each read when it is asked for.
pub fn inspect<'a>(
    disk: &'a dyn Disk,
    dir: &Path,
) -> Result<impl Iterator<Item = Result<SegmentReport, OpenError>> + use<'a>, OpenError> {
    let listing = survey::list(disk, dir)?;
    Ok(listing.segments.into_iter().map(move |found| {
        let (_, scan) = survey::read_segment(disk, &found.path, found.sequence)?;
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
    let file = match std::fs::File::open(dir.join(super::segment::LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
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

/// Which journal lies in `dir`, as its last readable segment says; `None` without one.
pub fn journal_id(disk: &dyn Disk, dir: &Path) -> Result<Option<u128>, OpenError> {
    Ok(survey::list(disk, dir)?.journal_id)
}

/// Hands every record in `dir` to `take`, in order, as a start that has applied nothing would; says
/// after each segment how many of how many are read. Nothing in the folder is changed.
pub fn read_records(
    disk: &dyn Disk,
    dir: &Path,
    take: &mut dyn FnMut(Record) -> ControlFlow<()>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let listing = survey::list(disk, dir)?;
    let end = End::read(disk, &listing, 0)?;
    for (index, found) in listing.segments.iter().enumerate() {
        let Some(first_position) = found.first_position else {
            continue;
        };
        let (bytes, scan) = survey::read_segment(disk, &found.path, found.sequence)?;
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

/// As [`verify`]; says after each segment how many of how many are read.
pub fn verify_with(
    disk: &dyn Disk,
    dir: &Path,
    applied: Option<Position>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OpenError> {
    let listing = survey::list(disk, dir)?;
    let first = listing
        .segments
        .iter()
        .find_map(|found| found.first_position);
    let applied = applied.map_or(first.unwrap_or(1).saturating_sub(1), |applied| applied.0);
    let end = End::read(disk, &listing, applied)?;
    let mut found_all = Verification {
        segments: listing.segments.len() as u64,
        damaged: Tally {
            records: listing.missing_before(applied),
            bytes: 0,
        },
        torn: end.verdict.torn,
        ..Verification::default()
    };
    let mut durable = end.durable;
    for (index, found) in listing.segments.iter().enumerate() {
        found_all.damaged_headers += u64::from(found.has_damaged_header);
        let Some(first_position) = found.first_position else {
            continue;
        };
        let void_from = listing.void_from(index);
        let verdict = if listing.end_index() == Some(index) {
            end.verdict.clone()
        } else {
            let (_, scan) = survey::read_segment(disk, &found.path, found.sequence)?;
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
