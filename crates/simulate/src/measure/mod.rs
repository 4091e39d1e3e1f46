//! One terminal at work: its connection, what it measures in a minute, its counters.
//!
//! | file | what |
//! |---|---|
//! | `plight.rs` | what a terminal says beside the usual because something is wrong with it |
//! | `put.rs` | puts samples, errors and drops into a batch |

use fastrand::Rng;
use tillwatch_model::{Connection, time};

use crate::app_errors::AppError;
use crate::batch::{Batch, Builder, Drop, Moment, Note};
use crate::fleet::Profile;
use crate::random::{around, derive_seed};
use crate::trouble::TroubleKind;
use crate::values::{Conditions, Measured};
use crate::world::World;

mod plight;
mod put;

use plight::Plight;

/// Batches in one cashier's session: two to four hours.
const SESSION_BATCHES: std::ops::Range<u32> = 120..240;

/// New transactions that wait in a minute offline, at most.
const PENDING_PER_MINUTE_MAX: u64 = 4;

/// One terminal as it measures.
#[derive(Debug)]
pub struct Meter {
    /// What stays the same about the terminal.
    pub profile: Profile,
    /// The random numbers that only this terminal draws.
    pub rng: Rng,
    /// The beginning of every batch on its release, and on the next one.
    heads: [Vec<u8>; 2],
    /// Where the run begins, simulated Unix ms.
    begin_ms: i64,
    connection: Connection,
    is_stranded: bool,
    /// Changes of connection not reported yet.
    switches: Vec<(Connection, Connection)>,
    pending: u64,
    next_seq: u64,
    session_id: String,
    session_batches_left: u32,
    /// Sessions have random numbers of their own, because history shares the sessions.
    session_rng: Rng,
    /// What it says beside the usual.
    plight: Plight,
}

impl Meter {
    /// A terminal that starts connected, or stranded offline if it is a late one.
    pub fn new(profile: Profile) -> Self {
        let mut rng = Rng::with_seed(profile.seed);
        let is_stranded = profile.offline_before_ms.is_some();
        // As many as the switches below lead to in the long run.
        let connection = match rng.u32(0..1_000) {
            _ if is_stranded => Connection::Offline,
            0..30 => Connection::Offline,
            30..70 => Connection::Slow,
            70..100 => Connection::Metered,
            _ => Connection::Online,
        };
        Self {
            heads: [
                profile.content_head(&profile.release),
                profile
                    .next_release
                    .as_ref()
                    .map_or(Vec::new(), |(_, release)| profile.content_head(release)),
            ],
            begin_ms: i64::MAX,
            connection,
            is_stranded,
            switches: Vec::new(),
            pending: if is_stranded {
                rng.u64(50..900)
            } else {
                rng.u64(0..3)
            },
            next_seq: profile.first_seq,
            session_id: String::new(),
            session_batches_left: 0,
            session_rng: Rng::with_seed(derive_seed(profile.seed, "sessions")),
            plight: Plight::new(profile.seed),
            rng,
            profile,
        }
    }

    /// Moves the terminal into a run that begins then, connected if what it has to tell must not wait.
    pub fn beginning_at(mut self, begin_ms: i64, is_connected: bool) -> Self {
        self.begin_ms = begin_ms;
        if is_connected {
            self.connection = Connection::Online;
        }
        self
    }

    /// Whether something that comes so long after the beginning has come.
    fn has_come(&self, from_ms: i64, at_ms: i64) -> bool {
        self.begin_ms
            .checked_add(from_ms)
            .is_some_and(|from_ms| from_ms <= at_ms)
    }

    /// Gives 0 while the terminal is on its release, 1 on the next one.
    fn release_at(&self, at_ms: i64) -> usize {
        let next = self.profile.next_release.as_ref();
        usize::from(next.is_some_and(|(from_ms, _)| self.has_come(*from_ms, at_ms)))
    }

    /// Gives what is wrong in the terminal's store at a time.
    fn troubles_at(&self, at_ms: i64) -> impl Iterator<Item = TroubleKind> {
        let troubles = self.profile.troubles.iter();
        troubles
            .filter(move |(from_ms, _)| self.has_come(*from_ms, at_ms))
            .map(|(_, kind)| *kind)
    }

    /// Whether the terminal has one of its troubles at a time.
    pub fn is_in(&self, trouble: TroubleKind, at_ms: i64) -> bool {
        self.troubles_at(at_ms).any(|kind| kind == trouble)
    }

    /// Lets the terminal say in its next batch that it has dropped these batches.
    pub fn tell(&mut self, drops: impl IntoIterator<Item = Drop>) {
        self.plight.drops.extend(drops);
    }

    /// Whether the terminal is silent at a time, alone or with its store.
    pub fn is_silent(&self, at_ms: i64) -> bool {
        self.troubles_at(at_ms)
            .any(|kind| matches!(kind, TroubleKind::Silent | TroubleKind::DeadTill))
    }

    /// The number of the terminal's next batch.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How the terminal is connected.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// The network is back.
    pub fn come_back(&mut self) {
        self.is_stranded = false;
        if self.connection == Connection::Offline {
            self.switch(Connection::OfflineSync);
        }
    }

    /// What it measured since `span_ms` ago, `now_ms` being the true time: as many samples as it is busy.
    /// A batch does not reach back into the hour before, so that each can be counted in its hour.
    pub fn measure(&mut self, world: &World, now_ms: i64, span_ms: u64) -> Batch {
        self.pass_a_minute(now_ms);
        let local_now_ms = now_ms + self.profile.clock_ahead_ms;
        let hour_ms = time::window_start_ms(local_now_ms, time::HOUR_MS);
        let span_ms = i64::try_from(span_ms.max(1)).unwrap_or(i64::MAX);
        let span_ms = span_ms.min(local_now_ms - hour_ms + 1);
        let mut builder = self.start_batch(hour_ms, now_ms);
        let mut left = world.samples_at(now_ms, self.profile.store);
        let pending = self.pending;
        if let Some(level) = world.mix.at(world.at.pending) {
            let at = self.moment(local_now_ms, span_ms);
            self.put(&mut builder, level, at, pending);
            builder.note(Note::Pending {
                t_ms: at.t_ms - self.profile.clock_ahead_ms,
                transactions: pending,
            });
            left -= 1;
        }
        let switches = std::mem::take(&mut self.switches);
        for (from, to) in switches.into_iter().take(left as usize) {
            if let Some(counter) = world.mix.at(world.at.switches) {
                let at = self.moment(local_now_ms, span_ms);
                self.put_switch(&mut builder, counter, at, from, to);
                left -= 1;
            }
        }
        for _ in 0..left {
            let position = self.pick(world, now_ms);
            if let Some(sampled) = world.mix.at(position) {
                let measured = sampled.measured;
                let at = self.moment(local_now_ms, span_ms);
                let recorded = self.draw(measured, self.connection, now_ms);
                let label = self.label(measured, now_ms);
                match AppError::known(label).filter(|_| position == world.at.errors) {
                    // An older SDK does not know events.
                    Some(error) if !self.profile.uses_aliases => {
                        self.put_error(&mut builder, world, &error, (at, recorded));
                    }
                    _ => self.put_labelled(&mut builder, sampled, label, at, recorded),
                }
            }
        }
        let at = Moment {
            t_ms: local_now_ms,
            connection: self.connection,
        };
        self.put_plight(&mut builder, world, now_ms, at);
        builder.finish()
    }

    /// What the next sample is of.
    fn pick(&mut self, world: &World, now_ms: i64) -> usize {
        let trouble = self.troubles_at(now_ms).next();
        for (name, share) in trouble.map_or(&[][..], TroubleKind::extra) {
            if self.rng.f64() < *share {
                return world.mix.position(name);
            }
        }
        let position = world.mix.pick(&mut self.rng, self.connection);
        let is_of_syncs = world.is_of_syncs(position);
        if is_of_syncs && self.is_in(TroubleKind::Stuck, now_ms) {
            // It tries, and nothing more.
            return world.at.attempts;
        }
        position
    }

    /// A label; more often a failure where something is wrong.
    fn label(&mut self, measured: &Measured, now_ms: i64) -> &'static str {
        let name = measured.metric.name;
        let failing: f64 = self
            .troubles_at(now_ms)
            .map(|kind| kind.failing(name))
            .sum();
        if failing > 0.0 && self.rng.f64() < failing {
            return "failure";
        }
        measured.label(&mut self.rng)
    }

    /// A value of a metric on this terminal.
    pub fn draw(&mut self, measured: &Measured, connection: Connection, at_ms: i64) -> u64 {
        let slowdown = self.profile.slowdown.get(self.release_at(at_ms)).copied();
        let name = measured.metric.name;
        let conditions = Conditions {
            connection,
            slowdown: slowdown.unwrap_or(1.0),
            worse: self
                .troubles_at(at_ms)
                .map(|kind| kind.factor(name))
                .product(),
        };
        let z = self.profile.draw_z(&mut self.rng);
        measured.at(z, conditions)
    }

    /// An empty batch with the next number, of this hour; measured by the release of a time.
    pub fn start_batch(&mut self, hour_ms: i64, at_ms: i64) -> Builder {
        if self.session_batches_left == 0 {
            self.session_batches_left = self.session_rng.u32(SESSION_BATCHES);
            self.session_id = format!("{:032x}", self.session_rng.u128(..));
        }
        self.session_batches_left -= 1;
        let seq = self.next_seq;
        self.next_seq += 1;
        let head = self.heads.get(self.release_at(at_ms));
        Builder::new(
            head.map_or(&[], Vec::as_slice),
            seq,
            &self.session_id,
            hour_ms,
        )
    }

    fn moment(&mut self, local_now_ms: i64, span_ms: i64) -> Moment {
        Moment {
            t_ms: local_now_ms - self.rng.i64(0..span_ms),
            connection: self.connection,
        }
    }

    /// The connection changes now and then, and transactions wait or go.
    fn pass_a_minute(&mut self, now_ms: i64) {
        let waited = self.pending;
        let chance = self.rng.u32(0..1_000);
        let is_shaky = self
            .troubles_at(now_ms)
            .any(|kind| kind == TroubleKind::BadNetwork);
        match self.connection {
            Connection::Offline if self.is_stranded => {}
            Connection::Offline if chance < 250 => self.switch(Connection::OfflineSync),
            Connection::Online if is_shaky && chance < 60 => self.switch(Connection::Offline),
            Connection::Online if is_shaky && chance < 260 => self.switch(Connection::Slow),
            Connection::Online if chance < 8 => self.switch(Connection::Offline),
            Connection::Online if chance < 18 => self.switch(Connection::Slow),
            Connection::Online if chance < 21 => self.switch(Connection::Metered),
            Connection::Slow if chance < 250 => self.switch(Connection::Online),
            Connection::Metered if chance < 100 => self.switch(Connection::Online),
            Connection::OfflineSync if self.pending == 0 => self.switch(Connection::Online),
            _ => {}
        }
        self.pending = match self.connection {
            Connection::Offline => self.pending + self.rng.u64(0..=PENDING_PER_MINUTE_MAX),
            // Catching up: most of them go in one minute.
            Connection::OfflineSync => self.pending / 8,
            Connection::Slow | Connection::Metered => self.rng.u64(0..6),
            Connection::Online | Connection::Unknown | Connection::Later => {
                u64::from(around(&mut self.rng, 0.4))
            }
        };
        if self.is_in(TroubleKind::Stuck, now_ms) {
            self.pending = waited + self.rng.u64(1..=PENDING_PER_MINUTE_MAX);
        }
        let least = self
            .troubles_at(now_ms)
            .map(TroubleKind::pending_least)
            .max();
        if let Some(least) = least.filter(|least| *least > 0) {
            self.pending = self.pending.max(least + self.rng.u64(0..60));
        }
    }

    fn switch(&mut self, to: Connection) {
        self.switches.push((self.connection, to));
        self.connection = to;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::batch::request_body;
    use crate::fleet::profiles;
    use crate::options::tests::options;
    use crate::queues::Queues;

    const NOW_MS: i64 = 1_795_220_280_653;

    fn samples(batch: &Batch) -> Vec<serde_json::Value> {
        let json: serde_json::Value =
            serde_json::from_slice(&request_body(&[batch], Some(NOW_MS))).unwrap();
        json["samples"].as_array().unwrap().clone()
    }

    #[test]
    fn a_minute_of_the_fleet_holds_every_metric() {
        let world = World::new(40, None);
        let mut meters: Vec<Meter> = profiles(&options(&[]), &Queues::new("run".to_owned()))
            .into_iter()
            .map(Meter::new)
            .collect();
        let mut seen = HashSet::new();
        // Half an hour: what happens on coming back follows being offline, and some of it is rare.
        for _ in 0..30 {
            for meter in &mut meters {
                let batch = meter.measure(&world, NOW_MS, 60_000);
                assert_eq!(batch.samples(), 40);
                seen.extend(batch.readings.iter().map(|reading| reading.metric()));
            }
        }
        assert_eq!(seen.len(), world.mix.measured().len());
    }

    #[test]
    fn samples_lie_in_the_minute_by_the_terminals_own_clock() {
        let world = World::new(40, None);
        for profile in profiles(&options(&[]), &Queues::new("run".to_owned())) {
            let ahead_ms = profile.clock_ahead_ms;
            let batch = Meter::new(profile).measure(&world, NOW_MS, 60_000);
            for sample in samples(&batch) {
                let age_ms = NOW_MS + ahead_ms - sample["t"].as_i64().unwrap();
                assert!((0..60_000).contains(&age_ms), "{age_ms}");
            }
        }
    }

    #[test]
    fn pending_transactions_grow_offline_and_go_after() {
        let world = World::new(1, None);
        let mut profile = profiles(&options(&[]), &Queues::new("run".to_owned())).remove(0);
        profile.offline_before_ms = Some(3_600_000);
        let mut meter = Meter::new(profile);
        let mut levels: Vec<u64> = Vec::new();
        for _ in 0..60 {
            let batch = meter.measure(&world, NOW_MS, 60_000);
            levels.push(batch.readings[0].recorded());
        }
        assert!(
            levels.is_sorted() && levels[59] > levels[0] + 60,
            "{levels:?}"
        );
        meter.come_back();
        for _ in 0..10 {
            meter.measure(&world, NOW_MS, 60_000);
        }
        assert!(meter.pending < 10 && meter.connection() != Connection::OfflineSync);
    }

    #[test]
    fn lcp_of_the_whole_fleet_keeps_the_archives_shape() {
        let world = World::new(40, None);
        let lcp = &world.mix.measured()[world.mix.position("lcp_ms")];
        let mut values: Vec<u64> = Vec::new();
        for profile in profiles(&options(&[]), &Queues::new("run".to_owned())) {
            let mut meter = Meter::new(profile);
            values.extend((0..400).map(|_| meter.draw(lcp, Connection::Online, NOW_MS)));
        }
        values.sort_unstable();
        let p75_ms = values[values.len() * 3 / 4] / 1_000;
        assert!((2_424..=2_472).contains(&p75_ms), "{p75_ms}");
    }
}
