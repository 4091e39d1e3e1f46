//! Watches the clock: logs what has changed, corrects times that were noted while the clock was wrong, and
//! lets the aggregate forget old data once the clock is known to be right.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_model::journal_act_v1::Act;
use tokio::time::Instant;

use crate::clock::{Change, Clock, DoubtKind, Grounds, STEP_MS_MAX, time_text};
use crate::intake::{Dedup, Desk};
use crate::persist::State;
use crate::persist::ship::on_disk;
use crate::self_metrics as names;

/// How often the clocks are read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is said that the doubt goes on.
const REMIND_EVERY: Duration = Duration::from_secs(300);
/// How often what is too old is forgotten. A queue is remembered for an hour longer by `intake`.
const AGE_EVERY: Duration = Duration::from_secs(1_800);

/// What the watcher acts on.
pub(super) struct Watcher {
    pub(super) clock: Clock,
    pub(super) desk: Desk,
    pub(super) dedup: Arc<Dedup>,
    pub(super) state: Arc<State>,
}

impl Watcher {
    /// Watches until it is aborted.
    pub(super) async fn run(self) {
        names::start(
            names::CLOCK_DOUBTS,
            "why",
            DoubtKind::ALL.map(DoubtKind::name),
            &[],
        );
        let mut every = tokio::time::interval(LOOK_EVERY);
        let mut reminded = Instant::now();
        let mut aged: Option<Instant> = None;
        loop {
            every.tick().await;
            self.clock.look();
            let mut is_ahead = false;
            for change in self.clock.take_changes() {
                tell(change, &self.clock);
                reminded = Instant::now();
                is_ahead |= matches!(
                    change,
                    Change::Believed { moved_ms, .. } | Change::Moved { moved_ms, .. }
                        if moved_ms < -STEP_MS_MAX
                );
            }
            if is_ahead {
                self.set_right().await;
            }
            if aged.is_none_or(|last| last.elapsed() >= AGE_EVERY) && self.clock.is_settled() {
                aged = Some(Instant::now());
                self.act(true).await;
            }
            if reminded.elapsed() >= REMIND_EVERY
                && let Some(doubt) = self.clock.status().doubt
            {
                reminded = Instant::now();
                tell(Change::Doubted(doubt), &self.clock);
            }
        }
    }

    /// Corrects times that were noted while the clock was ahead: they are later than now.
    async fn set_right(&self) {
        let at_ms = self.clock.now_ms();
        self.act(false).await;
        let dedup = Arc::clone(&self.dedup);
        let set_right = tokio::task::spawn_blocking(move || dedup.set_right(at_ms));
        if let Err(panicked) = set_right.await {
            tracing::error!(%panicked, "times of queues that were noted while the clock was ahead are not all put right");
        }
        if let Err(error) = on_disk(&self.state, move |state| state.set_right(at_ms)).await {
            tracing::warn!(
                error = crate::logging::chain(&error),
                "times in the state file that were noted while the clock was ahead could not be put right"
            );
        }
    }

    async fn act(&self, is_settled: bool) {
        let act = Act::Clock {
            at_ms: self.clock.now_ms(),
            is_settled,
        };
        if let Err(error) = self.desk.act(&act).await {
            tracing::warn!(%error, "the journal did not take the time; it is tried again in half an hour");
        }
    }
}

fn tell(change: Change, clock: &Clock) {
    match change {
        Change::Doubted(doubt) => {
            let (why, label) = (doubt.to_string(), doubt.kind().name());
            metrics::counter!(names::CLOCK_DOUBTS, "why" => label).increment(1);
            tracing::error!(
                clock = %time_text(clock.status().wall_ms),
                "the clock cannot be trusted: {why}. Batches are answered 503 clock_unsure until it is set right, \
                 the kernel says that it is synchronised, or it has run evenly for ten minutes. If it is right, \
                 run `tillwatch clock accept`"
            );
        }
        Change::Believed { grounds, moved_ms } => tracing::info!(
            clock = %time_text(clock.now_ms()),
            moved_s = moved_ms / 1_000,
            "the clock is trusted again: {}",
            because(grounds)
        ),
        Change::Moved { grounds, moved_ms } => tracing::warn!(
            clock = %time_text(clock.now_ms()),
            moved_s = moved_ms / 1_000,
            "the clock was moved, and is trusted: {}",
            because(grounds)
        ),
    }
}

fn because(grounds: Grounds) -> &'static str {
    match grounds {
        Grounds::Returned => "it is where it has to be",
        Grounds::Synchronised => "the kernel says that it is synchronised",
        Grounds::Fleet => "it agrees with the terminals now, and did not before",
        Grounds::Steady => "it has run evenly for ten minutes",
        Grounds::Operator => "an operator says so",
    }
}
