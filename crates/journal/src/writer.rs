//! Commits in groups: the appends that queue up during one sync are written with one write, synced once,
//! handed on and acknowledged together.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{AppendError, HaltCause};
use super::format::{
    HEADER_PAGE_BYTES, Kind, RecordHeader, SegmentHeader, TERMINATOR, push_record, record_bytes,
    seal_record,
};
use super::note::Note;
use super::payloads::frame_bounds;
use super::queue::{Pending, Shared, Taken};
use super::segment::{self, Active, Sealed};
use super::{Commit, CommitTimes, Completion, Position, Sink};

/// The thread that owns the segment in use.
pub(super) struct Writer<C, S> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) note: Arc<Note>,
    pub(super) journal_id: u128,
    pub(super) active: Active,
    /// The highest durable position.
    pub(super) durable: u64,
    pub(super) next_position: u64,
    /// What the last mark or record in the segment says is durable.
    pub(super) marked: u64,
    /// The next group, reused.
    pub(super) buffer: Vec<u8>,
    pub(super) sink: S,
}

impl<C: Completion, S: Sink> Writer<C, S> {
    /// Runs until the journal is shut down or halts.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if let Err(cause) = self.run_until_closed() {
                self.tell_halted(&cause);
            }
        }));
        if outcome.is_err() {
            tracing::error!("the receiver of durable records panicked; the journal is halted");
            shared.halt();
            self.sink.halted(&HaltCause::ReceiverPanicked);
        }
    }

    fn tell_halted(&mut self, cause: &HaltCause) {
        tracing::error!(error = %cause, source = ?std::error::Error::source(cause), "the journal is halted");
        self.shared.halt();
        self.sink.halted(cause);
    }

    fn run_until_closed(&mut self) -> Result<(), HaltCause> {
        let mut spare = VecDeque::new();
        loop {
            match self.shared.take(spare, self.marked < self.durable) {
                Taken::Appends(mut appends) => {
                    let result = self.write(&mut appends);
                    for pending in appends.drain(..) {
                        pending.completion.complete(Err(AppendError::Halted));
                    }
                    result?;
                    spare = appends;
                }
                Taken::Idle => {
                    spare = VecDeque::new();
                    self.waiting(Self::write_mark)?;
                    self.waiting(|writer| writer.note.rests(writer.durable));
                }
                Taken::Closed => {
                    self.waiting(Self::write_mark)?;
                    self.waiting(|writer| writer.sync())?;
                    let sequence = self.active.sequence;
                    return self.waiting(|writer| writer.note_segment(sequence));
                }
            }
        }
    }

    /// Calls the disk, and lets others see for how long.
    fn waiting<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> T {
        self.shared.under_way.begin();
        let outcome = call(self);
        self.shared.under_way.end();
        outcome
    }

    /// Makes all of `appends` durable, in as many groups as segments ask for. After an error the
    /// ones still in `appends`, and those of the failed group, are not durable.
    fn write(&mut self, appends: &mut VecDeque<Pending<C>>) -> Result<(), HaltCause> {
        let taken = Instant::now();
        while !appends.is_empty() {
            let first_position = self.next_position;
            let group_count = self.gather(appends);
            if group_count > 0 {
                // On an error `appends` still holds the group: the caller completes all of it.
                let sync = self.waiting(Self::commit)?;
                let synced = Instant::now();
                self.sink.committed(Commit {
                    records: self.next_position - first_position,
                    sync,
                });
                self.hand_on(
                    appends,
                    group_count,
                    first_position,
                    CommitTimes { taken, synced },
                );
                self.waiting(|writer| writer.note.reached(writer.durable, synced));
                continue;
            }
            if let Err(error) = self.waiting(Self::rotate)? {
                let refused = appends.len();
                let refused_bytes = appends
                    .iter()
                    .map(|pending| pending.payloads.framed_bytes())
                    .sum();
                self.shared.finished(refused, refused_bytes);
                for pending in appends.drain(..) {
                    pending.completion.complete(Err(error));
                }
            }
        }
        Ok(())
    }

    /// Puts as many appends from the front into the buffer as the segment has room for.
    fn gather(&mut self, appends: &VecDeque<Pending<C>>) -> usize {
        let room_bytes = self.active.room_bytes();
        self.buffer.clear();
        let mut group_count = 0;
        for pending in appends {
            let frames = pending.payloads.frames();
            let start = self.buffer.len();
            if (start + frames.len()) as u64 > room_bytes {
                break;
            }
            self.buffer.extend_from_slice(frames);
            for (frame_start, payload_bytes) in frame_bounds(frames) {
                let header = RecordHeader {
                    position: self.next_position,
                    sequence: self.active.sequence,
                    durable_upto: self.durable,
                    kind: Kind::Data,
                    payload_bytes,
                };
                let frame_start = start + frame_start;
                seal_record(
                    &mut self.buffer[frame_start..frame_start + record_bytes(payload_bytes)],
                    &header,
                );
                self.next_position += 1;
            }
            group_count += 1;
        }
        group_count
    }

    /// Writes the buffer and syncs; says how long the sync took.
    fn commit(&mut self) -> Result<Duration, HaltCause> {
        let marked = self.durable;
        self.write_buffer()?;
        let sync = self.sync()?;
        self.durable = self.next_position - 1;
        self.marked = marked;
        Ok(sync)
    }

    /// Writes the buffer and the zeros that show the end, in one write.
    fn write_buffer(&mut self) -> Result<(), HaltCause> {
        let record_bytes = self.buffer.len() as u64;
        if record_bytes + TERMINATOR.len() as u64 <= self.active.room_bytes() {
            self.buffer.extend_from_slice(&TERMINATOR);
        }
        let written = self.active.file.write_at(&self.buffer, self.active.offset);
        written.map_err(|source| self.cause("write", source))?;
        self.active.offset += record_bytes;
        let counters = &self.shared.counters;
        counters
            .active_bytes
            .store(self.active.offset, Ordering::Relaxed);
        counters
            .written_bytes
            .fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<Duration, HaltCause> {
        let started = Instant::now();
        self.active
            .file
            .sync_data()
            .map_err(|source| self.cause("sync", source))?;
        let sync = started.elapsed();
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters
            .sync_nanos
            .fetch_add(nanos(sync), Ordering::Relaxed);
        Ok(sync)
    }

    fn cause(&self, operation: &'static str, source: io::Error) -> HaltCause {
        HaltCause::Disk {
            operation,
            sequence: self.active.sequence,
            source,
        }
    }

    /// The group at the front of `appends` is durable: to the sink, then to whoever waits.
    fn hand_on(
        &mut self,
        appends: &mut VecDeque<Pending<C>>,
        group_count: usize,
        first_position: u64,
        times: CommitTimes,
    ) {
        let counters = &self.shared.counters;
        let record_count = self.next_position - first_position;
        counters.durable.store(self.durable, Ordering::Release);
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters
            .appends
            .fetch_add(group_count as u64, Ordering::Relaxed);
        counters.records.fetch_add(record_count, Ordering::Relaxed);

        let mut records = Vec::with_capacity(usize::try_from(record_count).unwrap_or(0));
        let mut completions = Vec::with_capacity(group_count);
        let mut position = first_position;
        let mut group_bytes = 0;
        for pending in appends.drain(..group_count) {
            group_bytes += pending.payloads.framed_bytes();
            let first = position;
            position += pending.payloads.count();
            pending.payloads.into_records(first, &mut records);
            completions.push((pending.completion, Position(position - 1)));
        }
        self.sink.durable(records);
        // First, so that whoever is told may append again at once.
        self.shared.finished(group_count, group_bytes);
        for (completion, last) in completions {
            completion.durable(last, times);
        }
    }

    /// Goes on in a new segment. The inner error is not the disk's fault: try again later.
    fn rotate(&mut self) -> Result<Result<(), AppendError>, HaltCause> {
        let ready = match self.shared.pool.take() {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let settings = &self.shared.settings;
        let header = SegmentHeader {
            journal_id: self.journal_id,
            sequence: self.active.sequence + 1,
            first_position: self.durable + 1,
            segment_bytes: settings.segment_bytes,
        };
        let started = segment::start(&*self.disk, &settings.dir, &ready, &header, &[]);
        let active = started.map_err(|source| self.cause("start the one after", source))?;
        self.note_segment(header.sequence)?;
        let sealed = std::mem::replace(&mut self.active, active);
        self.shared
            .counters
            .active_bytes
            .store(HEADER_PAGE_BYTES as u64, Ordering::Relaxed);
        // The header now says what is durable.
        self.marked = self.durable;
        self.shared.pool.seal(Sealed {
            sequence: sealed.sequence,
            path: segment::segment_path(&settings.dir, sealed.sequence),
            last_position: self.durable,
            segment_bytes: sealed.segment_bytes,
            written_bytes: sealed.offset,
            belongs_in_quarantine: false,
        });
        Ok(Ok(()))
    }

    /// Notes outside the folder that this segment is in use, and what is durable before it.
    fn note_segment(&self, sequence: u64) -> Result<(), HaltCause> {
        let noted = self.note.begin(sequence, self.durable);
        noted.map_err(|source| self.cause("note the use of the one after", source))
    }

    /// Notes that everything so far is durable. Not synced: it only adds to what is known.
    fn write_mark(&mut self) -> Result<(), HaltCause> {
        if self.marked == self.durable || self.active.room_bytes() < record_bytes(0) as u64 {
            return Ok(());
        }
        let header = RecordHeader {
            position: self.durable,
            sequence: self.active.sequence,
            durable_upto: self.durable,
            kind: Kind::Mark,
            payload_bytes: 0,
        };
        self.buffer.clear();
        push_record(&mut self.buffer, &header, &[]);
        self.write_buffer()?;
        self.marked = self.durable;
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
