//! Stores and terminals, and how they differ from each other.

use std::time::Duration;

use fastrand::Rng;
use tillwatch_model::time::millis;
use uuid::Uuid;

use crate::Options;
use crate::options::{End, OFFLINE_MAX};
use crate::queues::Queues;
use crate::random::{derive_seed, normal};
use crate::rollout::{canaries, wanted};
use crate::trouble::{Spot, TroubleKind};
use crate::values::even_normals;

/// How much of a value is the store's, the terminal's, and chance; the squares sum to 1, so that the
/// fleet as a whole keeps each metric's distribution.
/// The store's is an option.
const TERMINAL_WEIGHT: f64 = 0.25;

/// The least time a late terminal was offline, ms.
const OFFLINE_MIN_MS: f64 = 3_600_000.0;

/// Every so many terminals one has an older SDK, which uses the aliases of some metrics.
const ALIAS_EVERY: u32 = 7;

/// What stays the same about one terminal for the whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The terminal's position in the fleet.
    pub number: usize,
    /// The position of the terminal's store in the fleet.
    pub store: usize,
    /// The name of the terminal's store.
    pub store_id: String,
    /// The terminal's name in the store.
    pub terminal_id: String,
    /// The release the terminal runs.
    pub release: String,
    /// The release it gets while the run lasts, and how long after its beginning, ms.
    pub next_release: Option<(i64, String)>,
    /// The queue the terminal counts in: differs from run to run.
    pub queue: Uuid,
    /// Where the terminal's randomness begins: the same in every run with this seed.
    pub seed: u64,
    /// What the terminal adds to the `z` of every value.
    pub z: f64,
    /// How much of a `z` is chance.
    pub chance: f64,
    /// How much longer everything takes on its release, and on the next one.
    pub slowdown: [f64; 2],
    /// What is wrong in its store, and how long after the beginning of the run, ms.
    pub troubles: Vec<(i64, TroubleKind)>,
    /// The fingerprints of errors that nobody has seen before, and from when on it reports them, ms.
    pub new_errors: Vec<(i64, u64)>,
    /// What the terminal's clock is ahead of the true time, ms.
    pub clock_ahead_ms: i64,
    /// Whether its requests say when they are sent, so that a wrong clock can be corrected.
    pub is_stamped: bool,
    /// The reason for which all it measures must be rejected, if its clock is too wrong and not stamped.
    pub rejected_as: Option<&'static str>,
    /// The number of the terminal's first batch.
    pub first_seq: u64,
    /// How long the terminal has been offline when the run begins, ms.
    pub offline_before_ms: Option<i64>,
    /// Whether the terminal writes aliases where there are some.
    pub uses_aliases: bool,
}

impl Profile {
    /// A value's `z` on this terminal.
    pub fn draw_z(&self, rng: &mut Rng) -> f64 {
        self.z + self.chance * normal(rng)
    }

    /// The beginning of every batch's content, up to the value of `seq`.
    pub fn content_head(&self, release: &str) -> Vec<u8> {
        // Identifiers and releases were checked: nothing in them needs escaping.
        format!(
            "\"v\":1,\"store_id\":\"{}\",\"terminal_id\":\"{}\",\"queue\":\"{}\",\"release\":\"{}\",\
             \"consent\":true,\"source\":\"rum\",\"seq\":",
            self.store_id, self.terminal_id, self.queue, release
        )
        .into_bytes()
    }
}

/// The stores' identifiers: numbered from 1, with as many digits as the last one needs.
pub fn store_ids(options: &Options) -> Vec<String> {
    const DIGITS_MIN: usize = 3;
    let digits = options.stores.to_string().len().max(DIGITS_MIN);
    (1..=options.stores)
        .map(|number| format!("{}{number:0digits$}", options.store_prefix))
        .collect()
}

/// All terminals of the fleet, with their queues.
pub fn profiles(options: &Options, queues: &Queues) -> Vec<Profile> {
    let mut rng = Rng::with_seed(derive_seed(options.seed, "fleet"));
    let stores = store_ids(options);
    let mut store_z: Vec<f64> = even_normals(stores.len()).collect();
    rng.shuffle(&mut store_z);
    let terminal_count = options.terminals as usize;
    let mut terminal_z: Vec<f64> = even_normals(terminal_count).collect();
    rng.shuffle(&mut terminal_z);
    let canary_from_ms = canaries(options, &store_z);
    let spread = options.store_spread;
    let chance = (1.0 - spread.powi(2) - TERMINAL_WEIGHT.powi(2)).sqrt();
    let is_late = chosen(&mut rng, terminal_count, options.late_share);
    let is_skewed = chosen(&mut rng, terminal_count, options.skew_share);
    let simulated = if options.speed > 1 {
        options.simulated()
    } else {
        Duration::ZERO
    };
    let offline_ms_max = millis(OFFLINE_MAX.saturating_sub(simulated));
    (0..options.terminals)
        .zip(terminal_z)
        .zip(is_late.into_iter().zip(is_skewed))
        .map(|((number, terminal_z), (is_late, is_skewed))| {
            let store = (number % options.stores) as usize;
            let canary_from_ms = canary_from_ms.get(store).copied().flatten();
            let usual = (&options.release, options.slowdown);
            let canary_slowdown = options.slowdown * options.canary_slowdown;
            let canary = (&options.release_canary, canary_slowdown);
            let (release, slowdown) = if canary_from_ms == Some(0) {
                canary
            } else {
                usual
            };
            let next_release = canary_from_ms
                .filter(|from_ms| *from_ms != 0)
                .map(|from_ms| (from_ms, options.release_canary.clone()));
            let plight = plight(options, queues, number);
            let own = derive_seed(options.seed, &format!("terminal {number}"));
            let clock = Clock::draw(&mut rng, options, is_skewed);
            let late_ms = is_late.then(|| offline_before_ms(&mut rng));
            let is_store_offline = store < options.offline_stores as usize;
            let offline_ms = if is_store_offline {
                Some(millis(options.offline_for))
            } else {
                late_ms
            };
            let place = queues.places.get(number as usize).copied();
            let place = place.unwrap_or_default();
            Profile {
                number: number as usize,
                store,
                store_id: stores.get(store).cloned().unwrap_or_default(),
                terminal_id: format!("till-{}", number / options.stores + 1),
                release: release.clone(),
                next_release,
                queue: queue(own, &queues.run_id, place.generation),
                seed: own,
                z: spread * store_z.get(store).copied().unwrap_or(0.0)
                    + TERMINAL_WEIGHT * terminal_z,
                chance,
                slowdown: [slowdown, canary_slowdown],
                troubles: plight.troubles,
                new_errors: plight.new_errors,
                clock_ahead_ms: clock.ahead_ms,
                is_stamped: clock.is_stamped,
                rejected_as: clock.rejected_as(),
                first_seq: place.next_seq,
                offline_before_ms: offline_ms.map(|ms| ms.min(offline_ms_max)),
                uses_aliases: number % ALIAS_EVERY == ALIAS_EVERY / 2,
            }
        })
        .collect()
}

/// What goes wrong with one terminal.
struct Plight {
    troubles: Vec<(i64, TroubleKind)>,
    new_errors: Vec<(i64, u64)>,
}

/// How long something that spreads takes in a run without an end, ms.
const SPREAD_MS: i64 = 10 * 60_000;

fn plight(options: &Options, queues: &Queues, number: u32) -> Plight {
    let (store, till) = (number % options.stores, number / options.stores);
    let tills = options.terminals.saturating_sub(store);
    let spot = Spot {
        store,
        stores: options.stores,
        till,
        tills: tills.div_ceil(options.stores),
    };
    let mut plight = Plight {
        troubles: Vec::new(),
        new_errors: Vec::new(),
    };
    // A fleet that goes on with its queues has the errors of its earlier runs behind it.
    let first_seq = queues.places.first().map_or(0, |place| place.next_seq);
    for (place, trouble) in options.trouble.iter().enumerate() {
        let spread_ms = match options.end() {
            End::After(length) => (millis(length) - trouble.from_ms).max(0) / 2,
            End::Batches(_) | End::Never => SPREAD_MS,
        };
        let Some(from_ms) = trouble.comes_to(spot, spread_ms) else {
            continue;
        };
        if trouble.kind == TroubleKind::NewError {
            let name = format!("new error {} {first_seq} {place}", queues.run_id);
            let fingerprint = derive_seed(options.seed, &name);
            plight.new_errors.push((from_ms, fingerprint));
        } else {
            plight.troubles.push((from_ms, trouble.kind));
        }
    }
    plight
}

/// Which of `count` things are chosen: exactly this share of them.
fn chosen(rng: &mut Rng, count: usize, share: f64) -> Vec<bool> {
    let wanted = wanted(count, share);
    let mut order: Vec<bool> = (0..count).map(|position| position < wanted).collect();
    rng.shuffle(&mut order);
    order
}

/// The queue's UUID: made from the terminal's seed and the run's name, and how many it began before.
fn queue(seed: u64, run_id: &str, generation: u32) -> Uuid {
    let name = match generation {
        0 => run_id.to_owned(),
        _ => format!("{run_id} {generation}"),
    };
    let mut rng = Rng::with_seed(derive_seed(seed, &name));
    let bytes = rng.u128(..).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// How wrong a terminal's clock is, and whether the collector can know.
#[derive(Debug, Clone, Copy)]
struct Clock {
    ahead_ms: i64,
    is_stamped: bool,
}

impl Clock {
    /// Right clocks are off by a few seconds, wrong ones by two minutes or more; past a minute the
    /// collector corrects what is stamped. What is not is wrong enough to be rejected, without a doubt.
    fn draw(rng: &mut Rng, options: &Options, is_skewed: bool) -> Self {
        const RIGHT_MS: std::ops::Range<i64> = 0..3_000;
        const WRONG_FROM_MS: f64 = 120_000.0;
        const FUTURE_FROM_MS: f64 = 600_000.0;
        const OLD_FROM_MS: f64 = 8.0 * 86_400_000.0 + 3_600_000.0;
        let max_ms = options.skew_max.as_secs_f64() * 1_000.0;
        let is_stamped = !(is_skewed && rng.f64() < options.unstamped_share);
        let is_ahead = rng.bool();
        let from_ms = match (is_stamped, is_ahead) {
            (true, _) => WRONG_FROM_MS,
            (false, true) => FUTURE_FROM_MS,
            (false, false) => OLD_FROM_MS,
        };
        let size_ms = if is_skewed {
            log_uniform_ms(rng, from_ms, max_ms.max(from_ms + 1.0))
        } else {
            rng.i64(RIGHT_MS)
        };
        Self {
            ahead_ms: if is_ahead { size_ms } else { -size_ms },
            is_stamped,
        }
    }

    fn rejected_as(self) -> Option<&'static str> {
        match (self.is_stamped, self.ahead_ms > 0) {
            (true, _) => None,
            (false, true) => Some("in_future"),
            (false, false) => Some("too_old"),
        }
    }
}

/// From an hour to seven days, short outages more often than long ones.
fn offline_before_ms(rng: &mut Rng) -> i64 {
    log_uniform_ms(rng, OFFLINE_MIN_MS, OFFLINE_MAX.as_secs_f64() * 1_000.0)
}

/// Small ones more often than large ones: every doubling is equally likely.
fn log_uniform_ms(rng: &mut Rng, from_ms: f64, to_ms: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most a thousand days")]
    let ms = (from_ms * (to_ms / from_ms).powf(rng.f64())) as i64;
    ms
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::options::tests::options;

    fn new(run_id: &str) -> Queues {
        Queues::new(run_id.to_owned())
    }

    #[test]
    fn a_seed_makes_one_fleet_and_a_run_makes_its_queues() {
        let options = options(&[]);
        let first = profiles(&options, &new("one"));
        assert_eq!(first, profiles(&options, &new("one")));
        let second = profiles(&options, &new("two"));
        let queues: HashSet<Uuid> = first.iter().chain(&second).map(|one| one.queue).collect();
        assert_eq!(queues.len(), 1_000);
        assert!(
            first
                .iter()
                .zip(&second)
                .all(|(one, two)| one.seed == two.seed)
        );
    }

    #[test]
    fn shares_are_exact() {
        let fleet = profiles(&options(&[]), &new("run"));
        let count = |is: fn(&Profile) -> bool| fleet.iter().filter(|one| is(one)).count();
        assert_eq!(count(|one| one.release == "2.5.0"), 50);
        // Canary stores are as different as the others: the mean of what stores add is near 0.
        let canaries = fleet.iter().filter(|one| one.release == "2.5.0");
        let mean = canaries.map(|one| one.z).sum::<f64>() / 50.0;
        assert!(mean.abs() < 0.1, "{mean}");
        assert_eq!(count(|one| one.offline_before_ms.is_some()), 25);
        assert_eq!(count(|one| one.clock_ahead_ms.abs() > 60_000), 20);
        let names: HashSet<_> = fleet
            .iter()
            .map(|one| (&one.store_id, &one.terminal_id))
            .collect();
        assert_eq!(names.len(), 500);
        assert_eq!(fleet[49].store_id, "store-050");
        let offline = fleet.iter().filter_map(|one| one.offline_before_ms);
        assert!(
            offline
                .clone()
                .all(|ms| (3_600_000..=604_800_000).contains(&ms))
        );
        assert!(offline.max() > Some(86_400_000));
    }

    #[test]
    fn stores_differ_and_the_fleet_stays_normal() {
        let fleet = profiles(&options(&[]), &new("run"));
        let mut rng = Rng::with_seed(5);
        let draws: Vec<f64> = (0..400)
            .flat_map(|_| fleet.iter())
            .map(|one| one.draw_z(&mut rng))
            .collect();
        let count = f64::from(u32::try_from(draws.len()).unwrap());
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|z| z * z).sum::<f64>() / count;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }
}
