//! What became of one batch: sample by sample while the journal has its record, and by the numbers of its queue.

use std::fmt;
use std::sync::Arc;

use tillwatch_model::Catalogue;
use tillwatch_model::journal_record_v1::decode;
use tillwatch_model::sequence::Around;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::holdings::Holdings;
use crate::query::Json;
use crate::query::error::QueryError;
use crate::query::explain_answer::{ExplainAnswer, Numbers, Record};
use crate::tasks::Jobs;

/// The batch that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A batch that its terminal has numbered.
    Batch {
        /// The store.
        store_id: String,
        /// The terminal.
        terminal_id: String,
        /// The terminal's queue.
        queue: Uuid,
        /// The number in the queue.
        seq: u64,
    },
    /// The batches of a request with an idempotency key.
    Key {
        /// The store.
        store_id: String,
        /// The terminal.
        terminal_id: String,
        /// The key.
        key: String,
    },
    /// The last batch that a request has brought, by the request's name.
    Request(String),
}

/// A record of the journal.
#[derive(Debug)]
pub struct Found {
    /// Its position.
    pub position: u64,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// Why nothing could be looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The journal could not be read.
    #[error("{0}")]
    Journal(String),
    /// The key is none that a request can have.
    #[error("an idempotency key has 1 to 255 visible ASCII characters")]
    NotAKey,
}

/// Looks for the records of what is asked for. Blocks.
pub type Find = dyn Fn(&Wanted) -> Result<Vec<Found>, FindError> + Send + Sync;

/// Questions that may wait for one another: each may read all of the journal.
const WAITING_MAX: usize = 8;

/// Explains batches.
pub struct Explainer {
    catalogue: Arc<Catalogue>,
    holdings: Arc<Holdings>,
    jobs: Jobs,
    places: Semaphore,
    find: Arc<Find>,
}

impl fmt::Debug for Explainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Explainer")
    }
}

impl Explainer {
    /// Explains batches of this catalogue, one at a time.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, holdings: Arc<Holdings>, find: Arc<Find>) -> Self {
        Self {
            catalogue,
            holdings,
            jobs: Jobs::in_background(1),
            places: Semaphore::new(WAITING_MAX),
            find,
        }
    }

    /// Explains what is asked for.
    ///
    /// # Errors
    /// When the answer cannot be written, or the journal cannot be read.
    pub async fn explain(&self, wanted: Wanted) -> Result<Json, QueryError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(QueryError::TooMany);
        };
        let (find, catalogue) = (Arc::clone(&self.find), Arc::clone(&self.catalogue));
        let holdings = Arc::clone(&self.holdings);
        let job = move || -> Result<Json, QueryError> {
            let found = find(&wanted).map_err(|error| match error {
                FindError::Journal(why) => QueryError::Journal(why),
                FindError::NotAKey => QueryError::BadParameter(error.to_string()),
            })?;
            let records: Vec<Record> = found
                .iter()
                .filter_map(|found| record(&catalogue, found))
                .collect();
            let numbers = match &wanted {
                Wanted::Batch {
                    store_id,
                    terminal_id,
                    queue,
                    seq,
                } => Some(numbers(&holdings, (store_id, terminal_id), *queue, *seq)),
                Wanted::Key { .. } | Wanted::Request(_) => None,
            };
            let details = if found.is_empty() {
                "No record of it is kept: there never was one, or it is older than journal_keep, or it gave way to newer ones."
            } else if records.len() < found.len() {
                "The journal has a record of it that this release cannot read to its end; a later one has written it."
            } else {
                "From the journal's record: what was accepted, one by one; what was rejected, by reason."
            };
            let answer = ExplainAnswer {
                details,
                numbers,
                records,
            };
            Ok(serde_json::to_vec(&answer)?)
        };
        self.jobs.run(job).await
    }
}

fn numbers(
    holdings: &Holdings,
    (store_id, terminal_id): (&str, &str),
    queue: Uuid,
    seq: u64,
) -> Numbers {
    let window = holdings.read(|aggregator| {
        let store = aggregator.terminals().of_store(store_id)?;
        let mut queues = store.get(terminal_id)?.all_queues();
        let (_, window) = queues.find(|(id, _)| id == queue.as_bytes())?;
        Some(window.into_owned())
    });
    let nothing = |state, message| Numbers {
        state,
        message,
        high: None,
        before: None,
        after: None,
    };
    let Some(window) = window else {
        return nothing(
            "unknown",
            "Nothing is known of this queue: the store, the terminal or the queue has another name, or has been silent for over nine days.",
        );
    };
    if window.is_tombstone() {
        return nothing(
            "unknown",
            "The queue was given up because its terminal used too many: its numbers are not known any more, and its batches are refused.",
        );
    }
    let (state, message, before, after) = match window.around(seq) {
        Around::Seen => (
            "counted",
            "A batch of this number has come and was counted once; a resend of it is answered as a duplicate.",
            None,
            None,
        ),
        Around::Missing { before, after } => (
            "missing",
            "No batch of this number has come, though later ones have. It may still come.",
            before,
            Some(after),
        ),
        Around::NeverCounted { before, after } => (
            "lost",
            "No batch of this number has come. It was given up after nine days, or lies before the first number that was seen.",
            before,
            Some(after),
        ),
        Around::Ahead => (
            "not_arrived",
            "No batch of this number has come yet: the highest number that has come is lower.",
            Some(window.high()),
            None,
        ),
        Around::Beyond => (
            "unknown",
            "The number lies so far below the highest that nobody knows any more whether it has come.",
            None,
            None,
        ),
    };
    Numbers {
        state,
        message,
        high: Some(window.high()),
        before,
        after,
    }
}

/// A record for people; `None`: it cannot be read.
fn record(catalogue: &Catalogue, found: &Found) -> Option<Record> {
    let (header, entries) = decode(&found.payload).ok()?;
    Record::of(catalogue, found.position, &header, entries)
}
