//! Reads and checks a request for the ledger of losses.

use tillwatch_model::LossState;
use tillwatch_model::dimension::is_identifier;
use tillwatch_model::time::DAY_MS;

use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};
use crate::query::request::parse_time;

/// Lines in one answer.
pub const LINES_MAX: usize = 1_000;
/// Lines in one answer if nobody says.
pub const LINES_DEFAULT: usize = 100;
/// How far back an answer goes if nobody says.
const RANGE_DEFAULT_MS: i64 = 7 * DAY_MS;

/// The state of what is missing still.
pub(super) const OPEN: &str = "open";

/// The states that can be asked for.
#[must_use]
pub fn states() -> Vec<&'static str> {
    let ended = LossState::ALL.iter().map(|state| state.name());
    std::iter::once(OPEN).chain(ended).collect()
}

/// A request for the ledger, checked.
#[derive(Debug, Clone)]
pub struct LossesRequest {
    pub(super) store_id: Option<String>,
    /// `None`: all, those that are open among them.
    pub(super) state: Option<&'static str>,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) now_ms: i64,
    pub(super) limit: usize,
}

impl LossesRequest {
    /// Reads the parameters of a request that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(parameters: &Parameters, now_ms: i64) -> Result<Self, QueryError> {
        let given = parameters.check(&["store_id", "state", "from", "to", "limit"])?;
        let store_id = match given.get("store_id")? {
            Some(text) if is_identifier(text) => Some(text.to_owned()),
            Some(_) => return Err(bad("store_id must be 1 to 64 of A-Z a-z 0-9 _ . : -")),
            None => None,
        };
        let states = states();
        let state = match given.get("state")? {
            Some(text) => {
                let known = states.iter().find(|known| **known == text);
                let wrong = || bad(format!("state must be one of {}", states.join(", ")));
                Some(*known.ok_or_else(wrong)?)
            }
            None => None,
        };
        let to_ms = parse_time(given, "to")?.unwrap_or(now_ms + 1_000);
        let from_ms = parse_time(given, "from")?.unwrap_or(to_ms - RANGE_DEFAULT_MS);
        if from_ms >= to_ms {
            return Err(bad("from must lie before to"));
        }
        let limit = given.number("limit", 1, LINES_MAX)?;
        Ok(Self {
            store_id,
            state,
            from_ms,
            to_ms,
            now_ms,
            limit: limit.unwrap_or(LINES_DEFAULT),
        })
    }

    pub(super) fn seconds(&self) -> (u32, u32) {
        let seconds = |t_ms: i64| u32::try_from(t_ms.div_euclid(1_000)).unwrap_or(0);
        (seconds(self.from_ms), seconds(self.to_ms))
    }

    pub(super) fn wants(&self, store_id: &str, ended_at_s: u32) -> bool {
        let (from_s, to_s) = self.seconds();
        let wanted = self.store_id.as_deref();
        (from_s..to_s).contains(&ended_at_s) && wanted.is_none_or(|wanted| wanted == store_id)
    }

    pub(super) fn wants_state(&self, state: &str) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_and_a_range_holds_its_first_second_alone() {
        let now_ms = 1_763_683_200_000;
        let parse = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            LossesRequest::parse(&pairs.collect::<Parameters>(), now_ms)
        };
        let request = parse(&[("store_id", "s"), ("state", "lost")]).unwrap();
        assert_eq!(request.limit, LINES_DEFAULT);
        assert!(request.wants_state("lost") && !request.wants_state(OPEN));
        let (from_s, to_s) = request.seconds();
        assert!(request.wants("s", from_s) && !request.wants("s", to_s));
        assert!(!request.wants("t", from_s) && !request.wants("s", from_s - 1));
        // What was noted in this second is in it.
        assert!(request.wants("s", u32::try_from(now_ms / 1_000).unwrap()));
        for wrong in [
            &[("state", "gone")][..],
            &[("store_id", "a b")],
            &[("limit", "0")],
            &[("from", "1763683200000"), ("to", "1763683200000")],
            &[("store", "s")],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
