//! Where the numbers that rows show stand among all that is held.

use tillwatch_model::Catalogue;
use tillwatch_model::metric::Unit;

use crate::aggregate::layout::Layout;

/// Percentiles of distributions that a row shows: the metric and the percentile.
pub(super) const QUANTILES: [(&str, &str); 5] = [
    ("sync_duration_ms", "0.95"),
    ("offline_login_duration_ms", "0.95"),
    ("lcp_ms", "0.75"),
    ("inp_ms", "0.75"),
    ("network_latency_ms", "0.75"),
];

/// The places of what is shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Of [`QUANTILES`] the places among the histograms of a store, and their units.
    pub(super) quantiles: [Option<(u16, Unit)>; QUANTILES.len()],
    /// Of the durations of synchronisations.
    pub(super) sync: Option<u16>,
    /// Among the levels: memory.
    pub(super) memory: Option<(usize, Unit)>,
    /// Among the counters: synchronisations that went well and that failed.
    pub(super) attempts: [Option<usize>; 2],
    pub(super) data_loss_incidents: Option<usize>,
}

impl Shown {
    pub(super) fn of(layout: &Layout) -> Self {
        let catalogue = layout.catalogue();
        let quantiles = QUANTILES.map(|(name, _)| {
            let metric = catalogue.named(name)?;
            let at = layout.place(metric).store_histogram?;
            Some((u16::try_from(at).ok()?, metric.unit))
        });
        Self {
            quantiles,
            sync: quantiles[0].map(|(place, _)| place),
            memory: catalogue.named("memory_used_mb").and_then(|metric| {
                let level = layout.place(metric).level?;
                Some((level, metric.unit))
            }),
            attempts: ["success", "failure"]
                .map(|label| counter(catalogue, layout, "sync_attempts", Some(label))),
            data_loss_incidents: counter(catalogue, layout, "data_loss_incidents", None),
        }
    }
}

fn counter(
    catalogue: &Catalogue,
    layout: &Layout,
    name: &str,
    label: Option<&str>,
) -> Option<usize> {
    let metric = catalogue.named(name)?;
    let first = layout.place(metric).counter?;
    let Some(label) = label else {
        return Some(first);
    };
    let mut values = metric.label?.values.iter();
    Some(first + values.position(|value| *value == label)?)
}
