//! What the board holds of one store.

use tillwatch_model::Quantile;
use tillwatch_model::histogram::values_at;

use crate::aggregate::layout::Layout;
use crate::live::look::StoreLook;
use crate::live::row::{Attempts, Row, Window};
use crate::live::shown::{QUANTILES, Shown};
use crate::live::spark::Spark;

/// What the board holds of one store.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) row: Row,
    /// The row as it is sent.
    pub(super) json: String,
    /// How many batches the store had sent.
    pub(super) received: u64,
    /// What it measured of each of [`QUANTILES`] in the last minutes: buckets and counts.
    pub(super) pairs: [Vec<(u32, u64)>; QUANTILES.len()],
    /// Memory of its terminals, recording unit.
    pub(super) memory: Vec<u64>,
    pub(super) spark: Spark,
    /// Synchronisations of this minute, and of the one before.
    pub(super) minutes: [Vec<(u32, u64)>; 2],
    pub(super) attempts: Attempts,
    pub(super) counted: [u64; 2],
    pub(super) lately: [u64; 2],
}

impl Held {
    /// What is held of a store after a look at it.
    pub(super) fn of(
        look: StoreLook,
        windows: &[Window<'_>],
        before: Option<&Self>,
        is_new: bool,
        (layout, shown): (&Layout, &Shown),
    ) -> Self {
        let counted = look.attempts;
        let attempts = before.map_or_else(
            || Attempts::since(if is_new { [0, 0] } else { counted }),
            |before| before.attempts.clone(),
        );
        let lately = attempts.lately(counted);
        let row = Row::of(&look, windows, lately, layout);
        let pairs = shown.quantiles.map(|known| {
            let window = known.and_then(|(place, _)| {
                let mut windows = windows.iter();
                windows.find(|window| window.place == place)
            });
            window.map_or_else(Vec::new, |window| {
                let indices = window.indices.iter().copied();
                indices.zip(window.counts.iter().copied()).collect()
            })
        });
        let spark = before.map_or_else(Spark::default, |before| before.spark.clone());
        let [last, this] = look.minutes;
        let memory = shown
            .memory
            .and_then(|(at, _)| look.levels.into_iter().nth(at));
        Self {
            // A row has no map and no number that JSON does not have.
            json: serde_json::to_string(&row).unwrap_or_default(),
            row,
            received: look.batches.received,
            pairs,
            memory: memory.unwrap_or_default(),
            spark,
            minutes: [this, last],
            attempts,
            counted,
            lately,
        }
    }
}

impl Held {
    /// Adds the minute before the last look's to the spark.
    pub(super) fn end_minute(&mut self, moved: usize, shown: &Shown) {
        self.spark.move_on(moved);
        self.spark.put(0, sync_p95(&self.minutes[1], shown));
    }
}

fn sync_p95(pairs: &[(u32, u64)], shown: &Shown) -> Option<f64> {
    let (_, unit) = shown.quantiles[0]?;
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let (indices, counts): (Vec<u32>, Vec<u64>) = sorted.into_iter().unzip();
    let quantile = Quantile::parse("0.95")?;
    let values = values_at(&indices, &counts, std::slice::from_ref(&quantile))?;
    Some(unit.to_wire(*values.first()?))
}
