//! The plan file: a TOML text is read and checked, and each fault is named by its line and key.

use std::collections::BTreeMap;

use serde::Deserialize;
use tillwatch_model::dimension::{is_identifier, is_release};
use tillwatch_model::{Catalogue, Kind, Unit};
use toml::Spanned;

use super::criteria::{Plan, RATIOS, RatioCriterion, ValueCriterion, WORSE_AT_MOST};
use super::groups::is_no_release;
use super::plan_text::turned;

/// A step cannot be asked to last longer. Unit: hours.
const MINIMUM_HOURS_MAX: u64 = 30 * 24;
/// A factor beyond this asks nothing.
const WORSE_MAX: f64 = 10.0;

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PlanError {
    /// The line of the fault.
    pub line: usize,
    /// The key and what is wrong with it, or what stands there that is no TOML.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    release: Option<Spanned<String>>,
    against: Option<Spanned<String>>,
    steps: Option<Spanned<Vec<u32>>>,
    minimum: Option<Spanned<String>>,
    #[serde(default)]
    duration: BTreeMap<Spanned<String>, WrittenValues>,
    #[serde(default)]
    level: BTreeMap<Spanned<String>, WrittenValues>,
    #[serde(default)]
    ratio: BTreeMap<Spanned<String>, WrittenRatio>,
    incident: Option<BTreeMap<Spanned<String>, u64>>,
    #[serde(default)]
    exclude: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenValues {
    worse_at_most: Option<Spanned<f64>>,
    green_under: Option<Spanned<f64>>,
    rollback_over: Option<Spanned<f64>>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRatio {
    green_over: Option<Spanned<f64>>,
    rollback_under: Option<Spanned<f64>>,
    green_under: Option<Spanned<f64>>,
    rollback_over: Option<Spanned<f64>>,
    #[serde(default)]
    optional: bool,
}

/// A fault by its place in the text.
struct Fault {
    at: usize,
    message: String,
}

fn fault<T, R>(spanned: &Spanned<T>, message: String) -> Result<R, Fault> {
    Err(Fault {
        at: spanned.span().start,
        message,
    })
}

impl Plan {
    /// Reads a plan. What the text does not say is as in [`Plan::default`]; a text that names a duration, a level or a
    /// share names all that count.
    ///
    /// # Errors
    /// Names the line, the key, and what would be right.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, PlanError> {
        let line = |at: usize| {
            let before = text.as_bytes().iter().take(at);
            before.filter(|byte| **byte == b'\n').count() + 1
        };
        let written: Written = toml::from_str(text).map_err(|error| PlanError {
            line: error.span().map_or(1, |span| line(span.start)),
            message: error.message().to_owned(),
        })?;
        plan_of(written, catalogue).map_err(|fault| PlanError {
            line: line(fault.at),
            message: fault.message,
        })
    }
}

fn plan_of(written: Written, catalogue: &Catalogue) -> Result<Plan, Fault> {
    let mut plan = Plan {
        release: release_of("release", written.release.as_ref())?,
        against: release_of("against", written.against.as_ref())?,
        ..Plan::default()
    };
    if let Some(against) = written
        .against
        .as_ref()
        .filter(|_| plan.release == plan.against)
    {
        return fault(
            against,
            "against: a release cannot be held against itself".to_owned(),
        );
    }
    if let Some(steps) = written.steps {
        plan.steps = steps_of(&steps)?;
    }
    if let Some(minimum) = written.minimum {
        plan.minimum_hours = hours_of(&minimum)?;
    }
    if !(written.duration.is_empty() && written.level.is_empty() && written.ratio.is_empty()) {
        plan.values.clear();
        plan.ratios.clear();
    }
    for (kind, tables) in [("duration", written.duration), ("level", written.level)] {
        for (name, table) in tables {
            let criterion = values_of(kind, &name, &table, catalogue)?;
            plan.values.insert(name.into_inner(), criterion);
        }
    }
    for (name, table) in written.ratio {
        let criterion = ratio_of(&name, &table)?;
        plan.ratios.insert(name.into_inner(), criterion);
    }
    if let Some(incidents) = written.incident {
        plan.incidents.clear();
        for (name, most) in incidents {
            known("incident", &name, Kind::Counter, catalogue)?;
            plan.incidents.insert(name.into_inner(), most);
        }
    }
    for (store, reason) in written.exclude {
        if !is_identifier(store.get_ref()) {
            return fault(
                &store,
                format!("exclude: {:?} is no name of a store", store.get_ref()),
            );
        }
        if reason.get_ref().trim().is_empty() {
            return fault(
                &reason,
                format!("exclude.{}: say why the store is left out", store.get_ref()),
            );
        }
        plan.exclude.insert(store.into_inner(), reason.into_inner());
    }
    Ok(plan)
}

fn release_of(key: &str, written: Option<&Spanned<String>>) -> Result<Option<String>, Fault> {
    let Some(release) = written else {
        return Ok(None);
    };
    let name = release.get_ref();
    if !is_release(name) || is_no_release(name) {
        return fault(release, format!("{key}: {name:?} is no release"));
    }
    Ok(Some(name.clone()))
}

fn steps_of(written: &Spanned<Vec<u32>>) -> Result<Vec<u32>, Fault> {
    let steps = written.get_ref();
    let is_ascending = steps.is_sorted_by(|one, next| one < next);
    let are_percent = steps.iter().all(|percent| (1..=100).contains(percent));
    if steps.is_empty() || !is_ascending || !are_percent {
        let message =
            "steps: write ascending percents from 1 to 100, such as [10, 25, 50, 75, 100]";
        return fault(written, message.to_owned());
    }
    Ok(steps.clone())
}

fn hours_of(written: &Spanned<String>) -> Result<u32, Fault> {
    let text = written.get_ref();
    let hours = humantime::parse_duration(text)
        .map(|duration| (duration.as_secs() % 3_600 == 0).then_some(duration.as_secs() / 3_600))
        .ok()
        .flatten();
    match hours.and_then(|hours| u32::try_from(hours).ok()) {
        Some(hours) if (1..=MINIMUM_HOURS_MAX).contains(&u64::from(hours)) => Ok(hours),
        Some(_) | None => fault(
            written,
            format!("minimum: {text:?} is no number of hours; write 24h or 2d, at most 30d"),
        ),
    }
}

/// The metric of this name, if it is of this kind.
fn known(
    table: &str,
    name: &Spanned<String>,
    kind: Kind,
    catalogue: &Catalogue,
) -> Result<Unit, Fault> {
    let text = name.get_ref();
    let Some(metric) = catalogue.named(text) else {
        let alike = catalogue
            .metrics()
            .iter()
            .filter(|metric| metric.kind == kind);
        let nearest = nearest(text, alike.map(|metric| metric.name));
        return fault(
            name,
            format!("{table}.{text}: there is no metric {text:?}; did you mean {nearest:?}?"),
        );
    };
    if metric.kind != kind {
        let instead = match metric.kind {
            Kind::Distribution => format!("write [duration.{text}]"),
            Kind::Level => format!("write [level.{text}]"),
            Kind::Counter => {
                "counters are judged as a share ([ratio.NAME]) or as [incident]".to_owned()
            }
        };
        return fault(
            name,
            format!("{table}.{text}: it is a {}; {instead}", metric.kind.name()),
        );
    }
    Ok(metric.unit)
}

fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    names
        .min_by_key(|name| strsim::levenshtein(text, name))
        .unwrap_or_default()
}

fn values_of(
    table: &str,
    name: &Spanned<String>,
    written: &WrittenValues,
    catalogue: &Catalogue,
) -> Result<ValueCriterion, Fault> {
    let is_level = table == "level";
    let kind = if is_level {
        Kind::Level
    } else {
        Kind::Distribution
    };
    let unit = known(table, name, kind, catalogue)?;
    let key = |key: &str| format!("{table}.{}.{key}", name.get_ref());
    if let Some(most) = &written.worse_at_most
        && !(*most.get_ref() > 1.0 && *most.get_ref() <= WORSE_MAX)
    {
        let key = key("worse_at_most");
        return fault(
            most,
            format!("{key}: write a factor over 1 and up to 10, such as 1.2 for a fifth worse"),
        );
    }
    for (word, limit) in [
        ("green_under", &written.green_under),
        ("rollback_over", &written.rollback_over),
    ] {
        if let Some(limit) = limit
            .as_ref()
            .filter(|limit| !is_positive(*limit.get_ref()))
        {
            return fault(
                limit,
                format!("{}: write a number over 0, in {}", key(word), unit.name()),
            );
        }
    }
    if let (Some(green), Some(rollback)) = (&written.green_under, &written.rollback_over)
        && green.get_ref() > rollback.get_ref()
    {
        return fault(
            rollback,
            format!("{}: it cannot be below green_under", key("rollback_over")),
        );
    }
    let of = |written: &Option<Spanned<f64>>| written.as_ref().map(|value| *value.get_ref());
    let criterion = ValueCriterion {
        is_level,
        unit,
        // A duration is always compared; a level only if the file says how.
        worse_at_most: of(&written.worse_at_most).or((!is_level).then_some(WORSE_AT_MOST)),
        green_under: of(&written.green_under),
        rollback_over: of(&written.rollback_over),
        is_optional: written.optional,
    };
    if criterion.worse_at_most.is_none()
        && criterion.green_under.is_none()
        && criterion.rollback_over.is_none()
    {
        let name_text = name.get_ref();
        return fault(
            name,
            format!("{table}.{name_text}: give worse_at_most, green_under or rollback_over"),
        );
    }
    Ok(criterion)
}

fn is_positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

fn ratio_of(name: &Spanned<String>, written: &WrittenRatio) -> Result<RatioCriterion, Fault> {
    let text = name.get_ref();
    let Some(source) = RATIOS.iter().find(|source| source.name == text) else {
        let nearest = nearest(text, RATIOS.iter().map(|source| source.name));
        return fault(
            name,
            format!("ratio.{text}: there is no share {text:?}; did you mean {nearest:?}?"),
        );
    };
    let (green, rollback, others, words) = if source.is_success {
        let others = [&written.green_under, &written.rollback_over];
        (
            &written.green_over,
            &written.rollback_under,
            others,
            ["green_over", "rollback_under"],
        )
    } else {
        let others = [&written.green_over, &written.rollback_under];
        (
            &written.green_under,
            &written.rollback_over,
            others,
            ["green_under", "rollback_over"],
        )
    };
    let key = |word: &str| format!("ratio.{text}.{word}");
    if let Some(other) = others.into_iter().flatten().next() {
        let kind = if source.is_success { "good" } else { "bad" };
        return fault(
            other,
            format!(
                "ratio.{text}: it is a share of {kind} ones; write {} and {}",
                words[0], words[1]
            ),
        );
    }
    for (limit, word) in [green, rollback].into_iter().zip(words) {
        if let Some(limit) = limit
            .as_ref()
            .filter(|limit| !(*limit.get_ref() > 0.0 && *limit.get_ref() < 1.0))
        {
            return fault(
                limit,
                format!("{}: write a share between 0 and 1, such as 0.99", key(word)),
            );
        }
    }
    let Some(green) = green else {
        return fault(
            name,
            format!("{} is missing: what a pass needs", key(words[0])),
        );
    };
    let bad = |limit: f64| turned(source.is_success, limit);
    let criterion = RatioCriterion {
        green: bad(*green.get_ref()),
        rollback: rollback.as_ref().map(|limit| bad(*limit.get_ref())),
        is_optional: written.optional,
        is_success: source.is_success,
    };
    if let Some(limit) = rollback
        .as_ref()
        .filter(|_| criterion.rollback < Some(criterion.green))
    {
        return fault(
            limit,
            format!("{}: a pass would need less than a rollback", key(words[1])),
        );
    }
    Ok(criterion)
}
