//! Rules that are ready, for what clients send by themselves.

use std::str::FromStr;
use std::sync::LazyLock;

use crate::mapping::{Door, Glob, Label, Rule, Scale};

/// Rules for one kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What pages measure with Faro's Web SDK beside its web vitals, by the names that its documentation uses.
    Faro,
    /// Web vitals and requests of pages, as OpenTelemetry's instrumentations and its conventions name them.
    OtelWeb,
    /// The process of an application in a shell (Electron, a service beside the till), by OpenTelemetry's conventions.
    OtelProcess,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Faro, Self::OtelWeb, Self::OtelProcess];

    /// The name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faro => "faro",
            Self::OtelWeb => "otel_web",
            Self::OtelProcess => "otel_process",
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Faro => &FARO,
            Self::OtelWeb => &OTEL_WEB,
            Self::OtelProcess => &OTEL_PROCESS,
        }
    }
}

impl FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|set| set.name() == text.trim());
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no set of rules; there are {names}")
        })
    }
}

/// Rules of one door: the name of a client, the metric, and the unit of its numbers if the payload says none.
fn rules(door: Door, of: &[(&str, &'static str, Option<&'static str>)]) -> Vec<Rule> {
    let rule = |(name, metric, unit): &(&str, &'static str, Option<&'static str>)| Rule {
        door: Some(door),
        name: Glob::new(name),
        metric: (*metric).into(),
        scale: unit.map_or(Scale::AsSaid, |unit| Scale::Unit(unit.into())),
        label: Label::AsSaid,
        connection_from: None,
    };
    of.iter().map(rule).collect()
}

static FARO: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules(
        Door::Faro,
        &[
            ("page_load", "page_load_ms", Some("ms")),
            ("pageLoadTime", "page_load_ms", Some("ms")),
            ("largest_contentful_paint", "lcp_ms", Some("ms")),
            ("interaction_to_next_paint", "inp_ms", Some("ms")),
            ("cumulative_layout_shift", "cls_score", None),
            ("first_contentful_paint", "fcp_ms", Some("ms")),
            ("time_to_first_byte", "ttfb_ms", Some("ms")),
            ("usedJSHeapSize", "memory_used_mb", Some("By")),
        ],
    )
});

static OTEL_WEB: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules(
        Door::Otlp,
        &[
            ("*web*vital*lcp*", "lcp_ms", None),
            ("*web*vital*inp*", "inp_ms", None),
            ("*web*vital*cls*", "cls_score", None),
            ("*web*vital*fcp*", "fcp_ms", None),
            ("*web*vital*ttfb*", "ttfb_ms", None),
            ("browser.page_load.duration", "page_load_ms", None),
            ("http.client.request.duration", "network_latency_ms", None),
            // The name that the convention had before it was stable.
            ("http.client.duration", "network_latency_ms", None),
        ],
    )
});

static OTEL_PROCESS: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules(
        Door::Otlp,
        &[
            ("process.memory.usage", "memory_used_mb", None),
            ("v8js.memory.heap.used", "memory_used_mb", None),
            ("process.runtime.*.memory", "memory_used_mb", None),
        ],
    )
});

#[cfg(test)]
mod tests {
    use tillwatch_model::Catalogue;

    use super::*;

    #[test]
    fn every_rule_leads_to_a_metric_and_its_unit_to_the_metrics() {
        let catalogue = Catalogue::default();
        for set in Set::ALL {
            assert_eq!(set.name().parse(), Ok(set));
            assert!(!set.rules().is_empty());
            for rule in set.rules() {
                let metric = catalogue.named(&rule.metric);
                let unit = metric.unwrap_or_else(|| panic!("{}", rule.metric)).unit;
                if let Scale::Unit(from) = &rule.scale {
                    assert!(crate::mapping::is_known(from, unit), "{from}");
                }
            }
        }
        assert!("otel".parse::<Set>().is_err());
    }
}
