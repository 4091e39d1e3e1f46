//! One verdict with all that is kept of it.

use std::sync::Arc;

use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::rollout::at_rest::Hours;
use crate::query::rollout::evidence;
use crate::query::rollout::situation::{Asked, Situation, metrics_of};
use crate::query::rollout::statement::Read;
use crate::rollout::placebo::{Placebo, placebo};
use crate::rollout::verdict::Method;
use crate::rollout::{Judgement, Plan, judge};

/// Judges rollouts by one plan.
#[derive(Debug, Clone)]
pub struct Judge {
    /// Where the data are.
    pub sources: Sources,
    /// What is asked.
    pub plan: Arc<Plan>,
}

/// A verdict, and what it was judged on.
#[derive(Debug)]
pub struct Judged {
    /// The rollout as it stood.
    pub situation: Situation,
    /// The verdict.
    pub judgement: Judgement,
    /// A hash of all that was judged.
    pub inputs_hash: u64,
    /// What drawn stores without the release would have come to.
    pub placebo: Option<Placebo>,
    /// Terminals that have not delivered the hours of the look.
    pub awaited: u64,
}

impl Judge {
    /// Judges a release on what is at rest of the hours before `passed`; `None`: nobody has reported it lately.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn judge(
        &self,
        asked: &Asked,
        passed: i64,
        now_ms: i64,
    ) -> Result<Option<Judged>, QueryError> {
        let found = self.situation(asked, passed).await?;
        match found {
            Some(situation) => self
                .judge_situation(situation, passed, now_ms)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// The rollout as it stands; `None`: nobody has reported the release lately.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn situation(
        &self,
        asked: &Asked,
        passed: i64,
    ) -> Result<Option<Situation>, QueryError> {
        Situation::find(&self.sources, &self.plan, asked, passed).await
    }

    /// Judges a rollout as it stands.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn judge_situation(
        &self,
        situation: Situation,
        passed: i64,
        now_ms: i64,
    ) -> Result<Judged, QueryError> {
        let times = (passed, now_ms);
        let evidence = evidence::gather(&self.sources, &self.plan, &situation, times).await?;
        let plan = Arc::clone(&self.plan);
        let work = move || {
            let judgement = judge(&plan, &evidence);
            // Drawn stores that are mixed cannot be compared as the candidates are.
            let placebo = match judgement.method {
                Method::Ranks => placebo(&plan, &evidence, judgement.candidates),
                Method::Within | Method::Alone => None,
            };
            let arrival = &evidence.arrival;
            Judged {
                judgement,
                inputs_hash: evidence.digest(),
                placebo,
                awaited: arrival.expected.saturating_sub(arrival.posted),
                situation,
            }
        };
        Ok(self.sources.jobs.run(work).await)
    }

    /// Whether something happened on a release that must not happen at all, since the hour `first`.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn has_incident(
        &self,
        release: &str,
        first: i64,
        passed: i64,
    ) -> Result<bool, QueryError> {
        let hours = (first, passed);
        let found = evidence::incidents(&self.sources, &self.plan, release, hours).await?;
        let mut incidents = self.plan.incidents.iter();
        Ok(incidents.any(|(metric, most)| found.get(metric).is_some_and(|count| count > most)))
    }

    /// How many samples of the plan's distributions each hour has, from the first hour on.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn hourly(&self, hours: std::ops::Range<i64>) -> Result<Vec<(i64, u64)>, QueryError> {
        let metrics = metrics_of(&self.plan);
        let Some(metric) = self.sources.catalogue.metrics().first() else {
            return Ok(Vec::new());
        };
        let hours = Hours::of(&self.sources, hours, metric).await;
        let read = Read {
            sources: &self.sources,
            hours: &hours,
            release: "",
        };
        read.hourly(&metrics).await
    }
}
