//! One rule, and all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tillwatch_model::{Catalogue, Metric, Unit};

use crate::mapping::{Glob, Set, factor};

/// The door of a foreign format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Reports with percentiles that were made by the page.
    Legacy,
    /// Grafana Faro's Web SDK.
    Faro,
    /// OpenTelemetry's exporters.
    Otlp,
}

impl Door {
    /// The name in settings and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Faro => "faro",
            Self::Otlp => "otlp",
        }
    }
}

/// What becomes of numbers with such a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The door that it is for; `None`: all of them.
    pub door: Option<Door>,
    /// The names that clients use.
    pub name: Glob,
    /// The name of the metric that they mean.
    pub metric: Cow<'static, str>,
    /// What the numbers are in.
    pub scale: Scale,
    /// Where the label comes from, if the metric has one.
    pub label: Label,
    /// The attribute that says how the terminal was connected.
    pub connection_from: Option<String>,
}

/// What the numbers of a rule are in.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scale {
    /// The unit that the payload names; without one, that of the metric.
    #[default]
    AsSaid,
    /// This unit, as UCUM has it.
    Unit(Cow<'static, str>),
    /// They are multiplied by this to be in the unit of the metric.
    Factor(f64),
}

/// Where the label of a rule comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Label {
    /// The payload says it as it would without a rule.
    #[default]
    AsSaid,
    /// It is always this one.
    Is(String),
    /// From an attribute, whose values may have other names here.
    From {
        /// The name of the attribute.
        attribute: String,
        /// Values of the attribute, and their labels; any other value is the label itself.
        values: BTreeMap<String, String>,
    },
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// Those of the settings, in their order.
    pub rules: Vec<Rule>,
    /// Those that are ready.
    pub sets: Vec<Set>,
}

/// Looks names up that come to one door.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'c> {
    /// The metrics that are known.
    pub catalogue: &'c Catalogue,
    /// The rules.
    pub mapping: &'c Mapping,
    /// The door.
    pub door: Door,
    /// Where every name is noted that is looked up, for whoever tries rules out.
    pub heard: Option<&'c Mutex<Heard>>,
}

/// Names that were looked up: how often, the metric, the rule that says so, and what its numbers are multiplied by.
pub type Heard = BTreeMap<String, (u64, Option<(String, Option<Glob>)>)>;

/// What a foreign name means.
#[derive(Debug, Clone)]
pub struct Meaning<'c> {
    /// The metric.
    pub metric: &'c Metric,
    /// The label that the name itself carries.
    pub label: Option<String>,
    /// The rule that says so; `None`: the name is the metric's own.
    pub rule: Option<&'c Rule>,
}

impl<'c> Lookup<'c> {
    /// What a name means. A name with dots is found as one with underscores, too.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Meaning<'c>> {
        let meaning = self.meaning(name);
        if let Some(heard) = self.heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let (times, metric) = heard.entry(name.to_owned()).or_default();
            *times += 1;
            *metric = meaning.as_ref().map(|meaning| {
                let rule = meaning.rule.map(|rule| rule.name.clone());
                (meaning.metric.name.to_owned(), rule)
            });
        }
        meaning
    }

    fn meaning(&self, name: &str) -> Option<Meaning<'c>> {
        let by_rule = |rule: &'c Rule| {
            let is_for_door = rule.door.is_none_or(|door| door == self.door);
            if !is_for_door || !rule.name.is_match(name) {
                return None;
            }
            let metric = self.catalogue.named(&rule.metric)?;
            Some(Meaning {
                metric,
                label: None,
                rule: Some(rule),
            })
        };
        let own = |name: &str| {
            let (metric, label) = self.catalogue.find(name)?;
            Some(Meaning {
                metric,
                label: label.map(str::to_owned),
                rule: None,
            })
        };
        let sets = || self.mapping.sets.iter().flat_map(|set| set.rules());
        self.mapping
            .rules
            .iter()
            .find_map(by_rule)
            .or_else(|| own(name))
            .or_else(|| name.contains('.').then(|| own(&name.replace('.', "_")))?)
            .or_else(|| sets().find_map(by_rule))
    }
}

impl Meaning<'_> {
    /// What a number is multiplied by to be in the unit of the metric, if the payload says that it is in `said`.
    #[must_use]
    pub fn factor(&self, said: &str) -> f64 {
        let metric: Unit = self.metric.unit;
        match self.rule.map(|rule| &rule.scale) {
            None | Some(Scale::AsSaid) => factor(said, metric),
            Some(Scale::Unit(unit)) => factor(unit, metric),
            Some(Scale::Factor(factor)) => *factor,
        }
    }

    /// The attribute that says how the terminal was connected, if the rule names another than usual.
    #[must_use]
    pub fn connection_from(&self) -> Option<&str> {
        self.rule?.connection_from.as_deref()
    }

    /// The label that the rule gives, if `attribute` finds what the rule needs.
    #[must_use]
    pub fn label_of<'b>(
        &self,
        attribute: impl FnOnce(&str) -> Option<Cow<'b, str>>,
    ) -> Option<Cow<'b, str>> {
        match &self.rule?.label {
            Label::AsSaid => None,
            Label::Is(label) => Some(Cow::Owned(label.clone())),
            Label::From {
                attribute: name,
                values,
            } => {
                let value = attribute(name)?;
                let known = values.get(&*value).cloned();
                Some(known.map_or(value, Cow::Owned))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, metric: &'static str) -> Rule {
        Rule {
            door: None,
            name: Glob::new(name),
            metric: metric.into(),
            scale: Scale::AsSaid,
            label: Label::AsSaid,
            connection_from: None,
        }
    }

    fn meant<'m>(
        mapping: &'m Mapping,
        catalogue: &'m Catalogue,
        name: &str,
    ) -> Option<Meaning<'m>> {
        let lookup = Lookup {
            catalogue,
            mapping,
            door: Door::Otlp,
            heard: None,
        };
        lookup.find(name)
    }

    #[test]
    fn the_first_rule_counts_then_the_catalogue_then_the_ready_sets() {
        let catalogue = Catalogue::default();
        let mapping = Mapping {
            rules: vec![
                Rule {
                    door: Some(Door::Faro),
                    ..rule("shop.*", "fcp_ms")
                },
                rule("shop.sync.*", "sync_duration_ms"),
                rule("shop.*", "page_load_ms"),
                rule("lcp_ms", "page_load_ms"),
            ],
            sets: vec![Set::OtelProcess],
        };
        let name = |name| meant(&mapping, &catalogue, name).map(|meaning| meaning.metric.name);
        assert_eq!(name("shop.sync.all"), Some("sync_duration_ms"));
        assert_eq!(name("shop.load"), Some("page_load_ms"));
        assert_eq!(name("lcp_ms"), Some("page_load_ms"));
        assert_eq!(name("inp.ms"), Some("inp_ms"));
        assert_eq!(name("process.memory.usage"), Some("memory_used_mb"));
        assert_eq!(name("process.threads"), None);
        let none = Mapping::default();
        assert!(meant(&none, &catalogue, "process.memory.usage").is_none());
    }

    #[test]
    fn a_rule_says_what_its_numbers_are_in_and_where_the_label_comes_from() {
        let catalogue = Catalogue::default();
        let mapping = Mapping {
            rules: vec![
                Rule {
                    scale: Scale::Unit("s".into()),
                    ..rule("a", "page_load_ms")
                },
                Rule {
                    scale: Scale::Factor(0.5),
                    label: Label::From {
                        attribute: "outcome".to_owned(),
                        values: BTreeMap::from([("ok".to_owned(), "success".to_owned())]),
                    },
                    ..rule("b", "sync_attempts")
                },
            ],
            sets: Vec::new(),
        };
        let a = meant(&mapping, &catalogue, "a").unwrap();
        assert!((a.factor("ns") - 1_000.0).abs() < 1e-9);
        assert_eq!(a.label_of(|_| Some("x".into())), None);
        let b = meant(&mapping, &catalogue, "b").unwrap();
        assert!((b.factor("s") - 0.5).abs() < 1e-9);
        let label = |value: Option<&'static str>| {
            b.label_of(|name| {
                assert_eq!(name, "outcome");
                value.map(Cow::Borrowed)
            })
        };
        assert_eq!(label(Some("ok")).as_deref(), Some("success"));
        assert_eq!(label(Some("failure")).as_deref(), Some("failure"));
        assert_eq!(label(None), None);
    }
}
