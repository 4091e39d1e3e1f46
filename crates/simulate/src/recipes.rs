//! How often terminals measure each metric, and what its values look like.

/// What one metric's values look like, in its wire unit.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A log-normal body and, for the slowest 3 %, a Pareto tail of this exponent: smaller is heavier.
    Heavy {
        /// The median of the body.
        median: f64,
        /// How wide the body is, as a logarithm.
        sigma: f64,
        /// How fast the tail ends.
        tail_exponent: f64,
    },
    /// The values are as in the RUM archive.
    Archive,
    /// Always this amount.
    Always(u64),
    /// A state the terminal keeps itself.
    Kept,
}

/// How often one metric is measured, and what its values look like.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The metric.
    pub name: &'static str,
    /// Samples in a usual minute of a terminal: connected, offline, catching up after having been offline.
    pub per_minute: [f64; 3],
    /// What the values look like.
    pub shape: Shape,
    /// Whether a bad connection makes the value longer.
    pub is_networked: bool,
    /// How often each label occurs, in the catalogue's order.
    pub labels: &'static [f64],
}

const fn heavy(median: f64, sigma: f64, tail_exponent: f64) -> Shape {
    Shape::Heavy {
        median,
        sigma,
        tail_exponent,
    }
}

const fn local(name: &'static str, per_minute: [f64; 3], shape: Shape) -> Recipe {
    Recipe {
        name,
        per_minute,
        shape,
        is_networked: false,
        labels: &[],
    }
}

const fn networked(name: &'static str, per_minute: [f64; 3], shape: Shape) -> Recipe {
    Recipe {
        is_networked: true,
        ..local(name, per_minute, shape)
    }
}

const fn labelled(
    name: &'static str,
    per_minute: [f64; 3],
    shape: Shape,
    labels: &'static [f64],
) -> Recipe {
    Recipe {
        labels,
        ..local(name, per_minute, shape)
    }
}

const ONE: Shape = Shape::Always(1);

/// The mix of a minute. The offline metrics occur only where they can: offline, or just after.
pub const RECIPES: &[Recipe] = &[
    networked("lcp_ms", [2.0, 1.0, 2.0], Shape::Archive),
    local("inp_ms", [4.0, 4.0, 4.0], heavy(72.0, 0.7, 2.0)),
    local("cls_score", [2.0, 1.0, 2.0], heavy(0.025, 1.1, 2.5)),
    networked("fcp_ms", [1.2, 0.6, 1.2], heavy(880.0, 0.6, 2.2)),
    networked("ttfb_ms", [1.2, 0.0, 1.2], heavy(240.0, 0.7, 2.0)),
    networked("page_load_ms", [2.0, 1.0, 2.0], heavy(68.0, 0.5, 2.0)),
    local(
        "offline_login_duration_ms",
        [0.0, 1.2, 0.0],
        heavy(175.0, 0.42, 2.4),
    ),
    labelled("offline_logins", [0.0, 1.2, 0.0], ONE, &[0.998, 0.002]),
    local("session_restore_ms", [0.5, 0.5, 0.5], heavy(44.0, 0.5, 2.2)),
    networked("sync_duration_ms", [2.5, 0.0, 4.0], heavy(560.0, 0.55, 2.2)),
    local("sync_items_count", [1.2, 0.0, 3.0], heavy(7.0, 0.8, 2.0)),
    local(
        "sync_payload_bytes",
        [1.5, 0.0, 3.0],
        heavy(5_600.0, 0.5, 1.8),
    ),
    labelled("sync_attempts", [2.0, 0.5, 3.0], ONE, &[0.996, 0.004]),
    networked(
        "reconnect_to_synced_ms",
        [0.0, 0.0, 1.5],
        heavy(32_000.0, 0.8, 1.9),
    ),
    local("queue_wait_ms", [0.3, 0.0, 5.0], heavy(45_000.0, 1.3, 1.5)),
    local("pending_transactions", [1.0, 1.0, 1.0], Shape::Kept),
    labelled(
        "offline_transactions",
        [0.0, 3.0, 0.0],
        ONE,
        &[0.999, 0.001],
    ),
    labelled(
        "conflicts",
        [0.000_2, 0.0, 0.015],
        ONE,
        &[0.4, 0.1, 0.1, 0.1, 0.2, 0.1, 0.0],
    ),
    labelled(
        "cache_requests",
        [4.0, 4.0, 4.0],
        heavy(5.0, 0.8, 2.0),
        &[0.86, 0.14],
    ),
    local("product_search_ms", [4.0, 5.0, 4.0], heavy(58.0, 0.6, 2.0)),
    networked("customer_lookup_ms", [1.2, 0.6, 1.2], heavy(28.0, 0.6, 2.0)),
    local("idb_write_ms", [5.0, 8.0, 6.0], heavy(8.5, 0.7, 1.9)),
    local(
        "service_worker_boot_ms",
        [0.3, 0.3, 0.3],
        heavy(140.0, 0.6, 2.2),
    ),
    networked("network_latency_ms", [3.0, 0.0, 3.0], heavy(42.0, 0.6, 1.8)),
    local("memory_used_mb", [1.0, 1.0, 1.0], heavy(51.0, 0.12, 12.0)),
    local("db_size_mb", [0.3, 0.3, 0.3], heavy(34.0, 0.5, 3.0)),
    local("storage_used_ratio", [0.3, 0.3, 0.3], heavy(0.17, 0.5, 4.0)),
    local(
        "idb_transaction_count",
        [1.0, 1.0, 1.0],
        heavy(24.0, 0.7, 2.5),
    ),
    // Only a switch makes one.
    labelled("mode_switches", [0.0, 0.0, 0.0], ONE, &[]),
    labelled(
        "errors",
        [0.012, 0.03, 0.03],
        ONE,
        &[0.45, 0.02, 0.2, 0.08, 0.2, 0.05],
    ),
    local("login_failures", [0.03, 0.03, 0.03], ONE),
    local("long_animation_frames", [0.8, 0.8, 0.8], ONE),
    // As if a few pages of the fleet were of the first generation.
    local("summaries", [0.05, 0.05, 0.05], ONE),
    // Reported as none: one is enough to page somebody.
    local("data_loss_incidents", [0.03, 0.03, 0.03], Shape::Always(0)),
    labelled(
        "dropped_samples",
        [0.000_5, 0.000_5, 0.000_5],
        ONE,
        &[0.3, 0.3, 0.1, 0.1, 0.2],
    ),
    // Told by whoever is back: most outages are minutes, and hardly one lasts a day.
    local(
        "offline_duration_ms",
        [0.002, 0.0, 1.0],
        heavy(240_000.0, 1.2, 3.0),
    ),
    local("sync_retries", [0.02, 0.0, 0.15], ONE),
    // Reported as none: each is for a person, and warns somebody.
    labelled(
        "sync_dead_letters",
        [0.01, 0.0, 0.01],
        Shape::Always(0),
        &[0.1, 0.2, 0.1, 0.3, 0.2, 0.1],
    ),
    labelled("worker_updates", [0.004, 0.0, 0.004], ONE, &[0.99, 0.01]),
    // One by one, as pages count them: in lumps, two misses in a hundred look like seven for an hour.
    labelled("cache_assets_requests", [0.4, 0.4, 0.4], ONE, &[0.9, 0.1]),
    labelled("cache_search_requests", [0.4, 0.5, 0.4], ONE, &[0.98, 0.02]),
    labelled("cache_data_requests", [0.3, 0.3, 0.3], ONE, &[0.91, 0.09]),
    networked(
        "sync_100_duration_ms",
        [0.02, 0.0, 0.3],
        heavy(780.0, 0.45, 2.0),
    ),
    local(
        "page_load_cached_ms",
        [0.2, 0.2, 0.2],
        heavy(24.0, 0.4, 2.2),
    ),
    local("compression_ratio", [0.2, 0.0, 0.3], heavy(0.24, 0.25, 5.0)),
];
