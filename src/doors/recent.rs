//! Remembers where the last requests' records lie in the journal, by the requests' names, for whoever asks what became of
//! one. A request costs one write of eight bytes.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many requests are remembered; a newer one may take the place of an older one before.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 16;
/// Bits of a place that hold a position.
const POSITION_BITS: u32 = 40;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

/// The positions of the last requests.
#[derive(Debug)]
pub struct Recent(Box<[AtomicU64]>);

impl Default for Recent {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

/// The place of a request's number, and the bits by which it is told from others of its place.
fn place(number: u64) -> (usize, u64) {
    let at = usize::try_from(number % PLACES as u64).unwrap_or(0);
    // The numbers of requests follow one another: the bits that do not choose the place tell them apart.
    (at, (number >> PLACE_BITS) << POSITION_BITS)
}

impl Recent {
    /// Notes where the last record of a request lies.
    pub(super) fn note(&self, number: u64, position: u64) {
        let (at, bits) = place(number);
        if let Some(slot) = self.0.get(at) {
            slot.store(bits | (position & POSITION_MASK), Ordering::Relaxed);
        }
    }

    /// Where the last record of a request lies.
    #[must_use]
    pub fn position(&self, number: u64) -> Option<u64> {
        let (at, bits) = place(number);
        let slot = self.0.get(at)?.load(Ordering::Relaxed);
        let position = slot & POSITION_MASK;
        (slot & !POSITION_MASK == bits && position > 0).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::request_id::RequestId;

    #[test]
    fn a_request_is_found_by_its_number_and_no_other_is() {
        let recent = Recent::default();
        let chance = Chance::seeded(1);
        let [a, b] = [(); 2].map(|()| RequestId::make(&chance).number());
        assert_eq!(recent.position(a), None);
        recent.note(a, 7);
        recent.note(b, 1 << 39);
        assert_eq!(recent.position(a), Some(7));
        assert_eq!(recent.position(b), Some(1 << 39));
        for turns in [1, 2, 1 << 20] {
            assert_eq!(recent.position(a.wrapping_add(turns << PLACE_BITS)), None);
        }
        let mut strangers = (0..10_000).map(|_| RequestId::make(&chance).number());
        assert!(strangers.all(|number| recent.position(number).is_none()));
    }
}
