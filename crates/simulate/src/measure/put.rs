//! Puts samples, errors and drops of a terminal into a batch.

use tillwatch_model::Connection;

use crate::app_errors::AppError;
use crate::batch::{Builder, Moment, Note, Sample};
use crate::measure::Meter;
use crate::trouble::TroubleKind;
use crate::values::InMix;
use crate::world::World;

impl Meter {
    /// Adds a sample, with a label as often as each occurs.
    pub fn put(&mut self, builder: &mut Builder, sampled: InMix<'_>, at: Moment, recorded: u64) {
        let label = sampled.measured.label(&mut self.rng);
        self.put_labelled(builder, sampled, label, at, recorded);
    }

    /// Adds a sample with this label.
    pub fn put_labelled(
        &self,
        builder: &mut Builder,
        InMix { position, measured }: InMix<'_>,
        label: &'static str,
        at: Moment,
        recorded: u64,
    ) {
        let metric = &measured.metric;
        let name = match metric.aliases.first() {
            Some(alias) if self.profile.uses_aliases => alias,
            _ => metric.name,
        };
        builder.sample(&Sample {
            position,
            unit: metric.unit,
            name,
            label,
            at,
            recorded,
        });
    }

    /// Older SDKs write the switch into the name.
    pub(super) fn put_switch(
        &self,
        builder: &mut Builder,
        InMix { position, measured }: InMix<'_>,
        at: Moment,
        from: Connection,
        to: Connection,
    ) {
        let old_name = format!("mode_switch_{}_to_{}", from.name(), to.name());
        let (name, label) = if self.profile.uses_aliases {
            (old_name.as_str(), "")
        } else {
            (measured.metric.name, to.name())
        };
        builder.sample(&Sample {
            position,
            unit: measured.metric.unit,
            name,
            label,
            at,
            recorded: 1,
        });
    }

    /// Adds an error, and how often it happened, as an event.
    pub(super) fn put_error(
        &self,
        builder: &mut Builder,
        world: &World,
        error: &AppError,
        (at, count): (Moment, u64),
    ) {
        builder.error(world.at.errors, error, at, count);
        builder.note(Note::Error {
            fingerprint: error.fingerprint,
            t_ms: at.t_ms - self.profile.clock_ahead_ms,
            count,
        });
    }

    /// Adds what the terminal says because something is wrong with it.
    pub(super) fn put_plight(
        &mut self,
        builder: &mut Builder,
        world: &World,
        now_ms: i64,
        at: Moment,
    ) {
        for position in 0..self.profile.new_errors.len() {
            let error = self.profile.new_errors.get(position).copied();
            let Some((from_ms, fingerprint)) = error else {
                continue;
            };
            if self.has_come(from_ms, now_ms)
                && let Some(count) = self.plight.new_error(position)
            {
                let error = AppError::new_one(fingerprint);
                self.put_error(builder, world, &error, (at, count));
            }
        }
        for dropped in std::mem::take(&mut self.plight.drops) {
            builder.dropped(world.at.dropped, self.profile.queue, &dropped, at.t_ms);
        }
        if self.is_in(TroubleKind::Stuck, now_ms) {
            for (position, label, recorded) in self.plight.stuck(world, self.pending, now_ms) {
                if let Some(sampled) = world.mix.at(position) {
                    self.put_labelled(builder, sampled, label, at, recorded);
                }
                if position == world.at.dead_letters {
                    builder.note(Note::GivenUp(recorded));
                }
            }
        }
    }
}
