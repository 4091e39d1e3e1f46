//! Starts from disk to a running aggregate: state, journal, replay.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tillwatch_journal::{Completion, Journal, Position, Record, Recovery};
use tillwatch_model::{Catalogue, QueueKey};
use tokio::sync::Notify;

use crate::aggregate::{Aggregator, Totals};
use crate::config::Config;
use crate::intake::keys::OnDisk;
use crate::intake::{Dedup, Keys, Shares, dedup, keys};
use crate::persist::{JournalLoss, LossKind, State};
use crate::pipeline::apply::{Backlog, GROUPS_MAX, Group, GroupSink};
use crate::pipeline::error::ServeError;
use crate::pipeline::folder::{check_journal, journal_dir, note_journal};
use crate::pipeline::limits::{aggregate_settings, share_settings};
use crate::pipeline::state_keys::StateKeys;
use crate::world::World;

/// What a start leaves.
pub struct Started<C: Completion> {
    /// The journal, open.
    pub journal: Journal<C>,
    /// What opening the journal found.
    pub recovery: Recovery,
    /// The aggregate after replay.
    pub aggregator: Aggregator,
    /// The sequence numbers that were seen.
    pub dedup: Arc<Dedup>,
    /// The idempotency keys.
    pub keys: Arc<Keys>,
    /// Position of the last seal.
    pub sealed_position: u64,
    /// Groups as they become durable.
    pub groups: Receiver<Group>,
    /// The backlog that says how many of these groups wait.
    pub backlog: Arc<Backlog>,
}

/// Opens the journal and replays what has not been sealed. Blocks.
///
/// # Errors
/// When the state file or the journal cannot be read.
pub fn start<C: Completion>(
    config: &Config,
    catalogue: &Arc<Catalogue>,
    state: &Arc<State>,
    halted: Arc<Notify>,
    world: &World,
) -> Result<Started<C>, ServeError> {
    let data_dir = config.data.dir.clone();
    check_journal(state, &data_dir, world)?;
    let restored = state.restore()?;
    let restored_position = restored.applied;
    let restored_totals = restored.totals;
    let settings = aggregate_settings(config);
    let aggregator = Aggregator::new(Arc::clone(catalogue), settings, restored);
    let rows_max = config.seal.rows;
    let (groups_in, groups) = std::sync::mpsc::sync_channel(GROUPS_MAX);
    let backlog = Arc::new(Backlog::default());
    let sink = GroupSink::new(groups_in, Arc::clone(&backlog), halted);
    let mut replayer = Replayer {
        aggregator,
        state,
        rows_max,
        sealed_position: restored_position,
        failed: None,
        world,
    };
    let opened = Journal::open(
        journal_settings(config, state.journal_id()?, world),
        Arc::clone(&world.disk),
        Position(restored_position),
        &mut replayer,
        sink,
    );
    if let Some(error) = replayer.failed {
        return Err(error);
    }
    let Replayer {
        aggregator,
        sealed_position,
        ..
    } = replayer;
    let (journal, recovery) = opened?;
    tell_of_later(&restored_totals, &aggregator.totals());
    note_journal(state, recovery.journal_id)?;
    journal.release(Position(sealed_position));
    let shares = Shares::new(&share_settings(config));
    let dedup = start_dedup(config, &aggregator, &shares);
    let keys = start_keys(config, state, &aggregator, shares)?;
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

/// Applies what the journal replays, and notes what it has lost.
struct Replayer<'a> {
    aggregator: Aggregator,
    state: &'a State,
    rows_max: usize,
    sealed_position: u64,
    failed: Option<ServeError>,
    world: &'a World,
}

impl Replayer<'_> {
    fn go_on(&mut self, done: Result<(), ServeError>) -> ControlFlow<()> {
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl tillwatch_journal::Replay for Replayer<'_> {
    fn record(&mut self, record: Record) -> ControlFlow<()> {
        let applied = self.aggregator.apply(record.position.0, &record.payload);
        if let Err(error) = applied {
            tracing::error!(position = record.position.0, %error, "a record could not be read");
        }
        if self.aggregator.rows() < self.rows_max {
            return ControlFlow::Continue(());
        }
        // A journal longer than memory is sealed while it is replayed.
        let sealed = seal_now(&mut self.aggregator, self.state, self.world.clock.now_ms());
        let sealed = sealed.map(|position| self.sealed_position = position);
        self.go_on(sealed)
    }

    /// Notes a loss before anything behind it can be sealed: after that the journal would not tell of it.
    fn lost(&mut self, loss: &tillwatch_journal::Loss) -> ControlFlow<()> {
        let noted = self.state.note_loss(&JournalLoss {
            kind: LossKind::Journal,
            positions: loss.positions.map(|(first, last)| (first.0, last.0)),
            records: loss.records,
            bytes: loss.bytes,
            segment: loss.sequence,
            found_at_ms: self.world.clock.now_ms(),
            accepted_at_ms: None,
        });
        self.go_on(noted.map(|_is_new| ()).map_err(ServeError::from))
    }
}

/// Remembers the queues that the aggregate knows.
fn start_dedup(config: &Config, aggregator: &Aggregator, shares: &Arc<Shares>) -> Arc<Dedup> {
    let settings = dedup::Settings {
        store_terminals_max: config.terminals.store_max,
    };
    let dedup = Dedup::new(settings, Arc::clone(shares));
    for (key, terminal) in aggregator.terminals().iter() {
        for (queue, window) in terminal.all_queues() {
            let key = QueueKey {
                store_id: key.store_id.into(),
                terminal_id: key.terminal_id.into(),
                queue,
            };
            dedup.restore(&key, window.into_owned());
        }
    }
    dedup
}

/// Opens the keys: those that seals have written, and those that wait for a seal.
fn start_keys(
    config: &Config,
    state: &Arc<State>,
    aggregator: &Aggregator,
    shares: Arc<Shares>,
) -> Result<Arc<Keys>, ServeError> {
    let settings = keys::Settings {
        keys_max: config.idempotency_keys.max,
        cached_max: config.idempotency_keys.cached,
    };
    let count = state.count_keys()?;
    let cached = if count <= settings.cached_max {
        state.all_keys()?
    } else {
        Vec::new()
    };
    let source = Arc::new(StateKeys(Arc::clone(state)));
    let mut by_store = state.keys_by_store()?;
    by_store.extend(aggregator.keys_by_store());
    let on_disk = OnDisk {
        count,
        cached,
        by_store,
    };
    let pending = aggregator.keys();
    Ok(Keys::new(settings, source, on_disk, pending, shares))
}

fn seal_now(aggregator: &mut Aggregator, state: &State, now_ms: i64) -> Result<u64, ServeError> {
    let cut = aggregator.take();
    let sealing = state.encode(cut, state.last_epoch()? + 1)?;
    state.seal(&sealing, now_ms)?;
    Ok(sealing.applied())
}

/// The journal's settings. One that is made new, or of which no segment can be read, gets the id that the
/// state file knows.
fn journal_settings(
    config: &Config,
    known_id: Option<u128>,
    world: &World,
) -> tillwatch_journal::Settings {
    let folder = journal_dir(&config.data.dir);
    let mut settings = tillwatch_journal::Settings::new(
        folder,
        known_id.unwrap_or_else(|| world.chance.uuid().as_u128()),
    );
    settings.segment_bytes = config.journal.segment.0.next_multiple_of(4_096);
    settings.budget_bytes = config.journal.budget.0;
    settings.keep = config.journal.keep.0;
    settings
}

/// Says what opening the journal found.
pub(super) fn tell_recovery(recovery: &Recovery) {
    tracing::info!(
        replayed = recovery.replayed,
        torn = recovery.torn.records,
        damaged = recovery.damaged.records,
        damaged_segments = recovery.damaged_segments(),
        duration_ms = u64::try_from(recovery.duration.as_millis()).unwrap_or(u64::MAX),
        "recovered the journal"
    );
    if recovery.damaged.records > 0 || recovery.damaged_segments() > 0 {
        tracing::error!(
            records = recovery.damaged.records,
            missing_segments = recovery.missing_segments,
            damaged_headers = recovery.damaged_headers,
            short_segments = recovery.short_segments,
            quarantined = ?recovery.quarantined,
            "the journal is damaged: acknowledged records may be lost; what cannot be read is kept in quarantine, \
             and `tillwatch audit` lists what is lost"
        );
    }
    if recovery.is_note_unusable {
        tracing::error!(
            "the note beside the journal's folder could not be used: whether the journal's end is missing is not known \
             this once"
        );
    }
}

/// Says what the replayed records hold that only a later release knows: this release was rolled back to.
fn tell_of_later(before: &Totals, now: &Totals) {
    let counts = before.later().into_iter().zip(now.later());
    let found: Vec<String> = counts
        .filter(|((_, before), (_, now))| now > before)
        .map(|((what, before), (_, now))| format!("{what} {}", now - before))
        .collect();
    if !found.is_empty() {
        tracing::warn!(
            found = found.join(", "),
            "the journal holds what only a later release knows. Samples are kept, with such values as __unknown__. \
             Acts of an operator and other entries are passed over: repeat the acts once that release runs"
        );
    }
}
