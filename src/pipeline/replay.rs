//! Writes a journal's records into a database made for them, without changing the journal.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Row;
use tillwatch_journal::{OpenError, Position, Record};
use tillwatch_model::Catalogue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::aggregate::{self, Aggregator, Restored, Totals};
use crate::config::Config;
use crate::persist::clickhouse::DATABASE;
use crate::persist::rows::{self, RowOrigin};
use crate::persist::ship::insert_rows;
use crate::persist::{ClickHouse, SideTable, State, migrate, side_tables};
use crate::pipeline::engine::open_database;
use crate::pipeline::error::ServeError;
use crate::pipeline::folder::journal_dir;
use crate::pipeline::limits::aggregate_settings;
use crate::world::World;

/// What a replay found and wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// The first and the last position read.
    pub range: Option<(u64, u64)>,
    /// Records read.
    pub records: u64,
    /// Records that this release cannot read.
    pub unreadable: u64,
    /// Records that a second copy of their batch had gone before; not counted again.
    pub repeated: u64,
    /// Samples in the database.
    pub samples: u64,
    /// Each metric with its rows and samples, as the database counts them.
    pub metrics: Vec<(String, u64, u64)>,
    /// How long the replay took.
    pub took: Duration,
}

#[derive(Debug, Row, serde::Deserialize)]
struct ByMetric {
    metric: String,
    rows: u64,
    samples: u64,
}

#[derive(Debug, Row, serde::Deserialize)]
struct Named {
    #[expect(dead_code, reason = "only whether there is one")]
    name: String,
}

/// What the reading thread sends.
enum Step {
    Rows(Option<SideTable>, Vec<u8>),
    Read(u64, u64),
    Ended(Result<Totals, OpenError>, Option<(u64, u64)>),
}

/// Replays the journal in `journal_dir` into the new database `into`, of the ClickHouse of `config`.
/// `progress` is told segments read and segments in all.
///
/// # Errors
/// When the database is the live one or exists, the journal is in use, or a file or ClickHouse fails.
pub async fn replay(
    config: &Config,
    journal_dir: &Path,
    into: &str,
    world: &World,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ReplaySummary, ServeError> {
    let started = Instant::now();
    check_name(into)?;
    check_source(journal_dir)?;
    let database = open_database(config, &world.tasks).await?;
    let clickhouse = database.clickhouse().in_database(into);
    let written = async {
        let found: Vec<Named> = database
            .clickhouse()
            .in_database("system")
            .fetch(
                "SELECT name FROM databases WHERE name = {name:String}",
                |query| query.param("name", into),
            )
            .await?;
        if !found.is_empty() {
            return Err(ServeError::Setup(format!(
                "the database {into} exists already; name another with --into, or drop it"
            )));
        }
        migrate::migrate(&clickhouse).await?;
        write(config, journal_dir, &clickhouse, world, progress).await
    }
    .await;
    database.close().await;
    written.map(|summary| ReplaySummary {
        took: started.elapsed(),
        ..summary
    })
}

fn check_name(into: &str) -> Result<(), ServeError> {
    let fault = if into == DATABASE {
        "is the live database: replayed rows would double what it holds. Name another"
    } else if into.is_empty()
        || into.len() > 64
        || !into
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        || into.as_bytes().first().is_some_and(u8::is_ascii_digit)
    {
        "is no name for a database: letters, digits and _, at most 64, not a digit first"
    } else {
        return Ok(());
    };
    Err(ServeError::Setup(format!("--into {into} {fault}")))
}

/// The journal must be there and nobody may be writing it: segments change under a reader then.
fn check_source(folder: &Path) -> Result<(), ServeError> {
    let source = |source| ServeError::DataDir {
        path: folder.to_owned(),
        source,
    };
    if !folder.is_dir() {
        return Err(source(std::io::ErrorKind::NotFound.into()));
    }
    match tillwatch_journal::holder(folder).map_err(source)? {
        None => Ok(()),
        Some(pid) => Err(ServeError::InUse {
            path: folder.to_owned(),
            pid,
        }),
    }
}

async fn write(
    config: &Config,
    folder: &Path,
    clickhouse: &ClickHouse,
    world: &World,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ReplaySummary, ServeError> {
    let (steps, mut received) = mpsc::channel(2);
    let (folder, rows_max) = (folder.to_owned(), config.seal.rows);
    let settings = aggregate_settings(config);
    let world = world.clone();
    // What another collector has declared, nobody knows here: it is counted under __unknown__.
    let own = config.declared.own_metrics().cloned().collect();
    let catalogue = Arc::new(Catalogue::with_own(own, Vec::new()));
    let work = move || read(&folder, catalogue, settings, rows_max, &world, &steps);
    let reader = tokio::task::spawn_blocking(work);
    let mut summary = ReplaySummary::default();
    while let Some(step) = received.recv().await {
        match step {
            Step::Rows(table, bytes) => insert_rows(clickhouse, table, vec![bytes]).await?,
            Step::Read(done, all) => progress(done, all),
            Step::Ended(ended, range) => {
                let totals = ended?;
                summary.range = range;
                summary.records = totals.records;
                summary.unreadable = totals.unreadable;
                summary.repeated = totals.repeated;
            }
        }
    }
    reader
        .await
        .map_err(|_panicked| ServeError::Died("replay"))?;
    // The summary has what the database says, not what was sent to it.
    let metrics: Vec<ByMetric> = clickhouse
        .fetch(
            "SELECT toString(metric) AS metric, count() AS rows, sum(count) AS samples FROM v_rollup_1m
             GROUP BY metric ORDER BY metric",
            |query| query,
        )
        .await?;
    summary.samples = metrics.iter().map(|line| line.samples).sum();
    summary.metrics = metrics
        .into_iter()
        .map(|line| (line.metric, line.rows, line.samples))
        .collect();
    Ok(summary)
}

/// Reads, applies, and sends rows whenever there are enough. Ends when nobody receives any more.
fn read(
    folder: &Path,
    catalogue: Arc<Catalogue>,
    settings: aggregate::Caps,
    rows_max: usize,
    world: &World,
    steps: &mpsc::Sender<Step>,
) {
    let mut aggregator = Aggregator::new(catalogue, settings, Restored::default());
    // No state file will ever have this collector id.
    let collector_id = world.chance.uuid();
    let (mut epoch, mut range) = (0, None);
    let mut send = |aggregator: &mut Aggregator| {
        epoch += 1;
        let cut = aggregator.take();
        let origin = RowOrigin {
            collector_id,
            epoch,
            received_at_ms: cut.journal_ms,
        };
        let hours = cut.terminal_hours.into_rows(&cut.tables);
        let sessions = cut.sessions.into_rows(&cut.tables);
        let event_groups = cut.event_groups.into_rows(&cut.tables);
        let summaries = cut.summaries.into_rows(&cut.tables);
        let losses = cut.losses.into_rows();
        let encoded = [
            (
                None,
                rows::encode(cut.windows.into_rows(&cut.tables), origin),
            ),
            (
                Some(SideTable::TerminalHour),
                side_tables::encode_terminal_hours(&hours, origin),
            ),
            (
                Some(SideTable::Session),
                side_tables::encode_sessions(&sessions, origin),
            ),
            (
                Some(SideTable::EventGroup),
                side_tables::encode_event_groups(&event_groups, origin),
            ),
            (
                Some(SideTable::Summary),
                side_tables::encode_summaries(&summaries, origin),
            ),
            (
                Some(SideTable::Loss),
                side_tables::encode_losses(&losses, origin),
            ),
        ];
        encoded.into_iter().all(|(table, rows)| {
            rows.bytes.is_empty() || steps.blocking_send(Step::Rows(table, rows.bytes)).is_ok()
        })
    };
    let mut take = |record: Record| {
        let position = record.position.0;
        range = Some((range.map_or(position, |(first, _)| first), position));
        // The totals count a record that cannot be read.
        let _unreadable = aggregator.apply(position, &record.payload).is_err();
        if aggregator.rows() >= rows_max && !send(&mut aggregator) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let mut progress = |done, all| {
        let _gone = steps.blocking_send(Step::Read(done, all)).is_err();
    };
    let ended = tillwatch_journal::read_records(&*world.disk, folder, &mut take, &mut progress);
    let ended = ended.map(|()| {
        send(&mut aggregator);
        aggregator.totals()
    });
    let _gone = steps.blocking_send(Step::Ended(ended, range)).is_err();
}

/// Gives the records of a collector that is not running which lie in its journal alone.
/// read and segments in all.
///
/// # Errors
/// When the state file or the journal cannot be read.
pub fn unsealed_records(
    data_dir: &Path,
    world: &World,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, ServeError> {
    let folder = journal_dir(data_dir);
    if !folder.is_dir() {
        return Ok(0);
    }
    let applied = State::open(data_dir, world)?.restore()?.applied;
    let found =
        tillwatch_journal::verify_with(&*world.disk, &folder, Some(Position(applied)), progress)?;
    Ok(found.records)
}
