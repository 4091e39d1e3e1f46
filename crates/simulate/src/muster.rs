//! Makes the terminals as they stand when a run begins.

use fastrand::Rng;
use tillwatch_model::Connection;
use tillwatch_model::time::millis;

use crate::Options;
use crate::fleet::profiles;
use crate::history::History;
use crate::measure::Meter;
use crate::options::End;
use crate::pace::Pace;
use crate::queues::Queues;
use crate::random::derive_seed;
use crate::terminal::{Rules, Terminal};
use crate::world::World;

/// Late terminals of a run without an end come back during this time, ms.
const RETURN_WITHIN_MS: i64 = 10 * 60_000;

/// What all terminals go by, and each of them, its schedule drawn from the seed.
pub fn muster(
    options: &Options,
    queues: &Queues,
    world: &World,
    started_ms: i64,
) -> (Rules, Vec<Terminal>) {
    let pace = Pace::new(started_ms, millis(options.simulated()), options.speed);
    let rules = Rules {
        pace,
        interval_ms: options.interval_ms(),
        resend_share: options.resend_share,
        backoff_ms_max: u64::try_from(options.backoff_max.as_millis()).unwrap_or(u64::MAX),
    };
    let return_within_ms = match (options.return_within, options.end()) {
        (Some(within), _) => millis(within),
        (None, End::After(duration)) => millis(duration / options.speed) / 2,
        (None, End::Batches(_) | End::Never) => RETURN_WITHIN_MS,
    }
    .max(1);
    let mut rng = Rng::with_seed(derive_seed(options.seed, "times"));
    let terminals: Vec<Terminal> = profiles(options, queues)
        .into_iter()
        .map(|profile| {
            let offline_ms = profile.offline_before_ms;
            let has_past = offline_ms.is_none() && !options.backfill.is_zero();
            let meter = Meter::new(profile).beginning_at(pace.begin_ms(), has_past);
            let (length_ms, connection) = match offline_ms {
                Some(offline_ms) => (offline_ms, Connection::Offline),
                None => (millis(options.backfill), Connection::Online),
            };
            let history = History::new(&meter, pace.begin_ms(), length_ms, connection);
            let first_ms = rules
                .interval_ms
                .map_or(0, |interval_ms| rng.u64(0..interval_ms.max(1)));
            let measure_at_ms = pace
                .begin_ms()
                .saturating_add(i64::try_from(first_ms).unwrap_or(0));
            let measure_at_ms = world.hours.map_or(measure_at_ms, |hours| {
                hours.next_open_ms(measure_at_ms, meter.profile.store)
            });
            let returns_at_ms = started_ms + rng.i64(0..return_within_ms);
            Terminal::new(
                meter,
                rules,
                history,
                measure_at_ms,
                offline_ms.map(|_| returns_at_ms),
            )
        })
        .collect();
    (rules, terminals)
}
