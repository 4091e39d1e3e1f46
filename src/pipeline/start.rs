//! From disk to a running aggregate: state, journal, replay.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::Notify;

use crate::aggregate::Aggregator;
use crate::clock::now_ms;
use crate::config::Config;
use crate::ingest::{Acknowledgement, Dedup, Keys, dedup, keys};
use crate::journal::{self, Journal, Position, RealDisk, Record, Recovery};
use crate::model::{Catalogue, QueueKey};
use crate::persist::State;
use crate::pipeline::apply::{Backlog, GROUPS_MAX, Group, GroupSink};
use crate::pipeline::error::ServeError;
use crate::pipeline::folder::{check_journal, journal_dir, note_journal};
use crate::pipeline::setup::{StateKeys, aggregate_settings};

/// What a start leaves.
pub struct Started {
    /// The journal, open.
    pub journal: Journal<Acknowledgement>,
    /// What it found.
    pub recovery: Recovery,
    /// The aggregate after replay.
    pub aggregator: Aggregator,
    /// Sequence numbers seen.
    pub dedup: Arc<Dedup>,
    /// Idempotency keys.
    pub keys: Arc<Keys>,
    /// Position of the last seal.
    pub sealed_position: u64,
    /// Groups as they become durable.
    pub groups: Receiver<Group>,
    /// How many of them wait.
    pub backlog: Arc<Backlog>,
}

/// Opens the journal and replays what has not been sealed. Blocks.
///
/// # Errors
/// When the state file or the journal cannot be read.
pub fn start(
    config: &Config,
    catalogue: &Arc<Catalogue>,
    state: &Arc<State>,
    halted: Arc<Notify>,
) -> Result<Started, ServeError> {
    let data_dir = config.data_dir.clone().unwrap_or_default();
    check_journal(state, &data_dir)?;
    let restored = state.restore()?;
    let mut sealed_position = restored.applied;
    let settings = aggregate_settings(config);
    let mut aggregator = Aggregator::new(Arc::clone(catalogue), settings, restored);
    let rows_max = config.seal_rows.unwrap_or(200_000);
    let (groups_in, groups) = std::sync::mpsc::sync_channel(GROUPS_MAX);
    let backlog = Arc::new(Backlog::default());
    let sink = GroupSink::new(groups_in, Arc::clone(&backlog), halted);
    let mut failed = None;
    let first_position = sealed_position;
    let mut replay = |record: Record| {
        if let Err(error) = aggregator.apply(record.position.0, &record.payload) {
            tracing::error!(position = record.position.0, %error, "a record could not be read");
        }
        if aggregator.rows() < rows_max {
            return ControlFlow::Continue(());
        }
        // A journal longer than memory is sealed on the way.
        match seal_now(&mut aggregator, state) {
            Ok(position) => {
                sealed_position = position;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let opened = Journal::open(
        journal_settings(config),
        Arc::new(RealDisk),
        Position(first_position),
        &mut replay,
        sink,
    );
    if let Some(error) = failed {
        return Err(error);
    }
    let (journal, recovery) = opened?;
    note_journal(state, recovery.journal_id)?;
    journal.release(Position(sealed_position));
    let dedup = Dedup::new(dedup::Settings {
        queues_max: config.queues_max.unwrap_or(400_000),
        store_terminals_max: config.store_terminals_max.unwrap_or(10_000),
        ..dedup::Settings::default()
    });
    for (key, terminal) in aggregator.terminals().iter() {
        for (queue, window) in &terminal.queues {
            let key = QueueKey {
                store_id: key.store_id.into(),
                terminal_id: key.terminal_id.into(),
                queue: *queue,
            };
            dedup.restore(&key, window.clone());
        }
    }
    let keys = start_keys(config, state, &aggregator)?;
    Ok(Started {
        journal,
        recovery,
        aggregator,
        dedup,
        keys,
        sealed_position,
        groups,
        backlog,
    })
}

/// The keys that seals have written, and those that wait for one.
fn start_keys(
    config: &Config,
    state: &Arc<State>,
    aggregator: &Aggregator,
) -> Result<Arc<Keys>, ServeError> {
    let settings = keys::Settings {
        keys_max: config.idempotency_keys_max.unwrap_or(5_000_000),
        cached_max: config.idempotency_keys_cached.unwrap_or(100_000),
    };
    let kept = state.count_keys()?;
    let cached = if kept <= settings.cached_max {
        state.all_keys()?
    } else {
        Vec::new()
    };
    let source = Arc::new(StateKeys(Arc::clone(state)));
    Ok(Keys::new(
        settings,
        source,
        (kept, cached),
        aggregator.keys(),
    ))
}

fn seal_now(aggregator: &mut Aggregator, state: &State) -> Result<u64, ServeError> {
    let cut = aggregator.take();
    let sealing = state.encode(cut, state.last_epoch()? + 1)?;
    state.seal(&sealing, now_ms())?;
    Ok(sealing.applied())
}

fn journal_settings(config: &Config) -> journal::Settings {
    let folder = journal_dir(
        config
            .data_dir
            .as_deref()
            .unwrap_or(std::path::Path::new("")),
    );
    let mut settings = journal::Settings::new(folder, uuid::Uuid::new_v4().as_u128());
    if let Some(segment) = config.journal_segment {
        settings.segment_bytes = segment.0.next_multiple_of(4_096);
    }
    if let Some(budget) = config.journal_budget {
        settings.budget_bytes = budget.0;
    }
    settings
}
