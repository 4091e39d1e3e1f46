//! The limits in alert rules are those of the catalogue.

use tillwatch_model::Catalogue;

use crate::files::{Rule, rule_groups};
use crate::{assert_none, known};

/// Where the catalogue states an alert's limit.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// The metric's first threshold, as a number in the expression.
    First,
    /// The metric's second threshold, as a number in the expression.
    Second,
    /// The metric's first threshold, as a bound of a bucket.
    Bucket,
    /// The metric's second threshold, as a bound of a bucket.
    SecondBucket,
    /// A ratio in the metric's note; the expression may use one minus it.
    Noted(f64),
}

const LIMITS: &[(&str, &str, Limit)] = &[
    (
        "PosFleetSyncLatencyHigh",
        "sync_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosStoreSyncLatencyHigh",
        "sync_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosStoreSyncSlowForHours",
        "sync_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosStoreOfflineLoginSlowForDay",
        "offline_login_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosFleetSyncSuccessCritical",
        "sync_attempts",
        Limit::Noted(0.95),
    ),
    (
        "PosStoreSyncSuccessCritical",
        "sync_attempts",
        Limit::Noted(0.95),
    ),
    (
        "PosReleaseSyncSuccessCritical",
        "sync_attempts",
        Limit::Noted(0.95),
    ),
    (
        "PosStoreSyncSuccessLow",
        "sync_attempts",
        Limit::Noted(0.99),
    ),
    (
        "PosSyncErrorBudgetBurnFast",
        "sync_attempts",
        Limit::Noted(0.99),
    ),
    (
        "PosFleetPendingTransactionsHigh",
        "pending_transactions",
        Limit::First,
    ),
    (
        "PosStorePendingTransactionsHigh",
        "pending_transactions",
        Limit::First,
    ),
    (
        "PosStorePendingTransactionsAtLimit",
        "pending_transactions",
        Limit::Second,
    ),
    (
        "PosFleetReconnectSyncSlow",
        "reconnect_to_synced_ms",
        Limit::Bucket,
    ),
    (
        "PosStoreReconnectSyncSlow",
        "reconnect_to_synced_ms",
        Limit::Bucket,
    ),
    ("PosFleetQueueWaitHigh", "queue_wait_ms", Limit::First),
    ("PosStoreQueueWaitHigh", "queue_wait_ms", Limit::Bucket),
    (
        "PosTerminalsOfflineLong",
        "offline_duration_ms",
        Limit::Bucket,
    ),
    (
        "PosTerminalsOfflineTooLong",
        "offline_duration_ms",
        Limit::SecondBucket,
    ),
    ("PosFleetConflictRatioHigh", "conflicts", Limit::Noted(0.02)),
    ("PosStoreConflictRatioHigh", "conflicts", Limit::Noted(0.02)),
    (
        "PosStoreOfflineTransactionFailures",
        "offline_transactions",
        Limit::Noted(0.99),
    ),
    (
        "PosFleetOfflineLoginSlow",
        "offline_login_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosStoreOfflineLoginSlow",
        "offline_login_duration_ms",
        Limit::SecondBucket,
    ),
    (
        "PosStoreOfflineLoginFailures",
        "offline_logins",
        Limit::Noted(0.99),
    ),
    (
        "PosReleaseLoginFailures",
        "offline_logins",
        Limit::Noted(0.99),
    ),
    (
        "PosLoginErrorBudgetBurnFast",
        "offline_logins",
        Limit::Noted(0.99),
    ),
    ("PosFleetLcpPoor", "lcp_ms", Limit::Second),
    ("PosStoreLcpPoor", "lcp_ms", Limit::SecondBucket),
    ("PosFleetInpPoor", "inp_ms", Limit::Second),
    ("PosStoreInpPoor", "inp_ms", Limit::SecondBucket),
    ("PosFleetClsPoor", "cls_score", Limit::Second),
    ("PosStoreClsPoor", "cls_score", Limit::SecondBucket),
    (
        "PosFleetCacheHitRatioLow",
        "cache_requests",
        Limit::Noted(0.60),
    ),
    (
        "PosStoreCacheHitRatioLow",
        "cache_requests",
        Limit::Noted(0.60),
    ),
    (
        "PosStoreAssetsCacheHitRatioLow",
        "cache_assets_requests",
        Limit::Noted(0.70),
    ),
    (
        "PosStoreSearchCacheHitRatioLow",
        "cache_search_requests",
        Limit::Noted(0.95),
    ),
    (
        "PosStoreDataCacheHitRatioLow",
        "cache_data_requests",
        Limit::Noted(0.80),
    ),
    (
        "PosReleaseProductSearchSlow",
        "product_search_ms",
        Limit::Bucket,
    ),
    (
        "PosReleaseCustomerLookupSlow",
        "customer_lookup_ms",
        Limit::Bucket,
    ),
    ("PosReleaseDatabaseWriteSlow", "idb_write_ms", Limit::Bucket),
    (
        "PosReleaseWorkerBootSlow",
        "service_worker_boot_ms",
        Limit::Bucket,
    ),
    (
        "PosReleaseSyncPayloadLarge",
        "sync_payload_bytes",
        Limit::Bucket,
    ),
    ("PosFleetTerminalMemoryHigh", "memory_used_mb", Limit::First),
    ("PosStoreTerminalMemoryHigh", "memory_used_mb", Limit::First),
    (
        "PosStoreBrowserStorageNearlyFull",
        "storage_used_ratio",
        Limit::First,
    ),
    ("PosFleetErrorRatioHigh", "errors", Limit::Noted(0.001)),
    ("PosStoreErrorRatioHigh", "errors", Limit::Noted(0.001)),
];

#[test]
fn limits_are_those_of_the_catalogue() {
    let groups = rule_groups();
    let catalogue = Catalogue::default();
    let mut faults = Vec::new();
    for (name, metric, limit) in LIMITS {
        let rules = groups.iter().flat_map(|group| &group.rules);
        let alert = rules
            .filter_map(Rule::alert)
            .find(|alert| alert.alert == *name);
        let Some(alert) = alert else {
            faults.push(format!("{name}: does not exist"));
            continue;
        };
        let metric = catalogue.named(metric).expect("a metric of the catalogue");
        let readings = known::reach(&groups, &alert.expr);
        let has = |wanted: f64| {
            let mut numbers = readings.iter().flat_map(|reading| &reading.numbers);
            numbers.any(|number| (number - wanted).abs() < 1e-12)
        };
        let threshold = |at: usize| {
            let threshold = metric.thresholds[at].expect("the metric has this threshold");
            metric.unit.to_prometheus(threshold)
        };
        let is_right = match *limit {
            Limit::First => has(threshold(0)),
            Limit::Second => has(threshold(1)),
            Limit::Bucket | Limit::SecondBucket => {
                let at = usize::from(matches!(limit, Limit::SecondBucket));
                let bound = threshold(at).to_string();
                let mut bounds = readings.iter().flat_map(|reading| reading.bounds());
                bounds.any(|matcher| matcher.is_match(&bound))
            }
            // A success ratio under 0.95 is a failure ratio over 0.05.
            Limit::Noted(ratio) => {
                let note = metric.threshold_note;
                let is_noted = [format!("{ratio}"), format!("{ratio:.2}")]
                    .iter()
                    .any(|text| note.contains(text));
                is_noted && (has(ratio) || has(1.0 - ratio))
            }
        };
        if !is_right {
            faults.push(format!(
                "{name}: does not use the limit of {} ({})",
                metric.name, metric.threshold_note
            ));
        }
    }
    assert_none(&faults);
}
