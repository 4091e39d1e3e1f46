//! Draws at random: values that nobody may guess, values that must be unique, and pauses that must spread.
//!
//! A [`Chance`] is made once and handed in. A chance with a seed draws the same values again if it is asked
//! in the same order, so that a test can replay a run.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use uuid::Uuid;

/// Where chance comes from; clones share one source.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_seeded: bool,
    /// Each draw takes the next number and is made of it alone: no lock.
    draws: AtomicU64,
    requests: AtomicU64,
}

/// Odd, so that the numbers of the draws come round only after all 2^64; without a pattern, so that
/// neighbours differ in half of their bits.
const BETWEEN_DRAWS: u64 = 0x9e37_79b9_7f4a_7c15;

impl Chance {
    /// Makes a source of chance from what the system gives.
    #[must_use]
    pub fn of_system() -> Self {
        Self::new(false, &mut Rng::new())
    }

    /// Makes a source that draws the same again for the same seed, secrets too: for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(true, &mut Rng::with_seed(seed))
    }

    fn new(is_seeded: bool, first: &mut Rng) -> Self {
        Self(Arc::new(Inner {
            is_seeded,
            draws: AtomicU64::new(first.u64(..)),
            requests: AtomicU64::new(first.u64(..)),
        }))
    }

    fn draw(&self) -> Rng {
        Rng::with_seed(self.0.draws.fetch_add(BETWEEN_DRAWS, Ordering::Relaxed))
    }

    /// Any number of these. It can be guessed: for pauses.
    #[must_use]
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.draw().u64(range)
    }

    /// A number for a request: counted from one that was drawn at the start, so that no two processes use
    /// the same ones.
    #[inline]
    #[must_use]
    pub fn request_number(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// A name that nobody else has.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        if self.0.is_seeded {
            uuid::Builder::from_random_bytes(self.draw().u128(..).to_le_bytes()).into_uuid()
        } else {
            Uuid::new_v4()
        }
    }

    /// A key that nobody can guess, from the system's random source.
    ///
    /// # Errors
    /// When the system has no random source.
    pub fn secret<const BYTES: usize>(&self) -> io::Result<[u8; BYTES]> {
        let mut secret = [0; BYTES];
        if self.0.is_seeded {
            self.draw().fill(&mut secret);
        } else {
            getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_the_system_does_not() {
        let all = |chance: &Chance| {
            (
                chance.between(0..=u64::MAX),
                chance.request_number(),
                chance.uuid(),
                chance.secret::<32>().unwrap(),
            )
        };
        assert_eq!(all(&Chance::seeded(7)), all(&Chance::seeded(7)));
        assert_ne!(all(&Chance::seeded(7)), all(&Chance::seeded(8)));
        let (one, other) = (Chance::of_system(), Chance::of_system());
        let (one, other) = (all(&one), all(&other));
        assert_ne!(one.1, other.1);
        assert_ne!(one.2, other.2);
        assert_ne!(one.3, other.3);
    }

    #[test]
    fn draws_are_spread_over_their_range_and_the_numbers_of_requests_are_not_used_twice() {
        let chance = Chance::seeded(1);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[usize::try_from(chance.between(0..=9)).unwrap()] += 1;
        }
        let is_fair = counts.iter().all(|count| (850..1_150).contains(count));
        assert!(is_fair, "{counts:?}");
        let clone = chance.clone();
        let numbers: BTreeSet<u64> = (0..1_000)
            .flat_map(|_| [chance.request_number(), clone.request_number()])
            .collect();
        assert_eq!(numbers.len(), 2_000);
    }
}
