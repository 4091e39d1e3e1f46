//! What the collector claims, asked over its admin listener.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tillwatch_model::time::HOUR_MS;

use crate::Options;
use crate::claims::Span;
use crate::client::admin_http;
use crate::fleet::store_ids;
use crate::query::QueryError;
use crate::scenario::Page;
use crate::truth::Truth;

/// Lines in one answer, at most.
const LINES_MAX: &str = "1000";
/// Groups of errors in one answer, at most.
const GROUPS_MAX: &str = "200";
/// Groups that nobody sent which are looked at more closely.
const STRAYS_MAX: usize = 20;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The answer about silent terminals.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SilentAnswer {
    /// Since when the collector has been ready; `None`: nobody is called silent now.
    pub ready_since: Option<i64>,
    /// How long a terminal that should report may be silent.
    pub silent_after_ms: i64,
    /// How many terminals there are to list.
    pub terminals_total: usize,
    /// The terminals.
    pub terminals: Vec<SilentLine>,
}

/// A terminal that does not report.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SilentLine {
    /// The terminal's store.
    pub store_id: String,
    /// The terminal.
    pub terminal_id: String,
    /// `silent`, or that it said so before.
    pub state: String,
}

/// A line of the ledger of losses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct LossLine {
    /// The terminal's store.
    pub store_id: String,
    /// The terminal.
    pub terminal_id: String,
    /// The queue; none: never numbered.
    pub queue: Option<String>,
    /// The first number.
    pub from_seq: Option<u64>,
    /// The last number.
    pub to_seq: Option<u64>,
    /// How many of the numbers the line is about.
    pub batches: u64,
    /// `open`, `closed`, `explained` or `lost`.
    pub state: String,
    /// How many samples they held.
    pub samples: u64,
}

#[derive(Debug, Deserialize)]
struct LossesAnswer {
    is_whole: bool,
    losses: Vec<LossLine>,
}

/// A group of errors.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Group {
    /// Sixteen hexadecimal digits.
    pub fingerprint: String,
    /// How often.
    pub count: u64,
    /// The first hour in which it was seen, Unix ms.
    pub first_seen: i64,
    /// In how many stores.
    pub stores: u64,
    /// On how many terminals.
    pub terminals: u64,
    /// Counts by store, 100 at most; of groups that were asked for one by one.
    #[serde(default)]
    pub by_store: Vec<OfStore>,
}

/// A group's part of one store.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OfStore {
    /// The store.
    pub store_id: String,
}

#[derive(Debug, Deserialize)]
struct GroupsAnswer {
    groups: Vec<Group>,
}

/// All that is claimed.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Terminals that are called silent.
    pub silent: SilentAnswer,
    /// The ledger of losses.
    pub losses: BTreeSet<LossLine>,
    /// Whether the ledger was longer than what was answered.
    pub are_losses_cut: bool,
    /// The errors that the fleet reports, as far as they are known, and others that are new.
    pub errors: BTreeMap<String, Group>,
    /// How often errors were counted before the run.
    pub errors_before: BTreeMap<String, u64>,
    /// The page about the terminals.
    pub fleet: Page,
    /// The page about the terminals before the run.
    pub fleet_before: Page,
    /// The page about the collector.
    pub own: Page,
}

/// Asks the admin listener.
#[derive(Debug)]
pub struct Asker {
    http: reqwest::Client,
    base: String,
    stores: Vec<String>,
    since_ms: i64,
    errors_before: BTreeMap<String, u64>,
    fleet_before: Page,
}

impl Asker {
    /// Asks what there is before the run.
    pub async fn start(url: &str, options: &Options, span: Span) -> Result<Self, QueryError> {
        let mut asker = Self {
            http: admin_http(options)?,
            base: url.trim_end_matches('/').to_owned(),
            stores: store_ids(options),
            // A batch reaches back before the beginning, perhaps into the hour before.
            since_ms: span.begin_ms - HOUR_MS,
            errors_before: BTreeMap::new(),
            fleet_before: Page::default(),
        };
        asker.fleet_before = asker.page("/metrics/fleet").await?;
        let listed = asker.listed().await?;
        let counts = listed
            .into_iter()
            .map(|group| (group.fingerprint, group.count));
        asker.errors_before = counts.collect();
        Ok(asker)
    }

    /// Asks what is claimed now.
    pub async fn ask(&self, truth: &Truth) -> Result<Answers, QueryError> {
        let silent: SilentAnswer = self
            .json("/api/v1/terminals/silent", &[("limit", LINES_MAX)])
            .await?
            .unwrap_or_default();
        let mut answers = Answers {
            silent,
            errors_before: self.errors_before.clone(),
            fleet_before: self.fleet_before.clone(),
            fleet: self.page("/metrics/fleet").await?,
            own: self.page("/metrics").await?,
            ..Answers::default()
        };
        self.ask_losses(&mut answers).await?;
        self.ask_errors(truth, &mut answers).await?;
        Ok(answers)
    }

    /// The whole ledger, or that of each store if it is longer than an answer.
    async fn ask_losses(&self, answers: &mut Answers) -> Result<(), QueryError> {
        let path = "/api/v1/losses";
        let all: Option<LossesAnswer> = self.json(path, &[("limit", LINES_MAX)]).await?;
        let all = all.filter(|answer| answer.is_whole);
        if let Some(answer) = all {
            answers.losses = answer.losses.into_iter().collect();
            return Ok(());
        }
        for store_id in &self.stores {
            for state in ["open", "closed", "explained", "lost"] {
                let parameters = [
                    ("store_id", &**store_id),
                    ("state", state),
                    ("limit", LINES_MAX),
                ];
                // One of which nothing is known has no losses.
                let Some(answer) = self.json::<LossesAnswer>(path, &parameters).await? else {
                    continue;
                };
                answers.are_losses_cut |= !answer.is_whole;
                answers.losses.extend(answer.losses);
            }
        }
        Ok(())
    }

    /// The groups of the fleet's errors, and those that are listed and that it never sent.
    async fn ask_errors(&self, truth: &Truth, answers: &mut Answers) -> Result<(), QueryError> {
        for error in truth.known_errors.iter().chain(&truth.new_errors) {
            if let Some(group) = self.group(&error.fingerprint).await? {
                answers.errors.insert(error.fingerprint.clone(), group);
            }
        }
        let listed = self.listed().await?.into_iter();
        let strays = listed.filter(|group| {
            let is_sent = answers.errors.contains_key(&group.fingerprint);
            let before = self.errors_before.get(&group.fingerprint);
            !is_sent && Some(&group.count) != before
        });
        let strays: Vec<Group> = strays.take(STRAYS_MAX).collect();
        for stray in strays {
            let group = self.group(&stray.fingerprint).await?;
            let of_fleet = group.filter(|group| {
                let stores = &mut group.by_store.iter();
                stores.any(|of| self.stores.contains(&of.store_id))
            });
            if let Some(group) = of_fleet {
                answers.errors.insert(stray.fingerprint, group);
            }
        }
        Ok(())
    }

    /// The groups that have been counted since the beginning, the newest first.
    async fn listed(&self) -> Result<Vec<Group>, QueryError> {
        let since = self.since_ms.to_string();
        let parameters = [
            ("since", &*since),
            ("order_by", "first_seen"),
            ("limit", GROUPS_MAX),
        ];
        let listed: Option<GroupsAnswer> = self.json("/api/v1/errors", &parameters).await?;
        Ok(listed.map_or_else(Vec::new, |answer| answer.groups))
    }

    /// One group of errors; `None`: nothing is known of it.
    async fn group(&self, fingerprint: &str) -> Result<Option<Group>, QueryError> {
        let since = self.since_ms.to_string();
        let path = format!("/api/v1/errors/{fingerprint}");
        self.json(&path, &[("since", &since)]).await
    }

    async fn page(&self, path: &str) -> Result<Page, QueryError> {
        Page::fetch(&self.http, &format!("{}{path}", self.base)).await
    }

    /// An answer; `None` when nothing is known of what was asked for.
    async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Option<T>, QueryError> {
        let url = format!("{}{path}", self.base);
        let failed = |source| QueryError::Query {
            url: url.clone(),
            source,
        };
        let request = self.http.get(&url).timeout(ANSWER_MAX).query(parameters);
        let response = request.send().await.map_err(failed)?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = response.error_for_status().map_err(failed)?;
        response.json().await.map(Some).map_err(failed)
    }
}
