//! The pages that are made from the code: they fail here when they differ from it.
//!
//! `UPDATE_DOCS=1 cargo test --test documentation` writes them anew.

use std::fmt::Write;

use tillwatch::config::SETTINGS;
use tillwatch::export::families;
use tillwatch::self_metrics;
use tillwatch_model::Catalogue;
use tillwatch_model::metric::{Kind, Metric};

fn check(name: &str, made: &str) {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{name} differs from the code: run UPDATE_DOCS=1 cargo test --test documentation"
    );
}

#[test]
fn the_configuration_page_is_that_of_the_settings() {
    let mut page = "# Configuration\n\nMade from `src/config/mod.rs`; a test fails when it differs.\n\n\
        Each setting is a key of the TOML file (`serve --config FILE`), a variable, and a flag of `serve` \
        (`data_dir` is `--data-dir`). A flag wins over a variable, a variable over the file; \
        an empty variable is as if unset. \
        `tillwatch check-config FILE` prints what a file comes to.\n\n\
        SIGHUP makes `serve` read the file again and take new values of the settings marked *reload*; a file with an \
        error changes nothing. Others need a restart.\n\n\
        | key | variable | default | | what it does |\n|---|---|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let (name, variable, help) = (setting.name, setting.variable, setting.help);
        let reload = if setting.is_reloadable { "reload" } else { "" };
        writeln!(
            page,
            "| `{name}` | `{variable}` | {default} | {reload} | {help}. |"
        )
        .unwrap();
    }
    check("docs/configuration.md", &page);
}

fn threshold(metric: &Metric, at: usize) -> String {
    metric.thresholds[at].map_or_else(
        || "–".to_owned(),
        |value| metric.unit.to_wire(value).to_string(),
    )
}

#[test]
fn the_metrics_page_is_that_of_the_catalogue() {
    let mut page = "# Metrics\n\nMade from `crates/model/src/catalogue.rs` and `src/self_metrics.rs`; a test fails when it differs.\n\n\
        ## What terminals measure\n\nKinds: a *distribution* has percentiles, a *counter* a sum, a *level* is the state of a \
        terminal. `live`: when a sample moves the series in Prometheus: `event` if received within 10 minutes of its time, \
        `arrival` within 24 hours, `always` at any age. In Prometheus counters end in `_total`; durations are in seconds, sizes in \
        bytes. Distributions with *store* have buckets and window gauges by store (`…_window_…{quantile}` over the event-time minutes from 6 \
        to 1 minutes ago, with `…_window_samples`; gone when the store is silent; how exact they are stands below). What has *store, release* is there by \
        release as `pos_release_…`; a distribution with *release* alone has its buckets by release under its own name.\n\n\
        | wire name (aliases) | kind | unit | label | live | thresholds | Prometheus | by | meaning |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for metric in Catalogue::default().metrics() {
        let kind = match metric.kind {
            Kind::Distribution => "distribution",
            Kind::Counter => "counter",
            Kind::Level => "level",
        };
        let aliases = match metric.aliases {
            [] => String::new(),
            aliases => format!(" ({})", aliases.join(", ")),
        };
        let label = metric.label.map_or_else(
            || "–".to_owned(),
            |label| format!("{}: {}", label.key, label.values.join(", ")),
        );
        let by = match metric.kind {
            Kind::Distribution if !metric.per_store => "release",
            Kind::Distribution => "store, release",
            Kind::Counter if metric.per_release => "store, release",
            _ => "store",
        };
        writeln!(
            page,
            "| `{}`{aliases} | {kind} | {} | {label} | {} | {} / {} | `{}` | {by} | {} {} |",
            metric.name,
            metric.unit.name(),
            metric.live.name(),
            threshold(metric, 0),
            threshold(metric, 1),
            metric.prometheus,
            metric.help,
            metric.threshold_note,
        )
        .unwrap();
    }
    page.push_str(
        "\n**Window gauges** are never too low. As everywhere they are at most 0.1 % too high, as long as a minute of a metric in a \
        store has at most 1,024 different buckets. With more of them neighbours merge: at most 0.8 % if its greatest value is at most \
        256 times its least, 3.2 % at worst; below 2,048 recording units (2 ms) at most 31 units. A limit that must not be missed by so \
        much is better asked of the buckets, which are exact. The minutes are bounded by `window_memory` over all stores; past it \
        the store that takes most loses its oldest (`tillwatch_windows_given_up`). They are not kept over a restart: for the \
        first six minutes after it a gauge stands on what the journal brought back and on what has come since. In both cases it is a \
        true quantile of fewer samples, and `…_window_samples` says of how many: let an alert ask for enough of them.\n",
    );
    page.push_str(
        "\nBeside them on the same page:\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in families::ALL {
        let (name, kind, help) = (family.name, family.kind, family.help);
        let total = if kind == "counter" { "_total" } else { "" };
        let labels = family.labels.join(", ");
        writeln!(page, "| `{name}{total}` | {kind} | {labels} | {help} |").unwrap();
    }
    page.push_str(
        "\n## What tillwatch says of itself\n\n| name | kind | meaning |\n|---|---|---|\n",
    );
    for (name, kind, help) in self_metrics::ALL {
        let kind = match kind {
            self_metrics::Kind::Counter => "counter",
            self_metrics::Kind::Gauge => "gauge",
            self_metrics::Kind::Histogram => "histogram",
        };
        writeln!(page, "| `{name}` | {kind} | {help} |").unwrap();
    }
    check("docs/metrics.md", &page);
}

/// What dashboards are generated from: names, labels, thresholds and bounds, in Prometheus' units.
#[test]
fn the_dashboards_catalogue_is_that_of_the_code() {
    let in_prometheus = |metric: &Metric, value: u64| metric.unit.to_prometheus(value);
    let metrics: Vec<_> = Catalogue::default()
        .metrics()
        .iter()
        .map(|metric| {
            let thresholds = metric.thresholds.iter().flatten();
            serde_json::json!({
                "name": metric.name,
                "kind": match metric.kind {
                    Kind::Distribution => "distribution",
                    Kind::Counter => "counter",
                    Kind::Level => "level",
                },
                "unit": metric.unit.name(),
                "prometheus": metric.prometheus,
                "label": metric.label.map(|label| serde_json::json!({"key": label.key, "values": label.values})),
                "thresholds": thresholds.map(|value| in_prometheus(metric, *value)).collect::<Vec<_>>(),
                "threshold_note": metric.threshold_note,
                "bounds": metric.bounds.iter().map(|value| in_prometheus(metric, *value)).collect::<Vec<_>>(),
                "per_store": metric.per_store,
                "per_terminal": metric.per_terminal,
                "help": metric.help,
            })
        })
        .collect();
    let own: Vec<_> = self_metrics::ALL
        .iter()
        .map(|(name, kind, _)| {
            let kind = match kind {
                self_metrics::Kind::Counter => "counter",
                self_metrics::Kind::Gauge => "gauge",
                self_metrics::Kind::Histogram => "histogram",
            };
            serde_json::json!({"name": name, "kind": kind})
        })
        .collect();
    let all = serde_json::json!({"metrics": metrics, "self_metrics": own});
    let made = serde_json::to_string_pretty(&all).expect("it is JSON") + "\n";
    check("dashboards/src/catalogue.json", &made);
}
