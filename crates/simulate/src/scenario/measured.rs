//! What a report shows beside what was expected.

use tillwatch_model::metric::to_float;

use crate::Report;
use crate::report::grouped;
use crate::scenario::exposition::Pages;
use crate::scenario::sizes::megabytes;
use crate::scenario::vitals::Health;
use crate::table::Table;

/// Lines of memory over time in a report.
const LINES_OVER_TIME: usize = 10;

/// Load, times, `fdatasync`, and the processes if they were watched.
pub fn measured(
    report: &Report,
    health: Option<&Health>,
    [before, after]: [&Pages; 2],
) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: String| lines.push((name.to_owned(), value));
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    add(
        "machine",
        format!(
            "{processors} processors, {}, simulator beside the collector, {profile} build",
            std::env::consts::OS
        ),
    );
    let counts = &report.counts;
    let minutes = (report.elapsed_secs / 60.0).max(1e-9);
    add(
        "load",
        format!(
            "{} terminals in {} stores, {:.1} minutes, {:.0} batches a minute",
            grouped(report.terminals.into()),
            grouped(report.stores.into()),
            minutes,
            to_float(counts.batches_acknowledged) / minutes
        ),
    );
    add("samples acknowledged", grouped(counts.samples_acknowledged));
    if let Some(comparison) = &report.comparison {
        add(
            "samples found again",
            format!(
                "{}; {} lost, {} doubled",
                grouped(comparison.found),
                comparison.lost,
                comparison.doubled
            ),
        );
    }
    add(
        "from due to acknowledged",
        report.intended_times.to_string(),
    );
    add("from sent to answered", report.answer_times.to_string());
    if report.first_answer_times.count > 0 {
        add(
            "from coming back to the first answer",
            report.first_answer_times.to_string(),
        );
        add(
            "from coming back to all delivered",
            report.caught_up_times.to_string(),
        );
    }
    let grown = |name: &str| after.own.sum(name, &[]) - before.own.sum(name, &[]);
    let (groups, seconds) = (
        grown("tillwatch_journal_groups"),
        grown("tillwatch_journal_sync_seconds"),
    );
    if groups > 0.0 {
        add(
            "`fdatasync` of the journal",
            format!(
                "{:.2} ms on average, {groups:.0} of them",
                seconds / groups * 1_000.0
            ),
        );
    }
    if let Some(health) = health.filter(|health| !health.looks.is_empty()) {
        lines.extend(of_processes(health, report.elapsed_secs));
    }
    lines
}

/// Memory and disk at a few moments.
pub fn over_time(health: &Health) -> Option<Table> {
    let step = (health.looks.len() / LINES_OVER_TIME).max(1);
    let mut table = Table::new(&["after", "memory of `serve`", "of the engine", "data folder"]);
    let mut disk_bytes = 0;
    for (number, look) in health.looks.iter().enumerate() {
        disk_bytes = if look.disk_bytes > 0 {
            look.disk_bytes
        } else {
            disk_bytes
        };
        if number % step == 0 {
            let bytes = [look.serve_bytes, look.engine_bytes, disk_bytes];
            let cells = bytes.map(|bytes| megabytes(to_float(bytes)));
            table.add(std::iter::once(format!("{:.0} s", look.at_secs)).chain(cells));
        }
    }
    (health.looks.len() > 1).then_some(table)
}

/// Memory, processors and disk.
fn of_processes(health: &Health, elapsed_secs: f64) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: String| lines.push((name.to_owned(), value));
    add(
        "`fdatasync` of 4 KiB beside it",
        health.sync_times.to_string(),
    );
    let [serve, engine, own] = health.processors(0.0, elapsed_secs);
    add(
        "processors busy",
        format!(
            "{serve:.2} with `serve`, {engine:.2} with the engine, {own:.2} with the simulator"
        ),
    );
    add(
        "growth of the data folder",
        megabytes(to_float(health.disk_growth_bytes())),
    );
    let engine_max = health.looks.iter().map(|look| look.engine_bytes).max();
    add(
        "most memory",
        format!(
            "{} of `serve`, {} of the engine",
            megabytes(to_float(health.serve_bytes_max())),
            megabytes(to_float(engine_max.unwrap_or(0)))
        ),
    );
    lines
}
