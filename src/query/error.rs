//! Why a query was not answered.

use crate::listed::listed;
use crate::persist::{ClickHouseError, StateError};

listed! {
    /// What an answer and the metrics call an error.
    pub enum ErrorCode {
        /// A parameter is missing or cannot be read.
        BadParameter = "bad_parameter",
        /// The metric is not in the catalogue.
        UnknownMetric = "unknown_metric",
        /// Nothing is known of the store.
        UnknownStore = "unknown_store",
        /// Nothing is known of the terminal.
        UnknownTerminal = "unknown_terminal",
        /// Nothing is known of the session.
        UnknownSession = "unknown_session",
        /// Nothing is known of the group of errors.
        UnknownError = "unknown_error",
        /// The text asked for does not look like a pseudonym.
        NotAPseudonym = "not_a_pseudonym",
        /// The answer would be too large.
        TooLarge = "too_large",
        /// ClickHouse did not answer.
        DatabaseUnavailable = "database_unavailable",
        /// The state file could not be read.
        StateUnavailable = "state_unavailable",
        /// The journal could not be read.
        JournalUnavailable = "journal_unavailable",
        /// Too many queries at once.
        TooManyQueries = "too_many_queries",
        /// The answer could not be written down.
        Internal = "internal",
    }
}

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
    /// The answer would have too many series.
    #[error(
        "the answer would have over {max} series; ask for the first of them with order_by (a quantile, count, sum, max or over) and limit, or for fewer groups",
        max = crate::query::request::SERIES_MAX
    )]
    TooManySeries,
    /// Nothing is known of the store, and nothing found of it.
    #[error("nothing is known of a store {0:?}; GET /api/v1/stores lists the stores")]
    UnknownStore(String),
    /// Nothing is known of the terminal in its store.
    #[error(
        "nothing is known of a terminal {0:?} in this store; without terminal_id all are listed"
    )]
    UnknownTerminal(String),
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
    /// Nothing is known of the group of errors.
    #[error(
        "nothing is known of an error with the fingerprint {0}; GET /api/v1/errors lists the groups"
    )]
    UnknownError(String),
    /// As many queries as may wait are waiting, or it took too long until it was this one's turn.
    #[error("too many queries at once; try again in {RETRY_AFTER_S} s, or ask fewer at a time")]
    TooMany,
    /// The answer could not be written down.
    #[error("the answer could not be written as JSON")]
    Answer(#[from] serde_json::Error),
    /// ClickHouse did not answer.
    #[error("the database did not answer; try again")]
    ClickHouse(#[from] ClickHouseError),
    /// The journal could not be read.
    #[error("the journal could not be read: {0}")]
    Journal(String),
    /// The state file could not be read.
    #[error("{}", state_message(.0))]
    State(#[from] StateError),
}

impl QueryError {
    /// What an answer and the metrics call this error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadParameter(_) => ErrorCode::BadParameter,
            Self::UnknownMetric(_) => ErrorCode::UnknownMetric,
            Self::UnknownStore(_) => ErrorCode::UnknownStore,
            Self::UnknownTerminal(_) => ErrorCode::UnknownTerminal,
            Self::UnknownSession => ErrorCode::UnknownSession,
            Self::UnknownError(_) => ErrorCode::UnknownError,
            Self::NotAPseudonym => ErrorCode::NotAPseudonym,
            Self::TooLarge(_) | Self::TooManySeries => ErrorCode::TooLarge,
            Self::ClickHouse(_) => ErrorCode::DatabaseUnavailable,
            Self::State(_) => ErrorCode::StateUnavailable,
            Self::Journal(_) => ErrorCode::JournalUnavailable,
            Self::TooMany => ErrorCode::TooManyQueries,
            Self::Answer(_) => ErrorCode::Internal,
        }
    }
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
