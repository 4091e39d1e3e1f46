//! What a `PromQL` expression names: metrics, labels, values of labels, numbers.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector, parse,
};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::known::{Known, Values};

/// Labels that Prometheus itself adds to everything it scrapes.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

/// A metric with the labels that it is asked for with.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// What its labels must match.
    pub matchers: Vec<Matcher>,
}

/// What stands in an expression.
#[derive(Debug, Default)]
pub struct Reading {
    selectors: Vec<Selector>,
    /// Labels in `by`, `without`, `on`, `ignoring` and `group_…`.
    grouping: BTreeSet<String>,
    /// All numbers.
    pub numbers: Vec<f64>,
}

impl Reading {
    /// Reads an expression, or says why it is none.
    pub fn of(expr: &str) -> Result<Self, String> {
        let mut reading = Self::default();
        walk_expr(&mut reading, &parse(expr)?)?;
        Ok(reading)
    }

    /// What is asked for.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Names of the metrics.
    pub fn metrics(&self) -> impl Iterator<Item = String> {
        self.selectors
            .iter()
            .map(|selector| selector.metric.clone())
    }

    /// The `le` that are asked for.
    pub fn bounds(&self) -> impl Iterator<Item = &Matcher> {
        let matchers = self
            .selectors
            .iter()
            .flat_map(|selector| &selector.matchers);
        matchers.filter(|matcher| matcher.name == "le")
    }

    /// Alerts whose `ALERTS` series are asked for.
    pub fn alerts_asked_for(&self) -> Vec<String> {
        let alerts = self
            .selectors
            .iter()
            .filter(|selector| selector.metric == "ALERTS");
        let names = alerts.flat_map(|selector| &selector.matchers);
        names
            .filter(|matcher| matcher.name == "alertname")
            .map(|matcher| matcher.value.clone())
            .collect()
    }

    /// What it names that does not exist.
    pub fn faults(&self, known: &Known) -> Vec<String> {
        let mut faults = Vec::new();
        let mut labels: BTreeSet<&str> = OF_TARGETS.into();
        for selector in &self.selectors {
            let Some(series) = known.get(&selector.metric) else {
                faults.push(format!("there is no metric {}", selector.metric));
                continue;
            };
            labels.extend(series.keys().map(String::as_str));
            for matcher in &selector.matchers {
                let Some(values) = series.get(&matcher.name) else {
                    if !OF_TARGETS.contains(&matcher.name.as_str()) {
                        faults.push(format!("{} has no label {}", selector.metric, matcher.name));
                    }
                    continue;
                };
                if let Some(fault) = fault_of_value(matcher, values) {
                    faults.push(format!("{}: {fault}", selector.metric));
                }
            }
        }
        for label in &self.grouping {
            // Made by `label_replace` in the same expression.
            if !labels.contains(label.as_str()) && label != "of" {
                faults.push(format!("nothing here has the label {label}"));
            }
        }
        faults
    }

    fn note(&mut self, selector: &VectorSelector) {
        self.selectors.push(Selector {
            metric: selector.name.clone().unwrap_or_default(),
            matchers: selector.matchers.matchers.clone(),
        });
    }

    fn note_modifier(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            self.grouping.extend(labels.labels.iter().cloned());
        }
    }
}

fn fault_of_value(matcher: &Matcher, values: &Values) -> Option<String> {
    let text = format!("{}{}{:?}", matcher.name, matcher.op, matcher.value);
    match values {
        Values::Any => None,
        Values::OneOf(values) => (!values.iter().any(|value| matcher.is_match(value)))
            .then(|| format!("{text} never matches")),
        Values::Bounds(bounds) => {
            if matches!(matcher.op, MatchOp::Equal) && matcher.value == "+Inf" {
                return None;
            }
            // `le` is "5" from one exporter and "5.0" from another: both must be found.
            let is_found = bounds.iter().any(|bound| {
                matcher.is_match(&format!("{bound}")) && matcher.is_match(&format!("{bound:?}"))
            });
            (!is_found).then(|| format!("{text} is not a bound, or only in one way of writing it"))
        }
    }
}

impl ExprVisitor for Reading {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.note(selector),
            Expr::MatrixSelector(matrix) => self.note(&matrix.vs),
            Expr::NumberLiteral(number) => self.numbers.push(number.val),
            Expr::Aggregate(AggregateExpr { modifier, .. }) => {
                self.note_modifier(modifier.as_ref())
            }
            Expr::Binary(BinaryExpr {
                modifier: Some(modifier),
                ..
            }) => self.note_modifier(modifier.matching.as_ref()),
            _ => {}
        }
        Ok(true)
    }
}
