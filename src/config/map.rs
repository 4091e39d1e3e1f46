//! Reads one `[[map]]`: what the names of foreign clients mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use tillwatch_model::{Catalogue, metric};

use crate::mapping::{Door, Glob, Label, Rule, Scale, is_known};

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: String,
    door: Option<WrittenDoor>,
    metric: String,
    unit: Option<String>,
    factor: Option<f64>,
    label: Option<String>,
    label_from: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    connection_from: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum WrittenDoor {
    Legacy,
    Faro,
    Otlp,
}

impl Written {
    /// The rule, if its metric is one of the catalogue's and the rest fits it.
    pub(super) fn rule(self, catalogue: &Catalogue) -> Result<Rule, String> {
        let Some(metric) = catalogue.named(&self.metric) else {
            return Err(format!(
                "there is no metric {:?}; write the metric's own name, not another that it has, or declare it in [[metrics]]",
                self.metric
            ));
        };
        let scale = match (self.unit, self.factor) {
            (Some(_), Some(_)) => return Err("write a unit or a factor, not both".to_owned()),
            (Some(unit), None) if !is_known(&unit, metric.unit) => {
                return Err(format!(
                    "{unit:?} cannot be turned into {}; units are written as in UCUM (s, ms, us, ns; By, kBy, MBy; 1, %), or write a factor",
                    metric.unit.name()
                ));
            }
            (Some(unit), None) => Scale::Unit(unit.into()),
            (None, Some(factor)) if factor.is_finite() && factor > 0.0 => Scale::Factor(factor),
            (None, Some(factor)) => return Err(format!("the factor {factor} is not above 0")),
            (None, None) => Scale::AsSaid,
        };
        let is_label = |label: &str| metric::label_code(metric, Some(label)).is_ok();
        let has_label = self.label.is_some() || self.label_from.is_some();
        if has_label && metric.label.is_none() {
            return Err(format!("{:?} has no label", metric.name));
        }
        if let Some(label) = self
            .label
            .iter()
            .chain(self.labels.values())
            .find(|label| !is_label(label))
        {
            return Err(format!("{label:?} is no label of {:?}", metric.name));
        }
        let label = match (self.label, self.label_from) {
            (Some(_), Some(_)) => return Err("write label or label_from, not both".to_owned()),
            (Some(label), None) => Label::Is(label),
            (None, Some(attribute)) => Label::From {
                attribute,
                values: self.labels,
            },
            (None, None) if !self.labels.is_empty() => {
                return Err(
                    "labels say what the values of label_from mean; there is none".to_owned(),
                );
            }
            (None, None) => Label::AsSaid,
        };
        Ok(Rule {
            door: self.door.map(|door| match door {
                WrittenDoor::Legacy => Door::Legacy,
                WrittenDoor::Faro => Door::Faro,
                WrittenDoor::Otlp => Door::Otlp,
            }),
            name: Glob::new(&self.name),
            metric: self.metric.into(),
            scale,
            label,
            connection_from: self.connection_from,
        })
    }
}
