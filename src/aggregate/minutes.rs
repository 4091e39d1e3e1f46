//! The last minutes of every metric in every store: what window gauges read.
//!
//! No sealed row depends on these minutes, and a restart does not keep them. Three limits bound their
//! memory: minutes that no gauge can read any more are dropped; a histogram with many buckets merges
//! neighbours; and past the budget the store that takes most loses its oldest minutes.

use hashbrown::HashMap;
use tillwatch_model::SparseHistogram;
use tillwatch_model::histogram::bucket_index;
use tillwatch_model::time::{MINUTE_MS, window_start_ms};

use crate::aggregate::brought::Brought;

/// A window gauge reads the event-time minutes in (now − 6 min, now − 1 min].
pub const WINDOW_MINUTES: i64 = 5;
/// Minutes kept as of a record's arrival: the six a gauge looks back, and two for a clock that is set back.
const KEPT: i64 = 8;
/// Minutes ahead of a record's arrival that are kept: the five a sample may be ahead, and three for a
/// record that was longer on its way than those before it. Later ones are from a clock that was wrong.
const AHEAD: i64 = 8;
/// Buckets of a histogram; with more, neighbours merge. In 1,024 buckets a spread of 1 to 256 is still told
/// apart to two digits (0.8 %), and any spread up to a week in µs to 3.2 %.
const BUCKETS_MAX: usize = 1_024;
/// What a histogram takes beside its buckets, about. Unit: bytes.
const CELL_BYTES: usize = 128;
/// What a bucket takes, with the room that its lists have for more. Unit: bytes.
const BUCKET_BYTES: usize = 16;

/// A store by its number, and a metric by its place among the histograms of a store.
pub type Series = (u32, u16);

/// One minute of one metric in one store.
#[derive(Debug, Default)]
struct Cell {
    histogram: SparseHistogram,
    /// 2 to the power of this: so many neighbouring buckets are one here.
    shift: u32,
}

impl Cell {
    fn add(&mut self, brought: Brought<'_>) {
        match brought {
            Brought::Value(value) => {
                let index = bucket_index(value) >> self.shift;
                self.histogram.record_bucket(index);
            }
            Brought::Histogram(reading) if self.shift == 0 => {
                self.histogram.merge(&reading.indices, &reading.counts);
            }
            Brought::Histogram(reading) => {
                let pairs = reading.indices.iter().copied().zip(&reading.counts);
                let (indices, counts) = merged(pairs, self.shift);
                self.histogram.merge(&indices, &counts);
            }
        }
        if self.histogram.buckets_sorted() > BUCKETS_MAX {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let (mut indices, mut counts) = std::mem::take(&mut self.histogram).into_parts();
        while indices.len() > BUCKETS_MAX {
            self.shift += 1;
            (indices, counts) = merged(indices.into_iter().zip(&counts), 1);
        }
        indices.shrink_to_fit();
        counts.shrink_to_fit();
        self.histogram = SparseHistogram::from_parts(indices, counts);
    }

    fn bytes(&self) -> usize {
        CELL_BYTES + BUCKET_BYTES * self.histogram.buckets_max()
    }

    /// The cell's counts, each by the finest bucket that its own is read as; in no order.
    fn pairs(&self) -> impl Iterator<Item = (u32, u64)> {
        let pairs = self.histogram.pairs();
        pairs.map(|(index, count)| (((index + 1) << self.shift) - 1, count))
    }
}

/// Ascending pairs with 2 to the power of `shift` neighbours in one.
fn merged<'c>(pairs: impl Iterator<Item = (u32, &'c u64)>, shift: u32) -> (Vec<u32>, Vec<u64>) {
    let (mut indices, mut counts) = (Vec::<u32>::new(), Vec::<u64>::new());
    for (index, count) in pairs {
        let index = index >> shift;
        match (indices.last(), counts.last_mut()) {
            (Some(last), Some(sum)) if *last == index => *sum = sum.saturating_add(*count),
            _ => {
                indices.push(index);
                counts.push(*count);
            }
        }
    }
    (indices, counts)
}

/// One minute of event time.
#[derive(Debug)]
struct Minute {
    /// Minutes since 1970.
    number: i64,
    cells: HashMap<Series, Cell, foldhash::fast::RandomState>,
}

/// How much is kept for window gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory, about. Unit: bytes.
    pub bytes: usize,
    /// The most it may be. Unit: bytes.
    pub bytes_max: usize,
    /// Minutes of a metric in a store that were given up for the budget since the start.
    pub given_up: u64,
}

/// Histograms by minute of event time, the latest ones.
#[derive(Debug)]
pub struct RecentMinutes {
    /// Metrics that have window gauges.
    places: u16,
    /// Ascending; a handful.
    minutes: Vec<Minute>,
    /// The minute in which the last record was received.
    received: i64,
    usage: Usage,
    /// Bytes by number of store.
    by_store: Vec<usize>,
}

impl RecentMinutes {
    /// No minute yet, of so many metrics a store.
    #[must_use]
    pub fn new(places: usize, bytes_max: usize) -> Self {
        Self {
            places: u16::try_from(places).unwrap_or(u16::MAX),
            minutes: Vec::new(),
            received: 0,
            usage: Usage {
                bytes_max,
                ..Usage::default()
            },
            by_store: Vec::new(),
        }
    }

    /// A record was received: minutes that no gauge can read any more go, and those that only a clock
    /// which was wrong can have brought.
    pub fn receive(&mut self, received_at_ms: i64) {
        let received = minute_of(received_at_ms);
        if received != self.received {
            self.received = received;
            self.keep(received - KEPT, received + AHEAD);
        }
    }

    /// Lets go of minutes that no gauge can read at `now_ms`, also when no record comes.
    pub fn forget(&mut self, now_ms: i64) {
        self.keep(minute_of(now_ms) - KEPT, i64::MAX);
    }

    /// Lets go of a store's minutes: its number may be another's.
    pub fn forget_store(&mut self, store: u32) {
        let places = self.places;
        for minute in &mut self.minutes {
            let cells = (0..places).filter_map(|place| minute.cells.remove(&(store, place)));
            let bytes: usize = cells.map(|cell| cell.bytes()).sum();
            self.usage.bytes -= bytes;
            if let Some(of_store) = self.by_store.get_mut(store as usize) {
                *of_store -= bytes;
            }
        }
    }

    fn keep(&mut self, above: i64, to: i64) {
        let Self {
            minutes,
            usage,
            by_store,
            ..
        } = self;
        minutes.retain(|minute| {
            let is_kept = above < minute.number && minute.number <= to;
            if !is_kept {
                for ((store, _), cell) in &minute.cells {
                    usage.bytes -= cell.bytes();
                    by_store[*store as usize] -= cell.bytes();
                }
            }
            is_kept
        });
    }

    /// Adds a reading at its corrected time, if that is recent as of the last record received.
    pub fn add(&mut self, series: Series, t_ms: i64, brought: Brought<'_>) {
        let span_ms = brought.span_ms();
        if span_ms > MINUTE_MS {
            // Spread over more minutes than a window gauge reads; it says nothing of one of them.
            return;
        }
        let number = minute_of(t_ms.saturating_add(span_ms / 2));
        if number <= self.received - KEPT || number > self.received + AHEAD {
            return;
        }
        let at = match self
            .minutes
            .iter()
            .rposition(|minute| minute.number <= number)
        {
            Some(at) if self.minutes[at].number == number => at,
            below => {
                let at = below.map_or(0, |below| below + 1);
                let cells = HashMap::default();
                self.minutes.insert(at, Minute { number, cells });
                at
            }
        };
        let (before, after) = match self.minutes[at].cells.entry(series) {
            hashbrown::hash_map::Entry::Occupied(mut known) => {
                let before = known.get().bytes();
                known.get_mut().add(brought);
                (before, known.get().bytes())
            }
            hashbrown::hash_map::Entry::Vacant(free) => {
                let cell = free.insert(Cell::default());
                cell.add(brought);
                (0, cell.bytes())
            }
        };
        let store = series.0 as usize;
        if self.by_store.len() <= store {
            self.by_store.resize(store + 1, 0);
        }
        // Sorting in can merge buckets: the number falls then.
        self.by_store[store] = self.by_store[store] + after - before;
        self.usage.bytes = self.usage.bytes + after - before;
        while self.usage.bytes > self.usage.bytes_max && self.give_up() {}
    }

    /// Takes from the store that has most half of it, the oldest minutes first: what one store brings must
    /// not cost the others their gauges. Says whether there was anything to take.
    fn give_up(&mut self) -> bool {
        let heaviest = (0_u32..)
            .zip(&self.by_store)
            .max_by_key(|(_, bytes)| **bytes);
        let Some((store, bytes)) = heaviest.map(|(store, bytes)| (store, *bytes)) else {
            return false;
        };
        let mut left = bytes;
        let cells = self.minutes.iter_mut().flat_map(|minute| {
            let places = 0..self.places;
            places.filter_map(|place| minute.cells.remove(&(store, place)))
        });
        for cell in cells {
            left -= cell.bytes();
            self.usage.given_up += 1;
            if left <= bytes / 2 {
                break;
            }
        }
        self.usage.bytes -= bytes - left;
        self.by_store[store as usize] = left;
        left < bytes
    }

    /// How much is kept.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Copies one of the minutes that gauges read at `now_ms`, the first being 0; says whether others follow. They are
    /// merged later, where nobody waits.
    pub fn copy(&self, now_ms: i64, at: i64, copies: &mut RecentCopies) -> bool {
        let number = minute_of(now_ms) - WINDOW_MINUTES + at;
        let minute = self.minutes.iter().find(|minute| minute.number == number);
        for (series, cell) in minute.into_iter().flat_map(|minute| &minute.cells) {
            let from = copies.pairs.len();
            copies.pairs.extend(cell.pairs());
            copies.cells.push((*series, from, copies.pairs.len()));
        }
        at + 1 < WINDOW_MINUTES
    }

    /// Copies what one store measured in the minute of `now_ms` and the [`WINDOW_MINUTES`] before it.
    pub fn copy_store(&self, store: u32, now_ms: i64, copies: &mut RecentCopies) {
        let now = minute_of(now_ms);
        let minutes = self.minutes.iter();
        for minute in minutes.filter(|minute| (now - WINDOW_MINUTES..=now).contains(&minute.number))
        {
            for place in 0..self.places {
                if let Some(cell) = minute.cells.get(&(store, place)) {
                    let from = copies.pairs.len();
                    copies.pairs.extend(cell.pairs());
                    copies
                        .cells
                        .push(((store, place), from, copies.pairs.len()));
                }
            }
        }
    }

    /// What a store measured of one metric in the minute of `t_ms`: buckets and counts in no order.
    pub fn minute_of_store(&self, series: Series, t_ms: i64) -> Vec<(u32, u64)> {
        let number = minute_of(t_ms);
        let minute = self.minutes.iter().find(|minute| minute.number == number);
        let cell = minute.and_then(|minute| minute.cells.get(&series));
        cell.map_or_else(Vec::new, |cell| cell.pairs().collect())
    }
}

fn minute_of(t_ms: i64) -> i64 {
    window_start_ms(t_ms, MINUTE_MS) / MINUTE_MS
}

/// The minutes that window gauges read, as they were copied.
#[derive(Debug, Clone, Default)]
pub struct RecentCopies {
    pairs: Vec<(u32, u64)>,
    /// Where the pairs of each minute of a series begin and end.
    cells: Vec<(Series, usize, usize)>,
}

impl RecentCopies {
    /// Calls `each` with every series that has values, and their ascending buckets and counts.
    pub fn merge(mut self, mut each: impl FnMut(Series, &[u32], &[u64])) {
        self.cells.sort_unstable_by_key(|(series, ..)| *series);
        let mut pairs = Vec::new();
        for cells in self.cells.chunk_by(|(left, ..), (right, ..)| left == right) {
            pairs.clear();
            for (_, from, to) in cells {
                pairs.extend_from_slice(self.pairs.get(*from..*to).unwrap_or_default());
            }
            pairs.sort_unstable();
            let ascending = pairs.iter().map(|(index, count)| (*index, count));
            let (indices, counts) = merged(ascending, 0);
            if let Some((series, ..)) = cells.first() {
                each(*series, &indices, &counts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use tillwatch_model::histogram::{bucket_highest, values_at};
    use tillwatch_model::{HistogramReading, Quantile};

    use super::*;

    const BASE_MS: i64 = 1_795_255_200_000;
    const MIB: usize = 1024 * 1024;

    /// A minute's histogram of these ascending buckets, one value in each.
    fn reading(indices: impl Iterator<Item = u32>) -> HistogramReading {
        let indices: Vec<u32> = indices.collect();
        HistogramReading {
            span_ms: MINUTE_MS,
            counts: vec![1; indices.len()],
            sum: 0,
            min: 0,
            max: 0,
            indices,
        }
    }

    /// Samples and median of every series at a time.
    fn read_all(recent: &RecentMinutes, now_ms: i64) -> HashMap<Series, (u64, u64)> {
        let mut found = HashMap::new();
        let mut copies = RecentCopies::default();
        (0..).find(|at| !recent.copy(now_ms, *at, &mut copies));
        copies.merge(|series, indices, counts| {
            assert!(indices.is_sorted());
            let median = values_at(indices, counts, &[Quantile::parse("0.5").unwrap()]);
            found.insert(series, (counts.iter().sum(), median.unwrap()[0]));
        });
        found
    }

    /// The minutes of one series.
    fn read(recent: &RecentMinutes, series: Series, now_ms: i64) -> Option<(u64, u64)> {
        read_all(recent, now_ms).get(&series).copied()
    }

    fn bytes_are_right(recent: &RecentMinutes) {
        let mut by_store = vec![0; recent.by_store.len()];
        for minute in &recent.minutes {
            for ((store, _), cell) in &minute.cells {
                by_store[*store as usize] += cell.bytes();
            }
        }
        assert_eq!(recent.usage.bytes, by_store.iter().sum::<usize>());
        assert_eq!(recent.by_store, by_store);
    }

    #[test]
    fn a_minute_goes_when_no_gauge_can_read_it_whoever_posts_or_nobody() {
        let mut recent = RecentMinutes::new(2, MIB);
        let at = |minute: i64| BASE_MS + minute * MINUTE_MS;
        for minute in 0..3 {
            recent.receive(at(minute));
            recent.add((1, 0), at(minute), Brought::Value(5));
        }
        assert_eq!(read(&recent, (1, 0), at(3)), Some((3, 5)));
        // Another store posts, and nothing that has a gauge.
        recent.receive(at(9));
        bytes_are_right(&recent);
        assert_eq!(recent.minutes.len(), 1);
        assert_eq!(recent.minutes[0].number, at(2) / MINUTE_MS);
        // Nobody posts.
        recent.forget(at(10));
        assert_eq!(recent.usage().bytes, 0);
        // What a clock that was ahead has brought goes with the first record after it was set right.
        recent.receive(at(200));
        recent.add((1, 0), at(200), Brought::Value(5));
        recent.receive(at(10));
        recent.add((1, 0), at(9), Brought::Value(7));
        recent.add((1, 0), at(200), Brought::Value(7));
        assert_eq!(read(&recent, (1, 0), at(10)), Some((1, 7)));
        assert_eq!(recent.minutes.len(), 1);
        bytes_are_right(&recent);
    }

    #[test]
    fn the_store_that_takes_most_gives_up_and_the_others_keep_their_gauges() {
        let mut recent = RecentMinutes::new(7, 4 * MIB);
        recent.receive(BASE_MS);
        for store in 0..1_000 {
            for value in 0..20 {
                recent.add(
                    (store, 3),
                    BASE_MS - MINUTE_MS,
                    Brought::Value(value * 1_000),
                );
            }
        }
        assert_eq!(recent.usage().given_up, 0);
        // One store, all its metrics and minutes, buckets over the whole range, again and again.
        let heavy = reading((0..4_096).map(|number| number * 7 + 1));
        for round in 0..60_u32 {
            for place in 0..7 {
                let t_ms = BASE_MS - (i64::from(round % 13) - 6) * MINUTE_MS;
                recent.add((1_000 + round % 3, place), t_ms, Brought::Histogram(&heavy));
                assert!(recent.usage().bytes <= 4 * MIB);
            }
        }
        bytes_are_right(&recent);
        assert!(recent.usage().given_up > 0);
        let found = read_all(&recent, BASE_MS);
        for store in 0..1_000 {
            assert_eq!(found[&(store, 3)].0, 20, "{store}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Exactly as everywhere else while there are few buckets; with many, too high by what is promised.
        #[test]
        fn a_gauge_is_as_exact_as_it_is_said(
            octaves in 1_u32..29, low in 11_u32..12, in_one_go: bool, seed: u64,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut recent = RecentMinutes::new(1, MIB);
            recent.receive(BASE_MS);
            let mut values: Vec<u64> = (0..6_000)
                .map(|_| {
                    let octave = low + random.u32(0..octaves);
                    random.u64((1 << octave)..(2 << octave))
                })
                .collect();
            let mut indices: Vec<u32> = values.iter().map(|value| bucket_index(*value)).collect();
            if in_one_go {
                indices.sort_unstable();
                indices.dedup();
                values = indices.iter().map(|index| bucket_highest(*index)).collect();
                recent.add((0, 0), BASE_MS - MINUTE_MS, Brought::Histogram(&reading(indices.into_iter())));
            } else {
                for value in &values {
                    recent.add((0, 0), BASE_MS - MINUTE_MS, Brought::Value(*value));
                }
            }
            values.sort_unstable();
            let exact = values[(values.len() - 1) / 2];
            let (samples, median) = read(&recent, (0, 0), BASE_MS).unwrap();
            prop_assert_eq!(samples, values.len() as u64);
            let error = if octaves == 1 { 0.001 } else if octaves <= 8 { 0.008 } else { 0.032 };
            let ratio = median as f64 / exact as f64;
            prop_assert!((1.0..=1.0 + error).contains(&ratio), "{octaves} octaves: {}", ratio);
            prop_assert!(recent.minutes[0].cells[&(0, 0)].bytes() <= CELL_BYTES + 2 * BUCKETS_MAX * BUCKET_BYTES);
        }
    }
}
