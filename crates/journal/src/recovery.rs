//! Opens a journal after whatever happened to it.
//!
//! The steps, each of which may be cut short by a crash and then starts again from the first:
//! 1. list, and read the first page of every segment;
//! 2. judge the last segment: only there records can be readable and not proven durable;
//! 3. if no prepared file is there, take back segments that lie wholly at or below `applied`;
//! 4. copy the records that are not proven durable into a fresh segment and sync it. They may be
//!    in memory only, after a sync that failed under an earlier process: read back, acknowledged
//!    as a resend, and lost with the next power cut;
//! 5. note beside the folder that this segment is in use;
//! 6. hand out every record after `applied`, setting copies of damaged segments aside.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Position;
use super::disk::Disk;
use super::error::OpenError;
use super::format::{HEADER_PAGE_BYTES, HeaderFault, RecordHeader, SegmentHeader, push_record};
use super::listing::{self, Found, Listing};
use super::note::{Note, Noted};
use super::payloads::Record;
use super::quarantine;
use super::reader::payload_at;
use super::segment::{self, Active, Sealed};
use super::settings::Settings;
use super::survey::{self, End, Surroundings, Verdict};
use super::told::{Loss, Recovery, Replay, tell};

/// A journal ready for its threads.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) recovery: Recovery,
    pub(super) note: Arc<Note>,
    pub(super) active: Active,
    pub(super) durable: u64,
    pub(super) next_position: u64,
    pub(super) marked: u64,
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) ready: Vec<PathBuf>,
    pub(super) ready_id_next: u64,
}

pub(super) fn open(
    settings: &Settings,
    disk: &dyn Disk,
    applied: u64,
    replay: &mut dyn Replay,
) -> Result<Opened, OpenError> {
    let started = Instant::now();
    let listing = listing::list(disk, &settings.dir)?;
    if listing.noted.is_none() && !listing.is_note_unusable && !listing.segments.is_empty() {
        tracing::warn!(
            "no note lies beside the journal's folder: an earlier release has written it, or somebody has deleted the \
             note; whether the journal's end is missing is not known this once"
        );
    }
    let end = End::read(disk, &listing, applied)?;
    let sealed = seal_all(&listing, end.durable);
    let recovery = Recovery {
        is_note_unusable: listing.is_note_unusable,
        ..Recovery::default()
    };
    let mut session = Session {
        settings,
        disk,
        applied,
        listing,
        end,
        sealed,
        ready: Vec::new(),
        ready_id: 0,
        recovery,
    };
    // What is missing is told before a new segment takes its place.
    session.tell_missing(replay)?;
    let sequence = session.tidy()? + 1;
    let (active, journal_id, last_position) = session.start_fresh(sequence)?;
    let noted = Noted {
        journal_id,
        sequence,
        durable: Position(session.end.durable.max(last_position)),
        released: Position(applied),
    };
    let note = Note::open(disk, settings, noted);
    let note = note.map_err(OpenError::disk("note the end of", &settings.dir))?;
    session.replay_all(replay)?;

    let Session {
        end,
        sealed,
        ready,
        ready_id,
        mut recovery,
        ..
    } = session;
    let durable = end.durable.max(last_position);
    recovery.durable = Position(durable);
    recovery.journal_id = journal_id;
    recovery.duration = started.elapsed();
    Ok(Opened {
        recovery,
        note: Arc::new(note),
        active,
        durable,
        next_position: durable.max(end.highest_position) + 1,
        marked: end.durable,
        sealed,
        ready,
        ready_id_next: ready_id,
    })
}

/// All segments as sealed ones: what is in the last beyond `durable` is copied out of it.
fn seal_all(listing: &Listing, durable: u64) -> VecDeque<Sealed> {
    let seal = |(index, found): (usize, &Found)| Sealed {
        sequence: found.sequence,
        path: found.path.clone(),
        last_position: listing
            .void_from(index)
            .map_or(durable, |void_from| void_from.saturating_sub(1)),
        segment_bytes: found.file_bytes,
        written_bytes: found.file_bytes,
        belongs_in_quarantine: found.has_damaged_header,
    };
    listing.segments.iter().enumerate().map(seal).collect()
}

/// One opening, between its steps.
struct Session<'a> {
    settings: &'a Settings,
    disk: &'a dyn Disk,
    applied: u64,
    listing: Listing,
    end: End,
    sealed: VecDeque<Sealed>,
    ready: Vec<PathBuf>,
    ready_id: u64,
    recovery: Recovery,
}

impl Session<'_> {
    /// Counts and tells what is missing before the first segment and behind the last.
    fn tell_missing(&mut self, replay: &mut dyn Replay) -> Result<(), OpenError> {
        let (from, end) = self.listing.missing_before(self.applied);
        if from < end {
            self.recovery.damaged.records += end - from;
            let first = self.listing.segments.first();
            let loss = Loss {
                positions: Some((Position(from), Position(end - 1))),
                records: end - from,
                bytes: 0,
                sequence: first.map_or(0, |found| found.sequence),
            };
            tell(replay, &loss)?;
        }
        let missing = self.listing.missing_at_end();
        self.recovery.missing_segments += missing;
        // What is known to have been durable is counted with the last segment that can be read.
        let is_counted = self.end.verdict.lost.is_some() || from < end;
        let unreadable = self.listing.unreadable_at_end().last();
        if !is_counted && (missing > 0 || unreadable.is_some()) {
            let loss = Loss {
                positions: None,
                records: 0,
                bytes: unreadable.map_or(0, |found| found.file_bytes),
                sequence: self.listing.given_out(),
            };
            tell(replay, &loss)?;
        }
        Ok(())
    }

    /// Removes what was never finished, finds the prepared files, and returns the highest sequence
    /// that was ever given out.
    fn tidy(&mut self) -> Result<u64, OpenError> {
        let dir = &self.settings.dir;
        for name in &self.listing.unfinished {
            let path = dir.join(name);
            self.disk
                .remove(&path)
                .map_err(OpenError::disk("remove", &path))?;
        }
        let mut sequence = self.listing.given_out();
        for id in &self.listing.ready {
            self.ready_id = self.ready_id.max(*id);
            let path = segment::ready_path(dir, *id);
            let page = self
                .disk
                .read(&path, HEADER_PAGE_BYTES as u64)
                .map_err(OpenError::disk("read", &path))?;
            // The file's leftovers of its last use must never look like a later use.
            let is_known = match SegmentHeader::decode(&page) {
                Ok(header) => {
                    sequence = sequence.max(header.sequence);
                    true
                }
                Err(HeaderFault::Blank) => true,
                Err(HeaderFault::Damaged | HeaderFault::Version(_)) => false,
            };
            let file_bytes = self
                .disk
                .len(&path)
                .map_err(OpenError::disk("measure", &path))?;
            let is_wanted = self.ready.len() <= self.settings.reserve_segments;
            if is_known && is_wanted && file_bytes == self.settings.segment_bytes {
                self.ready.push(path);
            } else {
                self.disk
                    .remove(&path)
                    .map_err(OpenError::disk("remove", &path))?;
            }
        }
        Ok(sequence)
    }

    /// Starts segment `sequence` with a durable copy of what is not proven durable; returns it,
    /// the journal's id, and the last position copied.
    fn start_fresh(&mut self, sequence: u64) -> Result<(Active, u128, u64), OpenError> {
        let dir = &self.settings.dir;
        let mut records = Vec::new();
        let mut last_position = 0;
        for (offset, header) in self.end.unproven() {
            last_position = header.position;
            let copied = RecordHeader {
                sequence,
                durable_upto: self.end.durable,
                ..*header
            };
            push_record(
                &mut records,
                &copied,
                payload_at(&self.end.bytes, *offset, header),
            );
        }
        let header = SegmentHeader {
            journal_id: self
                .listing
                .journal_id
                .unwrap_or(self.settings.new_journal_id),
            sequence,
            first_position: self.end.durable + 1,
            // The segment length in the settings may have been lowered since.
            segment_bytes: self
                .settings
                .segment_bytes
                .max((HEADER_PAGE_BYTES + records.len()) as u64),
        };
        let ready = self.fresh_file(header.segment_bytes)?;
        let active = segment::start(self.disk, dir, &ready, &header, &records);
        Ok((
            active.map_err(OpenError::disk("start a segment in", dir))?,
            header.journal_id,
            last_position,
        ))
    }

    /// Gives a prepared file: one that is there, else a released segment, else a new one.
    fn fresh_file(&mut self, segment_bytes: u64) -> Result<PathBuf, OpenError> {
        let dir = &self.settings.dir;
        let fits = segment_bytes == self.settings.segment_bytes;
        // The last segment may hold what is not yet copied.
        while fits && self.ready.is_empty() && self.sealed.len() > 1 {
            let Some(first) = self
                .sealed
                .front()
                .filter(|first| first.last_position <= self.applied)
            else {
                break;
            };
            self.ready_id += 1;
            let ready_id = (first.segment_bytes == segment_bytes).then_some(self.ready_id);
            let kept = segment::retire(self.disk, dir, first, ready_id);
            self.ready
                .extend(kept.map_err(OpenError::disk("take back a segment of", dir))?);
            self.sealed.pop_front();
        }
        match self.ready.pop() {
            Some(path) if fits => Ok(path),
            other => {
                self.ready.extend(other);
                self.ready_id += 1;
                let made = segment::prepare(self.disk, dir, self.ready_id, segment_bytes);
                made.map_err(OpenError::disk("prepare a segment in", dir))
            }
        }
    }

    fn replay_all(&mut self, replay: &mut dyn Replay) -> Result<(), OpenError> {
        let end = std::mem::take(&mut self.end);
        let listing = std::mem::take(&mut self.listing);
        for (index, found) in listing.segments.iter().enumerate() {
            let void_from = listing.void_from(index);
            if void_from.is_some_and(|void_from| void_from <= self.applied.saturating_add(1)) {
                continue;
            }
            if end.index == Some(index) {
                self.recovery.torn = end.verdict.torn;
                self.replay_segment(found, &end.bytes, &end.verdict, replay)?;
                continue;
            }
            let (bytes, scan) = listing::read_segment(self.disk, &found.path, found.sequence)?;
            let verdict = match (found.first_position, void_from) {
                (Some(first_position), Some(_)) => {
                    let durable = end.durable;
                    survey::judge(
                        &scan,
                        &Surroundings {
                            first_position,
                            void_from,
                            durable,
                            applied: self.applied,
                        },
                    )
                }
                // The segment has nothing that can be read.
                _ => Verdict::default(),
            };
            if verdict.ends_early {
                self.recovery.missing_segments += listing.missing_after(index);
            }
            self.replay_segment(found, &bytes, &verdict, replay)?;
        }
        self.end = end;
        Ok(())
    }

    fn replay_segment(
        &mut self,
        found: &Found,
        bytes: &[u8],
        verdict: &Verdict,
        replay: &mut dyn Replay,
    ) -> Result<(), OpenError> {
        self.recovery.damaged.add(verdict.damaged);
        self.recovery.damaged_applied_records += verdict.damaged_applied_records;
        let is_headless = found.has_damaged_header || found.is_misnamed;
        self.recovery.damaged_headers += u64::from(is_headless);
        self.recovery.short_segments += u64::from(found.is_short);
        if let Some((first, last)) = verdict.lost {
            let loss = Loss {
                positions: Some((Position(first), Position(last))),
                records: verdict.damaged.records,
                bytes: verdict.damaged.bytes,
                sequence: found.sequence,
            };
            tell(replay, &loss)?;
        }
        if found.is_damaged() {
            tracing::error!(
                path = %found.path.display(),
                sequence = found.sequence,
                has_damaged_header = found.has_damaged_header,
                is_misnamed = found.is_misnamed,
                is_short = found.is_short,
                "a journal segment is not as it was left; what can be read of it is used"
            );
        }
        if found.has_damaged_header || verdict.is_damaged() {
            self.set_aside(found.sequence, bytes);
        }
        for (offset, header) in &verdict.kept {
            if header.position <= self.applied {
                continue;
            }
            let position = Position(header.position);
            let payload = Bytes::copy_from_slice(payload_at(bytes, *offset, header));
            let taken = replay.record(Record { position, payload });
            if taken.is_break() {
                return Err(OpenError::ReplayStopped { position });
            }
            self.recovery.replayed += 1;
        }
        Ok(())
    }

    /// Copies a damaged segment out of the way of reuse. That may fail, on a full disk for one:
    /// then the segment itself goes there once it is released.
    fn set_aside(&mut self, sequence: u64, bytes: &[u8]) {
        let copied = quarantine::copy(self.disk, &self.settings.dir, sequence, bytes);
        for sealed in self
            .sealed
            .iter_mut()
            .filter(|sealed| sealed.sequence == sequence)
        {
            sealed.belongs_in_quarantine = copied.is_err();
        }
        match copied {
            Ok(path) => self.recovery.quarantined.push(path),
            Err(error) => {
                tracing::error!(sequence, %error, "could not copy a damaged journal segment");
                self.recovery.quarantine_failures += 1;
            }
        }
    }
}
