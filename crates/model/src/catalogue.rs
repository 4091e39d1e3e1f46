//! Every metric terminals measure, declared once.
//!
//! Validation, exposition, dashboards, alert rules and the documentation come from here. A new metric
//! is one entry with a code of its own; codes and label values are only ever appended to, because
//! journals and state files hold them.

use std::collections::HashMap;

use crate::metric::{Kind, Label, Live, Metric, Unit, label_code};
use crate::own_metric::OwnMetric;

/// 604,800,000 ms, seven days: the longest duration, in µs.
const DURATION_US_MAX: u64 = 604_800_000_000;
/// 30 days, in µs: a terminal may be offline for longer than the seven days that are its limit.
const OFFLINE_US_MAX: u64 = 2_592_000_000_000;
const SCORE_MAX: u64 = 100 * 10_000;
const BYTES_MAX: u64 = 1 << 40;
const COUNT_MAX: u64 = 1_000_000_000;
/// 1e6 MB, in bytes.
const MEGABYTES_MAX: u64 = 1_000_000 * 1_000_000;
const RATIO_MAX: u64 = 10_000;

/// Microseconds in a millisecond.
const MS: u64 = 1_000;
/// Microseconds in a second.
const S: u64 = 1_000_000;

/// What most labels have in common: a value outside the list, or none, is rejected.
const LABEL: Label = Label {
    key: "",
    values: &[],
    aliases: &[],
    unknown_is: None,
    missing_is: None,
};

const RESULT: Label = Label {
    key: "result",
    values: &["success", "failure"],
    ..LABEL
};

const CACHED: Label = Label {
    key: "result",
    values: &["hit", "miss"],
    ..LABEL
};

/// What most metrics have in common; each entry below names what differs.
const BASE: Metric = Metric {
    code: 0,
    name: "",
    aliases: &[],
    kind: Kind::Distribution,
    unit: Unit::Milliseconds,
    value_max: DURATION_US_MAX,
    help: "",
    prometheus: "",
    bounds: &[],
    release_bounds: &[],
    thresholds: [None, None],
    threshold_note: "",
    label: None,
    live: Live::Event,
    per_terminal: false,
    per_store: false,
    per_release: false,
};

const COUNTER: Metric = Metric {
    kind: Kind::Counter,
    unit: Unit::Count,
    value_max: COUNT_MAX,
    ..BASE
};

/// The metrics of this release.
///
/// Where releases are compared (sync, offline login, page load), neighbouring bounds by release are at
/// most half apart over the usual values: with wider ones a p95 that is 1.3 times another's often looks
/// the same.
pub const BUILT_IN: &[Metric] = &[
    Metric {
        code: 1,
        name: "lcp_ms",
        aliases: &["lcp"],
        help: "Measures how long a page took to paint its largest element (Largest Contentful Paint of web-vitals).",
        prometheus: "pos_web_vitals_lcp_seconds",
        bounds: &[S, 1_500 * MS, 2 * S, 2_500 * MS, 3 * S, 4 * S, 6 * S],
        thresholds: [Some(2_500 * MS), Some(4_000 * MS)],
        threshold_note: "A p75 up to 2,500 ms is good, over 4,000 ms is poor.",
        per_store: true,
        ..BASE
    },
    Metric {
        code: 2,
        name: "inp_ms",
        aliases: &["inp"],
        help: "Measures how long a page took to respond to an interaction (Interaction to Next Paint of web-vitals).",
        prometheus: "pos_web_vitals_inp_seconds",
        bounds: &[100 * MS, 200 * MS, 300 * MS, 500 * MS, S],
        thresholds: [Some(200 * MS), Some(500 * MS)],
        threshold_note: "A p75 up to 200 ms is good, over 500 ms is poor.",
        per_store: true,
        ..BASE
    },
    Metric {
        code: 3,
        name: "cls_score",
        aliases: &["cls"],
        unit: Unit::Score,
        value_max: SCORE_MAX,
        help: "Measures how far a page's content moved by itself (Cumulative Layout Shift of web-vitals).",
        prometheus: "pos_web_vitals_cls",
        bounds: &[500, 1_000, 1_500, 2_500, 5_000],
        thresholds: [Some(1_000), Some(2_500)],
        threshold_note: "A p75 up to 0.1 is good, over 0.25 is poor.",
        per_store: true,
        ..BASE
    },
    Metric {
        code: 4,
        name: "fcp_ms",
        help: "Measures how long a page took to paint its first content (First Contentful Paint of web-vitals).",
        prometheus: "pos_web_vitals_fcp_seconds",
        bounds: &[500 * MS, S, 1_800 * MS, 3 * S, 5 * S, 10 * S],
        thresholds: [Some(1_800 * MS), Some(3_000 * MS)],
        threshold_note: "A p75 up to 1,800 ms is good, over 3,000 ms is poor.",
        ..BASE
    },
    Metric {
        code: 5,
        name: "ttfb_ms",
        help: "Measures how long a page waited for its first byte (Time To First Byte of web-vitals).",
        prometheus: "pos_web_vitals_ttfb_seconds",
        bounds: &[100 * MS, 200 * MS, 400 * MS, 800 * MS, 1_800 * MS, 3 * S],
        thresholds: [Some(800 * MS), Some(1_800 * MS)],
        threshold_note: "A p75 up to 800 ms is good, over 1,800 ms is poor.",
        ..BASE
    },
    Metric {
        code: 6,
        name: "page_load_ms",
        help: "Measures how long a page of the application took until it was usable.",
        prometheus: "pos_page_load_seconds",
        bounds: &[
            50 * MS,
            75 * MS,
            100 * MS,
            150 * MS,
            200 * MS,
            300 * MS,
            400 * MS,
            500 * MS,
            750 * MS,
            S,
            1_500 * MS,
            2 * S,
            3 * S,
            5 * S,
        ],
        thresholds: [Some(100 * MS), None],
        threshold_note: "The target is 100 ms.",
        ..BASE
    },
    Metric {
        code: 7,
        name: "offline_login_duration_ms",
        aliases: &["offline_login_duration"],
        help: "Measures how long a login took while the terminal was offline.",
        prometheus: "pos_offline_login_duration_seconds",
        bounds: &[100 * MS, 200 * MS, 300 * MS, 500 * MS, S, 2 * S],
        release_bounds: &[
            100 * MS,
            150 * MS,
            200 * MS,
            250 * MS,
            300 * MS,
            400 * MS,
            500 * MS,
            700 * MS,
            S,
            2 * S,
        ],
        thresholds: [Some(300 * MS), Some(500 * MS)],
        threshold_note: "The target is 300 ms; a p95 over 500 ms warns.",
        live: Live::Arrival,
        per_terminal: true,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 8,
        name: "offline_logins",
        help: "Counts logins attempted while the terminal was offline.",
        prometheus: "pos_offline_logins",
        threshold_note: "A success ratio under 0.99 warns.",
        label: Some(RESULT),
        live: Live::Arrival,
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 9,
        name: "session_restore_ms",
        help: "Measures how long the terminal took to restore a cashier's session from its storage.",
        prometheus: "pos_session_restore_duration_seconds",
        bounds: &[25 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, S],
        thresholds: [Some(100 * MS), None],
        threshold_note: "The target is 100 ms.",
        live: Live::Arrival,
        ..BASE
    },
    Metric {
        code: 10,
        name: "sync_duration_ms",
        aliases: &["sync_duration"],
        help: "Measures how long one synchronisation with the back office took.",
        prometheus: "pos_sync_duration_seconds",
        bounds: &[
            250 * MS,
            500 * MS,
            S,
            1_500 * MS,
            2 * S,
            3 * S,
            5 * S,
            10 * S,
            30 * S,
        ],
        release_bounds: &[
            250 * MS,
            500 * MS,
            750 * MS,
            S,
            1_250 * MS,
            1_500 * MS,
            1_750 * MS,
            2 * S,
            2_500 * MS,
            3 * S,
            4 * S,
            5 * S,
            7 * S,
            10 * S,
            30 * S,
        ],
        thresholds: [Some(1_500 * MS), Some(5_000 * MS)],
        threshold_note: "The target for p95 is 1,500 ms; over 5,000 ms is critical.",
        per_terminal: true,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 11,
        name: "sync_items_count",
        aliases: &["sync_items"],
        help: "Counts items carried by synchronisations.",
        prometheus: "pos_sync_items",
        ..COUNTER
    },
    Metric {
        code: 12,
        name: "sync_payload_bytes",
        aliases: &["sync_payload_size"],
        unit: Unit::Bytes,
        value_max: BYTES_MAX,
        help: "Measures how large the payload of one synchronisation was.",
        prometheus: "pos_sync_payload_bytes",
        bounds: &[1_000, 5_000, 15_000, 50_000, 100_000, 500_000, 1_000_000],
        thresholds: [Some(15_000), None],
        threshold_note: "The target is 15,000 bytes.",
        ..BASE
    },
    Metric {
        code: 13,
        name: "sync_attempts",
        help: "Counts attempted synchronisations.",
        prometheus: "pos_sync_attempts",
        threshold_note: "A success ratio under 0.99 warns, under 0.95 is critical.",
        label: Some(RESULT),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 14,
        name: "reconnect_to_synced_ms",
        help: "Measures how long a terminal took from reconnecting until everything queued was synchronised.",
        prometheus: "pos_reconnect_to_synced_duration_seconds",
        bounds: &[10 * S, 60 * S, 120 * S, 300 * S, 600 * S, 1_800 * S],
        thresholds: [Some(300 * S), None],
        threshold_note: "The target is 98 % within 300,000 ms.",
        live: Live::Arrival,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 15,
        name: "queue_wait_ms",
        help: "Measures how long a transaction waited in the terminal's queue before it was synchronised.",
        prometheus: "pos_sync_queue_wait_seconds",
        bounds: &[
            S,
            10 * S,
            60 * S,
            300 * S,
            900 * S,
            3_600 * S,
            14_400 * S,
            86_400 * S,
        ],
        thresholds: [Some(3_600 * S), None],
        threshold_note: "The target is a p99 under 3,600,000 ms.",
        live: Live::Arrival,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 16,
        name: "pending_transactions",
        kind: Kind::Level,
        unit: Unit::Count,
        value_max: COUNT_MAX,
        help: "Shows how many transactions wait in the terminal's queue.",
        prometheus: "pos_pending_transactions",
        thresholds: [Some(800), Some(1_000)],
        threshold_note: "A terminal may hold 1,000 transactions; over 800 warns.",
        per_terminal: true,
        ..BASE
    },
    Metric {
        code: 17,
        name: "offline_transactions",
        help: "Counts transactions made while the terminal was offline.",
        prometheus: "pos_offline_transactions",
        threshold_note: "A success ratio under 0.99 warns.",
        label: Some(RESULT),
        live: Live::Arrival,
        ..COUNTER
    },
    Metric {
        code: 18,
        name: "conflicts",
        help: "Counts conflicts found when offline transactions were synchronised.",
        prometheus: "pos_sync_conflicts",
        threshold_note: "A ratio over 0.02 of transactions warns.",
        label: Some(Label {
            key: "kind",
            values: &[
                "inventory_shortage",
                "duplicate_transaction",
                "customer_mismatch",
                "session_closed",
                "price_change",
                "loyalty_points",
                "other",
            ],
            aliases: &[("insufficient_loyalty_points", "loyalty_points")],
            unknown_is: Some("other"),
            ..LABEL
        }),
        live: Live::Arrival,
        ..COUNTER
    },
    Metric {
        code: 19,
        name: "cache_requests",
        help: "Counts requests that the service worker's cache answered (hit) or did not (miss).",
        prometheus: "pos_cache_requests",
        threshold_note: "A hit ratio under 0.60 should be investigated.",
        label: Some(CACHED),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 20,
        name: "product_search_ms",
        help: "Measures how long a product search on the terminal took.",
        prometheus: "pos_product_search_duration_seconds",
        bounds: &[20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, S],
        thresholds: [Some(200 * MS), None],
        threshold_note: "The target is 200 ms.",
        ..BASE
    },
    Metric {
        code: 21,
        name: "customer_lookup_ms",
        help: "Measures how long a customer lookup on the terminal took.",
        prometheus: "pos_customer_lookup_duration_seconds",
        bounds: &[20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, S],
        thresholds: [Some(100 * MS), None],
        threshold_note: "The target is 100 ms.",
        ..BASE
    },
    Metric {
        code: 22,
        name: "idb_write_ms",
        help: "Measures how long a write to IndexedDB took.",
        prometheus: "pos_indexeddb_write_duration_seconds",
        bounds: &[5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS, 500 * MS],
        thresholds: [Some(50 * MS), None],
        threshold_note: "The target is 50 ms.",
        ..BASE
    },
    Metric {
        code: 23,
        name: "service_worker_boot_ms",
        help: "Measures how long the service worker took to start.",
        prometheus: "pos_service_worker_boot_duration_seconds",
        bounds: &[50 * MS, 100 * MS, 200 * MS, 500 * MS, S, 2 * S],
        thresholds: [Some(500 * MS), None],
        threshold_note: "The target is 500 ms.",
        ..BASE
    },
    Metric {
        code: 24,
        name: "network_latency_ms",
        aliases: &["latency_ms"],
        help: "Measures how long a round trip to the back office took, as the terminal sees it.",
        prometheus: "pos_network_latency_seconds",
        bounds: &[50 * MS, 100 * MS, 200 * MS, 500 * MS, S, 2 * S],
        thresholds: [Some(100 * MS), Some(500 * MS)],
        threshold_note: "A round trip under 100 ms is good, over 500 ms is poor.",
        per_terminal: true,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 25,
        name: "memory_used_mb",
        kind: Kind::Level,
        unit: Unit::Megabytes,
        value_max: MEGABYTES_MAX,
        help: "Shows how much memory the application uses on the terminal.",
        prometheus: "pos_terminal_memory_bytes",
        thresholds: [Some(80_000_000), None],
        threshold_note: "A terminal over 80 MB should be cleaned up.",
        per_terminal: true,
        ..BASE
    },
    Metric {
        code: 26,
        name: "db_size_mb",
        kind: Kind::Level,
        unit: Unit::Megabytes,
        value_max: MEGABYTES_MAX,
        help: "Shows how large the terminal's IndexedDB is.",
        prometheus: "pos_indexeddb_size_bytes",
        ..BASE
    },
    Metric {
        code: 27,
        name: "storage_used_ratio",
        kind: Kind::Level,
        unit: Unit::Ratio,
        value_max: RATIO_MAX,
        help: "Shows which share of the browser's storage quota is in use.",
        prometheus: "pos_storage_used_ratio",
        thresholds: [Some(8_000), None],
        threshold_note: "A share over 0.8 warns.",
        ..BASE
    },
    Metric {
        code: 28,
        name: "idb_transaction_count",
        help: "Counts IndexedDB transactions of the application.",
        prometheus: "pos_indexeddb_transactions",
        ..COUNTER
    },
    Metric {
        code: 29,
        name: "mode_switches",
        help: "Counts changes of the terminal's connection mode, by the mode it changed to.",
        prometheus: "pos_mode_switches",
        label: Some(Label {
            key: "to",
            values: &[
                "online",
                "offline",
                "slow",
                "metered",
                "offline_sync",
                "unknown",
            ],
            missing_is: Some("unknown"),
            ..LABEL
        }),
        ..COUNTER
    },
    Metric {
        code: 30,
        name: "errors",
        aliases: &["errors_count"],
        help: "Counts errors of the application.",
        prometheus: "pos_errors",
        threshold_note: "An error ratio over 0.001 warns.",
        label: Some(Label {
            key: "kind",
            values: &[
                "network",
                "storage_quota",
                "sync",
                "auth",
                "script",
                "other",
            ],
            unknown_is: Some("other"),
            missing_is: Some("other"),
            ..LABEL
        }),
        per_terminal: true,
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 31,
        name: "login_failures",
        help: "Counts refused logins.",
        prometheus: "pos_login_failures",
        threshold_note: "A burst of refused logins may be an attack.",
        ..COUNTER
    },
    Metric {
        code: 32,
        name: "data_loss_incidents",
        help: "Counts incidents in which a terminal lost business data.",
        prometheus: "pos_data_loss_incidents",
        threshold_note: "Any incident pages at once.",
        live: Live::Always,
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 33,
        name: "dropped_samples",
        help: "Counts samples that the terminal's own SDK had to drop.",
        prometheus: "pos_sdk_dropped_samples",
        label: Some(Label {
            key: "reason",
            values: &["quota", "age", "too_large", "refused", "other"],
            ..LABEL
        }),
        live: Live::Arrival,
        ..COUNTER
    },
    Metric {
        code: 34,
        name: "events",
        help: "Counts events of the terminal that are no errors, by their kind.",
        prometheus: "pos_events",
        label: Some(Label {
            key: "kind",
            values: &["offline", "online", "shutdown", "battery", "custom"],
            ..LABEL
        }),
        live: Live::Arrival,
        ..COUNTER
    },
    Metric {
        code: 35,
        name: "long_animation_frames",
        help: "Counts frames that kept a page busy for over 50 ms (Long Animation Frames, W3C).",
        prometheus: "pos_long_animation_frames",
        threshold_note: "Touches wait behind such frames; what counts is how many there are against another release.",
        ..COUNTER
    },
    Metric {
        code: 36,
        name: "summaries",
        help: "Counts reports of many values that a page or a client has made itself; what they say is in summary_1m.",
        prometheus: "pos_summaries",
        ..COUNTER
    },
    Metric {
        code: 37,
        name: "offline_duration_ms",
        value_max: OFFLINE_US_MAX,
        help: "Measures how long a terminal was offline, once it is back.",
        prometheus: "pos_offline_duration_seconds",
        bounds: &[
            60 * S,
            600 * S,
            3_600 * S,
            14_400 * S,
            86_400 * S,
            604_800 * S,
        ],
        thresholds: [Some(86_400 * S), Some(604_800 * S)],
        threshold_note: "Over 86,400,000 ms (24 hours) warns; the limit is 604,800,000 ms (7 days).",
        live: Live::Arrival,
        per_terminal: true,
        per_store: true,
        ..BASE
    },
    Metric {
        code: 38,
        name: "sync_retries",
        help: "Counts transactions that were tried again because an earlier try to synchronise them failed.",
        prometheus: "pos_sync_retries",
        ..COUNTER
    },
    Metric {
        code: 39,
        name: "sync_dead_letters",
        help: "Counts transactions that a terminal has given up after ten tries, by what the last try failed with.",
        prometheus: "pos_sync_dead_letters",
        threshold_note: "Each is for a person.",
        label: Some(Label {
            key: "reason",
            values: &["network", "server", "auth", "conflict", "invalid", "other"],
            unknown_is: Some("other"),
            missing_is: Some("other"),
            ..LABEL
        }),
        live: Live::Arrival,
        per_terminal: true,
        ..COUNTER
    },
    Metric {
        code: 40,
        name: "worker_updates",
        help: "Counts updates of the service worker.",
        prometheus: "pos_service_worker_updates",
        label: Some(RESULT),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 41,
        name: "cache_assets_requests",
        help: "Counts requests for scripts, styles and pictures that a cache answered (hit) or did not (miss).",
        prometheus: "pos_cache_assets_requests",
        threshold_note: "A hit ratio under 0.70 should be investigated.",
        label: Some(CACHED),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 42,
        name: "cache_search_requests",
        help: "Counts product searches that a cache answered (hit) or did not (miss).",
        prometheus: "pos_cache_search_requests",
        threshold_note: "A hit ratio under 0.95 should be investigated.",
        label: Some(CACHED),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 43,
        name: "cache_data_requests",
        help: "Counts requests for data of the back office that a cache answered (hit) or did not (miss).",
        prometheus: "pos_cache_data_requests",
        threshold_note: "A hit ratio under 0.80 should be investigated.",
        label: Some(CACHED),
        per_release: true,
        ..COUNTER
    },
    Metric {
        code: 44,
        name: "sync_100_duration_ms",
        help: "Measures how long it took to synchronise 100 items.",
        prometheus: "pos_sync_100_duration_seconds",
        bounds: &[
            500 * MS,
            S,
            1_500 * MS,
            3 * S,
            5 * S,
            10 * S,
            30 * S,
            60 * S,
            120 * S,
            300 * S,
        ],
        thresholds: [Some(1_500 * MS), Some(120_000 * MS)],
        threshold_note: "The target is 1,500 ms; 100 transactions that were queued offline may take 120,000 ms.",
        ..BASE
    },
    Metric {
        code: 45,
        name: "page_load_cached_ms",
        help: "Measures how long a page took until it was usable when a cache of the terminal answered.",
        prometheus: "pos_page_load_cached_seconds",
        bounds: &[
            10 * MS,
            25 * MS,
            50 * MS,
            75 * MS,
            100 * MS,
            200 * MS,
            500 * MS,
            S,
        ],
        thresholds: [Some(50 * MS), None],
        threshold_note: "The target is 50 ms.",
        ..BASE
    },
    Metric {
        code: 46,
        name: "compression_ratio",
        unit: Unit::Ratio,
        value_max: RATIO_MAX,
        help: "Measures which share of its size a request's body still had when it was compressed.",
        prometheus: "pos_compression_ratio",
        bounds: &[1_000, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000],
        ..BASE
    },
];

/// `mode_switch_{from}_to_{to}`: an alias that carries the label in the name.
const MODE_SWITCH_PREFIX: &str = "mode_switch_";

/// The metrics tillwatch knows, found by name.
#[derive(Debug)]
pub struct Catalogue {
    metrics: Vec<Metric>,
    /// Metrics that are not declared any more, behind the others: only by their codes are they known.
    retired: usize,
    by_name: HashMap<&'static str, usize, foldhash::fast::FixedState>,
    by_code: Vec<Option<usize>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(BUILT_IN.to_vec())
    }
}

impl Catalogue {
    /// A catalogue of these metrics.
    #[must_use]
    pub fn new(metrics: Vec<Metric>) -> Self {
        let mut catalogue = Self {
            metrics: Vec::new(),
            retired: 0,
            by_name: HashMap::default(),
            by_code: Vec::new(),
        };
        for (index, metric) in metrics.iter().enumerate() {
            for name in std::iter::once(&metric.name).chain(metric.aliases) {
                catalogue.by_name.insert(*name, index);
            }
            catalogue.note_code(metric.code, index);
        }
        catalogue.metrics = metrics;
        catalogue
    }

    /// The metrics of this release and those that a shop has declared itself. What it declared once and does not any more
    /// is known by its code alone, which journals may hold: nobody can send it.
    #[must_use]
    pub fn with_own(declared: Vec<OwnMetric>, retired: Vec<OwnMetric>) -> Self {
        let own = declared.into_iter().map(OwnMetric::into_metric);
        let mut catalogue = Self::new(BUILT_IN.iter().copied().chain(own).collect());
        for metric in retired.into_iter().map(OwnMetric::into_metric) {
            catalogue.note_code(metric.code, catalogue.metrics.len());
            catalogue.metrics.push(metric);
            catalogue.retired += 1;
        }
        catalogue
    }

    fn note_code(&mut self, code: u16, index: usize) {
        let code = usize::from(code);
        if self.by_code.len() <= code {
            self.by_code.resize(code + 1, None);
        }
        self.by_code[code] = Some(index);
    }

    /// Every metric that can be sent, in the order of the catalogue.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics[..self.metrics.len() - self.retired]
    }

    /// The metric of this wire name or alias, and the label that the name itself carries, if any.
    #[must_use]
    pub fn find<'a>(&self, name: &'a str) -> Option<(&Metric, Option<&'a str>)> {
        if let Some(index) = self.by_name.get(name) {
            return self.metrics.get(*index).map(|metric| (metric, None));
        }
        let (from, to) = name.strip_prefix(MODE_SWITCH_PREFIX)?.split_once("_to_")?;
        let metric = self.metrics.get(*self.by_name.get("mode_switches")?)?;
        label_code(metric, Some(from)).ok()?;
        Some((metric, Some(to)))
    }

    /// The metric of this exact wire name (no alias).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Metric> {
        self.find(name)
            .map(|(metric, _)| metric)
            .filter(|metric| metric.name == name)
    }

    /// The metric of this journal code.
    #[must_use]
    pub fn by_code(&self, code: u16) -> Option<&Metric> {
        if code == Metric::LATER.code {
            return Some(&Metric::LATER);
        }
        let index = (*self.by_code.get(usize::from(code))?)?;
        self.metrics.get(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let catalogue = Catalogue::default();
        let codes: HashSet<u16> = BUILT_IN.iter().map(|metric| metric.code).collect();
        let names: usize = BUILT_IN.iter().map(|metric| 1 + metric.aliases.len()).sum();
        assert_eq!(codes.len(), BUILT_IN.len());
        assert_eq!(catalogue.by_name.len(), names);
        for metric in BUILT_IN {
            assert_eq!(catalogue.by_code(metric.code).unwrap().name, metric.name);
        }
    }

    #[test]
    fn bounds_ascend_and_contain_every_threshold() {
        for metric in BUILT_IN {
            assert!(metric.bounds.is_sorted(), "{}", metric.name);
            assert!(metric.release_bounds.is_sorted(), "{}", metric.name);
            assert_eq!(
                metric.bounds.is_empty(),
                metric.kind != Kind::Distribution,
                "{}",
                metric.name
            );
            if metric.kind == Kind::Distribution {
                for threshold in metric.thresholds.into_iter().flatten() {
                    assert!(metric.bounds.contains(&threshold), "{}", metric.name);
                    let by_release = metric.bounds_by_release();
                    assert!(by_release.contains(&threshold), "{}", metric.name);
                }
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn labels_have_aliases_and_values_for_what_is_unknown_or_missing() {
        let catalogue = Catalogue::default();
        let label = |name: &str, given: Option<&'static str>| {
            let metric = catalogue.named(name).unwrap();
            label_code(metric, given).map(|code| metric.label_value(code))
        };
        let conflict = |kind| label("conflicts", Some(kind));
        assert_eq!(
            conflict("insufficient_loyalty_points"),
            Ok("loyalty_points")
        );
        assert_eq!(conflict("stock_moved"), Ok("other"));
        assert_eq!(label("conflicts", None), Err(None));
        assert_eq!(label("mode_switches", None), Ok("unknown"));
        assert_eq!(label("mode_switches", Some("5g")), Err(Some("5g")));
        assert_eq!(label("errors", None), Ok("other"));
        assert_eq!(label("errors", Some("printer")), Ok("other"));
        assert_eq!(label("sync_attempts", None), Err(None));
        // The code of what a later release knows is no value's, and codes fit in a byte.
        assert!(
            BUILT_IN
                .iter()
                .all(|metric| metric.code < Metric::LATER.code)
        );
        assert!(
            BUILT_IN
                .iter()
                .all(|metric| metric.label_values() < usize::from(u8::MAX))
        );
        // A value that is named here must be one of the label's.
        for label in BUILT_IN.iter().filter_map(|metric| metric.label) {
            let named = label.aliases.iter().map(|(_, value)| value);
            let named = named.chain(&label.unknown_is).chain(&label.missing_is);
            for value in named {
                assert!(label.values.contains(value), "{value}");
            }
            for (alias, _) in label.aliases {
                assert!(!label.values.contains(alias), "{alias}");
            }
        }
    }

    #[test]
    fn a_label_that_only_a_later_release_knows_has_a_name_and_a_counter_of_its_own() {
        let catalogue = Catalogue::default();
        let conflicts = catalogue.named("conflicts").unwrap();
        let known = u8::try_from(conflicts.label_values()).unwrap();
        assert_eq!(conflicts.label_value(known - 1), "other");
        for code in [known, known + 1, 254, 255] {
            assert_eq!(conflicts.label_value(code), "__unknown__");
            assert_eq!(conflicts.label_kept(code), 255);
            assert_eq!(conflicts.counter_of(code), conflicts.counters() - 1);
        }
        let plain = catalogue.named("login_failures").unwrap();
        assert_eq!((plain.label_value(7), plain.label_kept(7)), ("", 0));
        assert_eq!((plain.counters(), plain.counter_of(7)), (1, 0));
        assert!(catalogue.find("__unknown__").is_none());
        assert_eq!(catalogue.by_code(u16::MAX).unwrap().name, "__unknown__");
    }

    #[test]
    fn a_mode_switch_alias_carries_its_label() {
        let catalogue = Catalogue::default();
        let (metric, label) = catalogue
            .find("mode_switch_online_to_offline_sync")
            .unwrap();
        assert_eq!(
            (metric.name, label),
            ("mode_switches", Some("offline_sync"))
        );
        assert_eq!(catalogue.find("lcp").unwrap().0.name, "lcp_ms");
        assert!(catalogue.find("no_such_metric").is_none());
        assert!(catalogue.named("lcp").is_none());
    }
}
