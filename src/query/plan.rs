//! Plans which hours of a request are read from the hourly rollups, and which by the minute.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tillwatch_model::StoreHour;
use tillwatch_model::hours::HOUR_S;

use crate::holdings::View;
use crate::query::request::PercentileRequest;

/// Rows of minutes that must be saved for the hourly rollups to be read too: a second table costs about
/// ten milliseconds, in which ClickHouse merges this many rows.
const ROWS_SAVED_MIN: usize = 5_000;
/// Rows of a metric and a store that an hour saves: one instead of sixty.
const ROWS_SAVED_AN_HOUR: usize = 59;
/// Dirty hours of single stores in a statement; past it hours are read by the minute for all stores.
const PAIRS_MAX: usize = 2_000;

/// What is read from where.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The hours (since 1970) that the range holds whole, if the hourly rollups are read at all.
    pub hours: Option<Range<u32>>,
    /// Times (s) that are read by the minute for every store: the edges of the range, and hours that are
    /// dirty for most stores. Ascending, apart from each other.
    pub minutes: Vec<Range<u32>>,
    /// Hours of single stores that are read by the minute, ascending.
    pub pairs: Vec<StoreHour>,
}

impl Plan {
    /// Reads everything by the minute, but for hours whose minutes were given up.
    #[must_use]
    pub fn by_minute(request: &PercentileRequest, view: &View) -> Self {
        let hours = whole_hours(request);
        let given_up = hours.start..hours.end.min(view.minutes_from_hour);
        if !request.has_whole_hours() || given_up.is_empty() {
            return Self::default();
        }
        Self {
            minutes: ranges(request, &given_up, &BTreeSet::new()),
            pairs: Vec::new(),
            hours: Some(given_up),
        }
    }

    /// Reads by the hour what the view says is clean and has not begun to be summed up anew since, if that
    /// saves enough rows, and hours whose minutes were given up.
    #[must_use]
    pub fn new(request: &PercentileRequest, view: &View, rebuilt: &[Arc<[StoreHour]>]) -> Self {
        let hours = whole_hours(request);
        if !request.has_whole_hours() || hours.is_empty() {
            return Self::default();
        }
        let wants = |store_id: &str| request.wants_store(store_id);
        let mut pairs: BTreeMap<u32, BTreeSet<Arc<str>>> = BTreeMap::new();
        for pair in rebuilt.iter().flat_map(|batch| batch.iter()) {
            let has_minutes = pair.hour >= view.minutes_from_hour;
            if has_minutes && hours.contains(&pair.hour) && wants(&pair.store_id) {
                let stores = pairs.entry(pair.hour).or_default();
                stores.insert(Arc::clone(&pair.store_id));
            }
        }
        let stores = if request.store_id.is_some() {
            1
        } else {
            view.stores.max(1)
        };
        let mut by_minute: BTreeSet<u32> = BTreeSet::new();
        for hour in hours.start.max(view.minutes_from_hour)..hours.end {
            if view.dirty.is_unchecked(hour) {
                by_minute.insert(hour);
                continue;
            }
            let mut dirty = view
                .dirty
                .stores_of(hour)
                .filter(|name| wants(name))
                .peekable();
            if dirty.peek().is_some() {
                pairs.entry(hour).or_default().extend(dirty.cloned());
            }
        }
        pairs.retain(|hour, of_hour| {
            if of_hour.len() * 2 >= stores {
                by_minute.insert(*hour);
            }
            !by_minute.contains(hour)
        });
        // The hours with the most stores first: few of them hold most pairs.
        let mut fullest: Vec<(usize, u32)> = pairs
            .iter()
            .map(|(hour, of_hour)| (of_hour.len(), *hour))
            .collect();
        fullest.sort_unstable();
        let mut count: usize = fullest.iter().map(|(stores, _)| stores).sum();
        while count > PAIRS_MAX
            && let Some((stores, hour)) = fullest.pop()
        {
            count -= stores;
            pairs.remove(&hour);
            by_minute.insert(hour);
        }
        let saved = (hours.len() - by_minute.len()) * stores - count;
        if saved * ROWS_SAVED_AN_HOUR < ROWS_SAVED_MIN {
            return Self::by_minute(request, view);
        }
        let of_hour = |(hour, names): (u32, BTreeSet<Arc<str>>)| {
            names
                .into_iter()
                .map(move |store_id| StoreHour { hour, store_id })
        };
        Self {
            minutes: ranges(request, &hours, &by_minute),
            pairs: pairs.into_iter().flat_map(of_hour).collect(),
            hours: Some(hours),
        }
    }

    /// Reads whole hours by the hour, clean or not: for names, of which no number depends.
    #[must_use]
    pub fn of_names(request: &PercentileRequest) -> Self {
        let hours = whole_hours(request);
        if hours.is_empty() {
            return Self::default();
        }
        Self {
            minutes: ranges(request, &hours, &BTreeSet::new()),
            pairs: Vec::new(),
            hours: Some(hours),
        }
    }

    /// Whether any of these hours was read from the hourly rollups.
    #[must_use]
    pub fn reads_any(&self, request: &PercentileRequest, rebuilt: &[Arc<[StoreHour]>]) -> bool {
        let Some(hours) = &self.hours else {
            return false;
        };
        let is_read = |pair: &StoreHour| {
            let at_s = pair.hour * HOUR_S;
            hours.contains(&pair.hour)
                && request.wants_store(&pair.store_id)
                && !self.minutes.iter().any(|range| range.contains(&at_s))
                && self.pairs.binary_search(pair).is_err()
        };
        rebuilt.iter().flat_map(|batch| batch.iter()).any(is_read)
    }
}

/// The hours that lie in the range as a whole.
fn whole_hours(request: &PercentileRequest) -> Range<u32> {
    request.from_s().div_ceil(HOUR_S)..request.to_s() / HOUR_S
}

/// The times to be read by the minute, neighbours joined.
fn ranges(
    request: &PercentileRequest,
    hours: &Range<u32>,
    by_minute: &BTreeSet<u32>,
) -> Vec<Range<u32>> {
    let first = request.from_s()..hours.start * HOUR_S;
    let last = hours.end * HOUR_S..request.to_s();
    let middle = by_minute
        .iter()
        .map(|hour| hour * HOUR_S..(hour + 1) * HOUR_S);
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in std::iter::once(first).chain(middle).chain([last]) {
        match joined.last_mut() {
            _ if range.is_empty() => {}
            Some(before) if before.end == range.start => before.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}
