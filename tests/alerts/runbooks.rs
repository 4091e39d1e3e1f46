//! Runbooks: one an alert, whole, with queries and commands that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::expression::Reading;
use crate::files::rule_groups;
use crate::{alerts, assert_none, known, root};

const HEADINGS: [&str; 5] = [
    "## What it means",
    "## Confirm",
    "## Usual causes",
    "## What to do",
    "## Escalate",
];

/// Text of the runbooks by name, without the list of them.
fn pages() -> BTreeMap<String, String> {
    let entries = fs::read_dir(root().join("docs/runbooks")).expect("docs/runbooks is there");
    let mut pages = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name != "README" {
            pages.insert(name, fs::read_to_string(&path).expect("UTF-8"));
        }
    }
    pages
}

/// Blocks of code in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let after = page.split(fence.as_str()).skip(1);
    after
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

/// Metrics that the runbooks' queries name.
pub fn metrics() -> BTreeSet<String> {
    let pages = pages();
    let queries = pages.values().flat_map(|page| blocks(page, "promql"));
    let readings = queries.filter_map(|query| Reading::of(query).ok());
    readings
        .flat_map(|reading| reading.metrics().collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_alert_has_a_whole_runbook_and_every_runbook_an_alert() {
    let groups = rule_groups();
    let pages = pages();
    let list = fs::read_to_string(root().join("docs/runbooks/README.md")).expect("UTF-8");
    let mut faults = Vec::new();
    let alerts = alerts(&groups);
    for alert in &alerts {
        let name = &alert.alert;
        let Some(page) = pages.get(name) else {
            faults.push(format!("{name}: has no runbook"));
            continue;
        };
        let mut at = 0;
        for heading in HEADINGS {
            match page
                .get(at..)
                .and_then(|rest| rest.find(&format!("\n{heading}\n")))
            {
                Some(found) => at += found + heading.len(),
                None => faults.push(format!("{name}: `{heading}` is missing or out of order")),
            }
        }
        let label = |key: &str| alert.labels.get(key).map_or("", String::as_str);
        let comma = if label("response").is_empty() {
            ""
        } else {
            ", "
        };
        let line = format!(
            "\nThis alert (severity `{}{comma}{}`, scope `{}`) ",
            label("severity"),
            label("response"),
            label("scope")
        );
        if !page.starts_with(&format!("# {name}\n")) || !page.contains(&line) {
            faults.push(format!("{name}: its head is not that of the alert"));
        }
        let dashboard = alert
            .annotations
            .get("dashboard_url")
            .map_or("", String::as_str);
        let uid = dashboard
            .split("/d/")
            .nth(1)
            .and_then(|rest| rest.split('?').next());
        if !uid.is_some_and(|uid| page.contains(&format!("\nOpen the dashboard `{uid}`.\n"))) {
            faults.push(format!("{name}: names another dashboard than the alert"));
        }
        if blocks(page, "promql").is_empty() {
            faults.push(format!("{name}: no query confirms it"));
        }
        if !list.contains(&format!("| [{name}]({name}.md) | {} |", label("severity"))) {
            faults.push(format!("{name}: is not in the list of runbooks"));
        }
    }
    for name in pages.keys() {
        if !alerts.iter().any(|alert| alert.alert == *name) {
            faults.push(format!("{name}: is a runbook without an alert"));
        }
    }
    assert_none(&faults);
}

#[test]
fn queries_and_links_in_runbooks_lead_somewhere() {
    let known = known::series(&rule_groups());
    let pages = pages();
    let mut faults = Vec::new();
    for (name, page) in &pages {
        for query in blocks(page, "promql") {
            match Reading::of(query) {
                Ok(reading) => faults.extend(
                    reading
                        .faults(&known)
                        .into_iter()
                        .map(|fault| format!("{name}: {fault}")),
                ),
                Err(error) => faults.push(format!("{name}: {query}: {error}")),
            }
        }
        for target in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let linked = target.strip_suffix(".md");
            if !linked.is_some_and(|linked| pages.contains_key(linked)) {
                faults.push(format!("{name}: links to {target}"));
            }
        }
    }
    assert_none(&faults);
}

/// Words of `tillwatch …` in shell blocks and in the text.
fn commands(page: &str) -> Vec<Vec<&str>> {
    let lines = blocks(page, "sh").into_iter().flat_map(str::lines);
    let spans = page.split('`').skip(1).step_by(2);
    let all = lines
        .chain(spans)
        .filter_map(|line| line.strip_prefix("tillwatch "));
    all.map(|rest| rest.split_whitespace().collect()).collect()
}

#[test]
fn commands_in_runbooks_exist() {
    let mut helps: BTreeMap<Vec<&str>, String> = BTreeMap::new();
    let mut faults = Vec::new();
    let pages = pages();
    for (name, page) in &pages {
        for words in commands(page) {
            let has_subcommands = words
                .first()
                .is_some_and(|word| ["journal", "rollout"].contains(word));
            let depth = if has_subcommands { 2 } else { 1 };
            let subcommand: Vec<&str> = words.iter().copied().take(depth).collect();
            let help = helps.entry(subcommand.clone()).or_insert_with(|| {
                let output = Command::new(env!("CARGO_BIN_EXE_tillwatch"))
                    .args(&subcommand)
                    .arg("--help")
                    .output()
                    .expect("tillwatch runs");
                String::from_utf8_lossy(if output.status.success() {
                    &output.stdout
                } else {
                    b""
                })
                .into_owned()
            });
            if help.is_empty() {
                faults.push(format!(
                    "{name}: there is no tillwatch {}",
                    subcommand.join(" ")
                ));
            }
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                if !help.contains(&format!("{flag} ")) && !help.contains(&format!("{flag}\n")) {
                    faults.push(format!(
                        "{name}: tillwatch {} has no {flag}",
                        subcommand.join(" ")
                    ));
                }
            }
            // What is asked for is a metric.
            let catalogue = tillwatch_model::Catalogue::default();
            if words.first() == Some(&"query")
                && words
                    .get(1)
                    .is_none_or(|metric| catalogue.named(metric).is_none())
            {
                faults.push(format!("{name}: tillwatch query of no metric: {words:?}"));
            }
        }
    }
    assert!(helps.len() > 4, "the commands were not found");
    assert_none(&faults);
}
