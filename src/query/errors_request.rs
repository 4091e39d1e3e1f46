//! Reads and checks a request for groups of errors.

use tillwatch_model::EventKind;
use tillwatch_model::dimension::{is_identifier, is_release};
use tillwatch_model::error_event::Fingerprint;
use tillwatch_model::time::{DAY_MS, HOUR_MS};

use crate::query::error::QueryError;
use crate::query::parameters::{Parameters, bad};
use crate::query::request::parse_time;

/// Groups in one answer.
pub const GROUPS_MAX: usize = 200;
/// Groups in one answer if nobody says.
pub const GROUPS_DEFAULT: usize = 50;
/// How far back an answer goes if nobody says.
const RANGE_DEFAULT_MS: i64 = DAY_MS;
/// Over a longer range the trend is by day.
const BY_HOUR_MS_MAX: i64 = 3 * DAY_MS;

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// What happened most often.
    Count,
    /// What was seen for the first time last.
    FirstSeen,
    /// What happened in most stores.
    Stores,
}

/// A request for groups of errors, checked.
#[derive(Debug, Clone)]
pub struct ErrorsRequest {
    pub(super) kind: EventKind,
    pub(super) release: Option<String>,
    pub(super) store_id: Option<String>,
    /// From the beginning of this hour.
    pub(super) since_ms: i64,
    pub(super) now_ms: i64,
    pub(super) order: Order,
    pub(super) limit: usize,
    /// Only this group.
    pub(super) fingerprint: Option<Fingerprint>,
}

impl ErrorsRequest {
    /// Reads the parameters of a request for groups that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(parameters: &Parameters, now_ms: i64) -> Result<Self, QueryError> {
        let known = ["kind", "release", "store_id", "since", "order_by", "limit"];
        let given = parameters.check(&known)?;
        let kind = match given.get("kind")? {
            Some(text) => EventKind::from_name(text).ok_or_else(|| {
                let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
                bad(format!("kind must be one of {}", kinds.join(", ")))
            })?,
            None => EventKind::Error,
        };
        let order = match given.get("order_by")? {
            None | Some("count") => Order::Count,
            Some("first_seen") => Order::FirstSeen,
            Some("stores") => Order::Stores,
            Some(_) => return Err(bad("order_by must be count, first_seen or stores")),
        };
        let limit = given.number("limit", 1, GROUPS_MAX)?;
        Self::of(parameters, &known, now_ms).map(|request| Self {
            kind,
            order,
            limit: limit.unwrap_or(GROUPS_DEFAULT),
            ..request
        })
    }

    /// Reads the parameters of a request for one group.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse_one(
        fingerprint: &str,
        parameters: &Parameters,
        now_ms: i64,
    ) -> Result<Self, QueryError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_one = fingerprint.len() == 16 && fingerprint.bytes().all(is_digit);
        let number = u64::from_str_radix(fingerprint, 16).ok().filter(|_| is_one);
        let number = number.ok_or_else(|| bad("a fingerprint has 16 digits of 0-9 a-f"))?;
        let request = Self::of(parameters, &["release", "store_id", "since"], now_ms)?;
        Ok(Self {
            fingerprint: Some(number),
            ..request
        })
    }

    fn of(parameters: &Parameters, known: &[&str], now_ms: i64) -> Result<Self, QueryError> {
        let given = parameters.check(known)?;
        let matching = |key: &str, is_good: fn(&str) -> bool| match given.get(key)? {
            Some(text) if is_good(text) => Ok(Some(text.to_owned())),
            Some(_) => Err(bad(format!("no {key} is written so"))),
            None => Ok(None),
        };
        let since_ms = parse_time(given, "since")?.unwrap_or(now_ms - RANGE_DEFAULT_MS);
        if since_ms > now_ms {
            return Err(bad("since must not lie ahead"));
        }
        Ok(Self {
            kind: EventKind::Error,
            release: matching("release", is_release)?,
            store_id: matching("store_id", is_identifier)?,
            since_ms: since_ms.div_euclid(HOUR_MS) * HOUR_MS,
            now_ms,
            order: Order::Count,
            limit: 1,
            fingerprint: None,
        })
    }

    pub(super) fn since_s(&self) -> u32 {
        u32::try_from(self.since_ms / 1_000).unwrap_or(0)
    }

    /// The length of a point of the trend. Unit: seconds.
    pub(super) fn step_s(&self) -> u32 {
        let is_short = self.now_ms - self.since_ms <= BY_HOUR_MS_MAX;
        if is_short { 3_600 } else { 86_400 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_763_683_200_000 + 7 * 60_000;

    fn given(pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_the_time_begins_at_an_hour() {
        let request = ErrorsRequest::parse(&given(&[("order_by", "stores")]), NOW_MS).unwrap();
        assert_eq!(
            (request.order, request.limit),
            (Order::Stores, GROUPS_DEFAULT)
        );
        assert_eq!(request.since_ms, (NOW_MS - DAY_MS) / HOUR_MS * HOUR_MS);
        assert_eq!(request.step_s(), 3_600);
        let week_ago = (NOW_MS - 7 * DAY_MS).to_string();
        let request = ErrorsRequest::parse(&given(&[("since", &week_ago)]), NOW_MS).unwrap();
        assert_eq!(request.step_s(), 86_400);
        let ahead = (NOW_MS + 1).to_string();
        for wrong in [
            &[("kind", "crash")][..],
            &[("order_by", "last_seen")],
            &[("since", &ahead)],
            &[("store_id", "a b")],
            &[("release", "")],
            &[("limit", "201")],
            &[("fingerprint", "00")],
        ] {
            assert!(
                ErrorsRequest::parse(&given(wrong), NOW_MS).is_err(),
                "{wrong:?}"
            );
        }
        let one = |text: &str| ErrorsRequest::parse_one(text, &given(&[]), NOW_MS);
        assert_eq!(one("00000000000000ff").unwrap().fingerprint, Some(255));
        for wrong in ["ff", "00000000000000FF", "00000000000000fg", ""] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
    }
}
