//! `audit`: the ledger against what ClickHouse holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::{Failure, Outcome, say, table};
use crate::config::{Config, Flags};
use crate::logging::{self, Format};
use crate::model::time::{DAY_MS, now_ms};
use crate::persist::audit::{self, HeldDays, KEPT_DAYS};
use crate::persist::rows::DayLedger;
use crate::persist::{EpochInfo, SideTable, State};
use crate::pipeline;

/// Epochs asked for in one statement.
const EPOCHS_AT_ONCE: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// File with settings (TOML).
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    /// One line for each epoch and day that differs, not only the sums by day.
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Sums over the epochs of one day.
#[derive(Debug, Default, Clone, Copy)]
struct Day {
    epochs: u64,
    ledger: DayLedger,
    held: DayLedger,
    outbox: DayLedger,
    /// Rows in the tables beside `rollup_1m`.
    side_rows: u64,
    differing: u64,
}

fn add(sum: &mut DayLedger, other: &DayLedger) {
    sum.rows += other.rows;
    sum.samples += other.samples;
    sum.hash_sum = sum.hash_sum.wrapping_add(other.hash_sum);
}

impl Audit {
    pub(super) async fn run(self) -> Outcome {
        logging::init(Format::Text, "warn");
        let config = Config::load(self.flags, self.config.as_deref())
            .map_err(|error| Failure::of(&error))?;
        let data_dir = config.data_dir.clone().unwrap_or_default();
        if !data_dir.join("state.sqlite").exists() {
            return Err(Failure(format!(
                "there is no state file in {}",
                data_dir.display()
            )));
        }
        let state = Arc::new(pipeline::open_state(&data_dir).map_err(|error| Failure::of(&error))?);
        let database = pipeline::open_database(&config)
            .await
            .map_err(|error| Failure::of(&error))?;
        let compared = compare(&state, database.clickhouse(), self.verbose).await;
        database.close().await;
        let (days, lines) = compared?;
        for line in lines {
            say(&line);
        }
        Ok(report(&days))
    }
}

async fn compare(
    state: &Arc<State>,
    clickhouse: &crate::persist::ClickHouse,
    is_verbose: bool,
) -> Result<(BTreeMap<u32, Day>, Vec<String>), Failure> {
    let accepted = state
        .accepted_samples()
        .map_err(|error| Failure::of(&error))?;
    let ledger = state.ledger(0).map_err(|error| Failure::of(&error))?;
    let oldest_day = u32::try_from(now_ms() / DAY_MS)
        .unwrap_or(0)
        .saturating_sub(KEPT_DAYS - 1);
    let mut days: BTreeMap<u32, Day> = BTreeMap::new();
    let mut lines = Vec::new();
    // Once the first epochs have left the ledger, it no longer holds everything ever accepted.
    let in_ledger: u64 = ledger.iter().map(EpochInfo::samples).sum();
    if ledger.first().is_some_and(|first| first.epoch == 1) && in_ledger < accepted {
        return Err(Failure(format!(
            "the ledger holds {in_ledger} samples of {accepted} accepted: some were never sealed"
        )));
    }
    // Runs of epochs that bear one collector id.
    for group in ledger.chunk_by(|left, right| left.collector_id == right.collector_id) {
        for part in group.chunks(EPOCHS_AT_ONCE) {
            let held = audit::held(clickhouse, part)
                .await
                .map_err(|error| Failure::of(&error))?;
            let none = HeldDays::new();
            for info in part {
                for (day, ledger) in info.days.range(oldest_day..) {
                    let found = audit::ledger_of(&held.rollups, (info.epoch, *day));
                    let of_day = days.entry(*day).or_default();
                    of_day.epochs += 1;
                    add(&mut of_day.ledger, ledger);
                    if info.confirmed_at_ms.is_none() {
                        add(&mut of_day.outbox, ledger);
                    } else {
                        add(&mut of_day.held, &found);
                        note(
                            "rollup_1m",
                            (info, *day),
                            (ledger, &found),
                            (of_day, is_verbose.then_some(&mut lines)),
                        );
                    }
                }
                for (table, side_days) in &info.sides {
                    let found = held.sides.get(table).unwrap_or(&none);
                    for (day, ledger) in side_days.range(oldest_day..) {
                        let found = audit::ledger_of(found, (info.epoch, *day));
                        let of_day = days.entry(*day).or_default();
                        of_day.side_rows += ledger.rows;
                        if info.confirmed_at_ms.is_some() {
                            let name = SideTable::name(*table);
                            note(
                                name,
                                (info, *day),
                                (ledger, &found),
                                (of_day, is_verbose.then_some(&mut lines)),
                            );
                        }
                    }
                }
            }
        }
    }
    Ok((days, lines))
}

/// Notes an epoch's day of which a table does not hold what was sent.
fn note(
    table: &str,
    (info, day): (&EpochInfo, u32),
    (ledger, found): (&DayLedger, &DayLedger),
    (of_day, shown): (&mut Day, Option<&mut Vec<String>>),
) {
    if ledger == found {
        return;
    }
    of_day.differing += 1;
    let Some(lines) = shown else {
        return;
    };
    lines.push(format!(
        "{table}: epoch {} day {}: ledger {} rows {} samples, ClickHouse {} rows {} samples",
        info.epoch,
        date(day),
        ledger.rows,
        ledger.samples,
        found.rows,
        found.samples
    ));
}

fn report(days: &BTreeMap<u32, Day>) -> ExitCode {
    let mut total = Day::default();
    let mut rows = Vec::new();
    for (day, sums) in days {
        rows.push(line(date(*day), sums));
        total.epochs += sums.epochs;
        total.differing += sums.differing;
        total.side_rows += sums.side_rows;
        add(&mut total.ledger, &sums.ledger);
        add(&mut total.held, &sums.held);
        add(&mut total.outbox, &sums.outbox);
    }
    rows.push(line("all".to_owned(), &total));
    let head = [
        "day",
        "epochs",
        "sealed",
        "confirmed, in ClickHouse",
        "outbox",
        "rows",
        "by terminal, session",
        "differing",
    ];
    say(&table(&head, &rows));
    let is_whole =
        total.differing == 0 && total.ledger.samples == total.held.samples + total.outbox.samples;
    say(&format!(
        "sealed {} = confirmed {} + outbox {}: {}",
        total.ledger.samples,
        total.held.samples,
        total.outbox.samples,
        if is_whole {
            "nothing lost, nothing doubled"
        } else {
            "THE SUMS DIFFER; run with --verbose"
        }
    ));
    if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn line(name: String, day: &Day) -> Vec<String> {
    vec![
        name,
        day.epochs.to_string(),
        day.ledger.samples.to_string(),
        day.held.samples.to_string(),
        day.outbox.samples.to_string(),
        day.ledger.rows.to_string(),
        day.side_rows.to_string(),
        day.differing.to_string(),
    ]
}

fn date(day: u32) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::from(day) * DAY_MS);
    time.map_or_else(
        |_| day.to_string(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}
