//! What a terminal says beside the usual because something is wrong with it.

use fastrand::Rng;

use crate::batch::Drop;
use crate::random::derive_seed;
use crate::world::World;

/// A terminal tries a transaction this often before it gives it up; once in a minute, as it is simulated.
const TRIES_MAX: u32 = 10;
/// Transactions that a terminal tries again in a minute, at most.
const RETRIES_MAX: u64 = 50;
/// Of the minutes after, the share in which it gives some up.
const GIVEN_UP_SHARE: f64 = 0.25;
/// The share of minutes in which one transaction gets through all the same, and tells how long it has waited.
const GETS_THROUGH_SHARE: f64 = 0.1;
/// The share of batches that report a new error, once it is there.
const NEW_ERROR_SHARE: f64 = 0.25;

/// What is wrong with one terminal, as far as it says so.
#[derive(Debug)]
pub struct Plight {
    /// Batches that it must say it has dropped.
    pub drops: Vec<Drop>,
    /// Chance of its own, so that what goes wrong changes nothing of what is measured beside.
    rng: Rng,
    /// Since when it cannot synchronise, Unix ms, and for how many batches.
    stuck: Option<(i64, u32)>,
    /// Which new errors it has reported: the first of each comes at once.
    reported: Vec<usize>,
}

impl Plight {
    /// Nothing is wrong.
    pub fn new(seed: u64) -> Self {
        Self {
            drops: Vec::new(),
            rng: Rng::with_seed(derive_seed(seed, "plight")),
            stuck: None,
            reported: Vec::new(),
        }
    }

    /// How often a new error happened since the last batch, if it did.
    pub fn new_error(&mut self, error: usize) -> Option<u64> {
        let is_first = !self.reported.contains(&error);
        if is_first {
            self.reported.push(error);
        }
        let happens = self.rng.f64() < NEW_ERROR_SHARE || is_first;
        happens.then(|| self.rng.u64(1..4))
    }

    /// What a terminal measures of it that cannot synchronise: position, label and recorded value of each sample.
    pub fn stuck(
        &mut self,
        world: &World,
        pending: u64,
        now_ms: i64,
    ) -> Vec<(usize, &'static str, u64)> {
        let (since_ms, batches) = *self.stuck.get_or_insert((now_ms, 0));
        self.stuck = Some((since_ms, batches.saturating_add(1)));
        let mut samples = vec![
            (world.at.attempts, "failure", 1),
            (world.at.retries, "", pending.clamp(1, RETRIES_MAX)),
        ];
        let is_tried_out = batches >= TRIES_MAX;
        if batches == TRIES_MAX || (is_tried_out && self.rng.f64() < GIVEN_UP_SHARE) {
            samples.push((world.at.dead_letters, "server", self.rng.u64(1..3)));
        }
        if is_tried_out
            && self.rng.f64() < GETS_THROUGH_SHARE
            && let Some(wait) = world.mix.at(world.at.waits)
        {
            let metric = &wait.measured.metric;
            let waited = (now_ms - since_ms).unsigned_abs() * metric.unit.scale();
            samples.push((world.at.waits, "", waited.min(metric.value_max)));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_220_280_653;

    #[test]
    fn who_cannot_synchronise_tries_ten_times_and_then_gives_up() {
        let world = World::new(40, None);
        let mut plight = Plight::new(3);
        let mut given_up = Vec::new();
        let mut longest_wait = 0;
        for minute in 0..200_i64 {
            for (position, _, recorded) in plight.stuck(&world, 7, NOW_MS + minute * 60_000) {
                if position == world.at.dead_letters {
                    given_up.push(minute);
                }
                if position == world.at.waits {
                    assert!(recorded > longest_wait);
                    longest_wait = recorded;
                }
            }
        }
        assert_eq!(given_up[0], i64::from(TRIES_MAX));
        assert!(given_up.len() > 20 && longest_wait > 60_000 * 60_000);
    }

    #[test]
    fn a_new_error_comes_at_once_and_then_now_and_then() {
        let mut plight = Plight::new(3);
        let times = (0..100).filter_map(|_| plight.new_error(0)).count();
        assert!((10..45).contains(&times), "{times}");
        assert!(Plight::new(4).new_error(1).is_some());
    }
}
