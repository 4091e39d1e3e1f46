//! What a terminal kept while it was offline: histograms and sums by span, oldest first.
//!
//! A week of single samples would be 30 MB a terminal. An SDK keeps them as histograms over spans that
//! grow with their age, which merge without loss.

use std::collections::BTreeMap;

use fastrand::Rng;
use tillwatch_model::time::{HOUR_MS, MINUTE_MS, window_start_ms};
use tillwatch_model::{Connection, Kind};

use crate::batch::{Batch, Builder, Moment};
use crate::measure::Meter;
use crate::random::{around, derive_seed};
use crate::values::InMix;
use crate::world::World;

/// Spans of this length up to [`FINE_AGE_MS`]; an hour before.
const FINE_SPAN_MS: i64 = 5 * MINUTE_MS;
const FINE_AGE_MS: i64 = 6 * HOUR_MS;

/// How long before a terminal comes back its history ends: past the ten minutes that count as live.
const STILL_MS: i64 = 15 * MINUTE_MS;

/// Values of one metric in one span, at most, that an offline terminal keeps: an hour of the busiest
/// metrics is thinned out. Of the usual past as many are drawn, and each counts for all it stands for,
/// so that a fleet's day stays a matter of seconds and has as many samples as one that is lived.
const VALUES_PER_SPAN_MAX: u32 = 60;

/// A stretch of the past that is not made into batches yet. Times are the terminal's own.
#[derive(Debug)]
pub struct History {
    next_ms: i64,
    end_ms: i64,
    connection: Connection,
    /// Random numbers of this history alone: when it is made depends on the answers; its values must not.
    rng: Rng,
}

impl History {
    /// The whole hours and minutes of the last `length_ms`, as seen by this terminal.
    pub fn new(meter: &Meter, now_ms: i64, length_ms: i64, connection: Connection) -> Self {
        let local_now_ms = now_ms + meter.profile.clock_ahead_ms;
        // Whoever comes back after an outage has been still for a while: what it kept is old then, and
        // live series must not move.
        let still_ms = if connection == Connection::Offline {
            STILL_MS
        } else {
            0
        };
        let local_now_ms = local_now_ms - still_ms;
        let end_ms = window_start_ms(local_now_ms, FINE_SPAN_MS);
        let began_ms = local_now_ms + still_ms - length_ms;
        let whole_hours_ms = window_start_ms(began_ms + HOUR_MS - 1, HOUR_MS);
        // Whatever is kept by the hour begins with one; a short outage would have nothing left of it.
        let start_ms = if whole_hours_ms <= end_ms - FINE_AGE_MS {
            whole_hours_ms
        } else {
            window_start_ms(began_ms + FINE_SPAN_MS - 1, FINE_SPAN_MS)
        };
        Self {
            next_ms: start_ms,
            end_ms,
            connection,
            rng: Rng::with_seed(derive_seed(meter.profile.seed, "history")),
        }
    }

    /// Whether all of the history was made into batches.
    pub fn is_over(&self) -> bool {
        self.next_ms >= self.end_ms
    }

    /// The next hour as one batch.
    pub fn next_batch(&mut self, meter: &mut Meter, world: &World) -> Option<Batch> {
        self.skip_closed(meter, world);
        if self.is_over() {
            return None;
        }
        let hour_end_ms = (window_start_ms(self.next_ms, HOUR_MS) + HOUR_MS).min(self.end_ms);
        let is_coarse = hour_end_ms <= self.end_ms - FINE_AGE_MS;
        let span_ms = if is_coarse { HOUR_MS } else { FINE_SPAN_MS };
        let hour_ms = window_start_ms(self.next_ms, HOUR_MS);
        let mut builder = meter.start_batch(hour_ms, self.next_ms);
        std::mem::swap(&mut meter.rng, &mut self.rng);
        while self.next_ms < hour_end_ms {
            self.put_span(&mut builder, meter, world, span_ms);
            self.next_ms += span_ms;
        }
        std::mem::swap(&mut meter.rng, &mut self.rng);
        Some(builder.finish())
    }

    /// Goes on to the first hour in which the store is open.
    fn skip_closed(&mut self, meter: &Meter, world: &World) {
        let store = meter.profile.store;
        while let Some(hours) = world.hours.filter(|_| !self.is_over()) {
            let hour_ms = window_start_ms(self.next_ms, HOUR_MS);
            if hours.is_open(hour_ms + HOUR_MS / 2, store) {
                break;
            }
            self.next_ms = hour_ms + HOUR_MS;
        }
    }

    fn put_span(&self, builder: &mut Builder, meter: &mut Meter, world: &World, span_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let minutes = span_ms as f64 / MINUTE_MS as f64;
        let middle_ms = self.next_ms + span_ms / 2;
        let store = meter.profile.store;
        if world
            .hours
            .is_some_and(|hours| !hours.is_open(middle_ms, store))
        {
            return;
        }
        let busy = minutes * world.activity(middle_ms, store) * world.share_of_usual();
        let connection = self.connection_of_span(meter);
        for (position, measured) in world.mix.measured().iter().enumerate() {
            let mean = measured.per_minute(connection) * busy;
            if !measured.is_drawn() && self.connection == Connection::Online {
                let pending = waiting(meter, connection);
                let at = Moment {
                    t_ms: middle_ms,
                    connection,
                };
                meter.put(builder, InMix { position, measured }, at, pending);
                continue;
            }
            if !measured.is_drawn() || mean <= 0.0 {
                continue;
            }
            match measured.metric.kind {
                Kind::Distribution => {
                    let count = around(&mut meter.rng, mean);
                    let drawn = count.min(VALUES_PER_SPAN_MAX);
                    let mut values: Vec<u64> = (0..drawn)
                        .map(|_| meter.draw(measured, connection, self.next_ms))
                        .collect();
                    if self.connection == Connection::Online {
                        values = values.into_iter().cycle().take(count as usize).collect();
                    }
                    let at = Moment {
                        t_ms: self.next_ms,
                        connection,
                    };
                    builder.histogram(position, &measured.metric, at, span_ms, &values);
                }
                // The sum of a span is one sample in its middle, and so is a level.
                Kind::Counter | Kind::Level => {
                    let at = Moment {
                        t_ms: middle_ms,
                        connection,
                    };
                    put_amount(builder, meter, InMix { position, measured }, at, mean);
                }
            }
        }
    }

    /// How it was connected: a terminal that kept its past offline was so all the time, the others as
    /// often as they are while a run lasts.
    fn connection_of_span(&self, meter: &mut Meter) -> Connection {
        if self.connection != Connection::Online {
            return self.connection;
        }
        match meter.rng.u32(0..1_000) {
            0..30 => Connection::Offline,
            30..52 => Connection::OfflineSync,
            52..90 => Connection::Slow,
            90..115 => Connection::Metered,
            _ => Connection::Online,
        }
    }
}

/// Transactions that wait on a terminal at some moment of the usual past.
fn waiting(meter: &mut Meter, connection: Connection) -> u64 {
    match connection {
        Connection::Offline => meter.rng.u64(4..40),
        Connection::OfflineSync => meter.rng.u64(0..12),
        Connection::Slow | Connection::Metered => meter.rng.u64(0..6),
        Connection::Online | Connection::Unknown | Connection::Later => meter.rng.u64(0..2),
    }
}

fn put_amount(
    builder: &mut Builder,
    meter: &mut Meter,
    InMix { position, measured }: InMix<'_>,
    at: Moment,
    mean: f64,
) {
    let is_level = measured.metric.kind == Kind::Level;
    let times = around(&mut meter.rng, if is_level { mean.min(1.0) } else { mean });
    if times == 0 {
        return;
    }
    let one = meter.draw(measured, at.connection, at.t_ms);
    if is_level {
        meter.put(builder, InMix { position, measured }, at, one);
        return;
    }
    // Each label as often as it occurs: a sum under one of them would be an hour of failures.
    let drawn = times.min(VALUES_PER_SPAN_MAX);
    let mut by_label: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..drawn {
        *by_label.entry(measured.label(&mut meter.rng)).or_default() += 1;
    }
    for (label, count) in by_label {
        let amount = u64::from(count) * u64::from(times) / u64::from(drawn);
        meter.put_labelled(
            builder,
            InMix { position, measured },
            label,
            at,
            one * amount,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::request_body;
    use crate::fleet::profiles;
    use crate::options::tests::options;
    use crate::queues::Queues;

    const NOW_MS: i64 = 1_795_220_280_653;

    /// At any minute of the hour: somebody who waits for such a terminal must not wait in vain.
    #[test]
    fn whoever_was_offline_for_an_hour_or_longer_has_kept_something() {
        let world = World::new(40, None);
        let profile = profiles(&options(&[]), &Queues::new("run".to_owned())).remove(0);
        let mut meter = Meter::new(profile);
        for minute in 0..60 {
            let now_ms = NOW_MS + minute * MINUTE_MS;
            for length_ms in (HOUR_MS..8 * HOUR_MS).step_by(7 * 60_000) {
                let mut history = History::new(&meter, now_ms, length_ms, Connection::Offline);
                let began_ms = now_ms + meter.profile.clock_ahead_ms - length_ms;
                let first_ms = history.next_ms;
                assert!((began_ms..began_ms + HOUR_MS).contains(&first_ms));
                let batch = history.next_batch(&mut meter, &world);
                assert!(batch.is_some(), "{minute} min, {length_ms} ms");
            }
        }
    }

    #[test]
    fn a_week_is_whole_spans_that_end_before_now_and_fit_the_format() {
        let world = World::new(40, None);
        let profile = profiles(&options(&[]), &Queues::new("run".to_owned())).remove(0);
        let mut meter = Meter::new(profile);
        let week_ms = 7 * 24 * HOUR_MS;
        let mut history = History::new(&meter, NOW_MS, week_ms, Connection::Offline);
        let (mut batches, mut spans) = (Vec::new(), Vec::new());
        while let Some(batch) = history.next_batch(&mut meter, &world) {
            batches.push(batch);
        }
        let local_now_ms = NOW_MS + meter.profile.clock_ahead_ms;
        for batch in &batches {
            let body = request_body(&[batch], Some(NOW_MS));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for histogram in json["histograms"].as_array().unwrap() {
                let t_ms = histogram["t"].as_i64().unwrap();
                let span_ms = histogram["span_ms"].as_i64().unwrap();
                assert_eq!(t_ms % span_ms, 0);
                assert!(t_ms >= local_now_ms - week_ms && t_ms + span_ms <= local_now_ms);
                assert_eq!(histogram["connection"], "offline");
                spans.push((t_ms, span_ms));
            }
            let total: u64 = json["histograms"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|histogram| histogram["buckets"].as_array().unwrap().clone())
                .map(|pair| pair[1].as_u64().unwrap())
                .sum();
            let singles = json["samples"].as_array().unwrap().len() as u64;
            assert_eq!(batch.samples(), total + singles);
        }
        let seqs: Vec<u64> = batches.iter().map(|batch| batch.seq).collect();
        // The last quarter of an hour is still.
        assert!(seqs.len() >= 167, "{}", seqs.len());
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        assert!(
            spans
                .iter()
                .all(|(t_ms, span_ms)| t_ms + span_ms <= local_now_ms - STILL_MS)
        );
        assert!(spans.is_sorted_by_key(|(t_ms, _)| *t_ms));
        assert!(spans.iter().any(|(_, span_ms)| *span_ms == HOUR_MS));
        assert!(spans.iter().any(|(_, span_ms)| *span_ms == FINE_SPAN_MS));
    }
}
