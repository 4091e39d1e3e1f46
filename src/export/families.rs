//! What the fleet page says beside the catalogue's metrics: freshness, terminals, coverage, clocks.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tillwatch_model::metric::to_float;

use crate::aggregate::known_errors::NewErrors;
use crate::aggregate::live::{LATE_AGES, SKEW_BOUNDS_MS};
use crate::export::lines::{gauge_family, histogram_lines};
use crate::export::snapshot::{Snapshot, StoreSnapshot};

/// One family of series.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The family's name; a counter's without `_total`.
    pub name: &'static str,
    /// What the family is, in Prometheus' words.
    pub kind: &'static str,
    /// The labels of the family's series.
    pub labels: &'static [&'static str],
    /// What the family means.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:literal $name:literal $labels:expr, $help:literal;)*) => {
        $(const $constant: Family = Family { name: $name, kind: $kind, labels: &$labels, help: $help };)*

        /// Every family there is.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    OVER_LIMIT = "gauge" "pos_terminals_over_limit" ["store_id", "metric"], "Shows how many terminals of a store have a last value over the metric's first threshold.";
    LAST_REPORT = "gauge" "pos_store_last_report_timestamp_seconds" ["store_id"], "Shows when the store's last batch was received.";
    REPORTING = "gauge" "pos_terminals_reporting" ["store_id"], "Shows how many terminals of a store posted in the last ten minutes.";
    SYNC_FAILING = "gauge" "pos_terminals_sync_failing" ["store_id"], "Shows how many terminals of a store, of those reporting, had a synchronisation fail in the last ten minutes; after a restart of the collector, since the last seal before it.";
    SYNC_SLOW = "gauge" "pos_terminals_sync_slow" ["store_id"], "Shows how many terminals of a store, of those reporting, had a synchronisation take longer than the critical limit in the last ten minutes; after a restart of the collector, since the last seal before it.";
    SILENT = "gauge" "pos_terminals_silent" ["store_id"], "Shows how many terminals of a store should report by their own habit and do not, while others of the store do; hours in which the collector was not ready count for nothing.";
    WITH_SALES = "gauge" "pos_terminals_silent_with_sales" ["store_id"], "Shows how many terminals of a store have been silent for a day with transactions waiting in them, as far as they said: these exist nowhere else.";
    BY_RELEASE = "gauge" "pos_terminals" ["release"], "Shows how many terminals posted in the last ten minutes, by the release they run.";
    NEW_ERRORS = "gauge" "pos_errors_new" ["release"], "Shows how many errors were first reported within the last hour, by the release that reported them first; an error that another release has reported is not new, and on the collector's first day none is.";
    NEW_ERROR_STORES = "gauge" "pos_errors_new_stores" ["release"], "Shows how many stores reported one error within the last hour: of the errors that are new within a day, the one that most stores report.";
    LATE = "counter" "pos_late_samples" ["store_id", "age_up_to"], "Counts samples that came too late to move live series, by their age when received; ClickHouse holds them.";
    BATCHES_RECEIVED = "counter" "pos_sdk_batches_received" ["store_id"], "Counts batches received from a store, each batch once; received and lost batches together are what its terminals sent.";
    BATCHES_LOST = "counter" "pos_sdk_batches_lost" ["store_id"], "Counts batches of a store that never came: they were missing for nine days, or fell too far behind.";
    BATCHES_EXPLAINED = "counter" "pos_sdk_batches_explained" ["store_id"], "Counts numbers of batches of a store that will never come, because their terminal had to drop them and said so; they are neither missing nor lost.";
    BATCHES_MISSING = "gauge" "pos_sdk_batches_missing" ["store_id"], "Shows how many batches of a store are missing between received ones and may still come.";
    CLOCK_JUMPS = "counter" "pos_terminal_clock_jumps" ["store_id"], "Counts how often two posts of one terminal, at most ten minutes apart, came from clocks more than a minute apart: either the terminal's clock was moved, or two tills use one name.";
    SKEW = "histogram" "pos_terminal_clock_skew_seconds" ["store_id"], "Measures how far a terminal's clock was off, in either direction, at each batch that said when it was sent.";
}

/// Writes them.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    over_limit(encoder, snapshot)?;
    store_gauge(encoder, snapshot, LAST_REPORT, |store| {
        to_float(store.series.last_report_ms.max(0).cast_unsigned()) / 1_000.0
    })?;
    store_gauge(encoder, snapshot, REPORTING, |store| {
        to_float(store.terminals.reporting)
    })?;
    store_gauge(encoder, snapshot, SYNC_FAILING, |store| {
        to_float(store.terminals.sync_failing)
    })?;
    store_gauge(encoder, snapshot, SYNC_SLOW, |store| {
        to_float(store.terminals.sync_slow)
    })?;
    store_gauge(encoder, snapshot, SILENT, |store| {
        to_float(store.silence.silent)
    })?;
    store_gauge(encoder, snapshot, WITH_SALES, |store| {
        to_float(store.silence.with_sales)
    })?;
    let releases = snapshot.releases.iter();
    let terminals = releases
        .map(|(release, _, terminals)| (vec![("release", &**release)], to_float(*terminals)));
    gauge_family(encoder, BY_RELEASE.name, BY_RELEASE.help, terminals)?;
    let new = |value: fn(&NewErrors) -> u64| {
        let releases = snapshot.releases.iter().zip(&snapshot.new_errors);
        releases
            .map(move |((release, ..), new)| (vec![("release", &**release)], to_float(value(new))))
    };
    let (errors, stores) = (new(|new| new.errors), new(|new| new.stores));
    gauge_family(encoder, NEW_ERRORS.name, NEW_ERRORS.help, errors)?;
    gauge_family(
        encoder,
        NEW_ERROR_STORES.name,
        NEW_ERROR_STORES.help,
        stores,
    )?;
    late(encoder, snapshot)?;
    store_counter(encoder, snapshot, BATCHES_RECEIVED, |store| {
        store.series.batches_received
    })?;
    store_counter(encoder, snapshot, BATCHES_LOST, |store| {
        store.series.batches_lost
    })?;
    store_counter(encoder, snapshot, BATCHES_EXPLAINED, |store| {
        store.series.batches_explained
    })?;
    store_gauge(encoder, snapshot, BATCHES_MISSING, |store| {
        to_float(store.batches_missing)
    })?;
    store_counter(encoder, snapshot, CLOCK_JUMPS, |store| {
        store.series.clock_jumps
    })?;
    let mut family =
        encoder.encode_descriptor(SKEW.name, SKEW.help, None, MetricType::Histogram)?;
    for store in &snapshot.stores {
        let labels = [("store_id", &*store.store_id)];
        let encoder = family.encode_family(&labels)?;
        histogram_lines(encoder, &SKEW_BOUNDS_MS, 1_000, &store.series.skew)?;
    }
    Ok(())
}

fn over_limit(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut lines = Vec::new();
    for metric in snapshot.layout.catalogue().metrics() {
        let (Some(at), Some(limit)) = (snapshot.layout.place(metric).level, metric.thresholds[0])
        else {
            continue;
        };
        for store in &snapshot.stores {
            if let Some(level) = store.levels.get(at) {
                let over = level.values.iter().filter(|value| **value > limit).count();
                let labels = vec![("store_id", &*store.store_id), ("metric", metric.name)];
                lines.push((labels, to_float(over as u64)));
            }
        }
    }
    gauge_family(encoder, OVER_LIMIT.name, OVER_LIMIT.help, lines.into_iter())
}

fn late(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut family = encoder.encode_descriptor(LATE.name, LATE.help, None, MetricType::Counter)?;
    for store in &snapshot.stores {
        for ((_, age), samples) in LATE_AGES.iter().zip(store.series.late) {
            let labels = [("store_id", &*store.store_id), ("age_up_to", *age)];
            ConstCounter::new(samples).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn store_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    family: Family,
    value: impl Fn(&StoreSnapshot) -> f64,
) -> fmt::Result {
    let stores = snapshot.stores.iter();
    let lines = stores.map(|store| (vec![("store_id", &*store.store_id)], value(store)));
    gauge_family(encoder, family.name, family.help, lines)
}

fn store_counter(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    Family { name, help, .. }: Family,
    value: impl Fn(&StoreSnapshot) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for store in &snapshot.stores {
        let labels = [("store_id", &*store.store_id)];
        ConstCounter::new(value(store)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
