//! Bytes on disk of a simulated day.

use tillwatch_model::metric::to_float;

use crate::report::grouped;
use crate::scenario::collector::Collector;
use crate::table::Table;

/// Days that are kept.
const DAYS: f64 = 90.0;

/// Every table of the database once merged, the outbox at its fullest, and the state file; `None` with a
/// reason when the engine does not tell.
pub async fn measure(
    collector: &Collector,
    http: &reqwest::Client,
    outbox_bytes: u64,
    days: f64,
) -> Result<Table, String> {
    const TABLES: &str = "SELECT name FROM system.tables WHERE database = 'tillwatch' \
        AND engine LIKE '%MergeTree' ORDER BY name FORMAT TSV";
    for table in collector.ask(http, TABLES).await?.lines() {
        // As after some hours: the parts of a day are merged.
        let merge = format!("OPTIMIZE TABLE tillwatch.`{table}` FINAL");
        collector.ask(http, &merge).await?;
    }
    const SIZES: &str = "SELECT t.name, ifNull(p.row_count, 0), ifNull(p.bytes, 0) \
        FROM (SELECT name FROM system.tables WHERE database = 'tillwatch' AND engine LIKE '%MergeTree') AS t \
        LEFT JOIN (SELECT table, sum(rows) AS row_count, sum(bytes_on_disk) AS bytes FROM system.parts \
            WHERE database = 'tillwatch' AND active GROUP BY table) AS p ON t.name = p.table \
        ORDER BY t.name FORMAT TSV";
    let mut table = Table::new(&["what", "rows a day", "bytes a day", "in 90 days"]);
    let mut add = |name: String, rows: String, bytes: f64| {
        let (a_day, kept) = (megabytes(bytes / days), megabytes(bytes / days * DAYS));
        table.add([name, rows, a_day, kept]);
    };
    for line in collector.ask(http, SIZES).await?.lines() {
        let mut cells = line.split('\t');
        let (Some(name), Some(rows), Some(bytes)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of rows, shown"
        )]
        let rows = (to_float(number(rows)) / days) as u64;
        add(
            format!("table `{name}`"),
            grouped(rows),
            to_float(number(bytes)),
        );
    }
    add(
        "outbox while ClickHouse is away".to_owned(),
        String::new(),
        to_float(outbox_bytes),
    );
    let state = std::fs::metadata(collector.data_dir().join("state.sqlite"));
    let state_bytes = state.map_or(0, |metadata| metadata.len());
    table.add([
        "state file at the end, all of it".to_owned(),
        String::new(),
        megabytes(to_float(state_bytes)),
        String::new(),
    ]);
    Ok(table)
}

/// Bytes as people read them.
pub fn megabytes(bytes: f64) -> String {
    if bytes < 1e9 {
        format!("{:.1} MB", bytes / 1e6)
    } else {
        format!("{:.2} GB", bytes / 1e9)
    }
}
