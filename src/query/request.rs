//! Reads and checks what was asked.

use tillwatch_model::dimension::{LATER, is_identifier, is_release};
use tillwatch_model::metric::Metric;
use tillwatch_model::time::{HOUR_MS, MINUTE_MS};
use tillwatch_model::{Catalogue, Connection, Kind, Quantile, Source};

use crate::listed::listed;
use crate::query::error::QueryError;
use crate::query::parameters::{Given, Parameters, bad};

/// Points in one answer, over all of its series.
pub const POINTS_MAX: usize = 11_000;
/// Series in one answer.
pub const SERIES_MAX: usize = 200;
/// Quantiles in one request.
const QUANTILES_MAX: usize = 20;
/// The quantiles if nobody says.
pub const QUANTILES_DEFAULT: &str = "0.5,0.75,0.95,0.99";
/// A range that is not given ends now and is this long.
const DEFAULT_RANGE_MS: i64 = 3_600_000;
/// Times before this one, in 1973, are seconds that were taken for milliseconds. Unit: Unix ms.
const TIME_MS_MIN: i64 = 100_000_000_000;
/// The beginning of the year 2100. Unit: Unix ms.
const TIME_MS_MAX: i64 = 4_102_444_800_000;

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

/// What series are ordered by, the greatest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderBy {
    /// The number of values.
    Count,
    /// The sum of the values.
    Sum,
    /// The greatest value.
    Max,
    /// The number of values above the second threshold, and then above the first.
    Over,
    /// A quantile over the whole range.
    Quantile(Quantile),
}

impl OrderBy {
    fn parse(text: &str, metric: &Metric) -> Result<Self, QueryError> {
        let name = metric.name;
        let is_counter = metric.kind == Kind::Counter;
        let has_threshold = !is_counter && metric.thresholds.iter().any(Option::is_some);
        match (text, Quantile::parse(text)) {
            ("count", _) => Ok(Self::Count),
            ("sum", _) => Ok(Self::Sum),
            ("max", _) => Ok(Self::Max),
            ("over", _) if has_threshold => Ok(Self::Over),
            ("over", _) => Err(bad(format!(
                "order_by cannot be over: no value of {name} is compared with a threshold"
            ))),
            (_, Some(_)) if is_counter => Err(bad(format!(
                "order_by cannot be a quantile: {name} is a counter; order it by sum"
            ))),
            (_, Some(quantile)) => Ok(Self::Quantile(quantile)),
            (_, None) => Err(bad(format!(
                "order_by must be a quantile such as 0.95, count, sum, max or over, not {text:?}"
            ))),
        }
    }
}

/// Which series are wanted of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What the series are ordered by.
    pub by: OrderBy,
    /// How many of the first are wanted.
    pub limit: usize,
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
    /// Which series are wanted; `None`: all, by name.
    pub order: Option<Order>,
    /// The only groups that are read, ascending; `None`: all. No parameter says it: it follows from `order`.
    pub only: Option<Vec<String>>,
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
    "order_by",
    "limit",
];

impl PercentileRequest {
    /// Reads the parameters of a request that came at `now_ms`.
    ///
    /// # Errors
    /// Says which parameter cannot be right, and how it should be.
    pub fn parse(
        parameters: &Parameters,
        catalogue: &Catalogue,
        now_ms: i64,
    ) -> Result<Self, QueryError> {
        let given = parameters.check(KNOWN)?;
        let name = given
            .get("metric")?
            .ok_or_else(|| bad("metric is missing"))?;
        let (metric, _) = catalogue
            .find(name)
            .ok_or_else(|| QueryError::UnknownMetric(name.to_owned()))?;
        let to_ms = parse_time(given, "to")?.unwrap_or(now_ms);
        let from_ms = parse_time(given, "from")?.unwrap_or(to_ms - DEFAULT_RANGE_MS);
        if from_ms >= to_ms {
            return Err(bad("from must be before to"));
        }
        let step_ms = given.get("step")?.map(parse_step).transpose()?;
        if let Some(step_ms) = step_ms {
            let points = (to_ms - from_ms) / step_ms;
            if usize::try_from(points).unwrap_or(usize::MAX) > POINTS_MAX {
                return Err(QueryError::TooLarge(format!(
                    "{points} points in a series, over {POINTS_MAX}"
                )));
            }
        }
        let group_by = given
            .get("group_by")?
            .map_or(Ok(GroupBy::Nothing), |text| {
                GroupBy::parse(text)
                    .ok_or_else(|| bad("group_by must be store_id, release, connection or label"))
            })?;
        let quantiles = given.get("q")?.unwrap_or(QUANTILES_DEFAULT);
        let among = |key: &str, names: &[&str]| -> Result<Option<String>, QueryError> {
            let text = given.get(key)?;
            let is_good = text.is_none_or(|text| names.contains(&text));
            is_good.then(|| text.map(str::to_owned)).ok_or_else(|| {
                let text = text.unwrap_or_default();
                bad(format!("{key} must be {}, not {text:?}", one_of(names)))
            })
        };
        let matching = |key: &str, is_good: fn(&str) -> bool| {
            let text = given.get(key)?;
            let is_good = text.is_none_or(is_good);
            is_good
                .then(|| text.map(str::to_owned))
                .ok_or_else(|| bad(format!("no {key} is written so: {}", WRITTEN)))
        };
        let connections: Vec<&str> = Connection::ALL.iter().map(|one| one.name()).collect();
        let labels = metric.label.map_or(&[][..], |label| label.values);
        if labels.is_empty() && given.text("label").is_some() {
            return Err(bad(format!(
                "label cannot be given: {} has none",
                metric.name
            )));
        }
        let source = among("source", &sources())?;
        Ok(Self {
            metric: *metric,
            quantiles: parse_quantiles(quantiles)?,
            from_ms,
            to_ms,
            step_ms,
            store_id: matching("store_id", is_identifier)?,
            release: matching("release", is_release)?,
            connection: among("connection", &[&connections[..], &[LATER]].concat())?,
            label: among("label", &[labels, &[LATER]].concat())?,
            source: match source.as_deref() {
                None => Source::Rum.name().to_owned(),
                Some("all") => String::new(),
                Some(text) => text.to_owned(),
            },
            group_by,
            order: parse_order(given, metric, group_by)?,
            only: None,
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

/// The sources that can be asked for.
#[must_use]
pub fn sources() -> Vec<&'static str> {
    let all = Source::ALL.iter().map(|one| one.name());
    all.chain(["all"]).collect()
}

/// How names are written.
const WRITTEN: &str = "1 to 64 of A-Z a-z 0-9 _ . : -, and of a release also + and @";

/// Names as a sentence has them: `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        names => names.concat(),
    }
}

/// A time in Unix milliseconds; 0 stands for the beginning of everything.
pub(super) fn parse_time(given: Given<'_>, key: &str) -> Result<Option<i64>, QueryError> {
    let Some(text) = given.get(key)? else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(ms) if ms == 0 || (TIME_MS_MIN..=TIME_MS_MAX).contains(&ms) => Ok(Some(ms)),
        Ok(ms) if (0..TIME_MS_MIN).contains(&ms) => Err(bad(format!(
            "{key} must be Unix milliseconds, and {text} would be before 1974: is it in seconds?"
        ))),
        _ => Err(bad(format!(
            "{key} must be Unix milliseconds, not {text:?}"
        ))),
    }
}

fn parse_order(
    given: Given<'_>,
    metric: &Metric,
    group_by: GroupBy,
) -> Result<Option<Order>, QueryError> {
    let limit = given.number("limit", 1, SERIES_MAX)?;
    let Some(text) = given.get("order_by")? else {
        // Without an order a limit would leave out whatever comes later in the alphabet.
        return match limit {
            Some(_) => Err(bad(
                "limit needs order_by, which says which series come first",
            )),
            None => Ok(None),
        };
    };
    if group_by == GroupBy::Nothing {
        return Err(bad(
            "order_by orders series, and without group_by there is one",
        ));
    }
    Ok(Some(Order {
        by: OrderBy::parse(text, metric)?,
        limit: limit.unwrap_or(SERIES_MAX),
    }))
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
    for (at, quantile) in quantiles.iter().enumerate() {
        // The text is a key of the answer.
        let mut before = quantiles.iter().take(at);
        if before.any(|before| before.text() == quantile.text()) {
            return Err(bad(format!("q names {} more than once", quantile.text())));
        }
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
        let parameters: Parameters = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        PercentileRequest::parse(&parameters, &Catalogue::default(), 10_000_000)
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

    /// What a refused request is told.
    fn refused(pairs: &[(&str, &str)]) -> String {
        match parse(pairs) {
            Err(QueryError::BadParameter(text)) => text,
            other => panic!("{pairs:?}: {other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_by_name() {
        assert_eq!(refused(&[]), "metric is missing");
        let cases: &[(&str, &str)] = &[
            ("q", "95"),
            ("q", "0.5,0.5"),
            ("q", ""),
            ("from", "yesterday"),
            ("from", "5"),
            // The time of these tests, in seconds and in microseconds.
            ("from", "1763683200"),
            ("to", "1763683200000000"),
            ("to", "-1"),
            ("step", ""),
            ("store", "x"),
            ("store_id", "a b"),
            ("store_id", ""),
            ("release", "' OR 1=1 --"),
            ("connection", "4g"),
            ("connection", "Online"),
            ("source", "RUM"),
            ("source", "x"),
            ("label", "hit"),
            ("group_by", "terminal_id"),
            ("order_by", "0.95"),
            ("limit", "20"),
        ];
        for (key, value) in cases {
            let text = refused(&[("metric", "lcp_ms"), (key, value)]);
            assert!(text.contains(key), "{key}={value}: {text}");
        }
        assert!(
            refused(&[("metric", "lcp_ms"), ("source", "x")]).contains("rum, synthetic or all")
        );
        let label = [("metric", "cache_requests"), ("label", "success")];
        assert!(refused(&label).contains("label must be hit, miss or __unknown__"));
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

    #[test]
    fn series_are_ordered_by_what_the_metric_has() {
        let parse = |metric: &str, order_by: &str, limit: &str| {
            parse(&[
                ("metric", metric),
                ("group_by", "store_id"),
                ("order_by", order_by),
                ("limit", limit),
            ])
        };
        for (text, by) in [
            ("count", OrderBy::Count),
            ("sum", OrderBy::Sum),
            ("max", OrderBy::Max),
            ("over", OrderBy::Over),
            ("0.95", OrderBy::Quantile(Quantile::parse("0.95").unwrap())),
        ] {
            let order = parse("sync_duration_ms", text, "20").unwrap().order;
            assert_eq!(order, Some(Order { by, limit: 20 }));
        }
        assert!(parse("errors", "sum", "1").is_ok());
        for (metric, order_by, limit) in [
            ("sync_duration_ms", "p95", "20"),
            ("sync_duration_ms", "95", "20"),
            ("sync_duration_ms", "0.95", "0"),
            ("sync_duration_ms", "0.95", "201"),
            // A counter has neither percentiles nor values that are compared with a threshold.
            ("errors", "0.95", "20"),
            ("errors", "over", "20"),
            ("db_size_mb", "over", "20"),
        ] {
            let error = parse(metric, order_by, limit).unwrap_err();
            assert!(matches!(error, QueryError::BadParameter(_)), "{error}");
        }
    }
}
