//! `audit`: the ledger against what ClickHouse holds; `--repair` sends again what it has lost.
//!
//! | file | what |
//! |---|---|
//! | `faults.rs` | the journal, what was lost before it was sealed, an older copy of the state file |
//! | `strays.rs` | rows that the ledger does not know |
//! | `deep.rs` | what `--deep` reads |
//! | `repair.rs` | what `--repair` does |

mod deep;
mod faults;
mod repair;
mod strays;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tillwatch_model::time::wall_ms;

use crate::cli::{Failure, Outcome, say, table};
use crate::config::{Config, Flags};
use crate::logging::{self, Format};
use crate::persist::audit::{self, HeldDays};
use crate::persist::identity::has_state;
use crate::persist::repair::{Merge, date};
use crate::persist::rows::DayLedger;
use crate::persist::ship::oldest_kept_day;
use crate::persist::{ClickHouse, EpochInfo, State};
use crate::pipeline;
use crate::progress::Progress;
use crate::world::World;

use deep::{look_at_parts, look_at_rows};
use faults::{Fault, look_around};
use repair::{detach_all, repair_all};
use strays::{ledger, tell_strays};

/// Epochs asked for in one statement.
const EPOCHS_AT_ONCE: usize = 1_000;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub(super) struct Audit {
    /// File with settings (TOML).
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    /// One line for each epoch and day that differs, not only the sums by day.
    #[arg(long)]
    verbose: bool,
    /// Detach broken parts, send the rows of epochs that differ again, while their blobs are kept (48 hours after they were
    /// confirmed), read back, and say what could not be repaired. What waits in the outbox is shipped too,
    /// unless `serve` is running and does so itself.
    #[arg(long)]
    repair: bool,
    /// Read everything: each part against its checksums (CHECK TABLE), each row against its hash. Without it only
    /// the hashes are read. --repair does so, too.
    #[arg(long)]
    deep: bool,
    /// Say that the losses of the journal that are listed have been seen: they are still listed, and no longer
    /// make the command fail.
    #[arg(long)]
    accept_losses: bool,
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
        let config = Config::load(self.flags.clone(), self.config.as_deref())
            .map_err(|error| Failure::of(&error))?;
        let data_dir = config.data.dir.clone();
        if !has_state(&data_dir) {
            return Err(Failure(format!(
                "there is no state file in {}",
                data_dir.display()
            )));
        }
        let world = World::of_machine();
        let state =
            Arc::new(pipeline::open_state(&data_dir, &world).map_err(|error| Failure::of(&error))?);
        let database = pipeline::open_database(&config, &world.tasks)
            .await
            .map_err(|error| Failure::of(&error))?;
        let audited = self.audit(&state, database.clickhouse(), &data_dir).await;
        database.close().await;
        audited
    }

    async fn audit(&self, state: &Arc<State>, clickhouse: &ClickHouse, data_dir: &Path) -> Outcome {
        let is_deep = self.deep || self.repair;
        let mut broken = Vec::new();
        if is_deep {
            broken = look_at_parts(clickhouse).await?;
        }
        if self.repair {
            detach_all(state, clickhouse, &broken).await?;
            let differing = self.differing(state, clickhouse).await?;
            repair_all(state, clickhouse, &differing, data_dir).await?;
            broken = look_at_parts(clickhouse).await?;
        }
        if !broken.is_empty() {
            // What it holds cannot be compared: each statement that meets one of them fails.
            say(
                "THE DATABASE IS DAMAGED; `audit --repair` detaches broken parts and sends again what is still kept",
            );
            return Ok(ExitCode::FAILURE);
        }
        let compared = compare(state, clickhouse, self.verbose).await?;
        let is_wrong = is_deep && !look_at_rows(state, clickhouse).await?.is_empty();
        for line in &compared.lines {
            say(line);
        }
        let mut faults = look_around(state, clickhouse, data_dir, self.accept_losses).await?;
        faults.extend(is_wrong.then_some(Fault::WrongRows));
        let has_strays = tell_strays(state, clickhouse).await?;
        let is_whole = report(&compared.days, &faults);
        Ok(if is_whole && !has_strays {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Audit {
    /// What is to be sent again: what is missing, and what is other than its hash says.
    async fn differing(
        &self,
        state: &Arc<State>,
        clickhouse: &ClickHouse,
    ) -> Result<Vec<(EpochInfo, Merge)>, Failure> {
        let compared = compare(state, clickhouse, false).await?;
        let wrong = look_at_rows(state, clickhouse).await?;
        let is_wrong = |info: &EpochInfo| wrong.iter().any(|rows| rows.epoch == info.epoch);
        let of_rows = ledger(state)?.into_iter().filter(is_wrong);
        let of_rows = of_rows.filter(|info| info.confirmed_at_ms.is_some());
        let mut all: Vec<_> = of_rows.map(|info| (info, Merge::Always)).collect();
        for info in compared.differing {
            if !is_wrong(&info) {
                all.push((info, Merge::IfNeeded));
            }
        }
        all.sort_by_key(|(info, _)| info.epoch);
        Ok(all)
    }
}

/// What a comparison found.
struct Compared {
    days: BTreeMap<u32, Day>,
    lines: Vec<String>,
    /// Confirmed epochs of which ClickHouse does not hold exactly what was sent.
    differing: Vec<EpochInfo>,
}

async fn compare(
    state: &Arc<State>,
    clickhouse: &ClickHouse,
    is_verbose: bool,
) -> Result<Compared, Failure> {
    let accepted = state
        .accepted_samples()
        .map_err(|error| Failure::of(&error))?;
    let ledger = state.ledger(0).map_err(|error| Failure::of(&error))?;
    let oldest_day = oldest_kept_day(state, wall_ms())
        .await
        .map_err(|error| Failure::of(&error))?;
    let mut days: BTreeMap<u32, Day> = BTreeMap::new();
    let mut lines = Vec::new();
    let mut differing: Vec<EpochInfo> = Vec::new();
    let mut progress = Progress::new();
    let mut done = 0;
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
            done += part.len() as u64;
            progress.step("audit", done, ledger.len() as u64, "epochs");
            for info in part {
                let mut is_whole = true;
                for (day, ledger) in info.days.range(oldest_day..) {
                    let found = audit::ledger_of(&held.rollups, (info.epoch, *day));
                    let of_day = days.entry(*day).or_default();
                    of_day.epochs += 1;
                    add(&mut of_day.ledger, ledger);
                    if info.confirmed_at_ms.is_none() {
                        add(&mut of_day.outbox, ledger);
                    } else {
                        add(&mut of_day.held, &found);
                        let sent = Sent {
                            table: "rollup_1m",
                            epoch: info.epoch,
                            day: *day,
                            ledger,
                        };
                        is_whole &= note(&sent, &found, of_day, is_verbose.then_some(&mut lines));
                    }
                }
                for (table, side_days) in &info.sides {
                    let found = held.sides.get(table).unwrap_or(&none);
                    for (day, ledger) in side_days.range(oldest_day..) {
                        let found = audit::ledger_of(found, (info.epoch, *day));
                        let of_day = days.entry(*day).or_default();
                        of_day.side_rows += ledger.rows;
                        if info.confirmed_at_ms.is_some() {
                            let sent = Sent {
                                table: table.name(),
                                epoch: info.epoch,
                                day: *day,
                                ledger,
                            };
                            let shown = is_verbose.then_some(&mut lines);
                            is_whole &= note(&sent, &found, of_day, shown);
                        }
                    }
                }
                if !is_whole {
                    differing.push(info.clone());
                }
            }
        }
    }
    Ok(Compared {
        days,
        lines,
        differing,
    })
}

/// What was sent of an epoch's day to one table.
struct Sent<'a> {
    table: &'static str,
    epoch: u64,
    day: u32,
    ledger: &'a DayLedger,
}

/// Notes an epoch's day of which a table does not hold what was sent; whether it does.
fn note(
    sent: &Sent<'_>,
    found: &DayLedger,
    of_day: &mut Day,
    shown: Option<&mut Vec<String>>,
) -> bool {
    if sent.ledger == found {
        return true;
    }
    of_day.differing += 1;
    let Some(lines) = shown else {
        return false;
    };
    lines.push(format!(
        "{}: epoch {} day {}: ledger {} rows {} samples, ClickHouse {} rows {} samples",
        sent.table,
        sent.epoch,
        date(sent.day),
        sent.ledger.rows,
        sent.ledger.samples,
        found.rows,
        found.samples
    ));
    false
}

/// Prints the sums; whether they agree and nothing else is amiss.
fn report(days: &BTreeMap<u32, Day>, faults: &[Fault]) -> bool {
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
        "in other tables",
        "differing",
    ];
    say(&table(&head, &rows));
    let agrees =
        total.differing == 0 && total.ledger.samples == total.held.samples + total.outbox.samples;
    let verdict = match (agrees, faults.iter().min()) {
        (false, _) => "THE SUMS DIFFER; run with --verbose",
        (true, Some(fault)) => fault.text(),
        (true, None) => "nothing lost, nothing doubled",
    };
    say(&format!(
        "sealed {} = confirmed {} + outbox {}: {verdict}",
        total.ledger.samples, total.held.samples, total.outbox.samples,
    ));
    agrees && faults.is_empty()
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
