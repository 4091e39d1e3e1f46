//! The fleet as a whole: percentiles of all samples, and not of stores.

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::Quantile;
use tillwatch_model::histogram::bucket_highest;
use tillwatch_model::metric::Unit;

use crate::live::held::Held;
use crate::live::row::{State, Values, percentile};
use crate::live::shown::{QUANTILES, Shown};

/// The fleet as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "FleetRow")]
pub struct All {
    /// Stores that have reported within thirty days.
    pub stores: usize,
    /// Stores of which something is past its second limit.
    pub critical: usize,
    /// Stores of which something is past its first limit.
    pub warning: usize,
    /// Stores of which nothing comes although they should report.
    pub silent: usize,
    /// Terminals that should report and do not, while others of their store do.
    pub silent_terminals: u64,
    /// Its numbers.
    #[serde(flatten)]
    pub values: Values,
}

/// Counts of all stores together by bucket. A store's are taken out before its new ones are put in, so that nothing is
/// added up anew.
#[derive(Debug, Default)]
pub(super) struct Dense {
    counts: Vec<u64>,
    total: u64,
}

impl Dense {
    pub(super) fn put(&mut self, pairs: &[(u32, u64)]) {
        for (index, count) in pairs {
            let index = *index as usize;
            if self.counts.len() <= index {
                self.counts.resize(index + 1, 0);
            }
            if let Some(slot) = self.counts.get_mut(index) {
                *slot += count;
            }
            self.total += count;
        }
    }

    pub(super) fn take(&mut self, pairs: &[(u32, u64)]) {
        for (index, count) in pairs {
            if let Some(slot) = self.counts.get_mut(*index as usize) {
                *slot = slot.saturating_sub(*count);
            }
            self.total = self.total.saturating_sub(*count);
        }
    }

    fn value_at(&self, quantile: &Quantile) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = quantile.rank(self.total);
        let mut passed = 0;
        let indices = (0_u32..).zip(&self.counts);
        for (index, count) in indices {
            passed += count;
            if passed >= rank {
                return Some(bucket_highest(index));
            }
        }
        None
    }
}

/// Counts of what is shown, over all stores.
pub(super) type Together = [Dense; QUANTILES.len()];

impl All {
    pub(super) fn of<'h>(
        held: impl Iterator<Item = &'h Held>,
        together: &Together,
        shown: &Shown,
    ) -> Self {
        let mut all = Self::default();
        let mut memory = Vec::new();
        let mut attempts = [0, 0];
        for held in held {
            let row = &held.row;
            all.stores += 1;
            match row.state {
                State::Critical => all.critical += 1,
                State::Warning => all.warning += 1,
                State::Silent => all.silent += 1,
                State::Fine | State::Quiet => {}
            }
            all.silent_terminals += row.silent;
            let (of_all, values) = (&mut all.values, &row.values);
            of_all.sync_samples += values.sync_samples;
            of_all.login_samples += values.login_samples;
            of_all.lcp_samples += values.lcp_samples;
            of_all.inp_samples += values.inp_samples;
            of_all.network_samples += values.network_samples;
            of_all.terminals += values.terminals;
            of_all.reporting += values.reporting;
            of_all.sync_failing += values.sync_failing;
            of_all.missing += values.missing;
            of_all.lost += values.lost;
            of_all.late += values.late;
            of_all.last_report = of_all.last_report.max(values.last_report);
            of_all.pending_max = match (of_all.pending_max, values.pending_max) {
                (Some(most), Some(value)) => Some(most.max(value)),
                (most, value) => most.or(value),
            };
            for (sum, count) in attempts.iter_mut().zip(held.lately) {
                *sum += count;
            }
            memory.extend_from_slice(&held.memory);
        }
        memory.sort_unstable();
        let at = |at: usize| {
            let (_, unit): (u16, Unit) = (*shown.quantiles.get(at)?)?;
            let (_, quantile) = QUANTILES.get(at)?;
            let value = together.get(at)?.value_at(&Quantile::parse(quantile)?)?;
            Some(unit.to_wire(value))
        };
        let values = &mut all.values;
        values.sync_p95_ms = at(0);
        values.login_p95_ms = at(1);
        values.lcp_p75_ms = at(2);
        values.inp_p75_ms = at(3);
        values.network_p75_ms = at(4);
        let memory = percentile(&memory, 95);
        values.memory_p95_mb = shown
            .memory
            .and_then(|(_, unit)| Some(unit.to_wire(memory?)));
        values.put_success(attempts);
        all
    }

    /// The 95th percentile of the synchronisations of one minute, over all stores. Unit: ms.
    pub(super) fn sync_of_minute<'h>(
        held: impl Iterator<Item = &'h Held>,
        back: usize,
        shown: &Shown,
    ) -> Option<f64> {
        let mut dense = Dense::default();
        held.for_each(|held| dense.put(held.minutes.get(back).map_or(&[][..], |pairs| pairs)));
        let (_, unit) = shown.quantiles[0]?;
        Some(unit.to_wire(dense.value_at(&Quantile::parse("0.95")?)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tillwatch_model::histogram::bucket_index;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_in_and_taken_out_leaves_the_percentiles_of_the_rest(
            stays in prop::collection::vec(0_u64..100_000, 1..60),
            goes in prop::collection::vec(0_u64..100_000, 0..60),
        ) {
            let pairs = |values: &[u64]| -> Vec<(u32, u64)> {
                values.iter().map(|value| (bucket_index(*value), 1)).collect()
            };
            let mut dense = Dense::default();
            dense.put(&pairs(&goes));
            dense.put(&pairs(&stays));
            dense.take(&pairs(&goes));
            let mut sorted = stays.clone();
            sorted.sort_unstable();
            let quantile = Quantile::parse("0.95").unwrap();
            let exact = sorted[usize::try_from(quantile.rank(sorted.len() as u64)).unwrap() - 1];
            let found = dense.value_at(&quantile).unwrap();
            prop_assert_eq!(bucket_index(found), bucket_index(exact));
        }
    }
}
