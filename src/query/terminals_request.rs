//! Reads and checks a request for a store's terminals.

use tillwatch_model::dimension::is_identifier;
use tillwatch_model::time::HOUR_MS;

use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};

/// Terminals in one answer.
pub const TERMINALS_MAX: usize = 1_000;
/// Terminals in one answer if nobody says.
pub const TERMINALS_DEFAULT: usize = 100;
/// The longest time back: what ClickHouse keeps.
pub const HOURS_MAX: usize = 90 * 24;
/// The time back if nobody says.
pub const HOURS_DEFAULT: usize = 24;

/// A request for a store's terminals, checked.
#[derive(Debug, Clone)]
pub struct TerminalsRequest {
    pub(super) store_id: String,
    pub(super) terminal_id: Option<String>,
    /// First hour of the metrics, Unix ms; `None`: without metrics.
    pub(super) from_ms: Option<i64>,
    pub(super) now_ms: i64,
    pub(super) limit: usize,
}

impl TerminalsRequest {
    /// Reads the parameters of a request that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(parameters: &Parameters, now_ms: i64) -> Result<Self, QueryError> {
        let given = parameters.check(&["store_id", "terminal_id", "hours", "limit"])?;
        let identifier = |key: &str| match given.get(key)? {
            Some(text) if is_identifier(text) => Ok(Some(text.to_owned())),
            Some(_) => Err(bad(format!("{key} must be 1 to 64 of A-Z a-z 0-9 _ . : -"))),
            None => Ok(None),
        };
        let hours = given.number("hours", 0, HOURS_MAX)?;
        let hours = i64::try_from(hours.unwrap_or(HOURS_DEFAULT)).unwrap_or(0);
        let limit = given.number("limit", 1, TERMINALS_MAX)?;
        Ok(Self {
            store_id: identifier("store_id")?.ok_or_else(|| bad("store_id is missing"))?,
            terminal_id: identifier("terminal_id")?,
            from_ms: (hours > 0).then(|| (now_ms - hours * HOUR_MS) / HOUR_MS * HOUR_MS),
            now_ms,
            limit: limit.unwrap_or(TERMINALS_DEFAULT),
        })
    }

    /// Whether ClickHouse has to answer for it.
    #[must_use]
    pub fn needs_database(&self) -> bool {
        self.from_ms.is_some()
    }

    pub(super) fn wants(&self, terminal_id: &str) -> bool {
        let wanted = self.terminal_id.as_deref();
        wanted.is_none_or(|wanted| wanted == terminal_id)
    }

    /// First hour of the metrics, Unix seconds.
    pub(super) fn first_hour_s(&self) -> u32 {
        let from_s = self.from_ms.map(|from_ms| from_ms / 1_000);
        from_s
            .and_then(|from_s| u32::try_from(from_s).ok())
            .unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_and_the_hours_begin_at_an_hour() {
        let parse = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            TerminalsRequest::parse(&pairs.collect::<Parameters>(), 100 * HOUR_MS + 7)
        };
        let request = parse(&[("store_id", "s")]).unwrap();
        assert_eq!(
            (request.from_ms, request.limit),
            (Some(76 * HOUR_MS), TERMINALS_DEFAULT)
        );
        let request = parse(&[("store_id", "s"), ("hours", "0")]).unwrap();
        assert!(!request.needs_database());
        for wrong in [
            &[][..],
            &[("store_id", "a b")],
            &[("store_id", "s"), ("terminal_id", "%")],
            &[("store_id", "s"), ("hours", "-1")],
            &[("store_id", "s"), ("hours", "2161")],
            &[("store_id", "s"), ("limit", "0")],
            &[("store_id", "s"), ("limit", "1001")],
            &[("store_id", "s"), ("store", "s")],
            &[("store_id", "s"), ("store_id", "s")],
            &[("store_id", "s"), ("terminal_id", "")],
        ] {
            assert!(
                matches!(parse(wrong), Err(QueryError::BadParameter(_))),
                "{wrong:?}"
            );
        }
    }
}
