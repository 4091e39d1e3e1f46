//! A journal as those see it who seal, watch and stop: nothing is appended, and it does not matter who is
//! told of appends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{AppendError, Completion, Journal, Position, Stats};

/// An open journal without appends. Clones are the same journal.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Kept>);

trait Kept: Send + Sync {
    fn durable(&self) -> Position;
    fn release(&self, applied: Position);
    fn stats(&self) -> Stats;
    fn queue_bytes_max(&self) -> usize;
    fn disk_wait(&self) -> Duration;
    fn shutdown(&self) -> Result<(), AppendError>;
}

impl<C: Completion> Kept for Journal<C> {
    fn durable(&self) -> Position {
        Journal::durable(self)
    }

    fn release(&self, applied: Position) {
        Journal::release(self, applied);
    }

    fn stats(&self) -> Stats {
        Journal::stats(self)
    }

    fn queue_bytes_max(&self) -> usize {
        Journal::queue_bytes_max(self)
    }

    fn disk_wait(&self) -> Duration {
        Journal::disk_wait(self)
    }

    fn shutdown(&self) -> Result<(), AppendError> {
        self.clone().shutdown()
    }
}

impl<C: Completion> Journal<C> {
    /// Hands out this journal for those who append nothing.
    pub fn keeper(&self) -> Keeper {
        Keeper(Arc::new(self.clone()))
    }
}

impl Keeper {
    /// Does what [`Journal::durable`] does.
    pub fn durable(&self) -> Position {
        self.0.durable()
    }

    /// Does what [`Journal::release`] does.
    pub fn release(&self, applied: Position) {
        self.0.release(applied);
    }

    /// Does what [`Journal::stats`] does.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Does what [`Journal::queue_bytes_max`] does.
    pub fn queue_bytes_max(&self) -> usize {
        self.0.queue_bytes_max()
    }

    /// Does what [`Journal::disk_wait`] does.
    pub fn disk_wait(&self) -> Duration {
        self.0.disk_wait()
    }

    /// Does what [`Journal::shutdown`] does: blocks until all that is queued is durable.
    pub fn shutdown(&self) -> Result<(), AppendError> {
        self.0.shutdown()
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keeper")
            .field("stats", &self.stats())
            .finish()
    }
}
