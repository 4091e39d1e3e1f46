//! Reads what is not at rest yet: rows in the open windows, in the epoch being sealed and in the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use tillwatch_model::{Catalogue, Rollup, SparseHistogram, Summary};

use crate::aggregate::kept::OpenRollups;
use crate::holdings::View;
use crate::persist::{StateError, rows};
use crate::query::at_rest::PointKey;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::request::{GroupBy, PercentileRequest};
use crate::query::statement;

/// What is not at rest, by point.
pub(super) type Elsewhere = BTreeMap<PointKey, Summary>;

/// So many pairs of a point are gathered before they are sorted and added up the first time.
const PAIRS_MIN: usize = 1_024;

/// Rows of one point. Their buckets are sorted some at a time: adding each row to all that came before would take a
/// look at every bucket of these, ten thousand times over for a range with ten thousand rows.
#[derive(Debug, Default)]
struct Gathered {
    /// All but the buckets.
    sums: Summary,
    /// Buckets and counts, in no order and perhaps more than once.
    pairs: Vec<(u32, u64)>,
    /// How many there were when they were last added up.
    added_up: usize,
}

impl Gathered {
    fn add(&mut self, mut summary: Summary) {
        let histogram = std::mem::take(&mut summary.histogram);
        self.pairs.extend(histogram.pairs());
        self.sums.merge(&mut summary);
        if self.pairs.len() > PAIRS_MIN.max(2 * self.added_up) {
            self.add_up();
        }
    }

    fn add_up(&mut self) {
        self.pairs.sort_unstable_by_key(|(index, _)| *index);
        self.pairs.dedup_by(|(later, count), (index, sum)| {
            let is_same = later == index;
            if is_same {
                *sum = sum.saturating_add(*count);
            }
            is_same
        });
        self.added_up = self.pairs.len();
    }

    fn into_summary(mut self) -> Summary {
        self.add_up();
        let (indices, counts) = self.pairs.into_iter().unzip();
        let histogram = SparseHistogram::from_parts(indices, counts);
        Summary {
            histogram,
            ..self.sums
        }
    }
}

/// Rows of each point.
type Points = BTreeMap<PointKey, Gathered>;

/// What is in the open windows, in the epoch being sealed and in the outbox, by point.
pub(super) async fn rows_elsewhere(
    sources: &Sources,
    request: &PercentileRequest,
    open: OpenRollups,
    view: &View,
) -> Result<Elsewhere, QueryError> {
    let asked = Arc::new(request.clone());
    let (request, catalogue) = (Arc::clone(&asked), Arc::clone(&sources.catalogue));
    let sealing = view.sealing.clone();
    let add_open = move || {
        let mut points = Points::new();
        add_rows(&mut points, open.rows(), &request);
        if let Some(sealing) = &sealing {
            let rows = decode(sealing.row_bytes(), &catalogue, &request)?;
            add_rows(&mut points, rows, &request);
        }
        Ok::<_, StateError>(points)
    };
    let mut points = sources.jobs.run(add_open).await?;
    let days = rows::day_of_s(asked.from_s())..=rows::day_of_s(asked.to_s());
    for info in view.waiting() {
        if info.days.range(days.clone()).next().is_none() {
            continue;
        }
        let (info, state) = (Arc::clone(info), Arc::clone(&sources.state));
        let (request, catalogue) = (Arc::clone(&asked), Arc::clone(&sources.catalogue));
        let add_waiting = move || {
            let bytes = state.waiting_rows(&info, None)?.unwrap_or_default();
            let rows = decode(&bytes, &catalogue, &request)?;
            add_rows(&mut points, rows, &request);
            Ok::<_, StateError>(points)
        };
        points = sources.jobs.run(add_waiting).await?;
    }
    let summaries = points.into_iter();
    let sum = move || {
        summaries
            .map(|(key, rows)| (key, rows.into_summary()))
            .collect()
    };
    Ok(sources.jobs.run(sum).await)
}

fn add_rows(
    points: &mut Points,
    rows: impl IntoIterator<Item = Rollup>,
    request: &PercentileRequest,
) {
    for row in rows {
        if !is_asked_for(&row, request) {
            continue;
        }
        let group = match request.group_by {
            GroupBy::Nothing => "",
            GroupBy::Store => &row.key.store_id,
            GroupBy::Release => &row.key.release,
            GroupBy::Connection => row.key.connection.name(),
            GroupBy::Label => row.key.label,
        };
        let key = (group.to_owned(), request.point_of(row.key.window_start_s));
        points.entry(key).or_default().add(row.summary);
    }
}

fn decode(
    bytes: &[u8],
    catalogue: &Catalogue,
    request: &PercentileRequest,
) -> Result<Vec<Rollup>, StateError> {
    let range = request.from_s()..request.to_s();
    let store_id = request.store_id.as_deref();
    rows::decode(bytes, catalogue, |metric, store, start_s| {
        metric == request.metric.name
            && range.contains(&start_s)
            && store_id.is_none_or(|wanted| wanted == store)
    })
    .ok_or(StateError::Damaged("outbox row"))
}

fn is_asked_for(row: &Rollup, request: &PercentileRequest) -> bool {
    let values = [
        &*row.key.store_id,
        &*row.key.release,
        row.key.connection.name(),
        row.key.label,
        row.key.source.name(),
    ];
    let filters = statement::filters_of(request);
    filters
        .iter()
        .zip(values)
        .all(|((_, wanted), value)| wanted.is_none_or(|wanted| wanted == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_gathered_come_to_what_merging_them_gives() {
        let mut merged = Summary::default();
        let mut gathered = Gathered::default();
        for row in 0..20_000_u64 {
            let mut summary = Summary {
                count: 3,
                sum: row,
                min: row % 7,
                max: row,
                over_low: 1,
                over_high: row % 2,
                ..Summary::default()
            };
            for value in [row % 500, row * 31 % 1_000, 5] {
                summary.histogram.record(value);
            }
            gathered.add(summary.clone());
            merged.merge(&mut summary);
        }
        // Far fewer than were added: it is not the rows that take memory.
        assert!(gathered.pairs.len() < 3_000, "{}", gathered.pairs.len());
        let mut gathered = gathered.into_summary();
        assert_eq!(gathered.histogram.parts(), merged.histogram.parts());
        let mut sums = [gathered, merged];
        for summary in &mut sums {
            summary.histogram = SparseHistogram::default();
        }
        assert_eq!(sums[0], sums[1]);
    }
}
