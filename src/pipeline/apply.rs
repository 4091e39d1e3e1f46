//! Durable records into the aggregate, in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use crate::holdings::Holdings;
use crate::journal::{HaltCause, Record, Sink};
use crate::pipeline::error::ServeError;

/// Groups that may wait for the aggregate. Past it the journal waits, and then its queue fills.
pub const GROUPS_MAX: usize = 256;

/// Hands each durable group on, and says when the journal has halted.
#[derive(Debug)]
pub struct GroupSink {
    /// To the aggregate's thread.
    pub groups: SyncSender<Vec<Record>>,
    /// Told once the journal has halted.
    pub halted: Arc<Notify>,
}

impl Sink for GroupSink {
    fn durable(&mut self, records: Vec<Record>) {
        if self.groups.send(records).is_err() {
            // Only a panic ends the aggregate's thread: what is durable from now on is applied at the
            // next start.
            tracing::error!("the aggregate has died");
            self.halted.notify_one();
        }
    }

    fn halted(&mut self, cause: &HaltCause) {
        tracing::error!(
            error = crate::logging::chain(cause),
            "the journal has halted"
        );
        self.halted.notify_one();
    }
}

/// Starts the thread that applies groups until the journal is gone.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    holdings: Arc<Holdings>,
    groups: Receiver<Vec<Record>>,
    (rows_max, seal_wanted): (usize, Arc<Notify>),
) -> Result<JoinHandle<()>, ServeError> {
    let run = move || {
        while let Ok(group) = groups.recv() {
            // Past twice the rows that ask for a seal, the aggregate waits for it.
            holdings.apply(rows_max.saturating_mul(2), |aggregator| {
                for record in group {
                    if let Err(error) = aggregator.apply(record.position.0, &record.payload) {
                        tracing::error!(position = record.position.0, %error, "a record could not be read");
                    }
                }
                if aggregator.rows() >= rows_max {
                    seal_wanted.notify_one();
                }
            });
        }
    };
    let thread = std::thread::Builder::new().name("aggregate".to_owned());
    thread
        .spawn(run)
        .map_err(|error| ServeError::Setup(error.to_string()))
}
