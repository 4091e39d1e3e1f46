//! The query API, as far as it is needed: percentiles of a metric over the run's range.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;
use tillwatch_model::Metric;

use crate::Options;
use crate::client::{ClientError, admin_http};

/// The quantiles that are compared; also the keys of the answer.
pub const QUANTILES: [&str; 4] = ["0.5", "0.75", "0.95", "0.99"];

/// The most series the query API answers with.
const GROUPS_MAX: u32 = 200;

/// How long an answer may take: whole days of a fleet, on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(150);

/// How far past the run's end samples may lie: the five minutes that are accepted, and a window.
pub const AHEAD_MS: i64 = 6 * 60_000;

/// Why the query API did not tell.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no client for it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody answers, or the answer is not the query API's.
    #[error("the query API at {url} did not answer")]
    Query {
        /// Where the query API should be.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// The query API answers with a status that is no success.
    #[error("the query API at {url} answered {status} for {metric}: {body}")]
    Status {
        /// Where the query API is.
        url: String,
        /// The metric asked for.
        metric: &'static str,
        /// The status.
        status: u16,
        /// The beginning of what the query API said.
        body: String,
    },
}

#[derive(Debug, Deserialize)]
struct AnswerBody {
    series: Vec<Series>,
}

/// One series of an answer.
#[derive(Debug, Deserialize)]
pub struct Series {
    /// The store of the series, when grouped by store.
    pub store_id: Option<String>,
    /// The release of the series, when grouped by release.
    pub release: Option<String>,
    /// The points of the series.
    pub points: Vec<Point>,
}

/// What the collector holds of one metric in one group.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Point {
    /// The beginning of the point's span, Unix ms.
    #[serde(default)]
    pub t: i64,
    /// Samples.
    pub count: u64,
    /// The sum of the samples, in the wire unit.
    pub sum: f64,
    /// The quantiles, in the wire unit.
    #[serde(default)]
    pub values: BTreeMap<String, Option<f64>>,
}

/// What the collector holds of one metric.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// All stores together, also those of other senders.
    pub fleet: Point,
    /// By store, if they are few enough.
    pub stores: Option<HashMap<String, Point>>,
}

/// Asks for percentiles.
#[derive(Debug)]
pub struct Query {
    http: reqwest::Client,
    url: String,
    from_ms: i64,
    is_grouped: bool,
}

impl Query {
    /// Asks the admin listener at this address, from this time on, about a fleet of so many stores.
    ///
    /// # Errors
    /// When there is no client for it.
    pub fn new(url: &str, options: &Options, from_ms: i64) -> Result<Self, QueryError> {
        Ok(Self {
            http: admin_http(options)?,
            url: format!("{}/api/v1/percentiles", url.trim_end_matches('/')),
            from_ms,
            is_grouped: options.stores <= GROUPS_MAX,
        })
    }

    /// Whether stores are asked for one by one.
    pub fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    /// The beginning of the range, Unix ms.
    pub fn range_start_ms(&self) -> i64 {
        self.from_ms
    }

    /// What the collector holds of a metric, from the beginning of the range until now and a little more.
    pub async fn ask(&mut self, metric: &Metric, now_ms: i64) -> Result<Found, QueryError> {
        let fleet = self
            .ask_once(metric, now_ms, &[])
            .await?
            .unwrap_or_default();
        let fleet = first_point(fleet);
        if !self.is_grouped {
            return Ok(Found {
                fleet,
                stores: None,
            });
        }
        let Some(series) = self
            .ask_once(metric, now_ms, &[("group_by", "store_id")])
            .await?
        else {
            // With the stores of others they are too many.
            self.is_grouped = false;
            return Ok(Found {
                fleet,
                stores: None,
            });
        };
        let stores = series
            .into_iter()
            .filter_map(|one| Some((one.store_id?, one.points.into_iter().next()?)))
            .collect();
        Ok(Found {
            fleet,
            stores: Some(stores),
        })
    }

    /// One question; `None` when the answer would be too long.
    async fn ask_once(
        &self,
        metric: &Metric,
        now_ms: i64,
        grouping: &[(&str, &str)],
    ) -> Result<Option<Vec<Series>>, QueryError> {
        self.request(metric, self.from_ms, now_ms + AHEAD_MS, grouping)
            .await
    }

    /// What the collector holds of a metric in a range, told apart as these parameters say.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn series(
        &self,
        metric: &Metric,
        range: (i64, i64),
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Series>, QueryError> {
        let (from_ms, to_ms) = range;
        let series = self.request(metric, from_ms, to_ms, parameters).await?;
        series.ok_or_else(|| QueryError::Status {
            url: self.url.clone(),
            metric: metric.name,
            status: 422,
            body: "more series or points than it answers with".to_owned(),
        })
    }

    async fn request(
        &self,
        metric: &Metric,
        from_ms: i64,
        to_ms: i64,
        grouping: &[(&str, &str)],
    ) -> Result<Option<Vec<Series>>, QueryError> {
        let failed = |source| QueryError::Query {
            url: self.url.clone(),
            source,
        };
        let range = [from_ms.to_string(), to_ms.to_string()];
        let request = self
            .http
            .get(&self.url)
            .timeout(ANSWER_MAX)
            .query(&[
                ("metric", metric.name),
                ("q", &QUANTILES.join(",")),
                ("source", "rum"),
                ("from", &range[0]),
                ("to", &range[1]),
            ])
            .query(grouping);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status == reqwest::StatusCode::UNPROCESSABLE_ENTITY && !grouping.is_empty() {
            return Ok(None);
        }
        if !status.is_success() {
            const SHOWN_CHARS_MAX: usize = 200;
            let body = response.text().await.unwrap_or_default();
            return Err(QueryError::Status {
                url: self.url.clone(),
                metric: metric.name,
                status: status.as_u16(),
                body: body.chars().take(SHOWN_CHARS_MAX).collect(),
            });
        }
        let body: AnswerBody = response.json().await.map_err(failed)?;
        Ok(Some(body.series))
    }
}

fn first_point(series: Vec<Series>) -> Point {
    let point = series
        .into_iter()
        .next()
        .and_then(|one| one.points.into_iter().next());
    point.unwrap_or_default()
}
