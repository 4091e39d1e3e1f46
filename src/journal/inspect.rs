//! Looks at a journal without opening it, for the command line: no lock, no change.
//!
//! Of a journal in use it sees a moment; the end of the last segment may look torn then.

use std::path::{Path, PathBuf};

use super::Position;
use super::disk::Disk;
use super::error::OpenError;
use super::format::{HeaderFault, SegmentHeader};
use super::reader::Item;
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

/// Judges the journal in `dir` as opening it would, for a caller that has applied `applied`. If
/// that is not known, everything before the first segment is taken to be applied.
pub fn verify(
    disk: &dyn Disk,
    dir: &Path,
    applied: Option<Position>,
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
    }
    found_all.durable = Position(durable);
    Ok(found_all)
}
