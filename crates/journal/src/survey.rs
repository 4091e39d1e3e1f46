//! Reads a journal without changing it, and tells a torn tail from damage.
//!
//! An unreadable place was **durable**, and so acknowledged, if a later record or segment header says so, or
//! if the caller already applied it. Then the place is damage, and reading goes on behind it. Otherwise it is
//! a **torn tail**, which was never acknowledged, and reading ends there.

use super::disk::Disk;
use super::error::OpenError;
use super::format::{Kind, RecordHeader};
use super::listing::{Listing, read_segment};
use super::reader::{Item, Scan};

/// The highest durable position that any record of a scan knows of.
fn highest_mark(scan: &Scan) -> u64 {
    let marks = scan.items.iter().map(|item| match item {
        Item::Record { header, .. } => header.durable_upto,
        Item::Unreadable { .. } => 0,
    });
    marks.max().unwrap_or(0)
}

/// The highest position in a scan, durable or not.
fn highest_position(scan: &Scan) -> u64 {
    let positions = scan.items.iter().map(|item| match item {
        Item::Record { header, .. } => header.position,
        Item::Unreadable { .. } => 0,
    });
    positions.max().unwrap_or(0)
}

/// The last segment that can be read, judged.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) index: Option<usize>,
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: Verdict,
    /// The highest position proven durable anywhere.
    pub(super) durable: u64,
    /// The highest position seen, durable or not.
    pub(super) highest_position: u64,
}

impl End {
    pub(super) fn read(
        disk: &dyn Disk,
        listing: &Listing,
        applied: u64,
    ) -> Result<Self, OpenError> {
        let durable = listing.durable().max(applied);
        let Some(index) = listing.end_index() else {
            return Ok(Self {
                durable,
                ..Self::default()
            });
        };
        let found = &listing.segments[index];
        let (bytes, scan) = read_segment(disk, &found.path, found.sequence)?;
        let durable = durable.max(highest_mark(&scan));
        let around = Surroundings {
            first_position: found.first_position.unwrap_or(durable + 1),
            void_from: None,
            durable,
            applied,
        };
        Ok(Self {
            index: Some(index),
            bytes,
            verdict: judge(&scan, &around),
            durable,
            highest_position: highest_position(&scan),
        })
    }

    /// Records that nothing proves durable.
    pub(super) fn unproven(&self) -> impl Iterator<Item = &(usize, RecordHeader)> {
        self.verdict
            .kept
            .iter()
            .filter(|(_, header)| header.position > self.durable)
    }
}

/// Records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many records.
    pub records: u64,
    /// How many bytes of files.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What is known about a segment from outside of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// The position that its first record should have, or a lower one after a cut.
    pub(super) first_position: u64,
    /// The first position of the segment after it: from there on its records are void.
    pub(super) void_from: Option<u64>,
    /// The highest position proven durable by anything in the journal, or by the caller.
    pub(super) durable: u64,
    /// The highest position at rest elsewhere: nothing at or below it can be lost.
    pub(super) applied: u64,
}

/// What of a segment counts, and what is missing from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Offsets and headers of the records that count, in order.
    pub(super) kept: Vec<(usize, RecordHeader)>,
    /// Records that were acknowledged, are needed and cannot be read.
    pub(super) damaged: Tally,
    /// The first and the last position of the damage.
    pub(super) lost: Option<(u64, u64)>,
    /// Records that cannot be read either, but are at rest elsewhere.
    pub(super) damaged_applied_records: u64,
    /// The end that is cut: never acknowledged.
    pub(super) torn: Tally,
    /// Whether positions are missing between the segment's end and the segment after it.
    pub(super) ends_early: bool,
}

/// Judges one segment.
pub(super) fn judge(scan: &Scan, around: &Surroundings) -> Verdict {
    let mut verdict = Verdict::default();
    let mut expected = around.first_position;
    let mut unreadable = Tally::default();
    for (index, item) in scan.items.iter().enumerate() {
        let (offset, header) = match item {
            Item::Unreadable {
                bytes,
                claimed_records,
                ..
            } => {
                unreadable = Tally {
                    records: *claimed_records,
                    bytes: *bytes as u64,
                };
                continue;
            }
            Item::Record { offset, header } => (*offset, header),
        };
        if around
            .void_from
            .is_some_and(|void_from| header.position >= void_from)
        {
            break;
        }
        if unreadable.bytes > 0 {
            // A mark stands behind the record whose position it repeats.
            let missing_end = header
                .position
                .saturating_add(u64::from(header.kind == Kind::Mark));
            if expected > around.durable && expected < missing_end {
                verdict.torn.add(cut(
                    &scan.items[index..],
                    unreadable,
                    missing_end - expected,
                ));
                return verdict;
            }
            if expected > around.durable {
                // Only an unsynced mark is missing before a record that was not durable either.
                verdict.torn.bytes += unreadable.bytes;
            } else {
                verdict.count_damage(expected, missing_end, unreadable.bytes, around.applied);
            }
            unreadable = Tally::default();
        }
        if header.kind == Kind::Data {
            verdict.kept.push((offset, *header));
        }
        expected = expected.max(header.position.saturating_add(1));
    }
    let missing_end = around.void_from.unwrap_or(around.durable.saturating_add(1));
    if expected < missing_end {
        verdict.ends_early = true;
        verdict.count_damage(expected, missing_end, unreadable.bytes, around.applied);
    } else if around.void_from.is_none() {
        verdict.torn.add(unreadable);
    }
    verdict
}

/// Everything from an unreadable stretch on, `missing` records long, that nobody was told of.
fn cut(behind: &[Item], unreadable: Tally, missing: u64) -> Tally {
    let mut torn = Tally {
        records: missing,
        bytes: unreadable.bytes,
    };
    for item in behind {
        match item {
            Item::Record { header, .. } if header.kind == Kind::Data => {
                torn.add(Tally {
                    records: 1,
                    bytes: super::format::record_bytes(header.payload_bytes) as u64,
                });
            }
            Item::Record { .. } => {}
            Item::Unreadable {
                bytes,
                claimed_records,
                ..
            } => {
                torn.add(Tally {
                    records: *claimed_records,
                    bytes: *bytes as u64,
                });
            }
        }
    }
    torn
}

impl Verdict {
    /// Counts damage: positions from `from` up to but without `to` are missing.
    fn count_damage(&mut self, from: u64, to: u64, bytes: u64, applied: u64) {
        let needed_from = from.max(applied.saturating_add(1));
        let needed = to.saturating_sub(needed_from);
        self.damaged.records += needed;
        if needed > 0 {
            let first = self.lost.map_or(needed_from, |(first, _)| first);
            self.lost = Some((first, to - 1));
        }
        if bytes > 0 {
            self.damaged.bytes += bytes;
            self.damaged_applied_records += to.saturating_sub(from) - needed;
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged != Tally::default() || self.damaged_applied_records > 0
    }
}
