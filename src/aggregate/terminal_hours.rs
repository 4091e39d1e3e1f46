//! What terminals said of the metrics kept by terminal, by hour: everything since the last seal.

use std::sync::Arc;

use tillwatch_model::dimension::OVERFLOW;
use tillwatch_model::metric::Metric;
use tillwatch_model::time::{HOUR_MS, window_start_ms};
use tillwatch_model::{Kind, Reading, Scalars, Source, TerminalHour, TerminalHourKey};

use crate::aggregate::brought::{Arrival, Brought, Shared};
use crate::aggregate::cells::{Cells, Chunks};
use crate::aggregate::open::{Tables, count_over};

/// What a cell's numbers are, packed so that looking one up hashes one integer.
///
/// From the top: store 32 bits, terminal 24, hour 24, release 16, metric 16, label 8, source 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct HourKey(u128);

impl HourKey {
    fn new(shared: Shared, terminal: u32, reading: &Reading, start_ms: i64) -> Self {
        // Accepted times are within days of now: the hour fits in 24 bits.
        let hour = u32::try_from(start_ms / HOUR_MS).unwrap_or(0);
        let packed = [
            (u128::from(shared.store), 32),
            (u128::from(terminal & TERMINAL_MASK), 24),
            (u128::from(hour & 0xff_ffff), 24),
            (u128::from(shared.release & 0xffff), 16),
            (u128::from(reading.metric), 16),
            (u128::from(reading.label), 8),
            (u128::from(shared.source.code()), 8),
        ];
        Self(
            packed
                .iter()
                .fold(0, |key, (part, bits)| (key << bits) | part),
        )
    }

    fn part(self, below: u32, bits: u32) -> u32 {
        u32::try_from((self.0 >> below) & ((1 << bits) - 1)).unwrap_or(0)
    }

    fn store(self) -> u32 {
        self.part(96, 32)
    }

    fn terminal(self) -> u32 {
        self.part(72, 24)
    }

    fn hour(self) -> u32 {
        self.part(48, 24)
    }

    fn metric(self) -> u16 {
        u16::try_from(self.part(16, 16)).unwrap_or(0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "eight bits were taken out")]
    fn byte(self, below: u32) -> u8 {
        self.part(below, 8) as u8
    }
}

/// The number of all terminals of the stores that found no place in their set.
pub const OVERFLOW_TERMINAL: u32 = TERMINAL_MASK;
const TERMINAL_MASK: u32 = 0xff_ffff;

/// Cells by their dimensions; one takes about 120 bytes, and up to twice that while the lists have room for more.
#[derive(Debug, Default)]
pub struct OpenTerminalHours {
    cells: Cells<HourKey, Scalars>,
}

impl OpenTerminalHours {
    /// Cells that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds what a terminal (by its number since the last seal) brought at a corrected time.
    pub fn add(
        &mut self,
        &Arrival {
            shared,
            metric,
            reading,
            t_ms,
            brought,
            ..
        }: &Arrival<'_>,
        terminal: u32,
    ) {
        let span_ms = brought.span_ms();
        // As in the windows: a histogram belongs to the hour that holds its middle.
        let start_ms = window_start_ms(t_ms.saturating_add(span_ms / 2), HOUR_MS);
        let added = scalars(metric, t_ms, brought);
        let key = HourKey::new(shared, terminal, reading, start_ms);
        self.cells.at(key).merge(&added);
    }

    /// Empties the cells; `terminals` resolves their numbers.
    pub fn take(&mut self, terminals: Vec<Arc<str>>) -> TakenTerminalHours {
        let cells = self.cells.take();
        TakenTerminalHours { cells, terminals }
    }

    /// What the cells hold now.
    pub(super) fn keep(&self) -> KeptTerminalHours {
        KeptTerminalHours(self.cells.keep())
    }
}

fn scalars(metric: &Metric, t_ms: i64, brought: Brought<'_>) -> Scalars {
    // The thresholds of a counter are about its rate, not about one amount.
    let [low, high] = match metric.kind {
        Kind::Counter => [None, None],
        Kind::Distribution | Kind::Level => metric.thresholds,
    };
    match brought {
        Brought::Value(value) => {
            let over = |limit: Option<u64>| u64::from(limit.is_some_and(|limit| value > limit));
            Scalars {
                count: 1,
                sum: value,
                min: value,
                max: value,
                last: value,
                last_ms: t_ms,
                over_low: over(low),
                over_high: over(high),
            }
        }
        Brought::Histogram(histogram) => {
            let over = |limit: Option<u64>| limit.map_or(0, |limit| count_over(histogram, limit));
            Scalars {
                count: histogram.counts.iter().sum(),
                sum: histogram.sum,
                min: histogram.min,
                max: histogram.max,
                // As for last values: the greatest, as of the beginning.
                last: histogram.max,
                last_ms: t_ms,
                over_low: over(low),
                over_high: over(high),
            }
        }
    }
}

/// Cells taken out at a seal.
#[derive(Debug)]
pub struct TakenTerminalHours {
    cells: Chunks<(HourKey, Scalars)>,
    /// Terminals by number.
    terminals: Vec<Arc<str>>,
}

impl TakenTerminalHours {
    /// The rows, in the order of their keys.
    #[must_use]
    pub fn into_rows(mut self, tables: &Tables) -> Vec<TerminalHour> {
        let mut cells = self.cells.take();
        // By number first: what has one name under two numbers is then merged as it came.
        cells.sort_unstable_by_key(|(key, _)| *key);
        let rows = cells.into_iter().filter_map(|cell| {
            resolve(cell, tables, |number| {
                self.terminals.get(number as usize).cloned()
            })
        });
        let mut rows: Vec<TerminalHour> = rows.collect();
        rows.sort_by(|left, right| left.key.cmp(&right.key));
        rows.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.scalars.merge(&later.scalars);
            }
            is_same
        });
        rows
    }
}

/// What cells held at one moment.
#[derive(Debug)]
pub(super) struct KeptTerminalHours(Chunks<(HourKey, Scalars)>);

impl KeptTerminalHours {
    /// Copies of one store's rows of real users since an hour (s); `id_of` resolves terminals' numbers.
    pub(super) fn rows(
        &self,
        tables: &Tables,
        (store, from_s): (u32, u32),
        id_of: impl Fn(u32) -> Option<Arc<str>>,
    ) -> impl Iterator<Item = TerminalHour> {
        let rum = Source::Rum.code();
        let is_asked_for = move |key: &HourKey| {
            key.store() == store && key.byte(0) == rum && key.hour() >= from_s / 3_600
        };
        let cells = self.0.iter().filter(move |(key, _)| is_asked_for(key));
        cells.filter_map(move |(key, scalars)| resolve((*key, *scalars), tables, &id_of))
    }
}

fn resolve(
    (key, scalars): (HourKey, Scalars),
    tables: &Tables,
    id_of: impl Fn(u32) -> Option<Arc<str>>,
) -> Option<TerminalHour> {
    let metric = tables.catalogue.by_code(key.metric())?;
    let name = |table: &[Arc<str>], index: u32| table.get(index as usize).cloned();
    let terminal_id = match key.terminal() {
        OVERFLOW_TERMINAL => Arc::from(OVERFLOW),
        terminal => id_of(terminal)?,
    };
    let key = TerminalHourKey {
        metric: metric.name,
        label: metric.label_value(key.byte(8)),
        store_id: name(&tables.stores, key.store())?,
        terminal_id,
        hour_start_s: key.hour() * 3_600,
        release: name(&tables.releases, key.part(32, 16))?,
        source: Source::of_code(key.byte(0)),
    };
    Some(TerminalHour { key, scalars })
}
