//! Where the journal lies, how much it may hold, and how it shares a sync.

use std::path::PathBuf;
use std::time::Duration;

use super::error::OpenError;
use super::format::{HEADER_PAGE_BYTES, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, SEGMENT_BYTES_MIN};

const _: () = {
    // The default segment holds the longest payload that the format allows.
    assert!(
        Settings::SEGMENT_BYTES_DEFAULT
            > (HEADER_PAGE_BYTES + RECORD_HEADER_BYTES) as u64 + PAYLOAD_BYTES_MAX as u64
    );
};

/// The journal's folder and limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the journal. Nothing else may lie in it.
    pub dir: PathBuf,

    /// Length of a segment file. Too small: the folder is synced often, and long appends are
    /// refused. Too large: space comes back late, because a segment is freed as a whole.
    ///
    /// Default: 16MiB. Unit: bytes, a multiple of 8.
    pub segment_bytes: u64,

    /// The most that all segments may take, prepared ones included. Past it appends are refused
    /// until records are released. Too small: a pause behind the journal turns into refusals.
    /// What lies in `quarantine/` is not counted.
    ///
    /// Default: 4GiB. Minimum: `reserve_segments` and 2 more segments. Unit: bytes.
    pub budget_bytes: u64,

    /// The most bytes that may wait for the disk. Past it appends are refused.
    ///
    /// Default: 64MiB. Unit: bytes.
    pub queue_bytes_max: usize,

    /// The most appends that may wait for the disk. Past it appends are refused.
    ///
    /// Default: 65,536.
    pub queue_appends_max: usize,

    /// Segments prepared ahead: zero-filled and synced, so that starting one costs no allocation
    /// and work already taken in can finish on a full disk. Minimum: 1.
    ///
    /// Default: 2.
    pub reserve_segments: usize,

    /// How long a group waits for company before it is written. A wait halves the processor time
    /// at 5,000 appends a second and costs its own length in every answer.
    ///
    /// Default: zero. What queues up during one sync is the next group.
    pub linger: Duration,

    /// How long the journal must be idle before it notes on disk that its last group is durable.
    /// Until that note, damage to the last group cannot be told from a torn tail.
    ///
    /// Default: 100 ms. Zero: only at shutdown.
    pub idle_mark: Duration,

    /// How often, under load, the position reached is noted beside the folder. It costs one small write
    /// without a sync. Longer: the loss of the last groups is noticed less often. Zero: with each group.
    ///
    /// Default: 100 ms.
    pub note_every: Duration,

    /// How long the records of a segment stay after they were released, for whoever looks for one. Only while half of
    /// the budget is free: appends are never refused for it.
    ///
    /// Default: zero. Released segments are reused at once.
    pub keep: Duration,

    /// The first pause after a segment could not be made; it doubles up to `retry_max`.
    ///
    /// Default: 100 ms.
    pub retry_min: Duration,

    /// The longest pause between two tries to make a segment.
    ///
    /// Default: 5 s.
    pub retry_max: Duration,

    /// The identity of a journal that is made new; an existing one keeps its own. Give a random
    /// number: it tells the segments of two journals apart.
    pub new_journal_id: u128,
}

impl Settings {
    /// 16 MiB: half a second of the fastest load, and small enough to come back soon.
    pub const SEGMENT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

    /// The defaults, for a journal in `dir`.
    pub fn new(dir: impl Into<PathBuf>, new_journal_id: u128) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: Self::SEGMENT_BYTES_DEFAULT,
            budget_bytes: 4 * 1024 * 1024 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            queue_appends_max: 65_536,
            reserve_segments: 2,
            linger: Duration::ZERO,
            idle_mark: Duration::from_millis(100),
            note_every: Duration::from_millis(100),
            keep: Duration::ZERO,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            new_journal_id,
        }
    }

    /// The longest append, framing included.
    pub(super) fn append_bytes_max(&self) -> u64 {
        self.segment_bytes.saturating_sub(HEADER_PAGE_BYTES as u64)
    }

    /// The most segments that may hold records: what the budget allows beside the reserve.
    pub(super) fn live_segments_max(&self) -> u64 {
        (self.budget_bytes / self.segment_bytes.max(1)).saturating_sub(self.reserve_segments as u64)
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        if self.segment_bytes < SEGMENT_BYTES_MIN || !self.segment_bytes.is_multiple_of(8) {
            return Err(OpenError::SegmentBytes {
                segment_bytes: self.segment_bytes,
            });
        }
        if self.reserve_segments == 0 || self.live_segments_max() < 2 {
            return Err(OpenError::Budget {
                budget_bytes: self.budget_bytes,
                segment_bytes: self.segment_bytes,
                reserve_segments: self.reserve_segments,
            });
        }
        Ok(())
    }
}
