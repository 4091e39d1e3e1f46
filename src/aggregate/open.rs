//! Windows that are still filling: everything applied since the last seal.

use std::sync::Arc;

use tillwatch_model::time::{MINUTE_MS, window_start_ms};
use tillwatch_model::{
    Catalogue, Connection, HistogramReading, Kind, Reading, Rollup, RollupKey, Source, Summary,
};

use crate::aggregate::brought::{Arrival, Brought, Shared};
use crate::aggregate::cells::{Cells, Chunks};

/// What a window's numbers are, packed so that looking one up hashes one integer.
///
/// From the top: store 32 bits, minute 32, release 16, metric 16, label 8, span 8, connection 8,
/// source 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct WindowKey(u128);

impl WindowKey {
    fn new(shared: Shared, reading: &Reading, start_ms: i64, span_ms: i64) -> Self {
        // Accepted times are within days of now and spans at most an hour: both fit.
        let minute = u32::try_from(start_ms / MINUTE_MS).unwrap_or(0);
        let span = u8::try_from(span_ms / MINUTE_MS).unwrap_or(1);
        let packed = [
            (u128::from(shared.store), 32),
            (u128::from(minute), 32),
            (u128::from(shared.release & 0xffff), 16),
            (u128::from(reading.metric), 16),
            (u128::from(reading.label), 8),
            (u128::from(span), 8),
            (u128::from(reading.connection.code()), 8),
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

    #[expect(clippy::cast_possible_truncation, reason = "eight bits were taken out")]
    fn byte(self, below: u32) -> u8 {
        self.part(below, 8) as u8
    }

    fn store(self) -> u32 {
        self.part(96, 32)
    }

    fn minute(self) -> u32 {
        self.part(64, 32)
    }

    fn metric(self) -> u16 {
        u16::try_from(self.part(32, 16)).unwrap_or(0)
    }
}

/// Windows by their dimensions.
#[derive(Debug, Default)]
pub struct OpenWindows {
    cells: Cells<WindowKey, Summary>,
    /// Samples in the windows; a histogram weighs its counts.
    pub samples: u64,
    /// Buckets in the windows.
    buckets: usize,
}

/// Buckets that weigh as much as a row: a row takes about 300 bytes with twenty buckets.
const BUCKETS_A_ROW: usize = 20;

/// What resolves the numbers in keys.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The catalogue.
    pub catalogue: Arc<Catalogue>,
    /// Stores by number.
    pub stores: Vec<Arc<str>>,
    /// Releases by number.
    pub releases: Vec<Arc<str>>,
}

impl OpenWindows {
    /// How many rows a seal would write now; or as many as their buckets weigh, if that is more.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.cells.len().max(self.buckets / BUCKETS_A_ROW)
    }

    /// How many windows there are: each becomes a row.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds a reading at its corrected time.
    pub fn add(&mut self, arrival: &Arrival<'_>) {
        match arrival.brought {
            Brought::Value(value) => self.add_value(arrival, value),
            Brought::Histogram(histogram) => self.add_histogram(arrival, histogram),
        }
    }

    fn add_value(
        &mut self,
        &Arrival {
            shared,
            metric,
            reading,
            t_ms,
            ..
        }: &Arrival<'_>,
        value: u64,
    ) {
        let start_ms = window_start_ms(t_ms, MINUTE_MS);
        let cell = self.cell(WindowKey::new(shared, reading, start_ms, MINUTE_MS));
        cell.min = if cell.count == 0 {
            value
        } else {
            cell.min.min(value)
        };
        cell.max = cell.max.max(value);
        cell.count += 1;
        cell.sum = cell.sum.saturating_add(value);
        if metric.kind != Kind::Counter {
            let [low, high] = metric.thresholds;
            cell.over_low += u64::from(low.is_some_and(|limit| value > limit));
            cell.over_high += u64::from(high.is_some_and(|limit| value > limit));
            let before = cell.histogram.buckets_max();
            cell.histogram.record(value);
            let after = cell.histogram.buckets_max();
            // Sorting in can merge buckets: the number falls then.
            self.buckets = (self.buckets + after).saturating_sub(before);
        }
        self.samples += 1;
    }

    /// The window of a terminal's histogram is the one that holds its middle.
    fn add_histogram(
        &mut self,
        &Arrival {
            shared,
            metric,
            reading,
            t_ms,
            ..
        }: &Arrival<'_>,
        histogram: &HistogramReading,
    ) {
        let span_ms = histogram.span_ms;
        let start_ms = window_start_ms(t_ms.saturating_add(span_ms / 2), span_ms);
        let over = |limit: Option<u64>| limit.map_or(0, |limit| count_over(histogram, limit));
        let [low, high] = metric.thresholds;
        let mut added = Summary {
            count: histogram.counts.iter().sum(),
            sum: histogram.sum,
            min: histogram.min,
            max: histogram.max,
            over_low: over(low),
            over_high: over(high),
            ..Summary::default()
        };
        added.histogram.merge(&histogram.indices, &histogram.counts);
        self.samples += added.count;
        let cell = self.cell(WindowKey::new(shared, reading, start_ms, span_ms));
        let before = cell.histogram.buckets_max();
        cell.merge(&mut added);
        let after = cell.histogram.buckets_max();
        self.buckets = (self.buckets + after).saturating_sub(before);
    }

    fn cell(&mut self, key: WindowKey) -> &mut Summary {
        self.cells.at(key)
    }

    /// Empties the windows into rows, in no order yet.
    pub fn take(&mut self) -> Taken {
        self.samples = 0;
        self.buckets = 0;
        Taken(self.cells.take())
    }

    /// What the windows hold now.
    pub(super) fn keep(&self) -> KeptWindows {
        KeptWindows(self.cells.keep())
    }
}

/// How many values of a histogram are above a limit, a bucket counting by its highest value.
#[must_use]
pub fn count_over(histogram: &HistogramReading, limit: u64) -> u64 {
    let pairs = histogram.indices.iter().zip(&histogram.counts);
    pairs
        .filter(|(index, _)| tillwatch_model::histogram::bucket_highest(**index) > limit)
        .map(|(_, count)| *count)
        .sum()
}

/// Windows taken out at a seal.
#[derive(Debug)]
pub struct Taken(Chunks<(WindowKey, Summary)>);

impl Taken {
    /// The rows, in the order of their keys.
    #[must_use]
    pub fn into_rows(mut self, tables: &Tables) -> Vec<Rollup> {
        let cells = self.0.take();
        let mut rows: Vec<Rollup> = cells
            .into_iter()
            .filter_map(|(key, summary)| {
                let key = resolve(key, tables)?;
                Some(Rollup { key, summary })
            })
            .collect();
        rows.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        rows
    }
}

/// What windows held at one moment.
#[derive(Debug)]
pub(super) struct KeptWindows(Chunks<(WindowKey, Summary)>);

impl KeptWindows {
    /// Copies of the rows whose numbers `wants` asks for: metric code, store, start of the window (s).
    pub(super) fn rows(
        &self,
        tables: &Tables,
        wants: impl Fn(u16, u32, u32) -> bool,
    ) -> impl Iterator<Item = Rollup> {
        let cells = self.0.iter();
        cells
            .filter(move |(key, _)| wants(key.metric(), key.store(), key.minute() * 60))
            .filter_map(|(key, summary)| {
                Some(Rollup {
                    key: resolve(*key, tables)?,
                    summary: summary.clone(),
                })
            })
    }
}

fn resolve(key: WindowKey, tables: &Tables) -> Option<RollupKey> {
    let metric = tables.catalogue.by_code(key.metric())?;
    let name = |table: &[Arc<str>], index: u32| table.get(index as usize).cloned();
    Some(RollupKey {
        metric: metric.name,
        label: metric.label_value(key.byte(24)),
        store_id: name(&tables.stores, key.store())?,
        window_start_s: key.minute() * 60,
        release: name(&tables.releases, key.part(48, 16))?,
        connection: Connection::of_code(key.byte(8)),
        source: Source::of_code(key.byte(0)),
        span_s: u32::from(key.byte(16)) * 60,
    })
}
