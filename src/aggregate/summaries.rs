//! Reports that pages have made themselves, by metric and minute: everything since the last seal.

use std::sync::Arc;

use hashbrown::HashMap;
use tillwatch_model::metric::Metric;
use tillwatch_model::summary::{SummaryKey, SummaryReading, SummaryRow, SummarySums};
use tillwatch_model::time::MINUTE_MS;
use tillwatch_model::{BatchHeader, Catalogue, Connection, Source};

use crate::aggregate::brought::Shared;
use crate::aggregate::open::Tables;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    store: u32,
    metric: u16,
    /// Minutes since 1970.
    minute: u32,
    release: u32,
    connection: Connection,
    source: Source,
}

/// Reports by their keys.
#[derive(Debug, Clone, Default)]
pub struct OpenSummaries {
    rows: HashMap<Key, SummarySums, foldhash::fast::RandomState>,
}

impl OpenSummaries {
    /// Rows that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a batch's reports, and says how many rows they make that were not there.
    #[inline]
    pub fn add(
        &mut self,
        summaries: &[SummaryReading],
        header: &BatchHeader<'_>,
        shared: Shared,
    ) -> usize {
        if summaries.is_empty() {
            return 0;
        }
        self.add_all(summaries, header, shared)
    }

    #[cold]
    fn add_all(
        &mut self,
        summaries: &[SummaryReading],
        header: &BatchHeader<'_>,
        shared: Shared,
    ) -> usize {
        let before = self.rows.len();
        for summary in summaries {
            let t_ms = summary.t_raw_ms.saturating_add(header.applied_offset_ms);
            let key = Key {
                store: shared.store,
                metric: summary.metric,
                minute: u32::try_from(t_ms.div_euclid(MINUTE_MS)).unwrap_or(0),
                release: shared.release,
                connection: summary.connection,
                source: shared.source,
            };
            let sums = self.rows.entry(key).or_default();
            sums.merge(&SummarySums::of(summary));
        }
        self.rows.len() - before
    }

    /// Empties the reports.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The rows, in the order of their keys.
    #[must_use]
    pub fn into_rows(self, tables: &Tables) -> Vec<SummaryRow> {
        let mut open: Vec<_> = self.rows.into_iter().collect();
        // By number first: what has one name under two numbers is then merged as it came.
        open.sort_unstable_by_key(|(key, _)| *key);
        let rows = open.into_iter().filter_map(|row| resolve(row, tables));
        let mut rows: Vec<SummaryRow> = rows.collect();
        rows.sort_by(|left, right| left.key.cmp(&right.key));
        rows.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.sums.merge(&later.sums);
            }
            is_same
        });
        rows
    }
}

fn resolve((key, sums): (Key, SummarySums), tables: &Tables) -> Option<SummaryRow> {
    let name = |table: &[Arc<str>], index: u32| table.get(index as usize).cloned();
    let key = SummaryKey {
        store_id: name(&tables.stores, key.store)?,
        metric: metric_name(&tables.catalogue, key.metric),
        minute_s: key.minute * 60,
        release: name(&tables.releases, key.release)?,
        connection: key.connection,
        source: key.source,
    };
    Some(SummaryRow { key, sums })
}

/// The name of a metric; that of a later release has one name for all.
fn metric_name(catalogue: &Catalogue, code: u16) -> &'static str {
    catalogue.by_code(code).unwrap_or(&Metric::LATER).name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_one_minute_are_one_row_whatever_number_their_store_has() {
        let catalogue = Arc::new(Catalogue::default());
        let code = catalogue.named("sync_duration_ms").unwrap().code;
        let tables = Tables {
            catalogue,
            stores: vec!["a".into(), "b".into(), "a".into()],
            releases: vec!["1".into()],
        };
        let reading = |t_raw_ms, count| SummaryReading {
            metric: code,
            connection: Connection::Online,
            t_raw_ms,
            count,
            sum: 5.0,
            min: 1.0,
            max: 4.0,
            percentiles: [2.0, f64::NAN, 4.0],
        };
        let header = BatchHeader {
            received_at_ms: 0,
            offset_ms: 0,
            applied_offset_ms: 60_000,
            store_id: "a",
            terminal_id: "t",
            queue: [0; 16],
            seq: 0,
            is_keyed: true,
            browser: None,
            release: "1",
            source: Source::Rum,
            session: None,
        };
        let mut open = OpenSummaries::default();
        let mut add = |store, readings: &[SummaryReading]| {
            let shared = Shared {
                store,
                release: 0,
                source: Source::Rum,
            };
            open.add(readings, &header, shared)
        };
        assert_eq!(add(0, &[reading(0, 3), reading(59_999, 1)]), 1);
        assert_eq!(add(2, &[reading(30_000, 2)]), 1);
        assert_eq!(add(1, &[reading(60_000, 7), reading(0, 7)]), 2);
        assert_eq!(add(1, &[]), 0);
        let rows = open.into_rows(&tables);
        let said: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    &*row.key.store_id,
                    row.key.minute_s,
                    row.sums.count,
                    row.sums.reports.len(),
                )
            })
            .collect();
        assert_eq!(said, [("a", 60, 6, 3), ("b", 60, 7, 1), ("b", 120, 7, 1)]);
    }
}
