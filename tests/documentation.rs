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
    let mut page = "# Configuration\n\nThis page is generated from `src/config/settings.rs`.\n\n\
        Each setting can be given in three ways: as a key of the TOML file (`tillwatch serve --config FILE`), as a \
        variable, or as a flag of `serve` (`data_dir` becomes `--data-dir`). A flag wins over a variable, and a \
        variable wins over the file. An empty variable counts as unset. \
        `tillwatch check-config FILE` prints the settings that result from a file.\n\n\
        On SIGHUP `serve` reads the file again and takes the new values of the settings marked *reload*; the other \
        settings need a restart. If the file has an error, `serve` keeps all its settings.\n\n\
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
    let mut page = "# Metrics\n\nThis page is generated from `crates/model/src/catalogue.rs`, `src/export/families.rs` and \
        `src/self_metrics.rs`.\n\n\
        ## What terminals measure\n\nThe columns of the table below mean:\n\n\
        - **wire name**: the name that a terminal sends; an alias in brackets is accepted as well.\n\
        - **kind**: a *distribution* has percentiles, a *counter* has a sum, and a *level* is the current state of a terminal.\n\
        - **live**: how late a sample may be received and still move the series in Prometheus: within 10 minutes of its time \
        with `event`, within 24 hours with `arrival`, at any age with `always`. ClickHouse gets every accepted sample.\n\
        - **thresholds**: the first and the second limit, in the unit of the wire name.\n\
        - **Prometheus**: the name of the series. Counters end in `_total`; durations are in seconds, sizes in bytes.\n\
        - **by**: the label of the series. A distribution by *store* has buckets and window gauges for each store. A metric by \
        *store, release* also has series for each release, whose names begin with `pos_release_` so that no sum counts a sample \
        twice. A distribution by *release* alone keeps its own name.\n\n\
        No series has a label for a terminal; ask the query API about terminals.\n\n\
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
        "\n## How exact window gauges are\n\nA window gauge is a percentile of the last minutes of a store, such as \
        `pos_sync_duration_window_seconds{q=\"0.95\"}`. A window gauge covers the event-time minutes from 6 to 1 minutes \
        ago, and `pos_sync_duration_window_samples` says how many samples it stands on. Both series disappear while the store \
        is silent.\n\n\
        - A window gauge is never too low, and at most 0.1 % too high as long as each minute of a metric in a store has at most \
        1,024 different buckets.\n\
        - If a minute has more buckets, neighbouring buckets are merged. The gauge is then at most 0.8 % too high if the greatest \
        value of the minute is at most 256 times its least, and 3.2 % at worst; below 2,048 recording units (2 ms) it is at most \
        31 units too high. Where a limit must be exact, alert on the buckets, which are never merged.\n\
        - A gauge may stand on fewer samples in two cases: after a restart, because the minutes before it are not kept beyond \
        what the journal replays, and when `window_memory` is used up, because the store that takes most then loses its oldest \
        minutes (`tillwatch_windows_given_up`). Even then the gauge is a true percentile of its samples. Let an alert ask for enough samples.\n",
    );
    page.push_str(
        "\n## What else `/metrics/fleet` shows\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in families::ALL {
        let (name, kind, help) = (family.name, family.kind, family.help);
        let total = if kind == "counter" { "_total" } else { "" };
        let labels = family.labels.join(", ");
        writeln!(page, "| `{name}{total}` | {kind} | {labels} | {help} |").unwrap();
    }
    page.push_str(
        "\n## What tillwatch says about itself\n\nThe page `/metrics` of the admin listener has these series.\n\n| name | kind | meaning |\n|---|---|---|\n",
    );
    for (name, kind, help) in self_metrics::ALL {
        let kind = match kind {
            self_metrics::MetricType::Counter => "counter",
            self_metrics::MetricType::Gauge => "gauge",
            self_metrics::MetricType::Histogram => "histogram",
        };
        writeln!(page, "| `{name}` | {kind} | {help} |").unwrap();
    }
    check("docs/metrics.md", &page);
}

/// The description of the query API for programs.
#[test]
fn the_openapi_document_is_that_of_the_routes() {
    let document = tillwatch::admin::openapi::document();
    let made = serde_json::to_string_pretty(document).expect("it is JSON") + "\n";
    check("docs/openapi.json", &made);
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
                "recording_scale": metric.unit.scale(),
                "value_max": metric.value_max,
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
                self_metrics::MetricType::Counter => "counter",
                self_metrics::MetricType::Gauge => "gauge",
                self_metrics::MetricType::Histogram => "histogram",
            };
            serde_json::json!({"name": name, "kind": kind})
        })
        .collect();
    let all = serde_json::json!({"metrics": metrics, "self_metrics": own});
    let made = serde_json::to_string_pretty(&all).expect("it is JSON") + "\n";
    check("dashboards/src/catalogue.json", &made);
}
