//! Reads the `RowBinary` of `summary_1m` and `loss`.

use std::sync::Arc;

use tillwatch_model::metric::Metric;
use tillwatch_model::summary::{Percentiles, SummaryKey, SummaryRow, SummarySums};
use tillwatch_model::{Catalogue, Connection, LossRow, LossState, Source};

use crate::persist::rows::{Reader, words};
use crate::persist::side_tables::{SideTable, WORDS_A_REPORT, raw_rows};

/// Reads the summaries that `wants` asks for (metric, store, start of the minute), of metrics that this release knows.
/// `None` at the first byte that is not as they are written.
pub fn decode_summaries(
    bytes: &[u8],
    catalogue: &Catalogue,
    wants: impl Fn(&str, &str, u32) -> bool,
) -> Option<Vec<SummaryRow>> {
    let mut rows = Vec::new();
    for row in raw_rows(SideTable::Summary, bytes) {
        let row = row?;
        let mut names = Reader(row.names);
        let mut text = || names.text();
        let (metric, store_id, release) = (text()?, text()?, text()?);
        let (connection, source) = (text()?, text()?);
        if !wants(metric, store_id, row.time_s) {
            continue;
        }
        let mut numbers = words(row.numbers);
        let (list, _) = row.list.as_chunks::<{ 8 * WORDS_A_REPORT }>();
        let report = |bytes: &[u8; 8 * WORDS_A_REPORT]| {
            let mut words = words(bytes);
            let count = words.next()?;
            let mut value = || words.next().map(f64::from_bits);
            Some(Percentiles {
                count,
                values: [value()?, value()?, value()?],
            })
        };
        rows.push(SummaryRow {
            key: SummaryKey {
                store_id: Arc::from(store_id),
                metric: catalogue.named(metric).unwrap_or(&Metric::LATER).name,
                minute_s: row.time_s,
                release: Arc::from(release),
                connection: Connection::of_name(connection),
                source: Source::of_name(source),
            },
            sums: SummarySums {
                count: numbers.next()?,
                sum: f64::from_bits(numbers.next()?),
                min: f64::from_bits(numbers.next()?),
                max: f64::from_bits(numbers.next()?),
                reports: list.iter().map(report).collect::<Option<_>>()?,
            },
        });
    }
    Some(rows)
}

/// Reads the rows of the ledger of losses that `wants` asks for (store, when it ended in Unix seconds). `None` at the
/// first byte that is not as they are written.
pub fn decode_losses(bytes: &[u8], wants: impl Fn(&str, u32) -> bool) -> Option<Vec<LossRow>> {
    let mut rows = Vec::new();
    for row in raw_rows(SideTable::Loss, bytes) {
        let row = row?;
        let mut names = Reader(row.names);
        let mut text = || names.text();
        let (store_id, terminal_id, queue) = (text()?, text()?, text()?);
        let (state, reason) = (text()?, text()?);
        if !wants(store_id, row.time_s) {
            continue;
        }
        let mut numbers = words(row.numbers);
        rows.push(LossRow {
            store_id: store_id.into(),
            terminal_id: terminal_id.into(),
            queue: uuid::Uuid::try_parse(queue).ok()?.into_bytes(),
            state: LossState::of_name(state),
            reason: reason.into(),
            from: numbers.next()?,
            to: numbers.next()?,
            batches: numbers.next()?,
            samples: numbers.next()?,
            opened_at_ms: numbers.next()?.cast_signed(),
            ended_at_s: row.time_s,
        });
    }
    Some(rows)
}
