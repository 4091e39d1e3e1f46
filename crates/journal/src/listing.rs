//! What lies in a journal's folder, by names, first pages and the note beside it.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::OpenError;
use super::format::{HEADER_PAGE_BYTES, HeaderFault, Kind, SegmentHeader, VERSION};
use super::note::{self, Noted};
use super::reader::{Item, Scan, scan_as};
use super::segment::{Name, segment_path};

/// A segment file and what its name and first page say.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    /// The segment's first position; with a damaged header, the position of its first intact record.
    pub(super) first_position: Option<u64>,
    /// The header cannot be read or belongs to another journal.
    pub(super) has_damaged_header: bool,
    /// The header is intact and says another sequence than the name: it is the header's that counts.
    pub(super) is_misnamed: bool,
    /// The file is shorter than its header says. A power cut cannot do that: its length was durable
    /// before its name.
    pub(super) is_short: bool,
}

impl Found {
    /// Whether the file itself, whatever records it holds, is not as it was left.
    pub(super) fn is_damaged(&self) -> bool {
        self.has_damaged_header || self.is_misnamed || self.is_short
    }
}

/// What lies in the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The segments, in the order of their sequence.
    pub(super) segments: Vec<Found>,
    pub(super) ready: Vec<u64>,
    pub(super) unfinished: Vec<String>,
    pub(super) journal_id: Option<u128>,
    /// What the note beside the folder says of this journal.
    pub(super) noted: Option<Noted>,
    /// The note is there, and cannot be read or speaks of another journal.
    pub(super) is_note_unusable: bool,
}

/// Names and headers of all segments.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing, OpenError> {
    let mut listing = Listing::default();
    let mut headers = Vec::new();
    // The note is read first: of a journal in use, the segments are then further than the note.
    let note = note::read(disk, dir);
    for name in disk.list(dir).map_err(OpenError::disk("list", dir))? {
        match Name::parse(&name) {
            Name::Segment(sequence) => {
                headers.push((sequence, read_header(disk, &dir.join(&name))?))
            }
            Name::Ready(id) => listing.ready.push(id),
            Name::Unfinished => listing.unfinished.push(name),
            Name::Other => {}
        }
    }
    headers.sort_unstable_by_key(|(sequence, _)| *sequence);
    listing.ready.sort_unstable();
    listing.journal_id = id_of(&headers);
    match note {
        note::Found::Note(noted, _)
            if listing.journal_id.is_none_or(|id| id == noted.journal_id) =>
        {
            listing.journal_id = Some(noted.journal_id);
            listing.noted = Some(noted);
        }
        note::Found::Nothing => {}
        note::Found::Note(..) | note::Found::Damaged => listing.is_note_unusable = true,
    }
    for (named, header) in &headers {
        let path = segment_path(dir, *named);
        let file_bytes = disk.len(&path).map_err(OpenError::disk("measure", &path))?;
        let own = header.ok().filter(|header| {
            Some(header.journal_id) == listing.journal_id
                && (header.sequence == *named || is_only_claim(&headers, header))
        });
        let sequence = own.map_or(*named, |header| header.sequence);
        let first_position = match (own, header) {
            (Some(header), _) => Some(header.first_position),
            // The segment is of another journal, or a copy of one that is there under its own name.
            (None, Ok(_)) => None,
            (None, Err(_)) => first_record(&read_segment(disk, &path, sequence)?.1),
        };
        listing.segments.push(Found {
            sequence,
            path,
            file_bytes,
            first_position,
            has_damaged_header: own.is_none(),
            is_misnamed: sequence != *named,
            is_short: own.is_some_and(|header| file_bytes < header.segment_bytes),
        });
    }
    listing.segments.sort_by_key(|found| found.sequence);
    Ok(listing)
}

/// The sequence in a file's name, and its header.
type Head = (u64, Result<SegmentHeader, HeaderFault>);

/// The journal of the newest segment that bears its own name, else of the newest at all.
fn id_of(headers: &[Head]) -> Option<u128> {
    let own = headers
        .iter()
        .filter_map(|(named, header)| header.ok().filter(|header| header.sequence == *named));
    let any = headers.iter().filter_map(|(_, header)| header.ok());
    let newest = own
        .max_by_key(|header| header.sequence)
        .or_else(|| any.max_by_key(|header| header.sequence));
    newest.map(|header| header.journal_id)
}

/// Whether a file under another name is the segment that its header says: no other file claims to be, and
/// the one that bears the name says itself that it is another.
fn is_only_claim(headers: &[Head], claimed: &SegmentHeader) -> bool {
    let claims = headers
        .iter()
        .filter(|(_, header)| header.is_ok_and(|header| header.sequence == claimed.sequence));
    let named = headers.iter().find(|(named, _)| *named == claimed.sequence);
    claims.count() == 1 && named.is_none_or(|(_, header)| header.is_ok())
}

impl Listing {
    /// First position of the next segment after `index` that has one.
    pub(super) fn void_from(&self, index: usize) -> Option<u64> {
        self.segments
            .iter()
            .skip(index + 1)
            .find_map(|found| found.first_position)
    }

    /// The last segment that holds anything readable.
    pub(super) fn end_index(&self) -> Option<usize> {
        self.segments
            .iter()
            .rposition(|found| found.first_position.is_some())
    }

    /// What the headers alone prove durable.
    pub(super) fn durable(&self) -> u64 {
        let firsts = self
            .segments
            .iter()
            .filter_map(|found| found.first_position);
        let noted = self.noted.map_or(0, |noted| noted.durable.0);
        noted.max(firsts.max().unwrap_or(1).saturating_sub(1))
    }

    /// Positions that lay before the first segment, or in no segment at all, and were not applied: from
    /// the first up to but without the second.
    pub(super) fn missing_before(&self, applied: u64) -> (u64, u64) {
        let first = self.segments.iter().find_map(|found| found.first_position);
        let end = first.unwrap_or_else(|| self.durable().saturating_add(1));
        let from = applied.saturating_add(1).min(end);
        (from, end)
    }

    /// Segments that were in use after the last one that is there. Some may never have been: a start
    /// that is cut short uses up a sequence.
    pub(super) fn missing_at_end(&self) -> u64 {
        let noted = self.noted.map_or(0, |noted| noted.sequence);
        noted.saturating_sub(self.highest_sequence())
    }

    /// The highest sequence of a segment that is there, whatever is left of it.
    fn highest_sequence(&self) -> u64 {
        self.segments.last().map_or(0, |found| found.sequence)
    }

    /// The highest sequence that was ever given out, as far as is known.
    pub(super) fn given_out(&self) -> u64 {
        let noted = self.noted.map_or(0, |noted| noted.sequence);
        noted.max(self.highest_sequence())
    }

    /// Files behind the end of which nothing can be read: what they held is not known.
    pub(super) fn unreadable_at_end(&self) -> impl Iterator<Item = &Found> {
        let behind = self.end_index().map_or(0, |index| index + 1);
        self.segments.iter().skip(behind)
    }

    /// How many sequences are left out after the segment at `index`. Alone that says nothing: a
    /// crash in the middle of a recovery uses one up.
    pub(super) fn missing_after(&self, index: usize) -> u64 {
        let mut sequences = self.segments.iter().skip(index).map(|found| found.sequence);
        match (sequences.next(), sequences.next()) {
            (Some(sequence), Some(next)) => next.saturating_sub(sequence + 1),
            _ => 0,
        }
    }
}

pub(super) fn read_header(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Result<SegmentHeader, HeaderFault>, OpenError> {
    let bytes = disk
        .read(path, HEADER_PAGE_BYTES as u64)
        .map_err(OpenError::disk("read", path))?;
    match SegmentHeader::decode(&bytes) {
        Err(HeaderFault::Version(version)) => Err(OpenError::Version {
            path: path.to_owned(),
            version,
            supported: VERSION,
        }),
        header => Ok(header),
    }
}

/// The bytes of a segment and what is in them.
pub(super) fn read_segment(
    disk: &dyn Disk,
    path: &Path,
    sequence: u64,
) -> Result<(Vec<u8>, Scan), OpenError> {
    let bytes = disk
        .read(path, u64::MAX)
        .map_err(OpenError::disk("read", path))?;
    let scan = scan_as(&bytes, sequence);
    Ok((bytes, scan))
}

fn first_record(scan: &Scan) -> Option<u64> {
    scan.items.iter().find_map(|item| match item {
        Item::Record { header, .. } if header.kind == Kind::Data => Some(header.position),
        Item::Record { header, .. } => Some(header.position.saturating_add(1)),
        Item::Unreadable { .. } => None,
    })
}
