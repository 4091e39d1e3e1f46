//! Reads and checks what was asked.

use std::collections::HashMap;

use tillwatch_model::metric::Metric;
use tillwatch_model::time::{HOUR_MS, MINUTE_MS};
use tillwatch_model::{Catalogue, Quantile};

use crate::listed::listed;
use crate::query::error::QueryError;

/// Points in one answer, over all of its series.
pub const POINTS_MAX: usize = 11_000;
/// Series in one answer.
pub const SERIES_MAX: usize = 200;
/// Quantiles in one request.
const QUANTILES_MAX: usize = 20;
/// A range that is not given ends now and is this long.
const DEFAULT_RANGE_MS: i64 = 3_600_000;

listed! {
    /// What series are told apart by.
    pub enum GroupBy {
        /// One series.
        Nothing,
        /// One a store.
        Store,
        /// One a release.
        Release,
        /// One a connection.
        Connection,
        /// One a label.
        Label,
    }
}

impl GroupBy {
    /// The column, which is also the key in the answer; none for a single series.
    #[must_use]
    pub fn column(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Store => Some("store_id"),
            Self::Release => Some("release"),
            Self::Connection => Some("connection"),
            Self::Label => Some("label"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|group_by| group_by.column() == Some(text))
    }
}

/// A request for percentiles, checked.
#[derive(Debug, Clone)]
pub struct PercentileRequest {
    /// The metric.
    pub metric: Metric,
    /// Quantiles, in the request's order.
    pub quantiles: Vec<Quantile>,
    /// The first millisecond of the range.
    pub from_ms: i64,
    /// The first millisecond after the range.
    pub to_ms: i64,
    /// Length of a point; `None`: one point for the range.
    pub step_ms: Option<i64>,
    /// The store that is asked for; `None`: all.
    pub store_id: Option<String>,
    /// The release that is asked for; `None`: all.
    pub release: Option<String>,
    /// The connection that is asked for; `None`: all.
    pub connection: Option<String>,
    /// The label that is asked for; `None`: all.
    pub label: Option<String>,
    /// The source that is asked for; empty: all.
    pub source: String,
    /// What series are told apart by.
    pub group_by: GroupBy,
}

const KNOWN: &[&str] = &[
    "metric",
    "q",
    "from",
    "to",
    "step",
    "store_id",
    "release",
    "connection",
    "label",
    "source",
    "group_by",
];

fn bad(text: impl Into<String>) -> QueryError {
    QueryError::BadParameter(text.into())
}

impl PercentileRequest {
    /// Reads the parameters of a request that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be read, and how it should be.
    pub fn parse(
        parameters: &HashMap<String, String>,
        catalogue: &Catalogue,
        now_ms: i64,
    ) -> Result<Self, QueryError> {
        if let Some(unknown) = parameters.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(bad(format!(
                "there is no parameter {unknown:?}; known are {}",
                KNOWN.join(", ")
            )));
        }
        let given = |key: &str| {
            parameters
                .get(key)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let name = given("metric").ok_or_else(|| bad("metric is missing"))?;
        let (metric, _) = catalogue
            .find(name)
            .ok_or_else(|| QueryError::UnknownMetric(name.to_owned()))?;
        let time = |key: &str, default: i64| match given(key) {
            None => Ok(default),
            Some(text) => text
                .parse::<i64>()
                .ok()
                .filter(|ms| (0..=4_102_444_800_000).contains(ms))
                .ok_or_else(|| bad(format!("{key} must be Unix milliseconds, not {text:?}"))),
        };
        let to_ms = time("to", now_ms)?;
        let from_ms = time("from", to_ms - DEFAULT_RANGE_MS)?;
        if from_ms >= to_ms {
            return Err(bad("from must be before to"));
        }
        let step_ms = given("step").map(parse_step).transpose()?;
        if let Some(step_ms) = step_ms {
            let points = (to_ms - from_ms) / step_ms;
            if usize::try_from(points).unwrap_or(usize::MAX) > POINTS_MAX {
                return Err(QueryError::TooLarge(format!(
                    "{points} points in a series, over {POINTS_MAX}"
                )));
            }
        }
        let group_by = given("group_by").map_or(Ok(GroupBy::Nothing), |text| {
            GroupBy::parse(text)
                .ok_or_else(|| bad("group_by must be store_id, release, connection or label"))
        });
        let owned = |key: &str| given(key).map(str::to_owned);
        Ok(Self {
            metric: *metric,
            quantiles: parse_quantiles(given("q").unwrap_or("0.5,0.75,0.95,0.99"))?,
            from_ms,
            to_ms,
            step_ms,
            store_id: owned("store_id"),
            release: owned("release"),
            connection: owned("connection"),
            label: owned("label"),
            source: match given("source") {
                None => "rum".to_owned(),
                Some("all") => String::new(),
                Some(text) => text.to_owned(),
            },
            group_by: group_by?,
        })
    }

    /// The start of the point that a window belongs to, in seconds: the multiple of the step that is
    /// not after it, but not before the range; without a step the range's start. As in the SQL.
    #[must_use]
    pub fn point_of(&self, window_start_s: u32) -> u32 {
        let step_s = self
            .step_ms
            .and_then(|step_ms| u32::try_from(step_ms / 1_000).ok());
        let start_s = step_s.map_or(0, |step_s| window_start_s / step_s * step_s);
        start_s.max(self.from_s())
    }

    /// Whether every hour lies in one point, so that hours need not be taken apart.
    #[must_use]
    pub fn has_whole_hours(&self) -> bool {
        self.step_ms.is_none_or(|step_ms| step_ms % HOUR_MS == 0)
    }

    /// Whether rows of this store are asked for.
    #[must_use]
    pub fn wants_store(&self, store_id: &str) -> bool {
        self.store_id
            .as_deref()
            .is_none_or(|wanted| wanted == store_id)
    }

    /// The first second of the range: windows are taken that start in it.
    #[must_use]
    pub fn from_s(&self) -> u32 {
        u32::try_from(
            self.from_ms.div_euclid(1_000) + i64::from(self.from_ms.rem_euclid(1_000) > 0),
        )
        .unwrap_or(0)
    }

    /// The first second after the range.
    #[must_use]
    pub fn to_s(&self) -> u32 {
        u32::try_from(self.to_ms.div_euclid(1_000) + i64::from(self.to_ms.rem_euclid(1_000) > 0))
            .unwrap_or(u32::MAX)
    }
}

fn parse_quantiles(text: &str) -> Result<Vec<Quantile>, QueryError> {
    let quantiles: Option<Vec<Quantile>> = text
        .split(',')
        .map(|part| Quantile::parse(part.trim()))
        .collect();
    let quantiles =
        quantiles.ok_or_else(|| bad("q must be decimals between 0 and 1, such as 0.5,0.95"))?;
    if quantiles.len() > QUANTILES_MAX {
        return Err(bad(format!("q may have at most {QUANTILES_MAX} quantiles")));
    }
    Ok(quantiles)
}

/// A step: whole seconds, or a number with `s`, `m`, `h` or `d`; a multiple of a minute.
fn parse_step(text: &str) -> Result<i64, QueryError> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let unit_ms = match unit {
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let number = digits
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms));
    number
        .filter(|step_ms| *step_ms > 0 && step_ms % MINUTE_MS == 0)
        .ok_or_else(|| {
            bad(format!(
                "step must be a multiple of 60 s such as 60, 5m, 1h or 1d, not {text:?}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<PercentileRequest, QueryError> {
        let parameters = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PercentileRequest::parse(&parameters.collect(), &Catalogue::default(), 10_000_000)
    }

    #[test]
    fn defaults_are_the_last_hour_of_real_users() {
        let request = parse(&[("metric", "lcp")]).unwrap();
        assert_eq!(
            (request.metric.name, request.source.as_str()),
            ("lcp_ms", "rum")
        );
        assert_eq!((request.from_ms, request.to_ms), (6_400_000, 10_000_000));
        assert_eq!(request.quantiles.len(), 4);
    }

    #[test]
    fn steps_have_units_and_are_whole_minutes() {
        for (text, ms) in [
            ("60", 60_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_step(text).unwrap(), ms);
        }
        for text in ["0", "30s", "-60", "1w", "m", "", "99999999999999999999d"] {
            assert!(parse_step(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases: [&[(&str, &str)]; 6] = [
            &[],
            &[("metric", "lcp_ms"), ("q", "95")],
            &[("metric", "lcp_ms"), ("from", "yesterday")],
            &[("metric", "lcp_ms"), ("from", "5"), ("to", "5")],
            &[("metric", "lcp_ms"), ("group_by", "terminal_id")],
            &[("metric", "lcp_ms"), ("store", "x")],
        ];
        for case in cases {
            assert!(
                matches!(parse(case), Err(QueryError::BadParameter(_))),
                "{case:?}"
            );
        }
        assert!(matches!(
            parse(&[("metric", "nope")]),
            Err(QueryError::UnknownMetric(_))
        ));
        let long = [
            ("metric", "lcp_ms"),
            ("from", "0"),
            ("to", "4000000000000"),
            ("step", "60"),
        ];
        assert!(matches!(parse(&long), Err(QueryError::TooLarge(_))));
    }
}
