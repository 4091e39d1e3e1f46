//! Why a query was not answered.

use crate::persist::{ClickHouseError, StateError};

/// When a query that found too many others may be asked again, seconds.
pub const RETRY_AFTER_S: u64 = 5;

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter is missing or cannot be read.
    #[error("{0}")]
    BadParameter(String),
    /// The metric is not in the catalogue.
    #[error("there is no metric {0:?}; GET /api/v1/metrics lists them")]
    UnknownMetric(String),
    /// The answer would be too large.
    #[error("the answer would have {0}; ask for a shorter range, a longer step or fewer groups")]
    TooLarge(String),
    /// No terminal of the store is known.
    #[error("no terminal of this store is known; GET /api/v1/stores lists the stores")]
    UnknownStore,
    /// The text asked for does not look like a pseudonym.
    #[error(
        "a session is asked for by its pseudonym, 32 hexadecimal digits; `tillwatch pseudonym` makes it from a session id"
    )]
    NotAPseudonym,
    /// Nothing is known of the session.
    #[error(
        "nothing is known of this session: it may be over 90 days old, or the pseudonym is of another day"
    )]
    UnknownSession,
    /// As many queries as may wait are waiting, or it took too long until it was this one's turn.
    #[error("too many queries at once; try again in {RETRY_AFTER_S} s, or ask fewer at a time")]
    TooMany,
    /// The answer could not be written down.
    #[error("the answer could not be written as JSON")]
    Answer(#[from] serde_json::Error),
    /// ClickHouse did not answer.
    #[error("the database did not answer; try again")]
    ClickHouse(#[from] ClickHouseError),
    /// The state file could not be read.
    #[error("{}", state_message(.0))]
    State(#[from] StateError),
}

/// What is damaged is not healed by asking again, so the answer says what is damaged and what to do.
fn state_message(error: &StateError) -> String {
    match error {
        StateError::BlobGone { .. } | StateError::Corrupt(_) | StateError::Damaged(_) => {
            error.to_string()
        }
        _ => "the outbox could not be read; try again".to_owned(),
    }
}
