//! Reads rules, tests of rules and Alertmanager's configuration. An unknown key is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::expression::Reading;
use crate::root;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[expect(dead_code, reason = "only that nothing else stands there")]
    name: String,
    #[expect(dead_code, reason = "only that nothing else stands there")]
    interval: Option<String>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Rule {
    Alert(Alert),
    Recording(Recording),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    record: String,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub alert: String,
    pub expr: String,
    #[serde(rename = "for")]
    pub wait: Option<String>,
    pub keep_firing_for: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Alert {
    pub fn is(&self, label: &str, value: &str) -> bool {
        self.labels.get(label).is_some_and(|is| is == value)
    }
}

impl Rule {
    pub fn alert(&self) -> Option<&Alert> {
        match self {
            Self::Alert(alert) => Some(alert),
            Self::Recording(_) => None,
        }
    }

    pub fn recorded(&self) -> Option<&str> {
        match self {
            Self::Alert(_) => None,
            Self::Recording(recording) => Some(&recording.record),
        }
    }

    /// The labels that a recorded series gets, or an alert.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Alert(alert) => &alert.labels,
            Self::Recording(recording) => &recording.labels,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.alert,
            Self::Recording(recording) => &recording.record,
        }
    }

    pub fn expr(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.expr,
            Self::Recording(recording) => &recording.expr,
        }
    }
}

#[derive(Debug, Deserialize)]
struct TestFile {
    rule_files: Vec<String>,
    tests: Vec<TestCase>,
}

#[derive(Debug, Deserialize)]
struct TestCase {
    promql_expr_test: Vec<TestQuery>,
}

#[derive(Debug, Deserialize)]
struct TestQuery {
    expr: String,
    exp_samples: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Alertmanager {
    route: Route,
    inhibit_rules: Vec<Inhibition>,
}

#[derive(Debug, Deserialize)]
struct Route {
    #[serde(default)]
    matchers: Vec<String>,
    #[serde(default)]
    routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
struct Inhibition {
    source_matchers: Vec<String>,
    target_matchers: Vec<String>,
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths
}

fn read<T: DeserializeOwned>(path: &PathBuf) -> T {
    let text = fs::read_to_string(path).expect("readable UTF-8");
    let parsed = serde_saphyr::from_str(&text);
    parsed
        .map_err(|error| format!("{}: {error}", path.display()))
        .expect("valid")
}

/// All groups of all rule files.
pub fn rule_groups() -> Vec<Group> {
    let files = yaml_files("alerts/rules");
    files
        .iter()
        .flat_map(|path| read::<RuleFile>(path).groups)
        .collect()
}

/// Each alert that a test asks for, and whether it is expected to fire there.
pub fn tests_of_alerts() -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for path in yaml_files("alerts/tests") {
        let file: TestFile = read(&path);
        for rules in &file.rule_files {
            let rules = path.with_file_name(rules);
            assert!(rules.is_file(), "{} is missing", rules.display());
        }
        for query in file.tests.iter().flat_map(|case| &case.promql_expr_test) {
            let reading = Reading::of(&query.expr).expect("a test's expression");
            for alert in reading.alerts_asked_for() {
                found.push((alert, !query.exp_samples.is_empty()));
            }
        }
    }
    found
}

/// All matchers of routes and inhibitions.
pub fn alertmanager_matchers() -> Vec<String> {
    let file: Alertmanager = read(&root().join("alerts/alertmanager.yml"));
    let mut matchers = Vec::new();
    let mut routes = vec![file.route];
    while let Some(route) = routes.pop() {
        matchers.extend(route.matchers);
        routes.extend(route.routes);
    }
    for inhibition in file.inhibit_rules {
        matchers.extend(inhibition.source_matchers);
        matchers.extend(inhibition.target_matchers);
    }
    matchers
}

/// A span such as `5m`, in seconds; nothing is none.
pub fn seconds(span: Option<&str>) -> u64 {
    span.map_or(0, |span| {
        let parsed = promql_parser::util::parse_duration(span);
        parsed.expect("a duration").as_secs()
    })
}
