//! The comparison with the ledger, as a table for people.

use std::fmt;

use crate::compare::{Comparison, Row};
use crate::report::grouped;

/// Writes the table, the notes and the sums.
pub fn write_comparison(
    formatter: &mut fmt::Formatter<'_>,
    comparison: &Comparison,
) -> fmt::Result {
    writeln!(formatter)?;
    writeln!(
        formatter,
        "{:<28} {:>10} {:>10}  {:<33} {:<33} {:>8}",
        "metric", "sent", "found", "exact p50 / p95 / p99", "stored p50 / p95 / p99", "worst"
    )?;
    for row in &comparison.rows {
        let line = format!(
            "{:<28} {:>10} {:>10}  {:<33} {:<33} {:>8}",
            format!("{} ({})", row.metric, row.unit),
            grouped(row.sent),
            grouped(row.found),
            three(row, &row.exact),
            three(row, &row.stored),
            row.worst_relative_error.map_or_else(String::new, percent),
        );
        writeln!(formatter, "{}", line.trim_end())?;
    }
    writeln!(formatter)?;
    for note in &comparison.notes {
        writeln!(formatter, "note: {note}")?;
    }
    if comparison.stores_compared > 0 {
        let stores = comparison.stores_compared;
        writeln!(
            formatter,
            "The worst error is over the fleet and each of {stores} stores."
        )?;
    }
    writeln!(formatter, "{comparison}")
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.worst_relative_error.map_or_else(
            || "percentiles not compared".to_owned(),
            |error| format!("worst relative error {}", percent(error)),
        );
        write!(
            formatter,
            "found again: {} of {} samples; lost {}, doubled {}; {worst}",
            grouped(self.found),
            grouped(self.sent),
            grouped(self.lost),
            grouped(self.doubled),
        )
    }
}

/// p50, p95 and p99 of the four quantiles.
fn three(row: &Row, values: &[f64]) -> String {
    let digits = match row.unit {
        "score" | "ratio" => 4,
        "count" | "bytes" => 0,
        _ => 2,
    };
    match values {
        [p50, _, p95, p99] => format!("{p50:.digits$} / {p95:.digits$} / {p99:.digits$}"),
        _ => String::new(),
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.3} %", ratio * 100.0)
}
