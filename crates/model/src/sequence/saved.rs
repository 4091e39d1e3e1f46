//! The window as the state file keeps it.

use super::SeqWindow;
use super::gap::Gap;

/// Stands in the place of a gap's time for a floor.
const FLOOR: i64 = i64::MIN;

impl SeqWindow {
    /// What stands in the state file for a queue of which nothing but its id is known, since this time. It is
    /// the window of a queue that has seen the highest number of all: so releases that know no tombstones refuse
    /// what comes of the queue, too.
    #[must_use]
    pub fn tombstone(since_ms: i64) -> Self {
        Self {
            high: u64::MAX,
            gaps: Vec::new(),
            last_seen_ms: since_ms,
            lost: 0,
            missing: 0,
            floor: 0,
        }
    }

    /// Whether the window is that of a tombstone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.high == u64::MAX && self.gaps.is_empty()
    }

    /// Writes the window for the state file: eight-byte little-endian words. A floor is written as a range that
    /// ends before it begins, which releases without floors pass over.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48 + self.gaps.len() * 24);
        bytes.extend_from_slice(&self.high.to_le_bytes());
        bytes.extend_from_slice(&self.last_seen_ms.to_le_bytes());
        bytes.extend_from_slice(&self.lost.to_le_bytes());
        let floor = (self.floor > 0).then_some(Gap {
            from: self.floor,
            to: 0,
            since_ms: FLOOR,
        });
        for gap in floor.iter().chain(&self.gaps) {
            bytes.extend_from_slice(&gap.from.to_le_bytes());
            bytes.extend_from_slice(&gap.to.to_le_bytes());
            bytes.extend_from_slice(&gap.since_ms.to_le_bytes());
        }
        bytes
    }

    /// Reads the window from the state file; `None` when the bytes are not of this layout.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (head, gaps) = words.split_first_chunk::<3>()?;
        let (gaps, odd) = gaps.as_chunks::<3>();
        if !rest.is_empty() || !odd.is_empty() {
            return None;
        }
        let [high, last_seen, lost] = head;
        let gap = |[from, to, since]: &[[u8; 8]; 3]| Gap {
            from: u64::from_le_bytes(*from),
            to: u64::from_le_bytes(*to),
            since_ms: i64::from_le_bytes(*since),
        };
        let ranges = gaps.iter().map(gap);
        let is_floor = |gap: &Gap| gap.to < gap.from && gap.since_ms == FLOOR;
        let floor = ranges.clone().find(is_floor).map_or(0, |gap| gap.from);
        let gaps: Vec<Gap> = ranges.filter(|gap| gap.from <= gap.to).collect();
        let open = gaps.iter().filter(|gap| gap.is_counted());
        Some(Self {
            high: u64::from_le_bytes(*high),
            missing: open.map(|gap| gap.length()).sum(),
            gaps,
            last_seen_ms: i64::from_le_bytes(*last_seen),
            lost: u64::from_le_bytes(*lost),
            floor,
        })
    }
}
