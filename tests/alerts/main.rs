//! Alert rules, their tests, Alertmanager's configuration and the runbooks, checked against the
//! catalogue and against each other. Needs no Prometheus; `make test-stack` runs them on a real one.

mod boards;
mod expression;
mod files;
mod known;
mod runbooks;
mod thresholds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::expression::Reading;
use crate::files::{Alert, Group, Rule, rule_groups, seconds, tests_of_alerts};

/// Dashboards that alerts may lead to.
const DASHBOARDS: &[&str] = &[
    "tillwatch-fleet",
    "tillwatch-store",
    "tillwatch-terminal",
    "tillwatch-web-vitals",
    "tillwatch-sync",
    "tillwatch-releases",
    "tillwatch-pipeline",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn alerts(groups: &[Group]) -> Vec<&Alert> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules.filter_map(Rule::alert).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_metric_label_and_bucket_bound_that_a_rule_names_exists() {
    let groups = rule_groups();
    let known = known::series(&groups);
    let mut faults = Vec::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        match Reading::of(rule.expr()) {
            Ok(reading) => faults.extend(
                reading
                    .faults(&known)
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", rule.name())),
            ),
            Err(error) => faults.push(format!("{}: {error}", rule.name())),
        }
    }
    assert_none(&faults);
}

#[test]
fn recorded_names_say_level_metric_and_operations_and_are_used() {
    let groups = rule_groups();
    let mut used = BTreeSet::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let reading = Reading::of(rule.expr()).expect("checked by another test");
        used.extend(reading.metrics());
    }
    used.extend(runbooks::metrics());
    let recorded: Vec<(&str, _)> = groups
        .iter()
        .flat_map(|group| &group.rules)
        .filter_map(|rule| Some((rule.recorded()?, rule.labels())))
        .collect();
    let mut faults = Vec::new();
    for (name, _) in &recorded {
        if name.split(':').count() != 3 {
            faults.push(format!("{name}: is not level:metric:operations"));
        }
        if !used.contains(*name) {
            faults.push(format!("{name}: is recorded and never used"));
        }
    }
    let unique: BTreeSet<_> = recorded.iter().collect();
    assert_eq!(
        unique.len(),
        recorded.len(),
        "a name is recorded twice with the same labels"
    );
    assert_none(&faults);
}

#[test]
fn every_alert_says_how_bad_where_what_and_where_to_look() {
    let groups = rule_groups();
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for alert in alerts(&groups) {
        let name = &alert.alert;
        let mut fault = |what: &str| faults.push(format!("{name}: {what}"));
        if !names.insert(name) {
            fault("is there twice");
        }
        let one_of = |value: &str, allowed: &[&str]| allowed.contains(&value);
        let label = |key: &str| alert.labels.get(key).map_or("", String::as_str);
        if !one_of(label("severity"), &["critical", "warning", "info", "none"]) {
            fault("severity");
        }
        let scopes = ["store", "fleet", "release", "collector", "monitoring"];
        if !one_of(label("scope"), &scopes) {
            fault("scope");
        }
        if label("family").is_empty() {
            fault("family");
        }
        if !one_of(
            label("response"),
            &["", "immediate", "investigate", "clean-up"],
        ) {
            fault("response");
        }
        // A value in a label makes a new alert with every evaluation.
        if alert.labels.values().any(|value| value.contains("{{")) {
            fault("a template in a label");
        }
        let text = |key: &str| alert.annotations.get(key).map_or("", String::as_str);
        if !text("summary").ends_with('.') || text("summary").contains("{{") {
            fault("summary is not a sentence that is the same for all");
        }
        if text("description").len() < 30 {
            fault("description");
        }
        if text("runbook_url") != format!("{{{{ $externalLabels.runbook_base }}}}/{name}.md") {
            fault("runbook_url");
        }
        let dashboard =
            text("dashboard_url").strip_prefix("{{ $externalLabels.dashboard_base }}/d/");
        let uid = dashboard.and_then(|rest| rest.split('?').next());
        if !uid.is_some_and(|uid| DASHBOARDS.contains(&uid)) {
            fault("dashboard_url");
        }
        for (scope, key) in [("store", "store_id"), ("release", "release")] {
            let label = format!("{{{{ $labels.{key} }}}}");
            if alert.labels.get("scope").is_some_and(|is| is == scope)
                && !(text("dashboard_url").ends_with(&format!("?var-{key}={label}"))
                    && text("description").contains(&label))
            {
                fault("does not say which store or release");
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn dashboards_that_alerts_lead_to_exist() {
    let groups = rule_groups();
    let alerts = alerts(&groups);
    let urls: Vec<&str> = alerts
        .iter()
        .filter_map(|alert| alert.annotations.get("dashboard_url"))
        .map(String::as_str)
        .collect();
    let dashboards = boards::all();
    let mut faults = Vec::new();
    for uid in DASHBOARDS {
        if !urls.iter().any(|url| url.contains(&format!("/d/{uid}"))) {
            faults.push(format!("{uid}: no alert leads there"));
        }
        if !dashboards.contains_key(*uid) {
            faults.push(format!("{uid}: no dashboard has this uid"));
        }
    }
    assert_none(&faults);
}

/// Fifty bad stores must be one page: whatever pages for a store has a rule of the fleet that comes
/// first, sooner, and lasts longer, so that Alertmanager can hold the stores back behind it.
#[test]
fn what_pages_for_a_store_is_held_back_by_a_rule_of_the_fleet() {
    let mut faults = Vec::new();
    for group in rule_groups() {
        let rules: Vec<&Alert> = group.rules.iter().filter_map(Rule::alert).collect();
        for (at, store) in rules.iter().enumerate() {
            if !(store.is("scope", "store") && store.is("severity", "critical")) {
                continue;
            }
            let fleet = rules[..at].iter().find(|rule| {
                rule.is("scope", "fleet")
                    && rule.is("severity", "critical")
                    && rule.labels.get("family") == store.labels.get("family")
            });
            let Some(fleet) = fleet else {
                faults.push(format!("{}: no rule of the fleet before it", store.alert));
                continue;
            };
            let is_sooner = seconds(fleet.wait.as_deref()) <= seconds(store.wait.as_deref());
            let lasts = seconds(fleet.keep_firing_for.as_deref())
                > seconds(store.keep_firing_for.as_deref());
            if !is_sooner || !lasts {
                faults.push(format!(
                    "{}: later or shorter than {}",
                    fleet.alert, store.alert
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_alert_is_tested_to_fire_and_to_be_quiet() {
    let groups = rule_groups();
    let names: BTreeSet<&str> = alerts(&groups)
        .iter()
        .map(|alert| alert.alert.as_str())
        .collect();
    let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (alert, fires) in tests_of_alerts() {
        let entry = seen.entry(alert).or_default();
        *entry = (entry.0 || fires, entry.1 || !fires);
    }
    let mut faults: Vec<String> = seen
        .keys()
        .filter(|alert| !names.contains(alert.as_str()))
        .map(|alert| format!("{alert}: is tested and does not exist"))
        .collect();
    for name in names {
        let (fires, is_quiet) = seen.get(name).copied().unwrap_or_default();
        if !fires {
            faults.push(format!("{name}: no test lets it fire"));
        }
        // The dead man's switch is never quiet.
        if !is_quiet && name != "Watchdog" {
            faults.push(format!("{name}: no test keeps it quiet"));
        }
    }
    assert_none(&faults);
}

/// A misspelt name in a matcher of Alertmanager is no error there: it just never matches.
#[test]
fn alertmanager_names_only_what_exists() {
    let groups = rule_groups();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for alert in alerts(&groups) {
        values.entry("alertname").or_default().insert(&alert.alert);
        for (key, value) in &alert.labels {
            values.entry(key).or_default().insert(value);
        }
    }
    let matchers = files::alertmanager_matchers();
    assert!(matchers.len() > 20, "the matchers were not found");
    let mut faults = Vec::new();
    for matcher in &matchers {
        let (key, value) = matcher.split_once('=').expect("a matcher");
        let names = value
            .trim_matches(|character| "~\"".contains(character))
            .split('|');
        for name in names.filter(|name| !name.is_empty()) {
            if !values.get(key).is_some_and(|known| known.contains(name)) {
                faults.push(format!("{matcher}: no alert has {name}"));
            }
        }
    }
    assert_none(&faults);
}
