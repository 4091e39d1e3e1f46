//! What is compared with what: the step that was reached, when it began, and which stores take part.

use std::collections::BTreeMap;
use std::sync::Arc;

use tillwatch_model::time::HOUR_MS;

use crate::aggregate::Aggregator;
use crate::holdings::Holdings;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::rollout::at_rest::Hours;
use crate::query::rollout::ran;
use crate::query::rollout::statement::Read;
use crate::rollout::groups::{Group, History, group_of, usual_release};
use crate::rollout::history::Fleet;
use crate::rollout::windows::{DAYS_BEFORE, start_hour, step_reached};
use crate::rollout::{Look, Plan, Windows};

/// A rollout that began longer ago is over. Unit: days.
pub const ROLLOUT_DAYS_MAX: i64 = 28;
const DAY_HOURS: i64 = 24;
/// Terminals are asked for from a day before the week before: who was silent before is nobody's.
const BEFORE_HOURS: i64 = (DAYS_BEFORE + 1) * DAY_HOURS;
/// A store is whole with this share of its terminals on the release. Unit: percent.
const WHOLE_PERCENT: u64 = 80;

/// A look that is judged once more, as it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Percent of the stores.
    pub step_percent: u32,
    /// The first hour of the step that counts.
    pub start: i64,
    /// The look; `None`: the latest that has passed.
    pub look: Option<Look>,
}

/// Which verdict is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The release.
    pub release: String,
    /// What it is held against; `None`: what the plan says, or what most terminals ran in the week before.
    pub against: Option<String>,
    /// The hour from which the step counts; `None`: as the plan's steps were reached.
    pub since: Option<i64>,
    /// A look that was judged before.
    pub planned: Option<Planned>,
}

/// A rollout as it stands.
#[derive(Debug)]
pub struct Situation {
    /// The release.
    pub release: String,
    /// What it is held against; `None`: nobody ran anything else in the week before.
    pub against: Option<String>,
    /// The hour in which it was first seen anywhere.
    pub first: i64,
    /// Percent of the stores, or of the terminals if most stores are mixed.
    pub step_percent: u32,
    /// The first hour of the step that counts.
    pub start: i64,
    /// The look that is judged.
    pub look: Option<Look>,
    /// Whether terminals are moved one by one.
    pub is_by_terminal: bool,
    /// What the terminals ran.
    pub fleet: Fleet,
    /// What each store is.
    pub groups: BTreeMap<String, Group>,
    /// The histories, by store.
    pub histories: Vec<History>,
}

impl Situation {
    /// Finds it out, on what is at rest of the hours before `passed`. `None`: nobody has reported the release lately.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn find(
        sources: &Sources,
        plan: &Plan,
        asked: &Asked,
        passed: i64,
    ) -> Result<Option<Self>, QueryError> {
        let firsts = first_hours(sources, plan, passed).await?;
        let Some((_, first)) = firsts.iter().find(|(name, _)| *name == asked.release) else {
            return Ok(None);
        };
        let (first, stores) = (*first, stores(sources).await);
        let hours = first - BEFORE_HOURS..passed;
        let metric = sources.catalogue.metrics().first();
        let Some(metric) = metric else {
            return Ok(None);
        };
        let read = Hours::of(sources, hours.clone(), metric).await;
        let fleet = ran::fleet(sources, &stores, &read, &hours).await?;
        let (plan, asked) = (plan.clone(), asked.clone());
        let sort = move || Self::of(&plan, &asked, fleet, first, passed);
        Ok(sources.jobs.run(sort).await)
    }

    fn of(plan: &Plan, asked: &Asked, fleet: Fleet, first: i64, passed: i64) -> Option<Self> {
        let release = asked.release.clone();
        let histories = fleet.histories(&release, first);
        let with: Vec<&History> = histories
            .iter()
            .filter(|history| history.terminals_on > 0)
            .collect();
        let is_mixed =
            |history: &&&History| history.terminals_on * 100 < history.terminals * WHOLE_PERCENT;
        let is_by_terminal = with.iter().filter(is_mixed).count() * 2 > with.len();
        let first_hours = fleet.first_hours(&release);
        let (stores, terminals) = fleet.size();
        let (reached, all) = if is_by_terminal {
            (first_hours.terminals, terminals)
        } else {
            (first_hours.stores, stores)
        };
        // Of an hour it is only known that it has passed.
        let reached_ms: Vec<i64> = reached
            .iter()
            .map(|hour| (hour + 1) * HOUR_MS - 1)
            .collect();
        let (step_percent, at_ms) = step_reached(&reached_ms, all, &plan.steps)?;
        let (step_percent, start) = match (asked.planned, asked.since) {
            (Some(planned), _) => (planned.step_percent, planned.start),
            (None, Some(since)) => (step_percent, since),
            (None, None) => (step_percent, start_hour(at_ms)),
        };
        let planned = asked.planned.and_then(|planned| planned.look);
        let look = planned.or_else(|| {
            let hours = u32::try_from(passed - start).ok()?;
            Look::latest(hours)
        });
        let against = asked.against.clone().or_else(|| plan.against.clone());
        let against = against.or_else(|| usual_release(&histories, &release, first));
        let until = look.map_or(passed.max(start + 1), |look| {
            start + i64::from(look.hours())
        });
        let groups = histories.iter().map(|history| {
            let group = group_of(history, &release, against.as_deref(), &(start..until));
            (history.store.clone(), group)
        });
        Some(Self {
            groups: groups.collect(),
            release,
            against,
            first,
            step_percent,
            start,
            look,
            is_by_terminal,
            fleet,
            histories,
        })
    }

    /// The last hours of what most terminals ran, or of `against`, as if a release were held against it that nobody has
    /// yet: `None` if nobody ran anything.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn before_rollout(
        sources: &Sources,
        against: Option<&str>,
        passed: i64,
    ) -> Result<Option<Self>, QueryError> {
        let Some(metric) = sources.catalogue.metrics().first() else {
            return Ok(None);
        };
        let (hours, stores) = (passed - BEFORE_HOURS..passed, stores(sources).await);
        let read = Hours::of(sources, hours.clone(), metric).await;
        let fleet = ran::fleet(sources, &stores, &read, &hours).await?;
        let histories = fleet.histories("", passed);
        let usual = usual_release(&histories, "", passed);
        let Some(against) = against.map(str::to_owned).or(usual) else {
            return Ok(None);
        };
        let day = passed - DAY_HOURS..passed;
        let groups = histories.iter().map(|history| {
            let group = group_of(history, "", Some(&against), &day);
            (history.store.clone(), group)
        });
        Ok(Some(Self {
            groups: groups.collect(),
            release: String::new(),
            against: Some(against),
            first: passed,
            step_percent: 0,
            start: passed,
            look: None,
            is_by_terminal: false,
            fleet: Fleet::default(),
            histories,
        }))
    }

    /// The same, so that the hours of a look end now.
    #[must_use]
    pub fn at_look(self, look: Look) -> Self {
        let until = self
            .look
            .map_or(self.start, |look| self.start + i64::from(look.hours()));
        let start = until - i64::from(look.hours());
        Self {
            start,
            first: start,
            look: Some(look),
            ..self
        }
    }

    /// The hours that are compared; those of the first look before it.
    #[must_use]
    pub fn windows(&self) -> Windows {
        let look = self.look.unwrap_or(Look(0));
        Windows::of(self.start, self.first * HOUR_MS, look)
    }

    /// The hours of one store: a store that was moved back keeps those it had, if they were before the step.
    #[must_use]
    pub fn windows_of(&self, group: Group) -> Windows {
        let windows = self.windows();
        match group {
            Group::Candidate {
                from,
                was_moved_back: true,
            } => Windows {
                start: from.saturating_add(2).min(windows.until),
                ..windows
            },
            Group::Candidate { from, .. } | Group::Mixed { from } => windows.since(from),
            Group::Control | Group::Neither => windows,
        }
    }
}

/// The metrics of the plan that are distributions.
pub(super) fn metrics_of(plan: &Plan) -> Vec<&str> {
    plan.values.keys().map(String::as_str).collect()
}

/// The first hour of each release, of those that began within a rollout's time and the week before.
async fn first_hours(
    sources: &Sources,
    plan: &Plan,
    passed: i64,
) -> Result<Vec<(String, i64)>, QueryError> {
    let Some(metric) = sources.catalogue.metrics().first() else {
        return Ok(Vec::new());
    };
    let since = passed - (ROLLOUT_DAYS_MAX + DAYS_BEFORE) * DAY_HOURS;
    let read = Read {
        sources,
        hours: &Hours::of(sources, since..passed + 1, metric).await,
        release: "",
    };
    read.first_hours(&metrics_of(plan)).await
}

/// Every store that is known.
async fn stores(sources: &Sources) -> Vec<String> {
    let names = |aggregator: &Aggregator| -> Vec<Arc<str>> {
        let stores = aggregator.terminals().stores().iter();
        let known = stores.filter(|store| !store.is_empty());
        known.map(|store| Arc::clone(store.store_id())).collect()
    };
    let read = move |holdings: &Holdings| holdings.read(names);
    let names = sources.holdings.ask(read).await;
    names.iter().map(ToString::to_string).collect()
}

/// The releases that are being rolled out, the newest first: first seen within four weeks, and after others had been
/// seen for a day. And all that are reported.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn under_way(
    sources: &Sources,
    plan: &Plan,
    passed: i64,
) -> Result<(Vec<String>, Vec<String>), QueryError> {
    let mut found = first_hours(sources, plan, passed).await?;
    let Some(earliest) = found.iter().map(|(_, hour)| *hour).min() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let reported = found.iter().map(|(release, _)| release.clone()).collect();
    found.retain(|(_, first)| {
        *first >= passed - ROLLOUT_DAYS_MAX * DAY_HOURS && *first > earliest + DAY_HOURS
    });
    found.sort_by(|(one, one_at), (other, other_at)| other_at.cmp(one_at).then(one.cmp(other)));
    let under_way = found.into_iter().map(|(release, _)| release);
    Ok((under_way.collect(), reported))
}
