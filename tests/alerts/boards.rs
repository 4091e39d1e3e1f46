//! The board that an alert links to shows what the alert is about, of the store that it names.

use std::collections::BTreeMap;
use std::fs;

use promql_parser::label::{MatchOp, Matcher};

use crate::expression::{Reading, Selector};
use crate::files::{Alert, Group, rule_groups};
use crate::{alerts, assert_none, known, root};

/// What an alert asks for beside what it is about: the alert, the series, and why no panel has to show it.
const BESIDE: &[(&str, &str, &str)] = &[
    (
        "PosFleetDataLoss",
        "up",
        "tells a new store from a new collector",
    ),
    (
        "PosStoreDataLoss",
        "up",
        "tells a new store from a new collector",
    ),
    (
        "PosStoreDataLossContinues",
        "up",
        "tells a new store from a new collector",
    ),
    (
        "PosFleetLoginFailureBurst",
        "up",
        "tells a new store from a new collector",
    ),
    (
        "PosStoreLoginFailureBurst",
        "up",
        "tells a new store from a new collector",
    ),
    (
        "PosFleetStoresSilent",
        "tillwatch_start_timestamp_seconds",
        "waits after a start",
    ),
    (
        "PosStoreSilent",
        "tillwatch_start_timestamp_seconds",
        "waits after a start",
    ),
    (
        "PosReleaseSyncSuccessCritical",
        "pos_sync_attempts_total",
        "leaves the worst store out",
    ),
];

/// The boards by their uid, as Grafana reads them.
pub fn all() -> BTreeMap<String, serde_json::Value> {
    let entries = fs::read_dir(root().join("dashboards/json")).expect("dashboards/json is there");
    let board = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("UTF-8");
        let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        (board["uid"].as_str().unwrap_or_default().to_owned(), board)
    };
    entries.map(board).collect()
}

/// What the panels of a board ask Prometheus for.
fn shown(board: &serde_json::Value) -> Vec<Selector> {
    let panels = board["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.filter_map(|target| target["expr"].as_str());
    let readings = expressions.map(|expr| {
        let spans = ["$__rate_interval", "$__range", "$__interval"];
        let expr = spans
            .iter()
            .fold(expr.to_owned(), |expr, span| expr.replace(span, "5m"));
        let reading = Reading::of(&expr).map_err(|error| format!("{expr}: {error}"));
        reading.expect("a query that can be read")
    });
    readings
        .flat_map(|reading| reading.selectors().to_vec())
        .collect()
}

/// What was measured, whichever of its series says so: buckets, sum and count of a histogram, and the gauge of its
/// last minutes.
fn measured(metric: &str) -> String {
    let of_histogram = ["_bucket", "_sum", "_count"];
    let stem = of_histogram
        .iter()
        .find_map(|suffix| metric.strip_suffix(suffix))
        .unwrap_or(metric);
    match stem.strip_suffix("_window_seconds") {
        Some(stem) => format!("{stem}_seconds"),
        None => stem.strip_suffix("_window").unwrap_or(stem).to_owned(),
    }
}

/// Whether what a panel asks for can be what an alert asks for: a panel without the label shows all its values.
fn can_be(alerted: &Matcher, shown: &[Matcher]) -> bool {
    let Some(shown) = shown.iter().find(|matcher| matcher.name == alerted.name) else {
        return true;
    };
    let mut values = alerted.value.split('|');
    shown.value.contains('$') || values.any(|value| shown.is_match(value))
}

/// Whether a panel shows what an alert asks for.
fn shows(alert: &Alert, alerted: &Selector, shown: &Selector) -> bool {
    if measured(&alerted.metric) != measured(&shown.metric) {
        return false;
    }
    let mut picked = alerted.matchers.iter().filter(|matcher| {
        matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_))
            && !["le", "job"].contains(&matcher.name.as_str())
    });
    // Of one store, the board shows that store.
    let mut of_store = shown
        .matchers
        .iter()
        .filter(|matcher| matcher.name == "store_id");
    picked.all(|matcher| can_be(matcher, &shown.matchers))
        && (!alert.is("scope", "store") || of_store.any(|of| of.value.contains("$store_id")))
}

fn faults_of(alert: &Alert, groups: &[Group], board: &serde_json::Value) -> Vec<String> {
    let name = &alert.alert;
    let shown = shown(board);
    let mut faults = Vec::new();
    let mut missing = BTreeMap::new();
    for reading in known::reach(groups, &alert.expr) {
        for alerted in reading.selectors() {
            let metric = &alerted.metric;
            let is_beside = BESIDE
                .iter()
                .any(|(of, series, _)| of == name && series == metric);
            let is_recorded = metric.contains(':');
            if !is_recorded && !is_beside && !shown.iter().any(|shown| shows(alert, alerted, shown))
            {
                missing.insert(metric.clone(), alerted.matchers.clone());
            }
        }
    }
    for (metric, matchers) in missing {
        let matchers: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        faults.push(format!(
            "{name}: {} has no panel of {metric}{{{}}}",
            board["uid"],
            matchers.join(", ")
        ));
    }
    let variables = board["templating"]["list"].as_array();
    let url = alert
        .annotations
        .get("dashboard_url")
        .map_or("", String::as_str);
    let given = url
        .split(['?', '&'])
        .filter_map(|part| part.strip_prefix("var-")?.split('=').next());
    for variable in given {
        let mut known = variables.into_iter().flatten();
        if !known.any(|known| known["name"] == variable) {
            faults.push(format!(
                "{name}: {} has no variable {variable}",
                board["uid"]
            ));
        }
    }
    faults
}

#[test]
fn the_board_that_an_alert_links_to_shows_the_alerts_own_series() {
    let (groups, boards) = (rule_groups(), all());
    let mut faults = Vec::new();
    for alert in alerts(&groups) {
        let url = alert
            .annotations
            .get("dashboard_url")
            .map_or("", String::as_str);
        let uid = url
            .split("/d/")
            .nth(1)
            .and_then(|rest| rest.split('?').next());
        match uid.and_then(|uid| boards.get(uid)) {
            Some(board) => faults.extend(faults_of(alert, &groups, board)),
            None => faults.push(format!("{}: links to no board", alert.alert)),
        }
    }
    assert_none(&faults);
}

#[test]
fn what_stands_beside_is_really_asked_for() {
    let groups = rule_groups();
    let mut faults = Vec::new();
    for (name, series, _) in BESIDE {
        let alerts = alerts(&groups);
        let alert = alerts.iter().find(|alert| alert.alert == *name);
        let is_asked = alert.is_some_and(|alert| {
            let readings = known::reach(&groups, &alert.expr);
            readings
                .iter()
                .any(|reading| reading.metrics().any(|metric| metric == *series))
        });
        if !is_asked {
            faults.push(format!("{name}: does not ask for {series}"));
        }
    }
    assert_none(&faults);
}
