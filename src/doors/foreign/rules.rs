//! What a door takes for granted where a payload does not say it.

use crate::mapping::Mapping;

/// The rule of one door.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Whether the shop asks for consent elsewhere, so that a payload without a word about it has it.
    pub is_consent_assumed: bool,
    /// The store of payloads that name none.
    pub store: Option<Box<str>>,
}

/// The rules of all foreign doors.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Reports with percentiles that were made by the page.
    pub legacy: Rule,
    /// Grafana Faro's Web SDK.
    pub faro: Rule,
    /// OpenTelemetry's exporters.
    pub otlp: Rule,
    /// Whether Faro's logs count as events; else they are passed over.
    pub are_faro_logs_counted: bool,
    /// What the names of their metrics mean.
    pub mapping: Mapping,
}
