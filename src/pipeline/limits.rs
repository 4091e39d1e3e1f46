//! Turns the settings into what each stage takes.

use std::collections::HashSet;
use std::sync::Arc;

use tillwatch_model::ShareRule;

use crate::aggregate;
use crate::aggregate::terminals::Limits;
use crate::config::{Config, Consent, Span};
use crate::doors;
use crate::intake::{self, limits, rates, shares};
use crate::listener;
use crate::mapping::Mapping;
use crate::peer::Networks;
use crate::pipeline::seal::Due;
use crate::surface::Surface;

/// How long the head of a request to the admin listener may take. Whoever asks there is near.
const ADMIN_HEAD_S_MAX: u32 = 5;
/// How long a connection to the admin listener may be idle: longer than a scrape interval.
const ADMIN_IDLE_S_MAX: u32 = 120;

/// The places that all stores share.
pub(super) fn share_settings(config: &Config) -> shares::Settings {
    shares::Settings {
        queues_max: config.terminals.queues_max,
        gaps_max: shares::GAPS_MAX,
        keys_max: config.idempotency_keys.max,
        stores_max: config.series.stores_max,
        listed: store_list(config),
    }
}

/// The fleet's stores, if the operator lists them.
fn store_list(config: &Config) -> Option<Arc<HashSet<Box<str>>>> {
    let stores = config.series.store_list.0.iter();
    let stores: HashSet<Box<str>> = stores.map(|store_id| store_id.as_str().into()).collect();
    (!stores.is_empty()).then(|| Arc::new(stores))
}

/// The caps of the aggregate.
#[must_use]
pub fn aggregate_settings(config: &Config) -> aggregate::Caps {
    let listed = store_list(config);
    aggregate::Caps {
        stores_max: config.series.stores_max,
        releases_max: config.series.releases_max,
        native_histograms: config.series.native_histograms,
        terminals: Limits {
            terminals_max: config.terminals.queues_max,
            store_terminals_max: config.terminals.store_max,
            gaps: ShareRule::new(
                shares::GAPS_MAX,
                listed
                    .as_ref()
                    .map_or(config.series.stores_max, |stores| stores.len()),
            ),
        },
        window_bytes_max: config.series.window_memory.in_memory(),
        store_rows_per_hour: config.store_rate.rows_per_hour,
        store_list: listed,
    }
}

/// Says when a seal is due.
pub(super) fn due(config: &Config) -> Due {
    Due {
        interval: config.seal.interval.0,
        journal_bytes: config.seal.journal_bytes.0 + config.journal.segment.0,
    }
}

/// Says what a request may take.
pub fn door_limits(config: &Config) -> doors::Limits {
    let requests = &config.requests;
    doors::Limits {
        body_bytes_max: requests.body_bytes_max.in_memory(),
        decoded_bytes_max: requests.decoded_bytes_max.in_memory(),
        body_timeout: requests.body_timeout.0,
        body_bytes_per_s_min: requests.body_bytes_per_s_min.0,
        body_first: doors::BODY_FIRST,
        batches_max: requests.batches_max,
        samples_max: requests.samples_max,
        slow: config.log.slow_request.0,
    }
}

/// Says what the doors of foreign formats take for granted.
pub fn door_rules(config: &Config) -> doors::foreign::Rules {
    let settings = &config.doors;
    let rule = |consent: Consent, store: &Option<String>| doors::foreign::Rule {
        is_consent_assumed: consent == Consent::Assumed,
        store: store.as_deref().map(Into::into),
    };
    doors::foreign::Rules {
        legacy: rule(settings.legacy_consent, &settings.legacy_store),
        faro: rule(settings.faro_consent, &settings.faro_store),
        otlp: rule(settings.otlp_consent, &settings.otlp_store),
        are_faro_logs_counted: settings.are_faro_logs_counted,
        mapping: mapping(config),
    }
}

/// What the names of foreign clients mean.
fn mapping(config: &Config) -> Mapping {
    Mapping {
        rules: config.declared.map.clone(),
        sets: config.doors.map_sets.0.clone(),
    }
}

/// Says what the intake grants.
pub(super) fn intake_settings(config: &Config) -> intake::Settings {
    intake::Settings {
        acknowledge_max: intake::ACKNOWLEDGE_MAX,
        histogram_values_per_s: config.requests.histogram_values_per_s as u64,
        rates: rates::Settings {
            store_requests_per_s: config.store_rate.requests_per_s,
            store_burst: config.store_rate.burst,
        },
        limits: sender_limits(config),
    }
}

fn sender_limits(config: &Config) -> limits::Settings {
    let limits = &config.limits;
    let stores = limits.stores.0.iter();
    limits::Settings {
        terminal: limits.terminal.interval,
        terminal_burst: limits.terminal_burst,
        store: limits.store.interval,
        per_terminal: limits.per_terminal.interval,
        stores: stores
            .map(|(store_id, rate)| (store_id.as_str().into(), rate.interval))
            .collect(),
        app: limits.app.interval,
        address: limits.address.interval,
    }
}

/// Whom to believe about addresses, and which are not counted.
pub(super) fn networks(config: &Config) -> Networks {
    Networks {
        trusted_proxies: config.auth.trusted_proxies.0.clone(),
        exempt: config.limits.exempt.0.clone(),
    }
}

/// The limits of the ingest listener and of the admin listener.
pub(super) fn listen_settings(
    config: &Config,
) -> (listener::ListenerSettings, listener::ListenerSettings) {
    let seconds = |Span(span): Span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX).max(1);
    let asked = config.connections.max;
    let (connections_max, admin_connections_max) = listener::connections_allowed(asked);
    if connections_max < asked {
        tracing::warn!(
            connections_max = asked,
            allowed = connections_max,
            "fewer connections than connections_max: each is an open file; raise the limit (ulimit -n, LimitNOFILE, nofile)"
        );
    }
    let ingest = listener::ListenerSettings {
        name: "ingest",
        connections_max,
        head_s_max: seconds(config.connections.head_timeout),
        idle_s_max: seconds(config.connections.idle_timeout),
        has_large_answers: false,
        surface: Surface {
            has_tls: config.tls.certificate.is_some(),
            is_private: false,
        },
    };
    let admin = listener::ListenerSettings {
        name: "admin",
        connections_max: admin_connections_max,
        head_s_max: ADMIN_HEAD_S_MAX,
        idle_s_max: ADMIN_IDLE_S_MAX,
        has_large_answers: true,
        surface: Surface {
            has_tls: config.tls.admin_certificate.is_some(),
            is_private: true,
        },
    };
    (ingest, admin)
}
