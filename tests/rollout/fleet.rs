//! A simulated fleet. The logarithm of a duration is the sum of what is the store's own, the terminal's own, the store's
//! day, two slow drifts (one of the store, one of the fleet), the load of the hour, an incident on a few store-days, and
//! the single value's body, whose slowest 3 % follow a power law.

use tillwatch::rollout::probability::normal_quantile;
use tillwatch_model::SparseHistogram;
use tillwatch_model::histogram::bucket_index;

/// Quarters of an hour of a day, from 9 o'clock on.
const SLOTS: usize = 96;
/// Looks in hours; a segment lies between two of them.
pub const LOOK_HOURS: [usize; 6] = [1, 2, 4, 8, 12, 24];
pub const DAYS_BEFORE: usize = 7;
const OPENING: [f64; 14] = [
    0.5, 0.7, 0.9, 1.1, 1.3, 1.3, 1.1, 0.9, 0.9, 1.1, 1.3, 1.3, 0.9, 0.7,
];
const SIZES: [usize; 6] = [4, 6, 8, 10, 12, 20];
/// Where the body ends and the slowest 3 % begin, in standard deviations.
const TAIL_FROM: f64 = 1.880_794;
const TAIL_SHARE: f64 = 0.03;
/// Logarithms of seconds, in steps of 0.1 %.
const LOG_MIN: f64 = -2.5;
const BIN: f64 = 0.001;
const BINS: usize = 7_500;
const BODY_STEPS: usize = 1 << 16;

/// A duration that terminals measure.
pub struct Measure {
    pub name: &'static str,
    /// By a terminal in an hour of average load.
    rate: f64,
    sigma: f64,
    tail: f64,
}

pub const SYNC: Measure = Measure {
    name: "sync_duration_ms",
    rate: 30.0,
    sigma: 0.55,
    tail: 2.2,
};

pub const LOGIN: Measure = Measure {
    name: "offline_login_duration_ms",
    rate: 6.0,
    sigma: 0.42,
    tail: 2.4,
};

/// One measure in one store: what it was in the week before, and what it is now, at each look.
pub struct Measured {
    pub before: Vec<SparseHistogram>,
    /// p95 of whole days before.
    pub days: Vec<Option<u64>>,
    now: Vec<Vec<u32>>,
}

impl Measured {
    /// What was measured up to a look, if everything takes `factor` times as long.
    pub fn now(&self, look: usize, factor: f64) -> SparseHistogram {
        histogram(self.now[..=look].iter(), factor)
    }
}

fn histogram<'a>(segments: impl Iterator<Item = &'a Vec<u32>>, factor: f64) -> SparseHistogram {
    let mut sum = vec![0_u64; BINS];
    for segment in segments {
        for (sum, count) in sum.iter_mut().zip(segment) {
            *sum += u64::from(*count);
        }
    }
    let (mut indices, mut counts): (Vec<u32>, Vec<u64>) = (Vec::new(), Vec::new());
    for (bin, count) in sum.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        let micros = (LOG_MIN + (bin as f64 + 0.5) * BIN).exp() * factor * 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most e^5 seconds"
        )]
        let index = bucket_index(micros as u64);
        if indices.last() == Some(&index) {
            *counts.last_mut().unwrap() += count;
        } else {
            indices.push(index);
            counts.push(count);
        }
    }
    SparseHistogram::from_parts(indices, counts)
}

/// What a store keeps from day to day.
struct Habit<'a> {
    own: f64,
    terminals: &'a [f32],
    rate: f64,
    body: &'a [f32],
}

/// What all stores have in common on the days of one run.
pub struct Fleet {
    sizes: Vec<usize>,
    drift: Vec<Vec<f64>>,
    noise: f64,
}

fn normal(random: &mut fastrand::Rng) -> f64 {
    normal_quantile((random.f64() + 1e-16).min(1.0 - 1e-16))
}

fn drift(random: &mut fastrand::Rng, deviation: f64, memory: f64) -> Vec<f64> {
    let mut value = normal(random);
    let scale = (1.0 - memory * memory).sqrt();
    (0..SLOTS)
        .map(|slot| {
            if slot > 0 {
                value = memory * value + scale * normal(random);
            }
            value * deviation
        })
        .collect()
}

fn load(slot: usize) -> f64 {
    let hour = (9 + slot / 4) % 24;
    hour.checked_sub(7)
        .and_then(|hour| OPENING.get(hour).copied())
        .unwrap_or(0.04)
}

/// A count whose mean is `mean`: exact where it is small, rounded from the normal distribution where it is not.
fn poisson(random: &mut fastrand::Rng, mean: f64) -> usize {
    if mean > 40.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0, and some hundreds"
        )]
        let count = (mean + mean.sqrt() * normal(random)).round().max(0.0) as usize;
        return count;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), random.f64(), 0);
    while product > limit {
        product *= random.f64();
        count += 1;
    }
    count
}

/// The quantiles of what a single value adds.
pub fn body_of(measure: &Measure) -> Vec<f32> {
    (0..BODY_STEPS)
        .map(|step| {
            let below = (step as f64 + 0.5) / BODY_STEPS as f64;
            let z = normal_quantile(below);
            let value = if z < TAIL_FROM {
                z * measure.sigma
            } else {
                TAIL_FROM * measure.sigma - ((1.0 - below) / TAIL_SHARE).ln() / measure.tail
            };
            #[expect(clippy::cast_possible_truncation, reason = "a few units at most")]
            let value = value as f32;
            value
        })
        .collect()
}

impl Fleet {
    pub fn new(random: &mut fastrand::Rng, stores: usize, noise: f64) -> Self {
        let mut sizes: Vec<usize> = SIZES.into_iter().cycle().take(stores).collect();
        random.shuffle(&mut sizes);
        Self {
            sizes,
            drift: (0..=DAYS_BEFORE)
                .map(|_| drift(random, 0.08 * noise, 0.95))
                .collect(),
            noise,
        }
    }

    /// The same stores for another measure, which drifts by itself.
    pub fn again(&self, random: &mut fastrand::Rng) -> Self {
        Self {
            sizes: self.sizes.clone(),
            drift: (0..=DAYS_BEFORE)
                .map(|_| drift(random, 0.08 * self.noise, 0.95))
                .collect(),
            noise: self.noise,
        }
    }

    /// Eight days of one store; the last is the one after the release.
    pub fn measure(
        &self,
        random: &mut fastrand::Rng,
        store: usize,
        measure: &Measure,
        body: &[f32],
    ) -> Measured {
        let size = self.sizes[store];
        let own = 0.35 * normal(random);
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let terminals: Vec<f32> = (0..size).map(|_| (0.15 * normal(random)) as f32).collect();
        let habit = Habit {
            own,
            terminals: &terminals,
            rate: measure.rate,
            body,
        };
        let mut before = vec![vec![0_u32; BINS]; LOOK_HOURS.len()];
        let mut days = Vec::new();
        for day in 0..DAYS_BEFORE {
            let today = self.day(random, day, &habit);
            let whole = histogram(today.iter(), 1.0);
            days.push(tillwatch::rollout::evidence::p95_of(&whole));
            for (sum, segment) in before.iter_mut().zip(&today) {
                for (sum, count) in sum.iter_mut().zip(segment) {
                    *sum += count;
                }
            }
        }
        Measured {
            before: (0..LOOK_HOURS.len())
                .map(|look| histogram(before[..=look].iter(), 1.0))
                .collect(),
            days,
            now: self.day(random, DAYS_BEFORE, &habit),
        }
    }

    /// One day of a store, by segment.
    fn day(&self, random: &mut fastrand::Rng, day: usize, habit: &Habit<'_>) -> Vec<Vec<u32>> {
        let Habit {
            own,
            terminals,
            rate,
            body,
        } = habit;
        let of_day = own + 0.06 * self.noise * normal(random);
        let of_store = drift(random, 0.10 * self.noise, 0.90);
        let incident = (random.f64() < 0.03).then(|| {
            let (start, length) = (random.usize(0..48), random.usize(4..13));
            (start..start + length, 0.3 + 0.7 * random.f64())
        });
        let mut segments = vec![vec![0_u32; BINS]; LOOK_HOURS.len()];
        let drifts = of_store.iter().zip(&self.drift[day]);
        for (slot, (of_store, of_fleet)) in drifts.enumerate() {
            let load = load(slot);
            let mut level = of_day + of_store + of_fleet + 0.10 * (load - 1.0) - LOG_MIN;
            if let Some((slots, slower)) = &incident
                && slots.contains(&slot)
            {
                level += slower;
            }
            let at = LOOK_HOURS.iter().position(|hours| slot < hours * 4);
            let segment = &mut segments[at.unwrap()];
            let count = poisson(random, terminals.len() as f64 * rate / 4.0 * load);
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let level = level as f32;
            for _ in 0..count {
                let drawn = random.u64(..);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "parts of a random number; a bin is cut to the range"
                )]
                {
                    let terminal = (((drawn >> 32) * terminals.len() as u64) >> 32) as usize;
                    let value = level + terminals[terminal] + body[(drawn & 0xFFFF) as usize];
                    let bin = ((value * 1_000.0).max(0.0) as usize).min(BINS - 1);
                    segment[bin] += 1;
                }
            }
        }
        segments
    }
}
