//! What is on its way to those who read a stream: a few frames, packed once for all.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::live::packed::Packed;

/// Frames of the fleet that are kept for readers who are behind, and their memory. Whoever is further behind gets a
/// snapshot.
const FRAMES_MAX: usize = 16;
const FRAMES_BYTES_MAX: usize = 8 << 20;

/// A store that somebody looks at.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) readers: usize,
    /// Rises whenever the store is another one.
    pub(super) version: u64,
    /// What is said of it, without the time.
    pub(super) said: String,
    pub(super) packed: Option<Packed>,
}

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Hub {
    /// The number of the last frame of the fleet.
    pub(super) seq: u64,
    frames: VecDeque<(u64, Packed)>,
    bytes: usize,
    /// A whole fleet, and the frame that it is as of.
    pub(super) snapshot: Option<(u64, Packed)>,
    pub(super) stores: HashMap<String, Topic>,
    /// The latest second of the path of batches: how many there were, and the event.
    pub(super) pulse: Option<(u64, Packed)>,
    /// Places of those who read.
    places: BTreeSet<u32>,
}

impl Hub {
    /// Numbers begin above those of any start before, so that a reader who comes back is known to be behind.
    pub(super) fn new(now_ms: i64) -> Self {
        Self {
            seq: now_ms.max(0).unsigned_abs(),
            ..Self::default()
        }
    }

    /// Takes the lowest free place.
    pub(super) fn take_place(&mut self) -> u32 {
        let mut free = 0;
        for taken in &self.places {
            if *taken != free {
                break;
            }
            free += 1;
        }
        self.places.insert(free);
        free
    }

    /// Gives a place back.
    pub(super) fn leave_place(&mut self, place: u32) {
        self.places.remove(&place);
    }

    /// Adds a frame; `of` writes it, given its number.
    pub(super) fn push(&mut self, packed: Packed) {
        self.seq += 1;
        self.bytes += packed.memory();
        self.frames.push_back((self.seq, packed));
        while self.frames.len() > FRAMES_MAX || self.bytes > FRAMES_BYTES_MAX {
            let Some((_, packed)) = self.frames.pop_front() else {
                return;
            };
            self.bytes -= packed.memory();
        }
    }

    /// Nobody reads: nothing is kept.
    pub(super) fn clear(&mut self) {
        self.pulse = None;
        self.begin_anew();
    }

    /// Whoever reads needs a snapshot.
    pub(super) fn begin_anew(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.snapshot = None;
        // Whoever comes back missed what was not made.
        self.seq += 1;
    }

    /// The frames after this one; `None`: not all of them are kept.
    pub(super) fn after(&self, seq: u64) -> Option<Vec<Packed>> {
        if seq > self.seq {
            return None;
        }
        let first = self
            .frames
            .front()
            .map_or(self.seq + 1, |(first, _)| *first);
        if seq + 1 < first {
            return None;
        }
        let after = self.frames.iter().filter(|(number, _)| *number > seq);
        Some(after.map(|(_, packed)| packed.clone()).collect())
    }

    /// Whether the snapshot can still be brought up to date by the frames that are kept.
    pub(super) fn fresh_snapshot(&self) -> Option<(u64, Packed)> {
        let (seq, packed) = self.snapshot.as_ref()?;
        self.after(*seq)?;
        Some((*seq, packed.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_place_is_taken() {
        let mut hub = Hub::default();
        let places: Vec<u32> = (0..3).map(|_| hub.take_place()).collect();
        assert_eq!(places, [0, 1, 2]);
        hub.leave_place(1);
        assert_eq!((hub.take_place(), hub.take_place()), (1, 3));
    }

    #[test]
    fn whoever_is_too_far_behind_is_not_given_a_part() {
        let mut hub = Hub::new(1_000);
        assert_eq!(hub.after(1_000).map(|frames| frames.len()), Some(0));
        assert!(hub.after(999).is_none() && hub.after(1_001).is_none());
        for _ in 0..20 {
            hub.push(Packed::of("x".to_owned()));
        }
        assert_eq!(hub.seq, 1_020);
        assert_eq!(hub.after(1_004).map(|frames| frames.len()), Some(16));
        assert!(hub.after(1_003).is_none());
        hub.snapshot = Some((1_010, Packed::of("s".to_owned())));
        assert!(hub.fresh_snapshot().is_some());
        for _ in 0..20 {
            hub.push(Packed::of("x".to_owned()));
        }
        assert!(hub.fresh_snapshot().is_none());
        hub.push(Packed::of("x".repeat(FRAMES_BYTES_MAX)));
        // It was too large to be kept, so all who are behind get a snapshot.
        assert!(hub.after(hub.seq - 1).is_none());
        assert_eq!(hub.after(hub.seq).map(|frames| frames.len()), Some(0));
    }
}
